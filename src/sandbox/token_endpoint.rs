//! `POST /token`: one request, what the provider decides, and what a fault makes of the answer.

use super::answer::{AnswerBody, Cut, Receipt};
use super::connection::Connection;
use super::fault::{Fault, mix};
use super::ledger::{Admission, Index, Redeemed};
use super::record::Outcome;
use super::request::{self, Rejection};
use super::{Shared, opaque};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::Incoming;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Largest request body that is read; a token request has a few hundred bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What a login firewall in front of a provider says, with a 200.
const FIREWALL_PAGE: &str =
    "<!doctype html><html><title>Please wait</title><body>Checking your browser</body></html>";

/// An answer before it is put on the wire.
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    content_type: &'static str,
    text: String,
}

/// Holds a request's place in the count of open ones.
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a token request; an error closes the connection without a byte.
pub(super) async fn answer(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let open = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    let _in_flight = InFlight(Arc::clone(&shared));
    connection.answers(None);
    if request.method() != Method::POST {
        let mut refusal = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "use POST");
        refusal.headers.push((header::ALLOW, HeaderValue::from_static("POST")));
        return Ok(refusal.whole(None));
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
    let asked = request::refresh_token(&shared.config, &head.headers, &body);
    let bytes = asked.as_ref().ok().and_then(|token| opaque::decode(token));

    let (admission, token) = {
        let now = shared.now();
        let mut ledger = shared.ledger();
        ledger.totals.in_flight_peak = ledger.totals.in_flight_peak.max(open);
        let token = bytes.and_then(|bytes| ledger.find_token(&bytes));
        (ledger.admit(token, now), token)
    };
    let (number, fault) = match admission {
        Admission::Throttled { retry_after } => {
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            return Ok(Answer::throttled(u64::try_from(seconds).unwrap_or(u64::MAX)).whole(None));
        }
        Admission::Admitted { number, fault } => (number, fault),
    };
    let half = latency(&shared, number) / 2;
    pause(half).await;
    if let Some(instead) = fault.and_then(before_commit) {
        pause(half).await;
        return instead.map(|answer| answer.whole(None));
    }
    if let Some(Fault::Delay { by }) = fault {
        pause(by).await;
    }

    let (answer, receipt) = match asked {
        Err(rejection) => {
            shared.ledger().rejected(rejection);
            (Answer::rejection(rejection), None)
        }
        Ok(_) => match redeem(&shared, token, fault) {
            Some(redeemed) => {
                connection.answers(Some(redeemed.presentation));
                let receipt = Receipt::new(Arc::clone(&shared), redeemed.presentation);
                (Answer::granted(&shared, redeemed), Some(receipt))
            }
            None => (Answer::refused(), None),
        },
    };
    pause(half).await;
    after_commit(fault, answer, receipt)
}

fn redeem(shared: &Shared, token: Option<Index>, fault: Option<Fault>) -> Option<Redeemed> {
    let outcome = match fault {
        Some(Fault::DropAfter) => Outcome::CutAfterCommit,
        Some(Fault::Truncate) => Outcome::Truncated,
        Some(Fault::HtmlAfter | Fault::StatusAfter { .. }) => Outcome::Replaced,
        _ => Outcome::Delivered,
    };
    let now = shared.now();
    let mut ledger = shared.ledger();
    let Some(token) = token else {
        ledger.totals.refused += 1;
        return None;
    };
    ledger.redeem(token, outcome, now)
}

/// What a fault answers in the provider's place, without a commit.
fn before_commit(fault: Fault) -> Option<Result<Answer, Cut>> {
    let answer = match fault {
        Fault::Status { status, retry_after_seconds } => Answer::status(status, retry_after_seconds),
        Fault::Refuse => Answer::refused(),
        Fault::DropBefore => return Some(Err(Cut)),
        Fault::Html => Answer::firewall_page(),
        Fault::Redirect => Answer::redirect(),
        Fault::StatusAfter { .. }
        | Fault::DropAfter
        | Fault::Truncate
        | Fault::HtmlAfter
        | Fault::Gzip { .. }
        | Fault::Slow { .. }
        | Fault::Delay { .. } => return None,
    };
    Some(Ok(answer))
}

/// What a fault makes of the provider's answer.
fn after_commit(
    fault: Option<Fault>,
    answer: Answer,
    receipt: Option<Receipt>,
) -> Result<Response<Body>, Cut> {
    Ok(match fault {
        Some(Fault::DropAfter) => return Err(Cut),
        Some(Fault::Truncate) => answer.with_body(|text| AnswerBody::truncated(text, receipt)),
        Some(Fault::Slow { over }) => answer.with_body(|text| AnswerBody::slow(text, over, receipt)),
        Some(Fault::Gzip { named }) => answer.compressed(named, receipt),
        Some(Fault::HtmlAfter) => Answer::firewall_page().whole(receipt),
        Some(Fault::StatusAfter { status }) => Answer::status(status, None).whole(receipt),
        _ => answer.whole(receipt),
    })
}

impl Answer {
    fn json(status: StatusCode, text: String) -> Self {
        Self { status, headers: Vec::new(), content_type: "application/json", text }
    }

    /// RFC 6749 §5.1. The tokens need no escaping: they are URL-safe.
    fn granted(shared: &Shared, redeemed: Redeemed) -> Self {
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
    fn error(status: StatusCode, error: &str, description: &str) -> Self {
        Self::json(status, format!(r#"{{"error":"{error}","error_description":"{description}"}}"#))
    }

    fn refused() -> Self {
        let description = "the refresh token is invalid, expired, revoked, or was used before";
        Self::error(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    fn rejection(rejection: Rejection) -> Self {
        let (error, description) = rejection.words();
        let mut answer = Self::error(rejection.status(), error, description);
        if rejection == (Rejection::InvalidClient { challenge: true }) {
            let challenge = HeaderValue::from_static(r#"Basic realm="sandbox", charset="UTF-8""#);
            answer.headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        answer
    }

    /// The 429 of an API gateway: no `error` that a client could go by.
    fn throttled(retry_after_seconds: u64) -> Self {
        let text = r#"{"developerMessage":"Quota limit exceeded."}"#.into();
        let mut answer = Self::json(StatusCode::TOO_MANY_REQUESTS, text);
        answer.headers.push((header::RETRY_AFTER, retry_after_seconds.into()));
        answer
    }

    /// An injected status, in the words that usually come with it.
    fn status(status: u16, retry_after_seconds: Option<u32>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = match status {
            StatusCode::TOO_MANY_REQUESTS => {
                return Self::throttled(u64::from(retry_after_seconds.unwrap_or(1)));
            }
            StatusCode::BAD_REQUEST => Self::error(status, "invalid_request", "injected by a fault"),
            StatusCode::UNAUTHORIZED => Self::error(status, "invalid_client", "injected by a fault"),
            StatusCode::FORBIDDEN => Self::error(status, "unauthorized_client", "injected by a fault"),
            status => {
                let text = format!("<html><body><h1>{status}</h1></body></html>");
                Self { status, headers: Vec::new(), content_type: "text/html", text }
            }
        };
        if let Some(seconds) = retry_after_seconds {
            answer.headers.push((header::RETRY_AFTER, u64::from(seconds).into()));
        }
        answer
    }

    fn firewall_page() -> Self {
        let text = FIREWALL_PAGE.into();
        Self { status: StatusCode::OK, headers: Vec::new(), content_type: "text/html; charset=utf-8", text }
    }

    fn redirect() -> Self {
        let mut answer = Self::json(StatusCode::FOUND, "{}".into());
        answer.headers.push((header::LOCATION, HeaderValue::from_static("/healthz")));
        answer
    }

    fn whole(self, receipt: Option<Receipt>) -> Response<Body> {
        self.with_body(|text| AnswerBody::whole(text, receipt))
    }

    /// RFC 1952, whatever the request accepts; without the header where a proxy took it away.
    fn compressed(mut self, named: bool, receipt: Option<Receipt>) -> Response<Body> {
        if named {
            self.headers.push((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        self.with_body(|text| {
            let mut stream = GzEncoder::new(Vec::new(), Compression::default());
            stream.write_all(text.as_bytes()).expect("a Vec takes everything");
            AnswerBody::whole(stream.finish().expect("a Vec takes everything"), receipt)
        })
    }

    fn with_body(self, body: impl FnOnce(String) -> AnswerBody) -> Response<Body> {
        let mut response = Response::new(Body::new(body(self.text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        headers.extend(self.headers);
        response
    }
}

/// How long this request takes: the same for the same seed and number.
fn latency(shared: &Shared, number: u64) -> Duration {
    let config = &shared.config;
    let jitter = u64::try_from(config.latency_jitter.as_micros()).unwrap_or(u64::MAX);
    let drawn = if jitter == 0 { 0 } else { mix(config.seed ^ mix(!number)) % jitter };
    config.latency + Duration::from_micros(drawn)
}

async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}
