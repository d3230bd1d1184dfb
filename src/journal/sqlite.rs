//! The journal's rows in SQLite: WAL, one connection, statements cached.

mod image;

use super::{Begun, Ending, Entry, EntryId, EntryState, Intent, JournalError, Journaled, Permission};
use crate::clock::Timestamp;
use crate::gate::History;
use crate::grant::RawAnswer;
use crate::token::{Fingerprint, Subject, TokenId};
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use image::Image;

/// How long the fingerprint of a redeemed token is remembered.
///
/// Longer than the longest-lived refresh token of any profile is worth restoring from a backup.
const REMEMBER_REDEEMED: TimeDelta = TimeDelta::days(400);

/// The tables' version, in `user_version`; a journal of a newer Evergrant is refused, not guessed at.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
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
  peer TEXT                        -- whom it was sent to, where the answer was lost
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

/// Statements that stay prepared: more than the rows have, so that none is parsed twice.
const STATEMENTS: usize = 64;

/// Why an unread success is parked when its token is tried again.
const UNREADABLE: &str = "unreadable";

/// The columns of an [`Entry`], in the order in which [`read_entry`] takes them.
const ENTRY_COLUMNS: &str =
    "id, provider, document, subject, fingerprint, state, sent_at, unsettled_since, why,
  status, retry_after, body, complete, received_at, peer";

#[derive(Debug)]
pub(super) struct Rows {
    connection: Connection,
    file: PathBuf,
    durable: bool,
}

impl Rows {
    /// Opens or makes the file, proves that it can be written, and takes note of what a crash left.
    pub(super) fn open(file: &Path, now: Timestamp) -> Result<Self, JournalError> {
        let failed = |action| move |source: rusqlite::Error| failure(file, action, source);
        // Made before SQLite sees it, so that it and the files beside it are 0600 from the first byte on.
        std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file).map_err(|source| {
            JournalError::Directory {
                directory: file.parent().unwrap_or(file).to_owned(),
                action: "write the journal in it",
                source,
            }
        })?;
        let connection = Connection::open(file).map_err(failed("open"))?;
        Self::prepare(connection, file, now)
    }

    /// Makes the tables, and takes note of what a crash left.
    fn prepare(connection: Connection, file: &Path, now: Timestamp) -> Result<Self, JournalError> {
        let failed = |action| move |source: rusqlite::Error| failure(file, action, source);
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")
            .map_err(failed("switch to write-ahead logging"))?;
        let version: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed("read its version"))?;
        if version > SCHEMA_VERSION {
            return Err(failure(
                file,
                "be read: it was written by a newer Evergrant",
                rusqlite::Error::InvalidQuery,
            ));
        }
        connection.execute_batch(SCHEMA).map_err(failed("make its tables"))?;
        add_column(&connection, "peer", "TEXT").map_err(failed("add a column"))?;
        connection
            .pragma_update(None, "user_version", SCHEMA_VERSION)
            .map_err(failed("write its version"))?;
        connection
            .execute(
                "UPDATE entries SET state = 'unsettled', why = coalesce(why, 'stopped'),
                   unsettled_since = coalesce(unsettled_since, sent_at) WHERE state = 'intent'",
                [],
            )
            .map_err(failed("note what a crash left"))?;
        let forget_before = (now - REMEMBER_REDEEMED).timestamp_millis();
        connection
            .execute("DELETE FROM redeemed WHERE at < ?1", [forget_before])
            .map_err(failed("forget old fingerprints"))?;
        Ok(Self { connection, file: file.to_owned(), durable: true })
    }

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

    pub(super) fn intent(&mut self, intent: &Intent) -> Result<Permission, JournalError> {
        let fingerprint = intent.fingerprint.to_string();
        if let Some((first, successor)) = self.newest(intent.fingerprint)? {
            return Ok(Permission::AlreadyRedeemed { first, successor });
        }
        let open = self.find(
            "SELECT id, document, state, unsettled_since, coalesce(status BETWEEN 200 AND 299, 0) FROM entries
             WHERE fingerprint = ?1 AND state != 'orphan'",
            [&fingerprint],
            |row| {
                let [document, state] = [row.get::<_, String>(1)?, row.get(2)?];
                Ok((
                    row.get::<_, i64>(0)?,
                    document,
                    state,
                    row.get::<_, Option<i64>>(3)?,
                    row.get::<_, bool>(4)?,
                ))
            },
        )?;
        let unsettled_since = match open {
            None => None,
            Some((id, _, state, since, unread)) if state == "unsettled" => {
                if unread {
                    // A success that nobody could read stays for a person to look at, beside the next try.
                    self.run(
                        "keep an unreadable answer",
                        "UPDATE entries SET state = 'orphan', why = ?2 WHERE id = ?1",
                        params![id, UNREADABLE],
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
            "INSERT INTO entries (provider, document, subject, fingerprint, state, sent_at, unsettled_since)
             VALUES (?1, ?2, ?3, ?4, 'intent', ?5, ?6)",
            params![
                &*intent.provider,
                intent.document.as_str(),
                intent.subject.as_str(),
                fingerprint,
                intent.sent_at.timestamp_millis(),
                unsettled_since
            ],
        )?;
        let entry = EntryId(self.connection.last_insert_rowid());
        Ok(Permission::Send { entry, unsettled_since: unsettled_since.and_then(from_millis) })
    }

    /// For which document a token was redeemed, and the newest token that came out of it.
    pub(super) fn newest(
        &mut self,
        fingerprint: Fingerprint,
    ) -> Result<Option<(TokenId, Option<Fingerprint>)>, JournalError> {
        let redeemed: Option<(String, Option<String>)> = self.find(
            "WITH RECURSIVE chain(fingerprint, document, successor, depth) AS (
               SELECT fingerprint, document, successor, 0 FROM redeemed WHERE fingerprint = ?1
               UNION ALL
               SELECT next.fingerprint, next.document, next.successor, depth + 1
               FROM chain JOIN redeemed next ON next.fingerprint = chain.successor
             ) SELECT document, successor FROM chain ORDER BY depth DESC LIMIT 1",
            [fingerprint.to_string()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(redeemed.map(|(document, successor)| {
            (TokenId::from(document), successor.as_deref().and_then(Fingerprint::from_hex))
        }))
    }

    pub(super) fn answer(&mut self, entry: EntryId, answer: &RawAnswer) -> Result<(), JournalError> {
        self.run(
            "keep an answer",
            "UPDATE entries SET state = 'answer', status = ?2, retry_after = ?3, body = ?4, complete = ?5,
               received_at = ?6 WHERE id = ?1",
            params![
                entry.0,
                answer.status,
                answer.retry_after,
                &answer.body[..],
                answer.complete,
                answer.received_at.timestamp_millis()
            ],
        )
    }

    pub(super) fn end(&mut self, entry: EntryId, ending: &Ending, at: Timestamp) -> Result<(), JournalError> {
        let id = entry.0;
        let remember = "INSERT OR REPLACE INTO redeemed (fingerprint, document, successor, at)
                        SELECT fingerprint, document, ?3, ?2 FROM entries WHERE id = ?1";
        let at = at.timestamp_millis();
        match ending {
            Ending::Redeemed { .. } | Ending::Renewed => {
                if let Ending::Redeemed { successor } = ending {
                    self.run("remember a redeemed token", remember, params![id, at, successor.to_string()])?;
                }
                self.run(
                    "end what couldn't be read before",
                    "DELETE FROM entries WHERE state = 'orphan' AND why = ?2 AND fingerprint =
                       (SELECT fingerprint FROM entries WHERE id = ?1)",
                    params![id, UNREADABLE],
                )?;
                self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id])
            }
            Ending::Settled => self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id]),
            Ending::NotProcessed => {
                self.run("end a row", "DELETE FROM entries WHERE id = ?1 AND unsettled_since IS NULL", [id])?;
                self.run("end a row", "UPDATE entries SET state = 'unsettled' WHERE id = ?1", [id])
            }
            Ending::Unsettled(why) => self.run(
                "leave a row unsettled",
                "UPDATE entries SET state = 'unsettled', why = ?2, unsettled_since = coalesce(unsettled_since, sent_at)
                 WHERE id = ?1",
                params![id, why],
            ),
            Ending::SentTo(peer) => {
                self.run("note a peer", "UPDATE entries SET peer = ?2 WHERE id = ?1", params![id, peer])
            }
            Ending::Unread(why) => self.run(
                "keep an unread answer",
                "UPDATE entries SET state = 'unread', why = ?2 WHERE id = ?1",
                params![id, why],
            ),
            Ending::Orphaned(why) => {
                self.run("remember a redeemed token", remember, params![id, at, None::<String>])?;
                self.run(
                    "park an orphan",
                    "UPDATE entries SET state = 'orphan', why = ?2 WHERE id = ?1",
                    params![id, why],
                )
            }
        }
    }

    pub(super) fn entries(&mut self) -> Result<Vec<Entry>, JournalError> {
        read_entries(&self.connection).map_err(|source| failure(&self.file, "read its rows", source))
    }

    pub(super) fn last_wake(&mut self) -> Result<Option<Timestamp>, JournalError> {
        let millis: Option<i64> =
            self.find("SELECT value FROM meta WHERE key = 'last_wake'", [], |row| row.get(0))?;
        Ok(millis.and_then(from_millis))
    }

    pub(super) fn set_last_wake(&mut self, at: Timestamp) -> Result<(), JournalError> {
        self.run(
            "remember a wake",
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('last_wake', ?1)",
            [at.timestamp_millis()],
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

    pub(super) fn begin_pass(&mut self, lease_id: &str, store: &str) -> Result<Begun, JournalError> {
        let known: Option<String> =
            self.find("SELECT value FROM meta WHERE key = 'store'", [], |row| row.get(0))?;
        let open: u64 = self
            .find("SELECT count(*) FROM entries", [], |row| row.get(0))?
            .map_or(0, |count: i64| count.unsigned_abs());
        if let Some(other) = known.filter(|known| known != store && open > 0) {
            return Ok(Begun::OtherStore { store: other, open });
        }
        self.run("note the store", "INSERT OR REPLACE INTO meta (key, value) VALUES ('store', ?1)", [store])?;
        let unfinished = || {
            self.connection
                .prepare_cached("SELECT value FROM meta WHERE key LIKE 'pass %'")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        };
        let unfinished = unfinished().map_err(|source| failure(&self.file, "look up a pass", source))?;
        self.run(
            "note a pass",
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('pass ' || ?1, ?1)",
            [lease_id],
        )?;
        Ok(Begun::Alone { unfinished })
    }

    pub(super) fn finish_pass(&mut self, lease_id: &str) -> Result<(), JournalError> {
        self.run("end a pass", "DELETE FROM meta WHERE key = 'pass ' || ?1", [lease_id])
    }

    fn run(
        &self,
        action: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<(), JournalError> {
        let run = || self.connection.prepare_cached(sql)?.execute(params);
        run().map(|_| ()).map_err(|source| failure(&self.file, action, source))
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

/// Adds a column that journals of earlier versions don't have; their rows have nothing in it.
fn add_column(connection: &Connection, name: &str, kind: &str) -> rusqlite::Result<()> {
    if has_column(connection, name)? {
        return Ok(());
    }
    connection.execute_batch(&format!("ALTER TABLE entries ADD COLUMN {name} {kind}"))
}

fn has_column(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let count = "SELECT count(*) FROM pragma_table_info('entries') WHERE name = ?1";
    connection.query_row(count, [name], |row| row.get(0))
}

/// Reads the rows beside a process that may be writing them.
pub(super) fn peek(file: &Path) -> Result<Vec<Entry>, JournalError> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|connection| read_entries(&connection))
        .map_err(|source| failure(file, "be read", source))
}

fn read_entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    // A journal of an earlier version that is only looked at.
    let columns = if has_column(connection, "peer")? {
        ENTRY_COLUMNS.to_owned()
    } else {
        ENTRY_COLUMNS.replace("peer", "NULL")
    };
    connection
        .prepare(&format!("SELECT {columns} FROM entries ORDER BY id"))?
        .query_map([], read_entry)?
        .collect()
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let id = EntryId(row.get(0)?);
    let state = match row.get::<_, String>(5)?.as_str() {
        "intent" => EntryState::Intent,
        "answer" => EntryState::Answer,
        "unread" => EntryState::Unread,
        "orphan" => EntryState::Orphan,
        // A word of nobody's is the state that loses nothing.
        _ => EntryState::Unsettled,
    };
    let answer = match row.get::<_, Option<u16>>(9)? {
        None => None,
        Some(status) => Some(Journaled {
            entry: id,
            value: RawAnswer {
                status,
                retry_after: row.get(10)?,
                body: crate::grant::secret_bytes(row.get::<_, Option<Vec<u8>>>(11)?.unwrap_or_default()),
                complete: row.get::<_, Option<bool>>(12)?.unwrap_or_default(),
                received_at: row.get::<_, Option<i64>>(13)?.and_then(from_millis).unwrap_or_default(),
            },
        }),
    };
    Ok(Entry {
        id,
        state,
        intent: Intent {
            provider: row.get::<_, String>(1)?.into(),
            document: TokenId::from(row.get::<_, String>(2)?),
            subject: Subject::new(&row.get::<_, String>(3)?),
            fingerprint: Fingerprint::from_hex(&row.get::<_, String>(4)?).ok_or_else(|| {
                rusqlite::Error::InvalidColumnType(4, "fingerprint".into(), rusqlite::types::Type::Text)
            })?,
            sent_at: row.get::<_, i64>(6).map(from_millis)?.unwrap_or_default(),
        },
        unsettled_since: row.get::<_, Option<i64>>(7)?.and_then(from_millis),
        why: row.get(8)?,
        peer: row.get(14)?,
        answer,
    })
}

fn from_millis(millis: i64) -> Option<Timestamp> {
    DateTime::<Utc>::from_timestamp_millis(millis)
}

fn failure(file: &Path, action: &'static str, source: rusqlite::Error) -> JournalError {
    JournalError::Failed { file: file.to_owned(), action, source: Arc::new(source) }
}
