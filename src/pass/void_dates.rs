//! Due dates that no life explains are void: their documents are due now, and that is said.

use super::span::document_span;
use super::{Base, Counter, Line};
use crate::clock::Timestamp;
use crate::failure::error_chain;
use crate::select::{ClaimTerms, Latest};
use crate::store::{Change, DuePage, DueQuery, Fence, Position, StoreError};
use crate::token::{Bookkeeping, TokenDocument};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// Documents read and written at once.
const BATCH: usize = 500;

/// How often a process looks for void due dates of a provider: once found, they are gone, and only another wrong clock makes more.
const LOOKS_EVERY: Duration = Duration::from_hours(1);

/// Said where a look fails, of which all that is due goes on without it.
const UNSEARCHABLE: &str = "the store can't be searched for void due dates; it is searched again in an hour";

impl Counter {
    /// Is it time to look for void due dates?
    pub(super) fn looks_for_void_dates(&self) -> bool {
        self.void_dates().is_none_or(|looked_at| looked_at.elapsed() >= LOOKS_EVERY)
    }

    fn latest(&self, base: &Base) -> Latest {
        let settings = &base.settings;
        let assumed_life = settings.assumed_life.or_else(|| self.assumed_life());
        let profile = &self.provider.profile;
        Latest::of(profile, self.learned(), assumed_life, settings.renew_after, settings.longest_backoff)
    }
}

impl Base {
    /// Those of these providers that have a document whose due date is void, so far as it is time to look for that. One question
    /// rules out nearly all of them. Must run to completion.
    pub(super) async fn who_has_void_dates(
        &self,
        counters: Vec<Arc<Counter>>,
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let look: Vec<_> = counters.into_iter().filter(|counter| counter.looks_for_void_dates()).collect();
        let mut found = Vec::new();
        if look.is_empty() {
            return Ok(found);
        }
        let names: Vec<_> = look.iter().map(|counter| counter.provider.name.to_string()).collect();
        let (last, now) = (self.store.latest_due(&names).await?, self.clock.now());
        for counter in look {
            let (latest, name) = (counter.latest(self), &counter.provider.name);
            let is_late = last.get(&**name).is_some_and(|last| *last > latest.looks_after(now).at);
            let has_some = if is_late { self.has_void_dates(&counter, latest, now).await } else { Ok(false) };
            match has_some {
                Ok(true) => found.push(name.clone()),
                Ok(false) => counter.looked_for_void_dates(),
                Err(error) => {
                    debug!(error = %error_chain(&error), "{UNSEARCHABLE}");
                    counter.looked_for_void_dates();
                }
            }
        }
        Ok(found)
    }

    async fn has_void_dates(
        &self,
        counter: &Counter,
        latest: Latest,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let page = self.due_unexplained(counter, latest, now, BATCH, after).await?;
            if page.documents.iter().any(|document| latest.is_void(&document.bookkeeping, now)) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }

    async fn due_unexplained(
        &self,
        counter: &Counter,
        latest: Latest,
        now: Timestamp,
        limit: usize,
        after: Option<Position>,
    ) -> Result<DuePage, StoreError> {
        let query = DueQuery {
            due_by: Timestamp::MAX_UTC,
            due_after: Some(latest.looks_after(now)),
            force: false,
            now: ClaimTerms::takes_over(self.settings.lease, &self.clock),
            limit,
            after,
            providers: self.filter(&counter.provider),
        };
        self.store.due_page(&query).await
    }
}

impl Line {
    /// Makes those documents due in this pass whose due dates are void. A store that can't be searched for them, or not in time,
    /// holds up no pass: the lane finds out by itself where the store is away.
    pub(super) async fn mend_void_dates(&self) {
        let counter = self.whose.counter().filter(|counter| counter.looks_for_void_dates());
        let Some(counter) = counter.filter(|_| self.terms.only.is_none()) else { return };
        let (mut mended, mut first) = (0, None);
        if let Err(error) = self.look_for_void_dates(counter, &mut mended, &mut first).await {
            debug!(error = %error_chain(&error), "{UNSEARCHABLE}");
        }
        counter.looked_for_void_dates();
        if let Some(document) = first {
            self.tell_void(mended, &document);
        }
    }

    async fn look_for_void_dates(
        &self,
        counter: &Counter,
        mended: &mut u64,
        first: &mut Option<TokenDocument>,
    ) -> Result<(), StoreError> {
        let (latest, now) = (counter.latest(&self.base), self.base.clock.now());
        let mut after = None;
        loop {
            let page = self.base.due_unexplained(counter, latest, now, BATCH, after).await?;
            let is_void = |document: &&TokenDocument| latest.is_void(&document.bookkeeping, now);
            let void: Vec<_> = page.documents.iter().filter(is_void).collect();
            let changes: Vec<_> = void.iter().map(|document| self.due_now(document)).collect();
            if !changes.is_empty() {
                let applied = self.insist_at_the_start(|| self.base.store.apply(&changes)).await?;
                *mended += (changes.len() - applied.refused.len()) as u64;
                *first = first.take().or_else(|| void.first().map(|document| (*document).clone()));
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn due_now(&self, document: &TokenDocument) -> Change {
        let due_at = Some(self.policy.due_by);
        // A provider may keep the refresh token: the due date alone says whether another process has worked on it since.
        Change {
            id: document.id.clone(),
            expect_refresh_token: document.refresh_token.as_ref().ok().cloned(),
            expect_lease: document.bookkeeping.due_at.map_or(Fence::Unclaimed, Fence::Due),
            pair: None,
            bookkeeping: Bookkeeping { due_at, ..document.bookkeeping.clone() },
        }
    }

    fn tell_void(&self, documents: u64, example: &TokenDocument) {
        let (subject, provider) = (&example.subject, self.provider_name(example));
        let _about = document_span(provider.as_deref(), &example.id, subject).entered();
        let due_at = example.bookkeeping.due_at.map(|due_at| due_at.to_string()).unwrap_or_default();
        warn!(
            documents,
            "{documents} documents would fall due later than any life of their tokens explains, such as that of `{subject}` at {due_at}: \
             they were written under a clock that was ahead. They are due now"
        );
        self.report.recovered(|recovery| recovery.void_due_dates += documents);
    }
}
