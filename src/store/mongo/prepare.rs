//! Finds out before the first grant whether a pass can work.

use super::due_index::DueIndexes;
use super::query::due_conditions;
use super::{COUNT_TIMEOUT, MongoStore, READ_TIMEOUT, WRITE_TIMEOUT, failure, update};
use crate::clock::Timestamp;
use crate::store::{DueQuery, Existence, StoreError};
use bson::{Bson, Document, doc, oid::ObjectId};
use mongodb::options::Hint;

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

    /// The server's clock. Every server has told it since 2.0.
    pub(super) async fn server_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let hello = self.command("ask for the time", READ_TIMEOUT, doc! { "isMaster": 1 }).await?;
        let at = hello.get_datetime("localTime").ok();
        Ok(at.and_then(|at| chrono::DateTime::from_timestamp_millis(at.timestamp_millis())))
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

    /// See [`Store::count_due`](crate::store::Store::count_due).
    pub(super) async fn count_due_by_index(&self, query: &DueQuery) -> Result<u64, StoreError> {
        let count = |index: Option<String>| {
            let conditions = due_conditions(&self.mapping, self.filter.as_ref(), query);
            self.call("count due documents", READ_TIMEOUT, |link| async move {
                let counting = link.collection.count_documents(conditions).max_time(COUNT_TIMEOUT);
                match index {
                    Some(index) => counting.hint(Hint::Name(index)).await,
                    None => counting.await,
                }
            })
        };
        let indexes = self.due_indexes();
        let index = indexes.hint_for(&query.providers).filter(|_| !query.force).map(str::to_owned);
        match count(index.clone()).await {
            // The index was dropped since `prepare`: the hint is refused, the scan is not.
            Err(error) if index.is_some() && failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_indexes(DueIndexes::default());
                count(None).await
            }
            counted => counted,
        }
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
