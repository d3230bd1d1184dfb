//! A world of kills: its rounds, and how a process is killed in it.

use super::death::{Death, is_of_recovery, reached_at_most};
use super::wreck::Wreck;
use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use evergrant::testing::kill_point::Point;
use evergrant::testing::token::Fingerprint;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

/// Users, few enough for a short pass and many enough for a full pool.
pub(super) const USERS: usize = 60;

/// How often a kill is tried for which the process turned out to be too fast.
const TRIES: usize = 20;

/// With a grace period nothing may be lost at all: it is longer than any restart takes.
const GRACE: Duration = Duration::from_mins(2);

/// What was done in a world, for the line of figures.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kills: u64,
    pub(super) points: HashSet<Point>,
    pub(super) passes: u64,
    pub(super) grants: u64,
    pub(super) received: u64,
    /// Successes that a killed process left in its journal.
    pub(super) journaled: u64,
    pub(super) received_and_lost: u64,
    pub(super) replayed: u64,
    pub(super) cut_off: u64,
    pub(super) lost_in_flight: u64,
}

/// A store, a provider, and somebody who pulls the plug.
pub(super) struct World {
    pub(super) name: String,
    pub(super) scene: Scene,
    pub(super) grace: bool,
    random: StdRng,
    /// How long a pass takes from start to end, as the last ones did.
    pass_takes: Duration,
    /// Every token that was cut off by a kill before its answer was in the journal: only these may be sent again.
    pub(super) cut_off: HashSet<Fingerprint>,
    pub(super) tally: Tally,
}

impl World {
    pub(super) async fn new(kind: Kind, grace: bool, seed: u64) -> Option<Self> {
        let config = SandboxConfig {
            users: USERS,
            seed,
            grace: if grace { GRACE } else { Duration::ZERO },
            latency: Duration::from_millis(2),
            latency_jitter: Duration::from_millis(10),
            ..SandboxConfig::default()
        };
        let name = format!("{kind:?} {}", if grace { "grace" } else { "strict" });
        let mut scene = Scene::new(if grace { "kill_grace" } else { "kill_strict" }, kind, config).await?;
        // Every pass finds every document due.
        scene.set("refresh_token_lifetime", "unknown");
        scene.set("concurrency", "8");
        if grace {
            scene.set("rotation", "grace");
            scene.set("grace", "2min");
        } else {
            // Otherwise a pair that the journal gave up too early would be put back.
            scene.set("keep_pairs", "0s");
        }
        Some(Self {
            name,
            scene,
            grace,
            random: StdRng::seed_from_u64(seed ^ ((kind as u64) << 1) ^ u64::from(grace)),
            pass_takes: Duration::from_millis(300),
            cut_off: HashSet::new(),
            tally: Tally::default(),
        })
    }

    /// One round: a process that is killed, sometimes a second one too, and one that ends by itself.
    async fn round(&mut self, death: Death) {
        let began = Clock::system().now();
        let mut wreck = Wreck::default();
        if let Death::At(point) = death
            && is_of_recovery(point)
        {
            let first = [Point::AnswerCommitted, Point::BeforeApply, Point::Applied, Point::EndWritten];
            // A first kill may leave nothing of that kind to recover: then both once more.
            let mut tries = 0..TRIES;
            loop {
                let first = first[self.random.random_range(0..first.len())];
                self.kill(Death::At(first), &mut wreck).await;
                if self.killed(death, 1, &mut wreck).await {
                    break;
                }
                assert!(tries.next().is_some(), "{}: {death:?} never came", self.name);
            }
        } else {
            self.kill(death, &mut wreck).await;
            // Who is killed while recovering recovers once more.
            if matches!(death, Death::At(_)) && self.random.random_bool(0.2) {
                self.kill(Death::Random, &mut wreck).await;
            }
        }
        let started = Instant::now();
        let ended = self.scene.run(&ONCE).await;
        self.pass_takes = started.elapsed();
        self.tally.passes += 1;
        assert!(matches!(ended.code, Some(0 | 3)), "{} {death:?}: {ended:?}", self.name);
        self.judge(death, began, wreck).await;
    }

    /// Starts a process, kills it, and looks at what is left.
    async fn kill(&mut self, death: Death, wreck: &mut Wreck) {
        let mut times = match death {
            Death::At(point) => self.random.random_range(1..=reached_at_most(point)),
            Death::Random => 1,
        };
        for _ in 0..TRIES {
            if self.killed(death, times, wreck).await {
                return;
            }
            // It ended before it got there so often: sooner, then.
            times = 1;
        }
        panic!("{}: {death:?} never came, in {TRIES} passes", self.name);
    }

    /// Starts a process; `false` when it has ended before it could be killed.
    async fn killed(&mut self, death: Death, times: u64, wreck: &mut Wreck) -> bool {
        let killed = match death {
            Death::At(point) => self.killed_at(point, times).await,
            Death::Random => self.killed_at_random().await,
        };
        self.tally.passes += 1;
        if killed {
            self.tally.kills += 1;
            self.tally.points.extend(if let Death::At(point) = death { Some(point) } else { None });
            self.look_at(wreck).await;
        }
        killed
    }

    async fn killed_at(&self, point: Point, times: u64) -> bool {
        let mut command = self.scene.command(&ONCE);
        command.env("EVERGRANT_TEST_KILL_AT", format!("{}:{times}", point.name()));
        let mut child = command.spawn().unwrap();
        let ended = child.wait().await.unwrap();
        assert!(ended.signal().is_some() || matches!(ended.code(), Some(0 | 3)), "{point:?}: {ended}");
        ended.signal() == Some(Signal::SIGKILL as i32)
    }

    /// At a moment of the whole run, or of its busy part: after so many redemptions.
    async fn killed_at_random(&mut self) -> bool {
        let before = self.scene.sandbox.ledger().granted;
        let by_time = self.random.random_bool(0.5);
        let wait = self.pass_takes.mul_f64(self.random.random_range(0.0..1.0));
        let after = before + self.random.random_range(0..USERS as u64);
        let mut child = self.scene.start(&ONCE);
        if by_time {
            tokio::time::sleep(wait).await;
        } else {
            self.scene.until(&mut child, |sandbox| sandbox.ledger().granted >= after).await;
        }
        if let Some(id) = child.id() {
            // An error says that it has just ended by itself, and then the wait below tells.
            let _ = kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
        child.wait().await.unwrap().signal() == Some(Signal::SIGKILL as i32)
    }

    /// Lives through all of these, and says what happened.
    pub(super) async fn live(mut self, deaths: Vec<Death>) -> Tally {
        for death in deaths {
            self.round(death).await;
        }
        let ledger = self.scene.sandbox.ledger();
        self.tally.grants = ledger.granted;
        self.tally.received = ledger.delivered;
        self.tally
    }
}
