//! Each event after each state, written by hand.

use super::*;
use crate::token::RefreshToken;

fn at(second: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(second, 0).unwrap()
}

fn row(state: EntryState, is_success: bool) -> Row {
    let why = Some("before".to_owned());
    Row { state, sent_at: at(5), doubts: Doubts::default(), why, peer: None, is_success }
}

/// What comes out, in a word: the new state; `-`: the row goes; `!`: illegal. With `+` where the token is remembered.
fn outcome(row: Row, event: &Event) -> String {
    match row.on(event) {
        Err(_) => "!".into(),
        Ok(Next { row, remember, .. }) => {
            let word = row.map_or("-", |row| row.state.word());
            format!("{word}{}", if remember.is_some() { "+" } else { "" })
        }
    }
}

#[test]
fn each_event_after_each_state() {
    use EntryState::{Answer, AskAgain, Intent, Orphan, SetAside, Unread, Unsettled};
    let successor = RefreshToken::new("new".into()).fingerprint();
    let lost = Event::Lost { cause: "timeout".into(), peer: None };
    let turned_away = Event::TurnedAway { cause: "http_503".into(), peer: None };
    let rows = [
        (Intent, false),
        (Answer, false),
        (Answer, true),
        (Unsettled, false),
        (AskAgain, true),
        (Unread, true),
        (SetAside, true),
        (Orphan, true),
    ];
    // intent, refused, answered, unsettled, ask again, unread, set aside, orphan
    for (event, expected) in [
        (Event::Redeemed { successor, life: None }, ["-+", "-+", "-+", "-+", "-+", "-+", "-+", "-+"]),
        (Event::Renewed, ["-", "-", "-", "-", "-", "-", "-", "-"]),
        (Event::Settled, ["-", "-", "-", "-", "-", "-", "-", "-"]),
        (Event::NotProcessed, ["-", "-", "-", "unsettled", "ask_again", "!", "set_aside", "!"]),
        (turned_away, ["unsettled", "unsettled", "ask_again", "unsettled", "!", "!", "!", "!"]),
        (lost, ["unsettled", "unsettled", "ask_again", "!", "!", "!", "!", "!"]),
        (Event::CannotRead("unreadable".into()), ["!", "!", "unread", "!", "unread", "!", "!", "!"]),
        (Event::AskAgain("unreadable".into()), ["!", "!", "!", "!", "!", "ask_again", "!", "!"]),
        (
            Event::NoPlace(ParkedWhy::Gone),
            ["!", "!", "orphan+", "!", "orphan+", "orphan+", "orphan+", "orphan+"],
        ),
        (Event::GivenUp, ["!", "-", "-+", "-", "-", "-+", "-", "-"]),
    ] {
        let found = rows.map(|(state, is_success)| outcome(row(state, is_success), &event));
        assert_eq!(found, expected, "{}", event.word());
    }
    let sent_again = rows.map(|(state, is_success)| match row(state, is_success).sent_again() {
        Err(_) => "!",
        Ok(row) => row.map_or("-", |row| row.state.word()),
    });
    assert_eq!(sent_again, ["!", "!", "!", "-", "set_aside", "!", "!", "!"]);
    let gone = rows.map(|(state, is_success)| row(state, is_success).process_gone().state.word());
    let stays = rows.map(|(state, _)| state.word());
    assert_eq!((gone[0], &gone[1..]), ("unsettled", &stays[1..]));
}

#[test]
fn an_outage_that_is_seen_late_clears_its_own_request_and_none_before_it() {
    let away = Event::TurnedAway { cause: "http_503".into(), peer: None };
    for (unsettled_since, left) in [(5, None), (1, Some(at(1)))] {
        let doubts = Doubts { unsettled_since: Some(at(unsettled_since)), turned_away_since: None };
        let next = Row { doubts, ..row(EntryState::Unsettled, false) }.on(&away).unwrap().row.unwrap();
        let expected = Doubts { unsettled_since: left, turned_away_since: Some(at(5)) };
        assert_eq!((next.state, next.doubts), (EntryState::Unsettled, expected), "{unsettled_since}");
    }
}

#[test]
fn the_first_doubt_counts_and_a_token_that_was_in_doubt_stays_so() {
    let doubted = Doubts { unsettled_since: Some(at(1)), turned_away_since: None };
    let intent = Row { doubts: doubted, peer: Some("192.0.2.1".into()), ..row(EntryState::Intent, false) };
    let lost = Event::Lost { cause: "timeout".into(), peer: None };
    let next = intent.clone().on(&lost).unwrap().row.unwrap();
    assert_eq!((next.doubts.unsettled_since, next.why.as_deref()), (Some(at(1)), Some("timeout")));
    assert_eq!(
        next.peer.as_deref(),
        Some("192.0.2.1"),
        "a lost answer without an address keeps the last one"
    );
    let first = row(EntryState::Intent, false).on(&lost).unwrap().row.unwrap();
    assert_eq!(first.doubts.unsettled_since, Some(at(5)), "when it was sent");
    let away = Event::TurnedAway { cause: "http_503".into(), peer: Some("192.0.2.2".into()) };
    let next = intent.clone().on(&away).unwrap().row.unwrap();
    assert_eq!(next.doubts, Doubts { turned_away_since: Some(at(5)), ..doubted });
    assert_eq!(next.peer.as_deref(), Some("192.0.2.2"));
    let next = intent.clone().on(&Event::NotProcessed).unwrap().row.unwrap();
    assert_eq!(
        (next.state, next.doubts, next.why.as_deref()),
        (EntryState::Unsettled, doubted, Some("before"))
    );
    let cut_off = Row { why: None, ..row(EntryState::Intent, false) }.process_gone();
    assert_eq!((cut_off.why.as_deref(), cut_off.doubts.unsettled_since), (Some("stopped"), Some(at(5))));
}

#[test]
fn what_was_set_aside_goes_with_a_pair_and_with_nothing_else() {
    let successor = RefreshToken::new("new".into()).fingerprint();
    let ends = |event: &Event| row(EntryState::Answer, true).on(event).unwrap();
    assert_eq!(
        ends(&Event::Redeemed { successor, life: None }).remember,
        Some(Remember::Redeemed(Some(successor)))
    );
    assert!(ends(&Event::Redeemed { successor, life: None }).has_a_pair && ends(&Event::Renewed).has_a_pair);
    assert!(!ends(&Event::Settled).has_a_pair && !ends(&Event::GivenUp).has_a_pair);
    assert_eq!(ends(&Event::NoPlace(ParkedWhy::Gone)).remember, Some(Remember::Redeemed(None)));
    assert_eq!(ends(&Event::GivenUp).remember, Some(Remember::GivenUp));
}
