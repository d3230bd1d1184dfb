//! What a person should look at. Users who must log in again are none: the reports name them, and nothing here is broken.

use super::super::{OTHER, ProviderStatus, Space, Status};
use super::Source;
use crate::clock::Timestamp;
use crate::duration::words;
use crate::exit::Exit;
use crate::gate::Doing;
use crate::journal::EntryState;
use crate::report::PassRecord;
use chrono::TimeDelta;
use serde::Serialize;

/// Wakes of the schedule after which a complete pass is missed: one may fail, and the next one makes up for it.
const WAKES_MISSED: u64 = 2;

/// How much later than that.
const LATE: u64 = 3600;

/// Something that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// 7: something can't be used. 4: something is unfinished.
    #[serde(rename = "exit_code", serialize_with = "super::code")]
    pub exit: Exit,
    /// What it is about: a provider's name; none where it is about the whole.
    pub provider: Option<String>,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// All of them, the most urgent first.
pub(super) fn all(status: &Status, source: &Source) -> Vec<Concern> {
    let mut found = Vec::new();
    found.extend(of_the_process(status));
    found.extend(of_rows(status, source));
    for (name, of) in &status.providers {
        let of_one = of_a_provider(name, of, status, source).into_iter();
        found.extend(of_one.map(|concern| Concern { provider: Some(name.clone()), ..concern }));
    }
    found.sort_by_key(|concern| Exit::BY_URGENCY.iter().position(|exit| *exit == concern.exit));
    found
}

fn concern(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Concern {
    Concern { exit, provider: None, message: message.into(), hint: hint.into() }
}

/// What keeps all of it from its work.
fn of_the_process(status: &Status) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |message: String, hint: &str| found.push(concern(Exit::Unavailable, message, hint));
    if let Some(hangs) = &status.hangs {
        add(
            format!("the process hangs: the {hangs}"),
            "restart it; what it has received and not written back is written at its start",
        );
    }
    if !status.journal.up {
        add(
            "the journal has failed".to_owned(),
            "read the log: the disk of `state_dir` needs a repair, or room",
        );
    }
    let is_short = |space: &Option<Space>| space.is_some_and(|space| space.free_bytes < space.floor_bytes);
    for (space, place) in
        [(&status.journal.space, "`state_dir`"), (&status.store.space, "the embedded store's file")]
    {
        if is_short(space) {
            add(
                format!("the disk of {place} has less room than `free_space_floor`, so no token is sent"),
                "free some space on it",
            );
        }
    }
    if status.store.up == Some(false) {
        add(
            format!("the store does not answer: {}", status.collection),
            "make it available again; what the journal holds is written into it by the next pass",
        );
    }
    found
}

/// What the journal holds that no pass will end by itself, or should have ended.
fn of_rows(status: &Status, source: &Source) -> Vec<Concern> {
    let is_at_work = status.is_at_work() || matches!(source, Source::Journal { held: true, .. });
    let count = |states: &[EntryState]| -> u64 {
        states.iter().filter_map(|state| status.journal.entries.get(state)).sum()
    };
    let mut found = Vec::new();
    let (waiting, parked) = (
        count(&[EntryState::Answer]),
        count(&[EntryState::Orphan, EntryState::SetAside, EntryState::Unread]),
    );
    if waiting > 0 && !is_at_work {
        found.push(concern(
            Exit::StillDue,
            many(
                waiting,
                "new pair is only in the journal, and in no document",
                "new pairs are only in the journal, and in no document",
            ),
            "keep the state directory; the next pass or start writes them",
        ));
    }
    let damaged = status.journal.unknown_entries;
    if parked + damaged > 0 {
        found.push(concern(
            Exit::StillDue,
            many(
                parked + damaged,
                "entry of the journal waits for a person",
                "entries of the journal wait for a person",
            ),
            "`evergrant journal list --orphans` says what to do with each",
        ));
    }
    found
}

fn of_a_provider(name: &str, of: &ProviderStatus, status: &Status, source: &Source) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |message: String, hint: &str| found.push(concern(Exit::StillDue, message, hint));
    match of.state {
        Some(doing @ (Doing::Outage | Doing::ClientRejected | Doing::Refusals | Doing::Closed)) => {
            add(doing.meaning().trim_end_matches('.').to_owned(), doing.advice());
        }
        Some(Doing::Open | Doing::Unproven | Doing::Paused) | None => {}
    }
    match &of.last_pass {
        Some(last) => {
            if let Some((what, hint)) = unfinished(last) {
                add(what, hint);
            }
        }
        None if *source != Source::Process && is_configured(name, of) => add(
            "no pass has ended on this machine yet".to_owned(),
            "`evergrant run --once` makes one, and a service makes them on the schedule",
        ),
        None => {}
    }
    let since = of.last_complete_pass_at.or(status.started_at);
    if is_configured(name, of)
        && let Some((since, interval)) = since.zip(status.wake_interval_seconds)
        && status.now - since > missed_after(interval)
    {
        let ago = (status.now - since).to_std().unwrap_or_default();
        add(
            format!("no pass has come through everything that was due for {}", words(ago)),
            "the reasons are in the report of the last pass; `evergrant check` looks at what a pass needs",
        );
    }
    let tokens = status.survey.as_ref().and_then(|survey| survey.providers.get(name));
    let too_late = tokens.map(|tokens| tokens.forecast.before_next_pass).filter(|count| *count > 0);
    if let Some(count) = too_late {
        add(
            many(
                count,
                "login ends before the next pass reaches it",
                "logins end before the next pass reaches them",
            ),
            "`evergrant run --once` refreshes them now; then choose a denser `schedule`",
        );
    }
    found
}

/// Documents of no configured provider have no pass that counts as missed.
fn is_configured(name: &str, of: &ProviderStatus) -> bool {
    name != OTHER || of.state.is_some()
}

/// Why the last pass left something, and what to do about it.
fn unfinished(last: &PassRecord) -> Option<(String, &'static str)> {
    let exit = Exit::ALL.into_iter().find(|exit| exit.word() == last.result);
    if matches!(exit, Some(Exit::Well | Exit::NeedsLogin)) {
        return None;
    }
    let mut parts =
        vec![format!("the last pass, which ended {}, left something: {}", at(last.ended_at), last.result)];
    if let Some(left) = last.remaining_due.filter(|left| *left > 0) {
        parts.push(format!("{left} still due"));
    }
    parts.extend(last.still_due_reasons.iter().map(|(reason, count)| format!("{reason} {count}")));
    parts.extend(last.troubles.iter().cloned());
    Some((parts.join(", "), exit.map_or("`evergrant help exit-codes` explains the word", Exit::advice)))
}

fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn at(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn missed_after(interval: u64) -> TimeDelta {
    let seconds = interval.saturating_mul(WAKES_MISSED).saturating_add(LATE);
    TimeDelta::try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(TimeDelta::MAX)
}
