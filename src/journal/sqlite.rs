//! The journal's rows in SQLite: WAL, one connection, statements cached.

mod documents;
mod doubts;
mod ended;
mod forget;
#[cfg(any(test, feature = "testing"))]
mod image;
mod kept;
mod keys;
mod marks;
mod memory;
mod migrate;
mod open;
mod passes;
mod read;
mod rows;
mod store;
#[cfg(test)]
mod tests;

use super::JournalError;
use super::seal::Seal;
use crate::clock::Timestamp;
use crate::room::{Shortage, free_bytes};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use documents::documents_before;
pub(super) use ended::looked;
#[cfg(any(test, feature = "testing"))]
pub(super) use image::Image;
pub(super) use kept::KEEP_PAIRS;
pub(super) use memory::standing_of;
pub(super) use read::{known, peek, peek_one};
pub(super) use store::look_for_other_store;

/// Pages in the log from which on they are moved into the file: SQLite's own measure.
const LONG_LOG_PAGES: usize = 1000;

/// Fewest and most writes that may make such a log; which it is, each checkpoint tells for the next one.
const WRITES_A_LOG: std::ops::RangeInclusive<usize> = 300..=4000;

/// SQLite's page.
const PAGE_BYTES: usize = 4096;

/// Statements that stay prepared: more than the rows have, so that none is parsed twice.
const STATEMENTS: usize = 64;

#[derive(Debug)]
pub(super) struct Rows {
    connection: Connection,
    file: PathBuf,
    seal: Seal,
    /// The process that writes now.
    run: String,
    /// The journal itself, over all processes.
    id: String,
    durable: bool,
    /// Writes since the last checkpoint: statements, and the pages of large bodies.
    writes: usize,
    /// So many make a long log.
    writes_a_log: usize,
    /// The time by which redeemed tokens are forgotten.
    memory: forget::MemoryClock,
    /// Redeemed tokens that may be forgotten, for the rows that have ended.
    to_forget: usize,
    kept: kept::Keeping,
    /// Bytes of kept pairs when this transaction began.
    kept_before: i64,
}

impl Rows {
    /// Starts a transaction whose commit reaches the disk (`durable`), or at least the operating system.
    pub(super) fn begin(&mut self, durable: bool) -> Result<(), JournalError> {
        if durable != self.durable {
            let level = if durable { "FULL" } else { "NORMAL" };
            self.connection
                .pragma_update(None, "synchronous", level)
                .map_err(|source| failure(&self.file, "change its durability", source))?;
            self.durable = durable;
        }
        self.kept_before = self.noted_kept_bytes();
        self.run("begin a transaction", "BEGIN IMMEDIATE", [])
    }

    /// Commits; after an error the file must not be written again by this process.
    pub(super) fn commit(&mut self) -> Result<(), JournalError> {
        self.note_kept_bytes()?;
        self.run("commit", "COMMIT", [])
    }

    /// Takes the transaction back.
    pub(super) fn roll_back(&mut self) -> Result<(), JournalError> {
        self.forget_kept_changes(self.kept_before);
        self.run("take a transaction back", "ROLLBACK", [])
    }

    /// Takes back what is left of a transaction that failed; SQLite may have done so itself.
    pub(super) fn abandon(&mut self) {
        self.forget_kept_changes(self.kept_before);
        if !self.connection.is_autocommit() {
            // What can't be taken back isn't committed: the next statement says what is wrong.
            let _ = self.roll_back();
        }
    }

    /// Moves the log into the file when it is long; an error is as final as one of [`Rows::commit`].
    pub(super) fn checkpoint_when_long(&mut self) -> Result<(), JournalError> {
        if self.writes < self.writes_a_log {
            return Ok(());
        }
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        // Somebody who reads may keep some of it in the log; then it is tried again a log's length later.
        let pages: i64 = self
            .connection
            .query_row(checkpoint, [], |row| row.get(1))
            .map_err(|source| failure(&self.file, "move its log into the file", source))?;
        let pages = usize::try_from(pages).unwrap_or_default().max(1);
        let [least, most] = [*WRITES_A_LOG.start(), *WRITES_A_LOG.end()];
        self.writes_a_log = (self.writes * LONG_LOG_PAGES / pages).clamp(least, most);
        self.writes = 0;
        Ok(())
    }

    fn run(
        &mut self,
        action: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<(), JournalError> {
        self.change(action, sql, params).map(drop)
    }

    /// Runs a statement; returns how many rows it changed.
    fn change(
        &mut self,
        action: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<usize, JournalError> {
        self.writes += 1;
        let run = || self.connection.prepare_cached(sql)?.execute(params);
        run().map_err(|source| failure(&self.file, action, source))
    }

    fn find<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, JournalError> {
        let find = || self.connection.prepare_cached(sql)?.query_row(params, read).optional();
        find().map_err(|source| failure(&self.file, "look up a token", source))
    }
}

fn from_millis(millis: i64) -> Option<Timestamp> {
    DateTime::<Utc>::from_timestamp_millis(millis)
}

/// Sorts an error of the library: a full disk wrote nothing, and breaks nothing.
fn failure(file: &Path, action: &'static str, source: rusqlite::Error) -> JournalError {
    if source.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        let directory = file.parent().unwrap_or(file).to_owned();
        let free_bytes = free_bytes(&directory).unwrap_or_default();
        return JournalError::Full(Shortage {
            directory,
            free_bytes,
            floor_bytes: crate::room::FREE_SPACE_FLOOR_BYTES,
        });
    }
    let file = file.to_owned();
    if matches!(source.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)) {
        return JournalError::Unreadable { file, source: Arc::new(source) };
    }
    JournalError::Failed { file, action, source: Arc::new(source) }
}
