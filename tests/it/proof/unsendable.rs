//! A refresh token from an answer that could never be sent again is the provider's all the same: it is kept, and named.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A provider that says the same to everybody; how often it was asked.
async fn says(body: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(body));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (count, body) = (count.clone(), answer.clone());
            tokio::spawn(async move {
                let mut request = Vec::new();
                // The client sends head and form, and then waits.
                while !request.windows(14).any(|window| window == b"refresh_token=") {
                    let mut buffer = [0; 4096];
                    match stream.read(&mut buffer).await {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        _ => return,
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body.as_bytes()).await;
            });
        }
    });
    (url, asked)
}

fn tokens() -> [(String, &'static str); 5] {
    [
        ("r".repeat(16 * 1024 + 1), "too_long"),
        ("r".repeat(500_000), "too_long"),
        ("tökén".to_owned(), "forbidden_character"),
        ("a\u{0}b".to_owned(), "forbidden_character"),
        ("a\r\nb".to_owned(), "forbidden_character"),
    ]
}

async fn at_such_a_provider(rehearsal: &mut Rehearsal, token: &str) -> Arc<AtomicUsize> {
    let answer = json!({ "access_token": "access", "refresh_token": token, "expires_in": 60 });
    let (url, asked) = says(answer.to_string()).await;
    rehearsal.change_provider(|provider| provider.token_url = url.parse().unwrap());
    asked
}

#[tokio::test]
async fn a_refresh_token_that_can_never_be_sent_is_in_its_document_and_named() {
    for (token, code) in tokens() {
        let token = &token;
        on_both("unsendable", Plan::users(1), async |mut rehearsal| {
            let asked = at_such_a_provider(&mut rehearsal, token).await;
            for pass in ["first", "second"] {
                let summary = rehearsal.run().await;
                assert_eq!(summary.count(Outcome::Malformed), 1, "{code}, {pass} pass: {summary}");
            }
            assert_eq!(asked.load(Ordering::SeqCst), 1, "what can't be sent isn't sent");
            let document = rehearsal.document(0).await;
            assert_eq!(
                (&document["refresh_token"], &document["access_token"]),
                (&json!(token), &json!("access"))
            );
            let bookkeeping = rehearsal.bookkeeping(0).await;
            assert_eq!(bookkeeping.state, State::Malformed);
            assert_eq!(bookkeeping.last_error.unwrap().code, code);
            assert!(rehearsal.entries().await.is_empty(), "it has its place");
        })
        .await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_can_never_be_sent_survives_a_lost_acknowledgement() {
    for (token, code) in tokens() {
        let token = &token;
        on_both("unsendable_maybe", Plan::users(1), async |mut rehearsal| {
            let asked = at_such_a_provider(&mut rehearsal, token).await;
            let once = AtomicBool::new(false);
            rehearsal.meddler.decide(move |call| {
                let first = call.writes_pair_of(&document_id(0)) && !once.swap(true, Ordering::SeqCst);
                if first { Mishap::LostAcknowledgement } else { Mishap::None }
            });
            let summary = rehearsal.run().await;
            assert_eq!(summary.count(Outcome::Malformed), 1, "{code}: {summary}");
            assert_eq!(rehearsal.document(0).await["refresh_token"], json!(token));
            assert!(rehearsal.entries().await.is_empty(), "{code}: parked, although the document holds it");
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        })
        .await;
    }
}

#[tokio::test]
async fn a_refresh_token_that_can_never_be_sent_survives_a_process_that_ended_behind_its_write() {
    for (token, code) in tokens() {
        let token = &token;
        on_both("unsendable_crash", Plan::users(1), async |mut rehearsal| {
            let asked = at_such_a_provider(&mut rehearsal, token).await;
            let written = AtomicBool::new(false);
            rehearsal.meddler.decide(move |call| {
                let writes = call.writes_pair_of(&document_id(0));
                if writes && !written.swap(true, Ordering::SeqCst) {
                    return Mishap::LostAcknowledgement;
                }
                let after = written.load(Ordering::SeqCst);
                if after && matches!(call, Call::Apply(_) | Call::Read(_)) {
                    Mishap::Denied
                } else {
                    Mishap::None
                }
            });
            let first = rehearsal.run().await;
            assert_eq!(first.count(Outcome::Held), 1, "{code}: {first}");
            rehearsal.meddler.leave();
            let second = rehearsal.run().await;
            assert_eq!(rehearsal.document(0).await["refresh_token"], json!(token));
            assert!(
                rehearsal.entries().await.is_empty(),
                "{code}: parked, although the document holds it\n{second}"
            );
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        })
        .await;
    }
}
