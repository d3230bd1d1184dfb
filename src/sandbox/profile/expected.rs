//! The request that a profile describes, and what is wrong with one that isn't it.

mod client;

use super::super::{SandboxConfig, opaque};
use super::path::Path;
use super::pattern::Pattern;
use super::seen::{Body, Seen};
use crate::provider::Profile;
use crate::provider::place::RequestPlace;
use crate::provider::request::{Encoding, Method, Parameter};
use axum::http::request::Parts;
use client::Client;
use serde_json::Value;

/// The request that a profile describes.
pub(super) struct Expected {
    method: Method,
    encoding: Encoding,
    client: Client,
    refresh_token: RequestPlace,
    access_token: Option<RequestPlace>,
    grant_type: Option<String>,
    /// The scope and the further fields.
    fields: Vec<(String, Wanted)>,
    headers: Vec<(String, Pattern)>,
}

/// The value of a field.
enum Wanted {
    Text(Pattern),
    /// A number or a flag of JSON.
    Plain(Value),
}

/// The tokens of a request.
pub(in super::super) struct Asked {
    pub(in super::super) refresh_token: String,
    pub(in super::super) access_token: Option<String>,
}

/// Why a request isn't the one that the profile describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Wrong {
    /// The client's id or secret has another value.
    Credentials,
    /// The client's id or secret isn't where it should be.
    Client { expected: String, saw: String },
    /// Anything else.
    Request { expected: String, saw: String },
}

impl Wrong {
    fn request(expected: impl Into<String>, saw: impl Into<String>) -> Self {
        Self::Request { expected: expected.into(), saw: saw.into() }
    }
}

impl Expected {
    pub(super) fn new(profile: &Profile) -> Self {
        let Profile { request, variables, .. } = profile;
        let pattern = |text: &str| Pattern::new(text, variables);
        let further = profile.extra_parameters.iter().map(|(name, parameter)| {
            let wanted = match parameter {
                Parameter::Text(text) => Wanted::Text(pattern(text)),
                // Without JSON each value is a text.
                plain if request.encoding != Encoding::Json => Wanted::Text(pattern(&plain.to_string())),
                Parameter::Flag(flag) => Wanted::Plain((*flag).into()),
                Parameter::Whole(number) => Wanted::Plain((*number).into()),
                Parameter::Number(number) => Wanted::Plain((*number).into()),
            };
            (name.clone(), wanted)
        });
        let scope = profile.scope.iter().map(|scope| ("scope".to_owned(), Wanted::Text(pattern(scope))));
        Self {
            method: request.method,
            encoding: request.encoding,
            client: Client::new(profile),
            refresh_token: request.refresh_token.clone(),
            access_token: request.access_token.clone(),
            grant_type: Some(request.grant_type.clone()).filter(|value| value != "none"),
            fields: further.chain(scope).collect(),
            headers: request.headers.iter().map(|(name, text)| (name.clone(), pattern(text))).collect(),
        }
    }

    /// The method, as it is on the wire.
    pub(super) const fn method(&self) -> &'static str {
        match self.method {
            Method::Post => "POST",
            Method::Get => "GET",
            Method::Put => "PUT",
        }
    }

    /// Reads the tokens out of a request that is the profile's.
    pub(super) fn read(
        &self,
        config: &SandboxConfig,
        path: &Path,
        head: &Parts,
        body: &[u8],
    ) -> Result<Asked, Wrong> {
        let seen = Seen::new(head, body);
        if head.method.as_str() != self.method() {
            let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
            let saw = known.into_iter().find(|known| *known == head.method.as_str());
            return Err(Wrong::request(self.method(), saw.unwrap_or("another method")));
        }
        self.check_encoding(&seen.body)?;
        for (name, value) in path.query() {
            let is_there = seen.query.iter().any(|(found, is)| found == name && is == value);
            if !is_there {
                return Err(Wrong::request(
                    format!("`query:{name}` as in `token_url`"),
                    "another value, or none",
                ));
            }
        }
        self.client.check(config, &seen, self.encoding)?;
        self.check_fields(&seen)?;
        let refresh_token = self.token(&seen, "the refresh token", &self.refresh_token)?;
        let access_token = self
            .access_token
            .as_ref()
            .map(|place| self.token(&seen, "the old access token", place))
            .transpose()?;
        let places = seen.places_of(|text| text == refresh_token);
        if places.len() > 1 {
            let expected = format!("the refresh token at `{}` only", self.refresh_token);
            return Err(Wrong::request(expected, format!("it at {}", quoted(&places))));
        }
        if access_token.as_ref() == Some(&refresh_token) {
            return Err(Wrong::request("two tokens", "the refresh token in the place of the access token"));
        }
        Ok(Asked { refresh_token, access_token })
    }

    fn check_encoding(&self, body: &Body) -> Result<(), Wrong> {
        let expected = match self.encoding {
            Encoding::Form => "a form (`application/x-www-form-urlencoded`)",
            Encoding::Json => "a JSON object (`application/json`)",
            Encoding::Query => "all fields in the URL, and an empty body",
            Encoding::None => "an empty body, without a `Content-Type`",
        };
        let fits = match self.encoding {
            Encoding::Form => matches!(body, Body::Form(_)),
            Encoding::Json => matches!(body, Body::Json(_)),
            Encoding::Query | Encoding::None => matches!(body, Body::Empty),
        };
        if fits { Ok(()) } else { Err(Wrong::request(expected, body.words())) }
    }

    fn check_fields(&self, seen: &Seen<'_>) -> Result<(), Wrong> {
        let found = seen.field("grant_type", self.encoding);
        match (&self.grant_type, &found[..]) {
            (None, []) => {}
            (None, _) => return Err(Wrong::request("no field `grant_type`", "one")),
            (Some(wanted), [one]) if one.as_str() == Some(wanted) => {}
            (Some(wanted), found) => {
                let expected = format!("the field `grant_type` with `{wanted}`");
                return Err(Wrong::request(expected, counted(found.len(), "another value")));
            }
        }
        for (name, wanted) in &self.fields {
            let found = seen.field(name, self.encoding);
            let fits = |value: &Value| match wanted {
                Wanted::Text(pattern) => value.as_str().is_some_and(|text| pattern.fits(text)),
                Wanted::Plain(plain) => value == plain,
            };
            if !matches!(&found[..], [one] if fits(one)) {
                let expected = format!("the field `{name}` as the profile has it");
                return Err(Wrong::request(expected, counted(found.len(), "another value")));
            }
        }
        for (name, pattern) in &self.headers {
            let found = seen.header(name);
            if !matches!(&found[..], [one] if pattern.fits(one)) {
                let expected = format!("the header field `{name}` as the profile has it");
                return Err(Wrong::request(expected, counted(found.len(), "another value")));
            }
        }
        Ok(())
    }

    /// The one token at a place.
    fn token(&self, seen: &Seen<'_>, what: &str, place: &RequestPlace) -> Result<String, Wrong> {
        let mut found = seen.at(place, self.encoding);
        let mut saw = counted(found.len(), "an empty one");
        let elsewhere = seen.places_of(|text| opaque::decode(text).is_some());
        if found.is_empty() && !elsewhere.is_empty() {
            saw = format!("{saw} there, but a token at {}", quoted(&elsewhere));
        }
        match found.pop() {
            Some(token) if found.is_empty() && !token.is_empty() => Ok(token),
            _ => Err(Wrong::request(format!("{what} at `{place}`"), saw)),
        }
    }
}

/// How many there were, where there should be one.
fn counted(found: usize, one: &str) -> String {
    match found {
        0 => "none".to_owned(),
        1 => one.to_owned(),
        more => format!("{more} of them"),
    }
}

fn quoted(places: &[String]) -> String {
    places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(" and ")
}
