//! Everything but the token endpoint: the ledger to read, the users to import, the faults to set.

use super::audit::audit;
use super::ledger::Ledger;
use super::{Audit, FaultScript, LedgerSummary, SeededUser, Shared, fault::mix};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;

/// Users that one request may add: enough for any rehearsal, and less than a typing error can do to the memory.
const MAX_ADDED_USERS: usize = 1_000_000;

/// Lines that are written while the ledger is locked once.
const LINES_A_PAGE: usize = 256;

pub(super) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/users", get(users).post(add_users))
        .route("/ledger", get(summary))
        .route("/ledger/users", get(ledger_users))
        .route("/ledger/tokens", get(ledger_tokens))
        .route("/ledger/audit", post(audit_held).layer(DefaultBodyLimit::disable()))
        .route("/control/faults", get(faults).post(set_faults))
        .route("/control/login/{user}", post(login))
        .route("/control/revoke/{user}", post(revoke))
        .fallback(elsewhere)
        .with_state(shared)
}

async fn elsewhere(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let words = shared.config.role.as_ref().map(|role| role.elsewhere());
    (StatusCode::NOT_FOUND, words.unwrap_or_default())
}

/// A token document as `mongoexport` writes it.
#[derive(Serialize)]
pub(super) struct Document {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(rename = "userId")]
    user: String,
    email: String,
    access_token: String,
    refresh_token: String,
}

#[derive(Serialize)]
struct ObjectId {
    #[serde(rename = "$oid")]
    hexadecimal: String,
}

impl Document {
    pub(super) fn new(seed: u64, position: usize, user: SeededUser) -> Self {
        let SeededUser { user, email, access_token, refresh_token } = user;
        let hexadecimal = format!("{:016x}{:08x}", mix(seed), position & 0xffff_ffff);
        Self { id: ObjectId { hexadecimal }, user, email, access_token, refresh_token }
    }
}

/// A document, or part of one, whose refresh token is to be judged.
#[derive(Deserialize)]
struct Held {
    user: Option<String>,
    #[serde(rename = "userId")]
    user_id: Option<String>,
    email: Option<String>,
    #[serde(default)]
    refresh_token: String,
}

impl Held {
    fn into_pair(self) -> (String, String) {
        (self.user.or(self.user_id).or(self.email).unwrap_or_default(), self.refresh_token)
    }
}

#[derive(Deserialize)]
struct Format {
    format: Option<String>,
}

#[derive(Deserialize)]
struct Count {
    count: usize,
}

async fn summary(State(shared): State<Arc<Shared>>) -> Json<LedgerSummary> {
    let now = shared.now();
    Json(shared.ledger().summary(now))
}

async fn users(State(shared): State<Arc<Shared>>, Query(query): Query<Format>) -> Response {
    match query.format.as_deref() {
        None | Some("json") => {
            let users = shared.ledger().user_count();
            documents(shared, 0, users)
        }
        Some(_) => (StatusCode::BAD_REQUEST, "the only format is `json`\n").into_response(),
    }
}

async fn add_users(State(shared): State<Arc<Shared>>, Query(query): Query<Count>) -> Response {
    if query.count > MAX_ADDED_USERS {
        let text = format!("at most {MAX_ADDED_USERS} users at once\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let now = shared.now();
    let first = {
        let mut ledger = shared.ledger();
        let first = ledger.user_count();
        ledger.add_users(query.count, now);
        first
    };
    documents(shared, first, first + query.count)
}

fn documents(shared: Arc<Shared>, first: usize, end: usize) -> Response {
    let seed = shared.config.seed;
    ndjson(shared, first, end, move |ledger, position| {
        Some(Document::new(seed, position, ledger.seeded_user(position)?))
    })
}

async fn ledger_users(State(shared): State<Arc<Shared>>) -> Response {
    let (now, users) = (shared.now(), shared.ledger().user_count());
    ndjson(shared, 0, users, move |ledger, position| ledger.user_record(position, now))
}

async fn ledger_tokens(State(shared): State<Arc<Shared>>) -> Response {
    let tokens = shared.ledger().token_count();
    ndjson(shared, 0, tokens, Ledger::token_record_at)
}

async fn audit_held(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Json<Audit>, Response> {
    let held = read_held(&body).map_err(|error| {
        let text = format!("expected JSON objects with `user` or `email`, and `refresh_token`: {error}\n");
        (StatusCode::BAD_REQUEST, text).into_response()
    })?;
    let now = shared.now();
    Ok(Json(audit(&shared.ledger(), held.into_iter().map(Held::into_pair), now)))
}

fn read_held(body: &[u8]) -> serde_json::Result<Vec<Held>> {
    if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(body)
    } else {
        serde_json::Deserializer::from_slice(body).into_iter().collect()
    }
}

async fn faults(State(shared): State<Arc<Shared>>) -> String {
    format!("{}\n", shared.ledger().faults())
}

async fn set_faults(State(shared): State<Arc<Shared>>, script: String) -> Response {
    match script.parse::<FaultScript>() {
        Ok(script) => {
            let playable = shared.config.role.as_ref().map_or(Ok(()), |role| role.can_play(&script, 0));
            if let Err(error) = playable {
                return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
            }
            let text = format!("{script}\n");
            shared.ledger().set_faults(script);
            text.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn login(State(shared): State<Arc<Shared>>, Path(user): Path<String>) -> Response {
    let now = shared.now();
    let mut ledger = shared.ledger();
    let Some(position) = ledger.find_user(&user) else {
        return no_such_user();
    };
    ledger.login(position, now);
    let document = ledger.seeded_user(position).map(|user| Document::new(shared.config.seed, position, user));
    Json(document).into_response()
}

async fn revoke(State(shared): State<Arc<Shared>>, Path(user): Path<String>) -> Response {
    let mut ledger = shared.ledger();
    let Some(position) = ledger.find_user(&user) else {
        return no_such_user();
    };
    ledger.revoke(position);
    StatusCode::NO_CONTENT.into_response()
}

fn no_such_user() -> Response {
    (StatusCode::NOT_FOUND, "no such user\n").into_response()
}

/// Streams the lines from `first` to before `end`, a page at a time, so that the ledger is never locked for long.
fn ndjson<T: Serialize>(
    shared: Arc<Shared>,
    first: usize,
    end: usize,
    line: impl Fn(&Ledger, usize) -> Option<T> + Send + 'static,
) -> Response {
    let pages = stream::unfold((shared, line, first), move |(shared, line, first)| async move {
        if first >= end {
            return None;
        }
        let next = end.min(first + LINES_A_PAGE);
        let lines: Vec<T> = {
            let ledger = shared.ledger();
            (first..next).filter_map(|position| line(&ledger, position)).collect()
        };
        let mut page = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut page, &line)
                .expect("plain structs serialize, and a Vec takes everything");
            page.push(b'\n');
        }
        Some((Ok::<_, Infallible>(page), (shared, line, next)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(pages)).into_response()
}
