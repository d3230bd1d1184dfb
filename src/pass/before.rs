//! What is asked before the first pass: is the store there, and is it the one that the journal's rows belong to?

use super::insist::{START_PATIENCE, Turn, insist};
use super::{Base, PassError, Stop};
use crate::failure::error_chain;
use crate::journal::Adoption;
use crate::store::{Existence, Identity, Readiness, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, warn};

impl Base {
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

    /// What the journal holds of another store, and which store this is. Changes nothing.
    ///
    /// # Errors
    /// [`PassError`] when the store or the journal isn't there.
    pub async fn adoptable(&self) -> Result<(Identity, Adoption), PassError> {
        must_exist(&self.prepare(&CancellationToken::new()).await?.existence)?;
        let here = self.identity(&CancellationToken::new()).await?;
        let adoption = self.journal.adoptable(&here).await?;
        Ok((here, adoption))
    }

    /// Makes all rows of the journal those of this store, because a person says so; returns what was another store's.
    ///
    /// # Errors
    /// [`PassError`] when the store or the journal isn't there.
    pub async fn adopt_store(&self) -> Result<Adoption, PassError> {
        let (here, _) = self.adoptable().await?;
        Ok(self.journal.adopt_store(&here).await?)
    }

    /// Prepares the store for a pass and says what it found; `None` when a stop came first. Nothing was claimed or
    /// redeemed by then, so nothing is lost by not waiting.
    ///
    /// # Errors
    /// [`StoreError`]; one that says that the store is away only after it was waited for.
    pub async fn prepare_unless(&self, stop: &Stop) -> Result<Option<Readiness>, StoreError> {
        let stopped = &stop.take_no_more;
        match stopped.run_until_cancelled(self.prepare(stopped)).await {
            Some(Err(StoreError::Unavailable { .. })) if stopped.is_cancelled() => Ok(None),
            prepared => prepared.transpose(),
        }
    }

    async fn prepare(&self, end: &CancellationToken) -> Result<Readiness, StoreError> {
        let readiness = self.ask_patiently(end, |base| async move { base.store.prepare().await }).await?;
        self.ask_patiently(end, |base| async move { base.set_clock().await }).await?;
        Ok(readiness)
    }

    /// Asks the store something before a pass begins, and waits for one that is away.
    async fn ask_patiently<T: Send + 'static, F>(
        &self,
        end: &CancellationToken,
        ask: impl Fn(Self) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let call = || async {
            // A task of its own, because a store's method must run to completion.
            match tokio::spawn(ask(self.clone()).in_current_span()).await {
                Ok(answer) => answer,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        };
        let turn = |turn: Turn<'_>| match turn {
            Turn::Back => info!(store = self.store.describe(), "the store is there"),
            Turn::Away { error, first: true } => {
                warn!(error = %error_chain(error), "the store is not available; waiting for it");
            }
            Turn::Away { error, first: false } => {
                debug!(error = %error_chain(error), "the store is still not available");
            }
        };
        insist(START_PATIENCE, end, call, turn).await
    }

    async fn identity(&self, end: &CancellationToken) -> Result<Identity, StoreError> {
        self.ask_patiently(end, |base| async move { base.store.identity().await }).await
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
