//! The store that the rows belong to.

use super::{Rows, failure, read};
use crate::clock::Timestamp;
use crate::journal::{Adoption, Begun, JournalError, OtherStore};
use crate::store::{Identity, Relation};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::path::Path;

/// The numbers of the stores that passes don't go over now. What belongs to none of them is of the store that they go over.
pub(super) const ELSEWHERE_NOW: &str = "(SELECT id FROM stores WHERE NOT is_here)";

/// Notes a store where passes go over none.
const NOTE_FIRST: &str = "INSERT INTO stores (identity, is_here) SELECT ?1, 1 WHERE NOT EXISTS (SELECT 1 FROM stores WHERE is_here)";

const FORGET_EMPTY: &str = "DELETE FROM stores WHERE NOT is_here
   AND NOT EXISTS (SELECT 1 FROM entries WHERE store = stores.id)
   AND NOT EXISTS (SELECT 1 FROM kept WHERE store = stores.id)";

impl Rows {
    /// Notes that this process works over `here`, unless rows of another store are open or kept.
    pub(in crate::journal) fn begin_process(&mut self, here: &Identity) -> Result<Begun, JournalError> {
        if let Some(other) = self.stand_on(here)? {
            return Ok(Begun::OtherStore(other));
        }
        // Nothing is in flight before the first pass: an intent that is open now had an end that a full disk didn't take.
        self.note_cut_off(None)?;
        Ok(Begun::Alone { unfinished: self.read_store(|connection| unfinished(connection, None))? })
    }

    /// Notes a pass over `here`, unless rows of another store are open or kept. What is on its way for other providers stays as it is.
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

    /// Takes `here` for the store of all rows to come; returns another one that open rows or kept pairs belong to.
    ///
    /// However many pairs are kept, this reads and writes rows of `stores` only, unless another store refuses.
    fn stand_on(&mut self, here: &Identity) -> Result<Option<OtherStore>, JournalError> {
        let known = self.read_store(known)?;
        if let Some(other) = self.other_store(here)? {
            return Ok(Some(other));
        }
        match &known {
            Some(known) if here.relation_to(known) == Relation::Same => {
                self.rename_here(&here.clone().with_what_was_known(known))?;
            }
            // Only parked pairs are open: they stay those of the store in which they found no place.
            Some(_) => {
                self.run("leave a store", "UPDATE stores SET is_here = 0 WHERE is_here", [])?;
                self.run("forget stores that have no rows", FORGET_EMPTY, [])?;
            }
            None => {}
        }
        for (number, there) in self.read_store(elsewhere)? {
            if here.relation_to(&there) == Relation::Same {
                let back = "UPDATE stores SET identity = ?2, is_here = 1 WHERE id = ?1";
                let there = here.clone().with_what_was_known(&there);
                self.run("note a store that is back", back, params![number, json(&there)])?;
            }
        }
        self.run("note the store", NOTE_FIRST, [json(here)])?;
        Ok(None)
    }

    /// What the store is called may change, and what it tells of itself.
    fn rename_here(&mut self, here: &Identity) -> Result<(), JournalError> {
        let rename = "UPDATE stores SET identity = ?1 WHERE is_here AND identity != ?1";
        self.run("note the store", rename, [json(here)])
    }

    /// Is another store than `here` the one that open rows or kept pairs belong to?
    pub(in crate::journal) fn other_store(
        &mut self,
        here: &Identity,
    ) -> Result<Option<OtherStore>, JournalError> {
        self.read_store(|connection| other_store(connection, here))
    }

    /// What is another store's, and would be this one's.
    pub(in crate::journal) fn adoptable(&mut self, here: &Identity) -> Result<Adoption, JournalError> {
        self.read_store(|connection| {
            let mut adoption = Adoption::default();
            for (number, there) in stores(connection)? {
                let relation = here.relation_to(&there);
                if relation == Relation::Same {
                    continue;
                }
                let counted = Counted::of(connection, "store = ?1", [number])?;
                if counted == Counted::default() {
                    continue;
                }
                adoption.open += counted.open;
                adoption.answers += counted.answers;
                adoption.parked += counted.parked;
                adoption.kept += counted.kept;
                let from = (relation, there.to_string());
                if !adoption.from.contains(&from) {
                    adoption.from.push(from);
                }
            }
            Ok(adoption)
        })
    }

    /// Makes all rows those of `here`, whosever they were: none of them is written, only their stores are.
    pub(in crate::journal) fn adopt(&mut self, here: &Identity) -> Result<Adoption, JournalError> {
        let adoption = self.adoptable(here)?;
        let known = self.read_store(known)?.filter(|known| here.relation_to(known) == Relation::Same);
        let here = known.map_or_else(|| here.clone(), |known| here.clone().with_what_was_known(&known));
        self.run("adopt all rows", "UPDATE stores SET identity = ?1, is_here = 1", [json(&here)])?;
        self.run("note the store", NOTE_FIRST, [json(&here)])?;
        Ok(adoption)
    }

    fn read_store<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        read(&self.connection).map_err(|source| failure(&self.file, "look up its store", source))
    }
}

/// Is another store the one that open rows or kept pairs belong to? Read beside a process that may be writing them.
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
    // A journal of an earlier version that is only looked at knows one store.
    let is_of = if read::has_column(connection, "store")? {
        format!("store NOT IN {ELSEWHERE_NOW}")
    } else {
        "1".to_owned()
    };
    // Parked pairs refuse no other store: they stay those of theirs.
    let Counted { open, answers, kept, .. } = Counted::of(connection, &is_of, [])?;
    let other = OtherStore { relation, store: known.to_string(), open, answers, kept };
    Ok((open > 0 || kept > 0).then_some(other))
}

/// How many rows there are of some stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counted {
    open: u64,
    answers: u64,
    parked: u64,
    kept: u64,
}

impl Counted {
    fn of(
        connection: &Connection,
        condition: &str,
        params: impl rusqlite::Params + Copy,
    ) -> rusqlite::Result<Self> {
        let entries = format!(
            "SELECT count(*) FILTER (WHERE NOT is_parked), count(*) FILTER (WHERE NOT is_parked AND is_success),
               count(*) FILTER (WHERE is_parked)
             FROM (SELECT state IN ('orphan', 'set_aside') AS is_parked,
                 coalesce(status BETWEEN 200 AND 299, 0) AS is_success
               FROM entries WHERE {condition})"
        );
        let count = |row: &Row<'_>, index| row.get::<_, i64>(index).map(i64::unsigned_abs);
        let (open, answers, parked) = connection
            .query_row(&entries, params, |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
        let kept = if read::table_has_column(connection, "kept", "id")? {
            let kept = format!("SELECT count(*) FROM kept WHERE {condition}");
            connection.query_row(&kept, params, |row| count(row, 0))?
        } else {
            0
        };
        Ok(Self { open, answers, parked, kept })
    }
}

/// The store of the last pass. The name alone where an earlier version has noted it.
fn known(connection: &Connection) -> rusqlite::Result<Option<Identity>> {
    if !read::table_has_column(connection, "stores", "id")? {
        return known_before(connection);
    }
    let sql = "SELECT identity FROM stores WHERE is_here ORDER BY id DESC LIMIT 1";
    let found = connection.prepare_cached(sql)?.query_row([], |row| read::shown(row, 0)).optional()?;
    Ok(found.map(|json| read_identity(&json)))
}

/// The same in a journal of an earlier version, which had it under two keys.
pub(super) fn known_before(connection: &Connection) -> rusqlite::Result<Option<Identity>> {
    let value = |key: &str| {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        connection.query_row(sql, [key], |row| read::shown(row, 0)).optional()
    };
    let Some(name) = value("store")? else { return Ok(None) };
    let noted = value("store_identity")?.as_deref().map(read_identity);
    Ok(Some(noted.filter(|identity| identity.name == name).unwrap_or_else(|| Identity::named(name))))
}

/// All stores that rows belong to, by their numbers.
fn stores(connection: &Connection) -> rusqlite::Result<Vec<(i64, Identity)>> {
    numbered(connection, "SELECT id, identity FROM stores ORDER BY id")
}

/// Those that passes don't go over now.
fn elsewhere(connection: &Connection) -> rusqlite::Result<Vec<(i64, Identity)>> {
    numbered(connection, "SELECT id, identity FROM stores WHERE NOT is_here ORDER BY id")
}

fn numbered(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<(i64, Identity)>> {
    connection
        .prepare_cached(sql)?
        .query_map([], |row| Ok((row.get(0)?, read_identity(&read::shown(row, 1)?))))?
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

pub(super) fn json(identity: &Identity) -> String {
    // Texts, sets and options of texts: nothing that JSON doesn't have.
    serde_json::to_string(identity).unwrap_or_default()
}

/// One that can't be read is no store that we know.
pub(super) fn read_identity(json: &str) -> Identity {
    serde_json::from_str(json).unwrap_or_else(|_| Identity::named("an unknown store"))
}
