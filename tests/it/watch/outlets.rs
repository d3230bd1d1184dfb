//! What is told without being asked for: a file, a Pushgateway, a ping.

use super::series;
use crate::support::canaries;
use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that takes everything and remembers it: the first line of each request, and its body.
pub(super) struct Listener {
    pub(super) address: std::net::SocketAddr,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listener {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let listens = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let mut part = [0; 4096];
                while !is_whole(&request) {
                    match stream.read(&mut part).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => request.extend_from_slice(&part[..read]),
                    }
                }
                let text = String::from_utf8(request).unwrap();
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                canaries::search("a request", &text);
                let line = head.lines().next().unwrap_or_default().to_owned();
                listens.lock().unwrap().push((line, body.to_owned()));
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            }
        });
        Self { address, heard }
    }

    pub(super) fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pass_leaves_its_metrics_in_a_file_and_at_a_gateway_and_tells_how_it_went() {
    let config = SandboxConfig { users: 6, dead_users: 1, ..SandboxConfig::default() };
    let mut scene = Scene::new("watch_outlets", Kind::Sqlite, config).await.unwrap();
    let (gateway, ping) = (Listener::start().await, Listener::start().await);
    let file = scene.folder.path().join("evergrant.prom");
    canaries::plant("pushing-password");
    canaries::plant("uuid-of-the-check");
    scene.set("metrics.file", file.to_str().unwrap());
    scene.set("metrics.push_url", &format!("http://{}/metrics/job/evergrant/instance/crm", gateway.address));
    scene.set("metrics.labels", "app=crm");
    scene.set("ping_url", &format!("http://{}/check", ping.address));
    let ended = scene.run(&ONCE).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let page = series(&text);
    let refreshed = "evergrant_last_pass_documents{provider=\"generic\",outcome=\"refreshed\",app=\"crm\"}";
    assert_eq!(page[refreshed], 5.0, "{text}");
    assert!(!text.contains("_total"), "counters of one pass would be a lie: {text}");
    let [(line, body)] = &gateway.heard()[..] else { panic!("{:?}", gateway.heard()) };
    assert_eq!(line, "PUT /metrics/job/evergrant/instance/crm HTTP/1.1");
    assert_eq!(series(body)[refreshed], 5.0);
    let [(begun, _), (over, text)] = &ping.heard()[..] else { panic!("{:?}", ping.heard()) };
    assert!(begun.starts_with("POST /check/start?rid="), "{begun}");
    // A user who must log in again is no failure of the pass.
    assert!(
        over.starts_with("POST /check?rid=")
            && text.starts_with("generic: needs_login, 1 needs_login, 5 refreshed"),
        "{over} {text}"
    );
    let id = |line: &str| line.split_once("rid=").unwrap().1.to_owned();
    assert_eq!(id(begun), id(over));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_told_is_said_and_changes_nothing_of_the_pass() {
    let mut scene =
        Scene::new("watch_deaf", Kind::Sqlite, SandboxConfig { users: 3, ..SandboxConfig::default() })
            .await
            .unwrap();
    // Nothing listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let secret = "uuid-of-the-check-0815";
    canaries::plant(secret);
    scene.set("metrics.file", "/no/such/folder/evergrant.prom");
    scene.set("ping_url", &format!("http://{gone}/{secret}"));
    let ended = scene.run(&ONCE).await;
    assert_eq!((ended.code, ended.json()["outcomes"]["refreshed"].as_u64()), (Some(0), Some(3)), "{ended:?}");
    assert!(
        ended.stderr.contains("check `metrics.file`") && ended.stderr.contains("`ping_url` at 127.0.0.1"),
        "{ended:?}"
    );
    scene.set("ping_url", "no url");
    let ended = scene.run(&ONCE).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("ping_url") && ended.stderr.contains("https://hc-ping.com/your-uuid"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_could_not_begin_is_told_as_a_failure() {
    let config = SandboxConfig { users: 3, ..SandboxConfig::default() };
    let mut scene = Scene::new("watch_not_begun", Kind::Sqlite, config).await.unwrap();
    let ping = Listener::start().await;
    let file = scene.folder.path().join("evergrant.prom");
    scene.set("ping_url", &format!("http://{}/check", ping.address));
    scene.set("metrics.file", file.to_str().unwrap());
    // Nothing listens there.
    scene.set("store.url", "mongodb://127.0.0.1:1/a?serverSelectionTimeoutMS=300");
    let ended = scene.run(&ONCE).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let heard = ping.heard();
    let [(line, text)] = &heard[..] else { panic!("{heard:?}") };
    assert!(line.starts_with("POST /check/fail?rid="), "{line}");
    assert_eq!(text, "generic: the pass could not begin\n");
    assert_eq!(series(&std::fs::read_to_string(&file).unwrap())["evergrant_store_up"], 0.0);
}
