//! A provider that refuses some of the living for a while, and then many: each user that is marked in the pass that ends in
//! doubt, or in one that was killed before it, is live again in the end. Each mark follows two refusals.

use super::bugs::Bug;
use super::ledger::{Ledger, Rotation, Rules};
use super::life::Life;
use super::machine;
use super::peer::{Peer, Storm};
use super::world::{Inner, World};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Trouble;
use evergrant::testing::report::{Reports, summary::Summary};
use evergrant::testing::token::State;
use rand::Rng as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Users; in the first pass up to thirteen refusals among the first hundred are believed.
const USERS: usize = 150;

/// Those whose logins have ended.
const DEAD: [usize; 2] = [20, 120];

/// The shares that the provider refuses, in percent: before a living user is marked, and from then on.
const FEW: u32 = 6;
const MANY: u32 = 60;

/// Worlds that each test lives through.
const WORLDS: u64 = 12;

/// Worlds within which a bug must be found.
const WORLDS_FOR_A_BUG: u64 = 20;

/// Processes after which a pass must have ended by itself.
const MOST_PROCESSES: usize = 60;

fn settle(world: &mut Inner) {
    let rules = Rules { rotation: Rotation::Strict, revokes_family: false };
    let well = Peer {
        rules,
        never: false,
        rate: None,
        concurrency: 8,
        takes: Duration::ZERO,
        not_sent: 0.0,
        lost_before: 0.0,
        lost_after: 0.0,
        late: 0.0,
        cut: 0.0,
        error_before: 0.0,
        error_after: 0.0,
        throttled: 0.0,
        no_tokens: 0.0,
        storm: 0.0,
        lapse: 0.0,
    };
    let weather = &mut world.weather;
    (weather.peers, weather.machines) = (vec![well], 1);
    (weather.power, weather.duplicate, weather.restore) = (0.5, false, 0.0);
    (weather.kill, weather.pause, weather.stop, weather.slow) = (0.003, 0.0, 0.0, 0.0);
    (weather.store_away, weather.store_forgets_to_answer, weather.store_outage) = (0.0, 0.0, 0.0);
    weather.disk = 0.0;
    world.machines.truncate(1);
    world.documents.clear();
    world.ledger = Ledger::new(vec![rules]);
    for user in 0..USERS {
        world.add_user(user, 0);
    }
    for user in DEAD {
        let token = world.documents[&user].refresh;
        world.ledger.revoke(token);
    }
    storm(world, FEW);
}

fn storm(world: &mut Inner, share: u32) {
    world.storms = vec![Some((Storm::Refuses(share), Instant::now() + Duration::from_hours(24)))];
}

/// A pass of a process that may be killed meanwhile; none then.
async fn pass(world: &Arc<World>) -> Option<Summary> {
    let died = world.with(|world| world.machines[0].died.clone());
    let life = Life::start(world, 0);
    let one = async {
        let (engine, journal) = machine::start(&life);
        let (stop, request) = (Stop::default(), PassRequest::default());
        let summary = engine.run(&request, &stop, Arc::new(Reports::new())).await;
        drop(engine);
        journal.close().await;
        summary
    };
    let summary = tokio::select! {
        biased;
        () = died.notified() => None,
        summary = one => Some(summary),
    };
    world.with(|world| {
        if summary.is_some() {
            life.end(world);
        }
        machine::after_the_end(world, 0);
    });
    sleep(Duration::from_mins(5)).await;
    summary.map(|summary| summary.unwrap())
}

/// Lives through one world; what is wrong at its end, and how many living users were marked on the way.
fn live(seed: u64, bug: Option<Bug>) -> (Option<String>, u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, bug, false);
        world.with(settle);
        let mut is_doubted = false;
        for _ in 0..MOST_PROCESSES {
            let marked = Arc::new(tokio::sync::Notify::new());
            let turn = {
                let (world, marked) = (world.clone(), marked.clone());
                tokio::spawn(async move {
                    // The first wrong mark is what the fault waited for.
                    while world.with(|world| world.wrong_marks) == 0 {
                        sleep(Duration::from_millis(5)).await;
                    }
                    world.with(|world| storm(world, MANY));
                    marked.notify_one();
                })
            };
            let summary = pass(&world).await;
            turn.abort();
            let ended = summary.is_some();
            let doubts = |trouble: &Trouble| matches!(trouble, Trouble::Refusals { .. });
            is_doubted = summary.is_some_and(|summary| summary.troubles.iter().any(doubts));
            if is_doubted {
                break;
            }
            if ended {
                // No refusal of this pass was in doubt: its marks stand.
                world.with(Inner::believe_marks);
            }
            // More may be refused from now on, and all are due again.
            world.with(|world| {
                if world.random.random_bool(0.5) {
                    world.documents.values_mut().for_each(|document| document.bookkeeping.due_at = None);
                }
            });
        }
        world.with(|world| {
            world.calm = true;
            world.storms = vec![None];
            world.documents.values_mut().for_each(|document| document.bookkeeping.due_at = None);
        });
        for _ in 0..3 {
            sleep(machine::LONGEST_BACKOFF * 2).await;
            pass(&world).await;
        }
        world.with(|world| {
            if !is_doubted {
                world.violated("OUR FAULT IS NOT THEIRS: no pass ended in doubt".into());
            }
            judge(world);
            (world.violation.clone(), world.wrong_marks)
        })
    })
}

/// In the end the living are live, and the dead are marked.
fn judge(world: &mut Inner) {
    for (place, document) in world.documents.clone() {
        let lives = world.ledger.would_accept(document.refresh, Instant::now());
        let state = document.bookkeeping.state;
        let stands = world.lapses.is_believed(document.refresh);
        if lives && !stands && (state != State::Live || document.bookkeeping.refreshed_at.is_none()) {
            world.violated(format!(
                "OUR FAULT IS NOT THEIRS: document {place} is {state:?}, and would be granted"
            ));
        }
        if !lives && state == State::Live {
            world.violated(format!("ACCOUNTED: document {place} would be refused, and isn't marked"));
        }
    }
}

#[test]
fn no_user_stays_marked_whom_a_fault_of_the_provider_has_marked() {
    let mut marked = 0;
    for seed in 0..WORLDS {
        let (violation, wrong) = live(seed, None);
        assert_eq!(violation, None, "world {seed}");
        marked += u64::from(wrong > 0);
    }
    assert!(marked > WORLDS / 2, "living users were marked in {marked} of {WORLDS} worlds");
}

#[test]
fn a_bug_that_leaves_a_mark_is_found_in_a_crowd() {
    for bug in Bug::OF_A_CROWD {
        assert!((0..WORLDS_FOR_A_BUG).any(|seed| live(seed, Some(bug)).0.is_some()), "{bug:?}");
    }
}
