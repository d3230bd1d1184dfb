//! Every metric, once: its name, its labels, what it says, and where it is read.

mod tokens;

use super::process::Process;
use super::{Family, Kind, Series, Value};
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::gate::Doing;
use crate::grant::answer::Class;
use crate::journal::EntryState;
use crate::report::{NOT_BEGUN, Outcome, PassRecord};
use crate::store::Health;
use crate::token::{Reason, State, Vocabulary as _};
use crate::watch::{Phase, ProviderStatus, Space, Status};
use std::borrow::Cow;

/// The reason of a document that is still due for what its last request brought: a provider's code, a status, a broken connection.
pub const LAST_REQUEST: &str = "last_request";

/// All metrics, in the order of the page.
pub(super) const FAMILIES: &[&[Family]] =
    &[OF_THE_PROCESS, OF_PASSES, tokens::FAMILIES, OF_PROVIDERS, OF_WHAT_IS_KEPT];

const PROVIDER: &[&str] = &["provider"];

const OF_THE_PROCESS: &[Family] = &[
    Family {
        name: "evergrant_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1. The version of Evergrant is in the label.",
        series: |status| vec![(vec![status.version.into()], Value::Number(1.0))],
    },
    Family {
        name: "evergrant_start_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process began.",
        series: |status| moment(Some(status.started_at)),
    },
    Family {
        name: "evergrant_phase",
        kind: Kind::Gauge,
        labels: &["phase"],
        help: "1 for what the process is doing now, 0 for the others.",
        series: |status| Phase::ALL.iter().map(|phase| is(phase.word(), *phase == status.phase)).collect(),
    },
    Family {
        name: "evergrant_next_wake_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "The next wake of the schedule. Absent where passes begin only by what is due.",
        series: |status| moment(status.next_wake_at),
    },
    Family {
        name: "evergrant_follow_up_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the next pass follows one that left something due. Absent when none is planned.",
        series: |status| moment(status.follow_up_at),
    },
    Family {
        name: "evergrant_wake_interval_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "The longest time between two wakes in the coming year.",
        series: |status| {
            status.wake_interval_seconds.map(|seconds| one(float(seconds))).into_iter().collect()
        },
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory of the process that is in RAM.",
        series: |_| Process::now().resident_bytes.map(one).into_iter().collect(),
    },
    Family {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "CPU time that the process has used.",
        series: |_| Process::now().cpu_seconds.map(one).into_iter().collect(),
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open file descriptors.",
        series: |_| Process::now().open_fds.map(one).into_iter().collect(),
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Most file descriptors that the process may open.",
        series: |_| Process::now().max_fds.map(one).into_iter().collect(),
    },
];

const OF_PASSES: &[Family] = &[
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

const OF_PROVIDERS: &[Family] = &[
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

const OF_WHAT_IS_KEPT: &[Family] = &[
    Family {
        name: "evergrant_journal_up",
        kind: Kind::Gauge,
        labels: &[],
        help: "0 once the journal has failed: nothing more is redeemed, and the process ends.",
        series: |status| vec![one(truth(status.journal.up))],
    },
    Family {
        name: "evergrant_journal_entries",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Entries of the journal (`evergrant journal list`). `answer`: a pair that is not in its document yet; `orphan`: a pair without a place; `unknown`: of another version.",
        series: |status| {
            let count =
                |state: EntryState| float(status.journal.entries.get(&state).copied().unwrap_or_default());
            let known = EntryState::ALL.into_iter().map(|state| labelled(state.word(), count(state)));
            known.chain([labelled("unknown", float(status.journal.unknown_entries))]).collect()
        },
    },
    Family {
        name: "evergrant_journal_oldest_entry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the token of the oldest entry was sent. Absent when the journal is empty.",
        series: |status| moment(status.journal.oldest_sent_at),
    },
    Family {
        name: "evergrant_free_bytes",
        kind: Kind::Gauge,
        labels: &["place"],
        help: "Free room on the disk of the state directory (`journal`), and of an embedded store (`store`).",
        series: |status| spaces(status, |space| space.free_bytes),
    },
    Family {
        name: "evergrant_free_floor_bytes",
        kind: Kind::Gauge,
        labels: &["place"],
        help: "Free room below which nothing is redeemed (`free_space_floor`).",
        series: |status| spaces(status, |space| space.floor_bytes),
    },
    Family {
        name: "evergrant_store_up",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last call to the store was answered. Absent before the first call.",
        series: |status| status.store.up.map(|up| one(truth(up))).into_iter().collect(),
    },
    Family {
        name: "evergrant_store_errors_total",
        kind: Kind::Counter,
        labels: &["kind"],
        help: "Calls to the store that failed.",
        series: |status| {
            let errors = Health::KINDS.into_iter().zip(status.store.health.errors);
            errors.map(|(kind, count)| labelled(kind, float(count))).collect()
        },
    },
    Family {
        name: "evergrant_store_index_ready",
        kind: Kind::Gauge,
        labels: &["index"],
        help: "0 where an index of ours is missing, so that passes read more than they need. Absent before the first pass.",
        series: |status| status.store.indexes.iter().map(|(index, ready)| is(index, *ready)).collect(),
    },
];

fn one(number: f64) -> Series<'static> {
    (Vec::new(), Value::Number(number))
}

fn labelled(value: &str, number: f64) -> Series<'_> {
    (vec![value.into()], Value::Number(number))
}

fn is(value: &str, holds: bool) -> Series<'_> {
    labelled(value, truth(holds))
}

const fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts, bytes and seconds far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "milliseconds far below 2^52")]
fn seconds(at: Timestamp) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

fn moment(at: Option<Timestamp>) -> Vec<Series<'static>> {
    at.map(|at| one(seconds(at))).into_iter().collect()
}

/// A series for each provider that has this value.
fn each(status: &Status, value: impl Fn(&ProviderStatus) -> Option<f64>) -> Vec<Series<'_>> {
    let of = |(name, of)| Some((vec![Cow::Borrowed(String::as_str(name))], Value::Number(value(of)?)));
    status.providers.iter().filter_map(of).collect()
}

/// A series for each provider and each word.
fn each_of<I: Iterator<Item = &'static str>>(
    status: &Status,
    words: impl Fn() -> I,
    value: impl Fn(&ProviderStatus, &str) -> Option<u64>,
) -> Vec<Series<'_>> {
    let mut series = Vec::new();
    for (name, of) in &status.providers {
        let word = |word: &'static str| {
            Some((vec![name.into(), word.into()], Value::Number(float(value(of, word)?))))
        };
        series.extend(words().filter_map(word));
    }
    series
}

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

fn spaces(status: &Status, bytes: impl Fn(&Space) -> u64) -> Vec<Series<'_>> {
    let places = [("journal", &status.journal.space), ("store", &status.store.space)];
    places
        .into_iter()
        .filter_map(|(place, space)| Some(labelled(place, float(bytes(space.as_ref()?)))))
        .collect()
}
