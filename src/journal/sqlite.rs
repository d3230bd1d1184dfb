//! The journal's rows in SQLite: WAL, one connection, statements cached.

mod image;
mod open;
mod read;
mod store;
#[cfg(test)]
mod tests;

use super::seal::Seal;
use super::{Doubts, EntryId, Event, Intent, JournalError, Moment, Permission};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::provider::history::History;
use crate::room::{Shortage, free_bytes};
use crate::token::{Fingerprint, ParkedWhy, TokenId};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use image::Image;
pub(super) use read::{known, peek};
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
    durable: bool,
    /// Writes since the last checkpoint: statements, and the pages of large bodies.
    writes: usize,
    /// So many make a long log.
    writes_a_log: usize,
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
        self.run("begin a transaction", "BEGIN IMMEDIATE", [])
    }

    /// Commits; after an error the file must not be written again by this process.
    pub(super) fn commit(&mut self) -> Result<(), JournalError> {
        self.run("commit", "COMMIT", [])
    }

    /// Takes the transaction back.
    pub(super) fn roll_back(&mut self) -> Result<(), JournalError> {
        self.run("take a transaction back", "ROLLBACK", [])
    }

    /// Takes back what is left of a transaction that failed; SQLite may have done so itself.
    pub(super) fn abandon(&mut self) {
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

    pub(super) fn intent(&mut self, intent: &Intent) -> Result<Permission, JournalError> {
        let fingerprint = intent.fingerprint.to_string();
        if let Some((first, successor)) = self.newest(intent.fingerprint)? {
            return Ok(Permission::AlreadyRedeemed { first, successor });
        }
        let open = self.find(
            "SELECT id, document, state, unsettled_since, turned_away_since,
               coalesce(status BETWEEN 200 AND 299, 0) FROM entries
             WHERE fingerprint = ?1 AND state != 'orphan'",
            [&fingerprint],
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    read::shown(row, 1)?,
                    read::shown(row, 2)?,
                    [row.get::<_, Option<i64>>(3)?, row.get(4)?],
                    row.get::<_, bool>(5)?,
                ))
            },
        )?;
        let [unsettled_since, turned_away_since] = match open {
            None => [None; 2],
            Some((id, _, state, since, unread)) if state == "unsettled" => {
                if unread {
                    // A success that nobody could read stays for a person to look at, beside the next try.
                    self.run(
                        "keep an unreadable answer",
                        "UPDATE entries SET state = 'orphan', why = ?2 WHERE id = ?1",
                        params![id, ParkedWhy::Unreadable.word()],
                    )?;
                } else {
                    self.run("record an intent", "DELETE FROM entries WHERE id = ?1", [id])?;
                }
                since
            }
            Some((_, _, state, ..)) if state == "unread" => return Ok(Permission::Unread),
            Some((_, document, ..)) => return Ok(Permission::InFlight(TokenId::from(document))),
        };
        self.run(
            "record an intent",
            "INSERT INTO entries
               (provider, document, subject, fingerprint, state, sent_at, unsettled_since, turned_away_since)
             VALUES (?1, ?2, ?3, ?4, 'intent', ?5, ?6, ?7)",
            params![
                &*intent.provider,
                intent.document.as_str(),
                intent.subject.as_str(),
                fingerprint,
                intent.sent_at.timestamp_millis(),
                unsettled_since,
                turned_away_since
            ],
        )?;
        let entry = EntryId(self.connection.last_insert_rowid());
        let doubts = Doubts {
            unsettled_since: unsettled_since.and_then(from_millis),
            turned_away_since: turned_away_since.and_then(from_millis),
        };
        Ok(Permission::Send { entry, doubts })
    }

    /// For which document a token was redeemed, and the newest token that came out of it.
    pub(super) fn newest(
        &mut self,
        fingerprint: Fingerprint,
    ) -> Result<Option<(TokenId, Option<Fingerprint>)>, JournalError> {
        let redeemed = self.find(
            "WITH RECURSIVE chain(fingerprint, document, successor, depth) AS (
               SELECT fingerprint, document, successor, 0 FROM redeemed WHERE fingerprint = ?1
               UNION ALL
               SELECT next.fingerprint, next.document, next.successor, depth + 1
               FROM chain JOIN redeemed next ON next.fingerprint = chain.successor
               WHERE depth < 10000 -- a provider that hands out an old token again makes a ring
             ) SELECT document, successor FROM chain ORDER BY depth DESC LIMIT 1",
            [fingerprint.to_string()],
            |row| Ok((read::shown(row, 0)?, read::shown(row, 1)?)),
        )?;
        // A successor that can't be read is one that nobody knows.
        Ok(redeemed.map(|(document, successor)| (TokenId::from(document), Fingerprint::from_hex(&successor))))
    }

    pub(super) fn redeemed_at(&mut self, token: Fingerprint) -> Result<Option<Timestamp>, JournalError> {
        let at: Option<i64> =
            self.find("SELECT at FROM redeemed WHERE fingerprint = ?1", [token.to_string()], |row| {
                row.get(0)
            })?;
        Ok(at.and_then(from_millis))
    }

    /// Keeps an answer in its row, encrypted when there is a key.
    pub(super) fn answer(&mut self, entry: EntryId, answer: &RawAnswer) -> Result<(), JournalError> {
        let content_encoding = answer.content_encoding();
        let sealed = self.sealed(entry, &answer.body, content_encoding.as_deref())?;
        self.writes += answer.body.len() / PAGE_BYTES;
        let kept = self.change(
            "keep an answer",
            "UPDATE entries SET state = 'answer', status = ?2, retry_after = ?3, body = ?4, complete = ?5,
               received_at = ?6, sealed = ?7, content_encoding = ?8 WHERE id = ?1",
            params![
                entry.0,
                answer.status,
                answer.retry_after(),
                sealed.as_deref().unwrap_or(&answer.body),
                answer.complete,
                answer.received_at.timestamp_millis(),
                sealed.is_some(),
                content_encoding
            ],
        )?;
        if kept == 1 { Ok(()) } else { Err(JournalError::NoEntry(entry)) }
    }

    /// Seals a body for the place of its row; `None` without a key.
    fn sealed(
        &self,
        entry: EntryId,
        body: &[u8],
        content_encoding: Option<&str>,
    ) -> Result<Option<Vec<u8>>, JournalError> {
        if !self.seal.encrypts() {
            return Ok(None);
        }
        let sealed = self.find(
            "SELECT document, fingerprint, provider, ?2 FROM entries WHERE id = ?1",
            params![entry.0, content_encoding],
            |row| Ok(self.seal.close(body, read::place(row, [0, 1, 2, 3])?)),
        )?;
        // Without encryption nothing is kept: whoever set a key means it.
        sealed.flatten().map(Some).ok_or(JournalError::NoEntry(entry))
    }

    pub(super) fn end(&mut self, entry: EntryId, ending: &Event, at: Timestamp) -> Result<(), JournalError> {
        let id = entry.0;
        let remember = "INSERT OR REPLACE INTO redeemed (fingerprint, document, successor, at)
                        SELECT fingerprint, document, ?3, ?2 FROM entries WHERE id = ?1";
        let at = at.timestamp_millis();
        match ending {
            Event::Redeemed { .. } | Event::Renewed => {
                if let Event::Redeemed { successor } = ending {
                    self.run("remember a redeemed token", remember, params![id, at, successor.to_string()])?;
                }
                self.run(
                    "end what couldn't be read before",
                    "DELETE FROM entries WHERE state = 'orphan' AND why = ?2 AND fingerprint =
                       (SELECT fingerprint FROM entries WHERE id = ?1)",
                    params![id, ParkedWhy::Unreadable.word()],
                )?;
                self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id])
            }
            Event::Settled => self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id]),
            Event::NotProcessed => {
                self.run(
                    "end a row",
                    "DELETE FROM entries WHERE id = ?1 AND unsettled_since IS NULL AND turned_away_since IS NULL",
                    [id],
                )?;
                self.run("end a row", "UPDATE entries SET state = 'unsettled' WHERE id = ?1", [id])
            }
            Event::Lost { cause, peer } => self.run(
                "leave a row unsettled",
                "UPDATE entries SET state = 'unsettled', why = ?2, peer = coalesce(?3, peer),
                   unsettled_since = coalesce(unsettled_since, sent_at) WHERE id = ?1",
                params![id, cause.as_str(), peer],
            ),
            Event::AskAgain(why) => self.run(
                "leave a row unsettled",
                "UPDATE entries SET state = 'unsettled', why = ?2, unsettled_since = coalesce(unsettled_since, sent_at)
                 WHERE id = ?1",
                params![id, why.as_str()],
            ),
            Event::TurnedAway { cause, peer } => self.run(
                "leave a row in doubt",
                "UPDATE entries SET state = 'unsettled', why = ?2, peer = coalesce(?3, peer),
                   turned_away_since = coalesce(turned_away_since, sent_at) WHERE id = ?1",
                params![id, cause.as_str(), peer],
            ),
            Event::CannotRead(why) => self.run(
                "keep an unread answer",
                "UPDATE entries SET state = 'unread', why = ?2 WHERE id = ?1",
                params![id, why.as_str()],
            ),
            Event::GivenUp => {
                self.run(
                    "remember a redeemed token",
                    "INSERT OR IGNORE INTO redeemed (fingerprint, document, successor, at)
                     SELECT fingerprint, document, NULL, ?2 FROM entries WHERE id = ?1
                       AND (state = 'unread' OR state = 'answer' AND status BETWEEN 200 AND 299)",
                    params![id, at],
                )?;
                self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id])
            }
            Event::NoPlace(why) => {
                self.run("remember a redeemed token", remember, params![id, at, None::<String>])?;
                self.run(
                    "park an orphan",
                    "UPDATE entries SET state = 'orphan', why = ?2 WHERE id = ?1",
                    params![id, why.word()],
                )
            }
        }
    }

    pub(super) fn remembered(&mut self, moment: Moment) -> Result<Option<Timestamp>, JournalError> {
        let millis: Option<i64> =
            self.find("SELECT value FROM meta WHERE key = ?1", [moment.key()], |row| row.get(0))?;
        Ok(millis.and_then(from_millis))
    }

    pub(super) fn remember(&mut self, moment: Moment, at: Option<Timestamp>) -> Result<(), JournalError> {
        let (key, action) = (moment.key(), "remember a moment");
        match at {
            Some(at) => self.run(
                action,
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
                params![key, at.timestamp_millis()],
            ),
            None => self.run(action, "DELETE FROM meta WHERE key = ?1", [key]),
        }
    }

    /// The documents whose users the last pass put off.
    pub(super) fn put_off(&mut self) -> Result<Vec<TokenId>, JournalError> {
        let ids: Option<String> =
            self.find("SELECT value FROM meta WHERE key = 'put_off'", [], |row| row.get(0))?;
        // What can't be read is forgotten: it only adds names to a report.
        Ok(ids.and_then(|ids| serde_json::from_str(&ids).ok()).unwrap_or_default())
    }

    pub(super) fn set_put_off(&mut self, documents: &[TokenId]) -> Result<(), JournalError> {
        let ids = serde_json::to_string(documents).unwrap_or_default();
        let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('put_off', ?1)";
        self.run("remember who is put off", set, [ids])
    }

    /// Notes how late the clock was seen.
    pub(super) fn note_clock(&mut self, at: Timestamp) -> Result<(), JournalError> {
        self.run(
            "remember a moment",
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
            params![Moment::LatestPass.key(), at.timestamp_millis()],
        )
    }

    pub(super) fn history(&mut self, provider: &str) -> Result<History, JournalError> {
        let counts: Option<String> =
            self.find("SELECT value FROM meta WHERE key = 'history ' || ?1", [provider], |row| row.get(0))?;
        // What can't be read is forgotten: it only says what is usual.
        Ok(counts.and_then(|counts| serde_json::from_str(&counts).ok()).unwrap_or_default())
    }

    pub(super) fn set_history(&mut self, provider: &str, history: History) -> Result<(), JournalError> {
        let counts = serde_json::to_string(&history).unwrap_or_default();
        let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('history ' || ?1, ?2)";
        self.run("remember what is usual", set, [provider, &counts])
    }

    pub(super) fn finish_pass(&mut self, lease_id: &str) -> Result<(), JournalError> {
        self.run("end a pass", "DELETE FROM meta WHERE key = 'pass ' || ?1", [lease_id])
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
