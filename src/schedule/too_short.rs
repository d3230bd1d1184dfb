//! A life that is too short for the wakes: its token can end between two of them.

use super::{RenewAfter, Schedule, chances, keeps_fresh};
use crate::clock::Timestamp;
use crate::duration::words;
use std::fmt;
use std::time::Duration;

/// Shortest time between two passes of a loop that goes by what is due, and between two of its looks for that.
pub const SHORTEST_PAUSE: Duration = Duration::from_mins(1);

/// Passes that a loop which goes by what is due fits into the time that it has for each token.
const PASSES: u32 = 8;

/// The lives that are known of a provider's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLives {
    /// Of a refresh token whose end each success moves.
    pub refresh: Option<Duration>,
    /// Of an access token that is kept good.
    pub access: Option<Duration>,
    /// Longest wait for an answer.
    pub request_timeout: Duration,
}

/// Why wakes are too far apart for a provider's tokens, with the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooShort {
    /// A refresh token may meet no wake between the moment it is due and its end.
    Refresh {
        /// Its life.
        life: Duration,
        /// When it is due.
        due_after: Duration,
        /// What is left then.
        rest: Duration,
        /// The longest distance between two wakes.
        gap: Duration,
    },
    /// An access token that is kept good may end before the pass that replaces it.
    Access {
        /// Its life.
        life: Duration,
        /// The longest distance between two wakes.
        gap: Duration,
        /// Longest wait for an answer.
        request_timeout: Duration,
    },
}

impl TooShort {
    /// Does the arithmetic; `None` where each token meets a wake in time, and for a schedule that goes by what is due.
    #[must_use]
    pub fn of(
        lives: KnownLives,
        schedule: &Schedule,
        renew_after: RenewAfter,
        now: Timestamp,
    ) -> Option<Self> {
        if schedule.is_continuous() || lives.refresh.is_none() && lives.access.is_none() {
            return None;
        }
        let (gap, request_timeout) =
            (schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX), lives.request_timeout);
        let access = lives.access.filter(|life| !keeps_fresh(*life, gap, request_timeout));
        let refresh = lives.refresh.filter(|life| chances(schedule, *life, renew_after, now) == 0);
        let by_access = access.map(|life| Self::Access { life, gap, request_timeout });
        by_access.or_else(|| {
            refresh.map(|life| Self::Refresh {
                life,
                due_after: renew_after.of(life),
                rest: renew_after.rest_of(life),
                gap,
            })
        })
    }

    /// The time from the moment at which a token is due until a pass must have come.
    fn window(&self) -> Duration {
        match self {
            Self::Refresh { rest, .. } => *rest,
            // Where the wakes are far apart, it is due after half its life.
            Self::Access { life, request_timeout, .. } => (*life / 2).saturating_sub(*request_timeout),
        }
    }

    /// Shortest time between two passes of a loop that goes by what is due instead: what falls due meanwhile is taken together.
    #[must_use]
    pub fn pause(&self) -> Duration {
        (self.window() / PASSES).max(SHORTEST_PAUSE)
    }

    /// What to set.
    #[must_use]
    pub fn advice(&self) -> String {
        let longest = match self {
            Self::Refresh { rest, .. } => *rest,
            Self::Access { life, request_timeout, .. } => life.saturating_sub(*request_timeout),
        };
        // To whole minutes, and not longer.
        let longest = Duration::from_secs(longest.as_secs() / 60 * 60);
        if longest <= SHORTEST_PAUSE {
            return "set `schedule = \"continuous\"`".to_owned();
        }
        format!(
            "set `schedule = \"continuous\"`, or let `schedule` wake more often than every {}",
            words(longest)
        )
    }

    /// What to set, and what that means for `run --once`.
    #[must_use]
    pub fn advice_for_once(&self) -> String {
        format!("{}; start `run --once` as often as `schedule` says", self.advice())
    }
}

impl fmt::Display for TooShort {
    /// The numbers, as a sentence.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refresh { life, due_after, rest, gap } => write!(
                formatter,
                "a login can end before the next wake: by the provider's answers a refresh token lives {}, it is due {} after it \
                 was issued, and then has {} left, which is shorter than the longest gap between two wakes of the schedule, {}",
                words(*life),
                words(*due_after),
                words(*rest),
                words(*gap)
            ),
            Self::Access { life, gap, request_timeout } => write!(
                formatter,
                "an access token can end before a scheduled pass replaces it: by the provider's answers it lives {}, scheduled \
                 passes start up to {} apart, and a request takes up to {}",
                words(*life),
                words(*gap),
                words(*request_timeout)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(refresh_hours: Option<u64>, access_minutes: Option<u64>, schedule: &str) -> Option<TooShort> {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let lives = KnownLives {
            refresh: refresh_hours.map(Duration::from_hours),
            access: access_minutes.map(Duration::from_mins),
            request_timeout: Duration::from_secs(30),
        };
        TooShort::of(lives, &Schedule::parse(schedule, "UTC", now).unwrap(), RenewAfter::THIRD, now)
    }

    #[test]
    fn a_life_that_meets_no_wake_in_time_is_told_with_its_numbers_and_what_to_set() {
        let weekly = "0 3 * * SUN";
        for (refresh, access, schedule, is_too_short) in [
            (None, None, weekly, false),
            (Some(14 * 24), None, weekly, false),
            (Some(48), None, weekly, true),
            (Some(48), None, "0 3 * * *", false),
            (Some(48), None, "every 12h", false),
            (Some(48), None, "continuous", false),
            (None, Some(30), weekly, true),
            (None, Some(30), "every 30min", true),
            (None, Some(30), "every 29min", false),
            (Some(1), Some(1), "continuous", false),
        ] {
            let found = of(refresh, access, schedule);
            assert_eq!(found.is_some(), is_too_short, "{refresh:?} h, {access:?} min, {schedule}: {found:?}");
        }
        let refresh = of(Some(48), None, weekly).unwrap();
        assert_eq!(
            refresh.to_string(),
            "a login can end before the next wake: by the provider's answers a refresh token lives 2d, it is due 16h after it was issued, and then has 1d 8h left, which is shorter than the longest gap between two wakes of the schedule, 7d"
        );
        assert_eq!(refresh.pause(), Duration::from_hours(4));
        assert!(refresh.advice().contains("every 1d 8h"), "{}", refresh.advice());
        let access = of(Some(48), Some(30), weekly).unwrap();
        assert!(
            access.to_string().contains("an access token") && access.to_string().contains("30min"),
            "{access}"
        );
        assert_eq!(
            access.advice(),
            "set `schedule = \"continuous\"`, or let `schedule` wake more often than every 29min"
        );
        let seconds = of(None, Some(1), weekly).unwrap();
        assert_eq!(
            (seconds.pause(), seconds.advice().as_str()),
            (SHORTEST_PAUSE, "set `schedule = \"continuous\"`")
        );
    }
}
