//! What `journal list` and `journal recover` print.

use super::*;
use crate::help::json::assert_documented;
use crate::pass::{Applied, Retried};
use crate::token::RefreshToken;

pub(super) fn entry(id: &str, state: EntryState, why: Option<&str>) -> ListedEntry {
    ListedEntry {
        id: serde_json::from_str(id).unwrap(),
        state,
        subject: Subject::new("ann@example.com"),
        document: TokenId::from_extended_json("1"),
        provider: "autodesk".into(),
        sent_at: "2026-11-21T03:00:00Z".parse().unwrap(),
        age_seconds: 5400,
        unsettled_since: None,
        turned_away_since: None,
        why: why.map(str::to_owned),
        peer: None,
        received_bytes: None,
        has_answer: false,
        elsewhere: None,
    }
}

fn list(entries: Vec<ListedEntry>, held_by: Option<&str>) -> String {
    let list = JournalList {
        state_dir: "/var/lib/evergrant".into(),
        exists: true,
        held_by: held_by.map(str::to_owned),
        entries,
        damaged: vec![],
        kept: crate::journal::KeptPairs::default(),
    };
    list_text(&list, "2026-11-21T04:30:00Z".parse().unwrap())
}

#[test]
fn a_directory_without_a_journal_isnt_one_with_nothing_in_it() {
    let list = JournalList {
        state_dir: "/home/me".into(),
        exists: false,
        held_by: None,
        entries: vec![],
        damaged: vec![],
        kept: crate::journal::KeptPairs::default(),
    };
    let text = list_text(&list, Timestamp::default());
    assert!(text.starts_with("there is no journal in /home/me\nhint: "), "{text}");
}

#[test]
fn help_names_each_field_of_the_json() {
    let list = JournalList {
        state_dir: "/home/me".into(),
        exists: true,
        held_by: None,
        entries: vec![entry("7", EntryState::Answer, None)],
        damaged: vec![],
        kept: crate::journal::KeptPairs::default(),
    };
    assert_documented("journal list", &list);
    assert_documented("journal list: entries[]", &list.entries[0]);
}

#[test]
fn an_empty_journal_says_so() {
    assert_eq!(
        list(vec![], Some("process 7 on db-1")),
        "nothing is on its way: the journal in /var/lib/evergrant has no open entries, in use by process 7 on db-1"
    );
}

#[test]
fn each_state_in_the_list_is_explained_once_with_what_to_do() {
    let entries = vec![
        entry("7", EntryState::Answer, None),
        entry("8", EntryState::Answer, None),
        entry("9", EntryState::Orphan, Some("superseded")),
    ];
    insta::assert_snapshot!(list(entries, None));
}

#[test]
fn what_is_in_flight_at_a_running_process_is_nobodys_trouble() {
    let text = list(vec![entry("7", EntryState::Intent, None)], Some("process 7 on db-1"));
    assert!(
        text.contains("intent: sent, and its answer is being waited for\n  next: nothing to do"),
        "{text}"
    );
    let text = list(vec![entry("7", EntryState::Intent, None)], None);
    assert!(text.contains("next: `evergrant run --once` asks again"), "{text}");
}

#[test]
fn recovery_says_what_it_did_and_what_is_left() {
    let mut recovered = Recovered {
        collection: "logins.tokens".into(),
        recovery: Recovery::default(),
        held: 0,
        parked: 0,
        open: BTreeMap::new(),
        troubles: vec![],
    };
    assert_eq!(recovered_text(&recovered), "nothing to recover for logins.tokens");
    assert_documented("journal recover", &recovered);
    recovered.recovery = Recovery {
        answers: 3,
        written: 2,
        unsettled: 1,
        claims_released: 40,
        claims_refused: 2,
        claims_cut: 0,
        void_due_dates: 0,
    };
    recovered.parked = 1;
    recovered.open = by_state([EntryState::Orphan, EntryState::Unsettled].into_iter());
    insta::assert_snapshot!(recovered_text(&recovered));
}

#[test]
fn what_is_done_by_hand_is_documented_field_by_field() {
    let ListedEntry { id, subject, document, .. } = entry("7", EntryState::Orphan, Some("gone"));
    let written = RefreshToken::new("new".into()).fingerprint();
    let (subject, document, provider) = (subject, document, "autodesk".to_owned());
    let applied = Applied { id, subject, document, provider, replaced: None, written };
    assert_documented("journal apply", &applied);
    let Applied { id, subject, document, provider, .. } = applied;
    assert_documented("journal retry: retried[]", &Retried { id, subject, document, provider, waits: true });
    let captured = capture::Captured {
        id,
        state: EntryState::Unread,
        provider: "autodesk".into(),
        complete: true,
        answer: String::new(),
    };
    assert_documented("journal capture", &captured);
}
