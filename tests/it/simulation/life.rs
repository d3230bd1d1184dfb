//! A process of a simulation: what happens to it at each of its steps, and what its journal has kept.

use super::ledger::{Reached, Who};
use super::weather::LEASE;
use super::world::{Inner, World};
use evergrant::testing::journal::simulated::Commit;
use evergrant::testing::token::{Bookkeeping, Lease, SpentTokens};
use rand::Rng as _;
use std::sync::Arc;
use tokio::time::Instant;

/// One process, from its start to its end.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) machine: usize,
    pub(super) number: u64,
    /// How often the collection had been renamed when it started.
    pub(super) moves: u64,
    /// Is it over a copy of the collection?
    pub(super) elsewhere: bool,
    /// Is it a version from before documents told who writes into them, and which tokens were redeemed?
    pub(super) is_earlier: bool,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let earlier = if self.is_earlier { " (earlier)" } else { "" };
        write!(formatter, "process {}.{}{earlier}", self.machine, self.number)
    }
}

impl Life {
    /// Starts a process on a machine that has none; before it, perhaps, the power had failed.
    pub(super) fn start(world: &Arc<World>, machine: usize) -> Self {
        world.with(|inner| {
            let (moves, is_earlier) = (inner.place.moves, inner.starts_an_earlier_version(machine));
            let there = &mut inner.machines[machine];
            there.life += 1;
            there.alive = true;
            there.paused_until = None;
            let (number, elsewhere) = (there.life, there.copied.is_some());
            Self { world: world.clone(), machine, number, moves, elsewhere, is_earlier }
        })
    }

    /// Bookkeeping as this version knows it: what it reads, and all that it writes.
    pub(super) fn known(&self, books: Bookkeeping) -> Bookkeeping {
        if !self.is_earlier {
            return books;
        }
        let lease = books.lease.as_ref().map(|lease| self.written(lease));
        Bookkeeping { lease, refreshed_by: None, spent: SpentTokens::default(), ..books }
    }

    /// A claim as this version writes it.
    pub(super) fn written(&self, lease: &Lease) -> Lease {
        let by = lease.by.clone().filter(|_| !self.is_earlier);
        Lease { by, ..lease.clone() }
    }

    pub(super) fn who(&self) -> Who {
        if self.elsewhere {
            return Who::Elsewhere;
        }
        Who::Process(self.machine, self.number)
    }

    /// One step of the process: time passes, and it may be stopped or killed before it goes on.
    ///
    /// A killed process never goes on: whatever of it is left waits here for ever, and changes nothing any more.
    pub(super) async fn turn(&self, what: &str) {
        self.world.some_time().await;
        self.go_on().await;
        self.strike(what);
        self.go_on().await;
    }

    /// Waits while the process is stopped, for ever if it is dead.
    pub(super) async fn go_on(&self) {
        loop {
            let until = self.world.with(|world| {
                if !self.is_alive(world) {
                    return Err(());
                }
                Ok(world.machines[self.machine].paused_until.filter(|until| *until > Instant::now()))
            });
            match until {
                Ok(None) => return,
                Ok(Some(until)) => tokio::time::sleep_until(until).await,
                Err(()) => std::future::pending().await,
            }
        }
    }

    pub(super) fn is_alive(&self, world: &Inner) -> bool {
        let machine = &world.machines[self.machine];
        machine.alive && machine.life == self.number
    }

    /// Perhaps the process is killed, or stopped for a while.
    pub(super) fn strike(&self, what: &str) {
        self.world.with(|world| {
            let (kill, pause) = (world.weather.kill, world.weather.pause);
            if world.happens(kill) {
                world.note(|| format!("{self:?} is killed at {what}"));
                self.end(world);
                world.kills += 1;
                world.machines[self.machine].died.notify_one();
            } else if world.happens(pause) {
                let pause = LEASE.mul_f64(world.random.random_range(0.01..3.0));
                world.note(|| format!("{self:?} is stopped for {pause:?} at {what}"));
                world.machines[self.machine].paused_until = Some(Instant::now() + pause);
            }
        });
    }

    /// The process is gone: what it had in memory only is gone with it.
    pub(super) fn end(&self, world: &mut Inner) {
        world.machines[self.machine].alive = false;
        self.excuse(world);
    }

    /// What the process has in memory may be lost without blame: nothing could have kept it in time.
    fn excuse(&self, world: &mut Inner) {
        let who = self.who();
        for token in &mut world.ledger.tokens {
            for redemption in &mut token.redemptions {
                if redemption.by == who && matches!(redemption.reached, Reached::Hand(_)) {
                    redemption.reached = Reached::Excused;
                }
            }
        }
    }

    /// Looks at what a commit of this process' journal has kept.
    pub(super) fn committed(&self, world: &mut Inner, becomes: Commit) {
        if self.elsewhere {
            return;
        }
        let who = self.who();
        let now = Instant::now();
        let mut in_hand = Vec::new();
        for token in &world.ledger.tokens {
            for redemption in token.redemptions.iter().filter(|redemption| redemption.by == who) {
                if let Reached::Hand(since) = redemption.reached {
                    in_hand.push((redemption.child, since));
                }
            }
        }
        let done = matches!(becomes, Commit::Done | Commit::Pretended);
        for (child, since) in in_hand {
            let text = format!("\"{}\"", world.ledger.text(child));
            let kept = world.machines[self.machine].disk.holds(&text);
            // A process that was told that it is kept believes it, whether or not it is.
            if done && (kept || becomes == Commit::Pretended) {
                world.note(|| format!("rt-{child} is in the journal of {self:?}"));
                // Where a document holds its text already, that is no news; nor is it where it is the text that was sent.
                let parent = world.ledger.tokens[child].parent;
                let is_as_sent =
                    parent.is_some_and(|sent| world.ledger.text(sent) == world.ledger.text(child));
                if !world.ledger.tokens[child].written && !is_as_sent {
                    world.in_journals.insert(child);
                }
                if let Some(birth) = world.ledger.birth(child) {
                    birth.reached = Reached::Kept;
                }
            } else if done && since < now {
                world.violated(format!("KEPT: rt-{child} was received before this commit, and isn't in it"));
            }
        }
        if done {
            for token in world.answered.remove(&(self.machine, self.number)).unwrap_or_default() {
                world.ledger.tokens[token].in_doubt -= 1;
            }
        } else {
            self.excuse(world);
        }
        world.check_kept();
    }
}
