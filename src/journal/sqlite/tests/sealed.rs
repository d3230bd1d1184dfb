//! Secrets that are encrypted at rest.

use super::*;

#[tokio::test]
async fn with_a_key_no_token_stands_in_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    answered(&journal, "one").await;
    assert_eq!(planted_in(directory.path()), [] as [&str; 0], "while it is open");
    assert_eq!(bodies(&journal).await, [true]);
    journal.close().await;
    assert_eq!(planted_in(directory.path()), [] as [&str; 0]);
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    assert_eq!(bodies(&journal).await, [true]);
}

#[tokio::test]
async fn a_key_that_is_set_later_encrypts_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    answered(&journal, "one").await;
    assert_ne!(planted_in(directory.path()), [] as [&str; 0], "the search finds what is there");
    journal.close().await;
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    assert_eq!(planted_in(directory.path()), [] as [&str; 0]);
    assert_eq!(bodies(&journal).await, [true]);
}

#[tokio::test]
async fn an_old_key_can_go_after_one_start_with_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    answered(&journal, "one").await;
    journal.close().await;
    let journal = open(directory.path(), keyed(Some(key('b')), vec![key('c'), key('a')])).unwrap();
    answered(&journal, "two").await;
    journal.close().await;
    let journal = open(directory.path(), keyed(Some(key('b')), vec![])).unwrap();
    assert_eq!(bodies(&journal).await, [true, true]);
}

#[tokio::test]
async fn without_the_right_key_it_refuses_to_start_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    answered(&journal, "one").await;
    answered(&journal, "two").await;
    journal.close().await;
    for (settings, expected, setting) in [
        (keyed(None, vec![]), KeyProblem::NoKey(2), "journal_key_file"),
        (keyed(Some(key('b')), vec![]), KeyProblem::WrongKey(2), "journal_old_keys"),
    ] {
        let error = open(directory.path(), settings).unwrap_err();
        assert!(matches!(&error, JournalError::Sealed { problem, .. } if *problem == expected), "{error:?}");
        assert!(error.hint().unwrap().contains(setting), "{error}");
    }
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    assert_eq!(bodies(&journal).await, [true, true]);
}

#[tokio::test]
async fn an_answer_that_was_moved_to_another_row_is_kept_as_it_is_and_the_others_work() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    answered(&journal, "one").await;
    answered(&journal, "two").await;
    journal.close().await;
    let change = |to: &str| {
        let raw = Connection::open(directory.path().join("journal.db")).unwrap();
        raw.execute("UPDATE entries SET document = ?1 WHERE id = 1", [to]).unwrap();
    };
    change("2");
    // Also while the key is changed: what can't be opened isn't sealed anew.
    let journal = open(directory.path(), keyed(Some(key('b')), vec![key('a')])).unwrap();
    let page = journal.page(None).await.unwrap();
    assert_eq!((page.entries.len(), page.damaged[0].id), (1, EntryId(1)), "{page:?}");
    let Permission::InFlight(_) =
        journal.intent(intent("one"), RefreshToken::new("one".into())).await.unwrap()
    else {
        panic!("its answer may hold a pair: it must not be sent again")
    };
    journal.close().await;
    open(directory.path(), keyed(Some(key('b')), vec![])).expect("the old key can go").close().await;
    change("1");
    let journal = open(directory.path(), keyed(Some(key('b')), vec![key('a')])).unwrap();
    assert_eq!(bodies(&journal).await, [true, true]);
}

#[tokio::test]
async fn what_was_sent_is_kept_and_sealed_like_the_answer() {
    for digit in [None, Some('a')] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), keyed(digit.map(key), vec![])).unwrap();
        sent(&journal, PLANTED).await;
        assert_eq!(planted_in(directory.path()).is_empty(), digit.is_some());
        let entry = journal.entries().await.unwrap().remove(0);
        assert_eq!(entry.sent, Some(RefreshToken::new(PLANTED.into())));
        journal.close().await;
        // A new key encrypts it anew. Where its key is missing nothing is lost that a pass needs.
        if let Some(digit) = digit {
            let journal = open(directory.path(), keyed(None, vec![])).unwrap();
            assert_eq!(journal.entries().await.unwrap()[0].sent, None);
            journal.close().await;
            let changed = keyed(Some(key('b')), vec![key(digit)]);
            open(directory.path(), changed).unwrap().close().await;
            let journal = open(directory.path(), keyed(Some(key('b')), vec![])).unwrap();
            assert!(journal.entries().await.unwrap()[0].sent.is_some());
        }
    }
}

#[tokio::test]
async fn a_row_in_the_clear_in_a_sealed_journal_is_named_and_neither_used_nor_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    answered(&journal, "one").await;
    let unread = sent(&journal, "two").await;
    journal.answer(unread, answer()).await.unwrap();
    journal.end(vec![(unread, Event::CannotRead("x".into()))], Clock::system().now()).await.unwrap();
    journal.end(vec![(unread, Event::AskAgain("x".into()))], Clock::system().now()).await.unwrap();
    journal.close().await;
    let clear = Connection::open(directory.path().join("journal.db")).unwrap();
    clear.execute_batch("CREATE TABLE copy AS SELECT * FROM entries").unwrap();
    drop(clear);
    // Its own are sealed when the key is set; the same rows, put in later by another program, are not.
    let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    assert_eq!(bodies(&journal).await, [true, true]);
    journal.close().await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    raw.execute_batch("DELETE FROM entries; INSERT INTO entries SELECT * FROM copy").unwrap();
    drop(raw);
    for _ in 0..2 {
        let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
        let page = journal.page(None).await.unwrap();
        assert_eq!((page.entries.len(), page.damaged.len()), (0, 2), "{page:?}");
        assert!(page.damaged[0].problem.contains("not encrypted"), "{page:?}");
        for token in ["one", "two"] {
            let permission = journal.intent(intent(token), RefreshToken::new(token.into())).await.unwrap();
            assert!(matches!(permission, Permission::InFlight(_)), "{permission:?}");
        }
        journal.close().await;
    }
}

#[tokio::test]
async fn an_answer_is_read_although_what_was_sent_is_damaged() {
    for digit in [None, Some('a')] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), keyed(digit.map(key), vec![])).unwrap();
        answered(&journal, "one").await;
        journal.close().await;
        let file = directory.path().join("journal.db");
        Connection::open(&file).unwrap().execute("UPDATE entries SET sent = x'03ff'", []).unwrap();
        for _ in 0..2 {
            let journal = open(directory.path(), keyed(digit.map(key), vec![])).unwrap();
            assert_eq!(bodies(&journal).await, [true]);
            journal.close().await;
        }
        // Also through a change of the key.
        let journal =
            open(directory.path(), keyed(Some(key('b')), digit.map(key).into_iter().collect())).unwrap();
        journal.close().await;
        let journal = open(directory.path(), keyed(Some(key('b')), vec![])).unwrap();
        assert_eq!(bodies(&journal).await, [true]);
    }
}

#[tokio::test]
async fn a_damaged_answer_is_sealed_like_any_other_and_kept() {
    for damage in ["NULL", "99999"] {
        let directory = tempfile::tempdir().unwrap();
        let journal = open(directory.path(), keyed(None, vec![])).unwrap();
        answered(&journal, "one").await;
        journal.close().await;
        let file = directory.path().join("journal.db");
        let status = |value: &str| {
            let set = format!("UPDATE entries SET status = {value}");
            Connection::open(&file).unwrap().execute(&set, []).unwrap();
        };
        status(damage);
        open(directory.path(), keyed(Some(key('a')), vec![])).unwrap().close().await;
        assert_eq!(planted_in(directory.path()), [] as [&str; 0], "{damage}");
        let body = "SELECT length(body) FROM entries";
        let length: i64 = Connection::open(&file).unwrap().query_row(body, [], |row| row.get(0)).unwrap();
        assert!(length > 9000, "{damage}: it is kept");
    }
}
