//! How a process stands, as one value: `/status.json` is this, and metrics are made of it.

use super::Hangs;
use crate::clock::Timestamp;
use crate::gate::{Doing, Pauses};
use crate::journal::EntryState;
use crate::report::{Counts, PassRecord};
use crate::store::Health;
use crate::survey::{NotMade, Survey};
use crate::token::vocabulary;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

vocabulary! {
    /// What a process is doing.
    Phase {
        Starting = "starting":
            "It connects to the store, and settles what earlier processes left.",
            "Nothing to do. If it lasts, look at the log: the store may be away.";
        Sleeping = "sleeping":
            "It waits for the next wake.",
            "Nothing to do.";
        Passing = "passing":
            "A pass runs.",
            "Nothing to do.";
        Stopping = "stopping":
            "It was asked to stop, takes no more tokens, and waits for the answers to requests that were sent.",
            "Nothing to do. A second signal gives these answers up.";
    }
}

/// How a process stands. Holds no token, no secret, and no name of a user.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The version of Evergrant.
    pub version: &'static str,
    /// The collection and its store.
    pub collection: String,
    /// The time now, by the store's clock where it has one.
    pub now: Timestamp,
    /// When the process began; none where no process tells it, as for what it is doing.
    pub started_at: Option<Timestamp>,
    /// What it is doing.
    #[serde(serialize_with = "phase_or_null")]
    pub phase: Option<Phase>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why it hangs, if it does.
    #[serde(serialize_with = "text_or_null")]
    pub hangs: Option<Hangs>,
    /// The next wake of the schedule; none where passes begin by what is due alone, and for one pass by hand.
    pub next_wake_at: Option<Timestamp>,
    /// When the next pass follows one that left something due; none when none is planned.
    pub follow_up_at: Option<Timestamp>,
    /// The longest time between two wakes in the coming year, in seconds.
    pub wake_interval_seconds: Option<u64>,
    /// Each provider, by its name. Documents of no configured provider stand under `other`.
    pub providers: BTreeMap<String, ProviderStatus>,
    /// The journal in the state directory.
    pub journal: JournalStatus,
    /// The store.
    pub store: StoreStatus,
    /// How many tokens stand how, and when logins end if nothing more is refreshed; none before the first survey.
    pub survey: Option<Survey>,
    /// Why there is no newer one, where that is so.
    pub survey_not_made: Option<NotMade>,
}

impl Status {
    /// Does a pass run, or does the process settle what is on its way? What is in the journal then is no remainder.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        let runs = self.providers.values().any(|of| of.running.is_some());
        runs || matches!(self.phase, Some(Phase::Starting | Phase::Passing | Phase::Stopping))
    }
}

/// How one provider stands.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderStatus {
    /// What its gate lets through; after a pass: as that ended. None for documents of no configured provider.
    #[serde(serialize_with = "word_or_null")]
    pub state: Option<Doing>,
    /// How long nothing is sent, in seconds: it asked for a pause, or it gave no usable answers and is tried again then.
    pub paused_for_seconds: Option<f64>,
    /// Token requests that wait for their answer.
    pub in_flight: u64,
    /// Share of the rate that is used, after the provider throttled us.
    pub rate_factor: f64,
    /// Share of the requests that the rate allows in its window, which was used in the last one; none without a rate.
    pub budget_used: Option<f64>,
    /// The rate, as requests and the seconds of their window; none without one.
    pub rate: Option<(u32, f64)>,
    /// When a token was granted last in this process.
    pub last_granted_at: Option<Timestamp>,
    /// The pass that runs.
    pub running: Option<Running>,
    /// How the last pass ended, of this process or an earlier one.
    pub last_pass: Option<PassRecord>,
    /// When a pass last came through everything that was due.
    pub last_complete_pass_at: Option<Timestamp>,
    /// Counts since the process began.
    #[serde(skip)]
    pub counts: Counts,
    /// Pauses since the process began.
    #[serde(skip)]
    pub pauses: Pauses,
}

impl ProviderStatus {
    /// One of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            state: None,
            paused_for_seconds: None,
            in_flight: 0,
            rate_factor: 1.0,
            budget_used: None,
            rate: None,
            last_granted_at: None,
            running: None,
            last_pass: None,
            last_complete_pass_at: None,
            counts: Counts::default(),
            pauses: Pauses::default(),
        }
    }
}

/// A pass that runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Running {
    /// When it began.
    pub started_at: Timestamp,
    /// Documents that were due then, as far as they are counted.
    pub due: Option<u64>,
    /// Documents that reached their end.
    pub done: u64,
    /// Of these: with a new pair.
    pub refreshed: u64,
    /// Of these: users who must log in again.
    pub needs_login: u64,
}

/// How the journal stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalStatus {
    /// Its id: the same over restarts, and in the claims of its passes. Empty where there is no journal yet.
    pub id: String,
    /// Does it take answers? One that has failed ends the process.
    pub up: bool,
    /// When it was last counted.
    pub counted_at: Option<Timestamp>,
    /// Rows by their state.
    #[serde(serialize_with = "states")]
    pub entries: BTreeMap<EntryState, u64>,
    /// Rows that this version can't tell the state of.
    pub unknown_entries: u64,
    /// When the token of the oldest row was sent.
    pub oldest_sent_at: Option<Timestamp>,
    /// The room of the state directory.
    pub space: Option<Space>,
}

/// The room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Free bytes below which no token is redeemed.
    pub floor_bytes: u64,
}

/// How the store stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreStatus {
    /// Did its last call answer? None before the first one.
    pub up: Option<bool>,
    /// Calls that failed, by what was wrong.
    #[serde(rename = "errors", serialize_with = "errors")]
    pub health: Health,
    /// Indexes of ours, and whether each is there; known once the store was prepared.
    pub indexes: BTreeMap<&'static str, bool>,
    /// The room for the embedded store's file; none for a MongoDB.
    pub space: Option<Space>,
}

fn phase_or_null<S: Serializer>(phase: &Option<Phase>, serializer: S) -> Result<S::Ok, S::Error> {
    phase.map(Phase::word).serialize(serializer)
}

fn text_or_null<S: Serializer>(hangs: &Option<Hangs>, serializer: S) -> Result<S::Ok, S::Error> {
    hangs.as_ref().map(ToString::to_string).serialize(serializer)
}

fn word_or_null<S: Serializer>(doing: &Option<Doing>, serializer: S) -> Result<S::Ok, S::Error> {
    doing.map(Doing::word).serialize(serializer)
}

fn states<S: Serializer>(entries: &BTreeMap<EntryState, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let count = |state| (EntryState::word(state), entries.get(&state).copied().unwrap_or_default());
    serializer.collect_map(EntryState::ALL.into_iter().map(count))
}

fn errors<S: Serializer>(health: &Health, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Health::KINDS.iter().zip(health.errors))
}
