//! Which answers a dead process had been told are durable.

use crate::support::power_cut::PowerCut;
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
/// commit were told, and of the last one that isn't known; but where the log was being moved into the file, that was told, too.
pub(super) fn acknowledged(state: &Path, power: &PowerCut) -> HashSet<String> {
    let [file, log] = ["journal.db", "journal.db-wal"].map(|name| state.join(name));
    if !file.exists() {
        return HashSet::new();
    }
    let beside = tempfile::tempdir().unwrap();
    let copy = beside.path().join("journal.db");
    fs::copy(&file, &copy).unwrap();
    let written = fs::read(&log).unwrap_or_default();
    let is_told = power.is_newer(&file, &log);
    let told = if is_told { &written[..] } else { without_last_commit(&written) };
    fs::write(beside.path().join("journal.db-wal"), told).unwrap();
    read(&Connection::open(copy).unwrap()).unwrap()
}

fn read(journal: &Connection) -> rusqlite::Result<HashSet<String>> {
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('entries', 'redeemed')";
    if journal.query_row(tables, [], |row| row.get::<_, i64>(0))? < 2 {
        return Ok(HashSet::new());
    }
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
