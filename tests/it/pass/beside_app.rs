//! The application redeems tokens itself while ours wait at the gate: no token is sent that it has replaced.

use crate::support::app;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, until};
use evergrant::sandbox::{RateLimit, Reuse};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Rotation;
use evergrant::testing::provider::rate::Rate;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::RefreshToken;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The application redeems the tokens in these users' documents, all at once, and writes what it gets.
async fn renew(rehearsal: &Rehearsal, positions: impl IntoIterator<Item = usize>) -> Vec<(usize, String)> {
    // First, because it reads every root certificate: an application has its client before it reads a token.
    let client = &app::client();
    let renewals = positions.into_iter().map(|position| async move {
        let token = rehearsal.token(position).await;
        let pair = app::redeem(client, &rehearsal.sandbox, &token).await.expect("its token is the newest");
        let both = json!({ "refresh_token": pair.refresh_token, "access_token": pair.access_token });
        rehearsal.backend.set(&document_id(position), both).await;
        (position, pair.refresh_token)
    });
    futures::future::join_all(renewals).await
}

/// The users whose documents are claimed now.
async fn claimed(rehearsal: &Rehearsal) -> Vec<usize> {
    let mut claimed = Vec::new();
    for position in 0..rehearsal.users.len() {
        if rehearsal.bookkeeping(position).await.lease.is_some() {
            claimed.push(position);
        }
    }
    claimed
}

/// The provider revokes the whole login when it sees a token twice.
fn plan(users: usize) -> Plan {
    let mut plan = Plan::users(users);
    plan.sandbox.reuse = Reuse::RevokeFamily;
    plan
}

/// No token was presented twice, and these documents hold what the application wrote, which lives.
async fn assert_left_alone(rehearsal: &Rehearsal, theirs: &[(usize, String)]) {
    let ledger = rehearsal.sandbox.ledger();
    assert_eq!((ledger.reuses, ledger.families_revoked, ledger.dead_users), (0, 0, 0), "{ledger:?}");
    for (position, token) in theirs {
        assert_eq!(rehearsal.token(*position).await, *token, "user {position}");
    }
    rehearsal.assert_kept(rehearsal.users.len()).await;
    rehearsal.assert_nothing_claimed().await;
}

#[tokio::test]
async fn a_token_that_the_application_replaced_while_the_provider_paused_us_is_not_sent() {
    // The canary is asked to wait; what is claimed waits with it.
    on_both("replaced_in_a_pause", plan(12).faults("429(5)@1"), async |rehearsal| {
        let sandbox = rehearsal.sandbox.clone();
        let renews = async {
            until("the provider has asked for a pause", || sandbox.ledger().requests >= 1).await;
            let claimed = claimed(&rehearsal).await;
            assert!(claimed.len() >= 4, "{claimed:?}");
            renew(&rehearsal, claimed).await
        };
        let (summary, theirs) = tokio::join!(rehearsal.run(), renews);
        let superseded = theirs.len() as u64;
        assert_eq!((summary.exit(), summary.count(Outcome::Superseded)), (Exit::Well, superseded));
        assert_eq!((summary.count(Outcome::Refreshed), summary.orphans), (12 - superseded, 0));
        assert_left_alone(&rehearsal, &theirs).await;
        let next = rehearsal.run().await;
        assert_eq!(next.count(Outcome::Refreshed), superseded, "theirs are due in the next pass");
        rehearsal.assert_kept(12).await;
    })
    .await;
}

#[tokio::test]
async fn at_a_low_rate_nothing_that_the_application_replaced_is_sent() {
    // Slow enough that the application is done with the second half long before its turn comes.
    let mut plan = plan(12);
    plan.profile.rate = Some("90/min".parse().unwrap());
    on_both("replaced_at_a_low_rate", plan, async |rehearsal| {
        let sandbox = rehearsal.sandbox.clone();
        let renews = async {
            until("one is granted", || sandbox.ledger().granted >= 1).await;
            renew(&rehearsal, 6..12).await
        };
        let (summary, theirs) = tokio::join!(rehearsal.run(), renews);
        assert_eq!(summary.exit(), Exit::Well, "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed) + summary.count(Outcome::Superseded), 12, "{summary:?}");
        assert_eq!(sandbox.ledger().reuses, 0);
        let mut kept = Vec::new();
        for (position, token) in theirs {
            // Claimed after that: the newer token was due, and was redeemed.
            if rehearsal.token(position).await == token {
                kept.push((position, token));
            }
        }
        assert_left_alone(&rehearsal, &kept).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_put_off_and_replaced_meanwhile_is_not_sent_again() {
    // Each try waits for a second: the last one comes after more than two.
    on_both("replaced_in_a_retry", plan(3).faults("503(1) user=user-000001 times=3"), async |rehearsal| {
        let sandbox = rehearsal.sandbox.clone();
        let renews = async {
            until("it was put off three times", || sandbox.ledger().requests >= 5).await;
            renew(&rehearsal, [1]).await
        };
        let (summary, theirs) = tokio::join!(rehearsal.run(), renews);
        assert_eq!((summary.count(Outcome::Superseded), summary.count(Outcome::Refreshed)), (1, 2));
        assert_left_alone(&rehearsal, &theirs).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_unchanged_after_a_pause_is_sent_and_a_document_that_was_deleted_is_not() {
    on_both("deleted_in_a_pause", plan(8).faults("429(3)@1"), async |rehearsal| {
        let reads = Arc::new(AtomicBool::new(false));
        let (backend, noted) = (rehearsal.backend.clone(), reads.clone());
        rehearsal.meddler.meddle(move |call| {
            let (backend, one) = (backend.clone(), document_id(1));
            let deletes = matches!(&call, Call::Read(ids) if ids.contains(&one));
            let deletes = deletes && !noted.swap(true, Ordering::SeqCst);
            Box::pin(async move {
                if deletes {
                    backend.delete(&one).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run_with(&PassRequest::default(), &Stop::default()).await;
        assert!(reads.load(Ordering::SeqCst), "it was read again");
        assert_eq!((summary.count(Outcome::Refreshed), summary.count(Outcome::Gone)), (7, 1), "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 8, "the throttled one, and seven grants");
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn tokens_that_are_slow_to_read_again_do_not_break_the_rate() {
    // The canary takes so long that what was claimed beside it must be read again; most of that is slow.
    let mut plan = plan(280).faults("delay(3)@1");
    let window = Duration::from_secs(4);
    // It only counts: a limit of its own would slow us down at the first one too many.
    plan.sandbox.rate_limit = Some(RateLimit { grants: 10_000, window });
    plan.profile.rate = Some(Rate { grants: 200.try_into().unwrap(), window });
    plan.profile.concurrency = 128.try_into().unwrap();
    on_both("slow_second_read", plan, async |rehearsal| {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = reads.clone();
        rehearsal.meddler.meddle(move |call| {
            let slow = matches!(call, Call::Read(_)) && counted.fetch_add(1, Ordering::SeqCst) < 60;
            Box::pin(async move {
                if slow {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert!(reads.load(Ordering::SeqCst) > 60, "{reads:?} were read again");
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 280), "{summary:?}");
        let ledger = rehearsal.sandbox.ledger();
        // 260 when each is sent as soon as it is read; a few are late on a machine that has no time for them.
        assert!(ledger.max_grants_in_window <= 220, "{ledger:?}");
        assert_eq!(ledger.reuses, 0);
        rehearsal.assert_kept(280).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_pause_no_token_is_read_again() {
    let mut plan = plan(60);
    plan.sandbox.latency = Duration::from_millis(5);
    plan.profile.rate = Some("50/s".parse().unwrap());
    on_both("no_second_read", plan, async |rehearsal| {
        let (reads, claims) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Mutex::new(0)));
        let (noted, counted) = (reads.clone(), claims.clone());
        rehearsal.meddler.decide(move |call| {
            noted.fetch_or(matches!(call, Call::Read(_)), Ordering::SeqCst);
            *counted.lock().unwrap() += u32::from(matches!(call, Call::Claim));
            Mishap::None
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 60));
        assert!(!reads.load(Ordering::SeqCst));
        assert!(*claims.lock().unwrap() <= 3, "a call for many tokens");
    })
    .await;
}

#[tokio::test]
async fn without_a_limit_a_claim_takes_hundreds_of_documents() {
    let mut plan = plan(1200);
    plan.profile.concurrency = 64.try_into().unwrap();
    on_both("large_claims", plan, async |rehearsal| {
        let claims = Arc::new(AtomicUsize::new(0));
        let counted = claims.clone();
        rehearsal.meddler.decide(move |call| {
            counted.fetch_add(usize::from(matches!(call, Call::Claim)), Ordering::SeqCst);
            Mishap::None
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 1200));
        let claims = claims.load(Ordering::SeqCst);
        assert!(claims <= 12, "{claims} claims: the first one fills the pool, then pages of 500");
    })
    .await;
}

/// A provider that keeps the refresh token: the access token alone is new each time.
fn keeping(users: usize) -> Plan {
    let mut plan = Plan::users(users);
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    (plan.profile.rotation, plan.profile.refresh_token_lifetime) = (Rotation::None, None);
    plan
}

#[tokio::test]
async fn a_newer_access_token_beside_a_kept_refresh_token_stays_and_the_bookkeeping_is_ours() {
    on_both("newer_access", keeping(6), async |rehearsal| {
        let (backend, written) = (rehearsal.backend.clone(), Arc::new(AtomicBool::new(false)));
        rehearsal.meddler.meddle(move |call| {
            let (backend, one) = (backend.clone(), document_id(1));
            let writes = call.writes_pair_of(&one) && !written.swap(true, Ordering::SeqCst);
            Box::pin(async move {
                if writes {
                    backend.set(&one, json!({ "access_token": "newer" })).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 5), "{summary:?}");
        assert_eq!((summary.count(Outcome::Superseded), summary.orphans), (1, 0), "{summary:?}");
        assert_eq!(rehearsal.document(1).await["access_token"], "newer");
        let (books, other) = (rehearsal.bookkeeping(1).await, rehearsal.bookkeeping(2).await);
        assert!(books.refreshed_at.is_some() && books.due_at.is_some(), "{books:?}");
        assert_eq!(books.fingerprint, Some(RefreshToken::new(rehearsal.token(1).await).fingerprint()));
        assert!(other.refreshed_at.is_some());
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
        assert_eq!(rehearsal.sandbox.ledger().requests, 6);
    })
    .await;
}

#[tokio::test]
async fn an_access_token_that_waited_in_the_journal_replaces_no_newer_one() {
    on_both("newer_access_left", keeping(3), async |rehearsal| {
        rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
        assert_eq!(rehearsal.run().await.count(Outcome::Held), 3);
        rehearsal.meddler.leave();
        rehearsal.backend.set(&document_id(1), json!({ "access_token": "newer" })).await;
        let process = rehearsal.another_process(rehearsal.state()).await;
        let summary = process.recover().await.unwrap();
        process.close().await;
        assert_eq!(
            (summary.exit(), summary.recovery.written, summary.orphans),
            (Exit::Well, 2, 0),
            "{summary:?}"
        );
        let access = async |position| rehearsal.document(position).await["access_token"].clone();
        assert_eq!(access(1).await, "newer");
        assert_ne!(access(2).await, rehearsal.users[2].access_token);
        assert!(rehearsal.entries().await.is_empty());
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
