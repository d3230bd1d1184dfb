//! How long a provider asks us to wait.

use crate::clock::Timestamp;
use std::time::{Duration, SystemTime};

/// Longest wait a provider can impose through `Retry-After` (RFC 9110 §10.2.3).
///
/// Longer requests are clamped: a refresh token that lives for days must not sleep for weeks.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Reads `Retry-After`: seconds or an HTTP date (RFC 9110 §10.2.3), clamped to [`MAX_RETRY_AFTER`].
#[must_use]
pub fn retry_after(field: &str, now: Timestamp) -> Option<Duration> {
    let field = field.trim();
    let wait = if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is longer than any clamp.
        Duration::from_secs(field.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(field).ok()?;
        date.duration_since(SystemTime::from(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}
