//! Everything that a sandbox can be told.

use super::{FaultScript, RateLimit, Role};
use crate::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Everything that describes a sandbox.
///
/// `Default` is strict: single use, no grace, no limit, no latency, no faults, and one user.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where tokens, jitter and fault shares come from: the same seed and requests give the same run.
    pub seed: u64,
    /// The only client that is known here.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Users at the start: `user-000000` with `user-000000@example.com`, and so on.
    pub users: usize,
    /// The last so many of [`users`](Self::users) are refused with `invalid_grant` from the start.
    pub dead_users: usize,
    /// What a redemption does to the refresh token.
    pub rotation: Rotation,
    /// How long after its first redemption a rotated token is granted again.
    pub grace: Duration,
    /// What happens to a redeemed token that comes again after the grace.
    pub reuse: Reuse,
    /// The provider's limit; a request above it gets a 429 with `Retry-After` in whole seconds, rounded up.
    pub rate_limit: Option<RateLimit>,
    /// How long an answer takes; half of it passes before the commit, half after.
    pub latency: Duration,
    /// Longest addition to [`latency`](Self::latency), drawn for each request.
    pub latency_jitter: Duration,
    /// What `expires_in` announces. Nobody redeems access tokens here, so nothing enforces it.
    pub access_token_lifetime: Duration,
    /// How long a refresh token is accepted, by [`clock`](Self::clock); after that, `invalid_grant`.
    pub refresh_token_lifetime: Duration,
    /// Adds `refresh_token_expires_in` to the answers.
    pub announce_refresh_lifetime: bool,
    /// The profile that it plays; none is RFC 6749 as it is written. [`Role::played_by`] sets it with what goes with it.
    pub role: Option<Arc<Role>>,
    /// What goes wrong from the start.
    pub faults: FaultScript,
    /// What lifetimes, grace and rate limit are counted by; whole milliseconds.
    pub clock: Clock,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            client_id: "sandbox-client".into(),
            client_secret: "sandbox-secret".into(),
            users: 1,
            dead_users: 0,
            rotation: Rotation::Rotate,
            grace: Duration::ZERO,
            reuse: Reuse::Refuse,
            rate_limit: None,
            latency: Duration::ZERO,
            latency_jitter: Duration::ZERO,
            access_token_lifetime: Duration::from_hours(1),
            refresh_token_lifetime: Duration::from_hours(14 * 24),
            announce_refresh_lifetime: false,
            role: None,
            faults: FaultScript::default(),
            clock: Clock::system(),
        }
    }
}

/// What a redemption does to the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// Single use: every answer has a new refresh token.
    Rotate,
    /// The refresh token stays, and every answer repeats it.
    Keep,
    /// The refresh token stays, and no answer contains one.
    KeepAndOmit,
}

/// What happens to a redeemed token that comes again after the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It is refused; the login lives on.
    Refuse,
    /// It is taken for theft: the whole login ends (RFC 9700 §4.14.2).
    RevokeFamily,
}
