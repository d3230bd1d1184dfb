//! What all passes of a process work with, and the counters at which providers are asked.

use super::PassSettings;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::gate::Gate;
use crate::grant::http::ClientError;
use crate::grant::{Connect, Wire};
use crate::journal::{Journal, JournalError};
use crate::provider::Provider;
use crate::provider::learned::Learned;
use crate::provider::memory::Memory;
use crate::report::Tally;
use crate::schedule::{ASSUMED_LIFE, Schedule, TooShort};
use crate::store::{ProviderFilter, Pulse, Store, Watched};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What all passes of a process work with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Base {
    /// Where the documents are.
    pub store: Arc<dyn Store>,
    /// How it has answered.
    pub pulse: Pulse,
    /// Where answers are kept until they are written back.
    pub journal: Journal,
    /// All configured providers; at least one.
    pub providers: Arc<[Arc<Provider>]>,
    /// Settings.
    pub settings: Arc<PassSettings>,
    /// The time: the store's, once it was asked, where it has a clock of its own.
    pub clock: Clock,
    /// Jitter and lease ids.
    pub chance: Chance,
    /// Was it said that the store is away? Every call that waits for it finds out by itself.
    pub(super) store_is_away: Arc<AtomicBool>,
    /// Was it said that the machine's clock is wrong?
    pub(super) has_told_of_clock: Arc<AtomicBool>,
}

impl Base {
    /// Puts it together.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        journal: Journal,
        providers: Vec<Arc<Provider>>,
        settings: PassSettings,
        clock: Clock,
        chance: Chance,
    ) -> Self {
        let (providers, settings) = (providers.into(), Arc::new(settings));
        let pulse = Pulse::default();
        Self {
            store: Arc::new(Watched::new(store, pulse.clone())),
            pulse,
            journal,
            providers,
            settings,
            clock,
            chance,
            store_is_away: Arc::default(),
            has_told_of_clock: Arc::default(),
        }
    }

    /// Which documents are of this provider.
    pub(super) fn filter(&self, provider: &Provider) -> ProviderFilter {
        if self.settings.documents_name_provider {
            ProviderFilter::Named(provider.name.to_string())
        } else {
            ProviderFilter::Any
        }
    }

    /// The names of all configured providers.
    pub(super) fn provider_names(&self) -> Vec<String> {
        self.providers.iter().map(|provider| provider.name.to_string()).collect()
    }
}

/// Where one provider is asked: by which gate, over which wire. It lives as long as the process, so that a pause, a slowed
/// rate and an outage outlive the pass that met them.
#[derive(Debug)]
pub struct Counter {
    /// Who is asked.
    pub provider: Arc<Provider>,
    /// How fast.
    pub gate: Arc<Gate>,
    /// What its passes have done since the process began.
    pub tally: Arc<Tally>,
    pub(super) wire: Arc<dyn Wire>,
    /// One pass of a provider at a time: what the journal holds of it between two passes is in no task's hand.
    pub(crate) at_work: tokio::sync::Mutex<()>,
    /// What the journal holds of it.
    noted: Mutex<Noted>,
    /// The lives that its answers have told.
    learned: Mutex<Learned>,
    /// Do its passes begin by what is due, because a life is too short for the schedule?
    by_due: AtomicBool,
    /// Are all of its documents known to fall due in time for their access tokens?
    pub(super) keeps_in_time: AtomicBool,
    /// When a pass has looked for void due dates last.
    void_dates: Mutex<Option<Instant>>,
    /// Did its last pass leave something undone, in the store or in the journal?
    pub(crate) left_something: AtomicBool,
}

/// What the journal holds of a counter.
#[derive(Debug, Clone, Copy, Default)]
enum Noted {
    /// It wasn't looked up yet.
    #[default]
    Unknown,
    Nothing,
    This(Memory),
}

impl Counter {
    /// Opens it.
    ///
    /// # Errors
    /// [`ClientError`] when there can be no HTTPS client.
    pub fn open(provider: Arc<Provider>, connect: &dyn Connect, clock: &Clock) -> Result<Self, ClientError> {
        let wire = connect.connect(&provider, clock)?;
        let gate = Gate::new(provider.profile.rate, provider.profile.concurrency);
        Ok(Self {
            provider,
            gate,
            tally: Arc::default(),
            wire,
            at_work: tokio::sync::Mutex::default(),
            noted: Mutex::default(),
            learned: Mutex::default(),
            by_due: AtomicBool::default(),
            keeps_in_time: AtomicBool::default(),
            void_dates: Mutex::default(),
            left_something: AtomicBool::default(),
        })
    }
}

impl Counter {
    /// Goes on, before the first pass, with the pause, the slowed rate or the outage that an earlier process has met.
    ///
    /// # Errors
    /// [`JournalError`] when the journal can't be read.
    pub async fn recall(&self, base: &Base) -> Result<(), JournalError> {
        if !matches!(*self.noted(), Noted::Unknown) {
            return Ok(());
        }
        let memory = base.journal.standing_of(&self.provider.name).await?;
        if let Some(memory) = memory {
            self.gate.recall(memory, base.clock.now());
            self.learn(memory.learned);
        }
        *self.noted() = memory.map_or(Noted::Nothing, Noted::This);
        Ok(())
    }

    /// Notes these for the next process.
    pub(super) async fn note(&self, base: &Base) -> Result<(), JournalError> {
        let memory = Memory { learned: self.learned(), ..self.gate.memory(base.clock.now()) };
        let memory = Some(memory).filter(|memory| !memory.is_plain());
        let is_noted = match (&memory, *self.noted()) {
            (None, Noted::Nothing) => true,
            (Some(memory), Noted::This(noted)) => memory.says_as_much_as(&noted),
            _ => false,
        };
        if is_noted {
            return Ok(());
        }
        base.journal.set_standing_of(&self.provider.name, memory).await?;
        *self.noted() = memory.map_or(Noted::Nothing, Noted::This);
        Ok(())
    }

    /// Takes note of the lives that answers have told.
    pub(super) fn learn(&self, lives: Learned) {
        // One word, as below.
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        *learned = lives.or(*learned);
    }

    /// The shortest lives by the answers of the last pass that told any; known once it was [recalled](Self::recall).
    #[must_use]
    pub fn learned(&self) -> Learned {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is a life that its answers told too short for this schedule?
    #[must_use]
    pub fn too_short(&self, base: &Base, schedule: &Schedule) -> Option<TooShort> {
        let (renew_after, now) = (base.settings.renew_after, base.clock.now());
        self.learned().too_short(&self.provider.profile, schedule, renew_after, now)
    }

    /// Its passes begin by what is due from now on, or by the schedule alone.
    pub fn go_by_due(&self, by_due: bool) {
        self.by_due.store(by_due, Ordering::Relaxed);
    }

    /// The life that a refresh token of unknown life is taken to have: without one it would be due at each pass, and those come
    /// often where they go by what is due.
    pub(super) fn assumed_life(&self) -> Option<Duration> {
        let by_due = self.by_due.load(Ordering::Relaxed);
        by_due.then(|| self.learned().refresh.unwrap_or(ASSUMED_LIFE))
    }

    /// When a pass has looked for void due dates last.
    pub(super) fn void_dates(&self) -> Option<Instant> {
        *self.void_dates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass has looked for void due dates.
    pub(super) fn looked_for_void_dates(&self) {
        *self.void_dates.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // One word: a panic elsewhere leaves it whole.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose documents a pass works on.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Those of one provider.
    Provider(Arc<Counter>),
    /// Those whose provider isn't configured: they are named.
    Strangers,
    /// None: what earlier processes left in the journal, and what a person does by hand.
    Rows,
}

impl Whose {
    /// The provider that is asked.
    #[must_use]
    pub fn counter(&self) -> Option<&Arc<Counter>> {
        match self {
            Self::Provider(counter) => Some(counter),
            Self::Strangers | Self::Rows => None,
        }
    }

    /// Under which name the journal notes the pass: no provider has an empty name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.counter().map_or_else(|| "".into(), |counter| counter.provider.name.clone())
    }
}
