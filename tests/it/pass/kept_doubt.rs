//! Tokens whose answers were lost, and which come back with their kept pairs, in a backup or in a second document: what is in doubt of
//! them stays known.

use super::recovery::{Doomed, recover};
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::AskAgain;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use serde_json::{Value, json};

/// A provider that must not see a token twice.
fn strict(users: usize) -> Plan {
    let mut plan = Plan::users(users);
    plan.profile.ask_again = AskAgain::Never;
    plan
}

/// The user as the document of today has it.
async fn as_it_is_now(rehearsal: &mut Rehearsal, position: usize) {
    let document = rehearsal.document(position).await;
    let text = |name: &str| document[name].as_str().unwrap().to_owned();
    let user = &mut rehearsal.users[position];
    (user.refresh_token, user.access_token) = (text("refresh_token"), text("access_token"));
}

/// Its second token was rotated, and the answer never journaled. Returns its first pair, as a stale save would bring it back.
async fn refreshed_and_then_in_doubt(rehearsal: &mut Rehearsal) -> Value {
    let first = rehearsal.users[0].clone();
    rehearsal.run().await;
    as_it_is_now(rehearsal, 0).await;
    let doomed = Doomed::claims(rehearsal, &[0]).await;
    doomed.intends(0).await;
    doomed.sends(0).await;
    doomed.dies().await;
    json!({ "refresh_token": first.refresh_token, "access_token": first.access_token })
}

#[tokio::test]
async fn a_token_in_doubt_that_comes_back_with_its_kept_pair_is_not_sent_twice() {
    on_both("kept_doubt", strict(20), async |mut rehearsal| {
        let first = refreshed_and_then_in_doubt(&mut rehearsal).await;
        // Meanwhile a stale save brings the first one back.
        rehearsal.backend.set(&document_id(0), first).await;
        recover(&rehearsal, rehearsal.state()).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!(summary.count(Outcome::Restored), 1, "{summary:?}");
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "it is shown once: {summary:?}");
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::LostInFlight);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_marked_as_lost_is_not_sent_when_it_comes_back_with_its_kept_pair() {
    on_both("kept_marked_doubt", strict(20), async |mut rehearsal| {
        let first = refreshed_and_then_in_doubt(&mut rehearsal).await;
        rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::LostInFlight);
        rehearsal.backend.set(&document_id(0), first).await;
        for _ in 0..2 {
            rehearsal.run_with(&FORCED, &Stop::default()).await;
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "it is shown once");
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::LostInFlight);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_token_in_doubt_is_not_sent_for_another_document_that_holds_it() {
    on_both("doubt_twin", strict(20), async |rehearsal| {
        // Two documents hold one token.
        let user = rehearsal.users[0].clone();
        rehearsal.write_login(1, &user).await;
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.dies().await;
        // The row ends with the mark of the first one.
        let only = PassRequest { only: Some(document_id(0)), ..PassRequest::default() };
        rehearsal.run_with(&only, &Stop::default()).await;
        assert!(rehearsal.entries().await.is_empty());
        for _ in 0..2 {
            rehearsal.run_with(&FORCED, &Stop::default()).await;
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "it is shown once");
        for position in [0, 1] {
            assert_eq!(rehearsal.bookkeeping(position).await.state, State::LostInFlight);
        }
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_token_in_doubt_is_not_sent_when_a_backup_brings_it_back() {
    on_both("doubt_backup", strict(20), async |rehearsal| {
        let old = rehearsal.users[0].clone();
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.dies().await;
        // The user logs in again, which is refreshed, and then a backup comes.
        let login = rehearsal.sandbox.login("user-000000").unwrap();
        rehearsal.write_login(0, &login).await;
        rehearsal.run().await;
        rehearsal.write_login(0, &old).await;
        for _ in 0..2 {
            rehearsal.run_with(&FORCED, &Stop::default()).await;
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "it is shown once");
        assert_ne!(rehearsal.bookkeeping(0).await.state, State::Live);
    })
    .await;
}
