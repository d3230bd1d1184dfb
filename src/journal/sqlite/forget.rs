//! Redeemed tokens: how long they are remembered, and how they are forgotten.
//!
//! As many are forgotten as rows end, twice over: so the table stays as large as what is remembered, and neither a start nor a
//! pass takes longer because of it.

use super::doubts::FORGET_OLD_DOUBTS;
use super::{Rows, failure, from_millis, read};
use crate::clock::Timestamp;
use crate::journal::row::Remember;
use crate::journal::{EntryId, JournalError, Spent};
use crate::token::Fingerprint;
use chrono::TimeDelta;
use rusqlite::params;
use std::time::Duration;

/// How long a redeemed token is remembered whose life isn't known.
///
/// Longer than the longest-lived refresh token of any profile is worth restoring from a backup. The index of the schema
/// has the same number, for rows of earlier versions.
pub(super) const WHERE_LIFE_IS_UNKNOWN: TimeDelta = TimeDelta::days(400);

/// Lives of a token for which it is remembered.
const LIVES: u32 = 2;

/// The shortest memory: a clock that jumps ahead a few times must not end it.
const LEAST: TimeDelta = TimeDelta::days(7);

/// How far the clock of the memory moves from one commit to the next.
///
/// A wall clock that is years ahead for a day must not make us forget what we redeemed: a token sent again may end a
/// login. Where passes are further apart, tokens are remembered for longer, and there are fewer of them.
const MOST_AT_ONCE: TimeDelta = TimeDelta::days(1);

/// The clock of the memory is written again after so long.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// How many are forgotten for each one that may be remembered.
const FOR_EACH: usize = 2;

/// How many are forgotten together, within a minute: the statement costs much more than what one row costs. A process may
/// forget this number at its start, so that many short ones forget enough as well.
pub(super) const TOGETHER: usize = 200;

/// Forgets up to `?2` tokens whose time is over at `?1`, the oldest first; by the index of the schema.
pub(super) const FORGET_OLD: &str = "DELETE FROM redeemed WHERE fingerprint IN
  (SELECT fingerprint FROM redeemed WHERE coalesce(forget_at, at + 34560000000) < ?1
   ORDER BY coalesce(forget_at, at + 34560000000) LIMIT ?2)";

/// What is remembered beside a redeemed token.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    /// How long such a token lives, where that is known.
    pub(super) life: Option<Duration>,
    /// The fingerprint of the access token that stood beside it.
    pub(super) access: Option<&'a str>,
}

/// A clock that goes with the wall clock, but never back, and never far ahead at once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MemoryClock {
    /// What it shows.
    now: Timestamp,
    /// What the wall clock showed when it was last looked at.
    seen: Timestamp,
}

impl MemoryClock {
    /// What it shows.
    pub(super) const fn now(self) -> Timestamp {
        self.now
    }

    /// The same clock when the wall clock shows this; `None` while that is too little to be noted.
    fn when(self, wall: Timestamp) -> Option<Self> {
        let passed = wall - self.seen;
        let now = self.now + passed.clamp(TimeDelta::zero(), MOST_AT_ONCE);
        (passed.abs() >= NOTED_EVERY).then_some(Self { now, seen: wall })
    }

    /// When a token is forgotten that is remembered now, and lives so long.
    pub(super) fn forget_at(self, life: Option<Duration>) -> Timestamp {
        let lives = life.and_then(|life| TimeDelta::from_std(life.saturating_mul(LIVES)).ok());
        let memory = lives.map_or(WHERE_LIFE_IS_UNKNOWN, |lives| lives.max(LEAST));
        self.now.checked_add_signed(memory).unwrap_or(Timestamp::MAX_UTC)
    }
}

impl Rows {
    /// Adds the column that an earlier version's table lacks; tells whether it did.
    pub(super) fn add_forget_at(&mut self) -> Result<bool, JournalError> {
        let add = || {
            let has = |column| read::table_has_column(&self.connection, "redeemed", column);
            let lacks = has("at")? && !has("forget_at")?;
            if lacks {
                self.connection.execute_batch("ALTER TABLE redeemed ADD COLUMN forget_at INTEGER")?;
            }
            Ok(lacks)
        };
        add().map_err(|source| failure(&self.file, "make its tables", source))
    }

    /// Adds the columns for what stood beside a refresh token when that was sent, which earlier versions' tables lack.
    pub(super) fn add_beside(&mut self) -> Result<(), JournalError> {
        let add = || {
            for (table, column, kind) in [
                ("entries", "access", "TEXT"),
                ("entries", "after_another", "INTEGER NOT NULL DEFAULT 0"),
                ("redeemed", "access", "TEXT"),
            ] {
                let has = |column| read::table_has_column(&self.connection, table, column);
                if has("fingerprint")? && !has(column)? {
                    let add = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
                    self.connection.execute_batch(&add)?;
                }
            }
            Ok(())
        };
        add().map_err(|source| failure(&self.file, "make its tables", source))
    }

    /// Reads the clock of the memory. One that was never noted shows what the wall clock does, but no later than the newest
    /// token of an earlier version.
    pub(super) fn start_memory_clock(&mut self, wall: Timestamp) -> Result<(), JournalError> {
        let noted = |key| self.find("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0));
        let noted = (noted("memory_clock")?, noted("memory_clock_seen")?);
        if let (Some(now), Some(seen)) = (noted.0.and_then(from_millis), noted.1.and_then(from_millis)) {
            self.memory = MemoryClock { now, seen };
            return Ok(());
        }
        let newest = self.find("SELECT max(at) FROM redeemed", [], |row| row.get::<_, Option<i64>>(0))?;
        let newest = newest.flatten().and_then(from_millis).unwrap_or(wall);
        self.set_memory_clock(MemoryClock { now: wall.min(newest), seen: wall })?;
        self.run("forget how far it forgot", "DELETE FROM meta WHERE key = 'forgets_by'", [])
    }

    fn set_memory_clock(&mut self, clock: MemoryClock) -> Result<(), JournalError> {
        self.memory = clock;
        self.run(
            "note the clock of its memory",
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('memory_clock', ?1), ('memory_clock_seen', ?2)",
            [clock.now.timestamp_millis(), clock.seen.timestamp_millis()],
        )
    }

    /// Forgets some of the tokens whose time is over, when this number of rows ends; the oldest first.
    pub(in crate::journal) fn forget_old(
        &mut self,
        endings: usize,
        wall: Timestamp,
    ) -> Result<(), JournalError> {
        let moved = self.memory.when(wall);
        if let Some(clock) = moved {
            self.set_memory_clock(clock)?;
        }
        self.to_forget = self.to_forget.saturating_add(endings.saturating_mul(FOR_EACH));
        if self.to_forget == 0 || moved.is_none() && self.to_forget < TOGETHER {
            return Ok(());
        }
        let most = i64::try_from(std::mem::take(&mut self.to_forget)).unwrap_or(i64::MAX);
        for old in [FORGET_OLD, FORGET_OLD_DOUBTS] {
            self.run("forget old fingerprints", old, [self.memory.now.timestamp_millis(), most])?;
        }
        self.forget_old_pairs(most)
    }

    /// Remembers a token that was redeemed, or given up; `at` is when it was first sent.
    pub(super) fn remember_redeemed(
        &mut self,
        fingerprint: &str,
        document: &str,
        remember: Remember,
        beside: Beside<'_>,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let (sql, successor) = match remember {
            Remember::Redeemed(successor) => (
                // A pair without a place says nothing of the one that found its place before.
                "INSERT INTO redeemed (fingerprint, document, successor, at, forget_at, access)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (fingerprint) DO UPDATE
                 SET document = CASE WHEN excluded.successor IS NULL AND successor IS NOT NULL THEN document
                       ELSE excluded.document END,
                   successor = coalesce(excluded.successor, successor), at = min(at, excluded.at),
                   forget_at = excluded.forget_at, access = excluded.access",
                successor,
            ),
            Remember::GivenUp => (
                "INSERT OR IGNORE INTO redeemed (fingerprint, document, successor, at, forget_at, access)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                None,
            ),
        };
        let successor = successor.as_ref().map(Fingerprint::to_string);
        let forget_at = self.memory.forget_at(beside.life).timestamp_millis();
        let values =
            params![fingerprint, document, successor, at.timestamp_millis(), forget_at, beside.access];
        self.run("remember a redeemed token", sql, values)
    }

    /// A token that a success hands out is good again. Only where it was redeemed before that success was asked for: a pair
    /// that found its place late says nothing about what became of it since. Says whether it was known as redeemed.
    pub(super) fn forget_handed_out(
        &mut self,
        token: &str,
        sent_at: Timestamp,
    ) -> Result<bool, JournalError> {
        let sql = "DELETE FROM redeemed WHERE fingerprint = ?1 AND at < ?2";
        let known = self.change(
            "forget a token that is good again",
            sql,
            params![token, sent_at.timestamp_millis()],
        )?;
        self.forget_doubts(token, sent_at)?;
        Ok(known > 0)
    }

    /// Forgets which access token stood beside a redeemed token: it was redeemed more than once, each time beside another one, and
    /// an old file or backup may bring back any of them. None of them tells of a new login.
    pub(super) fn forget_access_beside(&mut self, token: &str) -> Result<(), JournalError> {
        let sql = "UPDATE redeemed SET access = NULL WHERE fingerprint = ?1";
        self.run("forget what stood beside a token", sql, [token])
    }

    /// Those of these tokens that are known as redeemed.
    pub(in crate::journal) fn spent(&mut self, tokens: &[Fingerprint]) -> Result<Vec<Spent>, JournalError> {
        let mut spent = Vec::new();
        for token in tokens {
            let found = self.find(
                "SELECT at, (SELECT min(id) FROM entries WHERE entries.fingerprint = ?1)
                 FROM redeemed WHERE fingerprint = ?1",
                [token.to_string()],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
            )?;
            spent.extend(found.map(|(at, row)| Spent {
                token: *token,
                at: from_millis(at),
                row: row.map(EntryId),
            }));
        }
        Ok(spent)
    }

    /// Forgets that these tokens were redeemed, because a person says so; not one that has a row. Returns how many it forgot.
    pub(in crate::journal) fn forget(&mut self, tokens: &[Fingerprint]) -> Result<u64, JournalError> {
        let mut forgotten = 0;
        for token in tokens {
            forgotten += self.change(
                "forget a redeemed token",
                "DELETE FROM redeemed WHERE fingerprint = ?1
                   AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.fingerprint = ?1)",
                [token.to_string()],
            )? as u64;
        }
        Ok(forgotten)
    }
}
