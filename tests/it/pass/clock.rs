//! The clock is stepped by hours in the middle of a pass.

use super::recovery::Doomed;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{FORCED, Plan, document_id, on_both, until};
use chrono::TimeDelta;
use evergrant::sandbox;
use evergrant::testing::clock::{Clock, Timestamp};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Rotation;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::{Change, Fence};
use evergrant::testing::token::{Bookkeeping, RefreshToken, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn a_clock_stepped_by_hours_redeems_nobody_twice_and_skips_nobody_for_ever() {
    for (hours, known, force) in [(5, true, false), (-5, true, false), (5, false, true), (-5, false, false)] {
        let mut plan = Plan::users(90);
        if !known {
            plan.profile.refresh_token_lifetime = None;
        }
        plan.sandbox.latency = Duration::from_millis(4);
        // Pages of 64: one that is claimed before the step, and one after it.
        plan.profile.rate = Some("1000/s".parse().unwrap());
        let test = format!("clock_{}{known}", if hours < 0 { "back" } else { "forward" });
        // A clock for each store: both are stepped once.
        on_both(&test, plan, async |mut rehearsal| {
            rehearsal.clock = Clock::steppable();
            let (sandbox, clock) = (rehearsal.sandbox.clone(), rehearsal.clock.clone());
            let step = async move {
                until("a third is granted", || sandbox.ledger().granted >= 30).await;
                clock.step(TimeDelta::hours(hours));
            };
            let (request, stop) = (PassRequest { force, ..PassRequest::default() }, Stop::default());
            let (summary, ()) = tokio::join!(rehearsal.run_with(&request, &stop), step);
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 90), "{summary:?}");
            let ledger = rehearsal.sandbox.ledger();
            assert_eq!((ledger.requests, ledger.granted), (90, 90), "once each, {hours} h");
            rehearsal.assert_kept(90).await;
            rehearsal.assert_nothing_claimed().await;
            // After the longest interval everybody is due again, wherever the clock stood.
            rehearsal.clock.step(TimeDelta::days(5));
            let next = rehearsal.run().await;
            assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 90), "{hours} h");
            assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_written_under_a_clock_that_was_months_ahead_is_refreshed_once_and_its_claims_are_found() {
    on_both("clock_months", Plan::users(30), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        rehearsal.clock.step(TimeDelta::days(60));
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 30);
        // And a process that claimed some, and died.
        Doomed::claims(&rehearsal, &[1, 2]).await.dies().await;
        rehearsal.clock.step(TimeDelta::days(-60));
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 30), "{next:?}");
        assert_eq!(next.recovery.claims_released, 2);
        rehearsal.assert_kept(30).await;
        rehearsal.assert_nothing_claimed().await;
        assert_eq!(rehearsal.run().await.touched, 0, "once");
        rehearsal.clock.step(TimeDelta::days(5));
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 30);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_only_in_the_middle_of_a_pass_is_noticed_and_parts_of_a_mending_are_not_done_twice()
 {
    let mut plan = Plan::users(30);
    plan.sandbox.latency = Duration::from_millis(10);
    plan.profile.concurrency = 1.try_into().unwrap();
    on_both("clock_between", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let (sandbox, clock) = (rehearsal.sandbox.clone(), rehearsal.clock.clone());
        let steps = async move {
            until("some are granted", || sandbox.ledger().granted >= 5).await;
            clock.step(TimeDelta::days(60));
            until("some more are", || sandbox.ledger().granted >= 20).await;
            clock.step(TimeDelta::days(-60));
        };
        let (summary, ()) = tokio::join!(rehearsal.run(), steps);
        assert_eq!(summary.count(Outcome::Refreshed), 30, "{summary:?}");
        let late = 30 - rehearsal.due_within(TimeDelta::days(6)).await;
        assert!(late > 5, "{late}");
        // A few at a time, and each only once.
        let few = PassRequest { limit: 4.try_into().ok(), ..PassRequest::default() };
        let mut refreshed = 0;
        for _ in 0..9 {
            refreshed += rehearsal.run_with(&few, &Stop::default()).await.count(Outcome::Refreshed);
        }
        assert_eq!((refreshed, rehearsal.due_within(TimeDelta::days(6)).await), (late, 30));
        rehearsal.assert_kept(30).await;
    })
    .await;
}

#[tokio::test]
async fn claims_that_lapsed_under_a_stepped_clock_are_taken_over_once_and_the_loser_marks_nobody() {
    let mut plan = Plan::users(60);
    plan.sandbox.latency = Duration::from_millis(20);
    plan.profile.concurrency = 2.try_into().unwrap();
    plan.profile.rate = Some("500/s".parse().unwrap());
    on_both("lapsed", plan, async |mut rehearsal| {
        let state = tempfile::tempdir().unwrap();
        // The other process' clock is ahead: every claim of ours has ended for it.
        rehearsal.clock = Clock::steppable();
        rehearsal.clock.step(TimeDelta::hours(5));
        let other = rehearsal.another_process(state.path()).await;
        rehearsal.clock = Clock::steppable();
        let (request, stop) = (PassRequest::default(), Stop::default());
        let sandbox = rehearsal.sandbox.clone();
        let clock = rehearsal.clock.clone();
        let second = async {
            until("ten are granted", || sandbox.ledger().granted >= 10).await;
            let running = crate::support::rehearsal::run(&other, &request, &stop);
            // Ours finds out when it looks at its own clock.
            clock.step(TimeDelta::hours(5));
            running.await
        };
        let (ours, theirs) = tokio::join!(rehearsal.run_with(&request, &stop), second);
        let audit = rehearsal.audit().await;
        assert_eq!((audit.kept, audit.lost_received), (60, 0), "{audit:?}");
        assert!(theirs.touched > 0, "{ours:?} {theirs:?}");
        for position in 0..60 {
            assert_eq!(rehearsal.bookkeeping(position).await.state, State::Live, "{ours:?} {theirs:?}");
        }
        rehearsal.clock.step(TimeDelta::days(5));
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(60).await;
    })
    .await;
}

#[tokio::test]
async fn due_dates_of_another_machine_whose_clock_was_ahead_are_void_and_that_is_said() {
    for (test, days) in [("void_years", 1500), ("void_weeks", 20)] {
        on_both(test, Plan::users(12), async |mut rehearsal| {
            rehearsal.clock = Clock::steppable();
            assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 12);
            let (state, later) = (tempfile::tempdir().unwrap(), TimeDelta::days(days));
            rehearsal.clock.step(later);
            let other = rehearsal.another_process(state.path()).await;
            let summary = crate::support::rehearsal::run(&other, &FORCED, &Stop::default()).await;
            assert_eq!(summary.count(Outcome::Refreshed), 12, "{summary:?}");
            other.close().await;
            rehearsal.clock = Clock::steppable();
            rehearsal.clock.step(TimeDelta::hours(2));
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 12), "{summary:?}");
            assert_eq!(summary.recovery.void_due_dates, 12, "{summary:?}");
            assert!(summary.to_string().contains("12 due dates of a clock that was ahead"), "{summary}");
            assert_eq!(rehearsal.due_within(TimeDelta::days(6)).await, 12);
            let next = rehearsal.run().await;
            assert_eq!((next.touched, next.recovery.void_due_dates), (0, 0), "{next:?}");
            rehearsal.assert_kept(12).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_due_date_that_the_end_of_its_own_token_explains_is_none_of_a_wrong_clock() {
    on_both("explained", Plan::users(5), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 5);
        // The profile says a shorter life from now on, and the state directory is another one.
        rehearsal.change_provider(|provider| {
            provider.profile.refresh_token_lifetime = Some(Duration::from_hours(24));
        });
        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let (request, stop) = (PassRequest::default(), Stop::default());
        let summary = crate::support::rehearsal::run(&other, &request, &stop).await;
        assert_eq!((summary.touched, summary.recovery.void_due_dates), (0, 0), "{summary:?}");
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_backoff_beyond_the_end_of_its_token_lasts_and_is_none_of_a_wrong_clock() {
    let mut plan = Plan::users(3);
    plan.profile.refresh_token_lifetime = Some(Duration::from_hours(1));
    plan.profile.answer.suspected = std::mem::take(&mut plan.profile.answer.refused);
    on_both("backoff", plan, async |mut rehearsal| {
        rehearsal.settings.first_backoff = Duration::from_hours(8);
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 3);
        rehearsal.sandbox.revoke("user-000001");
        assert_eq!(rehearsal.run_with(&FORCED, &Stop::default()).await.count(Outcome::StillDue), 1);
        let books = rehearsal.bookkeeping(1).await;
        assert!(books.refresh_expires_at.is_some_and(|end| Some(end) < books.due_at), "{books:?}");
        let requests = rehearsal.sandbox.ledger().requests;
        // As cron starts one process after another.
        for _ in 0..3 {
            let summary = rehearsal.run().await;
            assert_eq!((summary.touched, summary.recovery.void_due_dates), (0, 0), "{summary:?}");
        }
        assert_eq!(rehearsal.sandbox.ledger().requests, requests);
    })
    .await;
}

#[tokio::test]
async fn mending_a_void_due_date_undoes_nothing_that_another_process_wrote_since_it_was_read() {
    let mut plan = Plan::users(1);
    plan.profile.rotation = Rotation::None;
    plan.sandbox.rotation = sandbox::Rotation::Keep;
    on_both("newer_books", plan, async |rehearsal| {
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1);
        let known = rehearsal.bookkeeping(0).await;
        let expect_refresh_token = Some(RefreshToken::new(rehearsal.token(0).await));
        let write = move |bookkeeping| Change {
            id: document_id(0),
            expect_refresh_token: expect_refresh_token.clone(),
            expect_lease: Fence::Unclaimed,
            pair: None,
            bookkeeping,
        };
        let ahead = |at: Option<Timestamp>| at.map(|at| at + TimeDelta::days(60));
        let void =
            Bookkeeping { refreshed_at: ahead(known.refreshed_at), due_at: ahead(known.due_at), ..known };
        let store = rehearsal.backend.store.clone();
        store.apply(&[write(void.clone())]).await.unwrap();
        // Another one has found it, too, and refreshed it by now: the token is the same.
        let now = Clock::system().now();
        let due_at = Some(now + TimeDelta::days(4));
        let newer = Bookkeeping { refreshed_at: Some(now), due_at, failures: 3, ..void };
        let (change, done) = (write(newer.clone()), AtomicBool::default());
        rehearsal.meddler.meddle(move |call| {
            let (store, change) = (store.clone(), change.clone());
            let is_first = matches!(call, Call::Apply(_)) && !done.swap(true, Ordering::SeqCst);
            Box::pin(async move {
                if is_first {
                    store.apply(&[change]).await.unwrap();
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(0).await, newer, "{summary:?}");
        assert_eq!((summary.touched, rehearsal.sandbox.ledger().requests), (0, 1), "{summary:?}");
    })
    .await;
}

#[tokio::test]
async fn a_store_that_takes_too_long_to_search_for_void_due_dates_holds_up_nothing_that_is_due() {
    on_both("unsearchable", Plan::users(5), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 5);
        // All of them could be void until they are read.
        rehearsal.change_provider(|provider| {
            provider.profile.refresh_token_lifetime = Some(Duration::from_hours(24));
        });
        let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
        let searched = Arc::new(AtomicUsize::default());
        let counted = searched.clone();
        rehearsal.meddler.decide(move |call| match call {
            Call::DuePage if counted.fetch_add(1, Ordering::SeqCst) == 0 => Mishap::Away,
            _ => Mishap::None,
        });
        for _ in 0..2 {
            pass.todo().await.unwrap();
            assert_eq!(searched.load(Ordering::SeqCst), 1, "not at each look");
        }
        pass.close().await;
    })
    .await;
}
