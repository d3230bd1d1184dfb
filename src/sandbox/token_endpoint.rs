//! `POST /token`: one request, what the provider decides, and what a fault makes of the answer.

use super::answer::{AnswerBody, Cut, Receipt};
use super::connection::Connection;
use super::fault::{Fault, mix};
use super::ledger::{Admission, Index, Redeemed};
use super::profile::Asked;
use super::record::Outcome;
use super::reply::Answer;
use super::request::{self, Rejection};
use super::{Shared, opaque};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Largest request body that is read; a token request has a few hundred bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

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
    let role = shared.config.role.as_deref();
    if role.is_none() && request.method() != Method::POST {
        let mut refusal = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "use POST");
        refusal.headers.push((header::ALLOW, HeaderValue::from_static("POST")));
        return Ok(refusal.whole(None));
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
    let mut asked = read(&shared, &head, &body);
    let bytes = asked.as_ref().ok().and_then(|asked| opaque::decode(&asked.refresh_token));

    let (admission, token) = {
        let now = shared.now();
        let mut ledger = shared.ledger();
        ledger.totals.in_flight_peak = ledger.totals.in_flight_peak.max(open);
        let token = bytes.and_then(|bytes| ledger.find_token(&bytes));
        if let (Some(role), Some(token), Ok(Asked { access_token: Some(beside), .. })) = (role, token, &asked)
            && !ledger.handed_out_together(token, beside)
        {
            asked = Err(role.another_access_token());
        }
        (ledger.admit(token, now), token)
    };
    let (number, fault) = match admission {
        Admission::Throttled { retry_after } => {
            let seconds = retry_after.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            return Ok(throttled(&shared, seconds).whole(None));
        }
        Admission::Admitted { number, fault } => (number, fault),
    };
    let half = latency(&shared, number) / 2;
    pause(half).await;
    if let Some(instead) = fault.and_then(|fault| before_commit(&shared, fault)) {
        pause(half).await;
        return instead.map(|answer| answer.whole(None));
    }
    if let Some(Fault::Delay { by }) = fault {
        pause(by).await;
    }

    let (answer, receipt) = match asked {
        Err((rejection, answer)) => {
            shared.ledger().rejected(rejection);
            (answer, None)
        }
        Ok(_) => match redeem(&shared, token, fault) {
            Some(redeemed) => {
                connection.answers(Some(redeemed.presentation));
                let receipt = Receipt::new(Arc::clone(&shared), redeemed.presentation);
                (granted(&shared, number, &redeemed), Some(receipt))
            }
            None => (refused(&shared), None),
        },
    };
    pause(half).await;
    after_commit(fault, answer, receipt)
}

/// What the request asks for, or what it is answered because it isn't one that the provider takes.
fn read(shared: &Shared, head: &Parts, body: &[u8]) -> Result<Asked, (Rejection, Answer)> {
    match &shared.config.role {
        Some(role) => role.read(&shared.config, head, body),
        None => request::refresh_token(&shared.config, &head.headers, body)
            .map(|token| Asked { refresh_token: token.into_owned(), access_token: None })
            .map_err(|rejection| (rejection, Answer::rejection(rejection))),
    }
}

fn granted(shared: &Shared, number: u64, redeemed: &Redeemed) -> Answer {
    match &shared.config.role {
        Some(role) => role.granted(number, &redeemed.access_token, redeemed.refresh_token.as_deref()),
        None => Answer::granted(shared, redeemed),
    }
}

fn refused(shared: &Shared) -> Answer {
    shared.config.role.as_ref().map_or_else(Answer::refused, |role| role.dead())
}

fn throttled(shared: &Shared, retry_after_seconds: u64) -> Answer {
    match &shared.config.role {
        Some(role) => role.throttled(retry_after_seconds),
        None => Answer::throttled(retry_after_seconds),
    }
}

fn client_rejected(shared: &Shared) -> Answer {
    let usual = || Answer::rejection(Rejection::InvalidClient { challenge: false });
    shared.config.role.as_ref().map_or_else(usual, |role| role.client())
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
fn before_commit(shared: &Shared, fault: Fault) -> Option<Result<Answer, Cut>> {
    let answer = match fault {
        Fault::Status { status: 429, retry_after_seconds } => {
            throttled(shared, retry_after_seconds.unwrap_or(1).into())
        }
        Fault::Status { status, retry_after_seconds } => Answer::status(status, retry_after_seconds),
        Fault::Refuse => refused(shared),
        Fault::RejectClient => client_rejected(shared),
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
