//! One provider of a simulation: its rules, its pace, and what can go wrong on the way to it. Drawn from the seed.

use super::ledger::{Rotation, Rules};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, rngs::StdRng};
use std::time::Duration;

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
    /// It refuses that share of the living users, in percent, always the same ones; the others it grants.
    Refuses(u32),
}

/// Chances in `[0, 1]`, of each request.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) rules: Rules,
    /// Does it punish each second request for a token, so that none is sent?
    pub(super) never: bool,
    pub(super) rate: Option<&'static str>,
    pub(super) concurrency: usize,
    /// Longest time that it takes for an answer.
    pub(super) takes: Duration,

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
    /// It begins to refuse living tokens, for a while.
    pub(super) lapse: f64,
}

impl Peer {
    pub(super) fn of(random: &mut StdRng) -> Self {
        let rotation = match random.random_range(0..4) {
            0 => Rotation::Grace(Duration::from_secs(30)),
            1 => Rotation::Keep,
            _ => Rotation::Strict,
        };
        let revokes_family = rotation != Rotation::Keep && random.random_bool(0.3);
        let rate = [None, None, Some("60/min"), Some("12/min")].choose(random).copied().flatten();
        let concurrency = random.random_range(1..=4);
        let mut chance = |chances: [f64; 3]| {
            if random.random_bool(0.6) { 0.0 } else { *chances.choose(random).expect("three") }
        };
        Self {
            rules: Rules { rotation, revokes_family },
            never: false,
            rate,
            concurrency,
            takes: Duration::ZERO,
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
            lapse: chance([0.005, 0.02, 0.05]),
        }
    }
}
