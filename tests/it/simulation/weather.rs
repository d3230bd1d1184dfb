//! What can go wrong in one run, and how often: drawn from the seed, so that each run is bad in its own way.

use super::ledger::Rotation;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, rngs::StdRng};
use std::time::Duration;

/// How long a claim lasts in a simulation.
pub(super) const LEASE: Duration = Duration::from_mins(2);

/// Longest wait for an answer in a simulation.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the provider does for all requests while a storm lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storm {
    /// 500 for everything, nothing is processed.
    Errors,
    /// 401: it doesn't know our client any more.
    Rejects,
    /// A page of a captive portal or a firewall, with 200.
    Portal,
    /// 429.
    Throttles,
    /// No connection.
    Unreachable,
}

/// Chances in `[0, 1]`: of each turn of a process, each call of the store, each commit, or each request.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) machines: usize,
    pub(super) documents: usize,
    pub(super) rotation: Rotation,
    pub(super) revokes_family: bool,
    pub(super) rate: Option<&'static str>,
    pub(super) concurrency: usize,
    pub(super) attempts: u32,

    pub(super) kill: f64,
    /// Does the power go with the process?
    pub(super) power: f64,
    pub(super) pause: f64,
    pub(super) stop: f64,
    pub(super) slow: f64,

    pub(super) store_away: f64,
    pub(super) store_forgets_to_answer: f64,
    pub(super) store_outage: f64,
    pub(super) disk: f64,

    pub(super) not_sent: f64,
    pub(super) lost_before: f64,
    pub(super) lost_after: f64,
    pub(super) late: f64,
    pub(super) cut: f64,
    pub(super) error_before: f64,
    pub(super) error_after: f64,
    pub(super) throttled: f64,
    pub(super) no_tokens: f64,
    pub(super) storm: f64,

    pub(super) app: f64,
    pub(super) login: f64,
    pub(super) revoke: f64,
    pub(super) delete: f64,
    /// An old copy of a document comes back; only with one machine, whose journal remembers.
    pub(super) restore: f64,
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
            documents: 1,
            rotation: Rotation::Strict,
            revokes_family: false,
            rate: None,
            concurrency: 1,
            attempts: 1,
            kill: chance([0.002, 0.01, 0.04]),
            power: chance([0.2, 0.5, 1.0]),
            pause: chance([0.001, 0.005, 0.02]),
            stop: chance([0.1, 0.3, 0.6]),
            slow: chance([0.01, 0.05, 0.2]),
            store_away: chance([0.01, 0.05, 0.2]),
            store_forgets_to_answer: chance([0.01, 0.05, 0.2]),
            store_outage: chance([0.002, 0.005, 0.01]),
            disk: chance([0.002, 0.01, 0.03]),
            not_sent: chance([0.01, 0.05, 0.2]),
            lost_before: chance([0.01, 0.05, 0.2]),
            lost_after: chance([0.01, 0.05, 0.2]),
            late: chance([0.01, 0.05, 0.1]),
            cut: chance([0.01, 0.05, 0.2]),
            error_before: chance([0.01, 0.05, 0.2]),
            error_after: chance([0.01, 0.05, 0.2]),
            throttled: chance([0.01, 0.05, 0.2]),
            no_tokens: chance([0.0, 0.002, 0.01]),
            storm: chance([0.002, 0.01, 0.03]),
            app: chance([0.2, 0.5, 1.0]),
            login: chance([0.05, 0.2, 0.5]),
            revoke: chance([0.01, 0.05, 0.1]),
            delete: chance([0.01, 0.03, 0.1]),
            restore: chance([0.05, 0.1, 0.3]) * alone,
            duplicate: chance([1.0; 3]) > 0.0 && machines == 1,
            skew: Duration::from_secs_f64(chance([0.2, 1.0, 5.0])),
        };
        weather.documents = random.random_range(1..=5);
        weather.rotation = match random.random_range(0..4) {
            0 => Rotation::Grace(Duration::from_secs(30)),
            1 => Rotation::Keep,
            _ => Rotation::Strict,
        };
        weather.revokes_family = weather.rotation != Rotation::Keep && random.random_bool(0.3);
        weather.rate = [None, None, Some("60/min"), Some("12/min")].choose(random).copied().flatten();
        weather.concurrency = random.random_range(1..=4);
        weather.attempts = random.random_range(1..=4);
        weather
    }
}
