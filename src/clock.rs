//! The only reader of the wall clock; everybody else is handed `now` or a [`Clock`].

mod discipline;
mod machine;

pub use discipline::Reading;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use discipline::Discipline;
use machine::Machine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An instant on the wall clock, UTC, whole milliseconds (the resolution of a BSON date).
pub type Timestamp = DateTime<Utc>;

/// Clock error that is ignored where a moment in the future says that a clock was ahead: what was noted or put off under such a
/// clock is wrong by no more.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// The time: the machine's, until a store has told its own; from then on the store's, for all clones.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    machine: Machine,
    discipline: Arc<Mutex<Discipline>>,
}

impl Clock {
    /// The machine's wall clock, which follows no store yet.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now, in whole milliseconds.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let shown = self.discipline().now(self.machine.passed());
        shown.unwrap_or_else(|| self.machine.wall()).trunc_subsecs(3)
    }

    /// Notes the time of a reading that begins now.
    #[must_use]
    pub fn read_at(&self) -> ReadAt {
        ReadAt { wall: self.now(), steady: tokio::time::Instant::now() }
    }

    /// Time since some moment before, suspended time included; no step of a wall clock moves it.
    #[must_use]
    pub fn passed(&self) -> TimeDelta {
        self.machine.passed()
    }

    /// What a store has told just now, asked at this moment of [`Clock::passed`].
    #[must_use]
    pub fn reading(&self, told: Timestamp, asked: TimeDelta) -> Reading {
        Reading::new(told, asked, self.passed())
    }

    /// Goes by the store's time from now on, and returns by how much that corrects the time that was shown; nothing for the
    /// first reading. A correction by `leap` or more is a [leap](Clock::leapt_within) of the store's clock.
    pub(crate) fn follow(&self, reading: &Reading, leap: TimeDelta) -> TimeDelta {
        self.discipline().follow(reading, self.passed(), self.machine.wall(), leap)
    }

    /// How far the machine's wall clock is ahead of the store's clock; `None` where no store has told its time.
    #[must_use]
    pub fn machine_ahead(&self) -> Option<TimeDelta> {
        let there = self.discipline().now(self.passed())?;
        Some(self.machine.wall() - there)
    }

    /// Was the store's clock found to have leapt within this time, as after a failover to a machine whose clock is wrong?
    #[must_use]
    pub fn leapt_within(&self, time: TimeDelta) -> bool {
        self.discipline().leapt_within(time, self.passed())
    }

    fn discipline(&self) -> MutexGuard<'_, Discipline> {
        // Whole after every statement: a panic elsewhere leaves it so.
        self.discipline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock {
    /// A clock that [`Clock::step`] moves while others read it.
    #[must_use]
    pub fn steppable() -> Self {
        Self { machine: Machine::movable(None), ..Self::default() }
    }

    /// A [`Clock::steppable`] clock that shows `start` now and goes on with the runtime's clock, which may be paused.
    #[must_use]
    pub fn simulated(start: Timestamp) -> Self {
        Self { machine: Machine::movable(Some(start)), ..Self::default() }
    }

    /// Lets this much time pass, forwards or backwards, on all clocks of a [`Clock::steppable`] machine.
    pub fn step(&self, time: TimeDelta) {
        self.machine.pass(time);
    }

    /// The clock of a new process on the same machine: it follows no store yet.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { machine: self.machine.clone(), ..Self::default() }
    }

    /// Forgets that the store's clock has leapt.
    pub fn forget_leap(&self) {
        self.discipline().forget_leap();
    }

    /// How much time [`Clock::step`] has let pass.
    #[must_use]
    pub fn stepped(&self) -> TimeDelta {
        self.machine.has_passed()
    }

    /// Sets the wall clock of a [`Clock::steppable`] machine ahead of the time by this much, or behind it.
    pub fn set_machine_ahead(&self, by: TimeDelta) {
        self.machine.set_ahead(by);
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

    /// What a store tells whose answer takes `took` milliseconds.
    fn told(clock: &Clock, store: Timestamp, took: i64) -> Reading {
        let asked = clock.passed();
        clock.step(TimeDelta::milliseconds(took));
        clock.reading(store, asked)
    }

    const LEAP: TimeDelta = TimeDelta::minutes(10);

    fn millis(millis: i64) -> TimeDelta {
        TimeDelta::milliseconds(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_is_the_machines_until_a_store_tells_its_own_and_is_the_stores_from_then_on() {
        let start = Timestamp::default();
        let clock = Clock::simulated(start);
        let all = clock.clone();
        clock.set_machine_ahead(TimeDelta::days(60));
        assert_eq!((clock.now(), clock.machine_ahead()), (start + TimeDelta::days(60), None));
        let reading = told(&clock, start, 10);
        assert_eq!(reading.width(), millis(11));
        assert_eq!(clock.follow(&reading, LEAP), TimeDelta::zero(), "the first one corrects nothing");
        assert_eq!(all.now(), start + millis(11), "the latest that it can be");
        assert_eq!(clock.machine_ahead(), Some(TimeDelta::days(60) - millis(1)));
        assert!(!clock.leapt_within(TimeDelta::MAX));
        // In between the wall clock may show anything; time goes on, also while the machine is suspended.
        let before = clock.now();
        for ahead in [-5000, 0, 5000] {
            clock.set_machine_ahead(TimeDelta::days(ahead));
            assert_eq!(clock.now(), before);
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), before + millis(3000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_within_the_reading_is_kept_to_and_a_correction_is_as_small_as_can_be() {
        let start = Timestamp::default();
        let clock = Clock::simulated(start);
        let reading = told(&clock, start + millis(5), 10);
        clock.follow(&reading, LEAP);
        assert_eq!(clock.now(), start + millis(10), "it may be right");
        for (ahead, corrected) in [(3, 0), (10, 0), (-1, 0), (-20, -19), (40, 30)] {
            let reading = told(&clock, clock.now() + millis(ahead), 10);
            let (before, by) = (clock.now(), clock.follow(&reading, LEAP));
            assert_eq!((by, clock.now() - before), (millis(corrected), millis(corrected)), "{ahead}");
        }
        assert!(!clock.leapt_within(TimeDelta::MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn a_correction_by_a_lease_is_a_leap_of_the_store_for_a_while() {
        let start = Timestamp::default();
        for hours in [5, -5] {
            let clock = Clock::simulated(start);
            clock.follow(&told(&clock, start, 1), LEAP);
            let by = clock.follow(&told(&clock, start + TimeDelta::hours(hours), 1), LEAP);
            assert!((by - TimeDelta::hours(hours)).abs() <= millis(2), "{by}");
            assert!(clock.leapt_within(LEAP * 2));
            clock.step(LEAP * 2);
            assert!(!clock.leapt_within(LEAP * 2));
        }
    }
}
