//! The throughput without a limit, as a share of the floor: reading, asking and writing, each by itself, with nothing
//! kept safe in between.

use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, median, per_second, say, setup, timed};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::Wire as _;
use evergrant::testing::grant::http::TokenEndpoint;
use evergrant::testing::grant::{self, Sent};
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::Provider;
use evergrant::testing::token::RefreshToken;
use futures::TryStreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DOCUMENTS: usize = 20_000;

/// The rounds whose median counts.
const ROUNDS: usize = 3;

/// Grants in flight at once.
const CONCURRENCY: usize = 64;

/// Updates in one command of the floor.
const BULK: usize = 1000;

/// The pass' throughput, as a share of the floor's.
const LEAST_SHARE: f64 = 0.5;

/// What each part of the floor took.
struct Floor {
    read: Duration,
    ask: Duration,
    write: Duration,
}

impl Floor {
    fn sum(&self) -> Duration {
        self.read + self.ask + self.write
    }
}

pub(crate) async fn measure() -> Vec<Measured> {
    let target = "no limit: throughput, of the floor's";
    say(&format!("the throughput without a limit, and its floor: {ROUNDS} rounds of {DOCUMENTS} documents"));
    let provider = ProviderProcess::start("none", Duration::ZERO);
    let (mut shares, mut floors, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let Some(floor) = floor(&provider).await else { return vec![Measured::skipped(target)] };
        let Some(took) = pass(&provider).await else { return vec![Measured::skipped(target)] };
        say(&format!(
            "floor {:.2} s (read {:.2}, ask {:.2}, write {:.2}), pass {:.2} s",
            floor.sum().as_secs_f64(),
            floor.read.as_secs_f64(),
            floor.ask.as_secs_f64(),
            floor.write.as_secs_f64(),
            took.as_secs_f64()
        ));
        shares.push(floor.sum().as_secs_f64() / took.as_secs_f64());
        floors.push(per_second(DOCUMENTS, floor.sum()));
        passes.push(per_second(DOCUMENTS, took));
    }
    let share = median(shares);
    vec![
        Measured::required(target, format!("{share:.2}"), "≥ 0.5", share >= LEAST_SHARE),
        Measured::noted(
            "no limit: the pass, the floor",
            format!("{:.0}/s, {:.0}/s", median(passes), median(floors)),
        ),
    ]
}

async fn pass(provider: &ProviderProcess) -> Option<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let collection = Collection::mongo("bench_pass")?;
    collection.fill(provider.add_users(DOCUMENTS).await).await;
    let pass = setup::pass(&collection, folder.path(), provider.as_provider("none", CONCURRENCY)).await;
    let (summary, took) = timed(setup::run(&pass, &Stop::default())).await;
    setup::assert_all_refreshed(&summary, DOCUMENTS);
    collection.drop().await;
    Some(took)
}

async fn floor(process: &ProviderProcess) -> Option<Floor> {
    let collection = Collection::mongo("bench_floor")?;
    collection.fill(process.add_users(DOCUMENTS).await).await;
    drop(collection.open(CONCURRENCY).await);
    let raw = collection.raw().await;
    let (documents, read) = timed(read(&raw)).await;
    let tokens = documents.iter().map(|document| document.get_str("refresh_token").unwrap().to_owned());
    let (answers, ask) = timed(ask(process.as_provider("none", CONCURRENCY), tokens.collect())).await;
    assert_eq!(answers, DOCUMENTS);
    let (written, write) = timed(write(&raw, &documents)).await;
    assert_eq!(written, DOCUMENTS);
    collection.drop().await;
    Some(Floor { read, ask, write })
}

async fn read(raw: &mongodb::Collection<Document>) -> Vec<RawDocumentBuf> {
    let raw = raw.clone_with_type::<RawDocumentBuf>();
    raw.find(doc! {}).await.unwrap().try_collect().await.unwrap()
}

/// Sends every grant and throws the answer away; the number of good ones.
async fn ask(provider: Arc<Provider>, tokens: Vec<String>) -> usize {
    let endpoint = TokenEndpoint::new(&provider, Clock::system()).unwrap();
    let tokens: Arc<Vec<_>> = Arc::new(tokens.into_iter().map(RefreshToken::new).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let asking = (0..CONCURRENCY).map(|_| {
        let (endpoint, provider) = (endpoint.clone(), provider.clone());
        let (tokens, next) = (tokens.clone(), next.clone());
        tokio::spawn(async move {
            let mut good = 0;
            while let Some(token) = tokens.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = endpoint.post(&grant::request(&provider, token).unwrap()).await;
                good += usize::from(matches!(sent, Sent::Answered(answer) if answer.status == 200));
            }
            good
        })
    });
    let mut good = 0;
    for asking in asking.collect::<Vec<_>>() {
        good += asking.await.unwrap();
    }
    good
}

/// Writes a pair and the bookkeeping into every document, as durably as a pass does; the number of matches.
async fn write(raw: &mongodb::Collection<Document>, documents: &[RawDocumentBuf]) -> usize {
    let database = raw.client().database(&raw.namespace().db);
    let now = DateTime::now();
    let mut written = 0;
    for batch in documents.chunks(BULK) {
        let updates: Vec<_> = batch.iter().map(|document| update(document, now)).collect();
        let command = doc! {
            "update": raw.name(), "updates": updates, "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        written += database.run_command(command).await.unwrap().get_i32("n").unwrap();
    }
    written.try_into().unwrap()
}

fn update(document: &RawDocumentBuf, now: DateTime) -> Document {
    let id = Bson::try_from(document.get("_id").unwrap().unwrap()).unwrap();
    // As long as the real ones, and other ones.
    let turned = |name| document.get_str(name).unwrap().chars().rev().collect::<String>();
    let bookkeeping = doc! {
        "state": "live", "since": now, "fingerprint": "0123456789abcdef0123456789abcdef", "due_at": now,
        "refreshed_at": now, "access_expires_at": now, "refresh_expires_at": now, "failures": 0,
    };
    doc! {
        "q": { "_id": id },
        "u": { "$set": {
            "refresh_token": turned("refresh_token"), "access_token": turned("access_token"), "evergrant": bookkeeping,
        } },
    }
}
