//! What a process shows of itself, and whom it tells.

#![expect(clippy::float_cmp, reason = "counts, which a metric writes as whole numbers")]

mod hostile;
mod outlets;
mod status;

use crate::support::app::client;
use crate::support::canaries;
use crate::support::process::{Ended, Kind, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::report::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Child;

/// Longest wait for something to be shown.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Metrics by their series, as the page names them.
type Page = BTreeMap<String, f64>;

/// A service that shows itself.
struct Shown {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Shown {
    fn start(scene: &mut Scene) -> Self {
        // Free a moment ago; the service says so where it isn't any more.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        scene.set("admin.listen", &address.to_string());
        Self { child: scene.start(&["run"]), address, client: client() }
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        let (status, text) = (answer.status().as_u16(), answer.text().await.ok()?);
        canaries::search(path, &text);
        Some((status, text))
    }

    async fn page(&self) -> Option<Page> {
        let (status, text) = self.get("/metrics").await?;
        assert_eq!(status, 200, "{text}");
        Some(series(&text))
    }

    async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/status.json").await.unwrap().1).unwrap()
    }

    /// The metrics, once they are as `wanted`.
    async fn until(&mut self, wanted: impl Fn(&Page) -> bool) -> Page {
        let mut tick = tokio::time::interval(TICK);
        let look = async {
            loop {
                tick.tick().await;
                assert_eq!(self.child.try_wait().unwrap(), None, "it runs");
                if let Some(page) = self.page().await.filter(|page| wanted(page)) {
                    return page;
                }
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("the metrics get there")
    }

    async fn end(self) -> Ended {
        let id = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        Ended::of(self.child).await
    }
}

fn series(page: &str) -> Page {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, at)| (name.to_owned(), at.parse().unwrap()))
        .collect()
}

fn of(metric: &str, labels: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{metric}{{provider=\"generic\"{comma}{labels}}}")
}

/// Has a pass ended, and does the supervisor know it?
fn after_a_pass(page: &Page) -> bool {
    page.contains_key(&of("evergrant_last_pass_end_timestamp_seconds", ""))
        && page.get("evergrant_phase{phase=\"sleeping\"}") == Some(&1.0)
}

/// The sum of a metric over one label.
fn sum(page: &Page, metric: &str) -> f64 {
    page.iter().filter(|(name, _)| name.starts_with(&format!("{metric}{{"))).map(|(_, at)| at).sum()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn float(count: u64) -> f64 {
    count as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_what_the_ledger_says_and_a_restart_does_not_forget_the_last_pass() {
    let config = SandboxConfig { users: 24, dead_users: 3, ..SandboxConfig::default() };
    let mut scene = Scene::new("watch_metrics", Kind::Sqlite, config).await.unwrap();
    // Two throttled answers, one that is lost on its way, one page of a proxy.
    scene.sandbox.set_faults("429(1)@3, 429(1)@5, drop-after@8, 502@11".parse().unwrap());
    scene.set("settle_after", "10ms");
    scene.set("schedule", "* * * * * *");
    let mut shown = Shown::start(&mut scene);
    let page = shown.until(after_a_pass).await;
    let ledger = scene.sandbox.ledger();
    // One was granted, and its answer never came.
    assert_eq!(
        page[&of("evergrant_grants_total", "class=\"granted\"")],
        float(ledger.delivered),
        "{ledger:?}"
    );
    assert_eq!(sum(&page, "evergrant_grants_total"), float(ledger.requests), "{ledger:?}");
    assert_eq!(page[&of("evergrant_grant_duration_seconds_count", "")], float(ledger.requests));
    let ended = |outcome: Outcome| {
        page[&of("evergrant_last_pass_documents", &format!("outcome=\"{}\"", outcome.word()))]
    };
    let documents = scene.documents().await;
    let marked = documents.iter().filter(|document| document.bookkeeping.state.is_mark()).count() as u64;
    assert_eq!(ended(Outcome::Refreshed), float(ledger.delivered), "each grant is in its document");
    assert_eq!(ended(Outcome::NeedsLogin) + ended(Outcome::LostInFlight), float(marked));
    assert_eq!(sum(&page, "evergrant_last_pass_newly_marked"), float(marked));
    assert_eq!(sum(&page, "evergrant_last_pass_documents"), 24.0);
    assert_eq!(sum(&page, "evergrant_still_due"), ended(Outcome::StillDue));
    assert_eq!(sum(&page, "evergrant_documents_total"), 24.0);
    assert_eq!(sum(&page, "evergrant_last_pass_result"), 1.0);
    for (series, at) in
        [("evergrant_journal_up", 1.0), ("evergrant_store_up", 1.0), (&of("evergrant_pass_running", ""), 0.0)]
    {
        assert_eq!(page[series], at, "{series}");
    }
    assert!(page[&of("evergrant_throttle_pauses_total", "")] >= 1.0);
    for path in ["/livez", "/readyz"] {
        assert_eq!(shown.get(path).await.unwrap(), (200, "ok\n".to_owned()));
    }
    let (_, verbose) = shown.get("/livez?verbose").await.unwrap();
    assert!(verbose.contains("[+]store ok") && verbose.ends_with("livez check passed\n"), "{verbose}");
    let status = shown.status().await;
    assert_eq!((&status["phase"], &status["journal"]["up"]), (&"sleeping".into(), &true.into()), "{status}");
    assert_eq!(status["providers"]["generic"]["last_pass"]["outcomes"]["refreshed"], ledger.delivered);
    let text = status.to_string();
    assert!(!text.contains("example.com"), "no name of a user: {text}");
    assert_eq!(shown.get("/other").await.unwrap().0, 404);
    let last = page[&of("evergrant_last_pass_end_timestamp_seconds", "")];
    let said = shown.end().await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("metrics and health are at http://127.0.0.1:"), "{said:?}");
    // Nothing is due, and no pass begins for a week: the next process knows of the last one all the same, and counts the tokens.
    scene.set("schedule", "0 3 * * SUN");
    let mut shown = Shown::start(&mut scene);
    let page = shown
        .until(|page| after_a_pass(page) && page.contains_key("evergrant_survey_timestamp_seconds"))
        .await;
    assert!(page[&of("evergrant_last_pass_end_timestamp_seconds", "")] >= last);
    assert_eq!(page[&of("evergrant_tokens", "state=\"live\"")], float(24 - marked), "{page:?}");
    assert_eq!(shown.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_are_slow_or_many_keep_no_pass_from_its_work_and_no_other_reader_for_long() {
    let config = SandboxConfig { users: 400, ..SandboxConfig::default() };
    let mut scene = Scene::new("watch_slow", Kind::Sqlite, config).await.unwrap();
    scene.set("rate", "200/s");
    scene.set("schedule", "* * * * * *");
    let mut shown = Shown::start(&mut scene);
    shown.until(|_| true).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(shown.address).await.unwrap();
        // Half a request.
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.unwrap();
        slow.push(stream);
    }
    // A probe gets its answer at once, however many are open.
    for _ in 0..3 {
        let probe = tokio::time::timeout(Duration::from_secs(2), shown.get("/livez")).await;
        assert_eq!(probe.unwrap().unwrap().0, 200);
    }
    scene.until(&mut shown.child, |sandbox| sandbox.ledger().granted == 400).await;
    let page = shown.until(after_a_pass).await;
    assert_eq!(page[&of("evergrant_last_pass_documents", "outcome=\"refreshed\"")], 400.0);
    assert!(page["process_open_fds"] < 150.0, "64 connections at most: {}", page["process_open_fds"]);
    drop(slow);
    assert_eq!(shown.end().await.code, Some(0));
    assert_eq!(scene.audit().await.kept, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error_where_it_was_chosen() {
    let mut scene = Scene::new("watch_port", Kind::Sqlite, SandboxConfig::default()).await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scene.set("admin.listen", &taken.local_addr().unwrap().to_string());
    let ended = scene.run(&["run"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("can't listen at 127.0.0.1:") && ended.stderr.contains("`admin.listen`"),
        "{ended:?}"
    );
    assert_eq!(scene.sandbox.ledger().requests, 0);
    scene.set("admin.listen", "everywhere");
    let ended = scene.run(&["run"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("admin.listen") && ended.stderr.contains("an IP address with a port"),
        "{ended:?}"
    );
}
