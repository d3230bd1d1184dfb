//! Documents that say which tokens were redeemed: each machine knows them, also those that it never sent.

use crate::support::meddler::Mishap;
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both, run};
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Rotation;
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::token::{Fingerprint, RefreshToken, State};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

/// Machines with a state directory each.
fn machines<const N: usize>() -> [TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

async fn pass_of(rehearsal: &Rehearsal, machine: &TempDir, request: &PassRequest) -> Summary {
    let process = rehearsal.another_process(machine.path()).await;
    let summary = run(&process, request, &Stop::default()).await;
    process.close().await;
    summary
}

/// The machines refresh all users, one after the other; the tokens of the first user before each of these passes.
async fn refreshed_in_turn(rehearsal: &Rehearsal, turns: &[&TempDir]) -> Vec<Value> {
    let mut before = Vec::new();
    for machine in turns {
        let document = rehearsal.document(0).await;
        before.push(
            json!({ "refresh_token": document["refresh_token"], "access_token": document["access_token"] }),
        );
        let summary = pass_of(rehearsal, machine, &FORCED).await;
        assert_eq!(summary.count(Outcome::Refreshed), rehearsal.users.len() as u64, "{summary:?}");
    }
    before
}

/// As another program, or another version of this one, leaves the document of the first user.
async fn replace(rehearsal: &Rehearsal, document: Value) {
    rehearsal.backend.delete(&document_id(0)).await;
    rehearsal.backend.insert([document]).await;
}

fn fingerprint(pair: &Value) -> Fingerprint {
    RefreshToken::new(pair["refresh_token"].as_str().unwrap().to_owned()).fingerprint()
}

fn left_to_another(summary: &Summary) -> Option<u64> {
    summary.still_due_reasons.get("spent_elsewhere").copied()
}

#[tokio::test]
async fn an_old_token_goes_to_the_machine_that_wrote_the_last_pair_whichever_looks_first() {
    on_both("spent_turns", Plan::users(2), async |rehearsal| {
        let [a, b, c] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b, c]).await;
        for (stale, alone) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
            let mut stale = before[stale].clone();
            if alone {
                stale.as_object_mut().unwrap().remove("access_token");
            }
            for first in [&[a, b, c][..], &[c]] {
                rehearsal.backend.set(&document_id(0), stale.clone()).await;
                for machine in first {
                    let summary = pass_of(&rehearsal, machine, &FORCED).await;
                    let is_last = std::ptr::eq(*machine, c);
                    assert_eq!(left_to_another(&summary), (!is_last).then_some(1), "{summary:?}");
                    assert_eq!(summary.count(Outcome::Restored), u64::from(is_last), "{summary:?}");
                    assert_eq!(summary.newly_marked, 0, "{summary:?}");
                }
                assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
                rehearsal.assert_kept(2).await;
            }
        }
        // And it is refreshed as ever, by any of them.
        assert_eq!(pass_of(&rehearsal, a, &FORCED).await.count(Outcome::Refreshed), 2);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_document_remembers_the_last_tokens_of_its_login_and_none_of_the_one_before() {
    on_both("spent_list", Plan::users(1), async |rehearsal| {
        let [a, b] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b, a, b, a, b, a, b, a, b]).await;
        let known: Vec<_> = rehearsal.bookkeeping(0).await.spent.iter().collect();
        let expected: Vec<_> = before[2..].iter().rev().map(fingerprint).collect();
        assert_eq!(known, expected);
        let login = rehearsal.sandbox.login(&rehearsal.users[0].user).unwrap();
        rehearsal.write_login(0, &login).await;
        let after = refreshed_in_turn(&rehearsal, &[a]).await;
        let known: Vec<_> = rehearsal.bookkeeping(0).await.spent.iter().collect();
        assert_eq!(known, [fingerprint(&after[0])]);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_kept(1).await;
    })
    .await;
}

#[tokio::test]
async fn where_the_pair_is_kept_no_more_the_machine_that_wrote_it_marks_the_user_and_no_other_does() {
    on_both("spent_not_kept", Plan::users(20), async |mut rehearsal| {
        rehearsal.keep_pairs = Duration::ZERO;
        let [a, b] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b]).await;
        rehearsal.backend.set(&document_id(0), before[0].clone()).await;
        let summary = pass_of(&rehearsal, a, &FORCED).await;
        assert_eq!((left_to_another(&summary), summary.newly_marked), (Some(1), 0), "{summary:?}");
        for marked in [1, 0] {
            let summary = pass_of(&rehearsal, b, &FORCED).await;
            assert_eq!((summary.count(Outcome::Restored), summary.newly_marked), (0, marked), "{summary:?}");
        }
        let books = rehearsal.bookkeeping(0).await;
        assert_eq!((books.state, books.fingerprint), (State::NeedsLogin, Some(fingerprint(&before[0]))));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        // The mark is of the old token: the newest one is live again.
        let login = rehearsal.sandbox.login(&rehearsal.users[0].user).unwrap();
        rehearsal.write_login(0, &login).await;
        assert_eq!(pass_of(&rehearsal, a, &FORCED).await.count(Outcome::Refreshed), 20);
    })
    .await;
}

#[tokio::test]
async fn a_journal_that_is_given_up_has_no_pair_to_wait_for() {
    on_both("spent_given_up", Plan::users(2), async |rehearsal| {
        let [a, b, c] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b]).await;
        rehearsal.backend.set(&document_id(0), before[0].clone()).await;
        let journal = rehearsal.bookkeeping(0).await.refreshed_by.unwrap();
        assert_eq!(left_to_another(&pass_of(&rehearsal, c, &FORCED).await), Some(1));
        let given_up = PassRequest { take_over: vec![journal], ..FORCED };
        pass_of(&rehearsal, c, &given_up).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 2, "asked twice before the user is marked");
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::NeedsLogin);
    })
    .await;
}

#[tokio::test]
async fn within_its_grace_the_last_token_is_sent_by_any_machine_and_an_older_one_by_none() {
    let mut plan = Plan::users(2);
    plan.sandbox.grace = Duration::from_hours(10_000);
    (plan.profile.rotation, plan.profile.grace) = (Rotation::Grace, Duration::from_mins(30));
    on_both("spent_grace", plan, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        let [a, b, c] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b]).await;
        rehearsal.backend.set(&document_id(0), before[0].clone()).await;
        for machine in [a, c] {
            assert_eq!(left_to_another(&pass_of(&rehearsal, machine, &FORCED).await), Some(1));
        }
        let summary = pass_of(&rehearsal, b, &FORCED).await;
        assert_eq!(summary.count(Outcome::Restored), 1, "{summary:?}");
        rehearsal.backend.set(&document_id(0), before[1].clone()).await;
        let summary = pass_of(&rehearsal, c, &FORCED).await;
        assert_eq!(summary.count(Outcome::Refreshed), 2, "{summary:?}");
        let spent = rehearsal.bookkeeping(0).await.spent;
        assert_eq!(spent.iter().collect::<Vec<_>>(), [fingerprint(&before[1]), fingerprint(&before[0])]);
    })
    .await;
}

#[tokio::test]
async fn where_the_provider_does_not_rotate_any_more_each_token_is_sent() {
    let mut plan = Plan::users(1);
    plan.sandbox.grace = Duration::from_hours(10_000);
    on_both("spent_none", plan, async |mut rehearsal| {
        let [a, b] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b]).await;
        rehearsal.change_provider(|provider| provider.profile.rotation = Rotation::None);
        for machine in [a, b] {
            rehearsal.backend.set(&document_id(0), before[0].clone()).await;
            let summary = pass_of(&rehearsal, machine, &FORCED).await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 1), "{summary:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_an_earlier_version_wrote_is_read_and_carried_on() {
    on_both("spent_string", Plan::users(2), async |rehearsal| {
        let [a, b, c] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[a, b]).await;
        // It knows the last one alone.
        let mut document = rehearsal.document(0).await;
        assert_eq!(document["evergrant"]["spent"], json!(fingerprint(&before[1]).to_string()));
        document["evergrant"].as_object_mut().unwrap().remove("spent_before").unwrap();
        replace(&rehearsal, document).await;
        rehearsal.backend.set(&document_id(0), before[1].clone()).await;
        assert_eq!(left_to_another(&pass_of(&rehearsal, a, &FORCED).await), Some(1));
        assert_eq!(pass_of(&rehearsal, b, &FORCED).await.count(Outcome::Restored), 1);
        let last = refreshed_in_turn(&rehearsal, &[c]).await;
        let known: Vec<_> = rehearsal.bookkeeping(0).await.spent.iter().collect();
        assert_eq!(known, [fingerprint(&last[0]), fingerprint(&before[1])]);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_save_of_an_old_token_just_before_a_pair_is_written_leads_no_machine_to_an_older_pair() {
    on_both("spent_before_write", Plan::users(2), async |rehearsal| {
        let [b] = &machines();
        let before = refreshed_in_turn(&rehearsal, &[b]).await;
        let as_b_wrote_it = rehearsal.document(0).await["evergrant"].clone();
        let (backend, stale) = (rehearsal.backend.clone(), before[0].clone());
        rehearsal.meddler.meddle(move |call| {
            let (backend, stale) = (backend.clone(), stale.clone());
            Box::pin(async move {
                if call.writes_pair_of(&document_id(0)) {
                    backend.set(&document_id(0), stale).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        rehearsal.meddler.leave();
        assert_eq!(summary.count(Outcome::Superseded), 1, "{summary:?}");
        // What the other machine wrote before was redeemed since.
        for _ in 0..2 {
            let summary = pass_of(&rehearsal, b, &FORCED).await;
            assert_eq!(left_to_another(&summary), Some(1), "{summary:?}");
        }
        // Also where this machine has not said so: it was killed before.
        let mut document = rehearsal.document(0).await;
        document["evergrant"] = as_b_wrote_it;
        replace(&rehearsal, document).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!(summary.count(Outcome::Restored), 1, "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_kept(2).await;
        let [first] = &refreshed_in_turn(&rehearsal, &[b]).await[..] else { panic!("one turn") };
        assert_eq!(rehearsal.bookkeeping(0).await.spent.last(), Some(fingerprint(first)));
    })
    .await;
}
