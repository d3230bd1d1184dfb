//! Passes as metrics: the one that runs, the last one, and all since the process began.

use super::{Family, Kind, PROVIDER, each, each_of, float, seconds, truth};
use crate::exit::Exit;
use crate::report::{NOT_BEGUN, Outcome, PassRecord};
use crate::token::{Reason, State, Vocabulary as _};
use crate::watch::ProviderStatus;

/// The reason of a document that is still due for what its last request brought: a provider's code, a status, a broken connection.
const LAST_REQUEST: &str = "last_request";

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "evergrant_pass_running",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "1 while a pass of the provider runs.",
        series: |status| each(status, |of| Some(truth(of.running.is_some()))),
    },
    Family {
        name: "evergrant_pass_documents_due",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Documents that were due when the pass that runs began. Absent while no pass runs.",
        series: |status| each(status, |of| Some(float(of.running.as_ref()?.due?))),
    },
    Family {
        name: "evergrant_pass_documents_done",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "Documents that reached their end in the pass that runs. Absent while no pass runs.",
        series: |status| each(status, |of| Some(float(of.running.as_ref()?.done))),
    },
    Family {
        name: "evergrant_passes_total",
        kind: Kind::Counter,
        labels: &["provider", "result"],
        help: "Passes that are over, by how they ended (`evergrant help exit-codes`).",
        series: |status| {
            let results = || Exit::ALL.iter().map(|exit| exit.word()).chain([NOT_BEGUN]);
            each_of(status, results, |of, result| {
                Some(of.counts.results.get(result).copied().unwrap_or_default())
            })
        },
    },
    Family {
        name: "evergrant_documents_total",
        kind: Kind::Counter,
        labels: &["provider", "outcome"],
        help: "Documents by where they ended, in passes that are over (`evergrant help outcomes`).",
        series: |status| {
            each_of(status, outcomes, |of, outcome| {
                Some(of.counts.outcomes.get(outcome).copied().unwrap_or_default())
            })
        },
    },
    Family {
        name: "evergrant_last_pass_start_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "When the last pass began that is over. Absent before the first one; a restart does not forget it.",
        series: |status| each(status, |of| Some(seconds(of.last_pass.as_ref()?.started_at))),
    },
    Family {
        name: "evergrant_last_pass_end_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "When it ended.",
        series: |status| each(status, |of| Some(seconds(of.last_pass.as_ref()?.ended_at))),
    },
    Family {
        name: "evergrant_last_pass_duration_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "How long it took.",
        series: |status| {
            each(status, |of| {
                let PassRecord { started_at, ended_at, .. } = of.last_pass.as_ref()?;
                Some(seconds(*ended_at) - seconds(*started_at))
            })
        },
    },
    Family {
        name: "evergrant_last_pass_result",
        kind: Kind::Gauge,
        labels: &["provider", "result"],
        help: "1 for how it ended, 0 for the others. All are 0 before the first pass.",
        series: |status| {
            let results = || Exit::ALL.iter().map(|exit| exit.word());
            each_of(status, results, |of, result| {
                Some(u64::from(of.last_pass.as_ref().is_some_and(|last| last.result == result)))
            })
        },
    },
    Family {
        name: "evergrant_last_complete_pass_timestamp_seconds",
        kind: Kind::Gauge,
        labels: PROVIDER,
        help: "When a pass last came through everything that was due. Users who must log in again do not make it incomplete. Absent before the first one.",
        series: |status| each(status, |of| Some(seconds(of.last_complete_pass_at?))),
    },
    Family {
        name: "evergrant_last_pass_documents",
        kind: Kind::Gauge,
        labels: &["provider", "outcome"],
        help: "Documents of the last pass, by where they ended.",
        series: |status| {
            each_of(status, outcomes, |of, outcome| Some(of_last(of, |last| last.outcomes.get(outcome))))
        },
    },
    Family {
        name: "evergrant_last_pass_newly_marked",
        kind: Kind::Gauge,
        labels: &["provider", "state"],
        help: "Documents that the last pass marked, and that were not marked before.",
        series: |status| {
            each_of(status, marks, |of, state| Some(of_last(of, |last| last.newly_marked.get(state))))
        },
    },
    Family {
        name: "evergrant_still_due",
        kind: Kind::Gauge,
        labels: &["provider", "reason"],
        help: "Documents that the last pass left due, by reason (`evergrant help reasons`). `last_request`: what the last request brought; `evergrant tokens list` shows the code.",
        series: |status| each_of(status, reasons, |of, reason| Some(still_due(of, reason))),
    },
];

fn outcomes() -> impl Iterator<Item = &'static str> {
    Outcome::ALL.iter().map(|outcome| outcome.word())
}

fn marks() -> impl Iterator<Item = &'static str> {
    State::ALL.iter().filter(|state| **state != State::Live).map(|state| state.word())
}

fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.word()).chain([LAST_REQUEST])
}

fn of_last<'a>(of: &'a ProviderStatus, count: impl Fn(&'a PassRecord) -> Option<&'a u64>) -> u64 {
    of.last_pass.as_ref().and_then(count).copied().unwrap_or_default()
}

/// How many documents the last pass left due for this reason.
fn still_due(of: &ProviderStatus, reason: &str) -> u64 {
    let Some(last) = &of.last_pass else { return 0 };
    let counts = last.still_due_reasons.iter();
    let is_meant =
        |word: &str| if reason == LAST_REQUEST { Reason::from_word(word).is_none() } else { word == reason };
    counts.filter(|(word, _)| is_meant(word)).map(|(_, count)| count).sum()
}
