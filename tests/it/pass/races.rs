//! The application, or another process, is at the same document at the same time.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, run, write_login};
use chrono::TimeDelta;
use evergrant::sandbox::{Reuse, SeededUser};
use evergrant::testing::exit::Exit;
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::store::{Change, Claim, Fence};
use evergrant::testing::token::{Lease, RefreshToken, State};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Before the first call that `when` picks, the application writes a login into the document of user 1, or deletes it.
fn meanwhile(
    rehearsal: &Rehearsal,
    when: impl Fn(&Call) -> bool + Send + Sync + 'static,
    login: Option<SeededUser>,
) {
    let (backend, login) = (rehearsal.backend.clone(), Arc::new(login));
    let done = AtomicBool::new(false);
    rehearsal.meddler.meddle(move |call| {
        let (backend, login) = (backend.clone(), login.clone());
        let now = when(&call) && !done.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            match &*login {
                Some(login) if now => write_login(&backend, 1, login).await,
                None if now => backend.delete(&document_id(1)).await,
                _ => {}
            }
            Mishap::None
        })
    });
}

/// Before each write-back of a pair the server has written the refresh token of its answer into the document itself; `then`
/// says what becomes of the calls with a pair, the first one and those after it.
fn server_writes(rehearsal: &Rehearsal, then: impl Fn(usize) -> Mishap + Send + Sync + 'static) {
    let backend = rehearsal.backend.clone();
    let calls = AtomicUsize::new(0);
    rehearsal.meddler.meddle(move |call| {
        let (backend, is_pair) = (backend.clone(), call.writes_a_pair());
        let number = if is_pair { calls.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        let mishap = if is_pair { then(number) } else { Mishap::None };
        Box::pin(async move {
            let Call::Apply(changes) = call else { return Mishap::None };
            for Change { id, pair, expect_lease, .. } in changes {
                let Some(pair) = pair.filter(|_| expect_lease == Fence::None) else { continue };
                backend.set(&id, json!({ "refresh_token": pair.refresh_token.expose() })).await;
            }
            mishap
        })
    });
}

#[tokio::test]
async fn the_servers_own_write_is_found_and_finished() {
    for (name, then) in [
        ("plain", (|_| Mishap::None) as fn(usize) -> Mishap),
        ("unheard_at_first", |number| if number == 0 { Mishap::LostAcknowledgement } else { Mishap::None }),
        ("unheard", |number| if number % 2 == 1 { Mishap::LostAcknowledgement } else { Mishap::None }),
        ("away", |number| if number == 1 { Mishap::Away } else { Mishap::None }),
    ] {
        on_both(&format!("own_write_{name}"), Plan::users(5), async |rehearsal| {
            server_writes(&rehearsal, then);
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 5), "{summary:?}");
            rehearsal.meddler.leave();
            assert_eq!(rehearsal.entries().await.len(), 0, "each row ended with its document");
            rehearsal.assert_nothing_claimed().await;
            // Both tokens of one answer, in the document.
            rehearsal.assert_whole().await;
            rehearsal.assert_kept(5).await;
            for position in 0..5 {
                let books = rehearsal.bookkeeping(position).await;
                let token = RefreshToken::new(rehearsal.token(position).await);
                assert_eq!(books.fingerprint, Some(token.fingerprint()));
                assert!(books.refreshed_at.is_some() && books.refresh_expires_at.is_some(), "{books:?}");
            }
            let next = rehearsal.run().await;
            assert_eq!((next.touched, rehearsal.sandbox.ledger().requests), (0, 5), "none is due again");
        })
        .await;
    }
}

/// Between the look and the second write another process claims the document, and goes on with the token that it found.
#[tokio::test]
async fn a_claim_on_the_token_that_the_server_wrote_stays() {
    on_both("own_write_claimed", Plan::users(3), async |rehearsal| {
        let (backend, now) = (rehearsal.backend.clone(), rehearsal.clock.now());
        rehearsal.meddler.meddle(move |call| {
            let backend = backend.clone();
            Box::pin(async move {
                let Call::Apply(changes) = call else { return Mishap::None };
                for Change { id, pair, expect_lease, .. } in changes {
                    let Some(pair) = pair else { continue };
                    let token = json!({ "refresh_token": pair.refresh_token.expose() });
                    if expect_lease == Fence::None {
                        backend.set(&id, token).await;
                    } else if id == document_id(1) {
                        // After the end of our claim.
                        let now = now + TimeDelta::days(1);
                        let until = now + TimeDelta::hours(1);
                        let lease = Lease {
                            id: "another".into(),
                            owner: "o".into(),
                            until,
                            taken_over: false,
                            by: None,
                        };
                        let claim = Claim {
                            ids: vec![id],
                            lease,
                            due_by: None,
                            now,
                            over: Vec::new(),
                            ended_for: chrono::TimeDelta::zero(),
                        };
                        assert_eq!(backend.store.claim(&claim).await.unwrap().documents.len(), 1);
                    }
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::Refreshed), summary.orphans), (3, 0), "{summary:?}");
        let lease = rehearsal.bookkeeping(1).await.lease.expect("the claim stands");
        assert_eq!(lease.id, "another");
        assert_eq!(rehearsal.entries().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_document_that_is_deleted_with_a_refusal_is_gone_while_refused() {
    on_both("deleted_with_a_refusal", Plan::users(5), async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        let (backend, sandbox) = (rehearsal.backend.clone(), rehearsal.sandbox.clone());
        let is_there = Arc::new(AtomicBool::new(true));
        rehearsal.meddler.meddle(move |call| {
            let (backend, sandbox, is_there) = (backend.clone(), sandbox.clone(), is_there.clone());
            Box::pin(async move {
                if matches!(&call, Call::Read(ids) if ids.contains(&document_id(1)))
                    && sandbox.ledger().requests >= 5
                    && is_there.swap(false, Ordering::Relaxed)
                {
                    backend.delete(&document_id(1)).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::Gone), summary.gone_while_refused), (1, 1), "{summary:?}");
        assert_eq!((summary.count(Outcome::Refreshed), summary.exit()), (4, Exit::Well));
        assert_eq!(rehearsal.sandbox.ledger().requests, 5, "it is not asked for once more");
    })
    .await;
}

#[tokio::test]
async fn a_login_between_claim_and_write_back_is_kept_and_our_pair_parked() {
    on_both("login_meanwhile", Plan::users(5), async |rehearsal| {
        let one = document_id(1);
        let login = rehearsal.sandbox.login("user-000001").unwrap();
        meanwhile(&rehearsal, move |call| call.writes_pair_of(&one), Some(login.clone()));
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::Superseded), summary.orphans),
            (Exit::StillDue, 1, 1)
        );
        assert_eq!(rehearsal.token(1).await, login.refresh_token);
        let entries = rehearsal.entries().await;
        assert_eq!((entries.len(), entries[0].state), (1, EntryState::Orphan));
        assert_eq!(entries[0].why.as_deref(), Some("superseded"));
        assert!(entries[0].answer.is_some());
        rehearsal.assert_nothing_claimed().await;
        rehearsal.assert_kept(5).await;
        let next = rehearsal.run().await;
        assert_eq!((next.touched, next.count(Outcome::Refreshed)), (1, 1), "nobody knows how old theirs is");
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_kept(5).await;
    })
    .await;
}

#[tokio::test]
async fn a_document_deleted_between_claim_and_write_back_is_gone_and_our_pair_parked() {
    on_both("deleted_meanwhile", Plan::users(5), async |rehearsal| {
        let one = document_id(1);
        meanwhile(&rehearsal, move |call| call.writes_pair_of(&one), None);
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Gone), summary.orphans), (Exit::StillDue, 1, 1));
        assert_eq!(rehearsal.backend.all().await.len(), 4);
        assert_eq!(rehearsal.entries().await[0].why.as_deref(), Some("gone"));
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_comes_after_a_login_marks_nobody() {
    // Before the document is read again, and between that and the mark.
    for (test, before_read) in [("refused_read", true), ("refused_mark", false)] {
        on_both(test, Plan::users(5).faults("refuse user=user-000001"), async |rehearsal| {
            let one = document_id(1);
            let login = rehearsal.sandbox.login("user-000001").unwrap();
            let when = move |call: &Call| match call {
                Call::Read(ids) => before_read && ids.contains(&one),
                Call::Apply(changes) => {
                    let marks = |state| state == State::NeedsLogin;
                    !before_read
                        && changes.iter().any(|change| change.id == one && marks(change.bookkeeping.state))
                }
                _ => false,
            };
            meanwhile(&rehearsal, when, Some(login.clone()));
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Superseded)), (Exit::Well, 1));
            assert_eq!((summary.newly_marked, summary.orphans), (0, 0));
            assert_eq!(rehearsal.bookkeeping(1).await.state, State::Live);
            assert_eq!(rehearsal.token(1).await, login.refresh_token);
            assert!(rehearsal.entries().await.is_empty());
            rehearsal.assert_nothing_claimed().await;
            rehearsal.sandbox.set_faults("".parse().unwrap());
            let next = rehearsal.run().await;
            assert_eq!((next.touched, next.count(Outcome::Refreshed)), (1, 1));
            rehearsal.assert_kept(5).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_claim_of_another_process_is_not_given_back_by_the_one_that_lost_it() {
    on_both("claim_of_another", Plan::users(5).faults("refuse user=user-000001"), async |rehearsal| {
        let login = rehearsal.sandbox.login("user-000001").unwrap();
        let theirs = Lease {
            id: "theirs".into(),
            owner: "host:2".into(),
            until: rehearsal.clock.now() + TimeDelta::hours(2),
            taken_over: false,
            by: None,
        };
        let claim = Claim {
            over: Vec::new(),
            ids: vec![document_id(1)],
            lease: theirs.clone(),
            due_by: None,
            now: rehearsal.clock.now() + TimeDelta::hours(1),
            ended_for: TimeDelta::zero(),
        };
        let (backend, done) = (rehearsal.backend.clone(), AtomicBool::new(false));
        rehearsal.meddler.meddle(move |call| {
            let now = matches!(&call, Call::Read(ids) if ids.contains(&document_id(1)));
            let now = now && !done.swap(true, Ordering::SeqCst);
            let (backend, login, claim) = (backend.clone(), login.clone(), claim.clone());
            Box::pin(async move {
                if now {
                    write_login(&backend, 1, &login).await;
                    assert_eq!(backend.store.claim(&claim).await.unwrap().documents.len(), 1);
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Superseded)), (Exit::Well, 1));
        assert_eq!(rehearsal.bookkeeping(1).await.lease, Some(theirs));
    })
    .await;
}

#[tokio::test]
async fn a_document_deleted_before_its_refusal_is_gone() {
    on_both("refused_gone", Plan::users(5).faults("refuse user=user-000001"), async |rehearsal| {
        let one = document_id(1);
        let when = move |call: &Call| matches!(call, Call::Read(ids) if ids.contains(&one));
        meanwhile(&rehearsal, when, None);
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Gone), summary.orphans), (Exit::Well, 1, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_at_one_collection_redeem_every_token_once() {
    let mut plan = Plan::users(300);
    plan.sandbox.reuse = Reuse::RevokeFamily;
    plan.sandbox.latency = Duration::from_millis(5);
    plan.profile.rate = Some("2000/s".parse().unwrap());
    on_both("two_processes", plan, async |rehearsal| {
        let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let one = rehearsal.another_process(states[0].path()).await;
        let other = rehearsal.another_process(states[1].path()).await;
        let (request, stop) = (PassRequest::default(), Stop::default());
        let (one, other) = tokio::join!(run(&one, &request, &stop), run(&other, &request, &stop));
        assert!(one.touched > 0 && other.touched > 0, "both had something to do");
        assert_eq!(one.touched + other.touched, 300);
        assert_eq!(one.count(Outcome::Refreshed) + other.count(Outcome::Refreshed), 300);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.granted, ledger.reuses), (300, 300, 0));
        rehearsal.assert_kept(300).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
