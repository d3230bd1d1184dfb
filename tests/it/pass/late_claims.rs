//! Claims that take effect after their pass gave up waiting for them, on documents that no pass claims.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::provider::Rotation;
use evergrant::testing::store::Claim;
use evergrant::testing::token::{Bookkeeping, Lease, State};
use std::sync::{Arc, Mutex};

const USERS: u64 = 10;

/// One of them is refused.
const DEAD: usize = 0;

fn plan() -> Plan {
    Plan::users(usize::try_from(USERS).unwrap())
}

/// How long after its end a claim may be taken over, and a little more: two leases after it was made.
const OVER: TimeDelta = TimeDelta::minutes(21);

/// A first pass marks the dead one; what its document says then, and the claim of that pass.
async fn marked(rehearsal: &mut Rehearsal) -> (Bookkeeping, Lease) {
    rehearsal.clock = Clock::steppable();
    rehearsal.sandbox.revoke("user-000000");
    let claim = Arc::new(Mutex::new(None));
    let (seen, backend) = (claim.clone(), rehearsal.backend.clone());
    rehearsal.meddler.meddle(move |call| {
        let (seen, backend) = (seen.clone(), backend.clone());
        Box::pin(async move {
            if matches!(call, Call::Apply(_))
                && let Some(lease) = backend.read(&document_id(DEAD)).await.bookkeeping.lease
            {
                *seen.lock().unwrap() = Some(lease);
            }
            Mishap::None
        })
    });
    let summary = rehearsal.run().await;
    assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, 1), "{summary}");
    rehearsal.meddler.leave();
    let books = rehearsal.bookkeeping(DEAD).await;
    assert_eq!((books.state, &books.lease), (State::NeedsLogin, &None));
    let lease = claim.lock().unwrap().take().expect("it was claimed");
    (books, lease)
}

/// The claim of a pass by force takes effect now.
async fn takes_effect(rehearsal: &Rehearsal, lease: &Lease) {
    let claim = Claim {
        ids: vec![document_id(DEAD)],
        lease: lease.clone(),
        due_by: None,
        now: rehearsal.clock.now(),
        over: Vec::new(),
        ended_for: TimeDelta::zero(),
    };
    assert_eq!(rehearsal.backend.store.claim(&claim).await.unwrap().documents.len(), 1);
}

/// The same claim, of a pass that another machine's journal knows.
fn of_another_machine(lease: &Lease) -> Lease {
    let mut theirs = Lease { id: "theirs".into(), owner: "host:2".into(), ..lease.clone() };
    theirs.by.as_mut().unwrap().journal = "their journal".into();
    theirs
}

/// What the document says, but for the claim and the time that goes with it.
fn without_claim(books: Bookkeeping) -> Bookkeeping {
    Bookkeeping { due_at: None, lease: None, ..books }
}

#[tokio::test]
async fn a_claim_of_our_own_that_comes_late_on_a_marked_document_is_given_back_and_the_mark_stays_as_it_was()
{
    on_both("late_ours", plan(), async |mut rehearsal| {
        let (before, lease) = marked(&mut rehearsal).await;
        takes_effect(&rehearsal, &lease).await;
        rehearsal.clock.step(TimeDelta::minutes(19));
        let summary = rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(DEAD).await.lease, Some(lease), "it may be at work: {summary}");
        rehearsal.clock.step(TimeDelta::minutes(2));
        let requests = rehearsal.sandbox.ledger().requests;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.known_needs_login, summary.newly_marked), (Exit::Well, 1, 0));
        let books = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(books.lease, None);
        assert!(books.due_at <= Some(rehearsal.clock.now()), "each pass counts it: {books:?}");
        assert_eq!(without_claim(books), without_claim(before));
        assert_eq!(rehearsal.sandbox.ledger().requests, requests, "it is not asked for");
        // Its second look comes as ever.
        rehearsal.clock.step(TimeDelta::days(8));
        let requests = rehearsal.sandbox.ledger().requests;
        let summary = rehearsal.run().await;
        assert_eq!(rehearsal.sandbox.ledger().requests - requests, USERS, "{summary}");
        assert_eq!(rehearsal.bookkeeping(DEAD).await.state, State::NeedsLogin);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_claim_of_another_machine_on_a_marked_document_is_given_back_when_its_token_may_be_sent_again() {
    on_both("late_theirs", plan(), async |mut rehearsal| {
        let (before, lease) = marked(&mut rehearsal).await;
        let theirs = of_another_machine(&lease);
        takes_effect(&rehearsal, &theirs).await;
        rehearsal.clock.step(OVER);
        rehearsal.run().await;
        let waits = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(waits.lease, Some(theirs), "that machine's journal may hold an answer");
        assert_eq!(without_claim(waits), without_claim(before.clone()));
        rehearsal.clock.step(TimeDelta::days(1));
        rehearsal.run().await;
        let books = rehearsal.bookkeeping(DEAD).await;
        assert_eq!((books.state, books.since, &books.lease), (before.state, before.since, &None));
        let lost = books.last_error.unwrap().lost.expect("it may have been sent");
        assert_eq!(&*lost.cause, "claim_ended");
    })
    .await;
}

#[tokio::test]
async fn where_a_second_request_does_no_harm_a_late_claim_of_another_machine_leaves_no_trace() {
    let mut plan = plan();
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    on_both("late_none", plan, async |mut rehearsal| {
        let (before, lease) = marked(&mut rehearsal).await;
        takes_effect(&rehearsal, &of_another_machine(&lease)).await;
        rehearsal.clock.step(OVER);
        rehearsal.run().await;
        let books = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(books.lease, None);
        assert_eq!(without_claim(books), without_claim(before));
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_its_holder_renews_at_that_moment_is_left_alone() {
    on_both("late_renewed", plan(), async |mut rehearsal| {
        let (_, lease) = marked(&mut rehearsal).await;
        takes_effect(&rehearsal, &lease).await;
        rehearsal.clock.step(OVER);
        let renewed = Lease { until: rehearsal.clock.now() + TimeDelta::minutes(10), ..lease };
        let (backend, living) = (rehearsal.backend.clone(), renewed.clone());
        rehearsal.meddler.meddle(move |call| {
            let (backend, living) = (backend.clone(), living.clone());
            Box::pin(async move {
                if matches!(&call, Call::Apply(changes) if changes.iter().any(|change| change.id == document_id(DEAD))) {
                    assert_eq!(backend.store.renew(&[document_id(DEAD)], &living).await.unwrap().len(), 1);
                }
                Mishap::None
            })
        });
        rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(DEAD).await.lease, Some(renewed));
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_repeated_and_the_pass_goes_on() {
    on_both("late_lost", plan(), async |mut rehearsal| {
        let (before, lease) = marked(&mut rehearsal).await;
        takes_effect(&rehearsal, &lease).await;
        rehearsal.clock.step(OVER);
        let left = Mutex::new(vec![Mishap::LostAcknowledgement, Mishap::Away]);
        rehearsal.meddler.decide(move |call| match call {
            Call::Apply(_) => left.lock().unwrap().pop().unwrap_or(Mishap::None),
            _ => Mishap::None,
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.known_needs_login), (Exit::Well, 1), "{summary}");
        let books = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(books.lease, None);
        assert_eq!(without_claim(books), without_claim(before));
    })
    .await;
}

#[tokio::test]
async fn a_claim_on_a_document_without_a_token_is_given_back_also_of_another_machine() {
    on_both("late_missing", plan(), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        rehearsal.backend.set(&document_id(DEAD), serde_json::json!({ "refresh_token": null })).await;
        rehearsal.run().await;
        let before = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(before.state, State::Malformed);
        let until = rehearsal.clock.now() + TimeDelta::minutes(10);
        let lease = Lease { id: "theirs".into(), owner: "host:2".into(), until, taken_over: false, by: None };
        takes_effect(&rehearsal, &lease).await;
        rehearsal.clock.step(OVER);
        rehearsal.run().await;
        let books = rehearsal.bookkeeping(DEAD).await;
        assert_eq!(books.lease, None);
        assert_eq!(without_claim(books), without_claim(before));
    })
    .await;
}
