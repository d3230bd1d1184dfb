//! What can go wrong in one run, and how often: drawn from the seed, so that each run is bad in its own way.

use super::peer::Peer;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, rngs::StdRng};
use std::time::Duration;

/// How long a claim lasts in a simulation.
pub(super) const LEASE: Duration = Duration::from_mins(2);

/// Most documents of a provider that is alone: more than the refusals in a row that ask for a sample.
const MOST_ALONE: usize = 8;

/// Share of the seeds with several providers.
const SEVERAL: f64 = 0.3;

/// Longest time that the slowest of several providers takes for an answer, of the time that we wait for one.
const SLOW_ANSWER: Duration = Duration::from_secs(9);

/// Longest wait for an answer in a simulation.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Chances in `[0, 1]`: of each turn of a process, each call of the store, each commit, or each request.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) machines: usize,
    /// At least one; documents name theirs where there are several.
    pub(super) peers: Vec<Peer>,
    /// Documents of each provider.
    pub(super) documents: usize,
    pub(super) attempts: u32,
    /// First wait of a document after a failure.
    pub(super) first_backoff: Duration,

    pub(super) kill: f64,
    /// Does the power go with the process?
    pub(super) power: f64,
    pub(super) pause: f64,
    pub(super) stop: f64,
    pub(super) slow: f64,

    pub(super) store_away: f64,
    pub(super) store_forgets_to_answer: f64,
    pub(super) store_outage: f64,
    /// What a caller has given up happens later.
    pub(super) store_late: f64,
    /// A part of a bulk is done, and the rest isn't.
    pub(super) store_cuts: f64,
    pub(super) disk: f64,

    pub(super) app: f64,
    pub(super) login: f64,
    pub(super) revoke: f64,
    pub(super) delete: f64,
    /// A document names a provider that isn't configured, for a while or for good; only where documents name theirs.
    pub(super) misnames: f64,
    /// A person goes to another provider.
    pub(super) moves: f64,
    /// An old copy of a document comes back.
    pub(super) restore: f64,
    /// The application writes back a whole document, or its token fields, as it had read them.
    pub(super) stale: f64,
    /// The application moves a document to another `_id`; only with one machine, because the claim goes with it, and the one that
    /// made that looks for its document in the old place.
    pub(super) relocate: f64,
    /// A machine dies for good, or for a long time, when its process has ended.
    pub(super) dies: f64,
    /// A second document with the same token; only with one machine.
    pub(super) duplicate: bool,
    /// The clocks of the machines are apart by as much.
    pub(super) skew: Duration,
}

impl Weather {
    pub(super) fn of(random: &mut StdRng) -> Self {
        let machines = random.random_range(1..=2);
        let mut chance = |chances: [f64; 3]| {
            if random.random_bool(0.6) { 0.0 } else { *chances.choose(random).expect("three") }
        };
        let alone = if machines == 1 { 1.0 } else { 0.0 };
        let mut weather = Self {
            machines,
            peers: Vec::new(),
            documents: 1,
            attempts: 1,
            first_backoff: Duration::from_secs(30),
            kill: chance([0.002, 0.01, 0.04]),
            power: chance([0.2, 0.5, 1.0]),
            pause: chance([0.001, 0.005, 0.02]),
            stop: chance([0.1, 0.3, 0.6]),
            slow: chance([0.01, 0.05, 0.2]),
            store_away: chance([0.01, 0.05, 0.2]),
            store_forgets_to_answer: chance([0.01, 0.05, 0.2]),
            store_outage: chance([0.002, 0.005, 0.01]),
            disk: chance([0.002, 0.01, 0.03]),
            app: chance([0.2, 0.5, 1.0]),
            login: chance([0.05, 0.2, 0.5]),
            revoke: chance([0.01, 0.05, 0.1]),
            delete: chance([0.01, 0.03, 0.1]),
            misnames: chance([0.05, 0.1, 0.3]),
            moves: chance([0.05, 0.1, 0.3]),
            restore: chance([0.05, 0.1, 0.3]),
            duplicate: chance([1.0; 3]) > 0.0 && machines == 1,
            skew: Duration::from_secs_f64(chance([0.2, 1.0, 5.0])),
            stale: chance([0.05, 0.2, 0.5]),
            relocate: chance([0.02, 0.05, 0.2]) * alone,
            dies: chance([0.02, 0.1, 0.3]) * (1.0 - alone),
            store_late: chance([0.01, 0.05, 0.2]),
            store_cuts: chance([0.01, 0.05, 0.2]),
        };
        let peers = if random.random_bool(SEVERAL) { random.random_range(2..=3) } else { 1 };
        weather.documents = random.random_range(1..=if peers == 1 { MOST_ALONE } else { 3 });
        weather.attempts = random.random_range(1..=4);
        weather.peers = (0..peers).map(|_| Peer::of(random)).collect();
        if peers > 1 {
            let slow = random.random_range(0..peers);
            weather.peers[slow].takes = SLOW_ANSWER;
        } else {
            (weather.misnames, weather.moves) = (0.0, 0.0);
        }
        weather
    }

    /// Do the documents name their provider?
    pub(super) fn several(&self) -> bool {
        self.peers.len() > 1
    }
}
