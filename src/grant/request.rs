//! The HTTP request of one grant (RFC 6749 §6), made from a profile and a token. Pure: [`http`](super::http) sends it.

use super::secret_bytes;
use crate::provider::place::RequestPlace;
use crate::provider::request::{Encoding, Method};
use crate::provider::{ClientAuth, ClientSecret, Profile, Provider};
use crate::token::RefreshToken;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use secrecy::zeroize::Zeroizing;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
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
    let Profile { request: shape, client_auth, scope, extra_parameters, .. } = &provider.profile;
    let secret = provider.client_secret.as_ref().map(ClientSecret::expose).unwrap_or_default();
    let mut fields = Vec::with_capacity(8);
    fields.extend(shape.grant_type().map(|value| field("grant_type", value)));
    let mut head = Vec::new();
    let mut url = provider.token_url.clone();
    let refresh_token = token.expose();
    match &shape.refresh_token {
        RequestPlace::Field(name) => fields.push(field(name, refresh_token)),
        RequestPlace::Pointer(names) => {
            fields.push((names.iter().map(String::as_str).collect(), refresh_token));
        }
        RequestPlace::Bearer => head.push(("authorization", credentials("Bearer ", refresh_token))),
        RequestPlace::Header(name) => head.push((name, secret_value(refresh_token))),
        RequestPlace::Cookie(name) => head.push(("cookie", cookie(name, refresh_token))),
        RequestPlace::Query(name) => drop(url.query_pairs_mut().append_pair(name, refresh_token)),
    }
    fields.extend(scope.iter().map(|scope| field("scope", scope)));
    fields.extend(extra_parameters.iter().map(|(name, value)| field(name, value)));
    let id = field(&provider.profile.client_id_name, &provider.client_id);
    match client_auth {
        ClientAuth::Basic => {
            head.push(("authorization", basic(&form_encoded(&provider.client_id), &form_encoded(secret))));
        }
        ClientAuth::BasicRaw => {
            head.push(("authorization", basic(&provider.client_id, secret)));
        }
        ClientAuth::SecretAsUser => head.push(("authorization", basic(secret, ""))),
        ClientAuth::Body => {
            fields.push(id);
            fields.push(field(&provider.profile.client_secret_name, secret));
        }
        ClientAuth::None => fields.push(id),
        ClientAuth::NoClient => {}
    }
    let (content_type, body) = match shape.encoding {
        Encoding::Form => (Some("application/x-www-form-urlencoded"), form(&fields)),
        Encoding::Json => (Some("application/json"), json(&fields)),
        Encoding::Query => {
            url.query_pairs_mut().extend_pairs(fields.iter().map(|(path, value)| (path.concat(), value)));
            (None, Bytes::new())
        }
        Encoding::None => (None, Bytes::new()),
    };
    let mut headers: Vec<(Cow<'static, str>, FieldValue)> = Vec::with_capacity(4 + shape.headers.len());
    let takes_accept = |name: &str| name.eq_ignore_ascii_case("accept");
    if !shape.headers.keys().map(String::as_str).chain(head.iter().map(|(name, _)| *name)).any(takes_accept) {
        headers.push(("accept".into(), FieldValue::Public("application/json")));
    }
    // Without it any coding is acceptable (RFC 9110 §12.5.3).
    headers.push(("accept-encoding".into(), FieldValue::Public("identity")));
    if body.is_empty() && shape.method != Method::Get {
        // The library leaves it out, and some servers refuse such a request (RFC 9110 §8.6, §15.5.12).
        headers.push(("content-length".into(), FieldValue::Public("0")));
    }
    headers.extend(content_type.map(|value| ("content-type".into(), FieldValue::Public(value))));
    headers.extend(head.into_iter().map(|(name, value)| (name.to_owned().into(), value)));
    // A header of a profile may be a key of an API: it is not shown either.
    let more =
        shape.headers.iter().map(|(name, value)| (name.to_ascii_lowercase().into(), secret_value(value)));
    headers.extend(more);
    GrantRequest { method: shape.method, url, headers, body }
}

/// A field of a request: the names that lead to it, and its text.
type Field<'a> = (Vec<&'a str>, &'a str);

fn field<'a>(name: &'a str, value: &'a str) -> Field<'a> {
    (vec![name], value)
}

/// The body of a form.
fn form(fields: &[Field<'_>]) -> Bytes {
    // Each byte takes three at most, and a text that grows leaves copies of secrets in the memory.
    let longest = fields.iter().map(|(path, value)| 3 * (path.concat().len() + value.len()) + 2).sum();
    let mut text = form_urlencoded::Serializer::new(String::with_capacity(longest));
    text.extend_pairs(fields.iter().map(|(path, value)| (path.concat(), value)));
    secret_bytes(text.finish().into_bytes())
}

/// The body as JSON: an object, with others within it where a path has more than one name.
fn json(fields: &[Field<'_>]) -> Bytes {
    // A character takes six bytes at most (`\u0001`), and a text that grows leaves copies of secrets in the memory.
    let length = |(path, value): &Field<'_>| {
        path.iter().map(|name| 6 * name.len() + 8).sum::<usize>() + 6 * value.len()
    };
    let mut body = Vec::with_capacity(2 + fields.iter().map(length).sum::<usize>());
    let object = Object(fields.iter().map(|(path, value)| (path.as_slice(), *value)).collect());
    serde_json::to_writer(&mut body, &object).expect("an object of texts can be written into memory");
    secret_bytes(body)
}

/// Fields as one JSON object; those that begin with the same name stand in one object within it.
struct Object<'a>(Vec<(&'a [&'a str], &'a str)>);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (position, (path, value)) in self.0.iter().enumerate() {
            match path {
                [name] => object.serialize_entry(name, value)?,
                [name, ..] if self.0[..position].iter().all(|(earlier, _)| earlier.first() != Some(name)) => {
                    let within = self.0.iter().filter(|(path, _)| path.first() == Some(name));
                    object.serialize_entry(
                        name,
                        &Object(within.map(|(path, value)| (&path[1..], *value)).collect()),
                    )?;
                }
                _ => {}
            }
        }
        object.end()
    }
}

/// Two texts for HTTP Basic (RFC 7617).
fn basic(user: &str, password: &str) -> FieldValue {
    let mut pair = Zeroizing::new(String::with_capacity(user.len() + 1 + password.len()));
    pair.push_str(user);
    pair.push(':');
    pair.push_str(password);
    let mut encoded = Zeroizing::new(String::with_capacity(pair.len().div_ceil(3) * 4));
    BASE64_STANDARD.encode_string(pair.as_bytes(), &mut encoded);
    credentials("Basic ", &encoded)
}

/// The value of `Authorization`.
fn credentials(scheme: &str, text: &str) -> FieldValue {
    secret_value(&Zeroizing::new([scheme, text].concat()))
}

fn secret_value(text: &str) -> FieldValue {
    FieldValue::Secret(secret_bytes(text.as_bytes().to_vec()))
}

/// `name=value` (RFC 6265 §4.1.1). What may stand in a cookie stays as it is, because not every server decodes; a `%` is
/// encoded, because many do.
fn cookie(name: &str, value: &str) -> FieldValue {
    let mut text = Zeroizing::new(String::with_capacity(name.len() + 1 + 3 * value.len()));
    text.push_str(name);
    text.push('=');
    text.extend(utf8_percent_encode(value, NOT_IN_COOKIES));
    secret_value(&text)
}

/// What a cookie's value can't hold, and the sign of the encoding itself.
const NOT_IN_COOKIES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// Form-encoded, with a space as `%20`.
///
/// A decoder of forms reads both spellings of a space; some servers decode percent signs only and leave a `+` as it is.
fn form_encoded(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(3 * text.len()));
    // A `+` of the text itself is `%2B`, so each `+` is a space.
    encoded.extend(
        form_urlencoded::byte_serialize(text.as_bytes()).map(|part| if part == "+" { "%20" } else { part }),
    );
    encoded
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
