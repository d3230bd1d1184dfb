//! A quick provider beside a slow one, on a paused clock.

use super::ledger::{Ledger, Rotation, Rules};
use super::life::Life;
use super::machine;
use super::peer::Peer;
use super::world::{Inner, World};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::{Outcome, Reports};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Documents of the slow provider.
const SLOW: usize = 10_000;

/// Documents of the quick provider.
const QUICK: usize = 5;

/// Longest time that the slow provider takes for an answer.
const SLOW_ANSWER: Duration = Duration::from_secs(30);

/// Time from one wake of the quick provider to the next.
const BETWEEN_WAKES: Duration = Duration::from_mins(3);

/// Time in which a wake must be answered: all that was due is refreshed.
const IN_TIME: Duration = Duration::from_secs(1);

fn settle(world: &mut Inner) {
    world.calm = true;
    world.documents.clear();
    let rules = Rules { rotation: Rotation::Strict, revokes_family: false };
    let drawn = Peer::of(&mut world.random);
    let quick = Peer { rules, rate: None, concurrency: 8, takes: Duration::ZERO, ..drawn };
    let slow = Peer { concurrency: 4, takes: SLOW_ANSWER, ..quick.clone() };
    world.weather.peers = vec![slow, quick];
    world.storms = vec![None; 2];
    world.ledger = Ledger::new(vec![rules; 2]);
    for user in 0..SLOW + QUICK {
        world.add_user(user, usize::from(user >= SLOW));
    }
}

#[tokio::test(start_paused = true)]
async fn a_quick_provider_is_refreshed_within_a_second_while_a_slow_one_has_ten_thousand_documents() {
    let world = World::new(0, None, false);
    world.with(settle);
    let life = Life::start(&world, 0);
    let (engine, journal) = machine::start(&life);
    let stop = Stop::default();
    let mut work = engine.all_work().into_iter();
    let (slow, quick) = (work.next().unwrap(), work.next().unwrap());
    let slow_pass = {
        let (engine, stop) = (engine.clone(), stop.clone());
        let request = PassRequest::default();
        tokio::spawn(
            async move { engine.run_over(vec![slow], &request, &stop, Arc::new(Reports::new())).await },
        )
    };
    for wake in 0..5 {
        sleep(BETWEEN_WAKES).await;
        world.with(|world| {
            world.documents.range_mut(SLOW..).for_each(|(_, document)| document.bookkeeping.due_at = None);
        });
        let (request, stop, began) = (PassRequest::default(), Stop::default(), Instant::now());
        let pass = engine.run_over(vec![quick.clone()], &request, &stop, Arc::new(Reports::new()));
        let summary = timeout(IN_TIME, pass)
            .await
            .unwrap_or_else(|_| panic!("wake {wake} waits for longer than {IN_TIME:?}"))
            .unwrap();
        let took = began.elapsed();
        assert_eq!(summary.count(Outcome::Refreshed), QUICK as u64, "wake {wake}, after {took:?}");
    }
    assert!(!slow_pass.is_finished());
    stop.take_no_more.cancel();
    let summary = slow_pass.await.unwrap().unwrap();
    let refreshed = summary.count(Outcome::Refreshed);
    assert!((100..SLOW as u64 / 2).contains(&refreshed), "{refreshed} documents of the slow provider");
    drop(engine);
    journal.close().await;
    assert_eq!(world.with(|world| world.violation.clone()), None);
}
