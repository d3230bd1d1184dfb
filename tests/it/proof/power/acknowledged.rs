//! Which answers a dead process had been told are durable.

use rusqlite::Connection;
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Sizes of SQLite's log: its head, and the head of each frame.
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// Fingerprints of the tokens whose successes the journal has kept, or has seen through to the end.
///
/// One thread writes the journal, a commit after the other, and tells its callers between two of them. So all but the last
/// commit were told, and of the last one that isn't known.
pub(super) fn acknowledged(state: &Path) -> HashSet<String> {
    let journal = state.join("journal.db");
    if !journal.exists() {
        return HashSet::new();
    }
    let beside = tempfile::tempdir().unwrap();
    let copy = beside.path().join("journal.db");
    fs::copy(journal, &copy).unwrap();
    let log = fs::read(state.join("journal.db-wal")).unwrap_or_default();
    fs::write(beside.path().join("journal.db-wal"), without_last_commit(&log)).unwrap();
    told(&Connection::open(copy).unwrap()).unwrap_or_default()
}

/// An error says that the tables aren't there yet.
fn told(journal: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut told = journal.prepare(
        "SELECT fingerprint FROM entries WHERE state = 'answer' AND status BETWEEN 200 AND 299
         UNION SELECT fingerprint FROM redeemed",
    )?;
    told.query_map([], |row| row.get(0))?.collect()
}

fn without_last_commit(log: &[u8]) -> &[u8] {
    let word = |at: usize| log.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
    let (Some(page), Some(salt)) = (word(8), log.get(16..24)) else { return &[] };
    let frame = FRAME_HEAD + page as usize;
    let (mut end, mut before_last, mut last) = (LOG_HEAD, 0, 0);
    while log.get(end + 8..end + 16) == Some(salt) {
        let commits = word(end + 4) != Some(0);
        end += frame;
        if commits {
            (before_last, last) = (last, end);
        }
    }
    debug_assert!(before_last <= last);
    &log[..before_last]
}
