use super::*;
use crate::clock::Timestamp;
use crate::gate::{Doing, Pauses};
use crate::journal::EntryState;
use crate::report::{Counts, PassRecord};
use crate::store::Health;
use crate::survey::{Forecast, Survey, Tokens, Within};
use crate::watch::{JournalStatus, Phase, ProviderStatus, Running, Space, StoreStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(in crate::watch) fn at(second: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(1_764_000_000 + second, 0).unwrap()
}

fn counted<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(word, count)| (word.to_owned(), count)).into()
}

fn provider(state: Option<Doing>) -> ProviderStatus {
    ProviderStatus { state, ..ProviderStatus::unknown() }
}

/// A process with one provider at work, whose name is hostile, and documents of no configured one.
pub(in crate::watch) fn status() -> Status {
    let last = PassRecord {
        pass: "p1".into(),
        started_at: at(0),
        ended_at: at(90),
        result: "needs_login".into(),
        complete: true,
        due: Some(12),
        remaining_due: Some(3),
        outcomes: counted([("refreshed", 7), ("needs_login", 2), ("still_due", 3)]),
        newly_marked: counted([("needs_login", 1), ("lost_in_flight", 1)]),
        still_due_reasons: counted([("held", 1), ("timeout", 1), ("provider_code", 1)]),
        grants: 13,
        troubles: Vec::new(),
    };
    let mut counts = Counts { retries: 4, ..Counts::default() };
    counts.classes = [("granted", 7), ("refused", 2)].into();
    counts.took.buckets = [3, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    counts.took.sum = Duration::from_millis(61_250);
    counts.outcomes = last.outcomes.clone();
    counts.results = counted([("needs_login", 1), ("not_begun", 2)]);
    let crm = ProviderStatus {
        in_flight: 3,
        rate_factor: 0.5,
        budget_used: Some(0.25),
        rate: Some((400, 60.0)),
        last_granted_at: Some(at(80)),
        running: Some(Running { started_at: at(100), due: Some(9), done: 2, refreshed: 2, needs_login: 0 }),
        last_complete_pass_at: Some(at(90)),
        last_pass: Some(last),
        pauses: Pauses { count: 2, length: Duration::from_secs(35) },
        counts,
        ..provider(Some(Doing::Paused))
    };
    Status {
        version: "0.1.0",
        collection: "logins.tokens at db1:27017".into(),
        now: at(110),
        started_at: Some(at(-60)),
        phase: Some(Phase::Passing),
        since: Some(at(100)),
        hangs: None,
        next_wake_at: Some(at(604_800)),
        follow_up_at: None,
        wake_interval_seconds: Some(604_800),
        providers: [("c\"r\\m\n".to_owned(), crm), ("other".to_owned(), provider(None))].into(),
        journal: JournalStatus {
            id: "j1".into(),
            up: true,
            counted_at: Some(at(105)),
            entries: [(EntryState::Intent, 3), (EntryState::Orphan, 1)].into(),
            unknown_entries: 0,
            oldest_sent_at: Some(at(-1000)),
            space: Some(Space { free_bytes: 5_000_000_000, floor_bytes: 67_108_864 }),
        },
        store: StoreStatus {
            up: Some(true),
            health: Health { up: Some(true), errors: [1, 0, 0, 0] },
            indexes: [("claims", false), ("due", true)].into(),
            space: None,
        },
        survey: Some(survey()),
        survey_not_made: None,
    }
}

fn survey() -> Survey {
    let forecast = Forecast {
        first_end_at: Some(at(90_000)),
        within: Within([0, 2, 5, 6, 6]),
        before_next_pass: 1,
        ended_unseen: 1,
        unknown: 3,
    };
    let tokens = Tokens { live: 7, needs_login: 2, unseen: 3, due: Some(3), forecast, ..Tokens::default() };
    let providers = [("c\"r\\m\n".to_owned(), tokens)].into();
    Survey { made_at: at(95), took: Duration::from_millis(12), providers, others: Some(Tokens::default()) }
}

/// Without what the system says of the process, which is another each time.
fn shown(page: &str) -> String {
    page.lines()
        .filter(|line| !line.starts_with("process_"))
        .fold(String::new(), |page, line| page + line + "\n")
}

#[test]
fn the_page_of_a_process_that_has_done_everything() {
    let labels = [("app".to_owned(), "crm".to_owned())];
    insta::assert_snapshot!(shown(&page(&status(), Which::All, &labels)));
}

#[test]
fn every_series_of_a_closed_list_is_there_before_the_first_pass() {
    let series = |status: &Status| -> BTreeSet<String> {
        let page = page(status, Which::All, &[]);
        let series = page.lines().filter(|line| !line.starts_with('#') && line.contains('{'));
        series.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let (done, mut fresh) = (status(), status());
    let names: Vec<_> = fresh.providers.keys().cloned().collect();
    for name in names {
        let before = &fresh.providers[&name];
        let (state, rate, budget_used) =
            (before.state.map(|_| Doing::Unproven), before.rate, before.budget_used);
        fresh.providers.insert(name, ProviderStatus { budget_used, rate, ..provider(state) });
    }
    let absent: Vec<_> = series(&done).difference(&series(&fresh)).cloned().collect();
    let may_be_absent = [
        "evergrant_pass_documents_",
        "evergrant_last_pass_start_",
        "evergrant_last_pass_end_",
        "evergrant_last_pass_duration_",
        "evergrant_last_complete_pass_",
        "evergrant_last_granted_",
    ];
    let unexplained: Vec<_> =
        absent.iter().filter(|series| !may_be_absent.iter().any(|name| series.starts_with(name))).collect();
    assert!(!absent.is_empty() && unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn what_a_one_shot_hands_over_are_gauges() {
    let page = page(&status(), Which::Gauges, &[]);
    assert!(!page.contains("_total") && !page.contains("_bucket") && !page.contains("process_"), "{page}");
    assert!(page.contains("evergrant_last_complete_pass_timestamp_seconds"));
}

#[test]
fn names_and_help_follow_the_rules_of_the_field() {
    let mut names = BTreeSet::new();
    for Family { name, kind, labels, help, .. } in families() {
        assert!(names.insert(name), "{name} twice");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        for forbidden in ["_age", "_ms", "_minutes", "_count"] {
            assert!(!name.contains(forbidden), "{name}");
        }
        assert!(labels.iter().all(|label| !["subject", "document", "code", "le"].contains(label)), "{name}");
    }
}
