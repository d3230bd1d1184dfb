//! The index by which documents are found that are due: with the provider first, where documents name one.

use super::MongoStore;
use crate::store::{IndexState, Mapping, ProviderFilter, StoreError};
use bson::{Bson, Document, doc};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::info;

/// The name of the index that we create where no provider field is mapped; one with the same keys under another name does as
/// well.
const PLAIN: &str = "evergrant_due";

/// The same where one is mapped.
const BY_PROVIDER: &str = "evergrant_provider_due";

/// Longest wait for the due index: building it on tens of millions of documents takes minutes.
const INDEX_TIMEOUT: Duration = Duration::from_mins(30);

/// The names of the due indexes that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DueIndexes {
    /// `{ due_at, _id }`. An earlier version made it also where a provider field is mapped.
    pub(super) plain: Option<String>,
    /// `{ provider, due_at, _id }`.
    pub(super) by_provider: Option<String>,
}

/// The index by which a page of due documents is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DueIndex<'a> {
    Plain(&'a str),
    /// The bounds begin with this provider.
    ByProvider(&'a str, &'a str),
}

impl DueIndexes {
    /// The one that reads least for these documents.
    pub(super) fn of<'a>(&'a self, providers: &'a ProviderFilter) -> Option<DueIndex<'a>> {
        let by_provider = match providers {
            ProviderFilter::Named(name) => {
                self.by_provider.as_deref().map(|index| DueIndex::ByProvider(index, name))
            }
            ProviderFilter::Any | ProviderFilter::NoneOf(_) => None,
        };
        by_provider.or_else(|| self.plain.as_deref().map(DueIndex::Plain))
    }

    /// The name of the index by which these documents are found that are due: without it the server may take another one, and
    /// read all that isn't due.
    pub(super) fn hint_for(&self, providers: &ProviderFilter) -> Option<&str> {
        let of_one = self.by_provider.as_deref().filter(|_| matches!(providers, ProviderFilter::Named(_)));
        of_one.or(self.plain.as_deref()).or(self.by_provider.as_deref())
    }
}

impl MongoStore {
    pub(super) fn due_indexes(&self) -> DueIndexes {
        self.due_indexes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remember_indexes(&self, indexes: DueIndexes) {
        *self.due_indexes.write().unwrap_or_else(PoisonError::into_inner) = indexes;
    }

    /// Finds or creates the due index among those that are there, and remembers its name.
    pub(super) async fn ensure_index(&self, indexes: &[Bson]) -> Result<IndexState, StoreError> {
        let (plain, by_provider) = keys(&self.mapping);
        if let Some(index) = by_id(indexes) {
            self.plain_texts.store(!index.contains_key("collation"), Ordering::Relaxed);
        }
        let find = |keys| find_index(indexes, keys);
        let mut found = DueIndexes { plain: find(&plain), by_provider: by_provider.as_ref().and_then(find) };
        let (wanted, name, there) = match by_provider {
            Some(keys) => (keys, BY_PROVIDER, &mut found.by_provider),
            None => (plain, PLAIN, &mut found.plain),
        };
        if there.is_some() {
            self.remember_indexes(found);
            return Ok(IndexState::Ready);
        }
        let command = doc! {
            "createIndexes": &self.namespace.coll,
            "indexes": [{ "key": wanted.clone(), "name": name }],
            "writeConcern": { "w": "majority" },
        };
        match self.command("create the due index", INDEX_TIMEOUT, command).await {
            Ok(reply) => {
                *there = Some(name.to_owned());
                // Another process may have made it meanwhile.
                if reply.get("numIndexesBefore") != reply.get("numIndexesAfter") {
                    info!("made the index `{name}` on {}", self.at);
                    self.tell_superfluous(&found);
                }
                self.remember_indexes(found);
                Ok(IndexState::Ready)
            }
            Err(StoreError::Denied { source, .. }) => {
                let (reason, command) = (source.to_string(), self.index_command(wanted, name));
                let older = found.plain.clone();
                self.remember_indexes(found);
                Ok(match older {
                    Some(index) => IndexState::Older { index, reason, command },
                    None => IndexState::Missing { reason, command },
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Names the index of an earlier version that nothing needs any more.
    fn tell_superfluous(&self, found: &DueIndexes) {
        let DueIndexes { plain: Some(plain), by_provider: Some(_) } = found else { return };
        if plain == PLAIN {
            let shell = self.shell_name();
            info!(
                "the index `{plain}` of an earlier version is not needed any more; to drop it, run in `mongosh`: {shell}.dropIndex(\"{plain}\")"
            );
        }
    }

    pub(super) fn index_command(&self, keys: Document, name: &str) -> String {
        let keys = Bson::Document(keys).into_relaxed_extjson();
        format!("{}.createIndex({keys}, {{ name: \"{name}\" }})", self.shell_name())
    }
}

/// The keys of the plain index, and with the provider first.
fn keys(mapping: &Mapping) -> (Document, Option<Document>) {
    let due_at = format!("{}.due_at", mapping.bookkeeping);
    let with_provider = mapping.provider.as_ref().map(|path| doc! { path.as_str(): 1, &due_at: 1, "_id": 1 });
    (doc! { due_at: 1, "_id": 1 }, with_provider)
}

/// The name of an index that has every document under these keys, in this order, and with the collection's collation.
pub(super) fn find_index(indexes: &[Bson], keys: &Document) -> Option<String> {
    let collation = by_id(indexes).and_then(|index| index.get("collation"));
    let mut same =
        indexes.iter().filter_map(Bson::as_document).filter(|index| index.get("collation") == collation);
    same.find_map(|index| usable(index, keys))
}

/// The index that every collection has; its collation is the collection's.
pub(super) fn by_id(indexes: &[Bson]) -> Option<&Document> {
    let mut indexes = indexes.iter().filter_map(Bson::as_document);
    indexes.find(|index| matches!(index.get_str("name"), Ok("_id_")))
}

/// Are these its keys, in this order, each ascending?
pub(super) fn has_keys(index: &Document, keys: &Document) -> bool {
    let direction = |value: &Bson| match value {
        Bson::Int32(1) | Bson::Int64(1) => true,
        Bson::Double(number) => (*number - 1.0).abs() < f64::EPSILON,
        _ => false,
    };
    let found = index.get_document("key");
    found.is_ok_and(|found| found.keys().eq(keys.keys()) && found.values().all(direction))
}

fn usable(index: &Document, keys: &Document) -> Option<String> {
    let partial = ["partialFilterExpression", "sparse", "hidden"].iter().any(|name| index.contains_key(name));
    (has_keys(index, keys) && !partial).then(|| index.get_str("name").map(str::to_owned).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_with_another_collation_than_the_collections_is_not_used() {
        let keys = doc! { "e.due_at": 1, "_id": 1 };
        let by_id = doc! { "key": { "_id": 1 }, "name": "_id_", "collation": { "locale": "en" } };
        let theirs = doc! { "key": keys.clone(), "name": "theirs" };
        let mut same = theirs.clone();
        same.insert("collation", doc! { "locale": "en" });
        let found = |indexes: &[&Document]| {
            let indexes: Vec<Bson> = indexes.iter().map(|index| Bson::Document((*index).clone())).collect();
            find_index(&indexes, &keys)
        };
        assert_eq!(found(&[&by_id, &theirs]), None);
        assert_eq!(found(&[&by_id, &same]), Some("theirs".to_owned()));
        assert_eq!(found(&[&theirs]), Some("theirs".to_owned()));
    }

    #[test]
    fn an_index_of_all_documents_under_the_same_keys_will_do() {
        let keys = doc! { "evergrant.due_at": 1, "_id": 1 };
        let index = |extra: Document| {
            let mut index =
                doc! { "v": 2, "key": { "evergrant.due_at": 1.0, "_id": 1_i64 }, "name": "theirs" };
            index.extend(extra);
            index
        };
        assert_eq!(usable(&index(doc! {}), &keys), Some("theirs".to_owned()));
        assert_eq!(usable(&index(doc! { "sparse": true }), &keys), None);
        assert_eq!(usable(&index(doc! { "partialFilterExpression": {} }), &keys), None);
        assert_eq!(usable(&index(doc! { "key": { "_id": 1, "evergrant.due_at": 1 } }), &keys), None);
        assert_eq!(usable(&index(doc! { "key": { "evergrant.due_at": -1, "_id": 1 } }), &keys), None);
    }
}
