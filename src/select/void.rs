//! Void due dates: those that no life of a token explains. They were written under a clock that was ahead, on this machine or on
//! another one, and would be waited for until long after the token has died.

use crate::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::provider::Profile;
use crate::provider::learned::Learned;
use crate::schedule::{ASSUMED_LIFE, RenewAfter};
use crate::store::{DueAfter, Later};
use crate::token::Bookkeeping;
use chrono::TimeDelta;
use std::time::Duration;

/// How late a document can fall due, by what is known of its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// After a success; what falls due later has a longer life by its own answer, or a void due date.
    after_success: TimeDelta,
    /// The end of a token of which its document says none, after a success.
    end: TimeDelta,
    /// After anything else.
    put_off: TimeDelta,
}

impl Latest {
    /// By the longest life that the profile, the answers and `assumed_life` tell; by [`ASSUMED_LIFE`] where none does.
    #[must_use]
    pub fn of(
        profile: &Profile,
        learned: Learned,
        assumed_life: Option<Duration>,
        renew_after: RenewAfter,
        longest_backoff: Duration,
    ) -> Self {
        let lives = [profile.refresh_token_lifetime, learned.refresh, assumed_life];
        let life = lives.into_iter().flatten().max().unwrap_or(ASSUMED_LIFE);
        let delta =
            |time: Duration| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX / 4) + CLOCK_TOLERANCE;
        Self {
            after_success: delta(renew_after.of(life).max(profile.min_age)),
            end: delta(life.max(profile.min_age)),
            put_off: delta(longest_backoff.max(LONGEST_REST)),
        }
    }

    /// Where to look for void due dates.
    #[must_use]
    pub fn looks_after(&self, now: Timestamp) -> DueAfter {
        let at = now.checked_add_signed(self.after_success).unwrap_or(Timestamp::MAX_UTC);
        DueAfter { at, only: Later::Unexplained { now: now + CLOCK_TOLERANCE } }
    }

    /// Is the due date of this document void?
    #[must_use]
    pub fn is_void(&self, bookkeeping: &Bookkeeping, now: Timestamp) -> bool {
        let Bookkeeping { due_at, refreshed_at, refresh_expires_at, failures, last_error, lease, .. } =
            bookkeeping;
        let Some(due_at) = due_at.filter(|_| lease.is_none()) else { return false };
        let wait = due_at - now;
        if wait <= self.after_success {
            return false;
        }
        let was_ahead = |at: Timestamp| at > now + CLOCK_TOLERANCE;
        if refreshed_at.is_some_and(was_ahead) || last_error.as_ref().is_some_and(|error| was_ahead(error.at))
        {
            return true;
        }
        // A backoff asks for no end: it goes beyond that of the token, and goes on after it.
        let was_put_off = (*failures > 0 || last_error.is_some()) && wait <= self.put_off;
        !was_put_off && refresh_expires_at.map_or(wait > self.end, |end| end < due_at)
    }
}

/// The longest rest that an answer can ask for.
const LONGEST_REST: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::token::{Evidence, LastError};

    const DAY: Duration = Duration::from_hours(24);

    fn latest(life: Option<u32>, learned: Option<u32>) -> Latest {
        let days = |days: Option<u32>| days.map(|days| DAY * days);
        let profile = Profile { refresh_token_lifetime: days(life), ..profile::load("generic").unwrap() };
        let learned = Learned { refresh: days(learned), ..Learned::default() };
        Latest::of(&profile, learned, None, RenewAfter::THIRD, DAY)
    }

    #[test]
    fn a_due_date_is_void_that_no_life_explains() {
        let now = Timestamp::default();
        let at = |days: Option<i64>| days.map(|days| now + TimeDelta::days(days));
        let fortnight = latest(Some(14), None);
        for (latest, refreshed, due, expires, expected) in [
            (fortnight, Some(-1), Some(4), Some(13), false),
            (fortnight, Some(-1), None, Some(13), false),
            (fortnight, Some(-1), Some(-1), None, false),
            // Written under a clock that was ahead, by little or by years.
            (fortnight, Some(60), Some(64), Some(74), true),
            (fortnight, Some(1), Some(5), Some(15), true),
            (fortnight, Some(1500), Some(1504), Some(1514), true),
            (fortnight, Some(-1), Some(60), Some(13), true),
            (fortnight, None, Some(60), None, true),
            // Its own answer told a longer life than the profile.
            (fortnight, Some(-1), Some(120), Some(364), false),
            (latest(None, Some(365)), Some(-1), Some(120), None, false),
            // Written where later renewals were set.
            (fortnight, Some(-1), Some(12), None, false),
            // Nothing says how long it lives.
            (latest(None, None), Some(-1), Some(1), None, false),
            (latest(None, None), Some(-1), Some(4), None, true),
        ] {
            let bookkeeping = Bookkeeping {
                refreshed_at: at(refreshed),
                due_at: at(due),
                refresh_expires_at: at(expires),
                ..Bookkeeping::default()
            };
            assert_eq!(latest.is_void(&bookkeeping, now), expected, "{refreshed:?} {due:?} {expires:?}");
        }
    }

    #[test]
    fn what_was_put_off_may_wait_as_long_as_the_longest_backoff_and_what_is_claimed_waits_for_its_claim() {
        let now = Timestamp::default();
        let hourly = latest(Some(1), None);
        let books = |hours: i64, failed_at: Timestamp| Bookkeeping {
            due_at: Some(now + TimeDelta::hours(hours)),
            last_error: Some(LastError {
                class: Evidence::Ambiguous.into(),
                code: "timeout".into(),
                http_status: None,
                at: failed_at,
                lost: None,
            }),
            ..Bookkeeping::default()
        };
        for (hours, failed_hours_ago, expected) in [(24, 0, false), (26, 0, true), (20, -5, true)] {
            // The end of its token explains nothing here: a backoff goes beyond it, or goes on after it.
            for ends_in in [None, Some(5), Some(-5)] {
                let books = Bookkeeping {
                    refresh_expires_at: ends_in.map(|hours| now + TimeDelta::hours(hours)),
                    ..books(hours, now - TimeDelta::hours(failed_hours_ago))
                };
                let about = format!("{hours} h, {failed_hours_ago} h ago, ends in {ends_in:?} h");
                assert_eq!(hourly.is_void(&books, now), expected, "{about}");
            }
        }
    }
}
