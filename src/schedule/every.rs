//! A schedule that wakes at even distances: `every 29min`.

use crate::clock::Timestamp;
use std::time::Duration;

/// The word that an interval starts with.
const WORD: &str = "every";

/// Shortest interval: a pass is no loop, and a shorter one is never needed to keep an access token fresh.
const SHORTEST: Duration = Duration::from_mins(1);

/// Longest interval.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// An interval between wakes, in whole seconds.
///
/// Wakes are multiples of it from 1970-01-01 00:00 UTC on, so that a restart, and a second machine, keep the rhythm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    seconds: i64,
}

/// How often a loop looks that goes by what is due.
pub(super) const MINUTE: Interval = Interval { seconds: 60 };

impl Interval {
    /// Reads `every DURATION`; `None` for a text that doesn't start with the word, `Err` says what is wrong.
    pub(super) fn read(text: &str) -> Option<Result<Self, &'static str>> {
        let text = text.trim();
        let (word, duration) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        word.eq_ignore_ascii_case(WORD).then(|| Self::of(duration.trim()))
    }

    fn of(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("the duration is missing");
        }
        let duration = humantime::parse_duration(text).map_err(|_| "no duration follows `every`")?;
        if duration < SHORTEST {
            return Err("it is shorter than 1 minute");
        }
        if duration > LONGEST {
            return Err("it is longer than 365 days");
        }
        if duration.subsec_nanos() > 0 {
            return Err("it is not in whole seconds");
        }
        Ok(Self { seconds: duration.as_secs().cast_signed() })
    }

    /// The distance between two wakes.
    pub(super) const fn length(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(self.seconds)
    }

    /// The first wake after `now`.
    pub(super) fn next_after(self, now: Timestamp) -> Option<Timestamp> {
        self.last_until(now)?.checked_add_signed(self.length())
    }

    /// The last wake up to and including `now`.
    pub(super) fn last_until(self, now: Timestamp) -> Option<Timestamp> {
        // Floored, also before 1970.
        let wakes = now.timestamp().div_euclid(self.seconds);
        Timestamp::from_timestamp(wakes.checked_mul(self.seconds)?, 0)
    }
}
