//! What a fault of the disk must not do: be met twice, be hidden, or be believed.

use super::*;
use crate::journal::seal::Seal;
use crate::journal::sqlite::Rows;
use crate::journal::{IfRedeemed, Received};

/// Copies these files of a journal, as a process has left them that is gone.
fn copied(directory: &Path, names: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[tokio::test]
async fn after_a_commit_that_failed_the_journal_takes_no_more_whatever_its_disk_does() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let entry = sent(&journal, "one").await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    raw.execute_batch("ALTER TABLE entries RENAME TO away").unwrap();
    let lost = journal.answer(entry, answer()).await.unwrap_err();
    assert!(matches!(lost.error, JournalError::Failed { .. }), "{lost:?}");
    assert!(!Received::Rescued(lost.rescue()).is_kept());
    raw.execute_batch("ALTER TABLE away RENAME TO entries").unwrap();
    let error = journal.answer(entry, answer()).await.unwrap_err().error;
    assert!(matches!(error, JournalError::Stopped), "{error:?}");
    let error = journal.end(vec![(entry, Event::Settled)], Clock::system().now()).await.unwrap_err();
    assert!(matches!(error, JournalError::Stopped), "{error:?}");
    assert!(journal.is_broken());
    drop(raw);
    journal.close().await;
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    assert_eq!(journal.entries().await.unwrap()[0].state, EntryState::Unsettled);
}

/// A sync of it may have failed, and then a later one says nothing about it: it is written anew.
#[tokio::test]
async fn what_a_dead_process_left_in_its_log_is_moved_into_the_file_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    answered(&journal, "one").await;
    let left = copied(directory.path(), &["journal.db", "journal.db-wal"]);
    let states = async |directory: &Path| {
        let journal = open(directory, keyed(None, vec![])).unwrap();
        journal.entries().await.unwrap().iter().map(|entry| entry.state).collect::<Vec<_>>()
    };
    let file_alone = copied(left.path(), &["journal.db"]);
    assert_eq!(states(file_alone.path()).await, [], "so far it stands in the log alone");
    let next = open(left.path(), keyed(None, vec![])).unwrap();
    let file_alone = copied(left.path(), &["journal.db"]);
    assert_eq!(states(file_alone.path()).await, [EntryState::Answer]);
    next.close().await;
}

/// SQLite would keep an error of its own to itself.
#[test]
fn the_log_is_moved_into_the_file_by_us_and_never_by_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.db");
    let mut rows = Rows::open(&file, Seal::default(), Clock::system().now()).unwrap();
    let before = std::fs::read(&file).unwrap();
    let body = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    for number in 0..5 {
        let token = number.to_string();
        rows.begin(true).unwrap();
        let sent = RefreshToken::new(token.clone());
        let permission = rows.intent(&intent(&token), &sent, IfRedeemed::Refuse).unwrap();
        let Permission::Send { entry, .. } = permission else { panic!("{permission:?}") };
        rows.answer(entry, &RawAnswer { body: body.clone(), ..answer() }).unwrap();
        rows.commit().unwrap();
    }
    let log_pages = std::fs::metadata(directory.path().join("journal.db-wal")).unwrap().len() / 4096;
    assert!(log_pages > 1000, "longer than the log that SQLite moves by itself: {log_pages} pages");
    assert!(std::fs::read(&file).unwrap() == before, "the file is as it was");
}

#[tokio::test]
async fn a_pair_that_finds_its_place_late_is_known_as_the_successor_of_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let entry = sent(&journal, "one").await;
    journal.answer(entry, answer()).await.unwrap();
    let at = Clock::system().now();
    journal.end(vec![(entry, Event::NoPlace(ParkedWhy::Gone))], at).await.unwrap();
    assert_eq!(journal.successor(fingerprint("one")).await.unwrap(), None);
    let redeemed = Event::Redeemed { successor: fingerprint("two"), life: None };
    journal.end(vec![(entry, redeemed)], at).await.unwrap();
    assert_eq!(journal.successor(fingerprint("one")).await.unwrap(), Some(fingerprint("two")));
}
