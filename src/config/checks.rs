//! Settings held against each other: what can't work is refused, what is risky is a warning with its arithmetic.

use super::{
    chances::Chances, error::ConfigError, layers::Layers, providers::Registration, warning::Warning,
};
use crate::duration::words;
use crate::{
    clock::Timestamp,
    provider::Provider,
    schedule::{self, RenewAfter, Schedule},
    token::LEASE_MARGIN,
};
use std::time::Duration;

/// How much longer than a request the grace of a stop should be: time to keep the last answers.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Longest lease. A claim that lasts for more than twice as long was made under a clock that was ahead, and is cut.
const LONGEST_LEASE: Duration = Duration::from_hours(12);

/// Refuses a lease that may end before its answer comes, and one that is longer than any process can need.
pub(super) fn check_lease(
    layers: &Layers,
    lease: Duration,
    registration: &Registration,
) -> Result<(), ConfigError> {
    let (timeout, rest) =
        (registration.provider.profile.request_timeout, registration.provider.profile.settle_after);
    if lease > LONGEST_LEASE {
        return Err(ConfigError::Contradiction {
            first: layers.quoted("lease"),
            second: format!("the longest lease, {}", words(LONGEST_LEASE)),
            reason: "a claim that ends in more than a day is taken for one that was made under a wrong clock"
                .to_owned(),
            hint: format!("set `lease` to {} or less", words(LONGEST_LEASE)),
        });
    }
    let minimum = timeout + LEASE_MARGIN;
    if lease > minimum && lease > rest + LEASE_MARGIN {
        return Ok(());
    }
    if lease > minimum {
        return Err(ConfigError::Contradiction {
            first: layers.quoted("lease"),
            second: registration.scope.quoted(layers, "settle_after", &words(rest)),
            reason:
                "a token whose answer was lost keeps its claim while it waits, so that no other process sends it"
                    .to_owned(),
            hint: format!("set `settle_after` to less than {}", words(lease.saturating_sub(LEASE_MARGIN))),
        });
    }
    Err(ConfigError::Contradiction {
        first: layers.quoted("lease"),
        second: registration.scope.quoted(layers, "request_timeout", &words(timeout)),
        reason: format!(
            "a lease that ends before the answer is kept lets another process send the same refresh token; it must be \
             longer than the timeout and {}",
            words(LEASE_MARGIN)
        ),
        hint: format!("set `lease` to more than {}", words(minimum)),
    })
}

/// Warns of a stop that gives up grants which may still be answered.
pub(super) fn stop_warning(
    layers: &Layers,
    stop_grace: Duration,
    registration: &Registration,
) -> Option<Warning> {
    let timeout = registration.provider.profile.request_timeout;
    let least = timeout + STOP_MARGIN;
    (stop_grace < least).then(|| Warning::ShortStop {
        stop_grace: layers.quoted("stop_grace"),
        request_timeout: registration.scope.quoted(layers, "request_timeout", &words(timeout)),
        least,
    })
}

/// Refuses a schedule that may meet no token between the moment it is due and the moment it expires.
pub(super) fn check_chances(
    layers: &Layers,
    chances: &Chances,
    lifetime: Duration,
    registration: &Registration,
) -> Result<(), ConfigError> {
    if chances.wakes > 0 {
        return Ok(());
    }
    Err(ConfigError::Contradiction {
        first: layers.quoted("schedule"),
        second: registration.scope.quoted(layers, "refresh_token_lifetime", &words(lifetime)),
        reason: format!("a refresh token can expire between two scheduled passes: {}", chances.arithmetic()),
        hint: "wake more often, or set a smaller `renew_after`".to_owned(),
    })
}

/// Refuses a `min_age` that may leave no scheduled pass between the moment a token may be asked for and its end.
pub(super) fn check_min_age(
    layers: &Layers,
    schedule: &Schedule,
    lifetime: Duration,
    registration: &Registration,
    now: Timestamp,
) -> Result<(), ConfigError> {
    let min_age = registration.provider.profile.min_age;
    let gap = schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX);
    if min_age.is_zero() || min_age.saturating_add(gap) < lifetime {
        return Ok(());
    }
    let scope = &registration.scope;
    Err(ConfigError::Contradiction {
        first: scope.quoted(layers, "min_age", &words(min_age)),
        second: scope.quoted(layers, "refresh_token_lifetime", &words(lifetime)),
        reason: format!(
            "a refresh token can expire before a scheduled pass meets it that may ask for it: scheduled passes start up to {} apart",
            words(gap)
        ),
        hint: format!(
            "set a smaller `{}` (ten minutes are `10min` or `10m`; `10M` are ten months), or wake more often",
            scope.dotted("min_age")
        ),
    })
}

/// Warns, with the arithmetic, of a rate that can't refresh the whole collection within a token's life.
///
/// At the worst all `documents` fall due in one pass, and the one whose turn comes last fell due just after the wake
/// before: what is left of its life is all the time there is.
#[must_use]
pub fn drain_warning(
    documents: u64,
    provider: &Provider,
    schedule: &Schedule,
    renew_after: RenewAfter,
    now: Timestamp,
) -> Option<Warning> {
    let (rate, lifetime) = provider.profile.rate.zip(provider.profile.sliding_life())?;
    let (needed, bound) =
        (rate.time_for(documents), schedule::drain_bound(schedule, lifetime, renew_after, now));
    (needed > bound).then(|| Warning::SlowRate {
        documents,
        rate,
        provider: provider.name.to_string(),
        needed,
        bound,
        lifetime,
        due_after: renew_after.of(lifetime),
        gap: schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX),
    })
}

/// Refuses a log level that would be read as the name of a module that logs nothing.
pub(super) fn check_log_level(layers: &Layers, level: &str) -> Result<(), ConfigError> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let lower = level.to_lowercase();
    let one_word = level.chars().all(char::is_alphabetic);
    let readable = level.parse::<tracing_subscriber::filter::Targets>().is_ok();
    if readable && (!one_word || LEVELS.contains(&lower.as_str())) {
        return Ok(());
    }
    let nearest = crate::nearest::nearest_of(&lower, LEVELS.into_iter());
    Err(ConfigError::Value {
        at: layers.at("log.level"),
        key: "log.level".to_owned(),
        found: format!("the text `{level}`"),
        expected:
            "`error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter like `info,evergrant=debug`"
                .to_owned(),
        hint: nearest.map(|near| format!("did you mean `{near}`?")),
    })
}
