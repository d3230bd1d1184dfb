//! An answer of the token endpoint before it is put on the wire, and those that RFC 6749 and gateways have.

use super::Shared;
use super::answer::{AnswerBody, Receipt};
use super::ledger::Redeemed;
use super::request::Rejection;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// What a login firewall in front of a provider says, with a 200.
const FIREWALL_PAGE: &str =
    "<!doctype html><html><title>Please wait</title><body>Checking your browser</body></html>";

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer before it is put on the wire.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The content type too; a name may come more than once.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(status: StatusCode, text: String) -> Self {
        Self { status, headers: vec![(header::CONTENT_TYPE, JSON)], text }
    }

    fn page(status: StatusCode, text: String) -> Self {
        let content_type = HeaderValue::from_static("text/html; charset=utf-8");
        Self { status, headers: vec![(header::CONTENT_TYPE, content_type)], text }
    }

    /// RFC 6749 §5.1. The tokens need no escaping: they are URL-safe.
    pub(super) fn granted(shared: &Shared, redeemed: &Redeemed) -> Self {
        use std::fmt::Write as _;
        let Redeemed { access_token, refresh_token, .. } = redeemed;
        let expires_in = shared.config.access_token_lifetime.as_secs();
        let mut text =
            format!(r#"{{"access_token":"{access_token}","token_type":"Bearer","expires_in":{expires_in}"#);
        let mut add =
            |part: std::fmt::Arguments<'_>| text.write_fmt(part).expect("a String takes everything");
        if let Some(refresh_token) = refresh_token {
            add(format_args!(r#","refresh_token":"{refresh_token}""#));
        }
        if shared.config.announce_refresh_lifetime {
            let seconds = shared.config.refresh_token_lifetime.as_secs();
            add(format_args!(r#","refresh_token_expires_in":{seconds}"#));
        }
        text.push('}');
        Self::json(StatusCode::OK, text)
    }

    /// RFC 6749 §5.2.
    pub(super) fn error(status: StatusCode, error: &str, description: &str) -> Self {
        let text = serde_json::json!({ "error": error, "error_description": description });
        Self::json(status, text.to_string())
    }

    pub(super) fn refused() -> Self {
        let description = "the refresh token is invalid, expired, revoked, or was used before";
        Self::error(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    pub(super) fn rejection(rejection: Rejection) -> Self {
        let (error, description) = rejection.words();
        let mut answer = Self::error(rejection.status(), error, description);
        if rejection == (Rejection::InvalidClient { challenge: true }) {
            let challenge = HeaderValue::from_static(r#"Basic realm="sandbox", charset="UTF-8""#);
            answer.headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        answer
    }

    /// The 429 of an API gateway: no `error` that a client could go by.
    pub(super) fn throttled(retry_after_seconds: u64) -> Self {
        let text = r#"{"developerMessage":"Quota limit exceeded."}"#.into();
        Self::json(StatusCode::TOO_MANY_REQUESTS, text).retry_after(retry_after_seconds)
    }

    /// The same with `Retry-After`, in the place of one that it has.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.retain(|(name, _)| name != header::RETRY_AFTER);
        self.headers.push((header::RETRY_AFTER, seconds.into()));
        self
    }

    /// An injected status, in the words that usually come with it.
    pub(super) fn status(status: u16, retry_after_seconds: Option<u32>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = match status {
            StatusCode::TOO_MANY_REQUESTS => {
                return Self::throttled(u64::from(retry_after_seconds.unwrap_or(1)));
            }
            StatusCode::BAD_REQUEST => Self::error(status, "invalid_request", "injected by a fault"),
            StatusCode::UNAUTHORIZED => Self::error(status, "invalid_client", "injected by a fault"),
            StatusCode::FORBIDDEN => Self::error(status, "unauthorized_client", "injected by a fault"),
            status => Self::page(status, format!("<html><body><h1>{status}</h1></body></html>")),
        };
        match retry_after_seconds {
            Some(seconds) => answer.retry_after(seconds.into()),
            None => answer,
        }
    }

    pub(super) fn firewall_page() -> Self {
        Self::page(StatusCode::OK, FIREWALL_PAGE.into())
    }

    pub(super) fn redirect() -> Self {
        let mut answer = Self::json(StatusCode::FOUND, "{}".into());
        answer.headers.push((header::LOCATION, HeaderValue::from_static("/healthz")));
        answer
    }

    pub(super) fn whole(self, receipt: Option<Receipt>) -> Response<Body> {
        self.with_body(|text| AnswerBody::whole(text, receipt))
    }

    /// RFC 1952, whatever the request accepts; without the header where a proxy took it away.
    pub(super) fn compressed(mut self, named: bool, receipt: Option<Receipt>) -> Response<Body> {
        if named {
            self.headers.push((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        self.with_body(|text| {
            let mut stream = GzEncoder::new(Vec::new(), Compression::default());
            stream.write_all(text.as_bytes()).expect("a Vec takes everything");
            AnswerBody::whole(stream.finish().expect("a Vec takes everything"), receipt)
        })
    }

    pub(super) fn with_body(self, body: impl FnOnce(String) -> AnswerBody) -> Response<Body> {
        let mut response = Response::new(Body::new(body(self.text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        for (name, value) in [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    }
}
