//! How a process stands: put together from what passes left behind, and from what the watcher has asked for.

use super::Engine;
use super::survey::LastSurvey;
use crate::clock::Timestamp;
use crate::failure::error_chain;
use crate::gate::{Doing, LONGEST_WAIT_IN_A_PASS};
use crate::journal::Census;
use crate::pass::Counter;
use crate::report::Tally;
use crate::room::free_bytes;
use crate::store::{IndexState, Readiness};
use crate::survey::{NotMade, Survey};
use crate::watch::{
    EVENTS, Event, Hangs, JournalStatus, Life, OTHER, ProviderStatus, Running, Shows, Space, Standstill,
    Status, StoreStatus,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often the journal and the disk are asked.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// A count of the journal's rows that took long waits this many times as long for the next one: passes wait for that thread.
const REST: u32 = 50;

/// What costs a call, and is asked for now and then.
#[derive(Debug, Clone, Default)]
struct Known {
    census: Option<(Timestamp, Census)>,
    journal_space: Option<Space>,
    store_space: Option<Space>,
    indexes: BTreeMap<&'static str, bool>,
    survey: Option<Survey>,
    survey_not_made: Option<NotMade>,
}

/// Places whose free room is shown.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The free bytes below which nothing is redeemed.
    pub floor_bytes: u64,
    /// The folder of the embedded store's file; none for a MongoDB.
    pub store: Option<PathBuf>,
}

/// What an engine shows of itself.
#[derive(Debug)]
pub(super) struct Shown {
    life: Life,
    known: watch::Sender<Known>,
    events: broadcast::Sender<Event>,
    places: OnceLock<Places>,
    started_at: Timestamp,
    /// When the journal's rows were counted last, and how long that took.
    counted: Mutex<Option<(Instant, Duration)>>,
}

impl Shown {
    pub(super) fn new(now: Timestamp) -> Self {
        let (known, events) = (watch::Sender::default(), broadcast::Sender::new(EVENTS));
        let (life, counted) = (Life::begun(now), Mutex::default());
        Self { life, known, events, places: OnceLock::new(), started_at: now, counted }
    }

    /// Tells those who listen; where none listens, it is lost.
    pub(super) fn happened(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The store was prepared: which of our indexes does it have?
    pub(super) fn prepared(&self, readiness: &Readiness) {
        let is_there = |index: &IndexState| *index == IndexState::Ready;
        self.known.send_modify(|known| {
            known.indexes = [
                ("claims", is_there(&readiness.claims)),
                ("due", is_there(&readiness.index)),
                ("expiry", is_there(&readiness.expiry)),
            ]
            .into();
        });
    }

    /// Was the store prepared once?
    pub(super) fn is_prepared(&self) -> bool {
        !self.known.borrow().indexes.is_empty()
    }

    pub(super) const fn life(&self) -> &Life {
        &self.life
    }

    /// Is it time to count the journal's rows?
    fn counts_rows(&self) -> bool {
        let counted = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.is_none_or(|(at, took)| at.elapsed() >= took * REST)
    }

    /// They were counted; it took so long.
    fn has_counted_rows(&self, took: Duration) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), took));
    }

    /// A survey was made, or could not be made; the last one stays.
    pub(super) fn surveyed(&self, made: Result<Survey, NotMade>) {
        self.known.send_modify(|known| match made {
            Ok(survey) => (known.survey, known.survey_not_made) = (Some(survey), None),
            Err(why) => known.survey_not_made = Some(why),
        });
    }
}

impl Engine {
    /// Shows the free room of these places from now on.
    #[must_use]
    pub fn showing(self, places: Places) -> Self {
        // Once: it is put together in one place.
        let _ = self.shown.places.set(places);
        self
    }

    /// What the supervisor says of itself.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.shown.life
    }

    /// How the process stands. From memory: it asks neither store nor journal, and no pass waits for it.
    #[must_use]
    pub fn status(&self) -> Status {
        let (known, told) = (self.shown.known.borrow().clone(), self.shown.life.told());
        let (counted_at, census) =
            known.census.map_or((None, Census::default()), |(at, census)| (Some(at), census));
        let of_counter =
            |counter: &Arc<Counter>| (counter.provider.name.to_string(), provider_status(counter));
        let mut providers: BTreeMap<_, _> = self.counters.iter().map(of_counter).collect();
        if self.base.settings.documents_name_provider {
            providers.entry(OTHER.into()).or_insert_with(|| others(&self.others));
        }
        Status {
            version: env!("CARGO_PKG_VERSION"),
            collection: self.base.store.describe(),
            now: self.base.clock.now(),
            started_at: Some(self.shown.started_at),
            phase: Some(told.phase),
            since: Some(told.since),
            hangs: self.hangs(),
            next_wake_at: told.next_wake_at,
            follow_up_at: told.follow_up_at,
            wake_interval_seconds: told.wake_interval.map(|interval| interval.as_secs()),
            providers,
            journal: JournalStatus {
                id: self.base.journal.id().to_owned(),
                up: !self.base.journal.is_broken(),
                counted_at,
                entries: census.states,
                unknown_entries: census.unknown,
                oldest_sent_at: census.oldest_sent_at,
                space: known.journal_space,
            },
            store: StoreStatus {
                up: self.base.pulse.health().up,
                health: self.base.pulse.health(),
                indexes: known.indexes,
                space: known.store_space,
            },
            survey: known.survey,
            survey_not_made: known.survey_not_made,
        }
    }

    /// Why the process hangs, if it does.
    fn hangs(&self) -> Option<Hangs> {
        let store_is_away = self.base.pulse.health().up == Some(false);
        let still = |counter: &Arc<Counter>| {
            let (_, _, _, lasts) = counter.tally.running()?;
            let gate = counter.gate.status();
            let is_known = store_is_away || !matches!(gate.doing, Doing::Open | Doing::Unproven);
            let profile = &counter.provider.profile;
            let pace = profile.rate.map(|rate| rate.period().div_f64(gate.factor)).unwrap_or_default();
            let rest = profile.settle_after.max(LONGEST_WAIT_IN_A_PASS) + profile.request_timeout;
            Some(Standstill { provider: counter.provider.name.to_string(), lasts, pace, rest, is_known })
        };
        let standstills: Vec<_> = self.counters.iter().filter_map(still).collect();
        self.shown.life.hangs(&standstills)
    }

    /// What happens to passes from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shown.events.subscribe()
    }

    /// Tells those who listen that no pass could begin, where none did: one that began has told how it ended.
    pub fn could_not_begin(&self) {
        let started_at = self.base.clock.now();
        for counter in self.counters.iter().filter(|counter| counter.tally.counts().results.is_empty()) {
            counter.tally.pass_ended(None);
            let provider = counter.provider.name.clone();
            self.shown.happened(Event::Ended { provider, started_at, record: None });
        }
    }

    /// Asks the journal and the disk now and then, until `ended`: what it finds is in each [status](Self::status). Cancel-safe.
    pub async fn keep_watch(self, ended: CancellationToken) {
        let mut events = self.events();
        self.recall_passes().await;
        let (mut last, mut is_new) = (LastSurvey::default(), false);
        loop {
            self.look_around().await;
            self.survey_now_and_then(&mut last, is_new).await;
            // A pass that has ended is shown at once; what happened while it was asked is in the answer.
            is_new = match ended.run_until_cancelled(tokio::time::timeout(ASK_EVERY, events.recv())).await {
                Some(Ok(happened)) => matches!(happened, Ok(Event::Ended { .. }) | Err(_)),
                Some(Err(_)) => false,
                None => return,
            };
        }
    }

    /// Asks the journal and the disk once.
    pub async fn look_around(&self) {
        let census = if self.shown.counts_rows() { self.count_rows().await } else { None };
        let places = self.shown.places.get().cloned().unwrap_or_default();
        let directory = self.base.journal.directory().to_owned();
        let spaces = tokio::task::spawn_blocking(move || {
            let space = |place: &Path| {
                Some(Space { free_bytes: free_bytes(place).ok()?, floor_bytes: places.floor_bytes })
            };
            (space(&directory), places.store.as_deref().and_then(space))
        });
        let (journal_space, store_space) = spaces.await.unwrap_or_default();
        self.shown.known.send_modify(|known| {
            known.census = census.or(known.census.take());
            (known.journal_space, known.store_space) = (journal_space, store_space);
        });
    }

    async fn count_rows(&self) -> Option<(Timestamp, Census)> {
        let began = Instant::now();
        self.shown.life.asks_journal();
        let census = self.base.journal.census().await;
        self.shown.life.journal_answered();
        self.shown.has_counted_rows(began.elapsed());
        match census {
            Ok(census) => Some((self.base.clock.now(), census)),
            // One that has failed has told so, and ends the process.
            Err(error) => {
                debug!(error = %error_chain(&error), "the journal's rows can't be counted");
                None
            }
        }
    }

    /// How the last passes of earlier processes ended: a restart must not look as if none ever came through.
    pub async fn recall_passes(&self) {
        let tallies = self.counters.iter().map(|counter| (counter.provider.name.clone(), &counter.tally));
        for (name, tally) in tallies.chain([("".into(), &self.others)]) {
            match self.base.journal.last_passes(&name).await {
                Ok(last) => {
                    let last = last.known_at(self.base.clock.now());
                    let record = last.record.as_deref().and_then(|json| serde_json::from_str(json).ok());
                    tally.recall(record, last.complete_at);
                }
                Err(error) => {
                    debug!(error = %error_chain(&error), "how the last pass ended can't be read");
                    return;
                }
            }
        }
    }
}

#[async_trait]
impl Shows for Engine {
    fn status(&self) -> Status {
        Self::status(self)
    }

    async fn look_around(&self) {
        Self::look_around(self).await;
    }
}

fn provider_status(counter: &Counter) -> ProviderStatus {
    let (gate, rate) = (counter.gate.status(), counter.provider.profile.rate);
    ProviderStatus {
        state: Some(gate.doing),
        paused_for_seconds: gate.paused_for.map(|left| left.as_secs_f64()),
        in_flight: gate.in_flight as u64,
        rate_factor: gate.factor,
        budget_used: gate.budget_used,
        rate: rate.map(|rate| (rate.grants.get(), rate.window.as_secs_f64())),
        pauses: gate.pauses,
        ..others(&counter.tally)
    }
}

/// What is counted where no provider is asked.
fn others(tally: &Tally) -> ProviderStatus {
    let counts = tally.counts();
    let running = tally.running().map(|(started_at, due, progress, _)| Running {
        started_at,
        due,
        done: progress.done,
        refreshed: progress.refreshed,
        needs_login: progress.needs_login,
    });
    ProviderStatus {
        last_granted_at: counts.last_granted_at,
        running,
        last_pass: counts.last.clone(),
        last_complete_pass_at: counts.last_complete_at,
        counts,
        ..ProviderStatus::unknown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_count_of_the_rows_that_takes_long_rests() {
        let shown = Shown::new(Timestamp::default());
        assert!(shown.counts_rows());
        shown.has_counted_rows(Duration::ZERO);
        assert!(shown.counts_rows(), "after each pass, where that costs nothing");
        shown.has_counted_rows(Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(49)).await;
        assert!(!shown.counts_rows());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(shown.counts_rows());
    }
}
