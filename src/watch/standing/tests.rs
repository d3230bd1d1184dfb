use super::*;
use crate::gate::Doing;
use crate::journal::EntryState;
use crate::watch::metrics::tests::{at, status as busy};
use crate::watch::{Hangs, OTHER, Phase, ProviderStatus, Space, Status};
use std::time::Duration;

/// A service that sleeps, and whose last pass was through.
fn well() -> Status {
    let mut status = busy();
    (status.phase, status.since) = (Some(Phase::Sleeping), Some(at(90)));
    status.journal.entries.clear();
    if let Some(survey) = &mut status.survey {
        survey.providers.values_mut().for_each(|tokens| tokens.forecast.before_next_pass = 0);
        survey.providers =
            survey.providers.values().map(|tokens| ("crm".to_owned(), tokens.clone())).collect();
    }
    let crm = status.providers.remove("c\"r\\m\n").unwrap();
    let crm = ProviderStatus { state: Some(Doing::Open), running: None, paused_for_seconds: None, ..crm };
    status.providers.insert("crm".into(), crm);
    status
}

fn crm(status: &mut Status) -> &mut ProviderStatus {
    status.providers.get_mut("crm").unwrap()
}

fn judged(change: impl FnOnce(&mut Status)) -> (u8, Vec<String>) {
    let mut status = well();
    change(&mut status);
    let standing = Standing::of(status, Source::Process);
    (standing.exit.code(), standing.concerns.into_iter().map(|concern| concern.message).collect())
}

#[test]
fn a_service_that_sleeps_after_a_complete_pass_needs_no_look_whoever_must_log_in() {
    assert_eq!(judged(|_| {}), (0, vec![]));
    // A pass that runs holds answers in the journal.
    let running = |status: &mut Status| {
        status.phase = Some(Phase::Passing);
        status.journal.entries.insert(EntryState::Answer, 3);
        crm(status).state = Some(Doing::Paused);
    };
    assert_eq!(judged(running), (0, vec![]));
}

#[test]
fn each_thing_that_needs_a_look_is_named_and_the_worst_one_decides() {
    type Change = (fn(&mut Status), u8, &'static str);
    let changes: [Change; 13] = [
        (
            |status| status.hangs = Some(Hangs::Journal(Duration::from_secs(61))),
            7,
            "the process hangs: the journal has not",
        ),
        (|status| status.journal.up = false, 7, "the journal has failed"),
        (|status| status.store.up = Some(false), 7, "the store does not answer: logins.tokens at db1:27017"),
        (
            |status| status.journal.space = Some(Space { free_bytes: 1, floor_bytes: 2 }),
            7,
            "the disk of `state_dir` has less",
        ),
        (
            |status| status.store.space = Some(Space { free_bytes: 1, floor_bytes: 2 }),
            7,
            "the disk of the embedded store's file",
        ),
        (|status| crm(status).state = Some(Doing::ClientRejected), 4, "The provider rejects the client."),
        (|status| crm(status).state = Some(Doing::Outage), 4, "The provider gives no usable answers."),
        (
            |status| crm(status).last_pass.as_mut().unwrap().result = "unfinished".into(),
            4,
            "the last pass, which ended 2025-11-24",
        ),
        (
            |status| crm(status).last_complete_pass_at = Some(at(-2_000_000)),
            4,
            "no pass has come through everything",
        ),
        (
            |status| _ = status.journal.entries.insert(EntryState::Answer, 2),
            4,
            "2 new pairs are only in the journal",
        ),
        (
            |status| _ = status.journal.entries.insert(EntryState::Orphan, 1),
            4,
            "1 entry of the journal waits",
        ),
        (|status| status.journal.unknown_entries = 1, 4, "1 entry of the journal waits"),
        (
            |status| {
                let survey = status.survey.as_mut().unwrap();
                survey.providers.get_mut("crm").unwrap().forecast.before_next_pass = 1;
            },
            4,
            "1 login ends before the next pass reaches it",
        ),
    ];
    for (change, code, message) in changes {
        let (exit, messages) = judged(change);
        assert_eq!((exit, messages.len()), (code, 1), "{messages:?}");
        assert!(messages[0].starts_with(message), "{messages:?}");
    }
    let (exit, messages) = judged(|status| changes.iter().take(6).for_each(|(change, ..)| change(status)));
    assert_eq!((exit, messages.len()), (7, 6));
    assert!(messages[5].starts_with("The provider rejects"), "the most urgent first: {messages:?}");
}

#[test]
fn a_first_pass_is_missed_where_no_process_runs_and_only_in_time_where_one_does() {
    let fresh = |started_at| {
        move |status: &mut Status| {
            status.started_at = started_at;
            *crm(status) = ProviderStatus { state: crm(status).state, ..ProviderStatus::unknown() };
        }
    };
    assert_eq!(judged(fresh(Some(at(0)))), (0, vec![]), "it waits for its first wake");
    let (exit, messages) = judged(fresh(Some(at(-2_000_000))));
    assert_eq!((exit, messages.len()), (4, 1), "{messages:?}");
    let mut status = well();
    fresh(None)(&mut status);
    let source = Source::Journal { held: false, reason: "no process answers".into() };
    let standing = Standing::of(status, source);
    assert_eq!(standing.exit, Exit::StillDue);
    let about: Vec<_> = standing.concerns.iter().map(|concern| concern.provider.as_deref()).collect();
    assert_eq!(about, [Some("crm")], "documents of no provider ({OTHER}) have no pass to miss");
}

#[test]
fn a_person_reads_what_needs_a_look_first() {
    insta::assert_snapshot!("well", Standing::of(well(), Source::Process).to_string());
    let mut status = busy();
    let name = "c\"r\\m\n";
    let renamed = status.providers.remove(name).unwrap();
    status.providers.insert("crm".into(), renamed);
    status.store.up = Some(false);
    status.journal.entries.insert(EntryState::Answer, 2);
    insta::assert_snapshot!("busy", Standing::of(status, Source::Process).to_string());
}

#[test]
fn help_names_every_field() {
    use crate::help::json::assert_documented;
    let mut status = busy();
    status.store.up = Some(false);
    let source = Source::Journal { held: true, reason: String::new() };
    let standing = Standing::of(status, source);
    assert_documented("status, and GET /status.json", &standing);
    assert_documented("status: concerns[]", &standing.concerns[0]);
    let provider = standing.status.providers.values().find(|of| of.last_pass.is_some()).unwrap();
    assert_documented("status: providers.*", provider);
    assert_documented("status: providers.*.last_pass", &provider.last_pass);
    assert_documented("status: journal", &standing.status.journal);
    assert_documented("status: store", &standing.status.store);
}
