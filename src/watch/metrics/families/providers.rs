//! Providers as metrics: what is asked of each, how it answers, and what its gate lets through.

use super::{Family, Kind, PROVIDER, Value, each, each_of, float, seconds};
use crate::gate::Doing;
use crate::grant::answer::Class;
use crate::token::Vocabulary as _;
use crate::watch::ProviderStatus;
use std::borrow::Cow;

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "evergrant_grants_total",
        kind: Kind::Counter,
        labels: &["provider", "class"],
        help: "Token requests, by the kind of the answer (`evergrant help reasons`).",
        series: |status| {
            let classes = || Class::WORDS.into_iter();
            each_of(status, classes, |of, class| {
                Some(of.counts.classes.get(class).copied().unwrap_or_default())
            })
        },
    },
    Family {
        name: "evergrant_grant_duration_seconds",
        kind: Kind::Histogram,
        labels: PROVIDER,
        help: "How long token requests took, from the first byte sent to the last one received.",
        series: |status| {
            let of = |(name, of): (&'_ String, &ProviderStatus)| {
                (vec![Cow::Owned(name.clone())], Value::Durations(of.counts.took))
            };
            status.providers.iter().map(of).collect()
        },
    },
    Family {
        name: "evergrant_grants_in_flight",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Token requests that wait for their answer.",
        series: |status| each(status, |of| Some(float(of.in_flight))),
    },
    Family {
        name: "evergrant_grant_retries_total",
        kind: Kind::Counter,
        labels: PROVIDER,
        help: "Token requests that were repeated for a token in the same pass.",
        series: |status| each(status, |of| Some(float(of.counts.retries))),
    },
    Family {
        name: "evergrant_throttle_pauses_total",
        kind: Kind::Counter,
        labels: PROVIDER,
        help: "Pauses that the provider asked for.",
        series: |status| each(status, |of| Some(float(of.pauses.count))),
    },
    Family {
        name: "evergrant_throttle_pause_seconds_total",
        kind: Kind::Counter,
        labels: PROVIDER,
        help: "How long these pauses are in all.",
        series: |status| each(status, |of| Some(of.pauses.length.as_secs_f64())),
    },
    Family {
        name: "evergrant_rate_limit_grants",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Token requests that the setting `rate` allows in one window. Absent without a limit.",
        series: |status| each(status, |of| Some(of.rate?.0.into())),
    },
    Family {
        name: "evergrant_rate_limit_window_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Length of that window.",
        series: |status| each(status, |of| Some(of.rate?.1)),
    },
    Family {
        name: "evergrant_rate_budget_used_ratio",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Share of that limit which the last window used.",
        series: |status| each(status, |of| of.budget_used),
    },
    Family {
        name: "evergrant_rate_factor_ratio",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Share of the rate that is used now: below 1 after the provider throttled us.",
        series: |status| each(status, |of| of.state.map(|_| of.rate_factor)),
    },
    Family {
        name: "evergrant_provider_state",
        kind: Kind::Gauge,
        labels: &["provider", "state"],
        help: "1 for what is sent to the provider now, or was when its last pass ended; 0 for the others.",
        series: |status| {
            let states = || Doing::ALL.iter().map(|doing| doing.word());
            each_of(status, states, |of, state| of.state.map(|doing| u64::from(doing.word() == state)))
        },
    },
    Family {
        name: "evergrant_last_granted_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "When a token was granted last. Absent before the first one of this process.",
        series: |status| each(status, |of| Some(seconds(of.last_granted_at?))),
    },
];
