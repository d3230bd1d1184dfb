//! Which providers have something due: the due rows are read until all of them are found.

use super::json;
use super::rows::{DUE_NOW, bookkeeping_column, has_a_token_now, read_row};
use crate::clock::Timestamp;
use crate::store::{Mapping, Waiting, Waits, WhoWaits};
use crate::token::State;
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// The latest date that any document falls due on.
pub(super) fn latest_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let latest: Option<i64> =
        connection.query_row("SELECT max(due_at) FROM documents", [], |row| row.get(0))?;
    Ok(latest
        .filter(|latest| *latest != DUE_NOW)
        .map(|latest| Timestamp::from_timestamp_millis(latest).unwrap_or(Timestamp::MAX_UTC)))
}

/// See [`crate::store::Store::waiting`].
pub(super) fn waiting(
    connection: &Connection,
    mapping: &Mapping,
    who: &WhoWaits,
) -> rusqlite::Result<Waiting> {
    let names: HashSet<&str> = who.providers.iter().map(String::as_str).collect();
    let mut found = Waiting::default();
    let mut at_work = 0;
    let statement = "SELECT id, fields, bookkeeping, lease_until IS NULL OR lease_until <= ?2 FROM documents
        WHERE due_at <= ?1 ORDER BY due_at";
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(params![who.due_by.timestamp_millis(), who.now.timestamp_millis()])?;
    while at_work <= names.len()
        && let Some(row) = rows.next()?
    {
        let state = json::bookkeeping(bookkeeping_column(row, 2)?.as_ref()).state;
        let document = read_row(row, mapping)?;
        let is_free: bool = row.get(3)?;
        let is_work = is_free && (state == State::Live || has_a_token_now(&document));
        let waits = Some(if is_work { Waits::Work } else { Waits::Idle });
        let name = document.provider.filter(|name| names.contains(name.as_str()));
        let known = name.as_ref().map_or(found.others, |name| found.providers.get(name).copied());
        if waits <= known {
            continue;
        }
        at_work += usize::from(is_work);
        match (name, waits) {
            (Some(name), Some(waits)) => drop(found.providers.insert(name, waits)),
            (_, waits) => found.others = waits,
        }
    }
    Ok(found)
}
