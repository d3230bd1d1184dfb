//! Both stores behind one face, and the words that the tests use.

use crate::support::mongod;
use bson::{Bson, Document, doc};
use chrono::DateTime;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{
    Claim, DueQuery, ProviderFilter, Store, StoreSettings, connect,
    mapping::{FieldPath, Mapping},
    sqlite::SqliteStore,
};
use evergrant::testing::token::{Lease, TokenDocument, TokenId};
use futures::TryStreamExt as _;
use mongodb::{Client, Collection};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The collection of every test.
pub(crate) const COLLECTION: &str = "tokens";

/// A store with nothing in it, and a way around it.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn Store>,
    settings: StoreSettings,
    behind: Behind,
}

enum Behind {
    Mongo(Collection<Document>),
    Sqlite { store: SqliteStore, _folder: tempfile::TempDir },
}

/// Both stores, or the one where there is no MongoDB; the due index is there.
pub(crate) async fn both(test: &str, mapping: Mapping) -> Vec<Backend> {
    let mut all = vec![sqlite(mapping.clone()).await];
    all.extend(mongo(test, mapping).await);
    all
}

pub(crate) async fn sqlite(mapping: Mapping) -> Backend {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.db");
    let settings = settings(&format!("sqlite:{}", path.display()), None, mapping.clone());
    let store = SqliteStore::open(&path, mapping).await.unwrap();
    Backend { store: Arc::new(store.clone()), settings, behind: Behind::Sqlite { store, _folder: folder } }
}

pub(crate) async fn mongo(test: &str, mapping: Mapping) -> Option<Backend> {
    mongo_at(&mongod::uri_as(test)?, test, mapping).await
}

pub(crate) async fn mongo_at(uri: &str, test: &str, mapping: Mapping) -> Option<Backend> {
    Some(mongo_beside(uri, mongod::uri()?, test, mapping).await)
}

/// A store at `uri`; the way around it leads over `around`, to the same server.
pub(crate) async fn mongo_beside(uri: &str, around: &str, test: &str, mapping: Mapping) -> Backend {
    let name = mongod::database_name(test);
    let database = Client::with_uri_str(around).await.unwrap().database(&name);
    database.create_collection(COLLECTION).await.unwrap();
    let settings = settings(uri, Some(&name), mapping);
    let store = connect(&settings, 8).await.unwrap();
    store.prepare().await.unwrap();
    Backend { store, settings, behind: Behind::Mongo(database.collection(COLLECTION)) }
}

pub(crate) fn settings(url: &str, database: Option<&str>, mapping: Mapping) -> StoreSettings {
    StoreSettings {
        url: url.to_owned().into(),
        database: database.map(str::to_owned),
        collection: COLLECTION.to_owned(),
        mapping,
    }
}

impl Backend {
    pub(crate) fn is_mongo(&self) -> bool {
        matches!(self.behind, Behind::Mongo(_))
    }

    pub(crate) fn collection(&self) -> &Collection<Document> {
        match &self.behind {
            Behind::Mongo(collection) => collection,
            Behind::Sqlite { .. } => panic!("a MongoDB"),
        }
    }

    /// Lets the store be reached by another way: over a line that may break. Nothing is sent yet.
    pub(crate) async fn reach_by(&mut self, url: &str) {
        self.settings.url = url.to_owned().into();
        self.store = connect(&self.settings, 8).await.unwrap();
    }

    /// Opens the same store once more, as another process does.
    pub(crate) async fn open_again(&self) -> Arc<dyn Store> {
        connect(&self.settings, 8).await.unwrap()
    }

    /// What [`connect`] needs for it.
    pub(crate) fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Sets top-level fields, as the application does: none of our own.
    pub(crate) async fn set(&self, id: &TokenId, fields: Value) {
        let Value::Object(fields) = fields else { panic!("an object") };
        match &self.behind {
            Behind::Mongo(collection) => {
                let fields: Document = fields.try_into().unwrap();
                let done = collection.update_one(by_id(id), doc! { "$set": fields }).await.unwrap();
                assert_eq!(done.matched_count, 1);
            }
            Behind::Sqlite { .. } => {
                for (name, value) in fields {
                    let sql = "UPDATE documents SET fields = json_set(fields, ?2, json(?3)) WHERE id = ?1";
                    self.execute(sql, [id.as_str(), &format!("$.{name}"), &value.to_string()]);
                }
            }
        }
    }

    /// Deletes a document, as the application does.
    pub(crate) async fn delete(&self, id: &TokenId) {
        match &self.behind {
            Behind::Mongo(collection) => {
                assert_eq!(collection.delete_one(by_id(id)).await.unwrap().deleted_count, 1);
            }
            Behind::Sqlite { .. } => self.execute("DELETE FROM documents WHERE id = ?1", [id.as_str()]),
        }
    }

    fn execute<const N: usize>(&self, sql: &str, parameters: [&str; N]) {
        let path =
            evergrant::testing::store::sqlite_path(self.settings.url.expose_secret()).unwrap().to_owned();
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(connection.execute(sql, rusqlite::params_from_iter(parameters)).unwrap(), 1);
    }

    /// The text that the embedded store keeps for the document with this number as `_id`.
    pub(crate) fn text_of(&self, number: i64) -> String {
        let path =
            evergrant::testing::store::sqlite_path(self.settings.url.expose_secret()).unwrap().to_owned();
        let connection = rusqlite::Connection::open(path).unwrap();
        let id = format!(r#"{{"$numberInt":"{number}"}}"#);
        connection.query_row("SELECT fields FROM documents WHERE id = ?1", [id], |row| row.get(0)).unwrap()
    }

    /// Every whole document, as relaxed extended JSON, in `_id` order.
    pub(crate) async fn all(&self) -> Vec<Value> {
        match &self.behind {
            Behind::Mongo(collection) => {
                let found = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
                let found: Vec<Document> = found.try_collect().await.unwrap();
                found.into_iter().map(|document| Bson::Document(document).into_relaxed_extjson()).collect()
            }
            Behind::Sqlite { store, .. } => {
                let all = store.export(None, 10_000).await.unwrap().documents;
                all.into_iter().map(Value::Object).collect()
            }
        }
    }

    /// Puts documents in, as extended JSON.
    pub(crate) async fn insert(&self, documents: impl IntoIterator<Item = Value>) {
        let documents = documents.into_iter().map(|document| match document {
            Value::Object(document) => document,
            other => panic!("an object, not {other}"),
        });
        match &self.behind {
            Behind::Sqlite { store, .. } => drop(store.import(documents.collect()).await.unwrap()),
            Behind::Mongo(collection) => {
                let documents: Vec<Document> = documents.map(|one| one.try_into().unwrap()).collect();
                collection.insert_many(documents).await.unwrap();
            }
        }
    }

    /// The whole document, as relaxed extended JSON.
    pub(crate) async fn whole(&self, id: &TokenId) -> Option<Value> {
        let wanted: Value = serde_json::from_str(id.as_str()).unwrap();
        let wanted = Bson::try_from(wanted).unwrap();
        match &self.behind {
            Behind::Mongo(collection) => {
                let found = collection.find_one(doc! { "_id": wanted }).await.unwrap();
                found.map(|document| Bson::Document(document).into_relaxed_extjson())
            }
            Behind::Sqlite { store, .. } => {
                let all = store.export(None, 10_000).await.unwrap().documents;
                let is_wanted =
                    |one: &Map<String, Value>| Bson::try_from(one["_id"].clone()).unwrap() == wanted;
                all.into_iter().find(is_wanted).map(Value::Object)
            }
        }
    }

    pub(crate) async fn read(&self, id: &TokenId) -> TokenDocument {
        self.store.read(std::slice::from_ref(id)).await.unwrap().pop().unwrap()
    }

    /// Every page of the query, `limit` at a time.
    pub(crate) async fn drain(&self, query: &DueQuery) -> Vec<TokenDocument> {
        let (mut query, mut all) = (query.clone(), Vec::new());
        loop {
            let page = self.store.due_page(&query).await.unwrap();
            assert!(page.documents.len() <= query.limit);
            all.extend(page.documents);
            assert!(all.len() < 10_000, "the pages never end");
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }

    /// The ids of every due document, in order.
    pub(crate) async fn due(&self, query: &DueQuery) -> Vec<TokenId> {
        self.drain(query).await.into_iter().map(|document| document.id).collect()
    }
}

fn by_id(id: &TokenId) -> Document {
    let id: Value = serde_json::from_str(id.as_str()).unwrap();
    doc! { "_id": Bson::try_from(id).unwrap() }
}

/// So many seconds after the tests' epoch, which is the "now" of most of them.
pub(crate) fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// [`at`] as extended JSON.
pub(crate) fn date(seconds: i64) -> Value {
    json!({ "$date": at(seconds).to_rfc3339_opts(chrono::SecondsFormat::Secs, true) })
}

pub(crate) fn id(extended: &Value) -> TokenId {
    let value = Bson::try_from(extended.clone()).unwrap();
    TokenId::from_extended_json(value.into_canonical_extjson().to_string())
}

pub(crate) fn path(text: &str) -> FieldPath {
    text.parse().unwrap()
}

/// Everything due at [`at`]`(0)`.
pub(crate) fn due_now(limit: usize) -> DueQuery {
    DueQuery {
        due_by: at(0),
        due_after: None,
        force: false,
        now: at(0),
        limit,
        after: None,
        providers: ProviderFilter::Any,
    }
}

pub(crate) fn lease(id: &str, until: i64) -> Lease {
    Lease { id: id.to_owned(), owner: "host:1".to_owned(), until: at(until), taken_over: false, by: None }
}

/// A claim at `now` of what is due then. The server's clock has no say in it: the tests' times are made up.
pub(crate) fn claim(ids: &[TokenId], lease: Lease, now: i64) -> Claim {
    Claim {
        ids: ids.to_vec(),
        lease,
        due_by: Some(at(now)),
        now: at(now),
        over: Vec::new(),
        ended_for: -chrono::TimeDelta::days(36_500),
    }
}

/// A token document with this `_id` and these further fields.
pub(crate) fn login(id: &Value, more: Value) -> Value {
    let mut document = json!({ "_id": id, "email": "a@b", "refresh_token": "old", "access_token": "a" });
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    document
}
