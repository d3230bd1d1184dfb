//! Who has something to do: asked of the store and the journal before any pass begins.

use super::{Base, PassError, Whose};
use crate::journal::JournalError;
use crate::provider::Provider;
use crate::provider::keep::Keep;
use crate::select::ClaimTerms;
use crate::store::{Waiting, Waits, WhoWaits};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::Instrument as _;

/// Who has something to do.
#[derive(Debug, Clone, Default)]
pub struct Todo {
    waiting: Waiting,
    by_name: bool,
    /// Those whose pass looks through all of its documents.
    looks: HashSet<Arc<str>>,
}

impl Todo {
    /// What waits for a pass over these documents; `None` where it would find nothing.
    #[must_use]
    pub fn of(&self, whose: &Whose) -> Option<Waits> {
        let name = whose.name();
        if self.looks.contains(&name) {
            return Some(Waits::Work);
        }
        match whose {
            Whose::Provider(_) if self.by_name => self.waiting.providers.get(&*name).copied(),
            Whose::Provider(_) | Whose::Strangers => self.waiting.others,
            Whose::Rows => None,
        }
    }
}

impl Base {
    /// Finds out which of these passes have something to do: by a few questions to the store, however many there are.
    ///
    /// # Errors
    /// [`PassError`] when store or journal can't be asked.
    pub async fn todo(&self, work: &[Whose]) -> Result<Todo, PassError> {
        let (now, by_name) = (self.clock.now(), self.settings.documents_name_provider);
        let who = WhoWaits {
            due_by: now,
            now: ClaimTerms::takes_over(self.settings.lease, &self.clock),
            providers: if by_name { self.provider_names() } else { Vec::new() },
        };
        let store = self.store.clone();
        // A task of its own, because a store's method must run to completion.
        let asked = tokio::spawn(async move { store.waiting(&who).await }.in_current_span());
        let waiting = match asked.await {
            Ok(waiting) => waiting?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        Ok(Todo { waiting, by_name, looks: self.who_looks(work).await? })
    }

    /// Whose next pass looks through the whole collection, due or not: as [`Line::looks`](super::Line) will find.
    async fn who_looks(&self, work: &[Whose]) -> Result<HashSet<Arc<str>>, PassError> {
        let (base, counters) = (self.clone(), work.iter().filter_map(Whose::counter).cloned().collect());
        // A task of its own, because a store's method must run to completion.
        let asked = tokio::spawn(async move { base.who_has_void_dates(counters).await }.in_current_span());
        let mut looks: HashSet<Arc<str>> = match asked.await {
            Ok(found) => found?.into_iter().collect(),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        for whose in work {
            if self.looks_for_late_access(whose).await? {
                looks.insert(whose.name());
            }
        }
        Ok(looks)
    }

    async fn looks_for_late_access(&self, whose: &Whose) -> Result<bool, JournalError> {
        let Some(counter) = whose.counter() else { return Ok(false) };
        let Some(keeping) = self.keeping(&counter.provider) else { return Ok(false) };
        // Within a process the settings stay as they are.
        if counter.keeps_in_time.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let known = self.journal.keeping(&counter.provider.name).await?;
        let is_known = known.as_ref() == Some(&keeping);
        counter.keeps_in_time.store(is_known, Ordering::Relaxed);
        Ok(!is_known)
    }

    /// The settings on which the due time of an access token depends, as one text; `None` where it isn't kept good.
    pub(super) fn keeping(&self, provider: &Provider) -> Option<String> {
        let profile = &provider.profile;
        let wakes = self.settings.wakes.as_ref().filter(|_| profile.keep == Keep::Access)?;
        let life = profile.access_token_lifetime.map_or(0, |life| life.as_secs());
        let timeout = profile.request_timeout.as_secs();
        let rate = profile.rate.map(|rate| rate.to_string()).unwrap_or_default();
        Some(format!("access, {}, {life} s, {timeout} s, {rate}", wakes.schedule()))
    }
}
