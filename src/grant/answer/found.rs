//! What stands at a place of an answer: in its body, its cookies, its header fields.

use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::grant::body::{Body, holds_refresh_token};
use crate::grant::headers::Headers;
use crate::grant::mask::could_be_token;
use crate::provider::lifetime::{Form, Said};
use crate::provider::place::{AnswerPlace, AnswerPlaces};
use crate::token::Further;
use chrono::TimeDelta;
use percent_encoding::percent_decode;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

/// What languages write for a value that is missing.
const NOTHING: [&str; 6] = ["undefined", "null", "None", "nil", "NaN", "[object Object]"];

/// What PHP writes into a cookie that it deletes.
const DELETED: &str = "deleted";

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
    /// When it came.
    pub(super) at: Timestamp,
    /// How far the clock that says so is ahead of the provider's.
    pub(super) clock_ahead: TimeDelta,
}

impl<'a> Source<'a> {
    /// Of this answer, in which this body was read.
    pub(super) fn of(answer: &'a RawAnswer, body: &'a Body) -> Self {
        let (at, clock_ahead) = (answer.received_at, answer.clock_ahead());
        Self { body, headers: &answer.headers, at, clock_ahead }
    }
}

/// A cookie that is set, and not deleted.
struct Cookie<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// `Path` and `Domain`, in lower case: two cookies of a name stand side by side where these differ.
    scope: Vec<Vec<u8>>,
    /// How long it lasts, where it says so.
    lasts: Option<Said>,
}

impl Source<'_> {
    /// The token at the first of these places that holds one.
    pub(super) fn token(&self, places: &AnswerPlaces) -> Found {
        let mut something = false;
        for place in &places.0 {
            match self.at_place(place) {
                Found::Token(token) => return Found::Token(token),
                Found::Unreadable => something = true,
                Found::Nothing => {}
            }
        }
        if something { Found::Unreadable } else { Found::Nothing }
    }

    /// The first of these places that holds a token, and how many characters the token has.
    pub(super) fn place_of<'p>(&self, places: &'p AnswerPlaces) -> Option<(&'p AnswerPlace, usize)> {
        places.0.iter().find_map(|place| match self.at_place(place) {
            Found::Token(token) => Some((place, Zeroizing::new(token).chars().count())),
            Found::Nothing | Found::Unreadable => None,
        })
    }

    pub(super) fn at_place(&self, place: &AnswerPlace) -> Found {
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

    /// A further value, as it stands there; `None` where there is none that a document can take.
    pub(super) fn further(&self, place: &AnswerPlace) -> Option<Further> {
        match place {
            AnswerPlace::Pointer(pointer) => Further::read(self.body.value()?.pointer(pointer)?),
            AnswerPlace::Cookie(_) | AnswerPlace::Header(_) => match self.at_place(place) {
                Found::Token(text) => Further::read(&text.into()),
                Found::Nothing | Found::Unreadable => None,
            },
        }
    }

    /// The cookie of that name; of two with the same path and domain the last one, as in a browser (RFC 6265 §5.3). Of two
    /// others it is not known which one counts.
    fn cookie(&self, name: &str) -> Found {
        let cookies: Vec<_> = self.cookies().filter(|cookie| cookie.name == name.as_bytes()).collect();
        let Some(last) = cookies.last() else { return Found::Nothing };
        if cookies.iter().any(|cookie| cookie.value != last.value && cookie.scope != last.scope) {
            return Found::Unreadable;
        }
        let value = last.value;
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        // Written as JavaScript's `encodeURIComponent` does it, or as it is.
        let decoded = Zeroizing::new(percent_decode(value).collect::<Vec<u8>>());
        match std::str::from_utf8(&decoded).or_else(|_| std::str::from_utf8(value)) {
            Ok(DELETED) => Found::Nothing,
            Ok(text) => token(text),
            Err(_) => Found::Unreadable,
        }
    }

    /// The cookies that are set.
    fn cookies(&self) -> impl Iterator<Item = Cookie<'_>> {
        self.headers.all("set-cookie").filter_map(|field| {
            let mut parts = field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let (name, value) = halves(parts.next()?)?;
            let (mut scope, mut lasts, mut ends) = (Vec::new(), None, None);
            for (attribute, setting) in parts.filter_map(halves) {
                match attribute.to_ascii_lowercase().as_slice() {
                    b"max-age" if setting.starts_with(b"-") || setting == b"0" => return None,
                    b"max-age" => {
                        lasts = std::str::from_utf8(setting).ok().and_then(|text| Form::Seconds.text(text));
                    }
                    b"expires" if self.is_past(setting) => return None,
                    b"expires" => ends = http_date(setting).map(Said::Ends),
                    b"path" | b"domain" => {
                        scope.push([attribute, b"=", setting].concat().to_ascii_lowercase());
                    }
                    _ => {}
                }
            }
            scope.sort();
            Some(Cookie { name, value, scope, lasts: lasts.or(ends) })
        })
    }

    /// How long the cookie of that name lasts, where it says so (RFC 6265 §5.3).
    pub(super) fn cookie_lasts(&self, name: &str) -> Option<Said> {
        self.cookies().filter(|cookie| cookie.name == name.as_bytes()).last()?.lasts
    }

    /// The names of the cookies that are set to something that could be a token.
    pub(super) fn token_cookies(&self) -> impl Iterator<Item = String> {
        let could_be = |cookie: &Cookie<'_>| could_be_token(&String::from_utf8_lossy(cookie.value));
        self.cookies().filter(could_be).map(|cookie| String::from_utf8_lossy(cookie.name).into_owned())
    }

    /// Is it past by the provider's clock, and by ours? A cookie that ends then is one that the server deletes.
    fn is_past(&self, date: &[u8]) -> bool {
        http_date(date).is_some_and(|end| end <= self.at.min(self.by_the_provider()))
    }

    /// When it came, by the provider's clock.
    pub(super) fn by_the_provider(&self) -> Timestamp {
        self.at.checked_sub_signed(self.clock_ahead).unwrap_or(self.at)
    }

    /// Does a refresh token stand anywhere in it: at its places, or under whatever spelling of that name?
    pub(super) fn holds_a_refresh_token(&self, places: &AnswerPlaces) -> bool {
        self.body.value().is_some_and(holds_refresh_token)
            || self.token(places) != Found::Nothing
            || self.head_holds_a_refresh_token(places)
    }

    /// The same, of cookies and header fields alone: they came whole, also where the body is cut.
    pub(super) fn head_holds_a_refresh_token(&self, places: &AnswerPlaces) -> bool {
        let in_the_head = |place: &&AnswerPlace| !matches!(place, AnswerPlace::Pointer(_));
        if places.0.iter().filter(in_the_head).any(|place| self.at_place(place) != Found::Nothing) {
            return true;
        }
        let named = |name: &[u8]| {
            let letters = name.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase);
            letters.collect::<Vec<_>>().ends_with(b"refreshtoken")
        };
        let filled = |value: &[u8]| {
            std::str::from_utf8(value).map_or(true, |text| token(text.trim()) != Found::Nothing)
        };
        let cookie = |cookie: Cookie<'_>| {
            named(cookie.name) && cookie.value != DELETED.as_bytes() && filled(cookie.value)
        };
        self.cookies().any(cookie)
            || self.headers.iter().any(|(name, value)| named(name.as_bytes()) && filled(value))
    }
}

fn http_date(date: &[u8]) -> Option<Timestamp> {
    let date = std::str::from_utf8(date).ok()?;
    httpdate::parse_http_date(date).ok().map(Timestamp::from)
}

/// `name=value`.
fn halves(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
}

/// Is it a text that a language writes for a value that is missing?
pub(in crate::grant) fn is_nothing(text: &str) -> bool {
    NOTHING.contains(&text)
}

fn token(text: &str) -> Found {
    if text.is_empty() || is_nothing(text) { Found::Nothing } else { Found::Token(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(places: &[&str], body: &str, cookies: &[&str]) -> Found {
        let places = AnswerPlaces(places.iter().map(|place| place.parse().unwrap()).collect());
        let headers = cookies.iter().map(|cookie| ("set-cookie", *cookie)).collect();
        Source {
            body: &Body::read(body.as_bytes()),
            headers: &headers,
            at: Timestamp::UNIX_EPOCH,
            clock_ahead: TimeDelta::zero(),
        }
        .token(&places)
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
            ("rt=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/", Found::Nothing),
            ("rt=old; Max-Age=-1", Found::Nothing),
            ("rt=old; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Found::Nothing),
            ("rt=new; Expires=Fri, 01 Jan 2100 00:00:00 GMT", a_token("new")),
        ] {
            assert_eq!(found(&["cookie:rt"], "", &[cookie]), expected, "{cookie}");
        }
    }

    #[test]
    fn a_cookie_that_is_deleted_hides_no_other_and_none_of_two_is_guessed() {
        for (cookies, expected) in [
            (&["rt=new; Path=/", "rt=; Path=/auth; Max-Age=0"][..], a_token("new")),
            (&["rt=new; Path=/auth", "rt=old; Path=/"], Found::Unreadable),
            (&["rt=same; Path=/auth", "rt=same; Path=/"], a_token("same")),
            (
                &["rt=old; path=/; domain=A.example", "rt=new; Domain=a.example; Path=/; Secure"],
                a_token("new"),
            ),
        ] {
            assert_eq!(found(&["cookie:rt"], "", cookies), expected, "{cookies:?}");
        }
    }
}
