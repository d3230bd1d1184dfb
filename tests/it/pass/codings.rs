//! A provider, or a proxy in front of it, that compresses what nobody asked to be compressed.

use super::recovery::{Doomed, answer};
use crate::support::codings::{brotli, gzip};
use crate::support::journal_file::as_format_1;
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, run};
use async_trait::async_trait;
use bytes::Bytes;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::http::{ClientError, Https};
use evergrant::testing::grant::{Connect, GrantRequest, RawAnswer, Sent, Wire};
use evergrant::testing::journal::{EntryState, Journal};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Provider};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Trouble};
use evergrant::testing::token::State;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_compressed_answer_is_read_and_its_token_sent_once() {
    for (script, test) in [("gzip", "coded"), ("gzip-unnamed", "coded_unnamed")] {
        on_both(test, Plan::users(12).faults(script), async |rehearsal| {
            rehearsal.sandbox.revoke("user-000005");
            let summary = rehearsal.run().await;
            assert_eq!((summary.count(Outcome::Refreshed), summary.count(Outcome::NeedsLogin)), (11, 1));
            let ledger = rehearsal.sandbox.ledger();
            assert_eq!((ledger.requests, ledger.granted, ledger.reuses), (13, 11, 0), "{script}");
            rehearsal.assert_whole().await;
            assert_eq!(rehearsal.audit().await.kept, 11);
            assert!(rehearsal.entries().await.is_empty(), "{script}");
        })
        .await;
    }
}

#[tokio::test]
async fn each_request_asks_for_no_coding() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut provider =
        (*Rehearsal::over(on_sqlite("asks").await, &Plan::users(1)).await.providers[0]).clone();
    provider.token_url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
    let wire = Https.connect(&provider, &Clock::system()).unwrap();
    let request = evergrant::testing::grant::request(
        &provider,
        &evergrant::testing::token::RefreshToken::new("t".into()),
    )
    .unwrap();
    let (sent, head) = tokio::join!(wire.post(&request), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"refresh_token=t") && !head.windows(15).any(|part| part == b"refresh_token=t")
        {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        let reply = b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx";
        stream.write_all(reply).await.unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
    let Sent::Answered(answer) = sent else { panic!("{sent:?}") };
    assert_eq!(
        answer.content_encoding().as_deref(),
        Some("br, gzip"),
        "one list, in the order of the fields"
    );
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["content-encoding", "content-encoding", "content-length"], "the whole head is kept");
}

async fn on_sqlite(test: &str) -> crate::store::backend::Backend {
    crate::store::backend::both(test, evergrant::testing::store::mapping::Mapping::default())
        .await
        .swap_remove(0)
}

/// Compresses every grant with brotli, and takes the header away.
#[derive(Debug, Clone)]
struct Stripping;

#[derive(Debug)]
struct StrippingWire(Arc<dyn Wire>);

impl Connect for Stripping {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        Ok(Arc::new(StrippingWire(Https.connect(provider, clock)?)))
    }
}

#[async_trait]
impl Wire for StrippingWire {
    async fn post(&self, request: &GrantRequest) -> Sent {
        match self.0.post(request).await {
            Sent::Answered(raw) if raw.status == 200 => {
                Sent::Answered(RawAnswer { body: brotli(&raw.body).into(), ..raw })
            }
            sent => sent,
        }
    }
}

async fn run_stripped(rehearsal: &Rehearsal) -> Summary {
    let pass = rehearsal.process_over(rehearsal.meddler.clone(), rehearsal.state(), &Stripping).await;
    let summary = run(&pass, &PassRequest::default(), &Stop::default()).await;
    pass.close().await;
    summary
}

#[tokio::test]
async fn answers_that_cannot_be_read_stop_the_provider_and_are_read_when_they_can_be() {
    let mut plan = Plan::users(30);
    plan.profile.concurrency = 1.try_into().unwrap();
    on_both("coded_unread", plan, async |rehearsal| {
        let summary = run_stripped(&rehearsal).await;
        assert_eq!(summary.exit(), Exit::ClientRejected, "{summary:?}");
        let troubles: Vec<_> = summary.troubles.iter().map(ToString::to_string).collect();
        assert!(
            matches!(&summary.troubles[..], [Trouble::ClientRejected { code, .. }] if code == "not_utf8"),
            "{troubles:?}"
        );
        assert!(troubles[0].contains("can't be read"), "{troubles:?}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 3, "three in a row stop the provider");
        let states: Vec<_> = rehearsal.entries().await.iter().map(|entry| entry.state).collect();
        assert_eq!(states, [EntryState::Unread; 3]);
        assert!(rehearsal.states().await.iter().all(|state| *state == State::Live));

        // Three others, and never the same.
        run_stripped(&rehearsal).await;
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.reuses), (6, 0));

        // What a version does that knows more: here the header that was missing.
        let name = |file: &std::path::Path| {
            let raw = rusqlite::Connection::open(file).unwrap();
            // One field: where its name and its value end, then both.
            let headers = [&[0, 1, 0, 16, 0, 18][..], b"content-encodingbr"].concat();
            raw.execute("UPDATE entries SET headers = ?1", [headers]).unwrap()
        };
        assert_eq!(name(&rehearsal.state().join("journal.db")), 6);
        let summary = rehearsal.run().await;
        assert_eq!((summary.recovery.written, summary.count(Outcome::Refreshed)), (6, 30), "{summary:?}");
        assert_eq!(summary.recovery.answers, 6, "what is written back was an answer: {summary}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 30, "each token was sent once");
        rehearsal.assert_kept(30).await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// How many bytes are missing at the end of a body of this length.
type Cut = fn(usize) -> usize;

/// Compresses every grant, and cuts so many bytes off its end.
#[derive(Debug, Clone)]
struct Cutting(Cut);

#[derive(Debug)]
struct CuttingWire(Arc<dyn Wire>, Cutting);

impl Connect for Cutting {
    fn connect(&self, provider: &Provider, clock: &Clock) -> Result<Arc<dyn Wire>, ClientError> {
        Ok(Arc::new(CuttingWire(Https.connect(provider, clock)?, self.clone())))
    }
}

#[async_trait]
impl Wire for CuttingWire {
    async fn post(&self, request: &GrantRequest) -> Sent {
        match self.0.post(request).await {
            Sent::Answered(raw) if raw.status == 200 => {
                let mut body = gzip(&raw.body);
                body.truncate(body.len() - self.1.0(body.len()));
                Sent::Answered(RawAnswer { body: body.into(), complete: false, ..raw })
            }
            sent => sent,
        }
    }
}

#[tokio::test]
async fn a_cut_compressed_answer_is_kept_and_its_token_is_not_sent_again() {
    const USERS: usize = 6;
    // Behind the pair, within the checksum; and within the pair, where nothing can be read.
    let (behind, within): (Cut, Cut) = (|_| 6, |length| length / 2);
    for (test, cut, is_read) in [("coded_cut", behind, true), ("coded_cut_within", within, false)] {
        let mut plan = Plan::users(USERS);
        plan.profile.ask_again = AskAgain::Never;
        on_both(test, plan, async |rehearsal| {
            let connect = Cutting(cut);
            for pass in 1..=2 {
                let process =
                    rehearsal.process_over(rehearsal.meddler.clone(), rehearsal.state(), &connect).await;
                let summary = run(&process, &PassRequest::default(), &Stop::default()).await;
                process.close().await;
                let refreshed = if is_read && pass == 1 { USERS as u64 } else { 0 };
                assert_eq!(summary.count(Outcome::Refreshed), refreshed, "{test} {pass}: {summary}");
                let ledger = rehearsal.sandbox.ledger();
                assert_eq!((ledger.granted, ledger.reuses), (ledger.requests, 0), "{test} {pass}: {summary}");
            }
            if is_read {
                rehearsal.assert_kept(USERS).await;
                assert!(rehearsal.entries().await.is_empty());
            } else {
                // What came stays for a person.
                let entries = rehearsal.entries().await;
                let received = rehearsal.sandbox.ledger().granted;
                assert_eq!(
                    entries.iter().filter(|entry| entry.received_bytes.is_some()).count() as u64,
                    received,
                    "{entries:?}"
                );
            }
        })
        .await;
    }
}

/// Changes the rows into what the first version made of such answers: lost ones.
fn as_the_first_version(state: &std::path::Path) {
    let raw = rusqlite::Connection::open(state.join("journal.db")).unwrap();
    let lost = "UPDATE entries SET state = 'unsettled', why = 'no_object', unsettled_since = sent_at";
    raw.execute(lost, []).unwrap();
    as_format_1(state);
}

#[tokio::test]
async fn an_answer_that_an_earlier_version_called_lost_is_read_or_kept() {
    on_both("coded_lost", Plan::users(5).faults("gzip-unnamed"), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        // 0: compressed. 1: in a coding that isn't known today either. 2: a page.
        doomed.is_answered(0).await;
        let entry = doomed.intends(1).await;
        let zstd = Bytes::from_static(b"\x28\xb5\x2f\xfd\x04\x58\xcd\x01\x00\x04\x03\x7b\x22\x61\x63\x63");
        doomed.sends(1).await;
        doomed.keeps(entry, RawAnswer { body: zstd, ..answer(200, "") }).await;
        let entry = doomed.intends(2).await;
        doomed.keeps(entry, answer(200, "<html>")).await;
        doomed.dies().await;
        as_the_first_version(rehearsal.state());
        // Somebody had believed it, and asked the provider no more.
        let lost = serde_json::json!({ "evergrant": { "state": "lost_in_flight",
            "fingerprint": fingerprint(&rehearsal, 1) } });
        rehearsal.backend.set(&document_id(1), lost).await;
        assert_eq!(Journal::peek(rehearsal.state()).unwrap().len(), 3, "before anybody has opened it");

        let requests = rehearsal.sandbox.ledger().requests;
        let summary = rehearsal.run().await;
        assert_eq!((summary.recovery.written, summary.count(Outcome::Refreshed)), (1, 4), "{summary:?}");
        let entries = rehearsal.entries().await;
        let left: Vec<_> = entries.iter().map(|entry| (entry.state, entry.why.as_deref())).collect();
        assert_eq!(left, [(EntryState::Unread, Some("content_coding_zstd"))]);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests - requests, ledger.reuses), (3, 0), "neither of the two was sent again");
        rehearsal.assert_whole().await;
    })
    .await;
}

fn fingerprint(rehearsal: &Rehearsal, position: usize) -> String {
    let token = evergrant::testing::token::RefreshToken::new(rehearsal.users[position].refresh_token.clone());
    token.fingerprint().to_string()
}
