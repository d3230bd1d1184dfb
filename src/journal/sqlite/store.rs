//! The store that the rows belong to.

use super::{Rows, failure, read};
use crate::clock::Timestamp;
use crate::journal::{Adopted, Begun, JournalError, OtherStore};
use crate::store::{Identity, Relation};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

impl Rows {
    /// Notes that this process works over `here`, unless rows of another store are open.
    pub(in crate::journal) fn begin_process(&mut self, here: &Identity) -> Result<Begun, JournalError> {
        if let Some(other) = self.stand_on(here)? {
            return Ok(Begun::OtherStore(other));
        }
        // Nothing is in flight before the first pass: an intent that is open now had an end that a full disk didn't take.
        self.note_cut_off(None)?;
        Ok(Begun::Alone { unfinished: self.read_store(|connection| unfinished(connection, None))? })
    }

    /// Notes a pass over `here`, unless rows of another store are open. What is on its way for other providers stays as it is.
    pub(in crate::journal) fn begin_pass(
        &mut self,
        lease_id: &str,
        here: &Identity,
        provider: &str,
        at: Timestamp,
    ) -> Result<Begun, JournalError> {
        if let Some(other) = self.stand_on(here)? {
            return Ok(Begun::OtherStore(other));
        }
        // Nothing of a provider is in flight between two of its passes.
        self.note_cut_off(Some(provider))?;
        let unfinished = self.read_store(|connection| unfinished(connection, Some(provider)))?;
        self.note_pass(lease_id, provider, at)?;
        Ok(Begun::Alone { unfinished })
    }

    /// Takes `here` for the store of all rows to come; returns another one that open rows belong to.
    fn stand_on(&mut self, here: &Identity) -> Result<Option<OtherStore>, JournalError> {
        let known = self.read_store(known)?;
        if let Some(other) = self.other_store(here)? {
            return Ok(Some(other));
        }
        match &known {
            // Only parked pairs are open: they stay those of the store in which they found no place.
            Some(known) if here.relation_to(known) != Relation::Same => {
                for away in [
                    "UPDATE entries SET elsewhere = ?1 WHERE elsewhere IS NULL",
                    "UPDATE kept SET elsewhere = ?1 WHERE elsewhere IS NULL",
                ] {
                    self.run("note another store", away, [json(known)])?;
                }
                self.note_store(here)?;
            }
            Some(known) => self.note_store(&here.clone().with_what_was_known(known))?,
            None => self.note_store(here)?,
        }
        for elsewhere in self.read_store(elsewhere)? {
            if read_identity(&elsewhere).is_some_and(|there| here.relation_to(&there) == Relation::Same) {
                for back in [
                    "UPDATE entries SET elsewhere = NULL WHERE elsewhere = ?1",
                    "UPDATE kept SET elsewhere = NULL WHERE elsewhere = ?1",
                ] {
                    self.run("note a store that is back", back, [&elsewhere])?;
                }
            }
        }
        Ok(None)
    }

    /// Is another store than `here` the one that open rows belong to?
    pub(in crate::journal) fn other_store(
        &mut self,
        here: &Identity,
    ) -> Result<Option<OtherStore>, JournalError> {
        self.read_store(|connection| other_store(connection, here))
    }

    /// Makes all rows those of `here`; returns whose they were, where that was another store.
    pub(in crate::journal) fn adopt(&mut self, here: &Identity) -> Result<Option<Adopted>, JournalError> {
        let known = self.read_store(known)?;
        let were = known.as_ref().filter(|known| here.relation_to(known) != Relation::Same);
        let (open, parked) = self.read_store(|connection| {
            let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            let open = count("SELECT count(*) FROM entries WHERE state != 'orphan' AND state != 'set_aside' AND elsewhere IS NULL")?;
            // Parked pairs of other stores, and those of the one that is given up.
            let parked = if were.is_some() {
                count("SELECT count(*) FROM entries WHERE state IN ('orphan', 'set_aside') OR elsewhere IS NOT NULL")?
            } else {
                count("SELECT count(*) FROM entries WHERE elsewhere IS NOT NULL")?
            };
            Ok((open.unsigned_abs(), parked.unsigned_abs()))
        })?;
        for adopt in [
            "UPDATE entries SET elsewhere = NULL WHERE elsewhere IS NOT NULL",
            "UPDATE kept SET elsewhere = NULL WHERE elsewhere IS NOT NULL",
        ] {
            self.run("adopt parked pairs", adopt, [])?;
        }
        match &known {
            Some(known) if were.is_none() => self.note_store(&here.clone().with_what_was_known(known))?,
            Some(_) | None => self.note_store(here)?,
        }
        let store = were.map(ToString::to_string);
        let open = if were.is_some() { open } else { 0 };
        Ok((store.is_some() || parked > 0).then_some(Adopted { store, open, parked }))
    }

    /// Under two keys: earlier versions know the first one, and refuse by it.
    fn note_store(&mut self, store: &Identity) -> Result<(), JournalError> {
        for (key, value) in [("store", &store.name), ("store_identity", &json(store))] {
            self.run(
                "note the store",
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
                params![key, value],
            )?;
        }
        Ok(())
    }

    fn read_store<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        read(&self.connection).map_err(|source| failure(&self.file, "look up its store", source))
    }
}

/// Is another store the one that open rows belong to? Read beside a process that may be writing them.
pub(in crate::journal) fn look_for_other_store(
    file: &Path,
    here: &Identity,
) -> Result<Option<OtherStore>, JournalError> {
    let Some((connection, _)) = read::beside(file)? else { return Ok(None) };
    other_store(&connection, here).map_err(|source| failure(file, "be read", source))
}

fn other_store(connection: &Connection, here: &Identity) -> rusqlite::Result<Option<OtherStore>> {
    let Some(known) = known(connection)? else { return Ok(None) };
    let relation = here.relation_to(&known);
    if relation == Relation::Same {
        return Ok(None);
    }
    // Parked pairs keep nobody from another store: they stay those of theirs. A journal that is only looked at may lack
    // the column.
    let here_only = if read::has_column(connection, "elsewhere")? { " AND elsewhere IS NULL" } else { "" };
    let counts = format!(
        "SELECT count(*), coalesce(sum(status BETWEEN 200 AND 299), 0) FROM entries
         WHERE state != 'orphan' AND state != 'set_aside'{here_only}"
    );
    let (open, answers): (i64, i64) =
        connection.query_row(&counts, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let store = known.to_string();
    let other = OtherStore { relation, store, open: open.unsigned_abs(), answers: answers.unsigned_abs() };
    Ok((open > 0).then_some(other))
}

/// The store of the last pass. The name alone where an earlier version has noted it.
fn known(connection: &Connection) -> rusqlite::Result<Option<Identity>> {
    let value = |key: &str| {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        connection.prepare_cached(sql)?.query_row([key], |row| read::shown(row, 0)).optional()
    };
    let Some(name) = value("store")? else { return Ok(None) };
    let noted = value("store_identity")?.as_deref().and_then(read_identity);
    Ok(Some(noted.filter(|identity| identity.name == name).unwrap_or_else(|| Identity::named(name))))
}

/// The other stores whose parked or kept pairs are here.
fn elsewhere(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT elsewhere FROM entries WHERE elsewhere IS NOT NULL
             UNION SELECT elsewhere FROM kept WHERE elsewhere IS NOT NULL",
        )?
        .query_map([], |row| read::shown(row, 0))?
        .collect()
}

/// The lease ids of passes that never finished: of a provider, or of all.
fn unfinished(connection: &Connection, provider: Option<&str>) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT lease_id FROM passes WHERE given_back_at IS NULL AND (?1 IS NULL OR provider = ?1)",
        )?
        .query_map([provider], |row| row.get(0))?
        .collect()
}

fn json(identity: &Identity) -> String {
    // Texts, sets and options of texts: nothing that JSON doesn't have.
    serde_json::to_string(identity).unwrap_or_default()
}

pub(super) fn read_identity(json: &str) -> Option<Identity> {
    serde_json::from_str(json).ok()
}
