//! The oracle itself, put to the test over real connections.

use super::*;
use crate::clock::Clock;
use chrono::TimeDelta;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

mod audit;
mod faults;
mod protocol;
mod throughput;

/// What came back on a connection until it closed.
struct Reply {
    /// None if the connection closed without a byte.
    status: Option<u16>,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn refresh_token(&self) -> String {
        self.json()["refresh_token"].as_str().unwrap().into()
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().into()
    }

    /// The value of a header, by its lowercase name.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn start(config: SandboxConfig) -> Sandbox {
    Sandbox::start(config, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap()
}

/// A sandbox with these faults and users, on a clock that the test moves.
async fn start_with(faults: &str, users: usize) -> Sandbox {
    start(SandboxConfig {
        faults: faults.parse().unwrap(),
        users,
        clock: Clock::steppable(),
        ..SandboxConfig::default()
    })
    .await
}

async fn send(sandbox: &Sandbox, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(sandbox.address()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Reply { status, head: head.into(), body: body.into() }
}

async fn get(sandbox: &Sandbox, path: &str) -> Reply {
    send(sandbox, "GET", path, "", "").await
}

async fn post_form(sandbox: &Sandbox, headers: &str, body: &str) -> Reply {
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}");
    send(sandbox, "POST", "/token", &headers, body).await
}

async fn redeem(sandbox: &Sandbox, refresh_token: &str) -> Reply {
    let body = format!(
        "grant_type=refresh_token&client_id=sandbox-client&client_secret=sandbox-secret&refresh_token={refresh_token}"
    );
    post_form(sandbox, "", &body).await
}

fn seeded(sandbox: &Sandbox, user: usize) -> String {
    sandbox.users()[user].refresh_token.clone()
}
