//! The store goes away, before, in the middle and at the write-back.

use crate::store::backend::mongo_at;
use crate::support::meddler::{Call, Mishap};
use crate::support::mongod::{self, admin};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use bson::{Document, doc};
use evergrant::testing::exit::Exit;
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::store::Change;
use evergrant::testing::token::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Lets the first so many of the calls that `which` picks meet `mishap`.
fn first(
    times: usize,
    mishap: Mishap,
    which: impl Fn(&Call) -> bool + Send + Sync + 'static,
) -> impl Fn(&Call) -> Mishap + Send + Sync + 'static {
    let met = AtomicUsize::new(0);
    move |call| {
        if which(call) && met.fetch_add(1, Ordering::SeqCst) < times { mishap } else { Mishap::None }
    }
}

#[tokio::test]
async fn a_claim_whose_acknowledgement_was_lost_is_repeated_and_nobody_is_left_out() {
    on_both("claim_unacknowledged", Plan::users(20), async |rehearsal| {
        rehearsal.meddler.decide(first(2, Mishap::LostAcknowledgement, |call| matches!(call, Call::Claim)));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 20));
        rehearsal.assert_kept(20).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_write_back_that_may_have_happened_is_repeated_and_the_grant_is_not() {
    on_both("maybe_written", Plan::users(30), async |rehearsal| {
        rehearsal.meddler.decide(first(2, Mishap::LostAcknowledgement, Call::writes_a_pair));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 30), "{summary:?}");
        assert_eq!((summary.grants, summary.orphans), (30, 0));
        rehearsal.assert_kept(30).await;
        assert!(rehearsal.entries().await.is_empty());
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_redeemed_and_then_the_pass_goes_on() {
    let mut plan = Plan::users(60);
    plan.profile.concurrency = 4.try_into().unwrap();
    on_both("away_for_a_while", plan, async |rehearsal| {
        let sandbox = rehearsal.sandbox.clone();
        let (away, seen) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let most_seen = seen.clone();
        rehearsal.meddler.decide(move |call| {
            if !matches!(call, Call::Apply(_)) || away.fetch_add(1, Ordering::SeqCst) >= 4 {
                return Mishap::None;
            }
            seen.store(usize::try_from(sandbox.ledger().requests).unwrap(), Ordering::SeqCst);
            Mishap::Away
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 60));
        let sent = most_seen.load(Ordering::SeqCst);
        // What is in flight when the store goes away lands once more each at most.
        assert!(sent <= 2 * 4 + 1, "{sent} were sent while the store was away");
        rehearsal.assert_kept(60).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn pairs_that_find_no_store_are_held_and_written_before_any_new_grant() {
    on_both("held", Plan::users(40), async |rehearsal| {
        // The store refuses, or is away and nobody waits any more: with nobody told to wait the first is the same.
        rehearsal.meddler.decide(|call| match call {
            Call::Apply(_) => Mishap::Denied,
            _ => Mishap::None,
        });
        let summary = rehearsal.run().await;
        let held = summary.count(Outcome::Held);
        assert_eq!(summary.exit(), Exit::Unavailable);
        assert!(held >= 1 && summary.count(Outcome::Refreshed) == 0, "{summary:?}");
        assert_eq!(held, rehearsal.sandbox.ledger().granted, "each pair is held");
        let entries = rehearsal.entries().await;
        assert_eq!(entries.iter().filter(|entry| entry.state == EntryState::Answer).count() as u64, held);

        rehearsal.meddler.leave();
        let granted = rehearsal.sandbox.ledger().granted;
        let sandbox = rehearsal.sandbox.clone();
        let early = Arc::new(AtomicBool::new(true));
        let first_write = early.clone();
        rehearsal.meddler.decide(move |call| {
            if call.writes_a_pair() && first_write.swap(false, Ordering::SeqCst) {
                assert_eq!(sandbox.ledger().granted, granted, "written before any new grant");
            }
            Mishap::None
        });
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 40), "{next:?}");
        assert_eq!(next.recovery.written, held);
        assert_eq!(next.grants, 40 - held);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.granted, ledger.reuses), (40, 0));
        rehearsal.assert_kept(40).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// A rehearsal whose journal holds pairs that found no store; how many.
async fn with_held_pairs(rehearsal: &Rehearsal) -> u64 {
    rehearsal
        .meddler
        .decide(|call| if matches!(call, Call::Apply(_)) { Mishap::Denied } else { Mishap::None });
    let held = rehearsal.run().await.count(Outcome::Held);
    assert!(held >= 1);
    held
}

#[tokio::test]
async fn a_store_that_is_away_as_a_pass_begins_or_recovers_is_waited_for() {
    on_both("away_at_the_start", Plan::users(10), async |rehearsal| {
        let held = with_held_pairs(&rehearsal).await;
        // The first call of each kind finds nothing there: `prepare`, what recovery reads and writes, and the rest.
        let kinds: [AtomicUsize; 7] = Default::default();
        let requests = rehearsal.sandbox.ledger().requests;
        rehearsal.meddler.decide(move |call| {
            let kind = match call {
                Call::Prepare => 0,
                Call::Read(_) => 1,
                Call::DuePage => 2,
                Call::Apply(_) => 3,
                Call::Claim | Call::Renew => 4,
                Call::Waiting => 5,
                Call::Claimed => 6,
            };
            if kinds[kind].fetch_add(1, Ordering::SeqCst) < 2 { Mishap::Away } else { Mishap::None }
        });
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.recovery.written), (Exit::Well, held), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 10, "{summary:?}");
        assert!(summary.recovery.claims_released >= 1);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests - requests, ledger.reuses), (10 - held, 0));
        rehearsal.assert_kept(10).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_before_the_store_is_reached_says_nothing_of_its_documents() {
    on_both("stop_at_the_start", Plan::users(3), async |rehearsal| {
        let (stop, tried) = (Stop::default(), AtomicUsize::new(0));
        let told = stop.clone();
        rehearsal.meddler.decide(move |call| {
            if matches!(call, Call::Prepare) && tried.fetch_add(1, Ordering::SeqCst) == 1 {
                told.take_no_more.cancel();
            }
            Mishap::Away
        });
        let summary = rehearsal.run_with(&PassRequest::default(), &stop).await;
        assert_eq!((summary.exit(), summary.documents), (Exit::StillDue, None), "{summary:?}");
        let text = summary.to_string();
        assert!(text.contains("was not reached") && !text.contains("0 documents"), "{text}");
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.run().await.documents, Some(3));
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_a_store_that_went_away_during_recovery() {
    on_both("stop_in_recovery", Plan::users(10), async |rehearsal| {
        let held = with_held_pairs(&rehearsal).await;
        for away in ["read", "claims"] {
            let (stop, tried) = (Stop::default(), AtomicUsize::new(0));
            let told = stop.clone();
            rehearsal.meddler.decide(move |call| {
                let is_away = match call {
                    Call::Read(_) => away == "read",
                    Call::Claimed => away == "claims",
                    Call::DuePage
                    | Call::Prepare
                    | Call::Waiting
                    | Call::Apply(_)
                    | Call::Claim
                    | Call::Renew => false,
                };
                if is_away && tried.fetch_add(1, Ordering::SeqCst) == 2 {
                    told.take_no_more.cancel();
                }
                if is_away { Mishap::Away } else { Mishap::None }
            });
            let requests = rehearsal.sandbox.ledger().requests;
            let summary = rehearsal.run_with(&PassRequest::default(), &stop).await;
            assert_eq!(summary.exit(), Exit::StillDue, "{away}: {summary:?}");
            assert_eq!(rehearsal.sandbox.ledger().requests, requests, "{away}");
        }
        rehearsal.meddler.leave();
        let next = rehearsal.run().await;
        assert_eq!(next.exit(), Exit::Well, "{next:?}");
        assert_eq!(rehearsal.sandbox.ledger().granted, 10, "{held} were granted before");
        rehearsal.assert_kept(10).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn giving_up_ends_the_wait_for_a_store_that_is_away() {
    on_both("give_up_store", Plan::users(20), async |rehearsal| {
        let stop = Stop::default();
        let (tried, told) = (AtomicUsize::new(0), stop.clone());
        rehearsal.meddler.decide(move |call| match call {
            Call::Apply(_) => {
                if tried.fetch_add(1, Ordering::SeqCst) == 2 {
                    told.take_no_more.cancel();
                    told.give_up.cancel();
                }
                Mishap::Away
            }
            _ => Mishap::None,
        });
        let summary = rehearsal.run_with(&PassRequest::default(), &stop).await;
        assert_eq!(summary.exit(), Exit::Unavailable);
        let held = summary.count(Outcome::Held);
        assert_eq!(held, rehearsal.sandbox.ledger().granted);
        rehearsal.meddler.leave();
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.recovery.written), (Exit::Well, held), "{next:?}");
        rehearsal.assert_kept(20).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_cannot_be_marked_is_found_out_again() {
    on_both("unmarked", Plan::users(6).faults("refuse user=user-000000 times=4"), async |rehearsal| {
        // The reading of the document that was refused; then the mark itself.
        for call in [
            |call: &Call| matches!(call, Call::Read(ids) if ids.contains(&document_id(0))),
            |call: &Call| {
                let marks = |change: &Change| change.bookkeeping.state == State::NeedsLogin;
                matches!(call, Call::Apply(changes) if changes.iter().any(marks))
            },
        ] {
            rehearsal.meddler.decide(move |asked| if call(asked) { Mishap::Denied } else { Mishap::None });
            // All of them, so that others are granted and the refusal is believed.
            let forced = PassRequest { force: true, ..PassRequest::default() };
            let summary = rehearsal.run_with(&forced, &Stop::default()).await;
            assert_eq!((summary.exit(), summary.count(Outcome::NeedsLogin)), (Exit::Unavailable, 0));
            assert_eq!(rehearsal.bookkeeping(0).await.state, State::Live);
        }
        rehearsal.meddler.leave();
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!(next.exit(), Exit::Well, "{next:?}");
        rehearsal.assert_kept(6).await;
        assert!(rehearsal.entries().await.is_empty());
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_refuses_to_be_read_ends_the_pass_and_nobody_stays_claimed() {
    on_both("unreadable_store", Plan::users(30), async |rehearsal| {
        for call in [|call: &Call| matches!(call, Call::DuePage), |call: &Call| matches!(call, Call::Claim)] {
            rehearsal.meddler.decide(move |asked| if call(asked) { Mishap::Denied } else { Mishap::None });
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.touched), (Exit::Unavailable, 0));
            rehearsal.assert_nothing_claimed().await;
        }
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(30).await;
    })
    .await;
}

/// Lets the next so many `update`s of the test's own client fail.
async fn fail_updates(application: &str, times: i32, data: Document) {
    let mut whole = doc! { "failCommands": ["update"], "appName": application };
    whole.extend(data);
    let command = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": whole };
    admin(mongod::uri().unwrap(), command).await.unwrap();
}

#[tokio::test]
async fn a_real_server_that_fails_for_a_while_costs_no_token() {
    let _mine = mongod::FAIL_POINTS.lock().await;
    let wrong = [
        ("closed", doc! { "closeConnection": true }),
        ("shutdown", doc! { "errorCode": 91 }),
        (
            "not_majority",
            doc! { "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" } },
        ),
    ];
    for (name, data) in wrong {
        let test = format!("fails_for_a_while_{name}");
        let Some(uri) = mongod::uri_as(&test) else { return };
        let uri = format!("{uri}&heartbeatFrequencyMS=500");
        let plan = Plan::users(40);
        let Some(backend) = mongo_at(&uri, &test, plan.mapping.clone()).await else { return };
        let rehearsal = Rehearsal::over(backend, &plan).await;
        let began = AtomicBool::new(false);
        let fail = Arc::new((test.clone(), data));
        // From the first write-back on.
        rehearsal.meddler.meddle(move |call| {
            let now = call.writes_a_pair() && !began.swap(true, Ordering::SeqCst);
            let fail = fail.clone();
            Box::pin(async move {
                if now {
                    fail_updates(&fail.0, 3, fail.1.clone()).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::Refreshed)),
            (Exit::Well, 40),
            "{name}: {summary:?}"
        );
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.granted, ledger.reuses), (40, 0), "{name}");
        rehearsal.assert_kept(40).await;
        rehearsal.assert_nothing_claimed().await;
    }
}
