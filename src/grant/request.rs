//! The request of one grant, as data: method, URL, headers, body. Pure; [`super::http`] sends it as it is.

use super::secret_bytes;
use crate::provider::{ClientAuth, ClientSecret, Provider};
use crate::token::RefreshToken;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use std::borrow::Cow;
use std::fmt;
use url::Url;

/// One request. It holds secrets, in any part but the method: `Debug` shows the host and the names of the headers.
///
/// Zeroised when it is dropped. What the HTTP and TLS libraries copy into buffers of their own (the request's head, records
/// on their way, pages of the journal's file) is out of our hands.
pub struct GrantRequest {
    /// The HTTP method.
    pub method: &'static str,
    /// Where it goes.
    pub url: Url,
    /// The headers, in the order in which they are sent.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Bytes,
}

/// One header of a request.
pub struct Header {
    /// Its name, in lower case.
    pub name: Cow<'static, str>,
    /// Its value; it may hold a secret.
    pub value: Zeroizing<String>,
}

impl Header {
    fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Zeroizing::new(value.into()) }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl fmt::Debug for GrantRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GrantRequest")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Builds the request for one refresh token.
#[must_use]
pub fn request(provider: &Provider, token: &RefreshToken) -> GrantRequest {
    let mut form =
        Form(vec![("grant_type", "refresh_token".into()), ("refresh_token", token.expose().into())]);
    form.0.extend(provider.profile.scope.iter().map(|scope| ("scope", scope.clone())));
    form.0.extend(provider.profile.extra_parameters.iter().map(|(key, value)| (key.as_str(), value.clone())));
    let mut headers = vec![
        Header::new("accept", "application/json"),
        // Without it any coding is acceptable (RFC 9110 §12.5.3).
        Header::new("accept-encoding", "identity"),
        Header::new("content-type", "application/x-www-form-urlencoded"),
    ];
    let secret = provider.client_secret.as_ref().map(ClientSecret::expose);
    match provider.profile.client_auth {
        ClientAuth::Basic => headers.push(basic(&provider.client_id, secret.unwrap_or_default())),
        ClientAuth::Body => {
            form.0.push(("client_id", provider.client_id.clone()));
            form.0.extend(secret.map(|secret| ("client_secret", secret.to_owned())));
        }
        ClientAuth::None => form.0.push(("client_id", provider.client_id.clone())),
    }
    GrantRequest { method: "POST", url: provider.token_url.clone(), headers, body: form.encoded() }
}

/// Id and secret as `Authorization: Basic`, form-encoded first (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &str) -> Header {
    let secret = Zeroizing::new(form_encoded(secret));
    let both = Zeroizing::new(format!("{}:{}", form_encoded(client_id), secret.as_str()));
    let coded = Zeroizing::new(BASE64_STANDARD.encode(both.as_bytes()));
    Header::new("authorization", format!("Basic {}", coded.as_str()))
}

/// The `application/x-www-form-urlencoded` fields of a body.
struct Form<'a>(Vec<(&'a str, String)>);

impl Form<'_> {
    /// The body; its memory is zeroised when the last one lets go of it.
    fn encoded(&self) -> Bytes {
        // Each byte takes three at most, and a text that grows leaves copies of itself.
        let longest = self.0.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut text = url::form_urlencoded::Serializer::new(String::with_capacity(longest));
        text.extend_pairs(&self.0);
        secret_bytes(text.finish().into_bytes())
    }
}

impl Drop for Form<'_> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// Form-encoded (RFC 6749 §2.3.1), with a space as `%20`.
///
/// A reader of forms takes both spellings of a space; some servers decode percent signs only and leave a `+` as it is. A
/// `+` of the text itself is `%2B`, so each `+` left is a space.
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
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
            token_url: "https://example.com/token".parse().unwrap(),
            client_id: "id:1".into(),
            client_secret: (client_auth != ClientAuth::None).then(|| ClientSecret::new("s e&c+ret%".into())),
        }
    }

    #[test]
    fn credentials_are_sent_in_one_place_only() {
        let token = RefreshToken::new("r/t".into());
        let grant = "grant_type=refresh_token&refresh_token=r%2Ft&scope=data%3Aread";
        for (auth, header, body) in [
            (ClientAuth::Basic, Some("Basic aWQlM0ExOnMlMjBlJTI2YyUyQnJldCUyNQ=="), ""),
            (ClientAuth::Body, None, "&client_id=id%3A1&client_secret=s+e%26c%2Bret%25"),
            (ClientAuth::None, None, "&client_id=id%3A1"),
        ] {
            let request = request(&provider(auth), &token);
            let sent = request.headers.iter().find(|header| header.name == "authorization");
            assert_eq!(sent.map(|header| header.value.as_str()), header);
            assert_eq!(request.body, format!("{grant}{body}"));
        }
    }

    #[test]
    fn a_request_prints_no_secret() {
        let shown =
            format!("{:?}", request(&provider(ClientAuth::Basic), &RefreshToken::new("canary".into())));
        assert_eq!(
            shown,
            "GrantRequest { method: \"POST\", host: Some(\"example.com\"), headers: [accept, accept-encoding, content-type, \
             authorization], body_bytes: 63, .. }"
        );
    }
}
