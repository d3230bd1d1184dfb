//! The sandbox in a process of its own, so that it costs whoever asks it the same.

use evergrant::sandbox::{LedgerSummary, Sandbox, SandboxConfig};
use evergrant::testing::provider::{ClientSecret, Provider, profile};
use serde_json::{Map, Value};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The hidden argument that makes this program the provider: rate limit and milliseconds of latency follow.
pub(crate) const PROCESS: &str = "--provider-process";

/// A sandbox in a process of its own; it ends when this is dropped.
pub(crate) struct ProviderProcess {
    process: Child,
    base_url: String,
    http: reqwest::Client,
}

impl Drop for ProviderProcess {
    fn drop(&mut self) {
        // The end of its standard input ends it; it has nothing to lose.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl ProviderProcess {
    /// Starts one with a rate limit (`400/min`, `none`), each answer of which takes `latency`.
    pub(crate) fn start(rate_limit: &str, latency: Duration) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([PROCESS, rate_limit, &latency.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut base_url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut base_url).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { process, base_url: base_url.trim().to_owned(), http }
    }

    pub(crate) fn token_url(&self) -> String {
        format!("{}/token", self.base_url)
    }

    /// More users, as documents of somebody who never heard of Evergrant.
    pub(crate) async fn add_users(&self, count: usize) -> Vec<Map<String, Value>> {
        let lines = self.http.post(format!("{}/users?count={count}", self.base_url)).send().await;
        let lines = lines.unwrap().text().await.unwrap();
        let documents: Vec<_> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(documents.len(), count);
        documents
    }

    pub(crate) async fn ledger(&self) -> LedgerSummary {
        let answer = self.http.get(format!("{}/ledger", self.base_url)).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// It as a pass sees it.
    pub(crate) fn as_provider(&self, rate: &str, concurrency: usize) -> Arc<Provider> {
        let mut profile = profile::load("generic").unwrap();
        profile.rate = (rate != "none").then(|| rate.parse().unwrap());
        profile.concurrency = NonZeroUsize::new(concurrency).unwrap();
        profile.refresh_token_lifetime = Some(Duration::from_hours(14 * 24));
        let sandbox = SandboxConfig::default();
        Arc::new(Provider {
            name: "sandbox".into(),
            profile_name: "generic".into(),
            profile,
            token_url: self.token_url().parse().unwrap(),
            values: evergrant::testing::provider::Values::default(),
            client_id: sandbox.client_id,
            client_secret: Some(ClientSecret::new(sandbox.client_secret)),
        })
    }
}

/// What the process does: serves until its standard input ends.
pub(crate) async fn serve(behaviour: &[String]) {
    let [rate_limit, latency] = behaviour else { panic!("expected a rate limit and a latency") };
    let config = SandboxConfig {
        users: 0,
        rate_limit: (rate_limit != "none").then(|| rate_limit.parse().unwrap()),
        latency: Duration::from_millis(latency.parse().unwrap()),
        ..SandboxConfig::default()
    };
    let (sandbox, serving) = Sandbox::bind(config, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    println!("{}", sandbox.base_url());
    let parent_is_gone = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    serving.run(async { drop(parent_is_gone.await) }).await;
}
