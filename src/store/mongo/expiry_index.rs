//! The index by which logins are counted by state and end: with the provider first, where documents name one.
//!
//! Only the survey needs it. Without it there is no survey: a pass never waits for it.

use super::MongoStore;
use super::due_index::find_index;
use crate::store::{IndexState, Mapping, StoreError};
use bson::{Bson, Document, doc};
use std::sync::PoisonError;
use std::time::Duration;
use tracing::info;

/// The name of the index that we create; one with the same keys under another name does as well.
const NAME: &str = "evergrant_expiry";

/// The same where a provider field is mapped.
const BY_PROVIDER: &str = "evergrant_provider_expiry";

/// Longest wait for it: building it on tens of millions of documents takes minutes.
const INDEX_TIMEOUT: Duration = Duration::from_mins(30);

/// The name of the index, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ExpiryIndex {
    /// Not looked for, or not found and not made either.
    Unknown,
    /// There, under this name.
    Named(String),
    /// We may not create it: why, and the command to run.
    Missing { reason: String, command: String },
}

impl MongoStore {
    fn expiry_index(&self) -> ExpiryIndex {
        self.expiry_index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn remember_expiry_index(&self, index: ExpiryIndex) {
        *self.expiry_index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// The name of the index, or why there is none; looks for one that isn't known, and makes none.
    pub(super) async fn known_expiry_index(&self) -> Result<ExpiryIndex, StoreError> {
        let known = self.expiry_index();
        if known != ExpiryIndex::Unknown {
            return Ok(known);
        }
        let found = find_index(&self.indexes().await?, &keys(&self.mapping).0);
        let found = found.map_or(ExpiryIndex::Unknown, ExpiryIndex::Named);
        self.remember_expiry_index(found.clone());
        Ok(found)
    }

    /// Finds or creates the index among those that are there, and remembers its name.
    pub(super) async fn ensure_expiry_index(&self, there: &[Bson]) -> Result<IndexState, StoreError> {
        let (keys, name) = keys(&self.mapping);
        if let Some(index) = find_index(there, &keys) {
            self.remember_expiry_index(ExpiryIndex::Named(index));
            return Ok(IndexState::Ready);
        }
        self.remember_expiry_index(ExpiryIndex::Unknown);
        let command = doc! {
            "createIndexes": &self.namespace.coll,
            "indexes": [{ "key": keys.clone(), "name": name }],
            "writeConcern": { "w": "majority" },
        };
        match self.command("create the expiry index", INDEX_TIMEOUT, command).await {
            Ok(reply) => {
                self.remember_expiry_index(ExpiryIndex::Named(name.to_owned()));
                if reply.get("numIndexesBefore") != reply.get("numIndexesAfter") {
                    info!("made the index `{name}` on {}", self.at);
                }
                Ok(IndexState::Ready)
            }
            Err(StoreError::Denied { source, .. }) => {
                let (reason, command) = (source.to_string(), self.index_command(keys, name));
                let missing = ExpiryIndex::Missing { reason: reason.clone(), command: command.clone() };
                self.remember_expiry_index(missing);
                Ok(IndexState::Missing { reason, command })
            }
            Err(error) => Err(error),
        }
    }
}

/// The keys of the index, and the name under which we create it.
fn keys(mapping: &Mapping) -> (Document, &'static str) {
    let ours = |name: &str| format!("{}.{name}", mapping.bookkeeping);
    let rest = doc! { ours("state"): 1, ours("refresh_expires_at"): 1 };
    let Some(provider) = &mapping.provider else { return (rest, NAME) };
    let mut keys = doc! { provider.as_str(): 1 };
    keys.extend(rest);
    (keys, BY_PROVIDER)
}
