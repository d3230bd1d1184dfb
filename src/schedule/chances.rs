//! How often a schedule meets a token between the moment it is due and its death.

use super::{GAP_HORIZON, RenewAfter, Schedule};
use crate::clock::Timestamp;
use chrono::TimeDelta;
use std::time::Duration;

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
