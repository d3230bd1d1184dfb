//! The survey and its forecast as metrics: how tokens stand, and when logins end if nothing more is refreshed.

use super::{Family, Kind, PROVIDER, Series, Value, float, moment, one, seconds};
use crate::survey::Tokens;
use crate::token::{State, Vocabulary as _};
use crate::watch::Status;
use std::borrow::Cow;

/// Under which name the documents of no configured provider stand.
const OTHER: &str = "other";

/// The state of a document that no pass has seen.
const UNSEEN: &str = "unseen";

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "evergrant_tokens",
        kind: Kind::Gauge,
        labels: &["provider", "state"],
        help: "Documents by state, as the last survey counted them. `unseen`: no pass has seen them.",
        series: |status| {
            let mut series = Vec::new();
            for (name, tokens) in each(status) {
                let counts = State::ALL.iter().map(|state| (state.word(), of_state(tokens, *state)));
                let all = counts.chain([(UNSEEN, tokens.unseen)]);
                series.extend(
                    all.map(|(word, count)| (vec![name.into(), word.into()], Value::Number(float(count)))),
                );
            }
            series
        },
    },
    Family {
        name: "evergrant_tokens_due",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Documents that are due now. Absent where they can't be counted quickly.",
        series: |status| of_each(status, |tokens| Some(float(tokens.due?))),
    },
    Family {
        name: "evergrant_oldest_due_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "The earliest due date of these. Absent when none has one.",
        series: |status| of_each(status, |tokens| Some(seconds(tokens.oldest_due_at?))),
    },
    Family {
        name: "evergrant_first_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "If nothing more is refreshed, the first live login ends then. Absent when no end is known.",
        series: |status| of_each(status, |tokens| Some(seconds(tokens.forecast.first_end_at?))),
    },
    Family {
        name: "evergrant_tokens_expiring",
        kind: Kind::Gauge,
        labels: &["provider", "within"],
        help: "Live logins that end within this number of days if nothing more is refreshed. Each number holds the ones before it.",
        series: |status| {
            let mut series = Vec::new();
            for (name, tokens) in each(status) {
                series.extend(tokens.forecast.within.iter().map(|(days, count)| {
                    (vec![name.into(), Cow::Owned(format!("{days}d"))], Value::Number(float(count)))
                }));
            }
            series
        },
    },
    Family {
        name: "evergrant_tokens_expiring_before_next_wake",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Live logins that end before the next pass reaches them.",
        series: |status| of_each(status, |tokens| Some(float(tokens.forecast.before_next_pass))),
    },
    Family {
        name: "evergrant_tokens_expired_unseen",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Logins that are live as far as is known, and whose end is past.",
        series: |status| of_each(status, |tokens| Some(float(tokens.forecast.ended_unseen))),
    },
    Family {
        name: "evergrant_tokens_expiry_unknown",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Live logins without a known end, and documents that no pass has seen: the forecast can't speak of them.",
        series: |status| of_each(status, |tokens| Some(float(tokens.forecast.unknown))),
    },
    Family {
        name: "evergrant_survey_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When these were counted. Absent before the first time.",
        series: |status| moment(status.survey.as_ref().map(|survey| survey.made_at)),
    },
    Family {
        name: "evergrant_survey_duration_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long counting took.",
        series: |status| status.survey.iter().map(|survey| one(survey.took.as_secs_f64())).collect(),
    },
];

fn each(status: &Status) -> impl Iterator<Item = (&str, &Tokens)> {
    let survey = status.survey.as_ref();
    let named =
        survey.into_iter().flat_map(|survey| &survey.providers).map(|(name, tokens)| (&**name, tokens));
    named.chain(survey.and_then(|survey| survey.others.as_ref()).map(|tokens| (OTHER, tokens)))
}

fn of_each(status: &Status, value: impl Fn(&Tokens) -> Option<f64>) -> Vec<Series<'_>> {
    each(status)
        .filter_map(|(name, tokens)| Some((vec![name.into()], Value::Number(value(tokens)?))))
        .collect()
}

const fn of_state(tokens: &Tokens, state: State) -> u64 {
    match state {
        State::Live => tokens.live,
        State::NeedsLogin => tokens.needs_login,
        State::LostInFlight => tokens.lost_in_flight,
        State::Malformed => tokens.malformed,
    }
}
