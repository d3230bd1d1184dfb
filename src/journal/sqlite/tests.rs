//! The file itself: what stands in it, in the clear or not, and what it bears.

mod doubts;
mod ended;
mod faults;
mod forget;
mod format_3;
mod kept;
mod sealed;

use crate::clock::Clock;
use crate::failure::{Advice as _, told};
use crate::grant::RawAnswer;
use crate::grant::headers::Headers;
use crate::journal::{
    EntryId, EntryState, Event, Intent, Journal, JournalError, JournalKey, JournalSettings, KeyProblem,
    Permission,
};
use crate::token::{ClaimedBy, Fingerprint, Lease, ParkedWhy, RefreshToken, Subject, TokenId};
use chrono::TimeDelta;
use rusqlite::Connection;
use std::path::Path;

const PLANTED: &str = "planted-refresh-token";

fn key(digit: char) -> JournalKey {
    JournalKey::parse(&digit.to_string().repeat(64)).unwrap()
}

fn keyed(key: Option<JournalKey>, old_keys: Vec<JournalKey>) -> JournalSettings {
    JournalSettings { key, old_keys, ..JournalSettings::default() }
}

fn open(directory: &Path, settings: JournalSettings) -> Result<Journal, JournalError> {
    Journal::open_with(directory, &Clock::system(), settings)
}

fn fingerprint(token: &str) -> Fingerprint {
    RefreshToken::new(token.into()).fingerprint()
}

fn intent(token: &str) -> Intent {
    Intent {
        provider: "p".into(),
        document: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        fingerprint: fingerprint(token),
        sent_at: "2026-11-21T03:00:00Z".parse().unwrap(),
        access: None,
        is_refreshed_elsewhere: false,
    }
}

async fn sent(journal: &Journal, token: &str) -> EntryId {
    match journal.intent(intent(token), RefreshToken::new(token.into())).await.unwrap() {
        Permission::Send { entry, .. } => entry,
        other => panic!("{other:?}"),
    }
}

fn answer() -> RawAnswer {
    // Longer than a page, so that it takes pages of its own.
    let body = format!("{PLANTED}{}", "x".repeat(9000));
    RawAnswer {
        status: 200,
        headers: Headers::default(),
        body: body.into(),
        complete: true,
        received_at: "2026-11-21T03:00:01Z".parse().unwrap(),
    }
}

async fn answered(journal: &Journal, token: &str) {
    let entry = sent(journal, token).await;
    journal.answer(entry, answer()).await.unwrap();
}

/// Is the token to be found in any file of the directory, while somebody may have them open?
fn planted_in(directory: &Path) -> Vec<String> {
    holds(directory, PLANTED)
}

/// The files of the directory that hold a text.
fn holds(directory: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

async fn bodies(journal: &Journal) -> Vec<bool> {
    let entries = journal.entries().await.unwrap();
    entries.iter().map(|entry| entry.answer.as_ref().is_some_and(|kept| *kept.get() == answer())).collect()
}

#[tokio::test]
async fn one_bad_row_is_shown_and_kept_and_the_others_work() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    for token in ["one", "two", "three", "four"] {
        answered(&journal, token).await;
    }
    journal.close().await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    for change in [
        "UPDATE entries SET fingerprint = 'no digits' WHERE id = 1",
        "UPDATE entries SET document = CAST(x'ff00fe' AS TEXT), subject = CAST(x'ff' AS TEXT) WHERE id = 2",
        "UPDATE entries SET status = 99999 WHERE id = 3",
        "INSERT INTO redeemed VALUES (printf('%032x', 7), CAST(x'ff' AS TEXT), 'no digits', 0, NULL, NULL)",
    ] {
        raw.execute(change, []).unwrap();
    }
    drop(raw);
    let listed = Journal::look(directory.path()).unwrap();
    let ids = |damaged: &[crate::journal::Damaged]| damaged.iter().map(|bad| bad.id.0).collect::<Vec<_>>();
    assert_eq!((ids(&listed.damaged), listed.entries.len()), (vec![1, 2, 3], 1), "{listed:?}");
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let page = journal.page(None).await.unwrap();
    assert_eq!((ids(&page.damaged), page.entries.len()), (vec![1, 2, 3], 1));
    assert!(journal.entry(EntryId(1)).await.unwrap().unwrap().is_err());
    assert!(journal.entry(EntryId(4)).await.unwrap().unwrap().is_ok());
    // And the tokens of the bad rows can be asked for without an error.
    answered(&journal, "five").await;
    let successor = Fingerprint::from_hex(&format!("{:032x}", 7)).unwrap();
    assert_eq!(journal.successor(successor).await.unwrap(), None);
    assert_eq!(journal.entries().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_is_kept_with_its_headers_and_a_sealed_one_opens_beside_no_others() {
    for key in [None, Some(key('a'))] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), keyed(key.clone(), vec![])).unwrap();
        let entry = sent(&journal, "one").await;
        let coded = RawAnswer {
            headers: [("content-encoding", "gzip, br"), ("set-cookie", PLANTED)].into_iter().collect(),
            ..answer()
        };
        journal.answer(entry, coded.clone()).await.unwrap();
        journal.close().await;
        let journal = open(directory.path(), keyed(key.clone(), vec![])).unwrap();
        assert_eq!(journal.entries().await.unwrap()[0].answer.as_ref().unwrap().get(), &coded);
        journal.close().await;
        let raw = Connection::open(directory.path().join("journal.db")).unwrap();
        raw.execute("UPDATE entries SET headers = x'0000'", []).unwrap();
        drop(raw);
        let journal = open(directory.path(), keyed(key.clone(), vec![])).unwrap();
        let page = journal.page(None).await.unwrap();
        assert_eq!((page.entries.len(), page.damaged.len()), if key.is_some() { (0, 1) } else { (1, 0) });
    }
}

#[tokio::test]
async fn rows_are_read_a_page_at_a_time_and_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    for number in 0..9 {
        let entry = sent(&journal, &number.to_string()).await;
        let body = vec![b'x'; 1024 * 1024];
        journal.answer(entry, RawAnswer { body: body.into(), ..answer() }).await.unwrap();
    }
    let page = journal.page(None).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (4, Some(page.entries[3].id)));
    assert_eq!(journal.entries().await.unwrap().len(), 9);
}

#[tokio::test]
async fn no_row_is_dropped_because_it_is_old() {
    use EntryState::{Answer, AskAgain, Orphan, Unread, Unsettled};
    let expected = [Orphan, Unread, AskAgain, Unsettled, Answer];
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::steppable();
    let journal = Journal::open(directory.path(), &clock).unwrap();
    for (token, ending) in [
        ("orphan", Event::NoPlace(ParkedWhy::Gone)),
        ("unread", Event::CannotRead("no_tokens".into())),
        ("unsettled", Event::Lost { cause: "timeout".into(), peer: None }),
    ] {
        let entry = sent(&journal, token).await;
        journal.answer(entry, answer()).await.unwrap();
        journal.end(vec![(entry, ending)], clock.now()).await.unwrap();
    }
    sent(&journal, "intent").await;
    answered(&journal, "answer").await;
    journal.close().await;
    for _ in 0..4 {
        clock.step(TimeDelta::days(3650));
        let journal = Journal::open(directory.path(), &clock).unwrap();
        let states: Vec<_> = journal.entries().await.unwrap().iter().map(|entry| entry.state).collect();
        assert_eq!(states, expected);
        journal.close().await;
    }
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_and_does_not_grow_with_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let at = Clock::system().now();
    for number in 0..1000 {
        let entry = sent(&journal, &number.to_string()).await;
        journal.answer(entry, answer()).await.unwrap();
        let ending = Event::Redeemed { successor: fingerprint("next"), life: None };
        journal.end(vec![(entry, ending)], at).await.unwrap();
    }
    let log = directory.path().join("journal.db-wal").metadata().unwrap().len();
    assert!(log < 16 * 1024 * 1024, "{log} bytes, for 9 MB of answers written one by one");
}

#[tokio::test]
async fn a_file_that_is_damaged_or_newer_is_told_apart_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.db");
    open(directory.path(), JournalSettings::default()).unwrap().close().await;
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = |result: Result<(), JournalError>| matches!(result, Err(JournalError::Newer { .. }));
    assert!(newer(Journal::look(directory.path()).map(drop)));
    assert!(newer(open(directory.path(), JournalSettings::default()).map(drop)));
    let error = told(&Journal::look(directory.path()).unwrap_err());
    let versions = ["Evergrant 0.", "format 99", "formats up to 5", "start the newer version"];
    assert!(versions.iter().all(|part| error.contains(part)), "{error}");

    std::fs::write(&file, [b'x'; 8192]).unwrap();
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("journal.db{ending}")));
    }
    let damaged = |result: Result<(), JournalError>| matches!(result, Err(JournalError::Unreadable { .. }));
    assert!(damaged(Journal::look(directory.path()).map(drop)));
    assert!(damaged(open(directory.path(), JournalSettings::default()).map(drop)));
    assert_eq!(std::fs::read(&file).unwrap(), [b'x'; 8192]);
}

#[tokio::test]
async fn an_event_out_of_order_changes_nothing_and_the_others_are_done() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let (first, second) = (sent(&journal, "one").await, sent(&journal, "two").await);
    let events = vec![(first, Event::AskAgain("x".into())), (second, Event::Settled)];
    let error = journal.end(events, Clock::system().now()).await.unwrap_err();
    assert!(matches!(error, JournalError::OutOfOrder { entry, .. } if entry == first), "{error:?}");
    let entries = journal.entries().await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| (entry.id, entry.state)).collect::<Vec<_>>(),
        [(first, EntryState::Intent)]
    );
    assert!(!journal.is_broken());
}

#[tokio::test]
async fn so_many_passes_of_each_provider_are_remembered_and_all_that_never_finished() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let here = crate::store::Identity::named("db.tokens");
    let at = |second| chrono::DateTime::from_timestamp(second, 0).unwrap();
    for number in 0..450 {
        let lease = format!("lease-{number}");
        for provider in ["p", "q"] {
            journal.begin_pass(&lease, &here, provider.into(), at(number)).await.unwrap();
        }
        if number != 7 {
            journal.finish_pass(&lease, at(number + 1)).await.unwrap();
        }
    }
    let claim = |lease: &str, journal: &str, since| Lease {
        id: lease.to_owned(),
        owner: "host:1".to_owned(),
        until: at(since + 1),
        taken_over: false,
        by: Some(ClaimedBy { journal: journal.to_owned(), version: "1".to_owned(), since: at(since) }),
    };
    for (lease, id, since, expected) in [
        ("lease-449", "another", 449, true),
        ("lease-7", "another", 7, true),
        // Forgotten: it was over. What another journal began at that time is unknown, and what came later is of a copy.
        ("lease-49", journal.id(), 49, true),
        ("lease-49", "another", 49, false),
        ("lease-x", journal.id(), 50, false),
        ("lease-x", journal.id(), 1000, false),
    ] {
        let known = journal.known_passes([&claim(lease, id, since)].into_iter()).await.unwrap();
        assert_eq!(known.contains(lease), expected, "{lease} of {id} at {since}");
    }
    journal.close().await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    let of = |provider: &str| {
        let sql = "SELECT count(*), min(started_at), count(given_back_at) FROM passes WHERE provider = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        };
        raw.query_row(sql, [provider], read).unwrap()
    };
    assert_eq!((of("p"), of("q")), ((401, 7000, 400), (401, 7000, 400)));
}

#[tokio::test]
async fn a_success_under_another_word_is_neither_deleted_nor_sent_again() {
    for (word, expected) in [("unsettled", EntryState::AskAgain), ("no word of ours", EntryState::AskAgain)] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), keyed(None, vec![])).unwrap();
        answered(&journal, "one").await;
        journal.close().await;
        let raw = Connection::open(directory.path().join("journal.db")).unwrap();
        raw.execute("UPDATE entries SET state = ?1", [word]).unwrap();
        drop(raw);
        let journal = open(directory.path(), keyed(None, vec![])).unwrap();
        assert_eq!(journal.entries().await.unwrap()[0].state, expected);
        let permission = journal.intent(intent("one"), RefreshToken::new("one".into())).await.unwrap();
        let may_go = matches!(permission, Permission::Send { .. });
        assert_eq!(may_go, word == "unsettled", "{permission:?}");
        assert!(bodies(&journal).await[0], "the answer is kept beside it");
    }
}

#[tokio::test]
async fn marks_stay_on_their_list_over_a_restart_until_they_are_judged() {
    use crate::journal::{Judged, LeftMark, MadeMark};
    use crate::token::{Evidence, LastError};
    let at = |seconds: i64| crate::clock::Timestamp::default() + TimeDelta::seconds(seconds);
    let mark = |document: &str| MadeMark {
        document: TokenId::from_extended_json(document),
        subject: Subject::new("a@example.com"),
        fingerprint: fingerprint(document),
        marked_at: at(9),
        pass: "pass".into(),
        since: Some(at(1)),
        last_error: Some(LastError {
            class: Evidence::Ambiguous.into(),
            code: "timeout".into(),
            http_status: None,
            at: at(3),
            lost: None,
        }),
    };
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), JournalSettings::default()).unwrap();
    journal.close().await;
    let file = Connection::open(directory.path().join("journal.db")).unwrap();
    file.execute_batch("DROP TABLE marks").unwrap();
    drop(file);
    // As an earlier version has left it.
    let journal = open(directory.path(), JournalSettings::default()).unwrap();
    let many: Vec<_> = (1000..1700).map(|number| mark(&number.to_string())).collect();
    journal.list_marks("p", many.clone()).await.unwrap();
    journal.list_marks("other", vec![mark("1")]).await.unwrap();
    assert_eq!(journal.doubted_marks("p", None).await.unwrap(), []);
    journal.doubt_marks("p").await.unwrap();
    journal.close().await;
    let journal = open(directory.path(), JournalSettings::default()).unwrap();
    let first = journal.doubted_marks("p", None).await.unwrap();
    let rest = journal.doubted_marks("p", first.last().map(|mark| mark.document.clone())).await.unwrap();
    assert_eq!([first.clone(), rest].concat(), many);
    assert_eq!(journal.doubted_marks("other", None).await.unwrap(), []);
    // One that is made in the meantime isn't to be taken back, and a good pass says nothing of those that are.
    journal.list_marks("p", vec![mark("2")]).await.unwrap();
    journal.judge_marks("p", Judged::Good { pass: "another".into(), earlier: false }).await.unwrap();
    assert_eq!(journal.doubted_marks("p", None).await.unwrap().len(), first.len());
    journal.judge_marks("p", Judged::Good { pass: "another".into(), earlier: true }).await.unwrap();
    let settled = first.iter().map(|mark| mark.document.clone()).collect();
    journal.judge_marks("p", Judged::Settled(settled)).await.unwrap();
    journal.doubt_marks("p").await.unwrap();
    assert_eq!(journal.doubted_marks("p", None).await.unwrap(), many[first.len()..]);
    journal.judge_marks("p", Judged::Accepted).await.unwrap();
    assert_eq!(journal.doubted_marks("p", None).await.unwrap(), []);
    journal.doubt_marks("other").await.unwrap();
    assert_eq!(journal.doubted_marks("other", None).await.unwrap(), [mark("1")]);
    // Called another name by now: what that name lists already is newer, and stays.
    journal.list_marks("other", vec![mark("2")]).await.unwrap();
    journal.list_marks("new name", vec![mark("2")]).await.unwrap();
    let configured = vec!["p".to_owned(), "new name".to_owned()];
    let left = journal.left_marks(configured.clone(), None).await.unwrap();
    let left_mark = |document: &str| LeftMark {
        provider: "other".into(),
        document: TokenId::from_extended_json(document),
    };
    assert_eq!(left, [left_mark("1"), left_mark("2")]);
    assert_eq!(journal.left_marks(configured.clone(), Some(left_mark("1"))).await.unwrap(), [left_mark("2")]);
    journal.adopt_marks("new name", left).await.unwrap();
    assert_eq!(journal.left_marks(configured, None).await.unwrap(), []);
    assert_eq!(journal.doubted_marks("new name", None).await.unwrap(), [mark("1")], "still to be taken back");
    journal.doubt_marks("new name").await.unwrap();
    assert_eq!(journal.doubted_marks("new name", None).await.unwrap(), [mark("1"), mark("2")]);
}
