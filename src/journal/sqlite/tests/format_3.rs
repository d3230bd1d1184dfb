//! Journals of format 3, taken over.

use super::*;

/// Files that the last commit before format 4 has made, one of them with the key `a…`; they hold a row of each kind.
fn of_format_3(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/fixtures/journal-3-{name}.sqlite"));
    std::fs::copy(file, directory.path().join("journal.db")).unwrap();
    directory
}

#[tokio::test]
async fn a_journal_of_format_3_is_taken_over_with_all_that_it_held() {
    use EntryState::{Answer, AskAgain, Intent, Orphan, SetAside, Unread, Unsettled};
    let states = [
        ("elsewhere@example.com", Orphan),
        ("answered@example.com", Answer),
        ("refused@example.com", Answer),
        ("lost@example.com", Unsettled),
        ("cut@example.com", AskAgain),
        ("turned-away@example.com", Unsettled),
        ("unread@example.com", Unread),
        ("freed@example.com", AskAgain),
        ("set-aside@example.com", SetAside),
        ("set-aside@example.com", Unsettled),
        ("parked@example.com", Orphan),
    ];
    for (name, keys) in [("clear", vec![None, Some('a')]), ("sealed", vec![Some('a')])] {
        for digit in keys {
            let directory = of_format_3(name);
            let listed = Journal::look(directory.path()).unwrap();
            let found = |listed: &[crate::journal::Entry]| {
                let all = listed.iter().map(|entry| (entry.intent.subject.to_string(), entry.state));
                all.collect::<Vec<_>>()
            };
            let mut expected: Vec<_> = states.map(|(subject, state)| (subject.to_owned(), state)).into();
            expected.push(("cut-off@example.com".into(), Intent));
            assert_eq!(
                (found(&listed.entries), listed.damaged.len()),
                (expected.clone(), 0),
                "only looked at"
            );
            let journal = open(directory.path(), keyed(digit.map(key), vec![])).unwrap();
            // Sealed, not a byte of a token is left: neither in the pages that the old table had, nor in the log.
            assert_eq!(holds(directory.path(), "answered-2").is_empty(), digit.is_some());
            // The pair of another store isn't this one's, and what was cut off isn't waited for.
            expected.remove(0);
            expected.last_mut().unwrap().1 = Unsettled;
            let page = journal.page(None).await.unwrap();
            assert_eq!((found(&page.entries), page.damaged.len()), (expected, 0));
            for entry in page.entries.iter().filter(|entry| entry.state != Unsettled) {
                let answer = entry.answer.as_ref().unwrap().get();
                assert_eq!(
                    (answer.retry_after(), answer.content_encoding().as_deref()),
                    (Some("7"), Some("identity"))
                );
            }
            let pair = page.entries[0].answer.as_ref().unwrap().get();
            assert!(String::from_utf8_lossy(&pair.body).contains("answered-2"));
            let successor = journal.successor(fingerprint("redeemed")).await.unwrap();
            assert_eq!(successor, Some(fingerprint("redeemed-2")));
            let here = crate::store::Identity::named("db.tokens");
            let begun = journal.begin_process(&here).await.unwrap();
            assert_eq!(begun, crate::journal::Begun::Alone { unfinished: vec!["lease-unfinished".into()] });
            assert_eq!(journal.put_off("p").await.unwrap(), [TokenId::from_extended_json("3")]);
            // What is sent from now on has a new number: a sealed row is bound to it.
            assert!(sent(&journal, "another").await.0 > 13);
            let again = sent(&journal, "freed").await;
            let unread = |entry: &crate::journal::Entry| {
                (entry.intent.fingerprint == fingerprint("freed")).then_some(entry.state)
            };
            let entries = journal.entries().await.unwrap();
            assert_eq!(entries.iter().filter_map(unread).collect::<Vec<_>>(), [SetAside, Intent]);
            let redeemed = Event::Redeemed { successor: fingerprint("freed-2"), life: None };
            journal.end(vec![(again, redeemed)], Clock::system().now()).await.unwrap();
            assert_eq!(journal.entries().await.unwrap().iter().filter_map(unread).count(), 0);
            journal.close().await;
            let journal = open(directory.path(), keyed(digit.map(key), vec![])).unwrap();
            assert_eq!(journal.entries().await.unwrap().len(), 11, "it is taken over once");
        }
    }
}

#[tokio::test]
async fn a_journal_of_format_3_whose_key_is_missing_stays_as_it_was() {
    for (digit, expected) in [(None, KeyProblem::NoKey(9)), (Some('b'), KeyProblem::WrongKey(9))] {
        let directory = of_format_3("sealed");
        let error = open(directory.path(), keyed(digit.map(key), vec![])).unwrap_err();
        assert!(matches!(&error, JournalError::Sealed { problem, .. } if *problem == expected), "{error:?}");
        let version = |connection: Connection| {
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(version(Connection::open(directory.path().join("journal.db")).unwrap()), 3);
        open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_format_3_could_not_open_is_read_once_its_row_is_mended() {
    for mended_before in [true, false] {
        let directory = of_format_3("sealed");
        let file = directory.path().join("journal.db");
        let change = |sql: &str| Connection::open(&file).unwrap().execute(sql, []).unwrap();
        assert_eq!(change("UPDATE entries SET document = '99', sealed = 2 WHERE document = '1'"), 1);
        if mended_before {
            change("UPDATE entries SET document = '1' WHERE document = '99'");
        }
        let damaged = async || {
            let journal = open(directory.path(), keyed(Some(key('a')), vec![])).unwrap();
            let damaged = journal.page(None).await.unwrap().damaged.len();
            journal.close().await;
            damaged
        };
        assert_eq!(damaged().await, usize::from(!mended_before));
        change("UPDATE entries SET document = '1' WHERE document = '99'");
        assert_eq!(damaged().await, 0);
    }
}

#[tokio::test]
async fn no_number_is_given_twice_although_no_row_was_left() {
    let directory = of_format_3("clear");
    let file = directory.path().join("journal.db");
    Connection::open(&file).unwrap().execute("DELETE FROM entries", []).unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    assert!(sent(&journal, "another").await.0 > 13);
}
