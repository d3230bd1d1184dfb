//! The built binary on a disk that loses power: what no sync had reached is gone, or half of it, at random times and at named
//! points. The journal is on that disk, and a SQLite store as well; a MongoDB is another machine's, whose power goes in `mongod`.
//!
//! `cargo test --test it -- --ignored proof::power --nocapture` is the proof; `EVERGRANT_TEST_CUTS` changes how often the power
//! is cut, `EVERGRANT_TEST_SEED` which cuts these are.

mod acknowledged;
mod judge;
mod mongod;
mod world;

use super::{knob, tell};
use crate::support::process::Kind;
use std::time::Instant;
use world::{Plan, Tally, World};

/// Cuts in each world of every test run.
const CUTS: u64 = 8;

/// Worlds, and cuts in each, within which a disk that doesn't sync must be found out.
const DEAF_WORLDS: u64 = 5;
const CUTS_OF_A_DEAF_DISK: u64 = 4;

async fn survives(plan: Plan) {
    let Some(world) = World::new(plan).await else { return };
    let tally = world.live(CUTS).await.unwrap_or_else(|broken| panic!("{broken}"));
    assert!(tally.cuts >= CUTS && tally.unsynced > 0 && tally.acknowledged > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged_sqlite() {
    survives(Plan::new(Kind::Sqlite, false, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged_mongodb() {
    survives(Plan::new(Kind::Mongo, true, 1)).await;
}

/// The proof itself is on trial: on a disk that says of these that they are synced, and lies, it must fail.
async fn is_found_out(kind: Kind, deaf: &'static str) {
    let mut lives = Vec::new();
    for seed in 1..=DEAF_WORLDS {
        let Some(world) = World::new(Plan { deaf: Some(deaf), ..Plan::new(kind, false, seed) }).await else {
            return;
        };
        match world.live(CUTS_OF_A_DEAF_DISK).await {
            Err(broken) => return tell(&format!("found out: {broken}")),
            Ok(tally) => lives.push(tally),
        }
    }
    panic!("{deaf:?} is never synced, and that did no harm: {lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_never_syncs_is_found_out() {
    is_found_out(Kind::Sqlite, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_never_syncs_the_journal_is_found_out() {
    is_found_out(Kind::Mongo, "journal.db-wal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_never_syncs_the_store_is_found_out() {
    is_found_out(Kind::Sqlite, "tokens.db-wal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_never_syncs_a_folder_is_found_out() {
    is_found_out(Kind::Mongo, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: 500 power cuts over both stores; about four minutes on 2 cores"]
async fn no_power_cut_loses_or_replays_what_was_acknowledged() {
    let began = Instant::now();
    let (cuts, seed) = (knob("EVERGRANT_TEST_CUTS", 500), knob("EVERGRANT_TEST_SEED", 1));
    let mut worlds = Vec::new();
    for (kind, keeps_pairs) in
        [(Kind::Sqlite, false), (Kind::Sqlite, true), (Kind::Mongo, false), (Kind::Mongo, true)]
    {
        worlds.extend(World::new(Plan::new(kind, keeps_pairs, seed)).await);
    }
    let share = cuts.div_ceil(worlds.len().max(1) as u64);
    let lives = worlds.into_iter().map(|world| tokio::spawn(world.live(share)));
    let lives = futures::future::join_all(lives).await.into_iter();
    let tallies: Vec<_> =
        lives.map(|life| life.unwrap().unwrap_or_else(|broken| panic!("{broken}"))).collect();
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    tell(&format!(
        "power: {} cuts, {} passes, {} grants, {} answers received, {} acknowledged by the journal: 0 of these lost, 0 \
         replayed; of {} changes that no sync had reached {} sectors and {} names were taken; of {} grants cut off {} lost in \
         flight, {} of them without that label; took {} s",
        sum(|tally| tally.cuts),
        sum(|tally| tally.passes),
        sum(|tally| tally.grants),
        sum(|tally| tally.received),
        sum(|tally| tally.acknowledged),
        sum(|tally| tally.unsynced),
        sum(|tally| tally.sectors),
        sum(|tally| tally.names),
        sum(|tally| tally.cut_off),
        sum(|tally| tally.lost_in_flight + tally.unlabelled),
        sum(|tally| tally.unlabelled),
        began.elapsed().as_secs(),
    ));
}
