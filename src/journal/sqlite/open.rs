//! Opening the file: its tables, its keys, what a crash left in it, and what it may forget.

use super::{Rows, failure, from_millis, read};
use crate::clock::Timestamp;
use crate::journal::seal::{Closed, Seal};
use crate::journal::{EntryId, JournalError, KeyProblem};
use crate::room::make_private;
use chrono::TimeDelta;
use rusqlite::{Connection, params};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// How long the fingerprint of a redeemed token is remembered.
///
/// Longer than the longest-lived refresh token of any profile is worth restoring from a backup.
const REMEMBER_REDEEMED: TimeDelta = TimeDelta::days(400);

/// How far the clock by which fingerprints are forgotten moves from one start to the next.
///
/// A wall clock that is years ahead for a day must not make us forget what we redeemed: a token sent again may end a
/// login. Who starts seldom remembers for longer, and that costs nothing.
const MOST_AT_ONCE: TimeDelta = TimeDelta::days(31);

/// The tables' version, in `user_version`; a journal of a newer Evergrant is refused, not guessed at.
pub(super) const SCHEMA_VERSION: i64 = 3;

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  provider TEXT NOT NULL,
  document TEXT NOT NULL,          -- _id, canonical extended JSON
  subject TEXT NOT NULL,
  fingerprint TEXT NOT NULL,       -- of the refresh token that was sent
  state TEXT NOT NULL,             -- intent | answer | unsettled | unread | orphan
  sent_at INTEGER NOT NULL,        -- milliseconds since 1970, as all times here
  unsettled_since INTEGER,
  why TEXT,
  status INTEGER, retry_after TEXT, body BLOB, complete INTEGER, received_at INTEGER,
  peer TEXT,                       -- whom it was sent to, where the answer was lost
  sealed INTEGER,                  -- 1: the body is encrypted; 2: and its own key doesn't open it
  content_encoding TEXT,           -- as the answer named it; a sealed body opens only beside its own
  turned_away_since INTEGER,       -- an answer that wasn't the provider's own said so; the token may be sent again
  elsewhere TEXT                   -- the identity of the store that it belongs to, where that isn't the one in `meta`
) STRICT;
-- By fingerprint alone: a token is the same token when its provider is called another name.
CREATE UNIQUE INDEX IF NOT EXISTS one_open_row ON entries (fingerprint) WHERE state != 'orphan';
CREATE INDEX IF NOT EXISTS orphans ON entries (fingerprint) WHERE state = 'orphan';
CREATE TABLE IF NOT EXISTS redeemed (
  fingerprint TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  successor TEXT,                  -- fingerprint of the refresh token that came for it, if the document has it
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
";

/// Columns that journals of earlier versions lack, and their types.
pub(super) const LATER_COLUMNS: [(&str, &str); 5] = [
    ("peer", "TEXT"),
    ("sealed", "INTEGER"),
    ("content_encoding", "TEXT"),
    ("turned_away_since", "INTEGER"),
    ("elsewhere", "TEXT"),
];

impl Rows {
    /// Opens or makes the file, proves that it can be written, and takes note of what a crash left.
    pub(in crate::journal) fn open(file: &Path, seal: Seal, now: Timestamp) -> Result<Self, JournalError> {
        let failed = |action| move |source: rusqlite::Error| failure(file, action, source);
        let directory = |action| {
            move |source| JournalError::Directory {
                directory: file.parent().unwrap_or(file).to_owned(),
                action,
                source,
            }
        };
        // Made before SQLite sees it, so that it and the files beside it are 0600 from the first byte on.
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(file)
            .map_err(directory("write the journal in it"))?;
        for ending in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            make_private(Path::new(&name)).map_err(directory("keep the journal in it to ourselves"))?;
        }
        Self::prepare(Connection::open(file).map_err(failed("open"))?, file, seal, now)
    }

    /// Makes the tables, tries the keys, and takes note of what a crash left.
    pub(super) fn prepare(
        connection: Connection,
        file: &Path,
        seal: Seal,
        now: Timestamp,
    ) -> Result<Self, JournalError> {
        let failed = |action| move |source: rusqlite::Error| failure(file, action, source);
        connection.set_prepared_statement_cache_capacity(super::STATEMENTS);
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
                 PRAGMA wal_autocheckpoint = 0;",
            )
            .map_err(failed("switch to write-ahead logging"))?;
        let version: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed("read its version"))?;
        if version > SCHEMA_VERSION {
            return Err(JournalError::Newer { file: file.to_owned() });
        }
        let writes_a_log = *super::WRITES_A_LOG.start();
        let mut rows =
            Self { connection, file: file.to_owned(), seal, durable: true, writes: 0, writes_a_log };
        // An earlier process may have left a log whose sync failed: what this one reads of it, it writes anew.
        rows.empty_log()?;
        rows.begin(true)?;
        rows.make_tables()?;
        let sealed = rows.seal_all()?;
        rows.take_note(now)?;
        rows.commit()?;
        if sealed {
            // The log still holds what was in the clear.
            rows.empty_log()?;
        }
        Ok(rows)
    }

    /// Moves the whole log into the file, and leaves none of it; as far as nobody reads it now.
    fn empty_log(&mut self) -> Result<(), JournalError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|source| failure(&self.file, "empty its log", source))
    }

    fn make_tables(&mut self) -> Result<(), JournalError> {
        let make = || {
            self.connection.execute_batch(SCHEMA)?;
            // Journals of earlier versions don't have them; their rows have nothing in them.
            for (name, kind) in LATER_COLUMNS {
                if !read::has_column(&self.connection, name)? {
                    self.connection
                        .execute_batch(&format!("ALTER TABLE entries ADD COLUMN {name} {kind}"))?;
                }
            }
            self.connection.pragma_update(None, "user_version", SCHEMA_VERSION)
        };
        make().map_err(|source| failure(&self.file, "make its tables", source))
    }

    /// Opens every sealed body, and seals each anew that isn't sealed with the current key; without one all stay as they
    /// are. Tells whether something was sealed.
    fn seal_all(&mut self) -> Result<bool, JournalError> {
        let (mut after, mut no_key, mut wrong_key, mut changed) = (i64::MIN, 0, 0, false);
        while let Some((id, opened, current)) = self.next_body(after)? {
            after = id;
            let body = match opened {
                Ok(body) => body,
                Err(Closed::NoKey) => {
                    no_key += 1;
                    continue;
                }
                Err(Closed::UnknownKey) => {
                    wrong_key += 1;
                    continue;
                }
                // One bad row is in nobody's way: it stays as it is, and recovery names it. Its key may go, too.
                Err(Closed::Tampered) => {
                    let mark = "UPDATE entries SET sealed = 2 WHERE id = ?1";
                    self.run("note a damaged answer", mark, [id])?;
                    continue;
                }
            };
            if current || !self.seal.encrypts() {
                continue;
            }
            let sealed = self.sealed_anew(EntryId(id), &body)?;
            self.run(
                "encrypt its answers",
                "UPDATE entries SET body = ?2, sealed = 1 WHERE id = ?1",
                params![id, sealed],
            )?;
            changed = true;
        }
        match (no_key, wrong_key) {
            (0, 0) => Ok(changed),
            (0, wrong_key) => Err(self.sealed_by(KeyProblem::WrongKey(wrong_key))),
            (no_key, _) => Err(self.sealed_by(KeyProblem::NoKey(no_key))),
        }
    }

    /// Seals a body that is in its row already.
    fn sealed_anew(&self, entry: EntryId, body: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let coding = "SELECT content_encoding FROM entries WHERE id = ?1";
        let coding: Option<String> =
            self.find(coding, [entry.0], |row| read::text_or_none(row, 0))?.flatten();
        self.sealed(entry, body, coding.as_deref())
    }

    fn sealed_by(&self, problem: KeyProblem) -> JournalError {
        JournalError::Sealed { file: self.file.clone(), problem }
    }

    /// The next body behind `after`, opened, and is it sealed with the current key?
    #[expect(clippy::type_complexity, reason = "a row, and what can be wrong with it")]
    fn next_body(&self, after: i64) -> Result<Option<(i64, Result<Vec<u8>, Closed>, bool)>, JournalError> {
        self.find(
            "SELECT id, body, sealed, document, fingerprint, provider, content_encoding FROM entries
             WHERE body IS NOT NULL AND id > ?1 AND coalesce(sealed, 0) != 2 ORDER BY id LIMIT 1",
            [after],
            |row| {
                let opened = read::open(row, &self.seal, [1, 2], [3, 4, 5, 6])?;
                let sealed: Option<bool> = row.get(2)?;
                let current = sealed == Some(true) && self.seal.is_current(row.get_ref(1)?.as_blob()?);
                Ok((row.get(0)?, opened, current))
            },
        )
    }

    /// Nobody waits for the answers of open intents any more.
    pub(super) fn note_cut_off(&mut self) -> Result<(), JournalError> {
        self.run(
            "note what was cut off",
            "UPDATE entries SET state = 'unsettled', why = coalesce(why, 'stopped'),
               unsettled_since = coalesce(unsettled_since, sent_at) WHERE state = 'intent'",
            [],
        )
    }

    /// Nobody waits for the answers of intents any more, and old fingerprints may go.
    fn take_note(&mut self, now: Timestamp) -> Result<(), JournalError> {
        self.note_cut_off()?;
        let millis = |sql| self.find(sql, [], |row| row.get::<_, Option<i64>>(0));
        let newest = millis("SELECT max(at) FROM redeemed")?.flatten().and_then(from_millis);
        let before =
            millis("SELECT value FROM meta WHERE key = 'forgets_by'")?.flatten().and_then(from_millis);
        let Some(newest) = newest else { return Ok(()) };
        let forgets_by = now.min(newest).min(before.map_or(newest, |before| before + MOST_AT_ONCE));
        if now - forgets_by > MOST_AT_ONCE {
            tracing::info!(
                %now,
                "the clock of this machine is far ahead of the last time in the journal: is it right? Old redeemed tokens are forgotten by {forgets_by}, and not by this clock"
            );
        }
        self.run(
            "remember how far it forgets",
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('forgets_by', ?1)",
            [forgets_by.timestamp_millis()],
        )?;
        self.run(
            "forget old fingerprints",
            "DELETE FROM redeemed WHERE at < ?1",
            [(forgets_by - REMEMBER_REDEEMED).timestamp_millis()],
        )
    }
}
