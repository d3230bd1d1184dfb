//! The statements behind [`crate::store::Store`], each run within one transaction.

use super::json::{self, Object};
use crate::clock::Timestamp;
use crate::store::document::{self, token_document};
use crate::store::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Fence, Later, Mapping, Position, ProviderFilter,
    Unwritable,
    mapping::{ExpiryFormat, FieldPath},
};
use crate::token::{Bookkeeping, Code, Lease, State, TokenDocument, TokenId};
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params};
use serde_json::Value;

/// The `due_at` column of a document that has none, or one that can't be read: before every date.
pub(super) const DUE_NOW: i64 = i64::MIN;

/// Documents in the table. Run in a writing transaction, it tells as well that the file can be written.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM documents", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// See [`crate::store::Store::due_page`].
pub(super) fn due_page(
    connection: &Connection,
    mapping: &Mapping,
    query: &DueQuery,
) -> rusqlite::Result<DuePage> {
    // No id is empty: such a place is before all documents that are due at that moment.
    let (due_at, id) = query.after.as_ref().map_or_else(|| (earliest(query), String::new()), position);
    let now = query.now.timestamp_millis();
    let belongs = |document: &TokenDocument| {
        let later = query.due_after.filter(|_| !query.force);
        belongs(document, &query.providers) && later.is_none_or(|later| later.admits(&document.bookkeeping))
    };
    let was_put_off = query.due_after.is_some_and(|later| later.only == Later::PutOff);
    if query.force {
        let statement = "SELECT id, fields, bookkeeping, due_at FROM documents
            WHERE id > ?1 AND (lease_until IS NULL OR lease_until <= ?2) ORDER BY id";
        return page(connection, mapping, statement, params![id, now], query.limit, belongs);
    }
    let statement = "SELECT id, fields, bookkeeping, due_at FROM documents
        WHERE due_at <= ?1 AND (due_at, id) > (?2, ?3) AND (lease_until IS NULL OR lease_until <= ?4)
            AND (NOT ?5 OR instr(bookkeeping, '\"last_error\":') > 0)
        ORDER BY due_at, id";
    let values = params![query.due_by.timestamp_millis(), due_at, id, now, was_put_off];
    page(connection, mapping, statement, values, query.limit, belongs)
}

/// The first `due_at` that a query asks for.
fn earliest(query: &DueQuery) -> i64 {
    query.due_after.map_or(DUE_NOW, |after| after.at.timestamp_millis().saturating_add(1))
}

/// See [`crate::store::Store::count_due`].
pub(super) fn count_due(
    connection: &Connection,
    mapping: &Mapping,
    query: &DueQuery,
) -> rusqlite::Result<u64> {
    let (due_from, due_by) =
        if query.force { (DUE_NOW, i64::MAX) } else { (earliest(query), query.due_by.timestamp_millis()) };
    let statement = "SELECT id, fields, bookkeeping FROM documents
        WHERE due_at BETWEEN ?1 AND ?2 AND (lease_until IS NULL OR lease_until <= ?3)";
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(params![due_from, due_by, query.now.timestamp_millis()])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        // Whose a document is stands in its fields; how it stands, in the bookkeeping alone, unless it had no token.
        let bookkeeping = json::bookkeeping(bookkeeping_column(row, 2)?.as_ref());
        if query.due_after.is_some_and(|later| !query.force && !later.admits(&bookkeeping)) {
            continue;
        }
        let state = bookkeeping.state;
        let counts = if query.providers == ProviderFilter::Any && state != State::Malformed {
            query.force || state == State::Live
        } else {
            let document = read_row(row, mapping)?;
            belongs(&document, &query.providers)
                && (query.force || state == State::Live || has_a_token_now(&document))
        };
        count += u64::from(counts);
    }
    Ok(count)
}

/// Most documents that are read for each one that is drawn.
const MOST_READ_FOR_ONE: usize = 50;

/// See [`crate::store::Store::draw`].
pub(super) fn draw(
    connection: &Connection,
    mapping: &Mapping,
    query: &DueQuery,
) -> rusqlite::Result<Vec<TokenDocument>> {
    // Ids alone are shuffled: a million of them fit where their documents would not.
    let statement = "SELECT id FROM documents
        WHERE due_at <= ?1 AND (lease_until IS NULL OR lease_until <= ?2) ORDER BY random()";
    let mut shuffled = connection.prepare_cached(statement)?;
    let due_by = if query.force { i64::MAX } else { query.due_by.timestamp_millis() };
    let values = params![due_by, query.now.timestamp_millis()];
    let mut ids = shuffled.query(values)?;
    let mut drawn = Vec::with_capacity(query.limit);
    // Where few of them are wanted, those few are as good: the store has other work.
    let mut left = query.limit * MOST_READ_FOR_ONE;
    while let Some(row) = ids.next()?
        && drawn.len() < query.limit
        && left > 0
    {
        left -= 1;
        let id = TokenId::from_extended_json(row.get::<_, String>(0)?);
        drawn.extend(read(connection, mapping, &[id])?.into_iter().filter(|document| {
            let is_unmarked = document.bookkeeping.state == State::Live || has_a_token_now(document);
            belongs(document, &query.providers) && (query.force || is_unmarked)
        }));
    }
    Ok(drawn)
}

/// Had the document no token when it was marked, and has it one now? Then it is due like any other.
pub(super) fn has_a_token_now(document: &TokenDocument) -> bool {
    let had_none = [Code::Missing, Code::Null, Code::Empty, Code::NotText];
    let error = document.bookkeeping.last_error.as_ref();
    document.bookkeeping.state == State::Malformed
        && document.refresh_token.is_ok()
        && error.is_some_and(|error| had_none.into_iter().any(|code| error.code.is(code)))
}

/// See [`crate::store::Store::list`].
pub(super) fn list(
    connection: &Connection,
    mapping: &Mapping,
    after: Option<&Position>,
    limit: usize,
) -> rusqlite::Result<DuePage> {
    let (_, id) = after.map_or((DUE_NOW, String::new()), position);
    let statement = "SELECT id, fields, bookkeeping, due_at FROM documents WHERE id > ?1 ORDER BY id";
    page(connection, mapping, statement, params![id], limit, |_| true)
}

/// See [`crate::store::Store::claimed`].
pub(super) fn claimed(
    connection: &Connection,
    mapping: &Mapping,
    after: Option<&Position>,
    limit: usize,
) -> rusqlite::Result<DuePage> {
    let (until, id) = after.map_or((i64::MIN, String::new()), position);
    let statement = "SELECT id, fields, bookkeeping, lease_until FROM documents
        WHERE lease_until IS NOT NULL AND (lease_until, id) > (?1, ?2) ORDER BY lease_until, id";
    page(connection, mapping, statement, params![until, id], limit, |_| true)
}

fn page(
    connection: &Connection,
    mapping: &Mapping,
    statement: &str,
    values: impl Params,
    limit: usize,
    wanted: impl Fn(&TokenDocument) -> bool,
) -> rusqlite::Result<DuePage> {
    let limit = limit.max(1);
    let mut statement = connection.prepare_cached(statement)?;
    let mut rows = statement.query(values)?;
    let (mut documents, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let document = read_row(row, mapping)?;
        if !wanted(&document) {
            continue;
        }
        if documents.len() == limit {
            return Ok(DuePage { documents, next: last });
        }
        let at: i64 = row.get(3)?;
        last = Some(Position(serde_json::json!([at, document.id])));
        documents.push(document);
    }
    Ok(DuePage { documents, next: None })
}

fn position(position: &Position) -> (i64, String) {
    serde_json::from_value(position.0.clone()).unwrap_or((DUE_NOW, String::new()))
}

fn belongs(document: &TokenDocument, providers: &ProviderFilter) -> bool {
    match providers {
        ProviderFilter::Any => true,
        ProviderFilter::Named(name) => document.provider.as_ref() == Some(name),
        ProviderFilter::NoneOf(names) => {
            document.provider.as_ref().is_none_or(|found| !names.contains(found))
        }
    }
}

/// Decodes `id, fields, bookkeeping`; fields that aren't JSON any more read as a document without any.
pub(super) fn read_row(row: &Row<'_>, mapping: &Mapping) -> rusqlite::Result<TokenDocument> {
    let id = TokenId::from_extended_json(row.get::<_, String>(0)?);
    let fields: Object = serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default();
    let bookkeeping = json::bookkeeping(bookkeeping_column(row, 2)?.as_ref());
    Ok(token_document(id, &fields, bookkeeping, mapping))
}

pub(super) fn bookkeeping_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Value>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.and_then(|text| serde_json::from_str(text).ok()))
}

/// See [`crate::store::Store::read`].
pub(super) fn read(
    connection: &Connection,
    mapping: &Mapping,
    ids: &[TokenId],
) -> rusqlite::Result<Vec<TokenDocument>> {
    let mut statement =
        connection.prepare_cached("SELECT id, fields, bookkeeping FROM documents WHERE id = ?1")?;
    let mut documents = Vec::with_capacity(ids.len());
    for id in ids {
        documents.extend(statement.query_row([id.as_str()], |row| read_row(row, mapping)).optional()?);
    }
    Ok(documents)
}

/// See [`crate::store::Store::claim`].
pub(super) fn claim(connection: &Connection, mapping: &Mapping, claim: &Claim) -> rusqlite::Result<Claimed> {
    let mut unclaimed = connection.prepare_cached(
        "SELECT bookkeeping, fields FROM documents WHERE id = :id AND (lease_id IS :lease
            OR ((:due_by IS NULL OR due_at <= :due_by) AND (lease_until IS NULL OR lease_until <= :now)
              AND (NOT :taken_over OR lease_id IN (SELECT value FROM json_each(:over))
                   OR (json_array_length(:over) = 0 AND lease_id IS NOT NULL))))",
    )?;
    let parents = mapping.parents_of_the_pair();
    let over = serde_json::json!(claim.over).to_string();
    let mut ours = Vec::with_capacity(claim.ids.len());
    let mut refused = Vec::new();
    for id in &claim.ids {
        let values = named_params! {
            ":id": id.as_str(),
            ":lease": claim.lease.id,
            ":taken_over": claim.lease.taken_over,
            ":over": over,
            ":due_by": claim.due_by.as_ref().map(Timestamp::timestamp_millis),
            ":now": claim.now.timestamp_millis(),
        };
        let found = unclaimed
            .query_row(values, |row| {
                let fields: Object = serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default();
                Ok((bookkeeping_column(row, 0)?, fields))
            })
            .optional()?;
        let Some((bookkeeping, fields)) = found else { continue };
        let odd = bookkeeping.as_ref().is_some_and(|value| json::sub_document(value).is_none());
        let in_the_way = json::in_the_way(&fields, parents.iter()).map(Unwritable::InTheWay);
        let ours_in_the_way = || odd.then(|| Unwritable::BookkeepingInTheWay(mapping.bookkeeping.clone()));
        if let Some(reason) = in_the_way.or_else(ours_in_the_way) {
            refused.push((id.clone(), reason));
        } else {
            set_lease(connection, id, bookkeeping, &claim.lease)?;
            ours.push(id.clone());
        }
    }
    Ok(Claimed { documents: read(connection, mapping, &ours)?, refused })
}

/// See [`crate::store::Store::renew`].
pub(super) fn renew(
    connection: &Connection,
    ids: &[TokenId],
    lease: &Lease,
) -> rusqlite::Result<Vec<TokenId>> {
    let mut leased =
        connection.prepare_cached("SELECT bookkeeping FROM documents WHERE id = ?1 AND lease_id = ?2")?;
    let mut ours = Vec::with_capacity(ids.len());
    for id in ids {
        let found = leased
            .query_row([id.as_str(), lease.id.as_str()], |row| bookkeeping_column(row, 0))
            .optional()?;
        if let Some(bookkeeping) = found {
            set_lease(connection, id, bookkeeping, lease)?;
            ours.push(id.clone());
        }
    }
    Ok(ours)
}

/// Sets the lease, and the `due_at` that goes with it, and keeps the rest of the bookkeeping as it is.
fn set_lease(
    connection: &Connection,
    id: &TokenId,
    old: Option<Value>,
    lease: &Lease,
) -> rusqlite::Result<()> {
    let mut whole = match old {
        Some(Value::Object(whole)) => whole,
        _ => Object::new(),
    };
    let ours =
        Bookkeeping { due_at: Some(lease.until), lease: Some(lease.clone()), ..Bookkeeping::default() };
    if let Value::Object(ours) = json::bookkeeping_value(&ours) {
        whole.extend(ours.into_iter().filter(|(name, _)| matches!(name.as_str(), "due_at" | "lease")));
    }
    write_bookkeeping(connection, id, &Value::Object(whole))
}

/// Writes the bookkeeping and the columns that are read out of it.
fn write_bookkeeping(connection: &Connection, id: &TokenId, whole: &Value) -> rusqlite::Result<()> {
    let columns = Columns::of(Some(whole));
    connection
        .prepare_cached(
            "UPDATE documents SET bookkeeping = ?2, due_at = ?3, lease_id = ?4, lease_until = ?5 WHERE id = ?1",
        )?
        .execute(params![id.as_str(), whole.to_string(), columns.due_at, columns.lease_id, columns.lease_until])
        .map(drop)
}

/// What the table holds of the bookkeeping in columns of their own.
pub(super) struct Columns {
    /// Milliseconds since 1970, or [`DUE_NOW`].
    pub(super) due_at: i64,
    /// The lease's id.
    pub(super) lease_id: Option<String>,
    /// Milliseconds since 1970.
    pub(super) lease_until: Option<i64>,
}

impl Columns {
    /// Reads them out of the bookkeeping.
    pub(super) fn of(bookkeeping: Option<&Value>) -> Self {
        let Bookkeeping { due_at, lease, .. } = json::bookkeeping(bookkeeping);
        Self {
            due_at: due_at.map_or(DUE_NOW, |at| at.timestamp_millis()),
            lease_until: lease.as_ref().map(|lease| lease.until.timestamp_millis()),
            lease_id: lease.map(|lease| lease.id),
        }
    }
}

/// See [`crate::store::Store::apply`].
pub(super) fn apply(
    connection: &Connection,
    mapping: &Mapping,
    changes: &[Change],
) -> rusqlite::Result<Applied> {
    let mut applied = Applied { every_matched: true, refused: Vec::new() };
    for (index, change) in changes.iter().enumerate() {
        let found = connection
            .prepare_cached("SELECT fields, bookkeeping FROM documents WHERE id = ?1")?
            .query_row([change.id.as_str()], |row| {
                // Most changes demand nothing of the bookkeeping.
                let fenced = change.expect_lease != Fence::None;
                let bookkeeping = if fenced { bookkeeping_column(row, 1)? } else { None };
                Ok((row.get_ref(0)?.as_str()?.to_owned(), json::bookkeeping(bookkeeping.as_ref())))
            })
            .optional()?;
        let matching = found.and_then(|(fields, bookkeeping)| {
            let fields: Object = serde_json::from_str(&fields).ok()?;
            is_as_expected(&fields, &bookkeeping, mapping, change).then_some(fields)
        });
        let Some(mut fields) = matching else {
            applied.every_matched = false;
            continue;
        };
        match write_pair(&mut fields, mapping, change) {
            Ok(()) => {
                if change.pair.is_some() {
                    connection
                        .prepare_cached("UPDATE documents SET fields = ?2 WHERE id = ?1")?
                        .execute(params![change.id.as_str(), Value::Object(fields).to_string()])?;
                }
                write_bookkeeping(connection, &change.id, &json::bookkeeping_value(&change.bookkeeping))?;
            }
            Err(path) => {
                applied.every_matched = false;
                applied.refused.push((index, Unwritable::InTheWay(path)));
            }
        }
    }
    Ok(applied)
}

fn is_as_expected(fields: &Object, bookkeeping: &Bookkeeping, mapping: &Mapping, change: &Change) -> bool {
    let token = json::get(fields, &mapping.refresh_token).and_then(Value::as_str);
    change.expect_refresh_token.as_ref().is_none_or(|expected| token == Some(expected.expose()))
        && change.expect_lease.admits(bookkeeping)
        && is_replaced(fields, mapping, change)
}

/// Does the access token stand there that the pair demands? One that is no text is none.
fn is_replaced(fields: &Object, mapping: &Mapping, change: &Change) -> bool {
    let Some((path, pair)) = mapping.access_token.as_ref().zip(change.pair.as_ref()) else { return true };
    let now_there = json::get(fields, path).and_then(Value::as_str).unwrap_or_default();
    pair.replaces.text().is_none_or(|text| text == now_there)
}

/// Puts the pair and the mapped expiries into the fields; fails with the path that can't be written.
fn write_pair(fields: &mut Object, mapping: &Mapping, change: &Change) -> Result<(), FieldPath> {
    let Some(pair) = &change.pair else { return Ok(()) };
    json::set(fields, &mapping.refresh_token, pair.refresh_token.expose().into())?;
    if let (Some(path), Some(token)) = (&mapping.access_token, &pair.access_token) {
        json::set(fields, path, token.expose().into())?;
    }
    for path in mapping.also.keys() {
        if let Some(value) = pair.further(path) {
            json::set(fields, path, value.expose().clone())?;
        }
    }
    if let (Some(path), Some(at)) = (&mapping.updated_at, change.bookkeeping.refreshed_at) {
        json::set(fields, path, expiry(at, ExpiryFormat::Date))?;
    }
    let ends = [
        (&mapping.access_expires_at, change.bookkeeping.access_expires_at),
        (&mapping.refresh_expires_at, change.bookkeeping.refresh_expires_at),
    ];
    for (path, at) in ends {
        let Some(path) = path else { continue };
        match at {
            Some(at) => json::set(fields, path, expiry(at, mapping.expires_format))?,
            // The end of the old token would be wrong for the new one.
            None => drop(json::remove(fields, path)),
        }
    }
    Ok(())
}

fn expiry(at: Timestamp, format: ExpiryFormat) -> Value {
    document::expiry(at, format).into_relaxed_extjson()
}
