//! Every metric, once: its name, its labels, what it says, and where it is read.

mod passes;
mod providers;
mod tokens;

use super::process::Process;
use super::{Family, Kind, Series, Value};
use crate::clock::Timestamp;
use crate::journal::EntryState;
use crate::store::Health;
use crate::token::Vocabulary as _;
use crate::watch::{Phase, ProviderStatus, Space, Status};
use std::borrow::Cow;

/// All metrics, in the order of the page.
pub(super) const FAMILIES: &[&[Family]] =
    &[OF_THE_PROCESS, passes::FAMILIES, tokens::FAMILIES, providers::FAMILIES, OF_WHAT_IS_KEPT];

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
        series: |status| moment(status.started_at),
    },
    Family {
        name: "evergrant_phase",
        kind: Kind::Gauge,
        labels: &["phase"],
        help: "1 for what the process is doing now, 0 for the others.",
        series: |status| {
            Phase::ALL.iter().map(|phase| is(phase.word(), Some(*phase) == status.phase)).collect()
        },
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

fn spaces(status: &Status, bytes: impl Fn(&Space) -> u64) -> Vec<Series<'_>> {
    let places = [("journal", &status.journal.space), ("store", &status.store.space)];
    places
        .into_iter()
        .filter_map(|(place, space)| Some(labelled(place, float(bytes(space.as_ref()?)))))
        .collect()
}
