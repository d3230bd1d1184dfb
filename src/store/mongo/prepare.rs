//! Finds out before the first grant whether a pass can work.

use super::{MongoStore, READ_TIMEOUT, WRITE_TIMEOUT, failure, update};
use crate::store::{Existence, IndexState, StoreError};
use bson::{Bson, Document, doc, oid::ObjectId};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::info;

/// The name of the index that we create; one with the same keys under another name does as well.
const INDEX_NAME: &str = "evergrant_due";

/// Longest wait for the due index: building it on tens of millions of documents takes minutes.
const INDEX_TIMEOUT: Duration = Duration::from_mins(30);

/// The oldest server that has pipeline updates and `allowDiskUse` in `find`, as its wire version: 4.4.
const OLDEST_WIRE_VERSION: i32 = 9;

impl MongoStore {
    /// The server, its version and its kind.
    pub(super) async fn server(&self) -> Result<String, StoreError> {
        let action = "connect";
        let hello = self.command(action, READ_TIMEOUT, doc! { "isMaster": 1 }).await?;
        let build = self.command(action, READ_TIMEOUT, doc! { "buildInfo": 1 }).await?;
        let version = build.get_str("version").unwrap_or("of unknown version");
        if hello.get_i32("maxWireVersion").is_ok_and(|wire| wire < OLDEST_WIRE_VERSION) {
            let cause = format!("the server is MongoDB {version}");
            return Err(failure::denied(&self.at, action, "use a MongoDB server 4.4 or newer", cause));
        }
        let kind = match (hello.get_str("setName"), hello.get_str("msg")) {
            (Ok(set), _) => format!("replica set {set}"),
            (_, Ok("isdbgrid")) => "sharded".to_owned(),
            _ => "standalone".to_owned(),
        };
        Ok(format!("MongoDB {version} ({kind})"))
    }

    /// Is there a collection of that name?
    pub(super) async fn find_existence(&self) -> Result<Existence, StoreError> {
        let found = match self.collections(doc! { "name": &self.namespace.coll }).await {
            Ok(found) => found,
            // A user without the right to list collections may still have a right to this one.
            Err(StoreError::Denied { source, .. }) => return Ok(Existence::Unknown(source.to_string())),
            Err(error) => return Err(error),
        };
        let Some(Bson::Document(found)) = first_batch(&found).first() else { return self.absent().await };
        if matches!(found.get_str("type"), Ok("view")) {
            let cause = "it is a view".to_owned();
            return Err(failure::denied(&self.at, "write", "name the collection behind the view", cause));
        }
        Ok(Existence::There)
    }

    /// The names that there are instead.
    async fn absent(&self) -> Result<Existence, StoreError> {
        let found = self.collections(doc! { "name": { "$not": { "$regex": "^system\\." } } }).await?;
        let names = first_batch(&found).iter().filter_map(Bson::as_document);
        let names = names.filter_map(|one| one.get_str("name").ok().map(str::to_owned));
        Ok(Existence::Absent {
            collection: self.namespace.coll.clone(),
            database: self.namespace.db.clone(),
            others: nearest_first(&self.namespace.coll, names.collect()),
        })
    }

    async fn collections(&self, filter: Document) -> Result<Document, StoreError> {
        let command = doc! {
            "listCollections": 1,
            "filter": filter,
            "nameOnly": true,
            "authorizedCollections": true,
        };
        self.command("look for the collection", READ_TIMEOUT, command).await
    }

    /// Documents in the collection, by its metadata.
    pub(super) async fn estimate(&self) -> Result<u64, StoreError> {
        self.call("count documents", READ_TIMEOUT, |link| async move {
            link.collection.estimated_document_count().await
        })
        .await
    }

    /// Updates a document that can't be there: the server checks the permission, the role of the member and the
    /// majority, and nothing changes.
    pub(super) async fn probe_write(&self) -> Result<(), StoreError> {
        let statement = doc! {
            "q": { "_id": ObjectId::new() },
            "u": { "$set": { self.mapping.bookkeeping.as_str(): {} } },
            "upsert": false,
        };
        let command = update::command(&self.namespace.coll, vec![statement]);
        let reply = self.command("write to the collection", WRITE_TIMEOUT, command).await?;
        failure::read_update(&self.at, "write to the collection", &reply).map(drop)
    }

    /// Finds or creates the due index, and remembers its name.
    pub(super) async fn ensure_index(&self) -> Result<IndexState, StoreError> {
        let keys = doc! { format!("{}.due_at", self.mapping.bookkeeping): 1, "_id": 1 };
        let command = doc! { "listIndexes": &self.namespace.coll };
        let found = match self.command("list the indexes", READ_TIMEOUT, command).await {
            Ok(reply) => {
                let indexes = first_batch(&reply);
                let plain = by_id(indexes).is_some_and(|index| !index.contains_key("collation"));
                self.plain_texts.store(plain, Ordering::Relaxed);
                find_index(indexes, &keys)
            }
            // A user who may not list them may still be allowed to create one; creating it twice is no error.
            Err(StoreError::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(name) = found {
            self.remember_index(Some(name));
            return Ok(IndexState::Ready);
        }
        let command = doc! {
            "createIndexes": &self.namespace.coll,
            "indexes": [{ "key": keys.clone(), "name": INDEX_NAME }],
            "writeConcern": { "w": "majority" },
        };
        match self.command("create the due index", INDEX_TIMEOUT, command).await {
            Ok(reply) => {
                // Another process may have made it meanwhile.
                if reply.get("numIndexesBefore") != reply.get("numIndexesAfter") {
                    info!("made the index `{INDEX_NAME}` on {}", self.at);
                }
                self.remember_index(Some(INDEX_NAME.to_owned()));
                Ok(IndexState::Ready)
            }
            Err(StoreError::Denied { source, .. }) => {
                self.remember_index(None);
                Ok(IndexState::Missing { reason: source.to_string(), command: self.index_command(keys) })
            }
            Err(error) => Err(error),
        }
    }

    fn index_command(&self, keys: Document) -> String {
        let keys = Bson::Document(keys).into_relaxed_extjson();
        format!("{}.createIndex({keys}, {{ name: \"{INDEX_NAME}\" }})", self.shell_name())
    }

    /// The collection in `mongosh`.
    pub(super) fn shell_name(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (database, collection) = (quoted(&self.namespace.db), quoted(&self.namespace.coll));
        format!("db.getSiblingDB({database}).getCollection({collection})")
    }
}

pub(super) fn first_batch(reply: &Document) -> &[Bson] {
    let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    batch.map(Vec::as_slice).unwrap_or_default()
}

/// The names by how near they are to the wanted one, and then in their order.
fn nearest_first(wanted: &str, mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.sort_by_key(|name| strsim::damerau_levenshtein(wanted, name));
    names
}

/// The name of an index that has every document under these keys, in this order, and with the collection's collation.
fn find_index(indexes: &[Bson], keys: &Document) -> Option<String> {
    let collation = by_id(indexes).and_then(|index| index.get("collation"));
    let mut same =
        indexes.iter().filter_map(Bson::as_document).filter(|index| index.get("collation") == collation);
    same.find_map(|index| usable(index, keys))
}

/// The index that every collection has; its collation is the collection's.
fn by_id(indexes: &[Bson]) -> Option<&Document> {
    let mut indexes = indexes.iter().filter_map(Bson::as_document);
    indexes.find(|index| matches!(index.get_str("name"), Ok("_id_")))
}

fn usable(index: &Document, keys: &Document) -> Option<String> {
    let direction = |value: &Bson| match value {
        Bson::Int32(1) | Bson::Int64(1) => true,
        Bson::Double(number) => (*number - 1.0).abs() < f64::EPSILON,
        _ => false,
    };
    let found = index.get_document("key").ok()?;
    let same = found.keys().eq(keys.keys()) && found.values().all(direction);
    let partial = ["partialFilterExpression", "sparse", "hidden"].iter().any(|name| index.contains_key(name));
    (same && !partial).then(|| index.get_str("name").map(str::to_owned).ok()).flatten()
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
