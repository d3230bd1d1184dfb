//! Can each access token get its successor before it ends, as `keep = "access"` asks?

use super::{Config, error::ConfigError, layers::Layers, providers::Registration, warning::Warning};
use crate::clock::Timestamp;
use crate::duration::words;
use crate::provider::{Provider, keep::Keep, rate::Rate};
use crate::schedule::{Schedule, keeps_fresh};
use std::time::Duration;

/// What an access token of one provider has to last for, at the worst: a scheduled pass starts just before it is due, and
/// the next one meets it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    pub(super) provider: String,
    life: Duration,
    gap: Duration,
    timeout: Duration,
    /// Do passes go by what is due? Then each holds what has fallen due, and not all documents.
    is_continuous: bool,
}

/// A pass over all documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholePass {
    documents: u64,
    rate: Rate,
    time: Duration,
}

impl Keeping {
    /// Does the arithmetic for a provider; `None` where its access tokens aren't kept good, or their life isn't known.
    #[must_use]
    pub fn of(config: &Config, provider: &Provider, now: Timestamp) -> Option<Self> {
        Self::with(&config.schedule, provider, now)
    }

    fn with(schedule: &Schedule, provider: &Provider, now: Timestamp) -> Option<Self> {
        let life =
            provider.profile.access_token_lifetime.filter(|_| provider.profile.keep == Keep::Access)?;
        Some(Self {
            provider: provider.name.to_string(),
            life,
            gap: schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX),
            timeout: provider.profile.request_timeout,
            is_continuous: schedule.is_continuous(),
        })
    }

    /// The numbers, as a sentence.
    #[must_use]
    pub fn arithmetic(&self) -> String {
        format!(
            "an access token lives {}, scheduled passes start up to {} apart, and a request takes up to {}",
            words(self.life),
            words(self.gap),
            words(self.timeout)
        )
    }

    /// The longest interval of the schedule with which tokens are kept good, if a pass takes so long; whole minutes.
    fn longest_interval(&self, pass: Duration) -> Option<Duration> {
        const DAY: u64 = 24 * 3600;
        let seconds = self.life.checked_sub(self.timeout)?.checked_sub(pass)?.as_secs();
        // To whole hours from a day on: what is shown in two units must not be longer.
        let whole = seconds - seconds % if seconds >= DAY { 3600 } else { 60 };
        (whole >= 60).then(|| Duration::from_secs(whole))
    }

    /// What to do about the schedule.
    fn advice(&self, pass: Duration) -> String {
        if self.is_continuous {
            return "set a shorter `request_timeout`".to_owned();
        }
        self.longest_interval(pass).map_or_else(
            || "set a shorter `request_timeout`, or `keep = \"refresh\"`".to_owned(),
            |longest| format!("set `schedule = \"every {}\"`, or a shorter interval", words(longest)),
        )
    }

    /// Warns where a pass over `documents` documents takes too long; [`WholePass::never_fits`] says whether that can ever work.
    #[must_use]
    pub fn warning(&self, documents: u64, rate: Option<Rate>) -> Option<Warning> {
        let rate = rate?;
        let pass = WholePass { documents, rate, time: rate.time_for(documents) };
        let in_time = keeps_fresh(self.life, self.gap, self.timeout.saturating_add(pass.time));
        (pass.never_fits(self) || !in_time).then(|| Warning::LateAccess(self.clone(), pass))
    }
}

impl WholePass {
    /// Does such a pass take longer than the schedule leaves it, whatever the access tokens' life?
    #[must_use]
    pub fn never_fits(&self, keeping: &Keeping) -> bool {
        self.time > if keeping.is_continuous { keeping.life } else { keeping.gap }
    }

    /// What is wrong with it.
    pub(super) fn told(&self, keeping: &Keeping) -> String {
        let start = format!(
            "a pass over all {} documents at {} takes {}",
            self.documents,
            self.rate,
            words(self.time)
        );
        let Keeping { provider, gap, life, .. } = keeping;
        if self.never_fits(keeping) && keeping.is_continuous {
            let life = words(*life);
            return format!(
                "{start}, and an access token of `{provider}` lives {life}: access tokens end before their turn comes"
            );
        }
        if self.never_fits(keeping) {
            let gap = words(*gap);
            return format!(
                "{start}, and the next one starts up to {gap} later: access tokens of `{provider}` end before their turn comes"
            );
        }
        format!(
            "{start}, so an access token of `{provider}` can end before its new one comes: {}",
            keeping.arithmetic()
        )
    }

    /// What to do about it.
    pub(super) fn advice(&self, keeping: &Keeping) -> String {
        let fewer = "let `documents.filter` choose fewer documents";
        if self.never_fits(keeping) {
            return format!("raise `rate` if the provider allows it, or {fewer}");
        }
        format!("{}; or raise `rate` if the provider allows it, or {fewer}", keeping.advice(self.time))
    }
}

/// Refuses `keep = "access"` where no access token can be replaced before it ends.
pub(super) fn check(
    layers: &Layers,
    schedule: &Schedule,
    registration: &Registration,
    now: Timestamp,
) -> Result<(), ConfigError> {
    let (provider, scope) = (&registration.provider, &registration.scope);
    if provider.profile.keep != Keep::Access {
        return Ok(());
    }
    let keep = scope.quoted(layers, "keep", "access");
    if layers.text("documents.access_token").as_deref() == Some("none") {
        return Err(ConfigError::Contradiction {
            first: keep,
            second: layers.quoted("documents.access_token"),
            reason: "an access token that is written nowhere can't be kept good".to_owned(),
            hint: format!(
                "set `documents.access_token` to its field, or `{} = \"refresh\"`",
                scope.dotted("keep")
            ),
        });
    }
    let Some(keeping) = Keeping::with(schedule, provider, now) else {
        return Err(ConfigError::Contradiction {
            first: keep,
            second: scope.quoted(layers, "access_token_lifetime", "unknown"),
            reason: "without the life of an access token its due time can't be worked out".to_owned(),
            hint: format!(
                "set `{}` to the life of an access token, like `30min`; an answer that says another life goes before it",
                scope.dotted("access_token_lifetime")
            ),
        });
    };
    let Keeping { life, gap, timeout, .. } = &keeping;
    let shown = words(*life);
    if !keeps_fresh(*life, *gap, *timeout) {
        return Err(ConfigError::Contradiction {
            first: layers.quoted("schedule"),
            second: scope.quoted(layers, "access_token_lifetime", &shown),
            reason: format!(
                "with {keep} each access token must be replaced before it ends: {}",
                keeping.arithmetic()
            ),
            hint: keeping.advice(Duration::ZERO),
        });
    }
    let min_age = provider.profile.min_age;
    // At the next wake it is too young, and at the one after that it is over.
    if min_age.saturating_add(*timeout) > *gap && !keeps_fresh(*life, *gap, timeout.saturating_add(min_age)) {
        return Err(ConfigError::Contradiction {
            first: scope.quoted(layers, "min_age", &words(min_age)),
            second: scope.quoted(layers, "access_token_lifetime", &shown),
            reason: format!(
                "with {keep} each access token must be replaced before it ends, and by then it may be too young: {}",
                keeping.arithmetic()
            ),
            hint: format!(
                "set a smaller `{}` if the provider allows it, or `keep = \"refresh\"`",
                scope.dotted("min_age")
            ),
        });
    }
    Ok(())
}
