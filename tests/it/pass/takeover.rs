//! Claims that ran out in somebody else's hands.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Rotation;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::Claim;
use evergrant::testing::token::{Lease, State};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Users of a provider at which a second request does no harm within half an hour: else their tokens would wait for the
/// other process.
fn taken_at_once(users: usize) -> Plan {
    let mut plan = Plan::users(users);
    plan.profile.rotation = Rotation::Grace;
    plan.profile.grace = Duration::from_mins(30);
    plan
}

/// Another process claims these, and is never heard of again.
async fn claimed_by_another(rehearsal: &Rehearsal, positions: &[usize]) {
    let now = rehearsal.clock.now();
    let until = now + TimeDelta::from_std(rehearsal.settings.lease).unwrap();
    let claim = Claim {
        ids: positions.iter().map(|position| document_id(*position)).collect(),
        lease: Lease { id: "another".into(), owner: "host:2".into(), until, taken_over: false, by: None },
        due_by: None,
        now,
        over: Vec::new(),
        ended_for: chrono::TimeDelta::zero(),
    };
    rehearsal.backend.store.claim(&claim).await.unwrap();
}

#[tokio::test]
async fn a_claim_of_another_process_is_taken_over_one_lease_length_after_its_end_also_by_force() {
    on_both("taken_over", taken_at_once(6), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        claimed_by_another(&rehearsal, &[0, 1]).await;
        rehearsal.clock.step(TimeDelta::minutes(19));
        for request in [PassRequest::default(), FORCED] {
            let summary = rehearsal.run_with(&request, &Stop::default()).await;
            assert_eq!((summary.exit(), summary.touched), (Exit::Well, 4), "it may hold an answer");
        }
        rehearsal.clock.step(TimeDelta::minutes(2));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2));
        rehearsal.assert_kept(6).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_a_token_that_was_taken_over_is_a_loss_and_no_revoked_login() {
    on_both("taken_over_lost", taken_at_once(4), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        claimed_by_another(&rehearsal, &[0]).await;
        rehearsal.sandbox.revoke("user-000000");
        rehearsal.sandbox.revoke("user-000001");
        rehearsal.clock.step(TimeDelta::minutes(21));
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (1, 1));
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::LostInFlight);
        let error = rehearsal.bookkeeping(0).await.last_error.unwrap();
        assert_eq!(error.lost.unwrap().cause, "claim_ended");
    })
    .await;
}

#[tokio::test]
async fn that_a_token_was_taken_over_is_not_forgotten_when_the_one_who_took_it_over_never_sends_it() {
    on_both("taken_over_twice", taken_at_once(4), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        claimed_by_another(&rehearsal, &[0]).await;
        rehearsal.sandbox.revoke("user-000000");
        rehearsal.clock.step(TimeDelta::minutes(21));
        let stop = Stop::default();
        let take_no_more = stop.take_no_more.clone();
        rehearsal.meddler.decide(move |call| {
            if matches!(call, Call::Claim) {
                take_no_more.cancel();
            }
            Mishap::None
        });
        let stopped = rehearsal.run_with(&PassRequest::default(), &stop).await;
        assert_eq!(stopped.grants, 0, "{stopped:?}");
        rehearsal.meddler.leave();
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (1, 0));
        assert_eq!(summary.count(Outcome::Refreshed), 3);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_its_owner_held_for_longer_than_its_claim_still_goes_into_the_document() {
    let mut plan = taken_at_once(3).faults("delay(2) user=user-000000");
    plan.profile.concurrency = 4.try_into().unwrap();
    on_both("held_long", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        rehearsal.settings.lease = Duration::from_mins(10);
        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let (sandbox, clock) = (rehearsal.sandbox.clone(), rehearsal.clock.clone());
        let (request, stop) = (PassRequest::default(), Stop::default());
        let take_over = async {
            crate::support::rehearsal::until("both others are granted", || sandbox.ledger().granted >= 2)
                .await;
            clock.step(TimeDelta::minutes(21));
            crate::support::rehearsal::run(&other, &request, &stop).await
        };
        let (first, second) = tokio::join!(rehearsal.run(), take_over);
        // Whoever was first at the provider has the pair, and the other one marks nobody for good.
        let refreshed = first.count(Outcome::Refreshed) + second.count(Outcome::Refreshed);
        assert_eq!(refreshed, 3, "{first:?} {second:?}");
        rehearsal.assert_kept(3).await;
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::Live);
    })
    .await;
}

#[tokio::test]
async fn a_process_that_was_stopped_behind_its_last_look_looks_again_before_it_sends() {
    let mut plan = Plan::users(4).faults("drop-before user=user-000001 times=1");
    plan.profile.settle_after = Duration::from_millis(1);
    on_both("stopped_behind", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let (backend, clock, done) =
            (rehearsal.backend.clone(), rehearsal.clock.clone(), AtomicBool::new(false));
        rehearsal.meddler.meddle(move |call| {
            // The last look before the second sending: behind it we sleep for 21 minutes, and another process claims.
            let looks = matches!(&call, Call::Read(ids) if ids.contains(&document_id(1)));
            let now = looks && !done.swap(true, Ordering::SeqCst);
            let (backend, clock) = (backend.clone(), clock.clone());
            Box::pin(async move {
                if now {
                    clock.step(TimeDelta::minutes(21));
                    let now = clock.now();
                    let lease = Lease {
                        id: "another".into(),
                        owner: "host:2".into(),
                        until: now + TimeDelta::hours(1),
                        taken_over: false,
                        by: None,
                    };
                    let claim = Claim {
                        ids: vec![document_id(1)],
                        lease,
                        due_by: None,
                        now,
                        over: Vec::new(),
                        ended_for: chrono::TimeDelta::zero(),
                    };
                    assert_eq!(backend.store.claim(&claim).await.unwrap().documents.len(), 1);
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::StillDue, 3), "{summary:?}");
        assert_eq!(summary.still_due_reasons.get("claim_lost"), Some(&1));
        assert_eq!(rehearsal.sandbox.ledger().requests, 4, "the token is theirs to send");
        assert_eq!(rehearsal.bookkeeping(1).await.lease.unwrap().id, "another");
    })
    .await;
}
