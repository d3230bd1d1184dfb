//! What happens in few worlds only. It is drawn from the seed apart from the weather, so that all other worlds stay what they are.

use super::ledger::Rotation;
use super::weather::LEASE;
use super::world::{DUPLICATE, Inner, Machine};
use chrono::TimeDelta;
use evergrant::testing::clock::{Clock, Timestamp};
use evergrant::testing::journal::simulated::Disk;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tokio::time::Instant;

/// Its draws are others than those of the weather of the same seed.
const APART: u64 = 0x05ee_d0fa_7a7e;

/// How far a clock is wrong at most.
const YEARS: TimeDelta = TimeDelta::days(1_500);

/// Chances in `[0, 1]`, of each turn of the people or of each process; zero in most worlds.
#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    /// A copy of the database and of a machine's disk is used elsewhere.
    pub(super) copies: f64,
    /// The collection is renamed, or restored under another name.
    pub(super) renames: f64,
    /// A person works on a journal, instead of the next process.
    pub(super) by_hand: f64,
    /// A person imports an old file.
    pub(super) imports: f64,
    /// The clock of a machine is set.
    pub(super) clocks: f64,
    /// The clock of the store leaps.
    pub(super) leaps: f64,
    /// An earlier version is replaced by this one, when a process starts.
    pub(super) upgrades: f64,
    /// A provider hands out a token that it handed out before.
    pub(super) again: f64,
    /// Does the store tell no time, because its machine is ours?
    pub(super) is_local: bool,
}

/// Draws what is rare in the world of this seed.
pub(super) fn draw(world: &mut Inner, seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed ^ APART);
    let kind = random.random_range(0..100);
    let chance = *[0.03, 0.1, 0.3].choose(random).expect("three");
    let rare = &mut world.rare;
    match kind {
        0..6 => rare.copies = chance,
        6..12 => rare.renames = chance,
        12..18 => rare.by_hand = chance,
        18..24 => (rare.imports, rare.is_local) = (chance, true),
        24..30 => rare.clocks = chance,
        30..36 => (rare.clocks, rare.is_local) = (chance, true),
        36..42 => rare.leaps = chance,
        42..48 => {
            // A write that comes late compares texts: it can't tell the text of before from one that was handed out again.
            (rare.again, world.weather.store_late) = (chance, 0.0);
        }
        48..54 => rare.upgrades = chance,
        _ => {}
    }
    if rare.upgrades > 0.0 && world.weather.machines > 1 {
        // An earlier version sends what a save of old tokens brought back and another machine had redeemed.
        world.weather.stale = 0.0;
    }
    if world.rare.by_hand > 0.0 {
        // Pairs that find no place, and answers that can't be read.
        let weather = &mut world.weather;
        (weather.login, weather.slow) = (weather.login.max(0.5), weather.slow.max(0.2));
        weather.peers.iter_mut().for_each(|peer| peer.no_tokens = peer.no_tokens.max(0.03));
    }
    if world.rare.leaps > 0.0 {
        two_machines(world);
    }
    if world.rare.is_local {
        // A file of one machine. Its clock is the only one: no grace can be measured while it is set.
        (world.weather.machines, world.weather.dies) = (1, 0.0);
        world.machines.truncate(1);
        world.store_clock = world.machines[0].clock.clone();
        for peer in &mut world.weather.peers {
            if matches!(peer.rules.rotation, Rotation::Grace(_)) {
                peer.rules.rotation = Rotation::Strict;
            }
        }
        world.ledger.set_rules(world.weather.peers.iter().map(|peer| peer.rules).collect());
    }
    if world.rare.clocks > 0.0 {
        for machine in 0..world.machines.len() {
            set_clock(world, machine, random);
        }
    }
    for peer in &mut world.weather.peers {
        let never = peer.rules.rotation == Rotation::Strict && random.random_bool(0.06);
        // Whose claim it was that an earlier version left is unknown, and where no token is sent twice, that ends logins.
        peer.never = never && world.rare.upgrades == 0.0;
    }
}

/// Claims of others are there where there are two machines.
fn two_machines(world: &mut Inner) {
    (world.weather.machines, world.weather.duplicate, world.weather.relocate) = (2, false, 0.0);
    (world.weather.kill, world.weather.slow) = (world.weather.kill.max(0.01), world.weather.slow.max(0.05));
    world.documents.remove(&DUPLICATE);
    if world.machines.len() == 1 {
        world.machines.push(Machine::new(Clock::simulated(world.store_clock.now()), Disk::default()));
    }
}

/// Sets the clock of a machine: right, wrong by hours, or by years.
fn set_clock(world: &mut Inner, machine: usize, random: &mut StdRng) {
    let by = match random.random_range(0..4) {
        0 => TimeDelta::zero(),
        1 => YEARS,
        2 => -YEARS,
        _ => TimeDelta::minutes(random.random_range(-1_200..1_200)),
    };
    world.note(|| format!("the clock of machine {machine} is {} min ahead", by.num_minutes()));
    world.machines[machine].clock.set_machine_ahead(by);
}

impl Inner {
    /// The time by which documents are judged.
    pub(super) fn now(&self) -> Timestamp {
        let is_apart = self.rare.clocks > 0.0 || self.rare.leaps > 0.0;
        if is_apart { self.store_clock.now() } else { self.machines[0].clock.now() }
    }

    /// Somebody, or a dead battery, sets the clock of a machine.
    pub(super) fn set_a_clock(&mut self) {
        let machine = self.random.random_range(0..self.machines.len());
        let random = &mut StdRng::seed_from_u64(self.random.random());
        set_clock(self, machine, random);
    }

    /// Another member of the store, with another clock, is the primary now.
    pub(super) fn leap(&mut self) {
        let by = match self.random.random_range(0..4) {
            0 => TimeDelta::days(400),
            1 => TimeDelta::hours(30),
            _ => TimeDelta::minutes(self.random.random_range(-90..300)),
        };
        self.note(|| format!("the clock of the store leaps by {} min", by.num_minutes()));
        self.store_clock.step(by);
        self.leaps.push((tokio::time::Instant::now(), by));
    }

    /// How much longer ago this seems to be by the store's clock, to a process that has waited since its leaps: two leases after
    /// one, each process that lives has renewed its claims or lost them.
    pub(super) fn leapt_since(&self, instant: Instant) -> Duration {
        let is_past =
            |(at, _): &&(Instant, TimeDelta)| *at + LEASE * 2 <= Instant::now() && *at + LEASE >= instant;
        let leapt: TimeDelta = self.leaps.iter().filter(is_past).map(|(_, by)| *by).sum();
        leapt.to_std().unwrap_or_default()
    }

    /// Perhaps the provider gives what it hands out for a token the text of that token, or of the one that it came out of.
    pub(super) fn hand_out_again(&mut self, token: usize, child: usize) {
        let chance = self.rare.again;
        if token == child || !self.happens(chance) {
            return;
        }
        let before = self.ledger.tokens[token].parent.filter(|_| self.random.random());
        let earlier = before.unwrap_or(token);
        self.ledger.call_again(child, earlier);
        self.lapses.call_again(child, earlier);
        let text = self.ledger.text(child);
        self.note(|| format!("provider hands out {text} again, which is token {child} now"));
        // Who holds that text holds this token.
        let mut is_held = false;
        for document in self.documents.values_mut() {
            if self.ledger.last_of(document.refresh) == child {
                document.refresh = child;
                is_held = true;
            }
        }
        self.looks.values_mut().for_each(|look| look.refresh = self.ledger.last_of(look.refresh));
        self.ledger.tokens[child].written |= is_held;
    }

    /// Is the process that starts on this machine of the earlier version? None is, once one of this version was there.
    pub(super) fn starts_an_earlier_version(&mut self, machine: usize) -> bool {
        let chance = self.rare.upgrades;
        if chance == 0.0 || self.machines[machine].is_upgraded {
            return false;
        }
        self.machines[machine].is_upgraded = self.calm || self.happens(chance);
        !self.machines[machine].is_upgraded
    }

    /// In calm weather a clock that is the only one is right.
    pub(super) fn set_clocks_right(&mut self) {
        if self.rare.is_local {
            self.machines[0].clock.set_machine_ahead(TimeDelta::zero());
        }
    }
}
