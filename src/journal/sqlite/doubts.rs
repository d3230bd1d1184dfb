//! What is in doubt of a token whose row has gone: no answer told whether it was redeemed. It is remembered by the token, and not by
//! the document: a second document may hold the same one, and a stale save or a backup may bring it back.

use super::{Rows, failure, from_millis, read};
use crate::clock::Timestamp;
use crate::journal::{Doubts, JournalError};
use rusqlite::params;

/// As [`FORGET_OLD`](super::forget::FORGET_OLD), by the index of the schema.
pub(super) const FORGET_OLD_DOUBTS: &str = "DELETE FROM doubted WHERE fingerprint IN
  (SELECT fingerprint FROM doubted WHERE forget_at < ?1 ORDER BY forget_at LIMIT ?2)";

impl Rows {
    /// Earlier versions noted it beside kept pairs, and lost it with them.
    pub(super) fn move_doubts(&mut self) -> Result<(), JournalError> {
        let forget_at = self.memory.forget_at(None).timestamp_millis();
        let moved = || {
            if read::table_has_column(&self.connection, "kept", "unsettled_since")? {
                self.connection.execute(
                    "INSERT OR IGNORE INTO doubted (fingerprint, unsettled_since, turned_away_since, forget_at)
                     SELECT successor, unsettled_since, turned_away_since, ?1 FROM kept
                     WHERE coalesce(unsettled_since, turned_away_since) IS NOT NULL",
                    [forget_at],
                )?;
                self.connection.execute_batch(
                    "ALTER TABLE kept DROP COLUMN unsettled_since; ALTER TABLE kept DROP COLUMN turned_away_since",
                )?;
            }
            Ok(())
        };
        moved().map_err(|source| failure(&self.file, "make its tables", source))
    }

    /// The row of a token goes without an answer that tells what became of it: what is in doubt stays known, as long as a redeemed
    /// token of unknown life.
    pub(super) fn note_doubts(&mut self, token: &str, doubts: Doubts) -> Result<(), JournalError> {
        if doubts == Doubts::default() {
            return Ok(());
        }
        let millis = |at: Option<Timestamp>| at.map(|at| at.timestamp_millis());
        let forget_at = self.memory.forget_at(None).timestamp_millis();
        self.run(
            "note what is in doubt",
            "INSERT OR REPLACE INTO doubted (fingerprint, unsettled_since, turned_away_since, forget_at)
             VALUES (?1, ?2, ?3, ?4)",
            params![token, millis(doubts.unsettled_since), millis(doubts.turned_away_since), forget_at],
        )
    }

    /// What was in doubt of a token when its last row went.
    pub(super) fn noted_doubts(&mut self, token: &str) -> Result<Doubts, JournalError> {
        let sql = "SELECT unsettled_since, turned_away_since FROM doubted WHERE fingerprint = ?1";
        let found = self.find(sql, [token], |row| {
            let at =
                |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.and_then(from_millis));
            Ok(Doubts { unsettled_since: at(0)?, turned_away_since: at(1)? })
        })?;
        Ok(found.unwrap_or_default())
    }

    /// A success that was asked for then tells what became of the token: it was redeemed for it, or is good again.
    pub(super) fn forget_doubts(&mut self, token: &str, sent_at: Timestamp) -> Result<(), JournalError> {
        let sql = "DELETE FROM doubted WHERE fingerprint = ?1
                     AND coalesce(unsettled_since, turned_away_since, 0) <= ?2";
        self.run("forget what was in doubt", sql, params![token, sent_at.timestamp_millis()])
    }
}
