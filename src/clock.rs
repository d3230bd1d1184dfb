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
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn steppable() -> Self {
        Self { offset_millis: Some(Arc::new(AtomicI64::new(0))), simulated: None }
    }

    /// A [`Clock::steppable`] clock that shows `start` now and goes on with the runtime's clock, which may be paused.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn simulated(start: Timestamp) -> Self {
        Self { simulated: Some((start, tokio::time::Instant::now())), ..Self::steppable() }
    }

    /// Moves a [`Clock::steppable`] clock by `step`, forwards or backwards; a system clock stays.
    #[cfg(any(test, feature = "testing"))]
    pub fn step(&self, step: chrono::TimeDelta) {
        if let Some(offset) = &self.offset_millis {
            offset.fetch_add(step.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Notes the time of a reading that begins now.
    #[must_use]
    pub fn read_at(&self) -> ReadAt {
        ReadAt { wall: self.now(), steady: tokio::time::Instant::now() }
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

/// The time at which something was read: on the wall clock, which goes on while the machine is suspended, and on the
/// steady clock, which no step moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAt {
    wall: Timestamp,
    steady: tokio::time::Instant,
}

impl ReadAt {
    /// Was it read within `age` by both clocks? A wall clock that stepped back says no.
    #[must_use]
    pub fn is_within(&self, clock: &Clock, age: std::time::Duration) -> bool {
        let by_wall = (clock.now() - self.wall).to_std();
        self.steady.elapsed() <= age && by_wall.is_ok_and(|elapsed| elapsed <= age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_was_read_ages_by_the_steady_clock_and_by_steps_of_the_wall_clock() {
        let clock = Clock::simulated(Timestamp::default());
        let age = Duration::from_secs(2);
        let read_at = clock.read_at();
        tokio::time::advance(age).await;
        assert!(read_at.is_within(&clock, age));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!read_at.is_within(&clock, age));
        for step in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
            let read_at = clock.read_at();
            clock.step(step);
            assert!(!read_at.is_within(&clock, age), "{step}");
        }
    }
}
