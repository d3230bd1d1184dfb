//! A request as it came, taken apart.

use crate::provider::place::RequestPlace;
use crate::provider::request::Encoding;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use axum::http::{HeaderMap, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::borrow::Cow;
use url::form_urlencoded;

/// Longest name that an answer repeats: what is longer may be a token in the wrong place.
const MAX_SHOWN_NAME: usize = 24;

/// A request as it came.
pub(super) struct Seen<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Body,
    cookies: Vec<(String, String)>,
}

/// What the body is, as its content type says.
pub(super) enum Body {
    /// Neither a byte nor a content type.
    Empty,
    Form(Vec<(String, String)>),
    Json(Map<String, Value>),
    /// Anything else, in words.
    Other(&'static str),
}

impl<'a> Seen<'a> {
    pub(super) fn new(head: &'a Parts, body: &[u8]) -> Self {
        let pairs = |text: &[u8]| form_urlencoded::parse(text).into_owned().collect::<Vec<_>>();
        let lines = head.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            Some((name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()))
        });
        Self {
            headers: &head.headers,
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            body: Body::new(&head.headers, body, pairs),
            cookies: cookies.collect(),
        }
    }

    /// The fields of the request, where they are texts; what is no text is none.
    fn fields(&self, encoding: Encoding) -> &[(String, String)] {
        match (encoding, &self.body) {
            (Encoding::Query, _) => &self.query,
            (_, Body::Form(fields)) => fields,
            _ => &[],
        }
    }

    /// Every value of a field: more than one where it is repeated.
    pub(super) fn field(&self, name: &str, encoding: Encoding) -> Vec<Cow<'_, Value>> {
        if let (Encoding::Json, Body::Json(fields)) = (encoding, &self.body) {
            return fields.get(name).map(Cow::Borrowed).into_iter().collect();
        }
        let named = self.fields(encoding).iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| Cow::Owned(Value::String(value.clone()))).collect()
    }

    /// Every text at a place.
    pub(super) fn at(&self, place: &RequestPlace, encoding: Encoding) -> Vec<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let named = |pairs: &[(String, String)], name: &str| {
            let named = pairs.iter().filter(|(known, _)| known == name);
            named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        match place {
            RequestPlace::Field(name) => {
                self.field(name, encoding).iter().filter_map(|value| text(value)).collect()
            }
            RequestPlace::Pointer(names) => {
                let Body::Json(fields) = &self.body else { return Vec::new() };
                let (first, rest) = names.split_first().expect("a pointer has a name");
                let found = fields.get(first);
                let found = rest.iter().try_fold(found, |value, name| Some(value?.get(name)));
                found.flatten().and_then(text).into_iter().collect()
            }
            RequestPlace::Bearer => self.authorization("bearer").collect(),
            RequestPlace::Header(name) => self.header(name),
            RequestPlace::Cookie(name) => named(&self.cookies, name),
            RequestPlace::Query(name) => named(&self.query, name),
        }
    }

    /// Every value of a header field, as text.
    pub(super) fn header(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// What stands behind this scheme in each `Authorization`.
    pub(super) fn authorization(&self, scheme: &str) -> impl Iterator<Item = String> {
        let values = self.headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(move |value| {
            let (found, rest) = value.split_once(' ')?;
            found.eq_ignore_ascii_case(scheme).then(|| rest.to_owned())
        })
    }

    /// The places of such texts, as a profile writes them.
    pub(super) fn places_of(&self, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let mut places = Vec::new();
        for (kind, pairs) in [("query", &self.query), ("cookie", &self.cookies)] {
            places.extend(pairs.iter().filter(|(_, value)| is_it(value)).map(|(name, _)| placed(kind, name)));
        }
        places.extend(self.authorization("bearer").filter(|value| is_it(value)).map(|_| "bearer".to_owned()));
        for (name, value) in self.headers {
            if value.to_str().is_ok_and(&is_it) {
                places.push(placed("header", name.as_str()));
            }
        }
        match &self.body {
            Body::Form(fields) => {
                let named = fields.iter().filter(|(_, value)| is_it(value));
                places.extend(named.map(|(name, _)| placed("body", name)));
            }
            Body::Json(fields) => {
                for (name, value) in fields {
                    find(value, &is_it, &placed("body", name), &mut places);
                }
            }
            Body::Empty | Body::Other(_) => {}
        }
        places
    }
}

/// Looks for texts within a JSON value.
fn find(value: &Value, is_it: &dyn Fn(&str) -> bool, at: &str, places: &mut Vec<String>) {
    // `body:a` holds `body:/a/b`.
    let below = |name: &str| {
        let above = at.strip_prefix("body:").unwrap_or(at);
        format!("body:{}{above}/{}", if above.starts_with('/') { "" } else { "/" }, shown(name))
    };
    match value {
        Value::String(found) if is_it(found) => places.push(at.to_owned()),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| find(value, is_it, &below(name), places));
        }
        Value::Array(values) => {
            let numbered = values.iter().enumerate();
            numbered.for_each(|(number, value)| find(value, is_it, &below(&number.to_string()), places));
        }
        _ => {}
    }
}

fn placed(kind: &str, name: &str) -> String {
    format!("{kind}:{}", shown(name))
}

/// A name as an answer may repeat it.
fn shown(name: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
    if name.chars().count() <= MAX_SHOWN_NAME && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("(a name of {} characters)", name.chars().count())
    }
}

impl Body {
    fn new(headers: &HeaderMap, body: &[u8], pairs: impl Fn(&[u8]) -> Vec<(String, String)>) -> Self {
        let media_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let media_type =
            media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match media_type.as_deref() {
            None if body.is_empty() => Self::Empty,
            None => Self::Other("a body without a `Content-Type`"),
            Some("application/x-www-form-urlencoded") => Self::Form(pairs(body)),
            Some("application/json") => match serde_json::from_slice(body) {
                Ok(fields) => Self::Json(fields),
                Err(_) => Self::Other("an `application/json` body that is no JSON object"),
            },
            Some(_) if body.is_empty() => Self::Other("an empty body with a `Content-Type`"),
            Some(_) => Self::Other("a body of another `Content-Type`"),
        }
    }

    /// In words.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Empty => "an empty body",
            Self::Form(_) => "a form",
            Self::Json(_) => "a JSON object",
            Self::Other(words) => words,
        }
    }
}
