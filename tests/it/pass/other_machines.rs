//! What recovery finds out, and what the other machines and the next passes must know of it.

use super::recovery::{Doomed, answer, recover};
use crate::store::backend::id;
use crate::support::meddler::Mishap;
use crate::support::rehearsal::{FORCED, Plan, document_id, on_both, open_journal, run};
use chrono::TimeDelta;
use evergrant::sandbox::Rotation;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::journal::{EntryState, Event};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::AskAgain;
use evergrant::testing::report::Outcome;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn what_recovery_finds_out_of_a_token_is_told_to_the_other_machines() {
    on_both("doubt_told", Plan::users(4), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2]).await;
        // Rotated, and answered with nothing that settles it. 2: intended, never sent.
        for (position, status, body) in [(0, 500, "oops"), (1, 200, r#"{"token":"a"}"#)] {
            let entry = doomed.intends(position).await;
            doomed.sends(position).await;
            doomed.keeps(entry, answer(status, body)).await;
        }
        doomed.intends(2).await;
        doomed.dies().await;
        recover(&rehearsal, rehearsal.state()).await;
        let said = async |position| rehearsal.bookkeeping(position).await.last_error.unwrap();
        assert_eq!(
            said(0).await.lost.map(|lost| (lost.cause, lost.received_bytes)),
            Some(("http_500".into(), 4))
        );
        assert_eq!((&*said(1).await.class, said(1).await.http_status), ("unreadable", Some(200)));
        assert_eq!(said(2).await.lost.map(|lost| lost.cause), Some("stopped".into()));

        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (1, 0));
        assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&1), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 2);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 1, "what was answered with a success isn't sent again");
    })
    .await;
}

#[tokio::test]
async fn a_token_in_doubt_is_not_sent_again_where_that_is_forbidden_from_the_place_to_which_its_document_was_moved()
 {
    let mut plan = Plan::users(2);
    plan.profile.ask_again = AskAgain::Never;
    on_both("doubt_moved", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.dies().await;
        let mut moved = rehearsal.document(0).await;
        moved["_id"] = json!({ "$oid": "e".repeat(24) });
        rehearsal.backend.delete(&document_id(0)).await;
        rehearsal.backend.insert([moved]).await;
        // Recovery finds the document gone; then the token is met at its new place, and at the next start once more.
        for _ in 0..2 {
            let summary = rehearsal.run().await;
            assert_eq!(summary.count(Outcome::LostInFlight), 1, "{summary:?}");
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn what_another_machine_holds_an_answer_for_is_not_hidden_behind_our_older_doubt() {
    on_both("held_elsewhere", Plan::users(1), async |rehearsal| {
        let state = tempfile::tempdir().unwrap();
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.intends(0).await;
        doomed.dies().await;
        recover(&rehearsal, rehearsal.state()).await;
        // The other one asks again; the provider rotates, and it can't read the answer.
        let doomed = Doomed::claims_from(&rehearsal, state.path(), &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.keeps(entry, answer(200, r#"{"token":"a"}"#)).await;
        doomed.dies().await;
        recover(&rehearsal, state.path()).await;
        // Ours claims it once more, and dies; what its journal knows is older.
        Doomed::claims(&rehearsal, &[0]).await.dies().await;
        for _ in 0..2 {
            let summary = rehearsal.run().await;
            assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&1), "{summary:?}");
        }
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!(
            (ledger.granted, ledger.reuses),
            (1, 0),
            "what was answered with a success isn't sent again"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_success_of_a_provider_that_does_not_rotate_blocks_nobody_after_a_restart() {
    let mut plan = Plan::users(2);
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::testing::provider::Rotation::None;
    on_both("unread_none", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.keeps(entry, answer(200, r#"{"token":"a"}"#)).await;
        doomed.dies().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_unread_success_outlives_a_profile_that_says_that_nothing_is_rotated() {
    let mut plan = Plan::users(2);
    let right = plan.profile.answer.access_token.clone();
    plan.profile.answer.access_token = "/data/access_token".parse().unwrap();
    on_both("unread_kept", plan, async |mut rehearsal| {
        rehearsal.run().await;
        assert!(rehearsal.entries().await.iter().all(|entry| entry.state == EntryState::Unread));
        let told = (*rehearsal.providers[0]).clone();
        let mut wrong = told.clone();
        wrong.profile.rotation = evergrant::testing::provider::Rotation::None;
        rehearsal.providers = vec![Arc::new(wrong)];
        recover(&rehearsal, rehearsal.state()).await;
        rehearsal.providers = vec![Arc::new(told.clone())];
        recover(&rehearsal, rehearsal.state()).await;
        let entries = rehearsal.entries().await;
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().all(|entry| entry.state == EntryState::Unread), "{entries:?}");

        let mut mended = told;
        mended.profile.answer.access_token.clone_from(&right);
        rehearsal.providers = vec![Arc::new(mended)];
        let summary = rehearsal.run().await;
        assert_eq!((summary.recovery.written, rehearsal.sandbox.ledger().reuses), (2, 0), "{summary:?}");
        rehearsal.assert_kept(2).await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_older_access_token_is_not_written_over_a_newer_one() {
    let mut plan = Plan::users(2);
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::testing::provider::Rotation::None;
    on_both("newer_access", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        // Another machine takes the claim over and refreshes it, before this one comes back.
        rehearsal.clock.step(TimeDelta::minutes(21));
        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        let newer = rehearsal.document(0).await;
        recover(&rehearsal, rehearsal.state()).await;
        assert_eq!(rehearsal.document(0).await, newer);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_the_store_refuses_keeps_the_other_machines_from_asking() {
    on_both("refused_pair", Plan::users(3), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
        let process = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
        process.recover().await.unwrap();
        process.close().await;
        rehearsal.meddler.leave();
        rehearsal.assert_nothing_claimed().await;

        let state = tempfile::tempdir().unwrap();
        let other = rehearsal.another_process(state.path()).await;
        let summary = run(&other, &PassRequest::default(), &Stop::default()).await;
        assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&1), "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        // It is written as soon as the store takes it.
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(3).await;
        assert_eq!(rehearsal.bookkeeping(0).await.last_error, None);
    })
    .await;
}

#[tokio::test]
async fn a_token_whose_answer_a_person_has_given_up_is_named_and_not_waited_for() {
    let mut plan = Plan::users(2);
    plan.profile.answer.access_token = "/data/access_token".parse().unwrap();
    on_both("given_up", plan, async |rehearsal| {
        let first = rehearsal.run().await;
        assert_eq!(first.count(Outcome::StillDue), 2, "{first:?}");
        assert_eq!(&*rehearsal.bookkeeping(0).await.last_error.unwrap().class, "unreadable");
        let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
        let entries = journal.entries().await.unwrap();
        assert!(entries.iter().all(|entry| entry.state == EntryState::Unread));
        let discarded = entries.iter().map(|entry| (entry.id, Event::GivenUp)).collect();
        journal.end(discarded, rehearsal.clock.now()).await.unwrap();
        journal.close().await;
        let next = rehearsal.run().await;
        assert_eq!((next.count(Outcome::NeedsLogin), next.grants), (2, 0), "{next:?}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_settles_nothing_stays_in_doubt_while_its_document_is_moved() {
    let mut plan = Plan::users(20);
    plan.profile.ask_again = AskAgain::Never;
    on_both("moved_doubt", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.keeps(entry, answer(502, "a page")).await;
        doomed.dies().await;
        let mut moved = rehearsal.document(0).await;
        let elsewhere = id(&json!({ "$oid": "f".repeat(24) }));
        rehearsal.backend.delete(&document_id(0)).await;
        recover(&rehearsal, rehearsal.state()).await;
        moved["_id"] = serde_json::from_str(elsewhere.as_str()).unwrap();
        moved.as_object_mut().unwrap().remove("evergrant");
        rehearsal.backend.insert([moved]).await;
        let summary = rehearsal.run().await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "it is shown once: {summary:?}");
        assert_eq!(summary.count(Outcome::LostInFlight), 1, "{summary:?}");
    })
    .await;
}

#[tokio::test]
async fn a_document_that_is_left_to_another_machine_is_due_when_that_one_looks() {
    on_both("kept_turns", Plan::users(2), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        rehearsal.settings.first_backoff = Duration::from_mins(15);
        let other = tempfile::tempdir().unwrap();
        let elsewhere = async |request: &PassRequest| {
            let process = rehearsal.another_process(other.path()).await;
            let summary = run(&process, request, &Stop::default()).await;
            process.close().await;
            summary
        };
        rehearsal.run().await;
        let before = rehearsal.document(0).await;
        assert_eq!(elsewhere(&FORCED).await.count(Outcome::Refreshed), 2);
        let stale =
            json!({ "refresh_token": before["refresh_token"], "access_token": before["access_token"] });
        rehearsal.backend.set(&document_id(0), stale).await;
        // Each day the one looks at three o'clock, and the other five minutes later.
        let (mut left, mut restored) = (0, 0);
        for _ in 0..14 {
            let summary = rehearsal.run().await;
            left += summary.still_due_reasons.get("spent_elsewhere").copied().unwrap_or_default();
            rehearsal.clock.step(TimeDelta::minutes(5));
            restored += elsewhere(&PassRequest::default()).await.count(Outcome::Restored);
            rehearsal.clock.step(TimeDelta::days(1) - TimeDelta::minutes(5));
        }
        assert_eq!(restored, 1, "it was left {left} times to the machine that has its pair");
    })
    .await;
}
