//! How many passes each refresh token meets before it expires, and what to change when these are too few.

use super::warning::Warning;
use super::{Config, MAX_RETRY_AFTER_FAILURE};
use crate::clock::Timestamp;
use crate::duration::words;
use crate::provider::Provider;
use crate::schedule;
use std::time::Duration;

/// With this many scheduled passes for each token, one failed pass costs no login.
const ENOUGH_WAKES: usize = 2;

/// With one scheduled pass only, a service must have this long to try again: outages of a provider or of a store seldom
/// last longer.
const ENOUGH_TIME: Duration = Duration::from_hours(24);

/// How many passes a refresh token of one provider meets before it expires, at the worst: it is due just after a
/// scheduled pass has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chances {
    pub(super) provider: String,
    lifetime: Duration,
    due_after: Duration,
    rest: Duration,
    gap: Duration,
    /// Scheduled passes.
    pub wakes: usize,
    /// Passes that a service starts by itself when the last of these fails; `run --once` starts none.
    pub follow_ups: usize,
}

impl Chances {
    /// Does the arithmetic for a provider; `None` where no life of its refresh tokens is known that a success extends.
    #[must_use]
    pub fn of(config: &Config, provider: &Provider, now: Timestamp) -> Option<Self> {
        let lifetime = provider.profile.sliding_life()?;
        Some(Self::of_life(lifetime, config, provider, now))
    }

    /// The same for a life of this length.
    pub(super) fn of_life(lifetime: Duration, config: &Config, provider: &Provider, now: Timestamp) -> Self {
        let (schedule, renew_after) = (&config.schedule, config.renew_after);
        let gap = schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX);
        let rest = renew_after.rest_of(lifetime);
        let first_wait = config.retry_after_failure;
        Self {
            provider: provider.name.to_string(),
            lifetime,
            due_after: renew_after.of(lifetime),
            rest,
            gap,
            wakes: schedule::chances(schedule, lifetime, renew_after, now),
            follow_ups: schedule::follow_ups(rest.saturating_sub(gap), first_wait, MAX_RETRY_AFTER_FAILURE),
        }
    }

    /// The numbers behind it, as a sentence.
    #[must_use]
    pub fn arithmetic(&self) -> String {
        format!(
            "a refresh token lives {}, is due {} after it was issued, and then has {} left; scheduled passes start up to \
             {} apart",
            words(self.lifetime),
            words(self.due_after),
            words(self.rest),
            words(self.gap)
        )
    }

    /// What a pass that fails means for a service, in words.
    #[must_use]
    pub fn explained(&self) -> String {
        let Self { wakes, follow_ups, .. } = self;
        let passes = if *wakes == 1 { "scheduled pass" } else { "scheduled passes" };
        let start = format!("each refresh token meets at least {wakes} {passes} before it expires");
        if *wakes >= ENOUGH_WAKES {
            return format!("{start}: {}", self.arithmetic());
        }
        format!(
            "{start}. If that pass fails, the service tries again {follow_ups} times in the {} that are left at the \
             worst. `run --once` does not try again: start it every day. The numbers: {}",
            words(self.time_left()),
            self.arithmetic()
        )
    }

    /// Warns where one failed pass can cost logins although the service tries again.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        let in_time = self.follow_ups > 0 && self.time_left() >= ENOUGH_TIME;
        (self.wakes < ENOUGH_WAKES && !in_time).then(|| Warning::FewPasses(self.clone()))
    }

    /// Warns where one failed pass can cost logins because `run --once` does not try again.
    #[must_use]
    pub fn warning_for_once(&self) -> Option<Warning> {
        (self.wakes < ENOUGH_WAKES).then(|| Warning::FewPassesOfOnce(self.clone()))
    }

    /// Warns, of a login that no refresh extends, where it may end before any scheduled pass meets it.
    pub(super) fn warning_of_a_fixed_login(
        config: &Config,
        provider: &Provider,
        now: Timestamp,
    ) -> Option<Warning> {
        let lifetime = provider.profile.login_lifetime?;
        let chances = Self::of_life(lifetime, config, provider, now);
        (chances.wakes == 0).then_some(Warning::FixedLogin {
            provider: chances.provider,
            lifetime,
            gap: chances.gap,
        })
    }

    /// What is left of the token's life after the first scheduled pass that finds it due, at the worst.
    pub(super) const fn time_left(&self) -> Duration {
        self.rest.saturating_sub(self.gap)
    }
}
