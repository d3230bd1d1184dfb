//! The provider's rate limit: an exact sliding window.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// Window over which requests are counted, for the record, when no limit is set.
const MEASURED_WINDOW: Duration = Duration::from_mins(1);

/// So many token requests in every sliding window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that are let through in any one window.
    pub grants: u32,
    /// Length of the window, counted in whole milliseconds.
    pub window: Duration,
}

/// The text is not a [`RateLimit`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rate limit `{0}`: expected requests per unit or duration, such as `400/min`, `50/s` or `10/10s`")]
pub struct RateLimitError(pub String);

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || RateLimitError(text.into());
        let (grants, window) = text.split_once('/').ok_or_else(refused)?;
        let grants: NonZeroU32 = grants.trim().parse().map_err(|_| refused())?;
        let window = match window.trim() {
            "s" | "sec" | "second" => Duration::from_secs(1),
            "m" | "min" | "minute" => Duration::from_mins(1),
            "h" | "hour" => Duration::from_hours(1),
            duration => humantime::parse_duration(duration).map_err(|_| refused())?,
        };
        if window.as_millis() == 0 { Err(refused()) } else { Ok(Self { grants: grants.get(), window }) }
    }
}

impl std::fmt::Display for RateLimit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.grants, humantime::format_duration(self.window))
    }
}

/// The requests of the last window, one entry a millisecond, so that memory does not grow with the rate.
#[derive(Debug)]
pub(super) struct SlidingWindow {
    limit: Option<u64>,
    length_millis: i64,
    ticks: VecDeque<(i64, u64)>,
    inside: u64,
    peak: u64,
}

impl SlidingWindow {
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        let length = limit.map_or(MEASURED_WINDOW, |limit| limit.window);
        Self {
            limit: limit.map(|limit| u64::from(limit.grants)),
            length_millis: super::millis(length).max(1),
            ticks: VecDeque::new(),
            inside: 0,
            peak: 0,
        }
    }

    /// The largest number of accepted requests that any window held.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }

    /// How long until a request would be accepted, if it would not be now.
    pub(super) fn wait(&mut self, now: i64) -> Option<Duration> {
        self.forget(now);
        let limit = self.limit?;
        let oldest = self.ticks.front().filter(|_| self.inside >= limit)?.0;
        Some(Duration::from_millis((oldest + self.length_millis - now).unsigned_abs()))
    }

    /// Counts a request that was accepted at `now`.
    pub(super) fn accept(&mut self, now: i64) {
        self.forget(now);
        match self.ticks.back_mut() {
            Some((at, count)) if *at >= now => *count += 1,
            _ => self.ticks.push_back((now, 1)),
        }
        self.inside += 1;
        self.peak = self.peak.max(self.inside);
    }

    /// Drops what lies a whole window back, or, after the clock was set back, a whole window ahead.
    fn forget(&mut self, now: i64) {
        while let Some(&(at, count)) = self.ticks.front()
            && (now - at).abs() >= self.length_millis
        {
            self.inside -= count;
            self.ticks.pop_front();
        }
    }
}
