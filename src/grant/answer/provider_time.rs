//! The provider's clock, as an answer tells it: an end in the answer means that clock, and ours may be another.

use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use chrono::TimeDelta;

/// Up to here two clocks agree: a `Date` has whole seconds, and an answer takes its time.
const AGREE: TimeDelta = TimeDelta::minutes(1);

impl RawAnswer {
    /// When the provider sent it, by its own `Date` (RFC 9110 §6.6.1).
    pub(super) fn date(&self) -> Option<Timestamp> {
        let date = self.headers.all("date").next().and_then(|date| std::str::from_utf8(date).ok());
        date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).map(Timestamp::from)
    }

    /// How far our clock was ahead of the provider's when it came; nothing where they agree, and where it has no `Date`.
    pub(super) fn clock_ahead(&self) -> TimeDelta {
        let ahead = self.date().map(|date| self.received_at - date);
        ahead.filter(|ahead| ahead.abs() > AGREE).unwrap_or_default()
    }
}
