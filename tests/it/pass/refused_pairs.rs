//! A store that takes claims and refuses new pairs: what can't be kept isn't redeemed.

use crate::store::backend::mongo;
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use bson::doc;
use evergrant::testing::exit::Exit;
use evergrant::testing::report::{Outcome, Trouble};

const USERS: usize = 200;

fn plan() -> Plan {
    let mut plan = Plan::users(USERS);
    plan.profile.concurrency = 4.try_into().unwrap();
    plan
}

/// The most tokens that such a pass redeems: three, what was on its way by then, what was in hand, and two drawn from elsewhere.
const MOST: u64 = 3 + 4 + 1 + 2;

/// Nothing more is redeemed after a few, and the rule is named.
async fn stops(rehearsal: &Rehearsal) -> u64 {
    let pass = rehearsal.run().await;
    let held = pass.count(Outcome::Held);
    assert!((5..=MOST).contains(&held), "{pass}");
    assert_eq!(pass.exit(), Exit::Unavailable, "{pass}");
    assert_eq!(rehearsal.sandbox.ledger().granted, held, "{pass}");
    let [Trouble::Store { message, hint: Some(hint) }] = &pass.troubles[..] else { panic!("{pass}") };
    assert!(message.contains("refuses the new pairs") && message.contains("DocumentValidationFailure (121)"));
    assert!(hint.contains("the collection's validator"), "{hint}");
    held
}

/// Once the store takes them again, all is written and the rest is refreshed.
async fn goes_on(rehearsal: &Rehearsal, held: u64) {
    let pass = rehearsal.run().await;
    assert_eq!((pass.exit(), pass.recovery.written), (Exit::Well, held), "{pass}");
    rehearsal.assert_kept(USERS).await;
    rehearsal.assert_nothing_claimed().await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
}

#[tokio::test]
async fn a_store_that_refuses_all_new_pairs_stops_the_pass_after_a_few() {
    on_both("pairs_refused", plan(), async |rehearsal| {
        rehearsal.meddler.refuse_pairs(|_| true);
        let held = stops(&rehearsal).await;
        rehearsal.meddler.leave();
        goes_on(&rehearsal, held).await;
    })
    .await;
}

#[tokio::test]
async fn a_validator_that_refuses_all_new_pairs_stops_the_pass_after_a_few() {
    let plan = plan();
    let Some(backend) = mongo("pairs_validator", plan.mapping.clone()).await else { return };
    let rehearsal = Rehearsal::over(backend, &plan).await;
    let collection = rehearsal.backend.collection();
    let database = collection.client().database(&collection.namespace().db);
    let validator = async |rule| {
        database.run_command(doc! { "collMod": collection.name(), "validator": rule }).await.unwrap();
    };
    // A claim passes it.
    validator(doc! { "evergrant.refreshed_at": { "$exists": false } }).await;
    let held = stops(&rehearsal).await;
    validator(doc! {}).await;
    goes_on(&rehearsal, held).await;
}

#[tokio::test]
async fn a_few_documents_that_refuse_their_pair_hold_no_other_back() {
    on_both("few_pairs_refused", plan(), async |rehearsal| {
        // More at the front than are believed to be these documents alone, and one among the others.
        let few: Vec<_> = (0..4).chain([150]).map(document_id).collect();
        let held = few.len() as u64;
        rehearsal.meddler.refuse_pairs(move |id| few.contains(id));
        let pass = rehearsal.run().await;
        assert_eq!((pass.exit(), pass.count(Outcome::Held)), (Exit::Unavailable, held), "{pass}");
        assert_eq!(pass.count(Outcome::Refreshed), USERS as u64 - held, "{pass}");
        assert!(pass.troubles.is_empty(), "{pass}");
        rehearsal.meddler.leave();
        goes_on(&rehearsal, held).await;
    })
    .await;
}
