//! What stands at a place of an answer: in its body, its cookies, its header fields.

use crate::grant::body::Body;
use crate::grant::headers::Headers;
use crate::provider::place::{AnswerPlace, AnswerPlaces};
use percent_encoding::percent_decode;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

/// What languages write for nothing, where somebody forgot to look.
const NOTHING: [&str; 6] = ["undefined", "null", "None", "nil", "NaN", "[object Object]"];

/// What the places for a token hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// None of them holds anything.
    Nothing,
    /// The first token.
    Token(String),
    /// Something is there, and it is no token.
    Unreadable,
}

/// An answer, as far as tokens may stand in it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) body: &'a Body,
    pub(super) headers: &'a Headers,
}

impl Source<'_> {
    /// The token at the first of these places that holds one.
    pub(super) fn token(&self, places: &AnswerPlaces) -> Found {
        let mut something = false;
        for place in &places.0 {
            match self.at(place) {
                Found::Token(token) => return Found::Token(token),
                Found::Unreadable => something = true,
                Found::Nothing => {}
            }
        }
        if something { Found::Unreadable } else { Found::Nothing }
    }

    fn at(&self, place: &AnswerPlace) -> Found {
        match place {
            AnswerPlace::Pointer(pointer) => match self.body.value().and_then(|body| body.pointer(pointer)) {
                None | Some(Value::Null) => Found::Nothing,
                Some(Value::String(text)) if self.body.is_whole(text) => token(text),
                Some(_) => Found::Unreadable,
            },
            AnswerPlace::Cookie(name) => self.cookie(name),
            AnswerPlace::Header(name) => match self.headers.all(name).next().map(std::str::from_utf8) {
                None => Found::Nothing,
                Some(Ok(text)) => token(text.trim()),
                Some(Err(_)) => Found::Unreadable,
            },
        }
    }

    /// The cookie of that name; the last one, as in a browser (RFC 6265 §5.3).
    fn cookie(&self, name: &str) -> Found {
        let value = |field: &'_ [u8]| {
            let pair = field.split(|byte| *byte == b';').next().unwrap_or_default();
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (found, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            (found == name.as_bytes()).then(|| Zeroizing::new(value.to_vec()))
        };
        let Some(value) = self.headers.all("set-cookie").filter_map(value).last() else {
            return Found::Nothing;
        };
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(&value);
        // Written as JavaScript's `encodeURIComponent` does it, or as it is.
        let decoded = Zeroizing::new(percent_decode(value).collect::<Vec<u8>>());
        match std::str::from_utf8(&decoded).or_else(|_| std::str::from_utf8(value)) {
            Ok(text) => token(text),
            Err(_) => Found::Unreadable,
        }
    }
}

fn token(text: &str) -> Found {
    if text.is_empty() || NOTHING.contains(&text) { Found::Nothing } else { Found::Token(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(places: &[&str], body: &str, cookies: &[&str]) -> Found {
        let places = AnswerPlaces(places.iter().map(|place| place.parse().unwrap()).collect());
        let headers = cookies.iter().map(|cookie| ("set-cookie", *cookie)).collect();
        Source { body: &Body::read(body.as_bytes()), headers: &headers }.token(&places)
    }

    fn a_token(text: &str) -> Found {
        Found::Token(text.to_owned())
    }

    #[test]
    fn the_first_place_that_holds_a_token_wins() {
        let body =
            r#"{"data":{"token":"b","object":{"x":1},"empty":"","none":null,"undefined":"undefined"}}"#;
        let cookies = ["other=1; Path=/", "rt=old", "rt=c%2F%20d; HttpOnly; Secure; SameSite=Lax"];
        for (places, expected) in [
            (&["/data/token", "cookie:rt"] as &[_], a_token("b")),
            (&["cookie:rt", "/data/token"], a_token("c/ d")),
            // A place that leads to an object, or to nothing, is passed over.
            (&["/data/object", "/data/token"], a_token("b")),
            (&["/data/empty", "/data/none", "/missing", "/data/undefined", "cookie:rt"], a_token("c/ d")),
            (&["/data/object"], Found::Unreadable),
            (&["/data/object", "/missing"], Found::Unreadable),
            (&["/data/undefined"], Found::Nothing),
            (&["/missing", "cookie:none"], Found::Nothing),
            (&[], Found::Nothing),
            (&["header:set-cookie"], a_token("other=1; Path=/")),
        ] {
            assert_eq!(found(places, body, &cookies), expected, "{places:?}");
        }
    }

    #[test]
    fn a_cookie_is_read_as_servers_write_it() {
        for (cookie, expected) in [
            ("rt=a.b-c_d~e", a_token("a.b-c_d~e")),
            ("rt=\"quoted\"; Path=/", a_token("quoted")),
            ("rt = spaced ; x", a_token("spaced")),
            ("rt=a%zz", a_token("a%zz")),
            ("rt=a%ff", a_token("a%ff")),
            ("rt=a=b==; Max-Age=1", a_token("a=b==")),
            ("rt=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Found::Nothing),
            ("rt=undefined; Path=/", Found::Nothing),
            ("RT=x", Found::Nothing),
            ("xrt=x", Found::Nothing),
            ("rt", Found::Nothing),
            ("", Found::Nothing),
        ] {
            assert_eq!(found(&["cookie:rt"], "", &[cookie]), expected, "{cookie}");
        }
    }
}
