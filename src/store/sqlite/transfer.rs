//! Documents in and out of the file: `tokens import` and `tokens export`.

use super::merge::{self, ImportTerms, Pair};
use super::{SqliteStore, json, rows::Columns};
use crate::store::mapping::Mapping;
use crate::store::{StoreError, document};
use crate::token::TokenId;
use bson::{Bson, oid::ObjectId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use std::ops::AddAssign;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Documents that weren't there.
    pub inserted: u64,
    /// Documents that were there by `_id`: their fields are the new ones.
    pub replaced: u64,
    /// Documents that were there with a newer pair: it stays, and their other fields are the new ones.
    pub kept: u64,
    /// Of those inserted: documents that came without `_id` and were given one.
    pub generated_ids: u64,
}

impl AddAssign for ImportSummary {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.replaced += other.replaced;
        self.kept += other.kept;
        self.generated_ids += other.generated_ids;
    }
}

/// A page of whole documents.
#[derive(Clone)]
pub struct ExportPage {
    /// In `_id` order, as extended JSON, the bookkeeping in them. They hold tokens.
    pub documents: Vec<Map<String, Value>>,
    /// Go on behind this; `None` when this was the last page.
    pub next: Option<TokenId>,
}

impl std::fmt::Debug for ExportPage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("ExportPage");
        shown.field("documents", &self.documents.len()).field("next", &self.next).finish()
    }
}

struct Incoming {
    id: TokenId,
    generated: bool,
    fields: Map<String, Value>,
    bookkeeping: Option<Value>,
}

/// The `_id` under which a document is imported; `None` when it has none, or one that isn't extended JSON.
#[must_use]
pub fn import_id(document: &Map<String, Value>) -> Option<TokenId> {
    let id = Bson::try_from(document.get("_id")?.clone()).ok()?;
    Some(document::token_id(id))
}

impl SqliteStore {
    /// Puts a batch of documents into the file, as [`SqliteStore::import_as`] does for a store that no pass works on.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when an `_id` isn't extended JSON; nothing is written then.
    #[cfg(any(test, feature = "testing"))]
    pub async fn import(&self, batch: Vec<Map<String, Value>>) -> Result<ImportSummary, StoreError> {
        self.import_as(batch, ImportTerms::default()).await
    }

    /// Puts a batch of documents into the file, all or none; a batch may be repeated if all have an `_id`.
    ///
    /// A document that is there already, by `_id`, gets the new fields and keeps its bookkeeping, unless the new one
    /// brings its own. It keeps its pair, too, where that is newer than the one in the batch. One without `_id` gets an
    /// `ObjectId`. Each document is compared and written in one transaction, so a pass may be at work meanwhile. Must
    /// run to completion.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when an `_id` isn't extended JSON; nothing is written then.
    pub async fn import_as(
        &self,
        batch: Vec<Map<String, Value>>,
        terms: ImportTerms,
    ) -> Result<ImportSummary, StoreError> {
        let path = self.mapping.bookkeeping.clone();
        let incoming = batch.into_iter().enumerate().map(|(index, mut fields)| {
            // An explicit null is what some programs write for nothing.
            let bookkeeping = json::remove(&mut fields, &path).filter(|books| !books.is_null());
            let (id, generated) = match fields.get("_id") {
                None => {
                    let id = Bson::ObjectId(ObjectId::new());
                    fields.shift_insert(0, "_id".to_owned(), id.clone().into_canonical_extjson());
                    (id, true)
                }
                Some(id) => match Bson::try_from(id.clone()) {
                    Ok(id) => (id, false),
                    Err(_) => {
                        return Err(StoreError::Settings(format!(
                            "document {} of the batch has an `_id` that is not extended JSON; \
                             expected a string, a number or `{{\"$oid\": \"…\"}}`",
                            index + 1
                        )));
                    }
                },
            };
            Ok(Incoming { id: document::token_id(id), generated, fields, bookkeeping })
        });
        let incoming = incoming.collect::<Result<Vec<_>, _>>()?;
        self.writing("import documents", move |connection, mapping| {
            let mut summary = ImportSummary::default();
            for document in &incoming {
                summary += write(connection, document, mapping, &terms)?;
            }
            Ok(summary)
        })
        .await
    }

    /// Reads up to `limit` whole documents in `_id` order, from behind `after` on. Cancel-safe.
    pub async fn export(&self, after: Option<&TokenId>, limit: usize) -> Result<ExportPage, StoreError> {
        let after = after.map_or_else(String::new, |id| id.as_str().to_owned());
        self.reading("export documents", move |connection, mapping| {
            let mut statement = connection
                .prepare_cached("SELECT id, fields, bookkeeping FROM documents WHERE id > ?1 ORDER BY id")?;
            let mut rows = statement.query([&after])?;
            let (mut documents, mut last) = (Vec::new(), None);
            while let Some(row) = rows.next()? {
                if documents.len() == limit.max(1) {
                    return Ok(ExportPage { documents, next: last });
                }
                last = Some(TokenId::from_extended_json(row.get::<_, String>(0)?));
                let mut fields: json::Object =
                    serde_json::from_str(row.get_ref(1)?.as_str()?).unwrap_or_default();
                let bookkeeping = row.get_ref(2)?.as_str_or_null()?;
                if let Some(bookkeeping) = bookkeeping.and_then(|text| serde_json::from_str(text).ok()) {
                    // Where something is in the way, an import put it there since: the tokens go without our bookkeeping.
                    let _ = json::set(&mut fields, &mapping.bookkeeping, bookkeeping);
                }
                documents.push(fields);
            }
            Ok(ExportPage { documents, next: None })
        })
        .await
    }
}

fn write(
    connection: &Connection,
    document: &Incoming,
    mapping: &Mapping,
    terms: &ImportTerms,
) -> rusqlite::Result<ImportSummary> {
    let generated_ids = u64::from(document.generated);
    let stored = connection
        .prepare_cached("SELECT fields, bookkeeping, lease_until FROM documents WHERE id = ?1")?
        .query_row([document.id.as_str()], Stored::read)
        .optional()?;
    let Some(stored) = stored else {
        put(connection, document)?;
        return Ok(ImportSummary { inserted: 1, generated_ids, ..ImportSummary::default() });
    };
    let old = merge::read(&document.id, &stored.fields, stored.bookkeeping.as_ref(), mapping);
    let new = merge::read(&document.id, &document.fields, document.bookkeeping.as_ref(), mapping);
    if merge::newer(&old, &new, terms) == Pair::Stored {
        if let Some(merged) = merge::with_stored_pair(&stored.fields, document.fields.clone(), mapping) {
            set_fields(connection, &document.id, merged)?;
        }
        return Ok(ImportSummary { kept: 1, ..ImportSummary::default() });
    }
    let is_claimed = terms.now.is_some_and(|now| stored.lease_until > Some(now.timestamp_millis()));
    let can_stay = stored.bookkeeping.as_ref().is_none_or(|books| json::sub_document(books).is_some());
    if (document.bookkeeping.is_none() && can_stay) || is_claimed {
        set_fields(connection, &document.id, document.fields.clone())?;
    } else {
        put(connection, document)?;
    }
    Ok(ImportSummary { replaced: 1, ..ImportSummary::default() })
}

/// A document as it stands in the file.
struct Stored {
    fields: json::Object,
    bookkeeping: Option<Value>,
    lease_until: Option<i64>,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let bookkeeping = row.get_ref(1)?.as_str_or_null()?;
        Ok(Self {
            fields: serde_json::from_str(row.get_ref(0)?.as_str()?).unwrap_or_default(),
            bookkeeping: bookkeeping.and_then(|text| serde_json::from_str(text).ok()),
            lease_until: row.get(2)?,
        })
    }
}

fn set_fields(connection: &Connection, id: &TokenId, fields: json::Object) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE documents SET fields = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), Value::Object(fields).to_string()])
        .map(drop)
}

/// Writes the whole document, its bookkeeping among it.
fn put(connection: &Connection, document: &Incoming) -> rusqlite::Result<()> {
    let Incoming { id, fields, bookkeeping, .. } = document;
    let columns = Columns::of(bookkeeping.as_ref());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO documents (id, fields, bookkeeping, due_at, lease_id, lease_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id.as_str(),
            Value::Object(fields.clone()).to_string(),
            bookkeeping.as_ref().map(Value::to_string),
            columns.due_at,
            columns.lease_id,
            columns.lease_until
        ])
        .map(drop)
}
