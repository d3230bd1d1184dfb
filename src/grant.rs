//! One `refresh_token` grant (RFC 6749 §6): the request, and what came back. No I/O here; that is [`http`].

pub mod answer;
mod body;
mod coding;
pub mod headers;
pub mod http;
pub mod partial;
mod patience;

use crate::clock::{Clock, Timestamp};
use crate::provider::{ClientAuth, Provider};
use crate::token::RefreshToken;
use async_trait::async_trait;
use bytes::Bytes;
use headers::Headers;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use std::fmt;
use std::sync::Arc;

/// The `application/x-www-form-urlencoded` fields of a request; holds secrets, so it has no `Debug`.
///
/// Zeroised when it is dropped, like the credentials and the bodies here. What the HTTP and TLS libraries copy into
/// buffers of their own (the request's head, records on their way, pages of the journal's file) is out of our hands.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The fields in the order in which they are sent.
    #[must_use]
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// The body of the request; its memory is zeroised when the last one lets go of it.
    #[must_use]
    pub fn encoded(&self) -> Bytes {
        // Each byte takes three at most, and a text that grows leaves copies behind.
        let longest = self.0.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut text = url::form_urlencoded::Serializer::new(String::with_capacity(longest));
        text.extend_pairs(&self.0);
        secret_bytes(text.finish().into_bytes())
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// Bytes that hold a secret: zeroised when the last one lets go of them.
#[must_use]
pub fn secret_bytes(bytes: Vec<u8>) -> Bytes {
    Bytes::from_owner(Zeroizing::new(bytes))
}

/// Appends to a body; a place that gets too small is zeroised and not only given up.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (body.len() + chunk.len())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(chunk);
}

/// Id and secret for the `Authorization: Basic` header, form-encoded (RFC 6749 §2.3.1); holds a secret.
pub struct BasicCredentials {
    /// The form-encoded client id.
    pub username: String,
    /// The form-encoded client secret.
    pub password: Zeroizing<String>,
}

/// What to send for one grant.
pub struct GrantRequest {
    /// The body.
    pub form: Form,
    /// The header, when the profile authenticates with Basic; then the body holds no credentials.
    pub basic: Option<BasicCredentials>,
}

/// Builds the request for one refresh token.
#[must_use]
pub fn request(provider: &Provider, token: &RefreshToken) -> GrantRequest {
    let mut form = vec![
        ("grant_type".to_owned(), "refresh_token".to_owned()),
        ("refresh_token".to_owned(), token.expose().to_owned()),
    ];
    form.extend(provider.profile.scope.iter().map(|scope| ("scope".to_owned(), scope.clone())));
    form.extend(provider.profile.extra_parameters.iter().map(|(key, value)| (key.clone(), value.clone())));
    let secret = provider.client_secret.as_ref();
    let basic = match provider.profile.client_auth {
        ClientAuth::Basic => Some(BasicCredentials {
            username: form_encoded(&provider.client_id),
            password: form_encoded(secret.map_or("", |secret| secret.expose())).into(),
        }),
        ClientAuth::Body => {
            form.push(("client_id".to_owned(), provider.client_id.clone()));
            form.extend(secret.map(|secret| ("client_secret".to_owned(), secret.expose().to_owned())));
            None
        }
        ClientAuth::None => {
            form.push(("client_id".to_owned(), provider.client_id.clone()));
            None
        }
    };
    GrantRequest { form: Form(form), basic }
}

/// Form-encoded (RFC 6749 §2.3.1), with a space as `%20`.
///
/// Whoever decodes forms reads both spellings of a space; some servers decode percent signs only and leave a `+` as it
/// is. A `+` of the text itself is `%2B`, so each `+` left is a space.
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The way to one provider's token endpoint: [`http::TokenEndpoint`], or what a simulation puts in its place.
#[async_trait]
pub trait Wire: Send + Sync + fmt::Debug {
    /// Sends one grant and waits for all of the answer.
    ///
    /// **Must run to completion**: dropped midway, a pair may be lost. Spawn it.
    async fn post(&self, request: &GrantRequest) -> Sent;

    /// The address that requests go to, as far as it is known: evidence for a grant whose answer was lost.
    fn peer(&self) -> Option<String> {
        None
    }
}

/// Makes the [`Wire`] to each provider of a pass.
pub trait Connect: Send + Sync + fmt::Debug {
    /// Prepares a wire; sends nothing yet.
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, http::ClientError>;
}

/// An HTTP answer as it came, before anybody parsed it. Holds tokens: `Debug` shows names and sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields, up to [`headers::MAX_HEADER_BYTES`].
    pub headers: Headers,
    /// The body as it came, compressed or not, up to [`http::MAX_BODY_BYTES`].
    pub body: Bytes,
    /// Did the body come to its end? `false` when the line was cut or the body was too long.
    pub complete: bool,
    /// When the last byte came.
    pub received_at: Timestamp,
}

impl RawAnswer {
    /// The first `Retry-After` field, when it is a text.
    #[must_use]
    pub fn retry_after(&self) -> Option<&str> {
        self.headers.retry_after()
    }

    /// The `Content-Encoding` fields as one list: what the body was compressed with, if they tell the truth.
    #[must_use]
    pub fn content_encoding(&self) -> Option<String> {
        self.headers.content_encoding()
    }
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RawAnswer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

/// How one POST ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Status and headers came, and all or part of a body.
    Answered(RawAnswer),
    /// Provably not processed: no connection was made. The cause as a word: `dns`, `connect`, `tls`, `connect_timeout`.
    NotSent(&'static str),
    /// It may have been processed, and no answer came. The cause as a word: `timeout`, `reset`.
    Lost(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{ClientSecret, profile};

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
        let token = RefreshToken::new("rt".into());
        for (auth, basic, body) in [
            (ClientAuth::Basic, Some(("id%3A1", "s%20e%26c%2Bret%25")), &[][..]),
            (ClientAuth::Body, None, &[("client_id", "id:1"), ("client_secret", "s e&c+ret%")][..]),
            (ClientAuth::None, None, &[("client_id", "id:1")][..]),
        ] {
            let request = request(&provider(auth), &token);
            let sent = request.basic.as_ref().map(|b| (b.username.as_str(), b.password.as_str()));
            assert_eq!(sent, basic);
            let fields: Vec<_> =
                request.form.fields().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let grant = [("grant_type", "refresh_token"), ("refresh_token", "rt"), ("scope", "data:read")];
            assert_eq!(fields, [&grant[..], body].concat());
        }
    }

    #[test]
    fn a_raw_answer_prints_no_body_and_no_cookie() {
        let answer = RawAnswer {
            status: 200,
            headers: [("set-cookie", "canary")].into_iter().collect(),
            body: Bytes::from_static(b"canary"),
            complete: true,
            received_at: Timestamp::UNIX_EPOCH,
        };
        assert!(!format!("{:?}", Sent::Answered(answer)).contains("canary"));
    }
}
