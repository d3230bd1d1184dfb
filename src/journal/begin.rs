//! A process and its passes begin: over their own store, in their own place.

use super::{Adoption, Begun, FILE_NAME, Journal, JournalError, OtherStore, owner, place, sqlite};
use crate::clock::Timestamp;
use crate::store::Identity;
use std::path::Path;
use std::sync::Arc;

impl Journal {
    /// Notes that this process works over `store`; called before its first pass. All that is unfinished is of processes that are
    /// gone, because we hold their journal.
    ///
    /// Rows of another store are never mixed with this one's: a document that isn't here may well be there.
    pub async fn begin_process(&self, store: &Identity) -> Result<Begun, JournalError> {
        self.must_be_in_its_place().await?;
        let store = store.clone();
        self.ask(|reply| owner::Request::BeginProcess { store, reply }).await
    }

    /// Notes that a pass over `store` claims documents of this provider with this lease id. Passes of other providers may
    /// be at work, and one of this provider must not be: what is unfinished is of passes of this provider that have ended.
    pub async fn begin_pass(
        &self,
        lease_id: &str,
        store: &Identity,
        provider: Arc<str>,
        at: Timestamp,
    ) -> Result<Begun, JournalError> {
        self.must_be_in_its_place().await?;
        let (lease_id, store) = (lease_id.to_owned(), store.clone());
        self.ask(|reply| owner::Request::BeginPass { lease_id, store, provider, at, reply }).await
    }

    /// Refuses where the state directory was moved or replaced since the journal was opened.
    async fn must_be_in_its_place(&self) -> Result<(), JournalError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let places = self.places.clone();
        // The thread panics for no reason of its own.
        tokio::task::spawn_blocking(move || places.check()).await.map_err(|_| JournalError::Stopped)?
    }

    /// Is the directory one in which a journal may be kept? One that isn't there is made. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Foreign`] where it, or a link to it, belongs to another user.
    pub fn may_be_in(directory: &Path) -> Result<(), JournalError> {
        place::must_be_ours(directory)
    }

    /// Asks what [`Journal::begin_pass`] would say of another store, and notes nothing.
    pub async fn other_store(&self, here: &Identity) -> Result<Option<OtherStore>, JournalError> {
        self.ask(|reply| owner::Request::OtherStore(here.clone(), reply)).await
    }

    /// Asks the same as [`Journal::other_store`] of a journal that another process may hold. Blocks on the disk.
    pub fn look_for_other_store(
        directory: &Path,
        here: &Identity,
    ) -> Result<Option<OtherStore>, JournalError> {
        sqlite::look_for_other_store(&directory.join(FILE_NAME), here)
    }

    /// What [`Journal::adopt_store`] would make this store's, and whose that is now.
    pub async fn adoptable(&self, here: &Identity) -> Result<Adoption, JournalError> {
        self.ask(|reply| owner::Request::Adoptable(here.clone(), reply)).await
    }

    /// Makes all rows those of this store, because a person says so, in one step; returns what was another store's.
    pub async fn adopt_store(&self, here: &Identity) -> Result<Adoption, JournalError> {
        self.ask(|reply| owner::Request::AdoptStore(here.clone(), reply)).await
    }

    /// Notes that what was claimed with this lease id has been given back.
    pub async fn finish_pass(&self, lease_id: &str, at: Timestamp) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::FinishPass(lease_id.to_owned(), at, reply)).await
    }
}
