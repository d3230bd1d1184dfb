//! What outlives the rows: redeemed tokens, and moments.

use super::{Rows, failure, from_millis, read};
use crate::clock::Timestamp;
use crate::journal::{JournalError, Moment};
use crate::provider::history::History;
use crate::provider::memory::Memory;
use crate::token::{Fingerprint, TokenId};
use rusqlite::{OptionalExtension as _, params};
use std::path::Path;

/// How a provider stands.
const STANDING: &str = "SELECT value FROM meta WHERE key = 'standing ' || ?1";

/// The redeemed tokens that came out of each other, from one on: their fingerprints, successors, depths, and one more column.
macro_rules! chain {
    ($column:literal) => {
        concat!(
            "WITH RECURSIVE chain(fingerprint, successor, depth, ",
            $column,
            ") AS (
               SELECT fingerprint, successor, 0, ",
            $column,
            " FROM redeemed WHERE fingerprint = ?1
               UNION ALL
               SELECT next.fingerprint, next.successor, depth + 1, next.",
            $column,
            " FROM chain JOIN redeemed next ON next.fingerprint = chain.successor
               WHERE depth < 10000 -- a provider that hands out an old token again makes a ring
             ) "
        )
    };
}

/// What can't be read is forgotten: the provider says it again.
fn memory(json: &str) -> Option<Memory> {
    serde_json::from_str(json).ok()
}

/// See [`Journal::look_at_standing`](crate::journal::Journal::look_at_standing).
pub(in crate::journal) fn standing_of(file: &Path, provider: &str) -> Result<Option<Memory>, JournalError> {
    let Some((connection, _)) = read::beside(file)? else { return Ok(None) };
    let found = connection.query_row(STANDING, [provider], |row| row.get::<_, String>(0)).optional();
    let found = found.map_err(|source| failure(file, "be read", source))?;
    Ok(found.as_deref().and_then(memory))
}

/// The last redeemed token of a chain.
pub(super) struct Last {
    /// For which document it was redeemed.
    pub(super) document: TokenId,
    /// What came out of it; none where its pair has no document.
    pub(super) successor: Option<Fingerprint>,
    pub(super) fingerprint: String,
}

impl Rows {
    /// For which document a token was redeemed, and the newest token that came out of it.
    pub(in crate::journal) fn newest(
        &mut self,
        fingerprint: Fingerprint,
    ) -> Result<Option<(TokenId, Option<Fingerprint>)>, JournalError> {
        Ok(self.chain_end(fingerprint)?.map(|last| (last.document, last.successor)))
    }

    /// The last redeemed token of the chain that begins with this one.
    pub(super) fn chain_end(&mut self, fingerprint: Fingerprint) -> Result<Option<Last>, JournalError> {
        let redeemed = self.find(
            concat!(
                chain!("document"),
                "SELECT document, successor, fingerprint FROM chain ORDER BY depth DESC LIMIT 1"
            ),
            [fingerprint.to_string()],
            |row| Ok((read::shown(row, 0)?, read::shown(row, 1)?, read::shown(row, 2)?)),
        )?;
        // A successor that can't be read counts as unknown.
        Ok(redeemed.map(|(document, successor, fingerprint)| Last {
            document: TokenId::from(document),
            successor: Fingerprint::from_hex(&successor),
            fingerprint,
        }))
    }

    pub(in crate::journal) fn redeemed_at(
        &mut self,
        token: Fingerprint,
    ) -> Result<Option<Timestamp>, JournalError> {
        self.redeemed_at_of(&token.to_string())
    }

    pub(super) fn redeemed_at_of(&mut self, fingerprint: &str) -> Result<Option<Timestamp>, JournalError> {
        let sql = "SELECT at FROM redeemed WHERE fingerprint = ?1";
        let at: Option<i64> = self.find(sql, [fingerprint], |row| row.get(0))?;
        Ok(at.and_then(from_millis))
    }

    /// Is this access token another one than those that stood beside a redeemed token and those after it, when they were
    /// sent? Not where an earlier version sent it, which didn't note that.
    pub(super) fn is_other_access(
        &mut self,
        token: Fingerprint,
        access: Fingerprint,
    ) -> Result<bool, JournalError> {
        let is_other = self.find(
            concat!(
                chain!("access"),
                "SELECT max(depth = 0) AND NOT max(access = ?2) FROM chain WHERE access IS NOT NULL"
            ),
            [token.to_string(), access.to_string()],
            |row| row.get::<_, Option<bool>>(0),
        )?;
        Ok(is_other.flatten().unwrap_or_default())
    }

    pub(in crate::journal) fn remembered(
        &mut self,
        moment: &Moment,
    ) -> Result<Option<Timestamp>, JournalError> {
        let millis: Option<i64> =
            self.find("SELECT value FROM meta WHERE key = ?1", [&*moment.key()], |row| row.get(0))?;
        Ok(millis.and_then(from_millis))
    }

    pub(in crate::journal) fn remember(
        &mut self,
        moment: &Moment,
        at: Option<Timestamp>,
    ) -> Result<(), JournalError> {
        let (key, action) = (&*moment.key(), "remember a moment");
        match at {
            Some(at) => self.run(
                action,
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
                params![key, at.timestamp_millis()],
            ),
            None => self.run(action, "DELETE FROM meta WHERE key = ?1", [key]),
        }
    }

    /// The earliest such moment that is remembered of any provider, or of all together.
    pub(in crate::journal) fn earliest(
        &mut self,
        moment: &Moment,
    ) -> Result<Option<Timestamp>, JournalError> {
        let key = moment.common_key();
        let earliest: Option<Option<i64>> = self.find(
            "SELECT min(value) FROM meta WHERE key = ?1 OR substr(key, 1, length(?1) + 1) = ?1 || ' '",
            [key],
            |row| row.get(0),
        )?;
        Ok(earliest.flatten().and_then(from_millis))
    }

    /// The documents whose users the last pass of a provider put off. An earlier version noted those of all together.
    pub(in crate::journal) fn put_off(&mut self, provider: &str) -> Result<Vec<TokenId>, JournalError> {
        let ids: Option<String> = self.find(
            "SELECT value FROM meta WHERE key IN ('put_off', 'put_off ' || ?1) ORDER BY key DESC LIMIT 1",
            [provider],
            |row| row.get(0),
        )?;
        // What can't be read is forgotten: it only adds names to a report.
        Ok(ids.and_then(|ids| serde_json::from_str(&ids).ok()).unwrap_or_default())
    }

    pub(in crate::journal) fn set_put_off(
        &mut self,
        provider: &str,
        documents: &[TokenId],
    ) -> Result<(), JournalError> {
        let ids = serde_json::to_string(documents).unwrap_or_default();
        let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('put_off ' || ?1, ?2)";
        self.run("remember who is put off", set, [provider, &ids])
    }

    pub(in crate::journal) fn history(&mut self, provider: &str) -> Result<History, JournalError> {
        let counts: Option<String> =
            self.find("SELECT value FROM meta WHERE key = 'history ' || ?1", [provider], |row| row.get(0))?;
        // What can't be read is forgotten: it only says what is usual.
        Ok(counts.and_then(|counts| serde_json::from_str(&counts).ok()).unwrap_or_default())
    }

    pub(in crate::journal) fn set_history(
        &mut self,
        provider: &str,
        history: History,
    ) -> Result<(), JournalError> {
        let counts = serde_json::to_string(&history).unwrap_or_default();
        let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('history ' || ?1, ?2)";
        self.run("remember what is usual", set, [provider, &counts])
    }

    /// By which settings all documents of a provider fall due in time.
    pub(in crate::journal) fn keeping(&mut self, provider: &str) -> Result<Option<String>, JournalError> {
        // What can't be read is as unknown: the collection is looked through once more.
        let keeping = "SELECT value FROM meta WHERE key = 'keeping ' || ?1";
        Ok(self.find(keeping, [provider], |row| Ok(row.get(0).ok()))?.flatten())
    }

    pub(in crate::journal) fn set_keeping(
        &mut self,
        provider: &str,
        keeping: &str,
    ) -> Result<(), JournalError> {
        let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('keeping ' || ?1, ?2)";
        self.run("remember what is kept good", set, [provider, keeping])
    }

    pub(in crate::journal) fn standing_of(&mut self, provider: &str) -> Result<Option<Memory>, JournalError> {
        let found = self.find(STANDING, [provider], |row| row.get::<_, String>(0))?;
        Ok(found.as_deref().and_then(memory))
    }

    pub(in crate::journal) fn set_standing_of(
        &mut self,
        provider: &str,
        memory: Option<&Memory>,
    ) -> Result<(), JournalError> {
        let action = "remember how a provider stands";
        match memory {
            Some(memory) => {
                let json = serde_json::to_string(memory).unwrap_or_default();
                let set = "INSERT OR REPLACE INTO meta (key, value) VALUES ('standing ' || ?1, ?2)";
                self.run(action, set, [provider, &json])
            }
            None => self.run(action, "DELETE FROM meta WHERE key = 'standing ' || ?1", [provider]),
        }
    }
}
