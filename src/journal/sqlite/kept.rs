//! Pairs that stay for a while after their document took them: should it lose them, they are put back.
//!
//! The newest pair of each login, with the token that was sent for it: the pair before goes when that is redeemed. The others
//! go by age, and by size, some with each row that ends; so neither a start nor a pass takes longer because of them.

use super::read::{self, SECRETS};
use super::store::ELSEWHERE_NOW;
use super::{Rows, failure, from_millis};
use crate::clock::Timestamp;
use crate::journal::{Entry, JournalError, KeptPair, KeptPairs, StaleDocument};
use crate::token::Fingerprint;
use chrono::TimeDelta;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::time::Duration;

/// How long a pair stays, where the settings don't say.
pub(in crate::journal) const KEEP_PAIRS: Duration = Duration::from_hours(24 * 7);

/// Most bytes of all pairs together: the oldest go first.
const MOST_BYTES: i64 = 1 << 30;

/// How many give way at once where room is short.
const AT_ONCE: i64 = 100;

/// What a pair takes beside its answer, about.
const ROW_BYTES: i64 = 200;

/// By how much the clocks of two machines may be apart that wrote into one document.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(1);

/// The columns of a kept pair behind [`SECRETS`], as those of a row with an answer.
const BEHIND: &str = "subject, 'answer', sent_at, NULL, NULL, NULL, NULL, NULL, length(body), NULL";

/// In `meta`: the bytes of all kept pairs.
const BYTES: &str = "kept_bytes";

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    /// How long a pair stays; zero: none is kept.
    pub(super) lasts: Duration,
    /// Is room short, so that no pair is kept?
    is_short: bool,
    /// The most bytes of all pairs together.
    pub(super) most_bytes: i64,
    /// Bytes of all kept pairs, with what this transaction has changed.
    bytes: i64,
    /// The same, as the last commit left it.
    noted: i64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { lasts: KEEP_PAIRS, is_short: false, most_bytes: MOST_BYTES, bytes: 0, noted: 0 }
    }
}

impl Rows {
    /// The same, which keeps pairs for so long.
    pub(in crate::journal) fn keeping_pairs(mut self, lasts: Duration) -> Self {
        self.kept.lasts = lasts;
        self
    }

    /// Reads how many bytes earlier processes have kept.
    pub(super) fn start_keeping(&mut self) -> Result<(), JournalError> {
        let bytes = self.find("SELECT value FROM meta WHERE key = ?1", [BYTES], |row| row.get(0))?;
        let bytes = bytes.unwrap_or_default();
        (self.kept.bytes, self.kept.noted) = (bytes, bytes);
        Ok(())
    }

    /// Notes how many bytes are kept, where that has changed.
    pub(super) fn note_kept_bytes(&mut self) -> Result<(), JournalError> {
        if self.kept.bytes == self.kept.noted {
            return Ok(());
        }
        let note = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
        let bytes = self.kept.bytes;
        self.run("note how much it keeps", note, params![BYTES, bytes])?;
        self.kept.noted = self.kept.bytes;
        Ok(())
    }

    /// What a transaction has changed that is taken back.
    pub(super) fn forget_kept_changes(&mut self, noted_before: i64) {
        (self.kept.bytes, self.kept.noted) = (noted_before, noted_before);
    }

    /// Bytes that are kept, as the last commit left it.
    pub(super) const fn noted_kept_bytes(&self) -> i64 {
        self.kept.noted
    }

    /// Keeps the pair of a row that is about to go: its document holds it. The pair before goes, whose refresh token was sent.
    pub(super) fn keep_pair(
        &mut self,
        id: i64,
        sent: &str,
        successor: Fingerprint,
    ) -> Result<(), JournalError> {
        let successor = successor.to_string();
        self.drop_kept(
            "DELETE FROM kept WHERE successor IN (?1, ?2) OR id = ?3 RETURNING bytes",
            params![sent, successor, id],
        )?;
        if self.kept.lasts.is_zero() || self.kept.is_short {
            return Ok(());
        }
        let lasts = TimeDelta::from_std(self.kept.lasts).unwrap_or(TimeDelta::MAX);
        let forget_at = self.memory.now().checked_add_signed(lasts).unwrap_or(Timestamp::MAX_UTC);
        let bytes = self.find(
            "INSERT INTO kept (id, provider, document, subject, fingerprint, successor, sent_at, status, complete,
               received_at, headers, body, sent, sealed, bytes, forget_at, store)
             SELECT id, provider, document, subject, fingerprint, ?2, sent_at, status, complete, received_at, headers, body,
               sent, coalesce(sealed, 0),
               ?4 + coalesce(length(headers), 0) + coalesce(length(body), 0) + coalesce(length(sent), 0), ?3, store
             FROM entries WHERE id = ?1 AND body IS NOT NULL AND status BETWEEN 200 AND 299
             RETURNING bytes",
            params![id, successor, forget_at.timestamp_millis(), ROW_BYTES],
            |row| row.get::<_, i64>(0),
        )?;
        self.writes += 1;
        self.kept.bytes += bytes.unwrap_or_default();
        if self.kept.bytes > self.kept.most_bytes {
            self.drop_oldest(2)?;
        }
        Ok(())
    }

    /// Forgets up to `most` pairs whose time is over; all of them count so where none is to be kept.
    pub(super) fn forget_old_pairs(&mut self, most: i64) -> Result<(), JournalError> {
        if self.kept.bytes == 0 {
            return Ok(());
        }
        let over = if self.kept.lasts.is_zero() { i64::MAX } else { self.memory.now().timestamp_millis() };
        self.drop_kept(
            "DELETE FROM kept WHERE id IN (SELECT id FROM kept WHERE forget_at < ?1 ORDER BY forget_at LIMIT ?2)
             RETURNING bytes",
            params![over, most],
        )
    }

    /// Where room is short, answers get that of the oldest pairs: the file doesn't shrink, and doesn't grow either.
    pub(in crate::journal) fn give_way(&mut self, is_short: bool) -> Result<(), JournalError> {
        self.kept.is_short = is_short;
        if is_short && self.kept.bytes > 0 { self.drop_oldest(AT_ONCE) } else { Ok(()) }
    }

    fn drop_oldest(&mut self, most: i64) -> Result<(), JournalError> {
        self.drop_kept(
            "DELETE FROM kept WHERE id IN (SELECT id FROM kept ORDER BY forget_at LIMIT ?1) RETURNING bytes",
            [most],
        )
    }

    fn drop_kept(&mut self, sql: &str, params: impl rusqlite::Params) -> Result<(), JournalError> {
        self.writes += 1;
        let drop = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(params, |row| row.get::<_, i64>(0))?.sum::<rusqlite::Result<i64>>()
        };
        let bytes = drop().map_err(|source| failure(&self.file, "forget a kept pair", source))?;
        self.kept.bytes -= bytes;
        Ok(())
    }

    /// Forgets the pair of a refresh token that was sent with success: what came for it isn't here, or is parked.
    pub(super) fn forget_sent(&mut self, token: &str) -> Result<(), JournalError> {
        self.drop_kept("DELETE FROM kept WHERE successor = ?1 RETURNING bytes", [token])
    }

    /// Forgets the pairs of a document and its provider into which another machine wrote a newer one: that was granted now, in
    /// the row with this number.
    pub(super) fn forget_kept_before(&mut self, id: i64) -> Result<(), JournalError> {
        let of = format!(
            "DELETE FROM kept WHERE (document, provider) = (SELECT document, provider FROM entries WHERE id = ?1)
               AND store NOT IN {ELSEWHERE_NOW} RETURNING bytes"
        );
        if self.kept.bytes == 0 { Ok(()) } else { self.drop_kept(&of, [id]) }
    }

    /// The pair that belongs in a document which holds a redeemed token again, kept or parked: the newest of its login, or of a
    /// later login where the same document of the same user took that.
    ///
    /// `None` where there is none or it can't be read, and where another machine wrote a later pair: that isn't here.
    pub(in crate::journal) fn pair_for(
        &mut self,
        stale: &StaleDocument,
    ) -> Result<Option<KeptPair>, JournalError> {
        // What came for the good token is later than that, whatever the clocks say.
        let (mut last, mut apart) = (None, TimeDelta::zero());
        if let Some(good) = stale.good {
            last = self.chain_end(good)?;
        }
        if last.is_none() {
            (last, apart) = (self.chain_end(stale.last_sent.unwrap_or(stale.token))?, CLOCKS_APART);
        }
        let Some(last) = last else { return Ok(None) };
        let own = match last.successor {
            Some(successor) => self.kept_where("successor = ?1", &successor.to_string())?,
            None => self.parked_for(&last.fingerprint)?,
        };
        // A person has given up what came for it.
        if last.successor.is_none() && own.is_none() {
            return Ok(None);
        }
        let is_last =
            |entry: &Entry| stale.refreshed_elsewhere.is_none_or(|at| entry.intent.sent_at - apart > at);
        let redeemed_at = self.redeemed_at_of(&last.fingerprint)?;
        let mut later = None;
        if last.document == stale.document {
            later = self.kept_where("document = ?1", stale.document.as_str())?.filter(|entry| {
                entry.intent.subject == stale.subject
                    && match &own {
                        Some(own) => own.id < entry.id && own.intent.provider == entry.intent.provider,
                        // Its own one is gone: by time.
                        None => redeemed_at.is_some_and(|at| at < entry.intent.sent_at),
                    }
            });
        }
        let is_parked = later.is_none() && last.successor.is_none();
        Ok(later.or(own).filter(is_last).map(|entry| KeptPair { entry, is_parked }))
    }

    fn parked_for(&mut self, fingerprint: &str) -> Result<Option<Entry>, JournalError> {
        let orphan = format!(
            "fingerprint = ?1 AND state = 'orphan' AND store NOT IN {ELSEWHERE_NOW} ORDER BY id DESC LIMIT 1"
        );
        let found =
            self.find(&read::select_entries(&orphan), [fingerprint], |row| read::whole(row, &self.seal))?;
        Ok(found.and_then(Result::ok))
    }

    /// The newest kept pair of this store that meets a condition.
    fn kept_where(&mut self, condition: &str, of: &str) -> Result<Option<Entry>, JournalError> {
        let sql = format!(
            "SELECT {SECRETS}, {BEHIND} FROM kept WHERE {condition} AND store NOT IN {ELSEWHERE_NOW}
             ORDER BY id DESC LIMIT 1"
        );
        Ok(self.find(&sql, [of], |row| read::whole(row, &self.seal))?.and_then(Result::ok))
    }
}

/// All pairs, those in the clear, and when the oldest was received: by indexes alone, because the pairs themselves may fill a
/// gibibyte.
pub(super) const COUNTS: [&str; 3] = [
    "SELECT count(*) FROM kept",
    "SELECT count(*) FROM kept WHERE sealed = 0",
    "SELECT received_at FROM kept ORDER BY forget_at LIMIT 1",
];

/// How many pairs are kept, read beside a process that may be writing them.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<KeptPairs> {
    if !read::table_has_column(connection, "kept", "id")? {
        return Ok(KeptPairs::default());
    }
    let [pairs, in_the_clear, oldest] = COUNTS;
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let (pairs, in_the_clear) = (count(pairs)?, count(in_the_clear)?);
    let oldest = connection.query_row(oldest, [], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten();
    let bytes = "SELECT value FROM meta WHERE key = ?1";
    let bytes: Option<i64> = connection.query_row(bytes, [BYTES], |row| row.get(0)).optional()?;
    Ok(KeptPairs {
        pairs: pairs.unsigned_abs(),
        in_the_clear: in_the_clear.unsigned_abs(),
        bytes: bytes.unwrap_or_default().unsigned_abs(),
        since: oldest.and_then(from_millis),
    })
}
