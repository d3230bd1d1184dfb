//! Tokens whose answers may be in another machine's journal: they wait for it, and are named.

use super::recovery::{Doomed, recover};
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both, open_journal, run};
use chrono::TimeDelta;
use evergrant::sandbox;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Rotation};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::store::Claim;
use evergrant::testing::token::{Lease, State};
use std::path::Path;
use std::time::Duration;

/// The provider granted these, another machine's journal keeps the answers, and it dies before it writes them.
async fn answered_elsewhere(rehearsal: &Rehearsal, state: &Path, positions: &[usize]) {
    let doomed = Doomed::claims_from(rehearsal, state, positions).await;
    for position in positions {
        doomed.is_answered(*position).await;
    }
    doomed.dies().await;
}

fn waiting(summary: &Summary) -> (u64, u64, Exit) {
    (summary.waits_for_count, summary.waits_for_new, summary.exit())
}

#[tokio::test]
async fn a_received_pair_of_another_machine_is_not_burned_and_is_written_when_that_machine_comes_back() {
    on_both("waits_back", Plan::users(6), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let state = tempfile::tempdir().unwrap();
        answered_elsewhere(&rehearsal, state.path(), &[0, 1]).await;
        let before = rehearsal.document(0).await;
        rehearsal.clock.step(TimeDelta::minutes(21));
        let summary = rehearsal.run().await;
        assert_eq!(summary.count(Outcome::Refreshed), 4, "those behind them aren't held back: {summary:?}");
        assert_eq!(summary.still_due_reasons, [("waits_for".to_owned(), 2)].into());
        assert_eq!(waiting(&summary), (2, 2, Exit::StillDue));
        let journal = open_journal(state.path(), &rehearsal.clock).await;
        let named = &summary.waits_for[0];
        assert_eq!((named.owner.as_deref(), named.journal.as_deref()), (Some("host:1"), Some(journal.id())));
        assert!(named.sent_at.is_some(), "{named:?}");
        journal.close().await;
        assert_eq!(rehearsal.document(0).await, before, "it is not written to");
        // What was said is no news, and force doesn't send them either.
        assert_eq!(waiting(&rehearsal.run().await), (2, 0, Exit::Well));
        let forced = PassRequest { force: true, ..PassRequest::default() };
        let summary = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!((summary.waits_for_count, summary.count(Outcome::Refreshed)), (2, 4), "{summary:?}");

        recover(&rehearsal, state.path()).await;
        rehearsal.assert_kept(6).await;
        assert_eq!(waiting(&rehearsal.run().await), (0, 0, Exit::Well));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn where_the_other_machine_never_comes_back_its_tokens_are_sent_after_half_of_their_life() {
    on_both("waits_over", Plan::users(4), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let state = tempfile::tempdir().unwrap();
        answered_elsewhere(&rehearsal, state.path(), &[0]).await;
        Doomed::claims_from(&rehearsal, state.path(), &[1]).await.dies().await;
        // Nothing says how long they live: one day from the end of the claim.
        for (minutes, waits) in [(21, 2), (24 * 60 - 12, 2), (2, 0)] {
            rehearsal.clock.step(TimeDelta::minutes(minutes));
            let summary = rehearsal.run().await;
            assert_eq!(summary.waits_for_count, waits, "after {minutes} more minutes: {summary:?}");
        }
        // What was sent and answered elsewhere is lost, and not called a revoked login.
        assert_eq!(rehearsal.states().await[..2], [State::LostInFlight, State::Live]);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 1);
    })
    .await;
}

#[tokio::test]
async fn with_never_they_are_not_sent_and_are_lost_when_their_life_is_over() {
    let mut plan = Plan::users(2);
    plan.profile.ask_again = AskAgain::Never;
    plan.profile.refresh_token_lifetime = Some(Duration::from_hours(24));
    on_both("waits_never", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 2);
        rehearsal.clock.step(TimeDelta::hours(1));
        let state = tempfile::tempdir().unwrap();
        Doomed::claims_from(&rehearsal, state.path(), &[0]).await.dies().await;
        let granted = |rehearsal: &Rehearsal| rehearsal.sandbox.ledger().granted;
        let mut before = granted(&rehearsal);
        for (hours, waits, refreshed) in [(1, 1, 0), (21, 1, 1), (2, 0, 0)] {
            rehearsal.clock.step(TimeDelta::hours(hours));
            let summary = rehearsal.run().await;
            assert_eq!(summary.waits_for_count, waits, "{hours} h later: {summary:?}");
            assert_eq!(granted(&rehearsal) - before, refreshed, "{hours} h later: {summary:?}");
            before = granted(&rehearsal);
        }
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::LostInFlight);
    })
    .await;
}

#[tokio::test]
async fn a_person_sends_what_waits_for_a_journal_that_is_gone_for_good() {
    let mut plan = Plan::users(3);
    plan.profile.ask_again = AskAgain::Never;
    on_both("waits_person", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let state = tempfile::tempdir().unwrap();
        Doomed::claims_from(&rehearsal, state.path(), &[0]).await.dies().await;
        let another = Lease {
            id: "of an earlier version".into(),
            owner: "host:2".into(),
            until: rehearsal.clock.now() + TimeDelta::minutes(10),
            taken_over: false,
            by: None,
        };
        claim(&rehearsal, 1, another).await;
        rehearsal.clock.step(TimeDelta::minutes(21));
        let summary = rehearsal.run().await;
        assert_eq!((summary.waits_for_count, summary.count(Outcome::Refreshed)), (2, 1), "{summary:?}");
        let gone = summary.waits_for.iter().find_map(|waits| waits.journal.clone()).unwrap();
        for (given, left) in [("somebody else's".to_owned(), 2), (gone, 1), ("unknown".to_owned(), 0)] {
            let request = PassRequest { take_over: vec![given.clone()], ..PassRequest::default() };
            let summary = rehearsal.run_with(&request, &Stop::default()).await;
            assert_eq!(summary.waits_for_count, left, "{given}: {summary:?}");
        }
        rehearsal.assert_kept(3).await;
    })
    .await;
}

#[tokio::test]
async fn where_a_second_request_does_no_harm_a_token_is_taken_over_as_ever() {
    for (name, at_sandbox, of_profile, grace) in [
        ("waits_none", sandbox::Rotation::Keep, Rotation::None, Duration::ZERO),
        ("waits_grace", sandbox::Rotation::Rotate, Rotation::Grace, Duration::from_mins(30)),
    ] {
        let mut plan = Plan::users(3);
        plan.sandbox.rotation = at_sandbox;
        (plan.profile.rotation, plan.profile.grace) = (of_profile, grace);
        on_both(name, plan, async |mut rehearsal| {
            rehearsal.clock = Clock::steppable();
            let state = tempfile::tempdir().unwrap();
            Doomed::claims_from(&rehearsal, state.path(), &[0, 1]).await.dies().await;
            rehearsal.clock.step(TimeDelta::minutes(21));
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 3), "{summary:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_restored_copy_of_a_journal_waits_for_the_passes_that_it_does_not_know() {
    on_both("waits_copy", Plan::users(3), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let (state, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = rehearsal.another_process(state.path()).await;
        run(&first, &PassRequest::default(), &Stop::default()).await;
        first.close().await;
        for file in std::fs::read_dir(state.path()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        Doomed::claims_from(&rehearsal, state.path(), &[0]).await.dies().await;
        rehearsal.clock.step(TimeDelta::minutes(21));
        let restored = rehearsal.another_process(copy.path()).await;
        let summary = run(&restored, &PassRequest::default(), &Stop::default()).await;
        restored.close().await;
        assert_eq!(waiting(&summary), (1, 1, Exit::StillDue), "{summary:?}");
        let id = open_journal(copy.path(), &rehearsal.clock).await.id().to_owned();
        assert_eq!(summary.waits_for[0].journal.as_ref(), Some(&id), "the same journal, and it knows less");
    })
    .await;
}

/// Another process claims this document.
async fn claim(rehearsal: &Rehearsal, position: usize, lease: Lease) {
    let claim = Claim {
        ids: vec![document_id(position)],
        lease,
        due_by: None,
        now: rehearsal.clock.now(),
        over: Vec::new(),
        ended_for: chrono::TimeDelta::zero(),
    };
    assert_eq!(rehearsal.backend.store.claim(&claim).await.unwrap().documents.len(), 1);
}

#[tokio::test]
async fn a_machine_whose_clock_is_days_behind_cuts_no_living_claim() {
    on_both("far_behind", Plan::users(3), async |mut rehearsal| {
        if !rehearsal.backend.is_mongo() {
            return;
        }
        rehearsal.clock = Clock::steppable();
        let until = rehearsal.clock.now() + TimeDelta::minutes(5);
        let living =
            Lease { id: "living".into(), owner: "host:2".into(), until, taken_over: false, by: None };
        claim(&rehearsal, 0, living.clone()).await;
        rehearsal.clock.set_machine_ahead(-TimeDelta::days(2));
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.recovery.claims_cut, summary.left_to_others.documents), (0, 1), "{summary:?}");
        assert_eq!(rehearsal.bookkeeping(0).await.lease, Some(living));
        assert_eq!(rehearsal.sandbox.ledger().requests, 2);
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_ends_in_weeks_is_cut_to_one_lease_and_then_ends_like_any_other() {
    let mut plan = Plan::users(3);
    plan.sandbox.rotation = sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    on_both("far_lease", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let until = rehearsal.clock.now() + TimeDelta::days(30);
        let far = Lease { id: "far".into(), owner: "host:2".into(), until, taken_over: false, by: None };
        claim(&rehearsal, 0, far).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.recovery.claims_cut, summary.count(Outcome::Refreshed)), (1, 2), "{summary:?}");
        assert_eq!((summary.exit(), summary.left_to_others.documents), (Exit::StillDue, 1));
        let lease = rehearsal.bookkeeping(0).await.lease.unwrap();
        assert_eq!((&*lease.id, Some(lease.until)), ("far", summary.left_to_others.until));
        assert!(lease.until <= rehearsal.clock.now() + TimeDelta::minutes(10));
        assert_eq!(rehearsal.run().await.exit(), Exit::StillDue, "another holds all that was due");
        rehearsal.clock.step(TimeDelta::minutes(21));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 1), "{summary:?}");
    })
    .await;
}
