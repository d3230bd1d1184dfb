//! What is asked before the first pass: is the store there, and is it the one that the journal's rows belong to?

use super::{Pass, PassError, Stop};
use crate::journal::Adopted;
use crate::store::{Existence, Identity, Readiness, StoreError};
use tokio_util::sync::CancellationToken;

impl Pass {
    /// Prepares the store, and asks what would keep a pass from beginning; `None` when a stop came first. A collection
    /// that isn't there is refused, unless `allow_empty`.
    ///
    /// # Errors
    /// [`PassError`]. Nothing is claimed or redeemed by then.
    pub async fn ready(&self, stop: &Stop, allow_empty: bool) -> Result<Option<Readiness>, PassError> {
        let Some(readiness) = self.prepare_unless(stop).await? else { return Ok(None) };
        if !allow_empty {
            must_exist(&readiness.existence)?;
        }
        let here = match self.identity(&stop.take_no_more).await {
            Err(StoreError::Unavailable { .. }) if stop.take_no_more.is_cancelled() => return Ok(None),
            identity => identity?,
        };
        match self.journal.other_store(&here).await? {
            Some(other) => Err(PassError::other_store(self.journal.directory(), other, &here)),
            None => Ok(Some(readiness)),
        }
    }

    /// Makes all rows of the journal those of this store, because a person says so; `None` when they are already.
    ///
    /// # Errors
    /// [`PassError`] when the store or the journal isn't there.
    pub async fn adopt_store(&self) -> Result<Option<Adopted>, PassError> {
        must_exist(&self.prepare(&CancellationToken::new()).await?.existence)?;
        let here = self.identity(&CancellationToken::new()).await?;
        Ok(self.journal.adopt_store(&here).await?)
    }

    async fn identity(&self, end: &CancellationToken) -> Result<Identity, StoreError> {
        self.ask_patiently(end, |store| async move { store.identity().await }).await
    }
}

/// Refuses a collection that isn't there.
///
/// # Errors
/// [`PassError::NoCollection`], with the names of those that are.
pub fn must_exist(existence: &Existence) -> Result<(), PassError> {
    match existence {
        Existence::There | Existence::Unknown(_) => Ok(()),
        Existence::Absent { collection, database, others } => Err(PassError::NoCollection {
            collection: collection.clone(),
            database: database.clone(),
            others: others.clone(),
        }),
    }
}
