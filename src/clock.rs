//! The only reader of the wall clock; everybody else is handed `now` or a [`Clock`].

use chrono::{DateTime, SubsecRound, Utc};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// An instant on the wall clock, UTC, whole milliseconds (the resolution of a BSON date).
pub type Timestamp = DateTime<Utc>;

/// The wall clock, or one that a test moves by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds added to the wall clock; a test steps it, production never does.
    offset_millis: Option<Arc<AtomicI64>>,
    /// In a simulation: the time that it began with, and when that was on the runtime's own clock.
    simulated: Option<(Timestamp, tokio::time::Instant)>,
}

impl Clock {
    /// The machine's wall clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { offset_millis: None, simulated: None }
    }

    /// The machine's wall clock plus an offset that [`Clock::step`] changes while others read it.
    #[must_use]
    pub fn steppable() -> Self {
        Self { offset_millis: Some(Arc::new(AtomicI64::new(0))), simulated: None }
    }

    /// A [`Clock::steppable`] clock that shows `start` now and goes on with the runtime's clock, which may be paused.
    #[must_use]
    pub fn simulated(start: Timestamp) -> Self {
        Self { simulated: Some((start, tokio::time::Instant::now())), ..Self::steppable() }
    }

    /// Moves a [`Clock::steppable`] clock by `step`, forwards or backwards; a system clock stays.
    pub fn step(&self, step: chrono::TimeDelta) {
        if let Some(offset) = &self.offset_millis {
            offset.fetch_add(step.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// The time now, in whole milliseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        let offset = self.offset_millis.as_ref().map_or(0, |offset| offset.load(Ordering::SeqCst));
        let now = match &self.simulated {
            None => Utc::now(),
            Some((start, began)) => *start + began.elapsed(),
        };
        (now + chrono::TimeDelta::milliseconds(offset)).trunc_subsecs(3)
    }
}
