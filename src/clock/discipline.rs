//! Discipline: the time of another machine, on the steady clock of ours.
//!
//! Claims, due times and marks are judged by several hosts, so they are written in the time of the store that all of them share.
//! A host asks for it now and then; in between its steady clock goes on. Its wall clock may show anything.

use super::Timestamp;
use chrono::TimeDelta;

/// The resolution of the time that a store tells: it was so late, or almost that much later.
const RESOLUTION: TimeDelta = TimeDelta::milliseconds(1);

/// Between which two moments a store's clock was when its answer had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    earliest: Timestamp,
    latest: Timestamp,
    /// When the answer had come, on the steady clock.
    came: TimeDelta,
}

impl Reading {
    /// The store told this time between the moments `asked` and `came` of the steady clock.
    pub(super) fn new(told: Timestamp, asked: TimeDelta, came: TimeDelta) -> Self {
        Self { earliest: told, latest: told + (came - asked) + RESOLUTION, came }
    }

    /// How much the store's time is uncertain by.
    #[must_use]
    pub fn width(&self) -> TimeDelta {
        self.latest - self.earliest
    }
}

/// What is known of the time of another machine.
#[derive(Debug, Default)]
pub(super) struct Discipline {
    /// Its time at a moment of the steady clock.
    fix: Option<(Timestamp, TimeDelta)>,
    /// When, on the steady clock, it was found to have leapt.
    leapt: Option<TimeDelta>,
}

impl Discipline {
    /// Its time now, if it was ever read.
    pub(super) fn now(&self, passed: TimeDelta) -> Option<Timestamp> {
        self.fix.map(|(there, then)| there + (passed - then))
    }

    /// Corrects what is shown by as little as brings it into the reading, and returns by how much; nothing before the first
    /// reading, when a wall clock was shown. A correction by `leap` or more is a leap of the other clock: ours is steady.
    pub(super) fn follow(
        &mut self,
        reading: &Reading,
        passed: TimeDelta,
        wall: Timestamp,
        leap: TimeDelta,
    ) -> TimeDelta {
        let since = passed - reading.came;
        let shown = self.now(passed);
        let now = shown.unwrap_or(wall).clamp(reading.earliest + since, reading.latest + since);
        self.fix = Some((now, passed));
        let correction = shown.map_or_else(TimeDelta::zero, |shown| now - shown);
        if correction.abs() >= leap {
            self.leapt = Some(passed);
        }
        correction
    }

    /// Forgets that it has leapt.
    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn forget_leap(&mut self) {
        self.leapt = None;
    }

    /// Has it leapt within this time?
    pub(super) fn leapt_within(&self, time: TimeDelta, passed: TimeDelta) -> bool {
        self.leapt.is_some_and(|leapt| passed - leapt < time)
    }
}
