//! The application, or another process, is at the same document at the same time.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, run, write_login};
use chrono::TimeDelta;
use evergrant::exit::Exit;
use evergrant::journal::EntryState;
use evergrant::pass::{PassRequest, Stop};
use evergrant::report::Outcome;
use evergrant::sandbox::{Reuse, SeededUser};
use evergrant::store::Claim;
use evergrant::token::{Lease, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
        };
        let claim = Claim {
            ids: vec![document_id(1)],
            lease: theirs.clone(),
            due_by: None,
            now: rehearsal.clock.now() + TimeDelta::hours(1),
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
