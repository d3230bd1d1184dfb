//! One `refresh_token` grant (RFC 6749 §6): the request, and what came back. No I/O here; that is [`http`].

pub mod answer;
mod body;
pub mod captured;
mod coding;
mod form;
pub mod headers;
pub mod http;
pub mod mask;
pub mod partial;
mod patience;
pub mod request;
mod secrets;

use crate::clock::{Clock, Timestamp};
use crate::provider::Provider;
use async_trait::async_trait;
use bytes::Bytes;
use headers::Headers;
use secrecy::zeroize::Zeroizing;
use std::fmt;
use std::sync::Arc;
use url::Url;

pub use request::{GrantRequest, Login, request};
pub use secrets::secrets;

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

/// The way to one provider's token endpoint: [`http::TokenEndpoint`], or what a simulation puts in its place.
#[async_trait]
pub trait Wire: Send + Sync + fmt::Debug {
    /// Sends one grant and waits for all of the answer.
    ///
    /// **Must run to completion**: dropped midway, a pair may be lost. Spawn it.
    async fn post(&self, request: &GrantRequest) -> Sent;

    /// The address that requests to this URL go to, as far as it is known: evidence for a grant whose answer was lost.
    fn peer(&self, url: &Url) -> Option<String> {
        let _ = url;
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
