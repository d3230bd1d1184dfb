//! What a report says to a person.

use super::*;
use crate::report::{Named, Recovery, Report, Trouble};
use crate::token::{LastError, Subject, TokenId};

fn evidence(code: &str) -> LastError {
    LastError {
        class: "refused".into(),
        code: code.into(),
        http_status: None,
        at: Timestamp::default(),
        lost: None,
    }
}

fn named(number: u64, state: State, code: &str, new: bool) -> Named {
    let (id, subject) = (number.to_string(), format!("user-{number}@example.com"));
    Named {
        new,
        since: Some(Timestamp::default()),
        provider: Some("autodesk".into()),
        ..Named::new(&TokenId::from_extended_json(id), &Subject::new(&subject), state, Some(&evidence(code)))
    }
}

fn summary(report: &Report) -> Summary {
    report.summary("logins.tokens", Some(3000), Timestamp::default(), Duration::from_millis(1500))
}

/// A report of a pass that refreshed so many.
fn refreshed(count: u64) -> Report {
    let report = Report::new();
    for _ in 0..count {
        report.touched();
        report.sent();
        report.ended(Outcome::Refreshed, None);
    }
    report
}

#[test]
fn a_pass_with_a_limit_says_what_was_taken_and_what_remains() {
    let report = refreshed(10);
    report.limited();
    for number in 0..6 {
        report.known(Outcome::NeedsLogin, named(number, State::NeedsLogin, "invalid_grant", false));
    }
    report.untaken(290);
    let summary = summary(&report);
    assert!(summary.adds_up());
    insta::assert_snapshot!(summary.to_string());
    insta::assert_snapshot!(serde_json::to_string_pretty(&summary).unwrap());
}

#[test]
fn a_pass_of_all_kinds_of_outcomes_says_what_happened_to_each() {
    let report = refreshed(2);
    let others = [Outcome::Duplicate, Outcome::Superseded, Outcome::Gone, Outcome::Held, Outcome::StillDue];
    for outcome in others {
        report.touched();
        report.ended(outcome, (outcome == Outcome::StillDue).then_some("http_503"));
    }
    for (number, state, code) in [
        (1, State::NeedsLogin, "invalid_grant"),
        (2, State::LostInFlight, "invalid_grant"),
        (3, State::Malformed, "null"),
    ] {
        report.touched();
        let outcome = match state {
            State::NeedsLogin => Outcome::NeedsLogin,
            State::LostInFlight => Outcome::LostInFlight,
            State::Malformed | State::Live => Outcome::Malformed,
        };
        report.ended(outcome, None);
        report.named(named(number, state, code, true));
    }
    report.touched();
    report.lost(&Subject::new("user-4@example.com"));
    report.orphaned();
    report.parked(Parked { orphans: 3, unread: 1 });
    report.throttled();
    report.retried();
    report.recovered(|recovery| {
        *recovery = Recovery {
            answers: 3,
            written: 2,
            unsettled: 1,
            claims_released: 5,
            claims_refused: 1,
            claims_cut: 0,
            void_due_dates: 0,
        };
    });
    report.trouble(Trouble::Interrupted { given_up: 0 });
    let summary = summary(&report);
    assert!(summary.adds_up());
    insta::assert_snapshot!(summary.to_string());
}

#[test]
fn a_document_that_its_server_deletes_with_a_refusal_is_gone_while_refused() {
    let report = refreshed(1);
    for _ in 0..3 {
        report.touched();
        report.ended(Outcome::Gone, None);
    }
    assert!(summary(&report).to_string().ends_with("deleted during the pass"));
    report.gone_while_refused();
    report.gone_while_refused();
    let summary = summary(&report);
    assert_eq!((summary.gone_while_refused, summary.adds_up()), (2, true));
    let text = summary.to_string();
    assert!(text.contains("gone while refused: 2 (these users must log in again)"), "{text}");
}

#[test]
fn users_who_are_put_off_are_named_with_the_reason_and_the_time() {
    let report = refreshed(1);
    for (number, minutes, code) in [(1, 15, "refused_once"), (2, 5, "http_503"), (3, 0, "stopped")] {
        report.touched();
        report.ended(Outcome::StillDue, Some(code));
        let Named { id, subject, provider, code, .. } = named(number, State::Live, code, true);
        let due_at = Timestamp::default() + chrono::TimeDelta::minutes(minutes);
        report.put_off(PutOff { id, subject, provider, code, due_at, new: true }, Timestamp::default());
    }
    report.untaken(0);
    let summary = summary(&report);
    assert_eq!((summary.put_off_count, summary.remaining_due), (2, Some(1)));
    insta::assert_snapshot!(summary.to_string());
    insta::assert_snapshot!(serde_json::to_string_pretty(&summary.put_off).unwrap());
}

#[test]
fn of_many_who_are_put_off_all_are_counted() {
    let report = Report::new();
    for number in 0..(MOST_NAMED as u64 + 5) {
        report.touched();
        report.ended(Outcome::StillDue, Some("http_503"));
        let Named { id, subject, provider, code, .. } = named(number, State::Live, "http_503", true);
        let due_at = Timestamp::default() + chrono::TimeDelta::minutes(5);
        report.put_off(PutOff { id, subject, provider, code, due_at, new: true }, Timestamp::default());
    }
    let summary = summary(&report);
    assert_eq!((summary.put_off.len(), summary.put_off_count), (MOST_NAMED, MOST_NAMED as u64 + 5));
    let text = summary.to_string();
    assert!(text.contains("put off: 1005 (http_503, next at 1970-01-01 00:05 UTC)"), "{text}");
    assert!(text.contains("… and 985 more"), "{text}");
}

#[test]
fn without_a_count_of_the_store_it_is_said_what_is_known() {
    let report = refreshed(1);
    assert!(summary(&report).to_string().contains("; how many remain due is not known"));
    report.touched();
    report.ended(Outcome::StillDue, Some("store"));
    let Named { id, subject, provider, code, .. } = named(1, State::Live, "store", true);
    let now = Timestamp::default();
    report.put_off(PutOff { id, subject, provider, code, due_at: now, new: true }, now);
    let text = summary(&report).to_string();
    assert!(text.contains("1 due were finished, 1 request in 1s 500ms; at least 1 remain due"), "{text}");
}

#[test]
fn a_pass_that_finds_no_token_asks_for_the_mapping() {
    let report = Report::new();
    for number in 0..2 {
        report.touched();
        report.ended(Outcome::Malformed, None);
        report.named(named(number, State::Malformed, "missing", true));
    }
    report.untaken(0);
    insta::assert_snapshot!(summary(&report).to_string());
}

#[test]
fn users_whose_login_ends_soon_are_named_and_change_no_exit_code() {
    let report = refreshed(22);
    for number in (1..=22).rev() {
        let Named { id, subject, provider, .. } = named(number, State::Live, "", true);
        let ends_at = Timestamp::default() + chrono::TimeDelta::hours(i64::try_from(number).unwrap());
        report.ending(Ending { id, subject, provider, ends_at });
    }
    report.untaken(0);
    let summary = summary(&report);
    assert_eq!(summary.exit(), crate::exit::Exit::Well);
    assert!(!summary.leaves_something_due());
    insta::assert_snapshot!(summary.to_string());
    insta::assert_snapshot!(serde_json::to_string_pretty(&summary.ending[..1]).unwrap());
}

#[test]
fn a_report_of_several_providers_has_a_line_for_each_that_had_something_to_do() {
    let reports = crate::report::Reports::new();
    for (provider, refreshes, refused) in [("google", 300, 2), ("xero", 0, 0), ("a-name-that-is-long", 1, 0)]
    {
        let report = reports.begin(Some(provider.into()), std::sync::Arc::default());
        for _ in 0..refreshes {
            report.touched();
            report.ended(Outcome::Refreshed, None);
        }
        for number in 0..refused {
            report.touched();
            report.named(named(number, State::NeedsLogin, "invalid_grant", true));
            report.ended(Outcome::NeedsLogin, None);
        }
        report.untaken(0);
    }
    let summary = reports.summary("logins.tokens", Some(3000), Timestamp::default(), Duration::from_mins(1));
    assert_eq!((summary.due, summary.touched, summary.newly_marked), (Some(303), 303, 2));
    assert_eq!(summary.providers["google"].due, Some(302));
    insta::assert_snapshot!(summary);
    crate::help::json::assert_documented("run --once: providers.*", &summary.providers["google"]);
}

#[test]
fn what_will_go_wrong_later_stands_at_the_end_with_what_to_set() {
    let mut summary = summary(&refreshed(1));
    summary.warnings.push(Warned {
        provider: Some("p".to_owned()),
        message: "`p`: a refresh token lives 2d".to_owned(),
        hint: Some("set `schedule = \"continuous\"`".to_owned()),
    });
    let text = summary.to_string();
    assert!(
        text.ends_with("\nwarning: `p`: a refresh token lives 2d\nhint: set `schedule = \"continuous\"`"),
        "{text}"
    );
    assert_eq!(summary.exit(), crate::exit::Exit::Well);
}
