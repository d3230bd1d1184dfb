//! The HTTP request of one grant (RFC 6749 §6), made from a profile and a token. Pure: [`http`](super::http) sends it.

mod body;

use super::secret_bytes;
use super::secrets::secrets;
use crate::provider::place::RequestPlace;
use crate::provider::request::{Encoding, Method, Parameter};
use crate::provider::{ClientAuth, ClientSecret, Profile, Provider, template};
use crate::token::{AccessToken, DueToken, Facts, Malformed, RefreshToken};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use body::{Fields, Value, field};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
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
    /// The tokens and secrets in it: what must not be shown where an answer repeats it.
    pub secrets: Vec<Zeroizing<String>>,
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
            .finish_non_exhaustive()
    }
}

/// What of a document goes into a request.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// What is redeemed.
    pub refresh_token: &'a RefreshToken,
    /// The access token beside it, for a server that wants both.
    pub access_token: Option<&'a AccessToken>,
    /// Values of the document.
    pub facts: &'a Facts,
}

static NO_FACTS: Facts = Facts { login_ends_at: None, logged_in_at: None, values: Vec::new() };

impl<'a> From<&'a DueToken> for Login<'a> {
    fn from(token: &'a DueToken) -> Self {
        Self {
            refresh_token: &token.refresh_token,
            access_token: token.access_token.as_ref(),
            facts: &token.facts,
        }
    }
}

impl<'a> From<&'a RefreshToken> for Login<'a> {
    /// Of a token without a document.
    fn from(refresh_token: &'a RefreshToken) -> Self {
        Self { refresh_token, access_token: None, facts: &NO_FACTS }
    }
}

/// Makes the request for one refresh token.
///
/// # Errors
/// What the document lacks: the old access token, or a value of a variable.
pub fn request<'a>(provider: &'a Provider, login: impl Into<Login<'a>>) -> Result<GrantRequest, Malformed> {
    let Login { refresh_token, access_token, facts } = login.into();
    provider.takes(refresh_token, access_token, facts)?;
    let Profile { request: shape, client_auth, scope, extra_parameters, .. } = &provider.profile;
    let secret = provider.client_secret.as_ref().map(ClientSecret::expose).unwrap_or_default();
    let client_id = provider.client_id_for(facts)?;
    let mut url = provider.url_for(facts)?;
    let mut fields = Fields::new(shape.grant_type().map(|value| field("grant_type", value)));
    let mut head = Vec::new();
    let mut cookies = Zeroizing::new(String::new());
    let tokens = [
        (Some(&shape.refresh_token), Some(refresh_token.expose())),
        (shape.access_token.as_ref(), access_token.map(AccessToken::expose)),
    ];
    for (place, token) in tokens.into_iter().filter_map(|(place, token)| place.zip(token)) {
        match place {
            RequestPlace::Field(name) => fields.push(field(name, token)),
            RequestPlace::Pointer(names) => {
                fields.push((names.iter().map(String::as_str).collect(), Value::Text(token.into())));
            }
            RequestPlace::Bearer => head.push(("authorization", credentials("Bearer ", token))),
            RequestPlace::Header(name) => head.push((name, secret_value(token))),
            RequestPlace::Cookie(name) => add_cookie(&mut cookies, name, token),
            RequestPlace::Query(name) => drop(url.query_pairs_mut().append_pair(name, token)),
        }
    }
    if !cookies.is_empty() {
        head.push(("cookie", secret_value(&cookies)));
    }
    fields.extend(scope.iter().map(|scope| field("scope", scope)));
    let filled = |text| template::filled(text, |name| value(provider, name, facts));
    for (name, parameter) in extra_parameters {
        let value = match parameter {
            Parameter::Text(text) => Value::Text(filled(text)?),
            plain => Value::Plain(plain),
        };
        fields.push((vec![name], value));
    }
    let id = field(&provider.profile.client_id_name, client_id);
    match client_auth {
        ClientAuth::Basic => {
            head.push(("authorization", basic(&form_encoded(client_id), &form_encoded(secret))));
        }
        ClientAuth::BasicRaw => head.push(("authorization", basic(client_id, secret))),
        ClientAuth::SecretAsUser => head.push(("authorization", basic(secret, ""))),
        ClientAuth::Body => {
            fields.push(id);
            fields.push(field(&provider.profile.client_secret_name, secret));
        }
        ClientAuth::None => fields.push(id),
        ClientAuth::NoClient => {}
    }
    let (content_type, body) = match shape.encoding {
        Encoding::Form => (Some("application/x-www-form-urlencoded"), body::form(&fields)),
        Encoding::Json => (Some("application/json"), body::json(&fields)),
        Encoding::Query => {
            url.query_pairs_mut().extend_pairs(body::pairs(&fields));
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
    for (name, value) in &shape.headers {
        // A header of a profile may be a key of an API: it is not shown either.
        headers.push((name.to_ascii_lowercase().into(), secret_value(&filled(value)?)));
    }
    let tokens = [Some(refresh_token.expose()), access_token.map(AccessToken::expose)];
    let tokens = tokens.into_iter().flatten().map(|token| Zeroizing::new(token.to_owned()));
    let secrets = tokens.chain(secrets(provider, facts)).collect();
    Ok(GrantRequest { method: shape.method, url, headers, body, secrets })
}

/// What stands in a request for a name in braces; `None` where it is no variable.
fn value<'a>(
    provider: &'a Provider,
    name: &str,
    facts: &'a Facts,
) -> Option<Result<Cow<'a, str>, Malformed>> {
    if name == template::UUID && !provider.profile.variables.contains_key(name) {
        return Some(Ok(uuid().into()));
    }
    provider.value(name, facts)
}

/// A random UUID (RFC 9562 §5.4).
fn uuid() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
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

/// Appends `name=value` (RFC 6265 §4.2.1). What may stand in a cookie stays as it is, because not every server decodes; a
/// `%` is encoded, because many do.
fn add_cookie(cookies: &mut Zeroizing<String>, name: &str, value: &str) {
    let mut text = Zeroizing::new(String::with_capacity(cookies.len() + name.len() + 3 + 3 * value.len()));
    text.push_str(cookies);
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(name);
    text.push('=');
    text.extend(utf8_percent_encode(value, NOT_IN_COOKIES));
    *cookies = text;
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
mod tests;
