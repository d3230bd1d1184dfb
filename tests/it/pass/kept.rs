//! Documents that hold an old token again: the newest pair that was received for it goes back, and nothing is sent.

use super::recovery::Doomed;
use crate::store::backend::id;
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both, run};
use evergrant::sandbox::SeededUser;
use evergrant::testing::exit::Exit;
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Rotation};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::token::{State, TokenId};
use serde_json::{Value, json};
use std::time::Duration;

/// Where a document is moved to.
fn elsewhere() -> TokenId {
    id(&json!({ "$oid": "f".repeat(24) }))
}

fn pair_of(user: &SeededUser) -> Value {
    json!({ "refresh_token": user.refresh_token, "access_token": user.access_token })
}

/// Puts back the pairs that these users had at first, as a backup has them.
async fn restore(rehearsal: &Rehearsal, positions: impl IntoIterator<Item = usize>) {
    for position in positions {
        rehearsal.backend.set(&document_id(position), pair_of(&rehearsal.users[position])).await;
    }
}

/// The document of a user as it was at first, under this `_id`.
fn as_at_first(rehearsal: &Rehearsal, position: usize, id: &TokenId) -> Value {
    let user = &rehearsal.users[position];
    let mut document = pair_of(user);
    document["_id"] = serde_json::from_str(id.as_str()).unwrap();
    document["email"] = json!(user.email);
    document
}

async fn forced(rehearsal: &Rehearsal) -> Summary {
    rehearsal.run_with(&FORCED, &Stop::default()).await
}

/// The provider was asked so often, and has not seen one token twice; each document holds what it would grant.
async fn assert_well(rehearsal: &Rehearsal, requests: u64, users: usize) {
    let ledger = rehearsal.sandbox.ledger();
    assert_eq!((ledger.requests, ledger.reuses), (requests, 0));
    rehearsal.assert_kept(users).await;
    rehearsal.assert_nothing_claimed().await;
    assert!(rehearsal.entries().await.is_empty(), "nothing is open, and nothing is parked");
}

#[tokio::test]
async fn a_stale_save_of_both_tokens_or_of_one_gets_its_pair_back() {
    on_both("kept_stale_save", Plan::users(6), async |rehearsal| {
        rehearsal.run().await;
        restore(&rehearsal, [0, 1]).await;
        // The refresh token alone: our own access token stands beside it.
        let old = json!({ "refresh_token": rehearsal.users[2].refresh_token });
        rehearsal.backend.set(&document_id(2), old).await;
        // Without an access token.
        let old = json!({ "refresh_token": rehearsal.users[3].refresh_token, "access_token": null });
        rehearsal.backend.set(&document_id(3), old).await;
        let summary = forced(&rehearsal).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::Well, 0), "{summary:?}");
        assert_eq!(summary.count(Outcome::Restored), 4, "{summary:?}");
        assert!(summary.to_string().contains("restored"), "{summary}");
        assert_well(&rehearsal, 8, 6).await;
        // And they are refreshed as ever.
        assert_eq!(forced(&rehearsal).await.count(Outcome::Refreshed), 6);
        assert_well(&rehearsal, 14, 6).await;
    })
    .await;
}

#[tokio::test]
async fn a_document_that_was_saved_as_a_whole_gets_its_pair_back() {
    on_both("kept_whole_save", Plan::users(3), async |rehearsal| {
        rehearsal.run().await;
        let place = document_id(1);
        rehearsal.backend.delete(&place).await;
        rehearsal.backend.insert([as_at_first(&rehearsal, 1, &place)]).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 1), "{summary:?}");
        assert_well(&rehearsal, 3, 3).await;
        assert!(rehearsal.bookkeeping(1).await.refreshed_at.is_some());
        assert_eq!(rehearsal.run().await.touched, 0, "it is due by when its pair was received");
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_yesterday_and_one_of_last_week_get_the_newest_pairs() {
    on_both("kept_backup", Plan::users(30), async |rehearsal| {
        let mut requests = 0;
        for passes in [1, 4] {
            for _ in 0..passes {
                assert_eq!(forced(&rehearsal).await.count(Outcome::Refreshed), 30);
                requests += 30;
            }
            // Four passes later the tokens of the beginning are five redemptions old.
            let sent = rehearsal.bookkeeping(0).await.spent.last();
            restore(&rehearsal, 0..30).await;
            let summary = forced(&rehearsal).await;
            assert_eq!((summary.exit(), summary.newly_marked), (Exit::Well, 0), "{summary:?}");
            assert_eq!(summary.count(Outcome::Restored), 30, "{summary:?}");
            assert_well(&rehearsal, requests, 30).await;
            assert_eq!(
                rehearsal.bookkeeping(0).await.spent.last(),
                sent,
                "the token that was sent for the pair"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_document_that_was_moved_after_its_pair_was_written_gets_that_pair() {
    on_both("kept_moved", Plan::users(2), async |rehearsal| {
        rehearsal.run().await;
        rehearsal.backend.delete(&document_id(0)).await;
        rehearsal.backend.insert([as_at_first(&rehearsal, 0, &elsewhere())]).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 1), "{summary:?}");
        assert_well(&rehearsal, 2, 2).await;
        // Moved back with what it had at first: that was handed to the other document.
        rehearsal.backend.delete(&elsewhere()).await;
        rehearsal.backend.insert([as_at_first(&rehearsal, 0, &document_id(0))]).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 1), "{summary:?}");
        assert_well(&rehearsal, 2, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_parked_pair_goes_into_the_document_that_its_own_one_was_moved_to() {
    on_both("kept_parked", Plan::users(2), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        rehearsal.backend.insert([as_at_first(&rehearsal, 0, &elsewhere())]).await;
        let summary = rehearsal.run().await;
        assert_eq!(summary.count(Outcome::Restored), 1, "{summary:?}");
        assert_well(&rehearsal, 2, 2).await;
        // It is kept from then on: the document may lose it again.
        rehearsal.backend.set(&elsewhere(), pair_of(&rehearsal.users[0])).await;
        let summary = forced(&rehearsal).await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 1), "{summary:?}");
        assert_well(&rehearsal, 3, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_person_puts_a_parked_pair_into_a_named_document_that_holds_its_token() {
    on_both("kept_apply_to", Plan::users(2), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        let entry = doomed.is_answered(0).await;
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        let process = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
        process.base.recover(&Stop::default(), std::sync::Arc::default()).await.ok();
        rehearsal.backend.insert([as_at_first(&rehearsal, 0, &elsewhere())]).await;
        let parked = process.base.journal.entries().await.unwrap();
        assert_eq!((parked.len(), parked[0].state), (1, EntryState::Orphan), "{parked:?}");
        let wrong = process.base.apply(entry, Some(document_id(1))).await.unwrap_err();
        assert!(wrong.to_string().contains("doesn't hold the token"), "{wrong}");
        let gone = process.base.apply(entry, Some(document_id(0))).await.unwrap_err();
        assert!(gone.to_string().contains("gone"), "{gone}");
        let applied = process.base.apply(entry, Some(elsewhere())).await.unwrap();
        assert_eq!(applied.document, elsewhere());
        process.close().await;
        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::Well, "{summary:?}");
        assert_well(&rehearsal, 2, 2).await;
    })
    .await;
}

#[tokio::test]
async fn the_last_pair_of_a_document_goes_back_where_another_host_or_a_login_came_between() {
    on_both("kept_between", Plan::users(3), async |rehearsal| {
        let other = tempfile::tempdir().unwrap();
        rehearsal.run().await;
        let process = rehearsal.another_process(other.path()).await;
        assert_eq!(run(&process, &FORCED, &Stop::default()).await.count(Outcome::Refreshed), 3);
        process.close().await;
        let login = rehearsal.sandbox.login(&rehearsal.users[1].user).unwrap();
        rehearsal.write_login(1, &login).await;
        assert_eq!(forced(&rehearsal).await.count(Outcome::Refreshed), 3);
        restore(&rehearsal, 0..3).await;
        let summary = forced(&rehearsal).await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 3), "{summary:?}");
        assert_well(&rehearsal, 9, 3).await;
        assert_eq!(forced(&rehearsal).await.count(Outcome::Refreshed), 3);
        assert_well(&rehearsal, 12, 3).await;
    })
    .await;
}

#[tokio::test]
async fn where_another_host_wrote_the_last_pair_an_older_one_is_not_put_back() {
    on_both("kept_went_on", Plan::users(20), async |rehearsal| {
        let other = tempfile::tempdir().unwrap();
        rehearsal.run().await;
        let process = rehearsal.another_process(other.path()).await;
        assert_eq!(run(&process, &FORCED, &Stop::default()).await.count(Outcome::Refreshed), 20);
        process.close().await;
        // A document that says what was redeemed waits for that host.
        let mut document = rehearsal.document(0).await;
        document["evergrant"].as_object_mut().unwrap().remove("spent");
        document["evergrant"].as_object_mut().unwrap().remove("spent_before");
        rehearsal.backend.delete(&document_id(0)).await;
        rehearsal.backend.insert([document]).await;
        restore(&rehearsal, [0]).await;
        // Nor once its mark speaks of the old token.
        for marked in [1, 0] {
            let summary = forced(&rehearsal).await;
            assert_eq!((summary.count(Outcome::Restored), summary.newly_marked), (0, marked), "{summary:?}");
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::NeedsLogin);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_another_host_spent_is_left_to_it_and_it_puts_its_pair_back() {
    on_both("kept_spent_elsewhere", Plan::users(2), async |rehearsal| {
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
        let journal = rehearsal.bookkeeping(0).await.refreshed_by.unwrap();
        let stale =
            json!({ "refresh_token": before["refresh_token"], "access_token": before["access_token"] });
        rehearsal.backend.set(&document_id(0), stale.clone()).await;
        for (new, exit) in [(true, Exit::StillDue), (false, Exit::Well)] {
            let summary = forced(&rehearsal).await;
            assert_eq!(summary.still_due_reasons, [("spent_elsewhere".to_owned(), 1)].into(), "{summary:?}");
            assert_eq!((summary.newly_marked, summary.exit()), (0, exit), "what was said is no news");
            let [named] = &summary.waits_for[..] else { panic!("{summary:?}") };
            assert_eq!((&named.journal, named.new), (&Some(journal.clone()), new));
            assert_eq!((&named.owner, named.subject.as_str()), (&None, &*rehearsal.users[0].email));
            let said = format!("1 for journal {journal}, which has their pair since ");
            assert!(summary.to_string().contains(&said), "{summary}");
        }
        assert_eq!(elsewhere(&FORCED).await.count(Outcome::Restored), 1);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        rehearsal.assert_kept(2).await;
        // If that machine is gone for good, a person says so.
        rehearsal.backend.set(&document_id(0), stale).await;
        let given_up = PassRequest { take_over: vec![journal], ..FORCED };
        rehearsal.run_with(&given_up, &Stop::default()).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 2, "asked twice before the user is marked");
    })
    .await;
}

#[tokio::test]
async fn an_access_token_of_the_same_login_beside_an_older_token_is_no_new_login() {
    on_both("kept_mix", Plan::users(2), async |rehearsal| {
        rehearsal.run().await;
        let access = rehearsal.document(0).await["access_token"].clone();
        forced(&rehearsal).await;
        let mix = json!({ "refresh_token": rehearsal.users[0].refresh_token, "access_token": access });
        rehearsal.backend.set(&document_id(0), mix).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.count(Outcome::Restored)), (Exit::Well, 1), "{summary:?}");
        assert_well(&rehearsal, 5, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_parked_pair_goes_back_beside_another_access_token_too() {
    on_both("kept_parked_mix", Plan::users(2), async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        rehearsal.backend.delete(&document_id(0)).await;
        let mut moved = as_at_first(&rehearsal, 0, &elsewhere());
        moved["access_token"] = json!("another");
        rehearsal.backend.insert([moved]).await;
        let summary = rehearsal.run().await;
        assert_eq!(summary.count(Outcome::Restored), 1, "{summary:?}");
        assert_well(&rehearsal, 2, 2).await;
    })
    .await;
}

#[tokio::test]
async fn another_access_token_is_a_new_login_that_is_asked_unless_reuse_is_punished() {
    for (ask_again, requests, restored) in [(AskAgain::Once, 2, 0), (AskAgain::Never, 1, 1)] {
        on_both(&format!("kept_login_{restored}"), Plan::users(1), async |mut rehearsal| {
            rehearsal.change_provider(|provider| provider.profile.ask_again = ask_again);
            rehearsal.run().await;
            let login =
                json!({ "refresh_token": rehearsal.users[0].refresh_token, "access_token": "another" });
            rehearsal.backend.set(&document_id(0), login).await;
            let summary = forced(&rehearsal).await;
            assert_eq!(summary.count(Outcome::Restored), restored, "{summary:?}");
            assert_eq!(rehearsal.sandbox.ledger().requests, requests, "{ask_again:?}: {summary:?}");
            rehearsal.assert_nothing_claimed().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_new_login_that_is_refused_gets_the_pair_back_before_its_user_is_marked() {
    // Its provider refuses an old token, and leaves the rest of that login alone.
    on_both("kept_refused_login", Plan::users(2), async |rehearsal| {
        rehearsal.run().await;
        let login = json!({ "refresh_token": rehearsal.users[0].refresh_token, "access_token": "another" });
        rehearsal.backend.set(&document_id(0), login).await;
        let summary = forced(&rehearsal).await;
        assert_eq!((summary.newly_marked, summary.count(Outcome::Restored)), (0, 1), "{summary:?}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 5, "{summary:?}");
        assert_eq!(forced(&rehearsal).await.count(Outcome::Refreshed), 2);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn after_its_grace_a_token_is_replaced_and_within_it_asked() {
    let mut plan = Plan::users(2);
    plan.sandbox.grace = Duration::from_hours(10_000);
    (plan.profile.rotation, plan.profile.grace) = (Rotation::Grace, Duration::from_mins(30));
    on_both("kept_grace", plan, async |mut rehearsal| {
        rehearsal.clock = evergrant::testing::clock::Clock::steppable();
        rehearsal.run().await;
        // The other one is refreshed in each.
        for (minutes, restored, requests) in [(20, 0, 4), (20, 1, 5)] {
            rehearsal.clock.step(chrono::TimeDelta::minutes(minutes));
            restore(&rehearsal, [0]).await;
            let summary = forced(&rehearsal).await;
            assert_eq!(
                (summary.newly_marked, summary.count(Outcome::Restored)),
                (0, restored),
                "{summary:?}"
            );
            assert_eq!(rehearsal.sandbox.ledger().requests, requests, "{summary:?}");
        }
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn where_no_pair_is_kept_the_user_is_marked() {
    on_both("kept_none", Plan::users(20), async |mut rehearsal| {
        rehearsal.keep_pairs = Duration::ZERO;
        rehearsal.run().await;
        restore(&rehearsal, [0]).await;
        let summary = forced(&rehearsal).await;
        assert_eq!((summary.newly_marked, summary.count(Outcome::Restored)), (1, 0), "{summary:?}");
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::NeedsLogin);
    })
    .await;
}

#[tokio::test]
async fn a_newer_login_is_never_replaced_by_a_kept_pair() {
    on_both("kept_newer", Plan::users(2), async |rehearsal| {
        rehearsal.run().await;
        let login = rehearsal.sandbox.login(&rehearsal.users[0].user).unwrap();
        rehearsal.write_login(0, &login).await;
        let summary = forced(&rehearsal).await;
        assert_eq!(
            (summary.count(Outcome::Refreshed), summary.count(Outcome::Restored)),
            (2, 0),
            "{summary:?}"
        );
        rehearsal.assert_kept(2).await;
    })
    .await;
}
