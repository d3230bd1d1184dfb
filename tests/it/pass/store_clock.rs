//! Hosts whose own clocks are wrong, beside others, over a MongoDB: its clock is the clock of claims and due times.

use crate::support::in_step::InStep;
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document_id, on_both, run};
use chrono::TimeDelta;
use evergrant::sandbox;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::http::Https;
use evergrant::testing::pass::{Stop, go_by_its_time};
use evergrant::testing::provider::Rotation;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::Claim;
use evergrant::testing::token::Lease;

/// A provider whose tokens are sent at once where a claim may be taken over.
fn sent_freely(users: usize) -> Plan {
    let mut plan = Plan::users(users);
    plan.sandbox.rotation = sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    plan
}

/// Another process claims the first document for five minutes from now on, by the right time.
async fn living_claim(rehearsal: &Rehearsal) -> Lease {
    let until = Clock::system().now() + TimeDelta::minutes(5);
    let lease = Lease { id: "living".into(), owner: "host:2".into(), until, taken_over: false, by: None };
    let claim = Claim {
        ids: vec![document_id(0)],
        lease: lease.clone(),
        due_by: None,
        now: Clock::system().now(),
        over: Vec::new(),
        ended_for: TimeDelta::zero(),
    };
    assert_eq!(rehearsal.backend.store.claim(&claim).await.unwrap().documents.len(), 1);
    lease
}

#[tokio::test]
async fn a_wrong_clock_takes_and_cuts_no_living_claim_writes_the_right_time_and_is_said() {
    for (test, ahead, said) in [
        ("wrong_clock_hours", TimeDelta::hours(2), Some("2h ahead of")),
        ("wrong_clock_years", TimeDelta::days(1500), Some("1500d ahead of")),
        ("wrong_clock_behind", TimeDelta::days(-2), Some("2d behind")),
        ("wrong_clock_little", TimeDelta::seconds(-40), None),
    ] {
        on_both(test, sent_freely(3), async |mut rehearsal| {
            if !rehearsal.backend.is_mongo() {
                return;
            }
            let living = living_claim(&rehearsal).await;
            rehearsal.clock = Clock::steppable();
            rehearsal.clock.set_machine_ahead(ahead);
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!(
                (summary.recovery.claims_cut, summary.left_to_others.documents),
                (0, 1),
                "{summary:?}"
            );
            assert_eq!(summary.count(Outcome::Refreshed), 2);
            assert_eq!(rehearsal.bookkeeping(0).await.lease, Some(living));
            let warned: Vec<_> = summary.warnings.iter().map(|warned| &warned.message).collect();
            match said {
                Some(said) => assert!(warned.len() == 1 && warned[0].contains(said), "{warned:?}"),
                None => assert!(warned.is_empty(), "{warned:?}"),
            }
            let now = Clock::system().now();
            for position in [1, 2] {
                let books = rehearsal.bookkeeping(position).await;
                assert!((now - books.refreshed_at.unwrap()).abs() < TimeDelta::minutes(1), "{books:?}");
                let due_in = books.due_at.unwrap() - now;
                assert!(due_in > TimeDelta::days(3) && due_in < TimeDelta::days(5), "{due_in}");
            }
            // When the machine's clock is right again, all is as if it had always been.
            rehearsal.clock = Clock::steppable();
            let summary = rehearsal.run().await;
            assert_eq!((summary.touched, summary.grants), (0, 0), "{summary:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_command_that_reads_goes_by_the_clock_of_a_store_that_has_one() {
    on_both("goes_by", Plan::users(1), async |rehearsal| {
        let (clock, ahead) = (Clock::steppable(), TimeDelta::hours(2));
        clock.set_machine_ahead(ahead);
        let has_one = go_by_its_time(&*rehearsal.backend.store, &clock).await.unwrap();
        assert_eq!(has_one, rehearsal.backend.is_mongo());
        let shown = clock.now() - Clock::system().now();
        let off = if has_one { shown } else { shown - ahead };
        assert!(off.abs() < TimeDelta::minutes(1), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_in_the_middle_of_a_pass_changes_nothing() {
    let mut plan = Plan::users(30);
    plan.sandbox.latency = std::time::Duration::from_millis(10);
    plan.profile.concurrency = 1.try_into().unwrap();
    on_both("set_between", plan, async |mut rehearsal| {
        if !rehearsal.backend.is_mongo() {
            return;
        }
        rehearsal.clock = Clock::steppable();
        let (sandbox, clock) = (rehearsal.sandbox.clone(), rehearsal.clock.clone());
        let set = async move {
            for (granted, days) in [(5, 60), (15, -60), (20, 0)] {
                let is_so = || sandbox.ledger().granted >= granted;
                crate::support::rehearsal::until("some are granted", is_so).await;
                clock.set_machine_ahead(TimeDelta::days(days));
            }
        };
        let (summary, ()) = tokio::join!(rehearsal.run(), set);
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 30), "{summary:?}");
        assert_eq!(rehearsal.due_within(TimeDelta::days(6)).await, 30);
        assert_eq!(rehearsal.due_within(TimeDelta::days(3)).await, 0);
        assert_eq!(rehearsal.run().await.touched, 0);
        rehearsal.assert_kept(30).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_leap_of_the_stores_clock_no_claim_is_taken_over_for_two_leases() {
    on_both("store_leaps", sent_freely(3), async |mut rehearsal| {
        if !rehearsal.backend.is_mongo() {
            return;
        }
        rehearsal.clock = Clock::steppable();
        let store = InStep::with(rehearsal.meddler.clone(), rehearsal.clock.clone());
        let pass = rehearsal.process_as(store.clone(), rehearsal.state(), &Https).await;
        let living = living_claim(&rehearsal).await;
        assert_eq!(run(&pass, &FORCED, &Stop::default()).await.count(Outcome::Refreshed), 2);
        store.leap(TimeDelta::hours(5));
        for minutes in [0, 19] {
            rehearsal.clock.step(TimeDelta::minutes(minutes));
            let summary = run(&pass, &FORCED, &Stop::default()).await;
            assert_eq!(summary.count(Outcome::Refreshed), 2, "after {minutes} min: {summary:?}");
            assert_eq!(rehearsal.bookkeeping(0).await.lease, Some(living.clone()));
        }
        rehearsal.clock.step(TimeDelta::minutes(2));
        assert_eq!(run(&pass, &FORCED, &Stop::default()).await.count(Outcome::Refreshed), 3);
        rehearsal.assert_nothing_claimed().await;
        pass.close().await;
    })
    .await;
}
