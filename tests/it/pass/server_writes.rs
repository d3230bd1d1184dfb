//! A server that writes its new refresh token into the very document before it answers, while processes die and people
//! log in.

use super::recovery::{Doomed, recover};
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{LIFETIME, Plan, Rehearsal, document_id, on_both, write_login};
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::journal::EntryState;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::{RefreshToken, State};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The refresh token in an answer of the sandbox.
fn refresh_token_of(answer: &RawAnswer) -> String {
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["refresh_token"].as_str().unwrap().to_owned()
}

/// The server's own write: its new refresh token, and nothing else.
async fn server_writes(rehearsal: &Rehearsal, position: usize, token: &str) {
    rehearsal.backend.set(&document_id(position), json!({ "refresh_token": token })).await;
}

/// What the first document must be like after the answer of its first grant: the pair of that answer, our bookkeeping, no
/// claim, no row, and one request.
async fn assert_finished(rehearsal: &Rehearsal) {
    let (document, books) = (rehearsal.document(0).await, rehearsal.bookkeeping(0).await);
    let newest = rehearsal.sandbox.user("user-000000").unwrap().current_refresh_token;
    assert_eq!(document["refresh_token"], newest);
    rehearsal.assert_whole().await;
    assert_eq!((books.state, books.lease), (State::Live, None));
    assert_eq!(books.fingerprint, Some(RefreshToken::new(newest).fingerprint()));
    assert!(books.due_at > Some(rehearsal.clock.now() + LIFETIME / 5), "{:?}", books.due_at);
    assert!(rehearsal.entries().await.is_empty());
    let ledger = rehearsal.sandbox.ledger();
    assert_eq!((ledger.requests, ledger.reuses), (1, 0), "{ledger:?}");
}

/// A process that dies with the answer for the first document in its journal. The new refresh token.
async fn dies_with_an_answer(rehearsal: &Rehearsal) -> String {
    let doomed = Doomed::claims(rehearsal, &[0]).await;
    let entry = doomed.intends(0).await;
    let answer = doomed.sends(0).await;
    let token = refresh_token_of(&answer);
    doomed.keeps(entry, answer).await;
    doomed.dies().await;
    token
}

#[tokio::test]
async fn after_a_crash_the_pair_that_the_server_has_begun_to_write_is_finished() {
    on_both("server_first", Plan::users(1), async |rehearsal| {
        let token = dies_with_an_answer(&rehearsal).await;
        server_writes(&rehearsal, 0, &token).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.recovery.written), (Exit::Well, 1), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 1, "{summary:?}");
        assert_finished(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn recovery_alone_finishes_it_too_and_only_once() {
    on_both("server_recover", Plan::users(1), async |rehearsal| {
        let token = dies_with_an_answer(&rehearsal).await;
        server_writes(&rehearsal, 0, &token).await;
        recover(&rehearsal, rehearsal.state()).await;
        assert_finished(&rehearsal).await;
        let before = rehearsal.document(0).await;
        assert_eq!(rehearsal.run().await.grants, 0);
        assert_eq!(rehearsal.document(0).await, before);
    })
    .await;
}

/// The server was so slow that its write comes between what recovery reads and what it writes.
#[tokio::test]
async fn the_servers_write_that_comes_while_recovery_works_is_finished_too() {
    on_both("server_amid_recovery", Plan::users(1), async |rehearsal| {
        let token = dies_with_an_answer(&rehearsal).await;
        meddle_at_pair(&rehearsal, 1, move |rehearsal_backend| {
            let token = token.clone();
            Box::pin(async move {
                rehearsal_backend.set(&document_id(0), json!({ "refresh_token": token })).await;
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::Well, "{summary:?}");
        assert_finished(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn the_servers_write_that_comes_after_ours_changes_nothing() {
    on_both("server_late", Plan::users(1), async |rehearsal| {
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1);
        let token = rehearsal.token(0).await;
        server_writes(&rehearsal, 0, &token).await;
        assert_eq!(rehearsal.run().await.grants, 0);
        assert_finished(&rehearsal).await;
    })
    .await;
}

/// Another machine has claimed the new token after the crash, and may have sent it: what it writes stays.
#[tokio::test]
async fn a_new_token_that_another_machine_has_claimed_is_left_to_it() {
    on_both("server_claimed", Plan::users(1), async |rehearsal| {
        let token = dies_with_an_answer(&rehearsal).await;
        server_writes(&rehearsal, 0, &token).await;
        let another = tempfile::tempdir().unwrap();
        let now = rehearsal.clock.now();
        let lease = evergrant::testing::token::Lease {
            id: "another".into(),
            owner: "host:2".into(),
            until: now + rehearsal.settings.lease,
            taken_over: false,
            by: None,
        };
        // The doomed process' claim has ended long ago.
        let past = now + 2 * rehearsal.settings.lease;
        let claim = evergrant::testing::store::Claim {
            ids: vec![document_id(0)],
            lease,
            due_by: None,
            now: past,
            over: Vec::new(),
            ended_for: chrono::TimeDelta::zero(),
        };
        assert_eq!(rehearsal.backend.store.claim(&claim).await.unwrap().documents.len(), 1);
        drop(another);
        recover(&rehearsal, rehearsal.state()).await;
        let books = rehearsal.bookkeeping(0).await;
        assert_eq!(books.lease.map(|lease| lease.id).as_deref(), Some("another"));
        assert_eq!(rehearsal.token(0).await, token);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_login_or_a_deletion_in_between_is_kept_and_the_pair_is_parked() {
    for (name, gone) in [("server_login", false), ("server_deleted", true)] {
        on_both(name, Plan::users(1), async |rehearsal| {
            let token = dies_with_an_answer(&rehearsal).await;
            server_writes(&rehearsal, 0, &token).await;
            let login = rehearsal.sandbox.login("user-000000").unwrap();
            if gone {
                rehearsal.backend.delete(&document_id(0)).await;
            } else {
                write_login(&rehearsal.backend, 0, &login).await;
            }
            recover(&rehearsal, rehearsal.state()).await;
            let entries = rehearsal.entries().await;
            assert_eq!((entries.len(), entries[0].state), (1, EntryState::Orphan), "{entries:?}");
            if !gone {
                assert_eq!(rehearsal.token(0).await, login.refresh_token);
                let summary = rehearsal.run().await;
                assert_eq!(summary.count(Outcome::Refreshed), 1, "{summary:?}");
                rehearsal.assert_kept(1).await;
                assert_eq!(rehearsal.bookkeeping(0).await.state, State::Live);
            }
            assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        })
        .await;
    }
}

type Deed =
    dyn Fn(Arc<crate::store::backend::Backend>) -> futures::future::BoxFuture<'static, ()> + Send + Sync;

/// Does something just before a pair is written for the n-th time.
fn meddle_at_pair(
    rehearsal: &Rehearsal,
    nth: usize,
    deed: impl Fn(Arc<crate::store::backend::Backend>) -> futures::future::BoxFuture<'static, ()>
    + Send
    + Sync
    + 'static,
) {
    let (backend, deed): (_, Arc<Deed>) = (rehearsal.backend.clone(), Arc::new(deed));
    let written = AtomicUsize::new(0);
    rehearsal.meddler.meddle(move |call: Call| {
        let now = call.writes_a_pair() && written.fetch_add(1, Ordering::SeqCst) + 1 == nth;
        let (backend, deed) = (backend.clone(), deed.clone());
        Box::pin(async move {
            if now {
                deed(backend).await;
            }
            Mishap::None
        })
    });
}

/// A live pass: the server writes first, and then something happens between what we read and what we write.
#[tokio::test]
async fn what_happens_before_the_finishing_write_wins() {
    for name in ["nothing", "login", "deleted", "renewed_by_the_server"] {
        let test = format!("server_then_{name}");
        on_both(&test, Plan::users(1), async |rehearsal| {
            let login = Arc::new(rehearsal.sandbox.login("user-000000").unwrap());
            let first = rehearsal.users[0].refresh_token.clone();
            // The login above is another token of the same user; the document still holds the first.
            assert_eq!(rehearsal.token(0).await, first);
            let (backend, sandbox) = (rehearsal.backend.clone(), rehearsal.sandbox.clone());
            let written = AtomicUsize::new(0);
            rehearsal.meddler.meddle(move |call| {
                let nth = if call.writes_a_pair() { written.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
                let (backend, login) = (backend.clone(), login.clone());
                let successor = sandbox.token_history(&first).and_then(|record| record.successor);
                Box::pin(async move {
                    match (nth, name) {
                        (1, _) | (2, "renewed_by_the_server") => {
                            let token = successor.expect("granted");
                            backend.set(&document_id(0), json!({ "refresh_token": token })).await;
                        }
                        (2, "login") => write_login(&backend, 0, &login).await,
                        (2, "deleted") => backend.delete(&document_id(0)).await,
                        _ => {}
                    }
                    Mishap::None
                })
            });
            let summary = rehearsal.run().await;
            rehearsal.meddler.leave();
            let outcome = match name {
                "login" => Outcome::Superseded,
                "deleted" => Outcome::Gone,
                _ => Outcome::Refreshed,
            };
            assert_eq!((summary.touched, summary.count(outcome)), (1, 1), "{name}: {summary:?}");
            let rows: Vec<_> = rehearsal.entries().await.into_iter().map(|entry| entry.state).collect();
            match name {
                "login" => assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1),
                "deleted" => {}
                _ => assert!(rows.is_empty(), "{name}: {rows:?}"),
            }
            if name != "deleted" {
                assert_eq!(rehearsal.bookkeeping(0).await.state, State::Live);
                rehearsal.assert_whole().await;
                rehearsal.assert_nothing_claimed().await;
            }
            if name == "login" || name == "deleted" {
                assert_eq!(rows, [EntryState::Orphan], "{name}");
            }
            assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "{name}");
        })
        .await;
    }
}
