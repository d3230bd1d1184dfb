//! The gate of one provider: rate, in-flight limit, `Retry-After` pause, canary, breaker, and the door to the sink.
//!
//! One dispatcher waits at the gate; the tasks that it lets through report what the provider answered. Policy is in the
//! constants, state in one struct behind a lock, waiting in [`Gate::enter`].

mod pace;
mod refusals;

use crate::provider::rate::Rate;
use pace::Pace;
use refusals::Refusals;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use refusals::{Answers, History, Standing, Suspicion};

/// Pause after a throttled answer that names no time.
const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// Failures in a row that make an outage: fewer are bad luck with a provider that fails now and then.
const OUTAGE_FAILURES: u32 = 8;

/// First wait of an outage; it doubles with each failed probe.
const FIRST_OUTAGE_WAIT: Duration = Duration::from_secs(1);

/// Longest wait between two probes of an outage.
const LONGEST_OUTAGE_WAIT: Duration = Duration::from_mins(1);

/// An outage that lasts longer ends the pass: what is due stays due, and the next wake tries again.
const OUTAGE_PATIENCE: Duration = Duration::from_mins(5);

/// A provider that asked for pauses and answered nothing else for so long is out: three of the longest pauses.
///
/// What is due stays due, and the next wake tries again; until then nobody waits for a pass that doesn't end.
const THROTTLED_PATIENCE: Duration = Duration::from_mins(30);

/// Client rejections in a row that stop the provider: the client registration is wrong, and asking on would only fail
/// user after user.
const CLIENT_REJECTIONS: u32 = 3;

/// What an answer says about the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It works, and knows our client: a grant, or a well-formed refusal of one token.
    Works {
        /// Was it a grant? Only a grant ends the canary.
        granted: bool,
    },
    /// It works, and refuses a token of which nothing bad was known.
    Refused {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
    },
    /// It asks for a pause, for so long if it said.
    Throttled(Option<Duration>),
    /// No use was to be had: not reached, failed, or nobody knows.
    Failed,
    /// It doesn't accept our client.
    ClientRejected {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
    },
    /// It wasn't asked.
    NotAsked,
}

/// Why a provider gets no more grants in this pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Stopped {
    /// It rejected the client so often in a row that it is our fault.
    ClientRejected {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
    },
    /// It refused so many tokens that this is more likely our fault than their users' fate.
    Refusals(Suspicion),
    /// It failed for longer than a pass waits.
    Outage,
    /// The journal or the store can keep no more answers.
    CannotKeep,
}

/// What [`Gate::enter`] gave.
#[derive(Debug)]
pub enum Entered {
    /// Send one grant.
    Go(Permit),
    /// Send none any more.
    Stopped(Stopped),
}

/// What a person may want to know of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// Grants out now.
    pub in_flight: usize,
    /// How long the provider still pauses us.
    pub paused_for: Option<Duration>,
    /// Share of the full rate.
    pub factor: f64,
    /// Is the sink full or the store down?
    pub closed: bool,
}

/// The gate of one provider in one pass.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    concurrency: NonZeroUsize,
    limited: bool,
    in_flight: usize,
    /// No grant yet: one at a time, so that a mistake of ours costs one token and not a pool of them.
    canary: bool,
    paused_until: Option<Instant>,
    closed: bool,
    failures: u32,
    outage: Option<Outage>,
    /// Since when it has only asked for pauses.
    throttled_since: Option<Instant>,
    client_rejections: u32,
    refusals: Refusals,
    stopped: Option<Stopped>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    wait: Duration,
    last_probe: Instant,
}

/// What stands between a token and the provider.
#[derive(Debug)]
enum Wait {
    Until(Instant),
    Change,
}

impl Gate {
    /// A gate for `rate` and at most `concurrency` grants at once, with the canary still to come.
    #[must_use]
    pub fn new(rate: Option<Rate>, concurrency: NonZeroUsize) -> Arc<Self> {
        let state = State {
            pace: Pace::new(rate, Instant::now()),
            concurrency,
            limited: rate.is_some(),
            in_flight: 0,
            canary: true,
            paused_until: None,
            closed: false,
            failures: 0,
            outage: None,
            throttled_since: None,
            client_rejections: 0,
            refusals: Refusals::default(),
            stopped: None,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// Waits until one grant may be sent. Cancel-safe: a wait that is dropped has taken nothing.
    pub async fn enter(self: &Arc<Self>) -> Entered {
        loop {
            let changed = self.changed.notified();
            let now = Instant::now();
            let wait = {
                let mut state = self.lock();
                if let Some(stopped) = &state.stopped {
                    return Entered::Stopped(stopped.clone());
                }
                match state.take(now) {
                    Ok(number) => {
                        return Entered::Go(Permit {
                            gate: self.clone(),
                            number,
                            sent: now,
                            answered: false,
                        });
                    }
                    Err(wait) => wait,
                }
            };
            match wait {
                Wait::Until(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                Wait::Change => changed.await,
            }
        }
    }

    /// Closes the door while the sink can't keep what would be redeemed.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Opens the door again.
    pub fn open(&self) {
        self.lock().closed = false;
        self.changed.notify_one();
    }

    /// Lets nothing through any more in this pass.
    pub fn stop(&self, why: Stopped) {
        self.lock().stopped.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Holds refusals against what earlier passes saw; with `accepted` a person says that they are to be believed.
    pub fn expect(&self, history: History, accepted: bool) {
        self.lock().refusals.expect(history, accepted);
    }

    /// How the refusals stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().refusals.standing()
    }

    /// Judges the refusals of a provider that has granted nobody anything, when no more answers are waited for.
    #[must_use]
    pub fn judge_without_grants(&self) -> Standing {
        let mut state = self.lock();
        if let Some(suspicion) = state.refusals.judge_without_grants() {
            state.stopped.get_or_insert(Stopped::Refusals(suspicion));
        }
        state.refusals.standing()
    }

    /// The history with this pass in it; none when there is nothing to add, or its refusals aren't believed.
    #[must_use]
    pub fn history_after(&self) -> Option<History> {
        self.lock().refusals.history_after()
    }

    /// Why nothing goes through any more, if so.
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        self.lock().stopped.clone()
    }

    /// Has no grant gone well yet in this pass?
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.lock().canary
    }

    /// How it stands, for people.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.lock();
        let now = Instant::now();
        Status {
            in_flight: state.in_flight,
            paused_for: state
                .paused_until
                .map(|until| until.saturating_duration_since(now))
                .filter(|p| !p.is_zero()),
            factor: state.pace.factor(),
            closed: state.closed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data: a panic elsewhere while it was held leaves nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to send one grant; given back when it is dropped, after its outcome is in the sink's hands.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    number: u64,
    sent: Instant,
    answered: bool,
}

impl Permit {
    /// Notes that the POST is over: the request can't reach the provider any later.
    pub fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            self.gate.lock().pace.answered(self.number, Instant::now());
        }
    }

    /// Reports what the provider answered.
    pub fn signal(&mut self, signal: Signal) {
        self.answered();
        self.gate.lock().signal(signal, self.sent, Instant::now());
        self.gate.changed.notify_one();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.answered();
        self.gate.lock().in_flight -= 1;
        self.gate.changed.notify_one();
    }
}

impl State {
    fn take(&mut self, now: Instant) -> Result<u64, Wait> {
        if self.closed || self.in_flight >= self.most_in_flight() {
            return Err(Wait::Change);
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Err(Wait::Until(until));
        }
        let number = self.pace.take(now).map_err(Wait::Until)?;
        self.in_flight += 1;
        Ok(number)
    }

    fn most_in_flight(&self) -> usize {
        if self.canary || self.outage.is_some() {
            return 1;
        }
        if self.limited {
            return self.concurrency.get();
        }
        // Without a rate to slow down, a throttled provider gets fewer at once.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a pool size, rounded up"
        )]
        let share = (self.concurrency.get() as f64 * self.pace.factor()).ceil() as usize;
        share.max(1)
    }

    fn signal(&mut self, signal: Signal, sent: Instant, now: Instant) {
        match signal {
            Signal::Works { granted } => {
                self.failures = 0;
                self.throttled_since = None;
                self.client_rejections = 0;
                self.outage = None;
                self.canary &= !granted;
                if granted {
                    self.refusals.granted();
                }
                self.pace.clean(now);
            }
            Signal::Refused { code, http_status } => {
                self.signal(Signal::Works { granted: false }, sent, now);
                if let Some(suspicion) = self.refusals.refused(&code, http_status) {
                    self.stopped.get_or_insert(Stopped::Refusals(suspicion));
                }
            }
            Signal::Throttled(wait) => {
                self.pace.throttled(sent, now);
                let since = *self.throttled_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= THROTTLED_PATIENCE {
                    self.stopped.get_or_insert(Stopped::Outage);
                }
                self.pause(now + wait.unwrap_or(DEFAULT_PAUSE));
            }
            Signal::Failed => self.failed(sent, now),
            Signal::ClientRejected { code, http_status } => {
                self.client_rejections += 1;
                if self.client_rejections >= CLIENT_REJECTIONS {
                    self.stopped.get_or_insert(Stopped::ClientRejected { code, http_status });
                }
            }
            Signal::NotAsked => {}
        }
    }

    fn failed(&mut self, sent: Instant, now: Instant) {
        self.failures += 1;
        let wait = match &mut self.outage {
            // Grants that were out when the outage was noticed say nothing new.
            Some(outage) if sent < outage.last_probe => return,
            Some(outage) => {
                if now.saturating_duration_since(outage.since) >= OUTAGE_PATIENCE {
                    self.stopped.get_or_insert(Stopped::Outage);
                }
                outage.wait = (outage.wait * 2).min(LONGEST_OUTAGE_WAIT);
                outage.last_probe = now;
                outage.wait
            }
            None if self.failures >= OUTAGE_FAILURES => {
                self.outage = Some(Outage { since: now, wait: FIRST_OUTAGE_WAIT, last_probe: now });
                FIRST_OUTAGE_WAIT
            }
            None => return,
        };
        self.pause(now + wait);
    }

    fn pause(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests;
