//! The survey of a large collection, and what its index costs each write-back.

use crate::collection::Collection;
use crate::{Measured, median, per_second, say, timed};
use chrono::TimeDelta;
use evergrant::testing::clock::{Clock, Timestamp};
use evergrant::testing::store::{Change, Fence, PairChange, Replaces, Store, sqlite_path};
use evergrant::testing::survey::{NextPass, SurveyQuery, Surveyed, Tokens};
use evergrant::testing::token::{AccessToken, Bookkeeping, RefreshToken, TokenDocument};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Documents of the survey.
const DOCUMENTS: usize = 1_000_000;

/// Documents made at once.
const BATCH: usize = 20_000;

/// Surveys, the median of which counts.
const SURVEYS: usize = 9;

/// One survey.
const MOST_SECONDS: f64 = 0.1;

/// Documents and providers of the survey of many providers.
const OF_MANY: (usize, usize) = (100_000, 1000);

/// Documents that are written with the index and without it.
const WRITTEN: usize = 20_000;

/// Documents of one write, and writes at the same time, as a pass writes them.
const WRITE: (usize, usize) = (250, 2);

/// Rounds of each, one after the other.
const ROUNDS: usize = 7;

/// What the index may cost a write-back.
const MOST_COST: f64 = 0.05;

/// How the ends of the logins lie: days ahead, from and to.
type Ends = (i64, i64);

/// Tokens of fourteen days, refreshed each week.
const WEEKLY: Ends = (7, 14);

/// Logins of ninety days at any age.
const SPREAD: Ends = (0, 90);

pub(crate) async fn measure() -> Vec<Measured> {
    let mut figures = Vec::new();
    for ends in [WEEKLY, SPREAD] {
        match Collection::mongo("bench_survey") {
            Some(collection) => figures.push(of_one("MongoDB", &collection, ends).await),
            None => figures.push(Measured::skipped("MongoDB, a survey")),
        }
        let folder = tempfile::tempdir().unwrap();
        figures.push(of_one("SQLite", &Collection::sqlite(folder.path()), ends).await);
    }
    let folder = tempfile::tempdir().unwrap();
    for (store, collection) in
        [("MongoDB", Collection::mongo("bench_survey")), ("SQLite", Some(Collection::sqlite(folder.path())))]
    {
        let Some(collection) = collection else { continue };
        figures.push(of_many(store, Collection { provider: Some("provider"), ..collection }).await);
    }
    let folder = tempfile::tempdir().unwrap();
    match Collection::mongo("bench_survey") {
        Some(collection) => figures.push(cost("MongoDB", &collection).await),
        None => figures.push(Measured::skipped("MongoDB, the cost of the expiry index")),
    }
    figures.push(cost("SQLite", &Collection::sqlite(folder.path())).await);
    figures
}

async fn of_one(store: &str, collection: &Collection, ends: Ends) -> Measured {
    let (from, to) = ends;
    say(&format!("{store}: a survey of {DOCUMENTS} documents that end in {from} to {to} days"));
    let (total, seconds) = surveyed(collection, DOCUMENTS, 1, ends).await;
    say(&format!("{:.1} ms", seconds * 1000.0));
    let marked = (DOCUMENTS / 200) as u64;
    let known = (DOCUMENTS / 1000) as u64;
    assert_eq!((total.needs_login, total.unseen, total.due), (marked, known, Some(known)));
    assert_eq!(total.live, DOCUMENTS as u64 - marked - known);
    let target = format!("{store}, {DOCUMENTS} documents that end in {from} to {to} days: a survey");
    let figure = format!("{:.0} ms", seconds * 1000.0);
    if ends == WEEKLY {
        Measured::required(target, figure, "≤ 100 ms", seconds <= MOST_SECONDS)
    } else {
        Measured::noted(target, figure)
    }
}

async fn of_many(store: &str, collection: Collection) -> Measured {
    let (documents, providers) = OF_MANY;
    say(&format!("{store}: a survey of {documents} documents of {providers} providers"));
    let (total, seconds) = surveyed(&collection, documents, providers, WEEKLY).await;
    say(&format!("{:.1} ms", seconds * 1000.0));
    assert_eq!(total.needs_login, (documents / 200) as u64);
    let target = format!("{store}, {documents} documents of {providers} providers: a survey");
    Measured::noted(target, format!("{:.0} ms", seconds * 1000.0))
}

/// Fills a collection with tokens of which few are due.
pub(crate) async fn fill_without_due(collection: &Collection, documents: usize) {
    fill(collection, documents, 1, WEEKLY, Clock::system().now()).await;
}

async fn fill(collection: &Collection, documents: usize, providers: usize, ends: Ends, now: Timestamp) {
    for first in (0..documents).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(documents);
        collection.fill(numbers.map(|number| document(number, providers, ends, now)).collect()).await;
    }
}

async fn surveyed(collection: &Collection, documents: usize, providers: usize, ends: Ends) -> (Tokens, f64) {
    let now = Clock::system().now();
    fill(collection, documents, providers, ends, now).await;
    let store = collection.open(8).await;
    let next = |number| NextPass {
        provider: name(number),
        begins_at: now + TimeDelta::days(7),
        per_token: Duration::from_millis(150),
    };
    let asked = SurveyQuery { now, providers: (0..providers).map(next).collect() };
    let (mut took, mut total) = (Vec::new(), Tokens::default());
    for _ in 0..SURVEYS {
        let (made, time) = timed(store.survey(&asked)).await;
        match made.unwrap() {
            Surveyed::Made(survey) => total = survey.total(),
            Surveyed::NotMade(why) => panic!("{why:?}"),
        }
        took.push(time.as_secs_f64());
    }
    collection.drop().await;
    (total, median(took))
}

fn name(number: usize) -> String {
    format!("provider-{number:04}")
}

/// One of two hundred is marked, one of a thousand was never seen, and one of five hundred has no known end.
fn document(number: usize, providers: usize, (from, to): Ends, now: Timestamp) -> Map<String, Value> {
    let day = 86_400_000;
    let date = |millis: i64| {
        let at = now + TimeDelta::milliseconds(millis);
        json!({ "$date": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true) })
    };
    // Ends lie evenly, and in no order.
    let share = i64::try_from(number * 7919 % 1_000_003).unwrap();
    let end = from * day + (to - from) * day / 1_000_003 * share + 1;
    let mut books = json!({
        "state": "live", "fingerprint": "0123456789abcdef0123456789abcdef", "refreshed_at": date(-day),
        "due_at": date(day + share), "refresh_expires_at": date(end), "failures": 0,
    });
    if number % 500 == 1 {
        books.as_object_mut().unwrap().remove("refresh_expires_at");
    }
    if number % 200 == 3 {
        books["state"] = "needs_login".into();
        books["due_at"] = date(-day);
    }
    let mut document = json!({
        "_id": number, "email": format!("user{number}@example.com"), "refresh_token": format!("r{number:060}"),
        "access_token": "a".repeat(400), "provider": name(number % providers),
    });
    if number % 1000 != 7 {
        document["evergrant"] = books;
    }
    let Value::Object(document) = document else { unreachable!("it is an object") };
    document
}

/// The share of its throughput that a write-back loses by the index.
async fn cost(store: &str, collection: &Collection) -> Measured {
    say(&format!("{store}: {WRITTEN} write-backs with the expiry index and without it, {ROUNDS} rounds"));
    let now = Clock::system().now();
    collection.fill((0..WRITTEN).map(|number| document(number, 1, WEEKLY, now)).collect()).await;
    let opened = collection.open(8).await;
    write_all(&opened, 0).await;
    let mut shares = Vec::new();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut one = async |is_there: bool, number: usize| {
            if is_there {
                opened.prepare().await.unwrap();
            } else {
                // It may be gone already.
                opened.prepare().await.unwrap();
                drop_index(collection).await;
            }
            let took = write_all(&opened, number).await;
            if is_there {
                with.push(took);
            } else {
                without.push(took);
            }
            took
        };
        // The order changes with each round.
        let first = round % 2 == 0;
        let (a, b) = (one(first, round * 2).await, one(!first, round * 2 + 1).await);
        let (with, without) = if first { (a, b) } else { (b, a) };
        shares.push(1.0 - without.as_secs_f64() / with.as_secs_f64());
    }
    collection.drop().await;
    let share = median(shares);
    let rate = |took: Vec<Duration>| median(took.into_iter().map(|took| per_second(WRITTEN, took)).collect());
    let figure = format!("{:.1} % ({:.0}/s, {:.0}/s)", share * 100.0, rate(with), rate(without));
    let target = format!("{store}: what the expiry index costs write-backs (with it, without)");
    Measured::required(target, figure, "≤ 5 %", share <= MOST_COST)
}

async fn drop_index(collection: &Collection) {
    if let Some(path) = sqlite_path(&collection.url) {
        let file = rusqlite::Connection::open(path).unwrap();
        file.execute_batch("DROP INDEX evergrant_expiry").unwrap();
        return;
    }
    collection.raw().await.drop_index("evergrant_expiry").await.unwrap();
}

/// Writes a new pair and its bookkeeping into every document, as a pass does.
async fn write_all(store: &Arc<dyn Store>, round: usize) -> Duration {
    let now = Clock::system().now();
    let mut changes = Vec::with_capacity(WRITTEN);
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), 5000).await.unwrap();
        changes.extend(page.documents.into_iter().map(|document| change(document, round, now)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (size, at_once) = WRITE;
    let writes = changes.chunks(size).map(|changes| async move {
        assert!(store.apply(changes).await.unwrap().every_matched);
    });
    let ((), took) = timed(stream::iter(writes).buffer_unordered(at_once).collect()).await;
    took
}

fn change(document: TokenDocument, round: usize, now: Timestamp) -> Change {
    let old = document.refresh_token.unwrap();
    let new = RefreshToken::new(format!("r{round:02}{}", &old.expose()[3..]));
    // Not in the order in which they are written.
    let spread = TimeDelta::milliseconds(
        i64::from(new.expose().bytes().map(u32::from).sum::<u32>()) * 7919 % 86_400_000,
    );
    Change {
        id: document.id,
        bookkeeping: Bookkeeping {
            fingerprint: Some(new.fingerprint()),
            due_at: Some(now + TimeDelta::days(4) + spread),
            refreshed_at: Some(now),
            access_expires_at: Some(now + TimeDelta::hours(1)),
            refresh_expires_at: Some(now + TimeDelta::days(14) + spread),
            ..Bookkeeping::default()
        },
        expect_refresh_token: Some(old),
        expect_lease: Fence::None,
        pair: Some(PairChange {
            refresh_token: new,
            access_token: Some(AccessToken::new("b".repeat(400))),
            replaces: Replaces::Any,
            also: Vec::new(),
        }),
    }
}
