//! When a token is due after a success, and when it is tried again after a failure.

use crate::clock::Timestamp;
use chrono::TimeDelta;
use std::{fmt, str::FromStr, time::Duration};

/// Largest share of the renew interval by which jitter brings a due time forward.
///
/// It spreads tokens that were refreshed in one pass, and never makes one late.
const DUE_JITTER: f64 = 0.1;

/// Largest share of a backoff that jitter takes away, so that what failed together isn't tried again together.
const BACKOFF_JITTER: f64 = 0.25;

/// The share of a refresh token's life after which it is due: above 0, below 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RenewAfter(f64);

/// A text that isn't a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share of a life: expected more than 0 and less than 1, like `1/3`, `0.33` or `33%`")]
pub struct RenewAfterError(String);

impl RenewAfter {
    /// A third: a weekly wake finds every token that lives 14 days due.
    #[cfg(any(test, feature = "testing"))]
    pub const THIRD: Self = Self(1.0 / 3.0);

    /// The share as a number.
    #[cfg(test)]
    #[must_use]
    pub const fn share(self) -> f64 {
        self.0
    }

    /// The time from a token's issue until it is due.
    #[must_use]
    pub fn of(self, lifetime: Duration) -> Duration {
        share_of(lifetime, self.0)
    }

    /// The time from the moment a token is due until it dies.
    #[must_use]
    pub fn rest_of(self, lifetime: Duration) -> Duration {
        lifetime.saturating_sub(self.of(lifetime))
    }
}

impl FromStr for RenewAfter {
    type Err = RenewAfterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let number = |part: &str| part.trim().parse::<f64>().ok();
        let share = if let Some((part, whole)) = trimmed.split_once('/') {
            number(part).zip(number(whole)).map(|(part, whole)| part / whole)
        } else if let Some(percent) = trimmed.strip_suffix('%') {
            number(percent).map(|percent| percent / 100.0)
        } else {
            number(trimmed)
        };
        // NaN and the infinities fail both comparisons.
        share
            .filter(|share| *share > 0.0 && *share < 1.0)
            .map(Self)
            .ok_or_else(|| RenewAfterError(text.to_owned()))
    }
}

impl fmt::Display for RenewAfter {
    /// `33.3%`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 1000.0).round() / 10.0;
        write!(formatter, "{tenths}%")
    }
}

/// When a token that was issued at `issued_at` is due: after its share of `lifetime`, up to a tenth of that earlier.
///
/// `jitter_unit` is a random number from 0 up to 1. An unknown life is due at once, so that every wake finds it.
#[must_use]
pub fn due_at_after_success(
    issued_at: Timestamp,
    lifetime: Option<Duration>,
    renew_after: RenewAfter,
    jitter_unit: f64,
) -> Timestamp {
    let Some(lifetime) = lifetime else { return issued_at };
    let interval = share_of(renew_after.of(lifetime), 1.0 - DUE_JITTER * jitter_unit.clamp(0.0, 1.0));
    let whole_millis = Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
    TimeDelta::from_std(whole_millis)
        .ok()
        .and_then(|interval| issued_at.checked_add_signed(interval))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// The wait before a token that failed `failures` times in a row is due again: `first`, doubled each time, at most
/// `cap`, and up to a quarter less by jitter.
///
/// `jitter_unit` is a random number from 0 up to 1.
#[must_use]
pub fn backoff(failures: u32, first: Duration, cap: Duration, jitter_unit: f64) -> Duration {
    let doublings = failures.saturating_sub(1);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let full = first.saturating_mul(factor).min(cap);
    share_of(full, 1.0 - BACKOFF_JITTER * jitter_unit.clamp(0.0, 1.0))
}

/// A share of a duration; all of it where the share is no number.
fn share_of(duration: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * share).unwrap_or(duration)
}
