//! Documents drawn at random from what is due.

use super::prepare::first_batch;
use super::reading::projection;
use super::{MongoStore, READ_TIMEOUT, query};
use crate::store::{DueQuery, StoreError};
use crate::token::TokenDocument;
use bson::{Bson, Document, RawDocumentBuf, doc};

/// What the store is doing, in an error.
const ACTION: &str = "draw due documents";

/// Documents of the whole collection that are drawn first, for each that is wanted. The server draws these without reading the
/// others; where they hold too few that are due, it goes over all that is due.
const FIRST_DRAW: usize = 10;

impl MongoStore {
    /// See [`crate::store::Store::draw`].
    pub(super) async fn draw_due(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        let due = doc! { "$match": query::due_conditions(&self.mapping, self.filter.as_ref(), query) };
        let some = |size: usize| doc! { "$sample": { "size": i64::try_from(size).unwrap_or(i64::MAX) } };
        let limit = query.limit.max(1);
        let first = self.drawn(vec![some(limit * FIRST_DRAW), due.clone()], limit).await?;
        if first.len() >= limit { Ok(first) } else { self.drawn(vec![due, some(limit)], limit).await }
    }

    async fn drawn(
        &self,
        mut pipeline: Vec<Document>,
        limit: usize,
    ) -> Result<Vec<TokenDocument>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        pipeline.extend([doc! { "$limit": limit }, doc! { "$project": projection(&self.mapping) }]);
        let command = doc! {
            "aggregate": &self.namespace.coll,
            "pipeline": pipeline,
            // All of them in one batch.
            "cursor": { "batchSize": limit + 1 },
            "readConcern": { "level": "majority" },
            "maxTimeMS": i64::try_from((READ_TIMEOUT * 9 / 10).as_millis()).unwrap_or(i64::MAX),
        };
        let reply = self.command(ACTION, READ_TIMEOUT, command).await?;
        let documents = first_batch(&reply).iter().filter_map(Bson::as_document);
        let raw = documents.filter_map(|document| RawDocumentBuf::try_from(document).ok());
        // `$sample` may draw a document twice.
        let mut drawn: Vec<TokenDocument> = Vec::new();
        for document in raw.filter_map(|raw| self.decode(&raw)) {
            if drawn.iter().all(|other| other.id != document.id) {
                drawn.push(document);
            }
        }
        Ok(drawn)
    }
}
