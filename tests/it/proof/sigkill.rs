//! The built binary, killed with SIGKILL at random times and at every named point, and started again.
//!
//! `cargo test --test it -- --ignored proof::sigkill --nocapture` is the proof; `EVERGRANT_TEST_KILLS` and
//! `EVERGRANT_TEST_KILLS_AT_EACH_POINT` change how often it kills, `EVERGRANT_TEST_SEED` which kills these are.

mod death;
mod marks;
mod own_server;
mod world;
mod wreck;

use super::{knob, tell};
use crate::support::process::{Kind, ONCE, Scene};
use death::{Death, deaths, is_of_marks};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::journal::Journal;
use evergrant::testing::kill_point::Point;
use evergrant::testing::token::State;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;
use world::{Tally, World};

/// Kills at random times in each world of every test run.
const RANDOM_KILLS: u64 = 10;

async fn survives(kind: Kind, grace: bool, deaths: Vec<Death>) {
    if let Some(world) = World::new(kind, grace, 1).await {
        let kills = deaths.len() as u64;
        let tally = world.live(deaths).await;
        assert!(tally.kills >= kills && tally.journaled > 0, "{tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_sqlite_strict() {
    survives(Kind::Sqlite, false, deaths(RANDOM_KILLS, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_mongodb_strict() {
    survives(Kind::Mongo, false, deaths(RANDOM_KILLS, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_sqlite() {
    survives(Kind::Sqlite, true, deaths(RANDOM_KILLS, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_mongodb() {
    survives(Kind::Mongo, true, deaths(RANDOM_KILLS, 0)).await;
}

/// The refusal is in the journal and its mark in the document: nobody asks again, so the row must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_written_before_the_kill_leaves_no_row() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig::default();
        let Some(scene) = Scene::new("marked", kind, config).await else { continue };
        for plan in ["AnswerReceived:1", "Applied:1"] {
            // Nobody else is there whom the provider could grant anything to.
            let believed = [&ONCE[..], &["--accept-refusals"]].concat();
            let ended = scene.command(&believed).env("EVERGRANT_TEST_KILL_AT", plan).status().await.unwrap();
            assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{plan}");
        }
        let document = scene.documents().await.remove(0);
        assert_eq!(document.bookkeeping.state, State::LostInFlight);
        let ended = scene.run(&ONCE).await;
        assert_eq!(ended.code, Some(0), "the mark is an earlier pass': {ended:?}");
        let open = Journal::peek(&scene.state_folder()).unwrap();
        assert!(open.is_empty(), "{open:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: 2,000 kills at random times and 20 at each named point; about ten minutes on 2 cores"]
async fn no_kill_loses_or_replays_what_was_received() {
    let began = Instant::now();
    let (random, at_each_point) =
        (knob("EVERGRANT_TEST_KILLS", 2000), knob("EVERGRANT_TEST_KILLS_AT_EACH_POINT", 20));
    let seed = knob("EVERGRANT_TEST_SEED", 1);
    let mut worlds = Vec::new();
    for (kind, grace) in
        [(Kind::Sqlite, false), (Kind::Sqlite, true), (Kind::Mongo, false), (Kind::Mongo, true)]
    {
        worlds.extend(World::new(kind, grace, seed).await);
    }
    let share = worlds.len() as u64;
    let deaths = deaths(random.div_ceil(share), at_each_point.div_ceil(share));
    let lives = worlds.into_iter().map(|world| tokio::spawn(world.live(deaths.clone())));
    let tallies: Vec<_> =
        futures::future::join_all(lives).await.into_iter().map(|life| life.expect("it held")).collect();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let points: HashSet<_> = tallies.iter().flat_map(|tally| &tally.points).collect();
    let all = Point::ALL.into_iter().filter(|point| !is_of_marks(*point)).count();
    assert_eq!(points.len(), all, "at every point");
    tell(&format!(
        "sigkill: {} kills ({random} at random times, {at_each_point} at each of {} points, and those before them), \
         {} passes, {} grants, {} answers received, {} of them left in the journal: {} received and lost, {} replayed; of {} grants cut off {} lost \
         in flight; took {} s",
        sum(|tally| tally.kills),
        points.len(),
        sum(|tally| tally.passes),
        sum(|tally| tally.grants),
        sum(|tally| tally.received),
        sum(|tally| tally.journaled),
        sum(|tally| tally.received_and_lost),
        sum(|tally| tally.replayed),
        sum(|tally| tally.cut_off),
        sum(|tally| tally.lost_in_flight),
        began.elapsed().as_secs(),
    ));
}
