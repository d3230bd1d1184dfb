//! Journals as earlier versions left them.

use rusqlite::Connection;
use std::path::Path;

/// Makes of today's file one of format 1: what later ones added is gone from it.
pub(crate) fn as_format_1(state: &Path) {
    let raw = Connection::open(state.join("journal.db")).unwrap();
    raw.execute_batch(
        "CREATE TABLE before (
           id INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, document TEXT NOT NULL, subject TEXT NOT NULL,
           fingerprint TEXT NOT NULL, state TEXT NOT NULL, sent_at INTEGER NOT NULL, unsettled_since INTEGER, why TEXT,
           status INTEGER, retry_after TEXT, body BLOB, complete INTEGER, received_at INTEGER
         ) STRICT;
         INSERT INTO before SELECT id, provider, document, subject, fingerprint, state, sent_at, unsettled_since, why,
           status, NULL, body, complete, received_at FROM entries;
         DROP TABLE entries;
         ALTER TABLE before RENAME TO entries;
         CREATE UNIQUE INDEX one_open_row ON entries (fingerprint) WHERE state != 'orphan';
         INSERT INTO meta SELECT 'pass ' || lease_id, lease_id FROM passes WHERE given_back_at IS NULL;
         DROP TABLE passes;
         PRAGMA user_version = 1;",
    )
    .unwrap();
}
