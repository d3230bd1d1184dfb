//! `evergrant run --once` as a person starts it, and the most memory that it ever held.

use crate::collection::{Collection, NAME};
use crate::provider::ProviderProcess;
use evergrant::sandbox::SandboxConfig;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// How often the process' memory is looked at; the system remembers the peak between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// What came of one run.
pub(crate) struct Run {
    /// The report, as the program printed it.
    pub(crate) report: Value,
    /// The peak of its resident memory, in MiB.
    pub(crate) peak_mebibytes: f64,
    /// From the start of the process to its end.
    pub(crate) took: Duration,
}

impl Run {
    /// How long the pass itself took, in seconds: from its first word to the store.
    pub(crate) fn pass_seconds(&self) -> f64 {
        self.report["took_seconds"].as_f64().unwrap()
    }

    pub(crate) fn refreshed(&self) -> u64 {
        self.report["outcomes"]["refreshed"].as_u64().unwrap_or_default()
    }
}

/// Settings beside those that every measurement has.
pub(crate) type Settings = Vec<(&'static str, String)>;

/// The program over `collection`; `folder` keeps the journal from run to run.
pub(crate) fn program(
    collection: &Collection,
    folder: &Path,
    provider: &ProviderProcess,
    concurrency: usize,
    more: Settings,
) -> Command {
    let sandbox = SandboxConfig::default();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evergrant"));
    command
        .env_clear()
        .env("EVERGRANT_CLIENT_SECRET", sandbox.client_secret)
        .current_dir(folder)
        .args(["run", "-qq"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let settings = [
        ("store.url", collection.url.clone()),
        ("store.collection", NAME.to_owned()),
        ("state_dir", folder.join("state").display().to_string()),
        ("provider", "generic".to_owned()),
        ("token_url", provider.token_url()),
        ("client_id", sandbox.client_id),
        ("refresh_token_lifetime", "14d".to_owned()),
        ("rate", "none".to_owned()),
        ("concurrency", concurrency.to_string()),
    ];
    for (key, value) in settings.into_iter().chain(more) {
        command.args(["--set", &format!("{key}={value}")]);
    }
    if !collection.database.is_empty() {
        command.args(["--set", &format!("store.database={}", collection.database)]);
    }
    command
}

/// Runs one pass over `collection`; `folder` keeps the journal from run to run.
pub(crate) async fn run_once(
    collection: &Collection,
    folder: &Path,
    provider: &ProviderProcess,
    concurrency: usize,
) -> Run {
    run_with(collection, folder, provider, concurrency, Settings::new()).await
}

/// The same with these settings.
pub(crate) async fn run_with(
    collection: &Collection,
    folder: &Path,
    provider: &ProviderProcess,
    concurrency: usize,
    more: Settings,
) -> Run {
    let mut command = program(collection, folder, provider, concurrency, more);
    let began = Instant::now();
    let mut child = command.args(["--once", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut stdout = child.stdout.take().unwrap();
    let report = tokio::spawn(async move {
        let mut report = Vec::new();
        stdout.read_to_end(&mut report).await.unwrap();
        report
    });
    let mut peak = 0.0;
    let exit = loop {
        if let Some(now) = mebibytes(&status, "VmHWM:") {
            peak = now;
        }
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        tokio::time::sleep(LOOK).await;
    };
    let took = began.elapsed();
    assert!(exit.success(), "the pass ended with {exit}");
    let report = serde_json::from_slice(&report.await.unwrap()).unwrap();
    Run { report, peak_mebibytes: peak, took }
}

/// The resident memory of a process, now (`VmRSS:`) or at its peak (`VmHWM:`); `None` when it has ended.
pub(crate) fn mebibytes(status: &str, which: &str) -> Option<f64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}
