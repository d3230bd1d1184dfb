//! When an access token is due, where it is to be good at any time.

use super::Schedule;
use crate::clock::Timestamp;
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;

/// The wakes, as far as the due time of an access token depends on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Wakes {
    schedule: Schedule,
    longest_gap: Duration,
}

impl Wakes {
    /// Works out the longest gap of the schedule once: that is dear for a schedule that wakes often.
    #[must_use]
    pub fn new(schedule: Schedule, now: Timestamp) -> Self {
        // And the gap that we stand in: at the end of summer time, an hour has no wakes when it comes again.
        let gap = |wake| schedule.next_after(now).map(|next| next - wake);
        let here = schedule.last_until(now).and_then(gap).unwrap_or_default();
        let longest_gap = schedule.longest_gap(now).max(here).to_std().unwrap_or(Duration::MAX);
        Self { schedule, longest_gap }
    }

    /// The schedule, as people write it.
    #[must_use]
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The longest distance between two wakes.
    #[cfg(test)]
    #[must_use]
    pub const fn longest_gap(&self) -> Duration {
        self.longest_gap
    }

    /// When an access token that was issued at `issued_at` and lives for `life` is due, always after `issued_at`.
    ///
    /// `margin` is the time from a wake until the new token is there, at the worst: that of a whole pass and of one
    /// request. A token that is due a gap and a margin before its end gets its successor in time, whenever it was
    /// issued. Where so much isn't left, it is due after half its life, or at the next wake where that is sooner: then it
    /// gets its successor in time if gap and margin together are no longer than the life
    /// ([`keeps_fresh`]).
    ///
    /// And no later than the last wake that is a margin before its end: a gap that comes once a year, as when the clocks
    /// go back, may be longer than the longest that is known.
    #[must_use]
    pub fn access_due(&self, issued_at: Timestamp, life: Duration, margin: Duration) -> Timestamp {
        let due_at = self.due_by_gap(issued_at, life, margin);
        self.last_in_time(issued_at, life, margin).map_or(due_at, |last| due_at.min(last))
    }

    /// The last wake after `issued_at` whose pass brings the new token before the old one ends.
    fn last_in_time(&self, issued_at: Timestamp, life: Duration, margin: Duration) -> Option<Timestamp> {
        let wait = TimeDelta::from_std(life.checked_sub(margin)?).ok()?;
        let latest = issued_at.checked_add_signed(wait)?;
        self.schedule.last_until(latest).filter(|last| *last > issued_at)
    }

    fn due_by_gap(&self, issued_at: Timestamp, life: Duration, margin: Duration) -> Timestamp {
        let needed = self.longest_gap.saturating_add(margin);
        let half = life / 2;
        if let Some(wait) = life.checked_sub(needed).filter(|wait| *wait >= half) {
            return after(issued_at, wait);
        }
        let in_time = after(issued_at, life.saturating_sub(needed));
        // Refreshed between two wakes, as by a follow-up, half its life can be over after the only wake that is in time.
        let next = self.schedule.next_after(issued_at).unwrap_or(Timestamp::MAX_UTC);
        in_time.max(after(issued_at, half).min(next))
    }
}

/// What is looked for in a collection whose access tokens are kept good since a short time ago: documents that fall due later
/// than their access tokens ask for.
#[derive(Debug, Clone)]
pub struct LateAccess {
    /// The wakes.
    pub wakes: Arc<Wakes>,
    /// The time from a wake until the new token is there, at the worst.
    pub margin: Duration,
    /// The life of an access token, where nothing else says it.
    pub life: Option<Duration>,
}

impl LateAccess {
    /// Is a document due too late at `due_at`, whose access token was issued at `issued_at` and ends at `ends_at`: after the
    /// last wake that is in time?
    #[must_use]
    pub fn is_late(&self, issued_at: Timestamp, ends_at: Option<Timestamp>, due_at: Timestamp) -> bool {
        let known = ends_at.and_then(|ends_at| (ends_at - issued_at).to_std().ok());
        let Some(life) = known.or(self.life) else { return false };
        let last = self.wakes.last_in_time(issued_at, life, self.margin);
        due_at > last.unwrap_or_else(|| self.wakes.access_due(issued_at, life, self.margin))
    }
}

/// Does each access token get its successor in time, where passes start up to `gap` apart?
#[must_use]
pub fn keeps_fresh(life: Duration, gap: Duration, margin: Duration) -> bool {
    gap.saturating_add(margin) <= life
}

/// So long after `at`, in whole milliseconds: what is read back from a store must be what was written.
fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    TimeDelta::try_milliseconds(millis)
        .and_then(|wait| at.checked_add_signed(wait))
        .unwrap_or(Timestamp::MAX_UTC)
}
