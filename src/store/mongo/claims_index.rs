//! The index of what is claimed now, and how it is read: as long as there are claims, however many documents there are.

use super::due_index::{by_id, has_keys};
use super::raw::Raw;
use super::reading::{Reading, projection};
use super::{MongoStore, READ_TIMEOUT, failure};
use crate::store::{DuePage, IndexState, Mapping, Position, StoreError};
use bson::{Bson, DateTime, Document, doc};
use mongodb::options::Hint;
use std::sync::PoisonError;
use std::time::Duration;
use tracing::info;

/// The name of the index that we create; one with the same keys over the same documents does as well.
const NAME: &str = "evergrant_claimed";

/// Longest wait for it. It holds few documents, and is built by a look at all of them.
const INDEX_TIMEOUT: Duration = Duration::from_mins(30);

impl MongoStore {
    fn claims_index(&self) -> Option<String> {
        self.claims_index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember_claims_index(&self, index: Option<String>) {
        *self.claims_index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Finds or creates the index of claims among those that are there, and remembers its name.
    ///
    /// A server that knows no partial indexes can do without: then what is claimed is found by a scan.
    pub(super) async fn ensure_claims_index(&self, there: &[Bson]) -> Result<IndexState, StoreError> {
        let (keys, partial) = (keys(&self.mapping), partial(&self.mapping));
        if let Some(index) = find(there, &keys, &partial) {
            self.remember_claims_index(Some(index));
            return Ok(IndexState::Ready);
        }
        self.remember_claims_index(None);
        let command = doc! {
            "createIndexes": &self.namespace.coll,
            "indexes": [{ "key": keys.clone(), "name": NAME, "partialFilterExpression": partial.clone() }],
            "writeConcern": { "w": "majority" },
        };
        match self.command("create the index of claims", INDEX_TIMEOUT, command).await {
            Ok(reply) => {
                self.remember_claims_index(Some(NAME.to_owned()));
                if reply.get("numIndexesBefore") != reply.get("numIndexesAfter") {
                    info!("made the index `{NAME}` on {}", self.at);
                }
                Ok(IndexState::Ready)
            }
            Err(error @ StoreError::Unavailable { .. }) => Err(error),
            Err(error) => {
                let reason = crate::failure::error_chain(&error);
                let extended = |document: Document| Bson::Document(document).into_relaxed_extjson();
                let (keys, partial) = (extended(keys), extended(partial));
                let options = format!("{{ name: \"{NAME}\", partialFilterExpression: {partial} }}");
                let command = format!("{}.createIndex({keys}, {options})", self.shell_name());
                Ok(IndexState::Missing { reason, command })
            }
        }
    }

    /// See [`Store::claimed`](crate::store::Store::claimed).
    pub(super) async fn read_claimed(
        &self,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let limit = limit.max(1);
        let after = after.map(|position| self.claim_place(position)).transpose()?;
        let plan = |index: Option<String>| {
            let mut reading = reading(&self.mapping, after.as_ref(), limit + 1);
            reading.conditions.extend(self.filter.clone());
            reading.hint = index.map(Hint::Name);
            reading
        };
        let action = "read what is claimed";
        let index = self.claims_index();
        let found = match self.find(action, plan(index.clone())).await {
            // The index was dropped since `prepare`: the hint is refused, the scan is not.
            Err(error) if index.is_some() && failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_claims_index(None);
                self.find(action, plan(None)).await?
            }
            found => found?,
        };
        let path = &self.mapping.bookkeeping;
        let next = found.get(limit - 1).filter(|_| found.len() > limit).and_then(|raw| {
            let until = match Raw(raw).within(path, "lease")? {
                Bson::Document(lease) => lease.get("until")?.clone(),
                _ => return None,
            };
            let (until, id) = (until.into_canonical_extjson(), Raw(raw).id()?.into_canonical_extjson());
            Some(Position(serde_json::json!([until, id])))
        });
        let documents = found.iter().take(limit).filter_map(|raw| self.decode(raw)).collect();
        Ok(DuePage { documents, next })
    }

    fn claim_place(&self, position: &Position) -> Result<(Bson, Bson), StoreError> {
        let place = || {
            let [until, id]: [serde_json::Value; 2] = serde_json::from_value(position.0.clone()).ok()?;
            Some((Bson::try_from(until).ok()?, Bson::try_from(id).ok()?))
        };
        place().ok_or_else(|| {
            StoreError::Settings(format!(
                "a page position of another store was handed to {}; start over",
                self.at
            ))
        })
    }
}

/// What is claimed, from behind this end and this `_id` on. What isn't a date ends no claim.
fn reading(mapping: &Mapping, after: Option<&(Bson, Bson)>, limit: usize) -> Reading {
    let until = format!("{}.lease.until", mapping.bookkeeping);
    let first = after.map_or(Bson::DateTime(DateTime::MIN), |(until, _)| until.clone());
    let mut conditions = vec![doc! { &until: { "$gte": first } }];
    if let Some((last, id)) = after {
        conditions.push(doc! { "$expr": { "$or": [
            { "$gt": [format!("${until}"), { "$literal": last }] },
            { "$gt": ["$_id", { "$literal": id }] },
        ] } });
    }
    Reading {
        conditions,
        projection: projection(mapping),
        sort: Some(doc! { until: 1, "_id": 1 }),
        limit: Some(limit),
        ..Reading::default()
    }
}

fn keys(mapping: &Mapping) -> Document {
    doc! { format!("{}.lease.until", mapping.bookkeeping): 1, "_id": 1 }
}

fn partial(mapping: &Mapping) -> Document {
    doc! { format!("{}.lease.until", mapping.bookkeeping): { "$exists": true } }
}

/// The name of an index under these keys that holds what is claimed, and with the collection's collation.
fn find(there: &[Bson], keys: &Document, partial: &Document) -> Option<String> {
    let collation = by_id(there).and_then(|index| index.get("collation"));
    let is_one = |index: &&Document| {
        let holds =
            index.get("partialFilterExpression").is_none_or(|only| only == &Bson::from(partial.clone()));
        let is_plain = !index.contains_key("hidden") && !index.contains_key("sparse");
        index.get("collation") == collation && has_keys(index, keys) && holds && is_plain
    };
    let found = there.iter().filter_map(Bson::as_document).find(is_one)?;
    found.get_str("name").ok().map(str::to_owned)
}

impl MongoStore {
    /// The indexes of the collection; none where this user may not list them.
    pub(super) async fn indexes(&self) -> Result<Vec<Bson>, StoreError> {
        let command = doc! { "listIndexes": &self.namespace.coll };
        match self.command("list the indexes", READ_TIMEOUT, command).await {
            Ok(reply) => Ok(super::prepare::first_batch(&reply).to_vec()),
            // A user who may not list them may still be allowed to create one; creating it twice is no error.
            Err(StoreError::Denied { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
