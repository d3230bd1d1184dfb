//! The world of one run: what everybody shares, what happens to a process at each of its steps, and what was seen.

use super::bugs::Bug;
use super::elsewhere::{Copied, Place};
use super::lapse::Lapses;
use super::ledger::{Ledger, Reached, Redemption, Who};
use super::peer::Storm;
use super::rare::Rare;
use super::weather::Weather;
use evergrant::testing::clock::{Clock, Timestamp};
use evergrant::testing::journal::simulated::Disk;
use evergrant::testing::token::Bookkeeping;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The place of the second document that holds the token of the first one.
pub(super) const DUPLICATE: usize = 99;

/// The name of a provider.
pub(super) fn name_of(provider: usize) -> String {
    format!("simulated-{provider}")
}

/// A token document.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) user: usize,
    /// The provider that it names; none where there is one provider, and where it names none.
    pub(super) provider: Option<String>,
    /// The place of its refresh token in the ledger.
    pub(super) refresh: usize,
    /// The place of the token that its access token came with.
    pub(super) access: usize,
    pub(super) bookkeeping: Bookkeeping,
}

/// An answer that a test has written: nothing was processed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'static str>,
    pub(super) body: &'static str,
}

/// A machine with its disk; processes on it come and go.
pub(super) struct Machine {
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// The number of the process that runs on it, or ran last.
    pub(super) life: u64,
    pub(super) alive: bool,
    pub(super) paused_until: Option<Instant>,
    pub(super) died: Arc<Notify>,
    pub(super) away: Away,
    /// The id of its journal, once a process has opened it.
    pub(super) journal: String,
    /// What it finds in the place of the collection, where it is a copy of another machine.
    pub(super) copied: Option<Copied>,
    /// In the worlds of an upgrade: has a process of this version been there?
    pub(super) is_upgraded: bool,
}

impl Machine {
    pub(super) fn new(clock: Clock, disk: Disk) -> Self {
        Self {
            disk,
            clock,
            life: 0,
            alive: false,
            paused_until: None,
            died: Arc::new(Notify::new()),
            away: Away::No,
            journal: String::new(),
            copied: None,
            is_upgraded: false,
        }
    }
}

/// Is a machine there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    No,
    Until(Instant),
    ForGood,
}

impl Away {
    pub(super) fn is_there(self) -> bool {
        match self {
            Self::No => true,
            Self::Until(until) => until <= Instant::now(),
            Self::ForGood => false,
        }
    }
}

/// What a process last saw of a document: which token, when, and until when its claim lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) refresh: usize,
    pub(super) lease_until: Option<Instant>,
    /// When the store's answer had come.
    pub(super) seen_at: Instant,
}

pub(super) struct Inner {
    /// The time that the store tells, and judges claims by.
    pub(super) store_clock: Clock,
    pub(super) random: StdRng,
    pub(super) weather: Weather,
    pub(super) rare: Rare,
    pub(super) place: Place,
    /// When the store's clock has leapt, and by how much.
    pub(super) leaps: Vec<(Instant, chrono::TimeDelta)>,
    pub(super) bug: Option<Bug>,
    pub(super) calm: bool,
    pub(super) documents: BTreeMap<usize, Document>,
    pub(super) ledger: Ledger,
    pub(super) machines: Vec<Machine>,
    pub(super) looks: BTreeMap<(usize, u64, usize), Look>,
    /// Tokens that a journal keeps, and no document ever held.
    pub(super) in_journals: BTreeSet<usize>,
    /// Tokens whose requests were answered for good, by the process that hasn't journaled it yet.
    pub(super) answered: BTreeMap<(usize, u64), Vec<usize>>,
    pub(super) store_down_until: Option<Instant>,
    /// The next answers to each user's requests, where they are not drawn.
    pub(super) scripts: BTreeMap<usize, VecDeque<Script>>,
    /// When each user's token was sent.
    pub(super) asked: BTreeMap<usize, Vec<Instant>>,
    /// Of each provider.
    pub(super) storms: Vec<Option<(Storm, Instant)>>,
    /// Providers, by name, of which a pass in calm weather says that their refusals aren't believed.
    pub(super) doubted: BTreeSet<String>,
    pub(super) lapses: Lapses,
    /// Living users that were marked for refusals.
    pub(super) wrong_marks: u64,
    pub(super) faults: u64,
    pub(super) passes: u64,
    pub(super) kills: u64,
    began: Instant,
    trace: Option<Vec<String>>,
    pub(super) violation: Option<String>,
}

/// The world; one thread only, and its lock is never held across an await.
pub(super) struct World {
    inner: Mutex<Inner>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>, traced: bool) -> Arc<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let weather = Weather::of(&mut random);
        let start: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let machine = |number: usize| {
            let clock = Clock::simulated(start);
            let skew = chrono::TimeDelta::from_std(weather.skew).unwrap_or_default();
            clock.set_machine_ahead(if number == 0 { chrono::TimeDelta::zero() } else { skew });
            Machine::new(clock, Disk::default())
        };
        let mut inner = Inner {
            machines: (0..weather.machines).map(machine).collect(),
            ledger: Ledger::new(weather.peers.iter().map(|peer| peer.rules).collect()),
            store_clock: Clock::simulated(start),
            rare: Rare::default(),
            place: Place::default(),
            leaps: Vec::new(),
            bug,
            calm: false,
            documents: BTreeMap::new(),
            looks: BTreeMap::new(),
            in_journals: BTreeSet::new(),
            answered: BTreeMap::new(),
            store_down_until: None,
            scripts: BTreeMap::new(),
            asked: BTreeMap::new(),
            storms: vec![None; weather.peers.len()],
            doubted: BTreeSet::new(),
            lapses: Lapses::default(),
            wrong_marks: 0,
            faults: 0,
            passes: 0,
            kills: 0,
            began: Instant::now(),
            trace: traced.then(Vec::new),
            violation: None,
            weather,
            random,
        };
        inner.settle_in();
        Arc::new(Self { inner: Mutex::new(inner) })
    }

    /// Does something with the world; nobody else is in it meanwhile.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    /// A wait between two steps: mostly short.
    pub(super) async fn some_time(&self) {
        let wait = self.with(|world| {
            let slow = world.weather.slow;
            let most = if !world.calm && world.happens(slow) { 20_000 } else { 20 };
            Duration::from_millis(world.random.random_range(0..=most))
        });
        tokio::time::sleep(wait).await;
    }
}

impl Inner {
    fn settle_in(&mut self) {
        let peers = self.weather.peers.len();
        for user in 0..self.weather.documents * peers {
            self.add_user(user, user % peers);
            if self.weather.duplicate && user == 0 {
                self.documents.insert(DUPLICATE, self.documents[&user].clone());
            }
        }
    }

    /// A user with a document, logged in at this provider.
    pub(super) fn add_user(&mut self, user: usize, provider: usize) {
        let refresh = self.ledger.login(user, provider);
        self.ledger.tokens[refresh].written = true;
        let (provider, bookkeeping) = (self.name_for(refresh), Bookkeeping::default());
        self.documents.insert(user, Document { user, provider, refresh, access: refresh, bookkeeping });
    }

    /// What the document of this token names as its provider.
    pub(super) fn name_for(&self, token: usize) -> Option<String> {
        self.weather.several().then(|| name_of(self.ledger.provider_of(token)))
    }

    /// Does a document name the provider of its token, where documents name theirs?
    pub(super) fn is_named_well(&self, document: &Document) -> bool {
        document.provider == self.name_for(document.refresh)
    }

    /// Draws whether something of this chance happens now; never once it is calm.
    pub(super) fn happens(&mut self, chance: f64) -> bool {
        let happens = !self.calm && chance > 0.0 && self.random.random_bool(chance);
        self.faults += u64::from(happens);
        happens
    }

    /// Notes what happened, for whoever reads the trace of a failing seed.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} s  {}", self.began.elapsed().as_secs_f64(), text()));
        }
    }

    /// Notes that an invariant doesn't hold; the first one counts.
    pub(super) fn violated(&mut self, what: String) {
        self.note(|| format!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }

    pub(super) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Is this token in an answer that some machine's disk keeps whatever happens? What a copy of a disk holds is of no use here.
    pub(super) fn in_a_journal(&self, token: usize) -> bool {
        let text = format!("\"{}\"", self.ledger.text(token));
        self.machines.iter().any(|machine| machine.copied.is_none() && machine.disk.holds(&text))
    }

    /// What a journal kept it must keep until a document had it.
    pub(super) fn check_kept(&mut self) {
        let lost = self.in_journals.iter().copied().find(|token| !self.in_a_journal(*token));
        if let Some(token) = lost {
            self.in_journals.remove(&token);
            self.violated(format!(
                "KEPT: rt-{token} was in a journal, and is in no journal and no document now"
            ));
        }
    }

    /// A power cut took intents of this machine, which aren't synced: that costs the label of a loss, and nothing else.
    pub(super) fn forget_intents(&mut self, machine: usize) {
        for token in &mut self.ledger.tokens {
            let mine = |success: &Redemption| matches!(success.by, Who::Process(by, _) if by == machine);
            token.memory_lost |= token.in_doubt > 0 || token.redemptions.iter().any(mine);
        }
    }

    /// A process has ended: an intent that is open now, or again, may never have been sent, and nobody can know.
    pub(super) fn doubt_what_is_open(&mut self, machine: usize) {
        let open = self.machines[machine].disk.open_rows();
        for (place, document) in &self.documents {
            if open.iter().any(|(of, _)| of == super::collection::id_of(*place).as_str()) {
                self.ledger.tokens[document.refresh].in_doubt += 1;
            }
        }
    }

    /// A document holds this token now.
    pub(super) fn wrote(&mut self, token: usize) {
        self.ledger.tokens[token].written = true;
        self.in_journals.remove(&token);
        if let Some(birth) = self.ledger.birth(token) {
            birth.reached = Reached::Kept;
        }
    }
}
