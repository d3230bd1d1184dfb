//! What it costs to be watched: the time of a scrape, the memory of a service with everything on, and a pass beside readers.

use crate::binary::{Settings, mebibytes, program, run_with};
use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, median, say, survey, timed};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Documents beside which the service sleeps, and of the large pass.
const DOCUMENTS: usize = 1_000_000;

/// Reads of the metrics, the median of which counts.
const SCRAPES: usize = 200;

/// One read of the metrics.
const MOST_SCRAPE_SECONDS: f64 = 0.005;

/// Resident memory of a service that sleeps, and the peak of a pass over everything.
const MOST_MEBIBYTES: [f64; 2] = [20.0, 40.0];

/// Documents of a pass with readers or without.
const OF_A_PASS: usize = 10_000;

/// Passes of each kind, one after the other.
const ROUNDS: usize = 8;

/// Grants in flight at once.
const CONCURRENCY: usize = 64;

/// Time between two reads while a pass runs: a hundred times as often as Prometheus does by default.
const READ_EVERY: Duration = Duration::from_millis(150);

/// Longest time until the service has made its first survey.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn measure() -> Vec<Measured> {
    let mut figures = Vec::new();
    for store in ["MongoDB", "SQLite"] {
        let folder = tempfile::tempdir().unwrap();
        let found = if store == "MongoDB" {
            Collection::mongo("bench_watched")
        } else {
            Some(Collection::sqlite(folder.path()))
        };
        let Some(collection) = found else {
            figures.push(Measured::skipped("MongoDB, watched"));
            continue;
        };
        figures.extend(asleep(store, &collection, folder.path()).await);
        collection.drop().await;
        let folder = tempfile::tempdir().unwrap();
        let collection = if store == "MongoDB" { collection } else { Collection::sqlite(folder.path()) };
        figures.extend(at_work(store, &collection, folder.path()).await);
        collection.drop().await;
    }
    figures
}

/// A gateway that takes everything.
async fn gateway() -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // What comes first is the head; the rest is read until the other side ends.
                let mut part = vec![0; 65_536];
                let _ = stream.read(&mut part).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
                while stream.read(&mut part).await.is_ok_and(|read| read > 0) {}
            });
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serve)))
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Everything that watches, on.
fn everything_on(folder: &Path, admin: SocketAddr, gateway: SocketAddr) -> Settings {
    vec![
        ("admin.listen", admin.to_string()),
        ("metrics.file", folder.join("evergrant.prom").display().to_string()),
        ("metrics.push_url", format!("http://{gateway}/metrics/job/evergrant")),
        ("ping_url", format!("http://{gateway}/ping")),
    ]
}

/// What `admin.listen` answers; none where it doesn't.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// A service over a large collection of which nothing is due.
async fn asleep(store: &str, collection: &Collection, folder: &Path) -> Vec<Measured> {
    say(&format!("{store}: a service that sleeps over {DOCUMENTS} documents, everything on"));
    survey::fill_without_due(collection, DOCUMENTS).await;
    let provider = ProviderProcess::start("none", Duration::ZERO);
    let (admin, (gateway, _serves)) = (free_address(), gateway().await);
    let settings = everything_on(folder, admin, gateway);
    let child = program(collection, folder, &provider, CONCURRENCY, settings).spawn().unwrap();
    let survey_is_made = async {
        while !get(admin, "/metrics").await.is_some_and(|page| page.contains("\nevergrant_tokens{")) {
            tokio::time::sleep(READ_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, survey_is_made).await.expect("the service surveys its tokens");
    let mut took = Vec::new();
    for _ in 0..SCRAPES {
        let (page, time) = timed(get(admin, "/metrics")).await;
        assert!(page.is_some());
        took.push(time.as_secs_f64());
    }
    let rests = mebibytes(&format!("/proc/{}/status", child.id().unwrap()), "VmRSS:").unwrap();
    let scrape = median(took);
    vec![
        Measured::required(
            format!("{store}, {DOCUMENTS} documents: a scrape"),
            format!("{:.1} ms", scrape * 1000.0),
            "≤ 5 ms",
            scrape <= MOST_SCRAPE_SECONDS,
        ),
        Measured::required(
            format!("{store}, {DOCUMENTS} documents: a service that sleeps, everything on"),
            format!("{rests:.1} MiB"),
            "≤ 20 MiB",
            rests <= MOST_MEBIBYTES[0],
        ),
    ]
}

/// Passes with readers and without, and a large one.
async fn at_work(store: &str, collection: &Collection, folder: &Path) -> Vec<Measured> {
    let provider = ProviderProcess::start("none", Duration::ZERO);
    let (gateway, _serves) = gateway().await;
    say(&format!("{store}: passes over {OF_A_PASS} documents, watched and not, {ROUNDS} of each"));
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS * 2 {
        // The order changes with each pair.
        let is_watched = (round + round / 2) % 2 == 1;
        collection.drop().await;
        remove_file(collection);
        collection.fill(provider.add_users(OF_A_PASS).await).await;
        let state = tempfile::tempdir().unwrap();
        let admin = free_address();
        let settings = if is_watched {
            everything_on(state.path(), admin, gateway)
        } else {
            vec![("admin.listen", "off".to_owned())]
        };
        let reads = async move {
            loop {
                let _ = get(admin, "/metrics").await;
                tokio::time::sleep(READ_EVERY).await;
            }
        };
        let _reads = is_watched.then(|| AbortOnDropHandle::new(tokio::spawn(reads)));
        let run = run_with(collection, state.path(), &provider, CONCURRENCY, settings).await;
        assert_eq!(run.refreshed(), OF_A_PASS as u64, "{:#}", run.report);
        took[usize::from(is_watched)].push(run.pass_seconds());
    }
    let [without, with] = took.map(middle_half);
    say(&format!("{store}: a pass over {DOCUMENTS} documents, everything on"));
    collection.drop().await;
    remove_file(collection);
    collection.fill(provider.add_users(DOCUMENTS).await).await;
    let settings = everything_on(folder, free_address(), gateway);
    let run = run_with(collection, folder, &provider, CONCURRENCY, settings).await;
    assert_eq!(run.refreshed(), DOCUMENTS as u64, "{:#}", run.report);
    vec![
        Measured::required(
            format!("{store}: seconds of a pass over {OF_A_PASS}, watched; not watched (middle halves)"),
            format!("{:.2} to {:.2}; {:.2} to {:.2}", with[0], with[1], without[0], without[1]),
            "they overlap",
            with[0] <= without[1],
        ),
        Measured::required(
            format!("{store}, {DOCUMENTS} documents, all due, everything on: peak memory"),
            format!("{:.1} MiB", run.peak_mebibytes),
            "≤ 40 MiB",
            run.peak_mebibytes <= MOST_MEBIBYTES[1],
        ),
    ]
}

/// The quarter and the three quarters of these.
fn middle_half(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    [values[values.len() / 4], values[values.len() * 3 / 4]]
}

/// Removes the file of an embedded store.
fn remove_file(collection: &Collection) {
    if let Some(path) = evergrant::testing::store::sqlite_path(&collection.url) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{path}{end}"));
        }
    }
}
