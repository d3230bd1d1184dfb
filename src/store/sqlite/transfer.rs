//! Documents in and out of the file: `tokens import` and `tokens export`.

use super::{SqliteStore, json, rows::Columns};
use crate::store::{StoreError, document};
use crate::token::TokenId;
use bson::{Bson, oid::ObjectId};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};
use std::ops::AddAssign;

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Documents that weren't there.
    pub inserted: u64,
    /// Documents that were there by `_id`: their fields are the new ones.
    pub replaced: u64,
    /// Of those inserted: documents that came without `_id` and were given one.
    pub generated_ids: u64,
}

impl AddAssign for ImportSummary {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.replaced += other.replaced;
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

impl SqliteStore {
    /// Puts a batch of documents into the file, all or none; a batch may be repeated if all have an `_id`.
    ///
    /// A document that is there already, by `_id`, gets the new fields and keeps its bookkeeping, unless the new one
    /// brings its own. One without `_id` gets an `ObjectId`. Must run to completion.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when an `_id` isn't extended JSON; nothing is written then.
    pub async fn import(&self, batch: Vec<Map<String, Value>>) -> Result<ImportSummary, StoreError> {
        let path = self.mapping.bookkeeping.clone();
        let incoming = batch.into_iter().enumerate().map(|(index, mut fields)| {
            let bookkeeping = json::remove(&mut fields, &path);
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
        self.writing("import documents", move |connection, _| {
            let mut summary = ImportSummary::default();
            for document in &incoming {
                summary += write(connection, document)?;
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
                    json::set(&mut fields, &mapping.bookkeeping, bookkeeping);
                }
                documents.push(fields);
            }
            Ok(ExportPage { documents, next: None })
        })
        .await
    }
}

fn write(connection: &Connection, document: &Incoming) -> rusqlite::Result<ImportSummary> {
    let Incoming { id, generated, fields, bookkeeping } = document;
    let there = connection
        .prepare_cached("SELECT 1 FROM documents WHERE id = ?1")?
        .query_row([id.as_str()], |_| Ok(()))
        .optional()?
        .is_some();
    let fields = Value::Object(fields.clone()).to_string();
    if there && bookkeeping.is_none() {
        connection
            .prepare_cached("UPDATE documents SET fields = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), fields])?;
    } else {
        let columns = Columns::of(bookkeeping.as_ref());
        let bookkeeping = bookkeeping.as_ref().map(Value::to_string);
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO documents (id, fields, bookkeeping, due_at, lease_id, lease_until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id.as_str(),
                fields,
                bookkeeping,
                columns.due_at,
                columns.lease_id,
                columns.lease_until
            ])?;
    }
    Ok(ImportSummary {
        inserted: u64::from(!there),
        replaced: u64::from(there),
        generated_ids: u64::from(*generated),
    })
}
