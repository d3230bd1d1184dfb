//! The journal's id, its passes, and for which passes of other journals documents wait.

use super::{Rows, failure, from_millis};
use crate::clock::Timestamp;
use crate::journal::JournalError;
use crate::token::Lease;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeSet;

/// Passes of each provider that are remembered, beside those that never finished.
const PASSES: i64 = 400;

/// Most passes of other journals that are remembered as waited for: a report must not grow with the years.
const MOST_WAITED_FOR: usize = 1000;

/// The id that stands in a journal's file.
pub(super) fn id_of(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let id = "SELECT value FROM meta WHERE key = 'journal_id'";
    connection.query_row(id, [], |row| super::read::shown(row, 0)).optional()
}

impl Rows {
    /// The id of this journal, made once.
    pub(in crate::journal) fn id(&self) -> &str {
        &self.id
    }

    /// Reads the id, or makes one.
    pub(super) fn name_itself(&mut self) -> Result<(), JournalError> {
        let made = format!("{:016x}", rand::random::<u64>());
        let make = "INSERT OR IGNORE INTO meta (key, value) VALUES ('journal_id', ?1)";
        self.run("name itself", make, [&made])?;
        let read = id_of(&self.connection).map_err(|source| failure(&self.file, "tell its name", source))?;
        self.id = read.unwrap_or(made);
        Ok(())
    }

    /// Notes a pass over the documents of a provider.
    pub(super) fn note_pass(
        &mut self,
        lease_id: &str,
        provider: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        self.run(
            "note a pass",
            "INSERT OR REPLACE INTO passes (lease_id, provider, run, started_at) VALUES (?1, ?2, ?3, ?4)",
            params![lease_id, provider, self.run.clone(), at.timestamp_millis()],
        )?;
        self.run(
            "forget old passes",
            "DELETE FROM passes WHERE provider = ?1 AND given_back_at IS NOT NULL AND (lease_id, provider) NOT IN
               (SELECT lease_id, provider FROM passes WHERE provider = ?1 ORDER BY started_at DESC LIMIT ?2)",
            params![provider, PASSES],
        )
    }

    pub(in crate::journal) fn finish_pass(
        &mut self,
        lease_id: &str,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let sql = "UPDATE passes SET given_back_at = ?2 WHERE lease_id = ?1 AND given_back_at IS NULL";
        self.run("end a pass", sql, params![lease_id, at.timestamp_millis()])
    }

    pub(in crate::journal) fn known_passes(
        &mut self,
        leases: &[Lease],
    ) -> Result<BTreeSet<String>, JournalError> {
        let forgotten = self.forgotten_until()?;
        let is_forgotten = |lease: &Lease| {
            lease.by.as_ref().is_some_and(|by| by.journal == self.id && Some(by.since) < forgotten)
        };
        let known = || -> rusqlite::Result<BTreeSet<String>> {
            let mut statement =
                self.connection.prepare_cached("SELECT 1 FROM passes WHERE lease_id = ?1 LIMIT 1")?;
            let mut known = BTreeSet::new();
            for lease in leases {
                if !known.contains(&lease.id) && (is_forgotten(lease) || statement.exists([&lease.id])?) {
                    known.insert(lease.id.clone());
                }
            }
            Ok(known)
        };
        known().map_err(|source| failure(&self.file, "look up a pass", source))
    }

    /// Until when passes of a provider that were over have been forgotten; none where all are known.
    fn forgotten_until(&self) -> Result<Option<Timestamp>, JournalError> {
        let until: Option<Option<i64>> = self.find(
            "SELECT max(first) FROM
               (SELECT min(started_at) FILTER (WHERE given_back_at IS NOT NULL) AS first FROM passes GROUP BY provider HAVING count(*) >= ?1)",
            [PASSES],
            |row| row.get(0),
        )?;
        Ok(until.flatten().and_then(from_millis))
    }

    pub(in crate::journal) fn waited_for(
        &mut self,
        provider: &str,
    ) -> Result<BTreeSet<String>, JournalError> {
        let sql = "SELECT value FROM meta WHERE key = 'waits_for ' || ?1";
        let leases: Option<String> = self.find(sql, [provider], |row| row.get(0))?;
        // What can't be read is forgotten: then a report says it once more as news.
        Ok(leases.and_then(|leases| serde_json::from_str(&leases).ok()).unwrap_or_default())
    }

    pub(in crate::journal) fn set_waited_for(
        &mut self,
        provider: &str,
        leases: &BTreeSet<String>,
    ) -> Result<(), JournalError> {
        if leases.is_empty() {
            let sql = "DELETE FROM meta WHERE key = 'waits_for ' || ?1";
            return self.run("forget whom documents wait for", sql, [provider]);
        }
        let leases: Vec<_> = leases.iter().take(MOST_WAITED_FOR).collect();
        let leases = serde_json::to_string(&leases).unwrap_or_default();
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('waits_for ' || ?1, ?2)";
        self.run("remember whom documents wait for", sql, params![provider, leases])
    }
}
