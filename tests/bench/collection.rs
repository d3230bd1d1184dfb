//! The documents of one measurement, in either store.

use crate::mongod;
use bson::{Document, doc};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::sqlite::SqliteStore;
use evergrant::testing::store::{self, Store, StoreSettings};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Documents inserted at once.
const BATCH: usize = 5000;

/// Its name in a MongoDB database.
pub(crate) const NAME: &str = "tokens";

/// Where the documents of one measurement are.
#[derive(Clone)]
pub(crate) struct Collection {
    pub(crate) url: String,
    pub(crate) database: String,
    /// Which field names the provider.
    pub(crate) provider: Option<&'static str>,
}

impl Collection {
    /// A collection of a real server; `None` where there is none.
    pub(crate) fn mongo(test: &str) -> Option<Self> {
        Some(Self { url: mongod::uri()?.to_owned(), database: mongod::database_name(test), provider: None })
    }

    /// A SQLite file in `folder`.
    pub(crate) fn sqlite(folder: &Path) -> Self {
        Self {
            url: format!("sqlite:{}", folder.join("tokens.db").display()),
            database: String::new(),
            provider: None,
        }
    }

    fn settings(&self) -> StoreSettings {
        StoreSettings {
            url: self.url.clone().into(),
            database: Some(self.database.clone()),
            collection: NAME.to_owned(),
            mapping: self.mapping(),
        }
    }

    fn mapping(&self) -> Mapping {
        Mapping { provider: self.provider.map(|field| field.parse().unwrap()), ..Mapping::default() }
    }

    /// The store as the program opens it, with its index.
    pub(crate) async fn open(&self, concurrency: usize) -> Arc<dyn Store> {
        let store = store::connect(&self.settings(), concurrency).await.unwrap();
        store.prepare().await.unwrap();
        store
    }

    /// The collection as the driver shows it.
    pub(crate) async fn raw(&self) -> mongodb::Collection<Document> {
        let client = mongodb::Client::with_uri_str(&self.url).await.unwrap();
        client.database(&self.database).collection(NAME)
    }

    pub(crate) async fn fill(&self, documents: Vec<Map<String, Value>>) {
        if let Some(path) = store::sqlite_path(&self.url) {
            let file = SqliteStore::open(Path::new(path), self.mapping()).await.unwrap();
            for batch in documents.chunks(BATCH) {
                file.import(batch.to_vec()).await.unwrap();
            }
            return;
        }
        let raw = self.raw().await;
        let mut documents = documents.into_iter().map(|document| Document::try_from(document).unwrap());
        loop {
            let batch: Vec<_> = documents.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return;
            }
            raw.insert_many(batch).ordered(false).await.unwrap();
        }
    }

    /// Removes a database from the server, so that the next measurement meets an empty one.
    pub(crate) async fn drop(&self) {
        if store::sqlite_path(&self.url).is_none() {
            let database = self.raw().await.client().database(&self.database);
            database.run_command(doc! { "dropDatabase": 1 }).await.unwrap();
        }
    }
}
