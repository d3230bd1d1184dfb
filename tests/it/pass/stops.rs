//! Stops: what was sent is finished, what wasn't is given back, and nobody is waited for for ever.

use crate::support::rehearsal::{Plan, on_both, open_journal, until};
use evergrant::testing::chance::Chance;
use evergrant::testing::engine::Engine;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::http::Https;
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{Base, PassRequest, Stop};
use evergrant::testing::report::{Outcome, Reports, Trouble};
use evergrant::testing::store::connect;
use evergrant::testing::token::State;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_stop_in_the_middle_cuts_nothing_and_gives_back_what_was_not_sent() {
    let mut plan = Plan::users(200);
    plan.sandbox.latency = Duration::from_millis(30);
    on_both("stop_in_the_middle", plan, async |rehearsal| {
        let stop = Stop::default();
        let sandbox = rehearsal.sandbox.clone();
        let told = stop.clone();
        let tell = async move {
            until("twenty are granted", || sandbox.ledger().granted >= 20).await;
            told.take_no_more.cancel();
        };
        let request = PassRequest::default();
        let (summary, ()) = tokio::join!(rehearsal.run_with(&request, &stop), tell);
        assert_eq!(summary.exit(), Exit::StillDue);
        let ledger = rehearsal.sandbox.ledger();
        assert!(ledger.granted < 200, "it stopped");
        assert_eq!((ledger.granted, ledger.answers_untaken), (ledger.delivered, 0), "nothing was cut");
        assert_eq!(summary.count(Outcome::Refreshed), ledger.delivered);
        let left = 200 - ledger.delivered;
        let counts = (summary.due, summary.taken, summary.remaining_due);
        assert_eq!(counts, (Some(200), ledger.delivered, Some(left)), "{summary:?}");
        assert!(summary.to_string().contains(&format!("; {left} remain due")), "{summary}");
        rehearsal.assert_kept(200).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.touched), (Exit::Well, 200 - ledger.delivered), "due at once");
        assert!(next.recovery.is_empty());
        rehearsal.assert_kept(200).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_stop_is_heard_while_the_provider_pauses_us_and_while_a_lost_answer_waits() {
    for (test, script) in [("stop_in_a_pause", "429(60)@3"), ("stop_in_a_wait", "500@3")] {
        on_both(test, Plan::users(12).faults(script), async |rehearsal| {
            let stop = Stop::default();
            let (sandbox, told) = (rehearsal.sandbox.clone(), stop.clone());
            let tell = async move {
                until("the third was answered", || sandbox.ledger().requests >= 3).await;
                told.take_no_more.cancel();
            };
            let began = Instant::now();
            let request = PassRequest::default();
            let (summary, ()) = tokio::join!(rehearsal.run_with(&request, &stop), tell);
            assert!(began.elapsed() < Duration::from_secs(10));
            assert_eq!(summary.exit(), Exit::StillDue);
            rehearsal.assert_nothing_claimed().await;
            rehearsal.sandbox.set_faults("".parse().unwrap());
            // The next process would wait for the end of the pause, too.
            let journal = open_journal(rehearsal.state(), &rehearsal.clock).await;
            let remembered = journal.standing_of("sandbox").await.unwrap();
            assert_eq!(
                remembered.is_some_and(|standing| standing.paused_until.is_some()),
                test == "stop_in_a_pause"
            );
            journal.set_standing_of("sandbox", None).await.unwrap();
            journal.close().await;
            assert_eq!(rehearsal.run().await.exit(), Exit::Well);
            rehearsal.assert_kept(12).await;
            assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        })
        .await;
    }
}

#[tokio::test]
async fn giving_up_on_a_provider_that_hangs_ends_the_pass_and_the_next_one_settles_it() {
    let script = "delay(30) user=user-000003, slow(30) user=user-000004";
    on_both("hanging", Plan::users(10).faults(script), async |rehearsal| {
        let (stop, report) = (Stop::default(), Arc::new(Reports::new()));
        // A runtime of its own: what hangs ends with it, as with a process.
        let process =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let running = process.spawn({
            let store = rehearsal.backend.settings().clone();
            let (state, clock) = (rehearsal.state().to_owned(), rehearsal.clock.clone());
            let (providers, settings) = (rehearsal.providers.clone(), rehearsal.settings.clone());
            let (stop, report) = (stop.clone(), report.clone());
            async move {
                let store = connect(&store, 8).await.unwrap();
                let journal = open_journal(&state, &clock).await;
                let base = Base::new(store, journal, providers, settings, clock, Chance::system());
                Engine::new(base, &Https).unwrap().run(&PassRequest::default(), &stop, report).await.unwrap()
            }
        });
        let ledger = || rehearsal.sandbox.ledger();
        let two_are_left =
            || report.progress().refreshed == 8 && ledger().requests == 10 && ledger().granted == 9;
        until("two are left", two_are_left).await;
        stop.take_no_more.cancel();
        stop.give_up.cancel();
        let summary = tokio::time::timeout(Duration::from_secs(10), running).await.expect("it ends").unwrap();
        process.shutdown_background();
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::StillDue, 8));
        assert_eq!(summary.troubles, [Trouble::Interrupted { given_up: 2 }]);
        let entries = rehearsal.entries().await;
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().all(|entry| entry.state == EntryState::Unsettled));

        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.touched), (Exit::NeedsLogin, 2), "{next:?}");
        assert_eq!((next.count(Outcome::Refreshed), next.count(Outcome::LostInFlight)), (1, 1));
        assert_eq!(next.recovery.unsettled, 2);
        assert_eq!(
            rehearsal.bookkeeping(4).await.state,
            State::LostInFlight,
            "it was rotated, and nobody heard"
        );
        rehearsal.assert_nothing_claimed().await;
        let audit = rehearsal.audit().await;
        assert_eq!((audit.kept, audit.lost_in_flight, audit.lost_received), (9, 1, 0), "{audit:?}");
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_stop_is_heard_while_the_store_is_looked_for() {
    use crate::support::meddler::{Call, Mishap};
    on_both("stop_in_prepare", Plan::users(3), async |rehearsal| {
        let (stop, hangs) = (Stop::default(), tokio_util::sync::CancellationToken::new());
        let asked = hangs.clone();
        let told = stop.clone();
        rehearsal.meddler.meddle(move |call| {
            let (asked, prepares) = (asked.clone(), matches!(call, Call::Prepare));
            Box::pin(async move {
                if prepares {
                    asked.cancel();
                    std::future::pending::<()>().await;
                }
                Mishap::None
            })
        });
        let tell = async move {
            hangs.cancelled().await;
            told.take_no_more.cancel();
        };
        let request = PassRequest::default();
        let (summary, ()) = tokio::join!(rehearsal.run_with(&request, &stop), tell);
        assert_eq!((summary.exit(), summary.touched), (Exit::StillDue, 0));
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 3);
    })
    .await;
}
