//! How passes ended, and what is in the journal, counted: for those who watch, in this process or beside it.

use super::{Rows, failure, from_millis, read};
use crate::clock::CLOCK_TOLERANCE;
use crate::journal::{Census, EndedPass, EntryState, JournalError, LastPasses, Looked, Moment};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::path::Path;

/// Records that stay of each provider. A pass has about a kilobyte of them, and an installation may have a thousand providers.
const RECORDS: i64 = 20;

pub(super) const OF_A_PROVIDER: &str =
    "SELECT summary FROM passes WHERE provider = ?1 AND summary IS NOT NULL
  ORDER BY started_at DESC LIMIT 1";

pub(super) const OLD_ONES: &str =
    "UPDATE passes SET summary = NULL WHERE provider = ?1 AND summary IS NOT NULL
  AND started_at <= (SELECT started_at FROM passes WHERE provider = ?1 AND summary IS NOT NULL
                     ORDER BY started_at DESC LIMIT 1 OFFSET ?2)";

/// A record from later than the pass that has ended now was made under a clock that was ahead: it would count as the last one
/// until then.
pub(super) const AHEAD: &str = "UPDATE passes SET summary = NULL WHERE provider = ?1 AND summary IS NOT NULL
  AND started_at > ?3 + (SELECT started_at FROM passes WHERE provider = ?1 AND lease_id = ?2)";

/// The same of each provider.
const LAST_OF_ALL: &str =
    "SELECT provider, summary, max(started_at) FROM passes WHERE summary IS NOT NULL GROUP BY provider";

const BY_STATE: &str = "SELECT state, count(*), min(sent_at) FROM entries GROUP BY state";

impl Rows {
    pub(in crate::journal) fn note_ended_pass(&mut self, ended: &EndedPass) -> Result<(), JournalError> {
        self.run(
            "note how a pass ended",
            "UPDATE passes SET summary = ?3 WHERE lease_id = ?1 AND provider = ?2",
            params![ended.lease_id, &*ended.provider, ended.record],
        )?;
        let (provider, tolerance) = (&*ended.provider, CLOCK_TOLERANCE.num_milliseconds());
        self.run("forget what is ahead", AHEAD, params![provider, ended.lease_id, tolerance])?;
        self.run("forget how old passes ended", OLD_ONES, params![provider, RECORDS])?;
        let complete = Moment::LastCompletePass(ended.provider.clone());
        if ended.complete_at.is_some() {
            return self.remember(&complete, ended.complete_at);
        }
        let ahead = "DELETE FROM meta WHERE key = ?1
          AND value > ?4 + (SELECT started_at FROM passes WHERE provider = ?2 AND lease_id = ?3)";
        self.run(
            "forget what is ahead",
            ahead,
            params![&*complete.key(), provider, ended.lease_id, tolerance],
        )
    }

    pub(in crate::journal) fn last_passes(&mut self, provider: &str) -> Result<LastPasses, JournalError> {
        let record = self.find(OF_A_PROVIDER, [provider], |row| row.get(0))?;
        let complete_at = self.remembered(&Moment::LastCompletePass(provider.into()))?;
        Ok(LastPasses { record, complete_at })
    }

    pub(in crate::journal) fn census(&mut self) -> Result<Census, JournalError> {
        counted(&self.connection).map_err(|source| failure(&self.file, "count its rows", source))
    }
}

fn counted(connection: &Connection) -> rusqlite::Result<Census> {
    let mut statement = connection.prepare_cached(BY_STATE)?;
    let mut rows = statement.query([])?;
    let mut census = Census::default();
    while let Some(row) = rows.next()? {
        let (word, count) = (read::shown(row, 0)?, row.get::<_, i64>(1)?.unsigned_abs());
        match EntryState::ALL.into_iter().find(|state| state.word() == word) {
            Some(state) => *census.states.entry(state).or_default() += count,
            None => census.unknown += count,
        }
        let oldest = row.get::<_, Option<i64>>(2)?.and_then(from_millis);
        census.oldest_sent_at = census.oldest_sent_at.into_iter().chain(oldest).min();
    }
    Ok(census)
}

/// See [`Journal::look_at_passes`](crate::journal::Journal::look_at_passes).
pub(in crate::journal) fn looked(file: &Path) -> Result<Looked, JournalError> {
    let Some((connection, _)) = read::beside(file)? else { return Ok(Looked::default()) };
    let read = || {
        Ok(Looked {
            id: super::passes::id_of(&connection)?.unwrap_or_default(),
            passes: passes(&connection)?,
            census: counted(&connection)?,
        })
    };
    read().map_err(|source| failure(file, "be read", source))
}

fn passes(connection: &Connection) -> rusqlite::Result<BTreeMap<String, LastPasses>> {
    let mut last: BTreeMap<String, LastPasses> = BTreeMap::new();
    // A journal of an earlier version that is only looked at has no records.
    if !read::table_has_column(connection, "passes", "summary")? {
        return Ok(last);
    }
    let mut statement = connection.prepare(LAST_OF_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        last.entry(row.get(0)?).or_default().record = row.get(1)?;
    }
    let prefix = Moment::LastCompletePass("".into()).key();
    let mut statement =
        connection.prepare("SELECT key, value FROM meta WHERE substr(key, 1, length(?1)) = ?1")?;
    let mut rows = statement.query([&prefix])?;
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        let provider = key.strip_prefix(&*prefix).unwrap_or_default().to_owned();
        last.entry(provider).or_default().complete_at = from_millis(row.get(1)?);
    }
    Ok(last)
}
