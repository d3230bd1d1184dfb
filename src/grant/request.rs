//! The HTTP request of one grant (RFC 6749 §6), made from a profile and a token. Pure: [`http`](super::http) sends it.

use super::secret_bytes;
use crate::provider::{ClientAuth, ClientSecret, Provider};
use crate::token::RefreshToken;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use secrecy::zeroize::Zeroizing;
use std::borrow::Cow;
use std::fmt;
use url::{Url, form_urlencoded};

/// An HTTP request as data. Holds secrets: `Debug` shows none.
///
/// Credentials and body are zeroised when the last copy is dropped. What the HTTP and TLS libraries copy into buffers of
/// their own (the request's head, records on their way, pages of the journal's file) is out of our hands.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// How it is asked.
    pub method: Method,
    /// Where; without a user name or password.
    pub url: Url,
    /// The header fields, in the order in which they are sent, names in lower case.
    pub headers: Vec<(Cow<'static, str>, FieldValue)>,
    /// The body, as `content-type` among the headers names it.
    pub body: Bytes,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// As RFC 6749 §3.2 asks.
    Post,
}

/// The value of a header field.
#[derive(Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// A constant of ours.
    Public(&'static str),
    /// Credentials, a token or a cookie: never shown, and never put into the compression table of HTTP/2.
    Secret(Bytes),
}

impl FieldValue {
    /// The value itself, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Public(text) => text.as_bytes(),
            Self::Secret(bytes) => bytes,
        }
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public(text) => write!(formatter, "{text:?}"),
            Self::Secret(_) => formatter.write_str("redacted"),
        }
    }
}

impl fmt::Debug for GrantRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GrantRequest")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Makes the request for one refresh token.
#[must_use]
pub fn request(provider: &Provider, token: &RefreshToken) -> GrantRequest {
    let profile = &provider.profile;
    let secret = provider.client_secret.as_ref().map(ClientSecret::expose);
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())];
    fields.extend(profile.scope.iter().map(|scope| ("scope", scope.as_str())));
    fields.extend(profile.extra_parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let credentials = match profile.client_auth {
        ClientAuth::Basic => Some(basic(&provider.client_id, secret.unwrap_or_default())),
        ClientAuth::Body => {
            fields.push(("client_id", &provider.client_id));
            fields.extend(secret.map(|secret| ("client_secret", secret)));
            None
        }
        ClientAuth::None => {
            fields.push(("client_id", &provider.client_id));
            None
        }
    };
    let mut headers = vec![
        ("accept".into(), FieldValue::Public("application/json")),
        // Without it any coding is acceptable (RFC 9110 §12.5.3).
        ("accept-encoding".into(), FieldValue::Public("identity")),
        ("content-type".into(), FieldValue::Public("application/x-www-form-urlencoded")),
    ];
    headers.extend(credentials.map(|credentials| ("authorization".into(), credentials)));
    GrantRequest { method: Method::Post, url: provider.token_url.clone(), headers, body: form(&fields) }
}

/// The body of a form.
fn form(fields: &[(&str, &str)]) -> Bytes {
    // Each byte takes three at most, and a text that grows leaves copies of secrets in the memory.
    let longest = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut text = form_urlencoded::Serializer::new(String::with_capacity(longest));
    text.extend_pairs(fields);
    secret_bytes(text.finish().into_bytes())
}

/// Id and secret for HTTP Basic (RFC 7617), form-encoded first (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &str) -> FieldValue {
    let longest = 3 * (client_id.len() + secret.len()) + 1;
    let mut pair = Zeroizing::new(String::with_capacity(longest));
    push_form_encoded(&mut pair, client_id);
    pair.push(':');
    push_form_encoded(&mut pair, secret);
    let mut value = String::with_capacity(6 + pair.len().div_ceil(3) * 4);
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(pair.as_bytes(), &mut value);
    FieldValue::Secret(secret_bytes(value.into_bytes()))
}

/// Form-encoded, with a space as `%20`.
///
/// A decoder of forms reads both spellings of a space; some servers decode percent signs only and leave a `+` as it is.
fn push_form_encoded(encoded: &mut String, text: &str) {
    // A `+` of the text itself is `%2B`, so each `+` is a space.
    encoded.extend(
        form_urlencoded::byte_serialize(text.as_bytes()).map(|part| if part == "+" { "%20" } else { part }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;

    fn provider(client_auth: ClientAuth) -> Provider {
        let mut profile = profile::load("generic").unwrap();
        profile.client_auth = client_auth;
        profile.scope = Some("data:read".into());
        Provider {
            name: "p".into(),
            profile_name: "generic".into(),
            profile,
            token_url: "https://example.com/token?canary".parse().unwrap(),
            client_id: "id:1".into(),
            client_secret: (client_auth != ClientAuth::None).then(|| ClientSecret::new("s e&canary%".into())),
        }
    }

    #[test]
    fn credentials_are_sent_in_one_place_only() {
        let basic = "Basic aWQlM0ExOnMlMjBlJTI2Y2FuYXJ5JTI1"; // id%3A1:s%20e%26canary%25
        for (auth, authorization, body) in [
            (ClientAuth::Basic, Some(basic), ""),
            (ClientAuth::Body, None, "&client_id=id%3A1&client_secret=s+e%26canary%25"),
            (ClientAuth::None, None, "&client_id=id%3A1"),
        ] {
            let request = request(&provider(auth), &RefreshToken::new("rt".into()));
            let sent = request.headers.iter().find(|(name, _)| name == "authorization");
            assert_eq!(sent.map(|(_, value)| value.expose()), authorization.map(str::as_bytes));
            let grant = "grant_type=refresh_token&refresh_token=rt&scope=data%3Aread";
            assert_eq!(request.body, format!("{grant}{body}"));
        }
    }

    #[test]
    fn a_request_shows_no_secret() {
        for auth in [ClientAuth::Basic, ClientAuth::Body] {
            let shown = format!("{:?}", request(&provider(auth), &RefreshToken::new("canary".into())));
            assert!(shown.contains("\"application/json\"") && !shown.contains("canary"), "{shown}");
            assert!(!shown.contains("aWQ"), "{shown}");
        }
    }
}
