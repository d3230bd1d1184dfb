//! Documents that are moved with the claim in them, and whose provider isn't configured for a while: the claim stays until
//! another machine may ask for their tokens.

use super::recovery::Doomed;
use crate::store::backend::id;
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, run};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::AskAgain;
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::{State, TokenId};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long after it was made a claim may be taken over, and a little more.
const OVER: TimeDelta = TimeDelta::minutes(21);

fn plan(ask_again: AskAgain) -> Plan {
    let mut plan = Plan::users(2);
    plan.mapping = Mapping { provider: Some("account".parse().unwrap()), ..plan.mapping };
    plan.profile.ask_again = ask_again;
    plan
}

/// Where the document is moved to.
fn elsewhere() -> TokenId {
    id(&json!({ "$oid": "f".repeat(24) }))
}

/// The first user's token was redeemed by a pass of this machine, which died; the document goes, with the claim in it.
async fn claimed_and_gone(rehearsal: &mut Rehearsal) -> Value {
    rehearsal.clock = Clock::steppable();
    rehearsal.settings.documents_name_provider = true;
    for position in 0..2 {
        rehearsal.backend.set(&document_id(position), json!({ "account": "sandbox" })).await;
    }
    let doomed = Doomed::claims(rehearsal, &[0]).await;
    doomed.is_answered(0).await;
    doomed.dies().await;
    let mut moved = rehearsal.document(0).await;
    assert_eq!(moved["evergrant"]["lease"]["id"], "doomed");
    moved["_id"] = serde_json::from_str(elsewhere().as_str()).unwrap();
    moved["account"] = json!("elsewhere");
    rehearsal.backend.delete(&document_id(0)).await;
    moved
}

async fn is_named_well(rehearsal: &Rehearsal) {
    rehearsal.backend.set(&elsewhere(), json!({ "account": "sandbox" })).await;
}

async fn pass_of(rehearsal: &Rehearsal, machine: &TempDir) -> Summary {
    let process = rehearsal.another_process(machine.path()).await;
    let summary = run(&process, &PassRequest::default(), &Stop::default()).await;
    process.close().await;
    summary
}

/// Another machine leaves the token to this one, and this one puts its pair into the moved document.
async fn goes_back(rehearsal: &Rehearsal, another: &TempDir) {
    is_named_well(rehearsal).await;
    let summary = pass_of(rehearsal, another).await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "{summary:?}");
    assert_eq!(rehearsal.run().await.count(Outcome::Restored), 1);
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    rehearsal.assert_kept(2).await;
    rehearsal.assert_nothing_claimed().await;
}

#[tokio::test]
async fn a_claim_that_is_given_back_at_the_start_says_what_became_of_a_token_in_another_place() {
    on_both("moved_start", plan(AskAgain::Once), async |mut rehearsal| {
        let another = tempfile::tempdir().unwrap();
        let moved = claimed_and_gone(&mut rehearsal).await;
        rehearsal.backend.insert([moved]).await;
        rehearsal.run().await;
        assert_eq!(rehearsal.backend.read(&elsewhere()).await.bookkeeping.lease, None);
        goes_back(&rehearsal, &another).await;
    })
    .await;
}

#[tokio::test]
async fn a_mark_for_its_provider_carries_a_claim_of_this_machine_on() {
    on_both("moved_own", plan(AskAgain::Once), async |mut rehearsal| {
        let another = tempfile::tempdir().unwrap();
        let moved = claimed_and_gone(&mut rehearsal).await;
        // Its document is gone when that pass is settled.
        rehearsal.run().await;
        rehearsal.backend.insert([moved]).await;
        rehearsal.clock.step(OVER);
        for malformed in [1, 0] {
            let summary = rehearsal.run().await;
            assert_eq!(summary.newly_malformed, malformed, "{summary:?}");
            let books = rehearsal.backend.read(&elsewhere()).await.bookkeeping;
            assert_eq!((books.state, books.lease.unwrap().id.as_str()), (State::Malformed, "doomed"));
        }
        goes_back(&rehearsal, &another).await;
    })
    .await;
}

#[tokio::test]
async fn a_mark_for_its_provider_carries_the_claim_of_another_machine_on() {
    on_both("moved_another", plan(AskAgain::Never), async |mut rehearsal| {
        let another = tempfile::tempdir().unwrap();
        let moved = claimed_and_gone(&mut rehearsal).await;
        rehearsal.backend.insert([moved]).await;
        // As long as a token of unknown life waits.
        rehearsal.clock.step(OVER + TimeDelta::days(1));
        let summary = pass_of(&rehearsal, &another).await;
        assert_eq!(summary.newly_malformed, 1, "{summary:?}");
        is_named_well(&rehearsal).await;
        let summary = pass_of(&rehearsal, &another).await;
        assert_eq!((summary.waits_for_count, summary.newly_marked), (1, 0), "{summary:?}");
        goes_back(&rehearsal, &another).await;
    })
    .await;
}
