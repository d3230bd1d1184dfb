//! Places: where something stands in a request, and where an answer holds it. One notation for all of them. Pure.

use crate::token::{AccessToken, MAX_TOKEN_BYTES, Malformed, RefreshToken};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest token in a header field, in bytes: common servers cut all fields together at 8 KiB.
const MAX_HEADER_VALUE_BYTES: usize = 7 * 1024;

/// Header fields that are the HTTP library's, or that lead a request elsewhere (RFC 9110 §7.2, §8, §10.1.1, §9112 §6).
const RESERVED_HEADERS: [&str; 8] =
    ["host", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade", "accept-encoding"];

/// Beginnings of names of such fields.
const RESERVED_PREFIXES: [&str; 2] = ["content-", "proxy-"];

/// Where a token stands in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RequestPlace {
    /// `body:NAME`: a field of the body.
    Field(String),
    /// `body:/a/b`: within a JSON body, by the names on the way to it.
    Pointer(Vec<String>),
    /// `bearer`: `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer,
    /// `header:NAME`: a header field of its own, the name in lower case.
    Header(String),
    /// `cookie:NAME`: a cookie (RFC 6265 §4.2); what can't stand there, and `%`, is percent-encoded.
    Cookie(String),
    /// `query:NAME`: a parameter of the URL.
    Query(String),
}

/// Where an answer holds something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AnswerPlace {
    /// `/a/b`: in the body, a JSON pointer (RFC 6901).
    Pointer(String),
    /// `cookie:NAME`: in `Set-Cookie` (RFC 6265 §4.1).
    Cookie(String),
    /// `header:NAME`: in a header field, the name in lower case.
    Header(String),
}

/// Where an answer may hold a token: the first of these places that holds one wins. In a profile a text, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnswerPlaces(#[serde(with = "super::one_or_many")] pub Vec<AnswerPlace>);

impl FromStr for AnswerPlaces {
    type Err = PlaceError;

    /// One place.
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        Ok(Self(vec![text.parse()?]))
    }
}

impl AnswerPlaces {
    /// Are all of them in the header fields, so that the body adds nothing?
    #[must_use]
    pub fn are_all_in_the_head(&self) -> bool {
        !self.0.iter().any(|place| matches!(place, AnswerPlace::Pointer(_)))
    }
}

impl AnswerPlace {
    /// What is expected, in words.
    pub const EXPECTED: &str = "a place in an answer: `/json/pointer`, `cookie:NAME` or `header:NAME`";
}

impl FromStr for AnswerPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let place = match text.split_once(':') {
            _ if text.starts_with('/') => Some(Self::Pointer(text.to_owned())),
            Some(("cookie", name)) => cookie_name(name).map(Self::Cookie),
            Some(("header", name)) => is_token(name).then(|| Self::Header(name.to_ascii_lowercase())),
            _ => None,
        };
        place.ok_or_else(|| PlaceError { text: text.to_owned(), expected: Self::EXPECTED })
    }
}

impl fmt::Display for AnswerPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) => formatter.write_str(pointer),
            Self::Cookie(name) => write!(formatter, "cookie:{name}"),
            Self::Header(name) => write!(formatter, "header:{name}"),
        }
    }
}

impl TryFrom<String> for AnswerPlace {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<AnswerPlace> for String {
    fn from(place: AnswerPlace) -> Self {
        place.to_string()
    }
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct PlaceError {
    text: String,
    expected: &'static str,
}

impl PlaceError {
    /// The text, and what was expected in its place.
    pub(super) fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}

impl RequestPlace {
    /// What is expected, in words.
    pub const EXPECTED: &str = "a place in a request: `body:NAME`, `body:/json/pointer`, `bearer`, `header:NAME`, `cookie:NAME` or `query:NAME`";

    /// Can this token be sent there? In a header field it must be visible ASCII, without spaces and short.
    ///
    /// # Errors
    /// [`Malformed::NotForHeader`].
    pub fn takes(&self, token: &RefreshToken) -> Result<(), Malformed> {
        if self.fits(token.expose()) { Ok(()) } else { Err(Malformed::NotForHeader) }
    }

    /// Can this access token be sent there? It must be printable ASCII as well (RFC 6749 §A.12).
    #[must_use]
    pub fn takes_access(&self, token: &AccessToken) -> bool {
        let token = token.expose();
        token.len() <= MAX_TOKEN_BYTES
            && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
            && self.fits(token)
    }

    fn fits(&self, token: &str) -> bool {
        match self {
            Self::Field(_) | Self::Pointer(_) | Self::Query(_) => true,
            Self::Bearer | Self::Header(_) => {
                token.len() <= MAX_HEADER_VALUE_BYTES && !token.bytes().any(|byte| byte == b' ')
            }
            // As long as if each sign were encoded that may have to be.
            Self::Cookie(_) => {
                let encoded = |byte: u8| if b" \",;\\%".contains(&byte) { 3 } else { 1 };
                token.bytes().map(encoded).sum::<usize>() <= MAX_HEADER_VALUE_BYTES
            }
        }
    }

    /// The name of its cookie.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        if let Self::Cookie(name) = self { Some(name) } else { None }
    }

    /// Is it in the body?
    #[must_use]
    pub const fn is_in_the_body(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Pointer(_))
    }
}

impl Default for RequestPlace {
    /// As RFC 6749 §6 says.
    fn default() -> Self {
        Self::Field("refresh_token".to_owned())
    }
}

impl FromStr for RequestPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let place = match kind {
            "bearer" if text == kind => Some(Self::Bearer),
            "body" if name.starts_with('/') => pointer(name).map(Self::Pointer),
            "body" => some_name(name).map(Self::Field),
            "query" => some_name(name).map(Self::Query),
            "header" => header_name(name).map(Self::Header),
            "cookie" => cookie_name(name).map(Self::Cookie),
            _ => None,
        };
        place.ok_or_else(|| PlaceError { text: text.to_owned(), expected: Self::EXPECTED })
    }
}

impl fmt::Display for RequestPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, "body:{name}"),
            Self::Pointer(names) => {
                formatter.write_str("body:")?;
                names.iter().try_for_each(|name| write!(formatter, "/{}", escaped(name)))
            }
            Self::Bearer => formatter.write_str("bearer"),
            Self::Header(name) => write!(formatter, "header:{name}"),
            Self::Cookie(name) => write!(formatter, "cookie:{name}"),
            Self::Query(name) => write!(formatter, "query:{name}"),
        }
    }
}

impl TryFrom<String> for RequestPlace {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<RequestPlace> for String {
    fn from(place: RequestPlace) -> Self {
        place.to_string()
    }
}

/// Is this the name of a header field that a profile may set (RFC 9110 §5.1)? In lower case, if so.
#[must_use]
pub fn header_name(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let reserved = RESERVED_HEADERS.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (is_token(&name) && !reserved).then_some(name)
}

/// Can the text stand in a header field as it is: visible ASCII, with spaces only within it (RFC 9110 §5.5)?
#[must_use]
pub fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text && !text.is_empty()
}

fn cookie_name(name: &str) -> Option<String> {
    is_token(name).then(|| name.to_owned())
}

fn some_name(name: &str) -> Option<String> {
    let plain = !name.is_empty() && !name.chars().any(char::is_control);
    plain.then(|| name.to_owned())
}

/// A token (RFC 9110 §5.6.2).
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The names of a JSON pointer (RFC 6901 §3).
fn pointer(text: &str) -> Option<Vec<String>> {
    let names = text.strip_prefix('/')?.split('/');
    names.map(|name| some_name(&name.replace("~1", "/").replace("~0", "~"))).collect()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_it_is_read() {
        for text in [
            "body:refreshToken",
            "body:/data/refresh_token",
            "body:/a~1b/c~0d",
            "bearer",
            "header:x-refresh-token",
            "cookie:refreshToken",
            "query:token",
        ] {
            assert_eq!(text.parse::<RequestPlace>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-Auth".parse(), Ok(RequestPlace::Header("x-auth".to_owned())));
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_told_before_it_is_sent() {
        let takes = |place: &str, token: String| {
            place.parse::<RequestPlace>().unwrap().takes(&RefreshToken::new(token)).is_ok()
        };
        let (longest, longer) = ("x".repeat(7 * 1024), "x".repeat(7 * 1024 + 1));
        for place in ["bearer", "header:x-token"] {
            assert!(takes(place, longest.clone()) && !takes(place, longer.clone()), "{place}");
            assert!(takes(place, "a=b;c".into()) && !takes(place, "a b".into()), "{place}");
        }
        assert!(takes("cookie:t", longest.clone()) && takes("cookie:t", "a b;c".into()));
        assert!(!takes("cookie:t", longer.clone()) && !takes("cookie:t", "%".repeat(3000)));
        for place in ["body:t", "body:/a/t", "query:t"] {
            assert!(takes(place, longer.clone()) && takes(place, "a b".into()), "{place}");
        }
    }

    #[test]
    fn places_of_an_answer_are_a_text_or_a_list() {
        let read = |text: &str| {
            toml::from_str::<std::collections::BTreeMap<String, AnswerPlaces>>(text).unwrap()["p"].clone()
        };
        let pointer = || AnswerPlace::Pointer("/data/accessToken".into());
        assert_eq!(read("p = \"/data/accessToken\"").0, [pointer()]);
        let both = read("p = [\"/data/accessToken\", \"cookie:accessToken\", \"header:X-Token\"]");
        let header = AnswerPlace::Header("x-token".into());
        assert_eq!(both.0, [pointer(), AnswerPlace::Cookie("accessToken".into()), header]);
        assert_eq!(read("p = []").0, []);
        for text in ["", "token", "cookie:", "cookie:a=b", "header:a b", "body:x", "bearer"] {
            let refused = text.parse::<AnswerPlace>().unwrap_err().to_string();
            assert!(refused.contains("is not a place in an answer: `/json/pointer`"), "{refused}");
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "body",
            "body:",
            "bearer:x",
            "Bearer",
            "header:",
            "header:a b",
            "header:a:b",
            "cookie:a=b",
            "cookie:a;b",
            "query:",
            "body:/",
            "body:/a//b",
            "/refresh_token",
            "url:x",
            "header:a\r\nb",
            "query:a\nb",
            "header:Host",
            "header:content-type",
            "header:Content-Length",
            "header:Transfer-Encoding",
            "header:Proxy-Authorization",
            "header:Connection",
            "header:TE",
            "header:Upgrade",
            "header:Trailer",
            "header:Expect",
        ] {
            let refused = text.parse::<RequestPlace>().unwrap_err().to_string();
            assert!(refused.contains("is not a place in a request: `body:NAME`"), "{refused}");
        }
    }
}
