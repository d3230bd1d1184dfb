//! The gate of one provider: rate, in-flight limit, `Retry-After` pause, canary, breaker, and the door to the sink.
//!
//! One dispatcher waits at the gate; the tasks that it lets through report what the provider answered. Policy is in the
//! constants, state in one struct behind a lock, waiting in [`Gate::enter`].

mod memory;
mod pace;
mod permit;
mod refusals;
mod sample;
mod signal;
mod state;
mod status;
mod unasked;
mod write_backs;

use crate::clock::Timestamp;
use crate::provider::history::History;
use crate::provider::memory::Memory;
use crate::provider::rate::Rate;
use state::{State, Wait};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use permit::Permit;
pub use refusals::{Standing, Suspicion};
#[cfg(any(test, feature = "testing"))]
pub use sample::skip_samples;
pub use signal::{Signal, Stopped};
pub use state::LONGEST_WAIT_IN_A_PASS;
pub use state::Stretch;
pub use status::{Doing, Pauses, Status};
pub use unasked::{TooMany, WithoutRequest};

/// What [`Gate::enter`] gave.
#[derive(Debug)]
pub enum Entered {
    /// Send one grant.
    Go(Permit),
    /// Send none any more.
    Stopped(Stopped),
}

/// The gate of one provider; it lives as long as the process.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

impl Gate {
    /// A gate for `rate` and at most `concurrency` grants at once, with the canary still to come.
    #[must_use]
    pub fn new(rate: Option<Rate>, concurrency: NonZeroUsize) -> Arc<Self> {
        let state = State::new(rate, concurrency, Instant::now());
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
                    Ok(number) => return Entered::Go(Permit::new(self.clone(), number, now)),
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

    /// What is to be remembered over a restart, at this time of the wall clock.
    #[must_use]
    pub fn memory(&self, at: Timestamp) -> Memory {
        self.lock().memory(at, Instant::now())
    }

    /// Goes on where the gate of an earlier process was; `at` is the time of the wall clock.
    pub fn recall(&self, memory: Memory, at: Timestamp) {
        self.lock().recall(memory, at, Instant::now());
    }

    /// Begins a pass: what stopped the one before is over, and refusals are judged anew, against what earlier passes saw;
    /// with `accepted` a person says that they are to be believed. A pause, a slowed rate and an outage go on.
    pub fn begin_pass(&self, history: History, accepted: bool) {
        self.lock().begin_pass(history, accepted, Instant::now());
    }

    /// A token was found that would be marked without a request; it was redeemed, or sent, at this time.
    pub fn found_unasked(&self, why: WithoutRequest, at: Option<Timestamp>) {
        self.lock().refusals.found_unasked(why, at);
    }

    /// Why such tokens mark no user, when they are too many.
    #[must_use]
    pub fn too_many_unasked(&self, why: WithoutRequest) -> Option<TooMany> {
        self.lock().refusals.too_many_unasked(why)
    }

    /// How many tokens to draw from all over what is due, because none in a row was granted.
    #[must_use]
    pub fn sample_wanted(&self) -> Option<usize> {
        let state = self.lock();
        state.sample.wanted().or_else(|| state.write_backs.wanted())
    }

    /// This number of tokens was drawn: from now on each that fails counts.
    pub fn sample_drawn(&self, tokens: usize) {
        let (mut state, now) = (self.lock(), Instant::now());
        state.sample.begin(tokens, now);
        state.write_backs.drawn(tokens, now);
    }

    /// A new pair is in its document.
    pub fn write_back_accepted(&self) {
        self.lock().write_backs.accepted();
        self.changed.notify_one();
    }

    /// The store refused a new pair; it came for the request that was let through at `sent`. Does the gate stop for it? The
    /// store refuses those of others as well.
    #[must_use]
    pub fn write_back_refused(&self, sent: Option<Instant>) -> bool {
        let stops = self.lock().write_backs.refused(sent);
        if stops {
            self.stop(Stopped::CannotKeep);
        }
        stops
    }

    /// Does a grant count as out until its pair is written, because the store has accepted none yet, or refused one?
    #[must_use]
    pub fn waits_for_write_backs(&self) -> bool {
        self.lock().write_backs.waits()
    }

    /// All that is due was asked: a sample that was wanted can't be drawn any more.
    pub fn nothing_left(&self) {
        self.lock().nothing_left();
    }

    /// Grants in this pass.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.lock().refusals.grants()
    }

    /// How the refusals stand.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().refusals.standing()
    }

    /// Judges the refusals that weren't judged yet, because a mark can wait no longer: `all` says that no more answers are
    /// waited for, or that too many marks wait already. The others are asked on: only a sample leaves a provider alone.
    pub fn judge(&self, all: bool) -> Standing {
        let mut state = self.lock();
        state.refusals.judge(all);
        state.refusals.standing()
    }

    /// Why refusals mark no user in this pass, if so.
    #[must_use]
    pub fn suspicion(&self) -> Option<Suspicion> {
        self.lock().refusals.suspicion()
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

    /// Is the canary still to come: has no grant gone well for a while?
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.lock().canary
    }

    /// Is no user granted now, in an outage or, where that is enough to know, since the pass began?
    #[must_use]
    pub fn is_without_grants(&self, since_it_began: bool) -> bool {
        self.lock().is_without_grants(since_it_began)
    }

    /// A token was granted that had been refused a moment before: it counts as one that is alive.
    pub fn granted_after_all(&self) {
        self.lock().refusals.granted_after_all();
    }

    /// Was a request that failed at this moment a part of an outage, as far as it is known by now?
    #[must_use]
    pub fn stretch(&self, failed_at: Instant) -> Stretch {
        self.lock().stretch(failed_at)
    }

    /// How it stands, for people.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lock().status(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data: a panic elsewhere while it was held leaves nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
