//! A success as an example of the profile shows it, with tokens of the sandbox in the places of the example's.

use super::RoleError;
use crate::provider::example::Example;
use crate::provider::lifetime::{Form, LifetimeSource};
use crate::provider::place::AnswerPlace;
use crate::provider::{AnswerFormat, Profile};
use crate::sandbox::reply::Answer;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

/// Header fields that are the sandbox's to write: an example's are those of its time and of its connection.
const ITS_OWN: [HeaderName; 5] = [
    header::DATE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

/// Words in the name of what speaks of a refresh token and is none.
const ABOUT: [&str; 6] = ["expir", "life", "type", "_in", "_at", "ttl"];

/// An answer with tokens of which the places are known.
#[derive(Debug, Clone)]
pub(super) struct Template {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Body,
    access_token: Vec<AnswerPlace>,
    /// None where the answer holds no refresh token.
    pub(super) refresh_token: Vec<AnswerPlace>,
}

#[derive(Debug, Clone)]
enum Body {
    Json(Value),
    Form(Vec<(String, String)>),
    Text(String),
}

impl Template {
    /// Reads an example that is a success: it must hold an access token where the profile says.
    pub(super) fn of(example: &Example, profile: &Profile) -> Result<Self, RoleError> {
        let mut template = Self::plain_text(example, profile.answer.format)?;
        template.access_token = template.holding(&profile.answer.access_token.0);
        template.refresh_token = template.holding(&profile.answer.refresh_token.0);
        let name = || example.name.clone();
        if template.access_token.is_empty() {
            return Err(RoleError::NoAccessToken { example: name() });
        }
        match template.stray_refresh_token() {
            Some(place) if template.refresh_token.is_empty() => {
                Err(RoleError::Stray { example: name(), place })
            }
            _ => Ok(template),
        }
    }

    /// The example as it stands.
    fn plain_text(example: &Example, format: AnswerFormat) -> Result<Self, RoleError> {
        let bad =
            |what: &str| RoleError::Unanswerable { example: example.name.clone(), what: what.to_owned() };
        let mut headers = Vec::new();
        for (name, value) in example.fields() {
            let name: HeaderName = name.parse().map_err(|_| bad("a header field with such a name"))?;
            HeaderValue::from_str(value).map_err(|_| bad("a header field with such a value"))?;
            if !ITS_OWN.contains(&name) {
                headers.push((name, value.to_owned()));
            }
        }
        let json = serde_json::from_str(&example.body)
            .ok()
            .filter(|json: &Value| json.is_object() || json.is_array());
        let body = match (json, format) {
            (Some(json), _) => Body::Json(json),
            (None, AnswerFormat::Form) => {
                Body::Form(form_urlencoded::parse(example.body.trim().as_bytes()).into_owned().collect())
            }
            (None, AnswerFormat::Json) => Body::Text(example.body.clone()),
        };
        let status = StatusCode::from_u16(example.status).map_err(|_| bad("such a status"))?;
        Ok(Self { status, headers, body, access_token: Vec::new(), refresh_token: Vec::new() })
    }

    /// The example as an answer: nothing in it is replaced.
    pub(super) fn unchanged(example: &Example, profile: &Profile) -> Result<Answer, RoleError> {
        let template = Self::plain_text(example, profile.answer.format)?;
        Ok(Answer { text: example.body.clone(), ..template.answer() })
    }

    /// The answer of a profile without an example: its tokens at the first of their places, and how long the first lives.
    pub(super) fn plain(profile: &Profile) -> Result<Self, RoleError> {
        let body = match profile.answer.format {
            AnswerFormat::Json => Body::Json(json!({ "token_type": "Bearer" })),
            AnswerFormat::Form => Body::Form(vec![("token_type".to_owned(), "Bearer".to_owned())]),
        };
        let mut template = Self {
            status: StatusCode::OK,
            headers: Vec::new(),
            body,
            access_token: profile.answer.access_token.0.iter().take(1).cloned().collect(),
            refresh_token: profile.answer.refresh_token.0.iter().take(1).cloned().collect(),
        };
        if template.access_token.is_empty() {
            return Err(RoleError::NoPlace);
        }
        let life = profile.access_token_lifetime.map_or(3600, |life| life.as_secs());
        let said = profile.answer.expires_in.0.iter().find_map(|place| match (&place.source, place.form) {
            (LifetimeSource::Place(AnswerPlace::Pointer(pointer)), Form::Seconds) => Some(pointer),
            _ => None,
        });
        if let Some(pointer) = said {
            template.body.set(pointer, life.into());
        }
        Ok(template)
    }

    /// The same with a refresh token at the first of its places, in a profile whose examples show none.
    pub(super) fn with_refresh_token(mut self, profile: &Profile) -> Self {
        self.refresh_token = profile.answer.refresh_token.0.iter().take(1).cloned().collect();
        self
    }

    /// The answer with these tokens.
    pub(super) fn granted(&self, access_token: &str, refresh_token: Option<&str>) -> Answer {
        let mut filled = self.clone();
        self.access_token.iter().for_each(|place| filled.set(place, access_token));
        if let Some(token) = refresh_token {
            self.refresh_token.iter().for_each(|place| filled.set(place, token));
        }
        filled.answer()
    }

    /// The first of the places that holds a text, and those others that hold the same one.
    fn holding(&self, places: &[AnswerPlace]) -> Vec<AnswerPlace> {
        let held = |place: &&AnswerPlace| self.held(place);
        let first = places.iter().find_map(|place| held(&place));
        places.iter().filter(|place| first.is_some() && held(place) == first).cloned().collect()
    }

    fn held(&self, place: &AnswerPlace) -> Option<String> {
        let text = match place {
            AnswerPlace::Pointer(pointer) => self.body.text(pointer),
            AnswerPlace::Cookie(name) => self
                .cookies()
                .find(|(known, value)| known == name && !value.is_empty())
                .map(|(_, value)| value.to_owned()),
            AnswerPlace::Header(name) => {
                self.headers.iter().find(|(known, _)| known == name.as_str()).map(|(_, value)| value.clone())
            }
        };
        text.filter(|text| !text.is_empty())
    }

    /// Name and value of each cookie that is set.
    fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.headers.iter().filter(|(name, _)| name == header::SET_COOKIE);
        lines.filter_map(|(_, line)| line.split(';').next()?.trim().split_once('='))
    }

    fn set(&mut self, place: &AnswerPlace, token: &str) {
        match place {
            AnswerPlace::Pointer(pointer) => self.body.set(pointer, token.into()),
            AnswerPlace::Cookie(cookie) => {
                let begin = format!("{cookie}=");
                let is_it = |line: &str| line.trim_start().starts_with(&begin);
                let mut lines = self.headers.iter_mut().filter(|(name, _)| name == header::SET_COOKIE);
                match lines.find(|(_, line)| is_it(line)) {
                    Some((_, line)) => {
                        let attributes = line.find(';').map_or("", |at| &line[at..]);
                        *line = format!("{begin}{token}{attributes}");
                    }
                    None => {
                        self.headers.push((header::SET_COOKIE, format!("{begin}{token}; Path=/; HttpOnly")));
                    }
                }
            }
            AnswerPlace::Header(name) => {
                match self.headers.iter_mut().find(|(known, _)| known == name.as_str()) {
                    Some((_, value)) => token.clone_into(value),
                    // A place has the name of a header field.
                    None => self.headers.extend(name.parse().ok().map(|name| (name, token.to_owned()))),
                }
            }
        }
    }

    /// A text that its name calls a refresh token.
    fn stray_refresh_token(&self) -> Option<String> {
        let is_named = |name: &str| {
            let name = name.to_ascii_lowercase();
            (name == "refresh" || name.contains("refresh") && name.contains("token"))
                && !ABOUT.iter().any(|word| name.contains(word))
        };
        let cookie = self.cookies().find(|(name, value)| is_named(name) && !value.is_empty());
        let cookie = cookie.map(|(name, _)| format!("cookie:{name}"));
        cookie.or_else(|| match &self.body {
            Body::Json(json) => stray(json, "", &is_named),
            Body::Form(fields) => {
                fields.iter().find(|(name, _)| is_named(name)).map(|(name, _)| format!("/{name}"))
            }
            Body::Text(_) => None,
        })
    }

    fn answer(self) -> Answer {
        let (text, content_type) = match self.body {
            Body::Json(json) => (json.to_string(), "application/json"),
            Body::Form(fields) => (
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish(),
                "application/x-www-form-urlencoded",
            ),
            Body::Text(text) => (text, "text/plain; charset=utf-8"),
        };
        let values = self.headers.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?)));
        let mut headers: Vec<(HeaderName, HeaderValue)> = values.collect();
        if !headers.iter().any(|(name, _)| name == header::CONTENT_TYPE) && !text.is_empty() {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        }
        Answer { status: self.status, headers, text }
    }
}

fn stray(json: &Value, at: &str, is_named: &dyn Fn(&str) -> bool) -> Option<String> {
    let fields = json.as_object().into_iter().flatten();
    let mut found = fields.filter_map(|(name, value)| {
        let here = format!("{at}/{name}");
        let is_text = value.as_str().is_some_and(|text| !text.is_empty());
        if is_text && is_named(name) { Some(here) } else { stray(value, &here, is_named) }
    });
    found.next()
}

impl Body {
    fn text(&self, pointer: &str) -> Option<String> {
        match self {
            Self::Json(json) => json.pointer(pointer)?.as_str().map(str::to_owned),
            Self::Form(fields) => {
                let name = pointer.strip_prefix('/')?;
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            }
            Self::Text(_) => None,
        }
    }

    /// Puts a value at a JSON pointer (RFC 6901); objects on the way that are missing are made.
    fn set(&mut self, pointer: &str, value: Value) {
        let names = pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
        match self {
            Self::Json(json) => {
                let mut at = json;
                for name in names {
                    at = match at {
                        Value::Array(values) => {
                            match name.parse().ok().and_then(|at: usize| values.get_mut(at)) {
                                Some(value) => value,
                                None => return,
                            }
                        }
                        other => {
                            if !other.is_object() {
                                *other = Value::Object(Map::new());
                            }
                            &mut other[name]
                        }
                    };
                }
                *at = value;
            }
            Self::Form(fields) => {
                let name: String = names.collect::<Vec<_>>().join("/");
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                fields.retain(|(known, _)| *known != name);
                fields.push((name, text));
            }
            Self::Text(_) => {}
        }
    }
}
