//! Opening the file: its tables, its keys, and what a crash left in it.

use super::forget::{MemoryClock, TOGETHER};
use super::kept::Keeping;
use super::{Rows, failure, read};
use crate::clock::Timestamp;
use crate::journal::JournalError;
use crate::journal::seal::Seal;
use crate::room::make_private;
use rusqlite::Connection;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The format since which rows are as they are now; the later ones only added columns and tables.
pub(super) const ROWS_SINCE: i64 = 4;

/// The format of the file, in `user_version`; a newer one is refused, not guessed at.
pub(super) const FORMAT: i64 = 5;

/// The stores that rows belong to. A store that takes the place of another one changes a row here, and none of theirs.
pub(super) const STORES: &str = "
CREATE TABLE IF NOT EXISTS stores (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,          -- as JSON
  is_here INTEGER NOT NULL         -- 1: its rows are those of the store that passes go over now
) STRICT;
";

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run TEXT,                        -- the process that sent it; none: one of an earlier version
  provider TEXT NOT NULL,
  document TEXT NOT NULL,          -- _id, canonical extended JSON
  subject TEXT NOT NULL,
  fingerprint TEXT NOT NULL,       -- of the refresh token that was sent
  state TEXT NOT NULL,             -- the words of EntryState
  sent_at INTEGER NOT NULL,        -- milliseconds since 1970, as all times here
  unsettled_since INTEGER,         -- when the token was first sent without an answer that settled it
  turned_away_since INTEGER,       -- an answer that wasn't the provider's own turned it away; the token may be sent again
  why TEXT,                        -- why it is in this state
  peer TEXT,                       -- whom it was sent to, where the answer was lost
  status INTEGER, complete INTEGER, received_at INTEGER,
  headers BLOB, body BLOB,         -- of the answer
  sent BLOB,                       -- the refresh token
  sealed INTEGER,                  -- 1: headers, body and sent are encrypted; 2: and their own key doesn't open them
  access TEXT,                     -- fingerprint of the access token beside it; empty: none stood there; NULL: not known
  after_another INTEGER NOT NULL DEFAULT 0, -- 1: another machine had written the pair whose token was sent
  store INTEGER NOT NULL DEFAULT 1 -- the store that it belongs to, in `stores`
) STRICT;
-- By fingerprint alone: a token is the same token when its provider is called another name.
CREATE UNIQUE INDEX IF NOT EXISTS one_open_row ON entries (fingerprint)
  WHERE state != 'orphan' AND state != 'set_aside';
CREATE INDEX IF NOT EXISTS set_aside ON entries (fingerprint) WHERE state = 'set_aside';
CREATE INDEX IF NOT EXISTS parked ON entries (fingerprint) WHERE state = 'orphan';
CREATE TABLE IF NOT EXISTS redeemed (
  fingerprint TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  successor TEXT,                  -- fingerprint of the refresh token that came for it, if the document has it
  at INTEGER NOT NULL,
  forget_at INTEGER,               -- by the clock of the memory; none: an earlier version wrote it, and it stays 400 days
  access TEXT                      -- as in `entries`, when it was sent
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS forgotten ON redeemed (coalesce(forget_at, at + 34560000000));
-- Pairs that their documents hold, should these lose them. Earlier versions of this format have no such table.
CREATE TABLE IF NOT EXISTS kept (
  id INTEGER PRIMARY KEY,          -- the number of its row in `entries`
  provider TEXT NOT NULL,
  document TEXT NOT NULL,
  subject TEXT NOT NULL,
  fingerprint TEXT NOT NULL,       -- of the refresh token that was sent
  successor TEXT NOT NULL UNIQUE,  -- of the one that came for it
  sent_at INTEGER NOT NULL,
  status INTEGER NOT NULL, complete INTEGER, received_at INTEGER,
  headers BLOB, body BLOB, sent BLOB,
  sealed INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  forget_at INTEGER NOT NULL,      -- by the clock of the memory
  store INTEGER NOT NULL DEFAULT 1 -- as in `entries`
) STRICT;
CREATE INDEX IF NOT EXISTS kept_of ON kept (document);
CREATE INDEX IF NOT EXISTS kept_until ON kept (forget_at);
CREATE INDEX IF NOT EXISTS kept_in_store ON kept (store);
CREATE INDEX IF NOT EXISTS kept_in_the_clear ON kept (sealed) WHERE sealed = 0;
-- Tokens whose rows have gone, and of which no answer told whether they were redeemed. Earlier versions have no such table.
CREATE TABLE IF NOT EXISTS doubted (
  fingerprint TEXT PRIMARY KEY,
  unsettled_since INTEGER, turned_away_since INTEGER, -- as in `entries`
  forget_at INTEGER NOT NULL       -- by the clock of the memory
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS doubted_until ON doubted (forget_at);
CREATE TABLE IF NOT EXISTS passes (
  lease_id TEXT NOT NULL,          -- what it claimed with
  provider TEXT NOT NULL,
  run TEXT,                        -- the process; none: one of an earlier version
  started_at INTEGER NOT NULL,
  given_back_at INTEGER,           -- when nothing was claimed with its lease any more
  summary TEXT,                    -- its counts, as JSON
  PRIMARY KEY (lease_id, provider)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ended_passes ON passes (provider, started_at) WHERE summary IS NOT NULL;
-- Marks whose pass isn't judged yet. Earlier versions of this format have no such table, and leave it alone.
CREATE TABLE IF NOT EXISTS marks (
  provider TEXT NOT NULL,
  document TEXT NOT NULL,
  subject TEXT NOT NULL,
  fingerprint TEXT NOT NULL,       -- of the refresh token that was marked
  marked_at INTEGER NOT NULL,      -- as the mark itself says: a document that was marked at another time bears another one
  pass TEXT NOT NULL,              -- the lease id of the pass that made it
  since INTEGER,                   -- since when the login was live
  last_error TEXT,                 -- what the document said before, as JSON
  doubted INTEGER NOT NULL,        -- 1: it is to be taken back, whatever a later pass finds
  PRIMARY KEY (provider, document)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
";

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

    /// Takes over the file of an earlier version, makes the tables, tries the keys, and takes note of what a crash left.
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
        let format = format_of(&connection, file)?;
        let writes_a_log = *super::WRITES_A_LOG.start();
        let run = format!("{:016x}", rand::random::<u64>());
        let file = file.to_owned();
        let memory = MemoryClock::default();
        let to_forget = TOGETHER;
        let mut rows = Self {
            connection,
            file,
            seal,
            run,
            id: String::new(),
            durable: true,
            writes: 0,
            writes_a_log,
            memory,
            to_forget,
            kept: Keeping::default(),
            kept_before: 0,
        };
        // An earlier process may have left a log whose sync failed: what this one reads of it, it writes anew.
        rows.empty_log()?;
        rows.begin(true)?;
        let grown = rows.add_forget_at()?;
        rows.add_beside()?;
        rows.number_stores()?;
        let migrated = format < ROWS_SINCE && rows.migrate()?;
        rows.make_tables()?;
        rows.name_itself()?;
        let sealed = rows.seal_entries()?;
        // The answers of an earlier process' intents are not waited for any more.
        rows.note_cut_off(None)?;
        rows.start_memory_clock(now)?;
        rows.move_doubts()?;
        rows.start_keeping()?;
        rows.commit()?;
        if sealed || migrated || grown {
            // The log still holds what was in the clear, or an index over all redeemed tokens.
            rows.empty_log()?;
        }
        rows.seal_kept()?;
        Ok(rows)
    }

    /// Moves the whole log into the file, and leaves none of it; as far as nobody reads it now.
    pub(super) fn empty_log(&mut self) -> Result<(), JournalError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|source| failure(&self.file, "empty its log", source))
    }

    /// Makes the tables that aren't there, and notes by whom, for the error of a version that can't read them.
    fn make_tables(&mut self) -> Result<(), JournalError> {
        let make = || {
            self.connection.execute_batch(STORES)?;
            self.connection.execute_batch(SCHEMA)?;
            let by = "INSERT OR REPLACE INTO meta (key, value) VALUES ('written_by', ?1)";
            self.connection.execute(by, [env!("CARGO_PKG_VERSION")])?;
            self.connection.pragma_update(None, "user_version", FORMAT)
        };
        make().map_err(|source| failure(&self.file, "make its tables", source))
    }
}

/// The format of the file; 0 of one that is new.
///
/// # Errors
/// [`JournalError::Newer`] when this version can't read it.
pub(super) fn format_of(connection: &Connection, file: &Path) -> Result<i64, JournalError> {
    let format: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| failure(file, "read its version", source))?;
    if format <= FORMAT {
        return Ok(format);
    }
    // Whatever else that version has changed, it may have left this.
    let by = "SELECT value FROM meta WHERE key = 'written_by'";
    let written_by = connection.query_row(by, [], |row| read::shown(row, 0)).ok();
    Err(JournalError::Newer { file: file.to_owned(), format, readable: FORMAT, written_by })
}
