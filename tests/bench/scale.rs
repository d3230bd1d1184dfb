//! Memory that doesn't grow with the collection, and a pass with nothing to do that costs nothing.

use crate::binary::{Run, run_once};
use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, median, say};
use std::time::Duration;

const SMALL: usize = 10_000;

const LARGE: usize = 200_000;

/// Grants in flight at once.
const CONCURRENCY: usize = 64;

/// Resident memory at its peak.
const MOST_MEBIBYTES: f64 = 64.0;

/// Passes with nothing due, the median of which counts.
const IDLE_PASSES: usize = 5;

/// A pass with nothing due.
const MOST_IDLE_SECONDS: f64 = 0.2;

pub(crate) async fn measure() -> Vec<Measured> {
    let mut figures = Vec::new();
    for documents in [SMALL, LARGE] {
        match Collection::mongo("bench_scale") {
            Some(collection) => figures.extend(at_size("MongoDB", &collection, documents).await),
            None => figures.push(Measured::skipped(format!("MongoDB, {documents} documents"))),
        }
        let folder = tempfile::tempdir().unwrap();
        figures.extend(at_size("SQLite", &Collection::sqlite(folder.path()), documents).await);
    }
    figures
}

async fn at_size(store: &str, collection: &Collection, documents: usize) -> Vec<Measured> {
    say(&format!("{store}: a pass over {documents} documents"));
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderProcess::start("none", Duration::ZERO);
    collection.fill(provider.add_users(documents).await).await;
    let run = run_once(collection, folder.path(), &provider, CONCURRENCY).await;
    assert_eq!(run.refreshed(), documents as u64, "{:#}", run.report);
    let mut figures = vec![
        Measured::required(
            format!("{store}, {documents} documents: peak memory"),
            format!("{:.1} MiB", run.peak_mebibytes),
            "≤ 64 MiB",
            run.peak_mebibytes <= MOST_MEBIBYTES,
        ),
        Measured::noted(
            format!("{store}, {documents} documents: throughput"),
            format!("{:.0}/s ({:.1} s)", documents as f64 / run.pass_seconds(), run.pass_seconds()),
        ),
    ];
    if documents == LARGE {
        figures.extend(idle(store, collection, folder.path(), &provider).await);
    }
    collection.drop().await;
    figures
}

async fn idle(
    store: &str,
    collection: &Collection,
    folder: &std::path::Path,
    provider: &ProviderProcess,
) -> Vec<Measured> {
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..IDLE_PASSES {
        let run = run_once(collection, folder, provider, CONCURRENCY).await;
        assert_eq!(run.report["touched"], 0);
        runs.push(run);
    }
    let pass = median(runs.iter().map(Run::pass_seconds).collect());
    let process = median(runs.iter().map(|run| run.took.as_secs_f64()).collect());
    vec![Measured::required(
        format!("{store}, {LARGE} documents, none due: the pass"),
        format!("{:.0} ms (the whole process {:.0} ms)", pass * 1000.0, process * 1000.0),
        "≤ 200 ms",
        pass <= MOST_IDLE_SECONDS,
    )]
}
