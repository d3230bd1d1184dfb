//! How the request of a grant is written, where it differs from RFC 6749 §6. As data.

use super::place::RequestPlace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How the client proves who it is at the token endpoint (RFC 6749 §2.3.1); never two ways at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic with id and secret form-encoded first, as RFC 6749 asks.
    Basic,
    /// HTTP Basic with id and secret as they are (RFC 7617).
    BasicRaw,
    /// HTTP Basic with the secret as the user's name, and no password.
    SecretAsUser,
    /// `client_id` and `client_secret` among the fields.
    Body,
    /// A public client: `client_id` among the fields, no secret.
    None,
    /// No client at all: neither id nor secret is sent.
    NoClient,
}

impl ClientAuth {
    /// The word in a profile.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::BasicRaw => "basic_raw",
            Self::SecretAsUser => "secret_as_user",
            Self::Body => "body",
            Self::None => "none",
            Self::NoClient => "no_client",
        }
    }

    /// Does it take a client id?
    #[must_use]
    pub const fn takes_id(self) -> bool {
        !matches!(self, Self::NoClient | Self::SecretAsUser)
    }

    /// Does it take a client secret?
    #[must_use]
    pub const fn takes_secret(self) -> bool {
        !matches!(self, Self::NoClient | Self::None)
    }

    /// Does it write the header field `Authorization`?
    #[must_use]
    pub const fn is_in_the_head(self) -> bool {
        matches!(self, Self::Basic | Self::BasicRaw | Self::SecretAsUser)
    }
}

/// The method of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// As RFC 6749 §3.2 asks.
    #[default]
    Post,
    /// Without a body.
    Get,
    /// With a body.
    Put,
}

impl Method {
    /// The word in a profile, and on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Put => "PUT",
        }
    }
}

/// How the fields of a request are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// As a JSON object.
    Json,
    /// As parameters of the URL; the body is empty.
    Query,
    /// There are none: the body is empty.
    None,
}

impl Encoding {
    /// The word in a profile.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Json => "json",
            Self::Query => "query",
            Self::None => "none",
        }
    }
}

/// The request of a grant; what it doesn't say is as in RFC 6749 §6. `Debug` shows the names of the headers only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestShape {
    /// How it is asked.
    pub method: Method,
    /// How the fields are sent.
    pub encoding: Encoding,
    /// The value of the field `grant_type`; `none` leaves the field out.
    pub grant_type: String,
    /// Where the refresh token stands.
    pub refresh_token: RequestPlace,
    /// Where the document's access token stands, for a server that wants the old one too.
    #[serde(with = "or_none", skip_serializing_if = "Option::is_none")]
    pub access_token: Option<RequestPlace>,
    /// More header fields, by their names; `{NAME}` of a variable and `{uuid}` are filled.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for RequestShape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, encoding, grant_type, refresh_token, access_token, headers } = self;
        formatter
            .debug_struct("RequestShape")
            .field("method", method)
            .field("encoding", encoding)
            .field("grant_type", grant_type)
            .field("refresh_token", refresh_token)
            .field("access_token", access_token)
            .field("headers", &headers.keys())
            .finish()
    }
}

impl Default for RequestShape {
    fn default() -> Self {
        Self {
            method: Method::default(),
            encoding: Encoding::default(),
            grant_type: "refresh_token".to_owned(),
            refresh_token: RequestPlace::default(),
            access_token: None,
            headers: BTreeMap::new(),
        }
    }
}

impl RequestShape {
    /// The place of each token, with its key.
    pub fn token_places(&self) -> impl Iterator<Item = (&'static str, &RequestPlace)> {
        let access_token = self.access_token.iter().map(|place| ("request.access_token", place));
        std::iter::once(("request.refresh_token", &self.refresh_token)).chain(access_token)
    }

    /// The value of the field `grant_type`, if it is sent.
    #[must_use]
    pub fn grant_type(&self) -> Option<&str> {
        Some(self.grant_type.as_str()).filter(|value| *value != "none")
    }

    /// Does the URL hold the refresh token, or all fields?
    #[must_use]
    pub const fn url_holds_secrets(&self) -> bool {
        matches!(self.refresh_token, RequestPlace::Query(_))
            || matches!(self.access_token, Some(RequestPlace::Query(_)))
            || matches!(self.encoding, Encoding::Query)
    }
}

/// The value of a further field: a text, and in JSON a number or a flag too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Number(f64),
    /// A text; `{NAME}` of a variable and `{uuid}` are filled.
    Text(String),
}

impl Parameter {
    /// Its text, where it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(formatter),
            Self::Whole(number) => number.fmt(formatter),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => text.fmt(formatter),
        }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Serde for a place, or the word `none`.
mod or_none {
    use super::RequestPlace;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        place: &Option<RequestPlace>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match place {
            Some(place) => serializer.collect_str(place),
            None => serializer.serialize_str("none"),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<RequestPlace>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "none" { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
    }
}
