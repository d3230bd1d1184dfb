//! How many passes a token meets between the moment it is due and the moment it expires.

use super::{GAP_HORIZON, RenewAfter, Schedule, backoff};
use crate::clock::Timestamp;
use chrono::TimeDelta;
use std::time::Duration;

/// Largest part of the first wait that a service adds to each wait for a follow-up at random: a fleet must not come back
/// all at once.
///
/// Added, not taken off: what was put off for the first wait must be due again by then.
pub const FOLLOW_UP_JITTER: f64 = 0.25;

/// More follow-ups than this are not counted: they say no more.
const MOST_FOLLOW_UPS: usize = 1000;

/// How many wakes, at the worst, fall between the moment a token is due and its death.
///
/// The worst token is due just after a wake: it waits for the whole distance to the next one. Tokens get a due time
/// at any moment, for people log in at any moment. A wake at the very moment of death doesn't count.
#[must_use]
pub fn chances(schedule: &Schedule, lifetime: Duration, renew_after: RenewAfter, from: Timestamp) -> usize {
    let window = TimeDelta::from_std(renew_after.rest_of(lifetime)).unwrap_or(TimeDelta::MAX);
    // Twice the window, so that whole windows are in the sample.
    let horizon = window.checked_mul(2).unwrap_or(TimeDelta::MAX).max(GAP_HORIZON);
    let wakes = schedule.sample(from, horizon);
    let mut end = 0;
    let mut worst = None;
    for (start, wake) in wakes.iter().enumerate() {
        let death = wake.checked_add_signed(window).unwrap_or(Timestamp::MAX_UTC);
        while end < wakes.len() && wakes[end] < death {
            end += 1;
        }
        if end == wakes.len() {
            break; // the sample ends before the window does
        }
        let met = end.saturating_sub(start + 1);
        worst = Some(worst.map_or(met, |worst: usize| worst.min(met)));
    }
    worst.unwrap_or(wakes.len())
}

/// How much time the worst-placed token leaves a pass to reach it: its rest of life after the wake that finds it due.
///
/// Zero when no wake may find it alive.
#[must_use]
pub fn drain_bound(
    schedule: &Schedule,
    lifetime: Duration,
    renew_after: RenewAfter,
    from: Timestamp,
) -> Duration {
    let gap = schedule.longest_gap(from).to_std().unwrap_or(Duration::MAX);
    renew_after.rest_of(lifetime).saturating_sub(gap)
}

/// How many passes a service starts by itself within `time` after a pass that left something due: the first after the
/// wait `first`, each later one after twice the wait before, at most `longest`, and each as late as jitter makes it.
#[must_use]
pub fn follow_ups(time: Duration, first: Duration, longest: Duration) -> usize {
    let jitter = first.mul_f64(FOLLOW_UP_JITTER);
    let mut passed = Duration::ZERO;
    for number in 0..MOST_FOLLOW_UPS {
        let failures = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        passed = passed.saturating_add(backoff(failures, first, longest, 0.0)).saturating_add(jitter);
        if passed >= time {
            return number;
        }
    }
    MOST_FOLLOW_UPS
}
