//! What a provider's answers tell of the lives of its tokens.

use super::Profile;
use super::keep::Keep;
use crate::clock::Timestamp;
use crate::schedule::{KnownLives, RenewAfter, Schedule, TooShort};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The shortest lives that the successes of a pass told; none where they told none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Of a refresh token whose end each success moves.
    pub refresh: Option<Duration>,
    /// Of an access token.
    pub access: Option<Duration>,
}

impl Learned {
    /// Is one of them too short for this schedule? An access token's life matters only where access tokens are kept good.
    #[must_use]
    pub fn too_short(
        self,
        profile: &Profile,
        schedule: &Schedule,
        renew_after: RenewAfter,
        now: Timestamp,
    ) -> Option<TooShort> {
        let access = self.access.filter(|_| profile.keep == Keep::Access);
        let lives = KnownLives { refresh: self.refresh, access, request_timeout: profile.request_timeout };
        TooShort::of(lives, schedule, renew_after, now)
    }

    /// The shorter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let shorter = |one: Option<Duration>, other| one.into_iter().chain(other).min();
        Self { refresh: shorter(self.refresh, other.refresh), access: shorter(self.access, other.access) }
    }

    /// What is known after these: what they don't tell stays as it was.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self { refresh: self.refresh.or(before.refresh), access: self.access.or(before.access) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_life_counts_and_what_no_answer_tells_stays_known() {
        let told = |refresh: Option<u64>, access: Option<u64>| Learned {
            refresh: refresh.map(Duration::from_secs),
            access: access.map(Duration::from_secs),
        };
        assert_eq!(told(Some(5), None).and(told(Some(3), Some(7))), told(Some(3), Some(7)));
        assert_eq!(told(None, Some(9)).or(told(Some(5), Some(1))), told(Some(5), Some(9)));
    }
}
