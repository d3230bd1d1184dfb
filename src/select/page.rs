//! One page: read, sorted into what is wanted and what is known, and claimed.

use super::{ClaimTerms, Pulled, Selected, falls_due_too_late, select};
use crate::clock::Clock;
use crate::kill_point::{Point, reach};
use crate::store::{Claim, DueQuery, Position, ProviderFilter, Store, StoreError};
use crate::token::{DueToken, Lease, Malformed, Subject, TokenDocument};
use crate::write_back::taken_over_noted;
use std::collections::HashMap;
use std::sync::Arc;

/// Where the pages of one lane come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) store: Arc<dyn Store>,
    pub(super) terms: ClaimTerms,
    pub(super) providers: ProviderFilter,
    pub(super) clock: Clock,
}

/// A page that was read; of its documents only `wanted` are to be claimed.
#[derive(Debug)]
pub(super) struct Unclaimed {
    known: Vec<Pulled>,
    wanted: Vec<TokenDocument>,
    next: Option<Position>,
}

/// A page that was claimed.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) pulled: Vec<Pulled>,
    pub(super) next: Option<Position>,
}

/// The store failed; what was read is kept, because a claim may have happened all the same.
#[derive(Debug)]
pub(super) struct Interrupted {
    pub(super) error: StoreError,
    pub(super) unclaimed: Option<Unclaimed>,
}

impl Source {
    /// Reads the page after that position, or takes the one that was read before, and claims it.
    pub(super) async fn page(
        &self,
        unclaimed: Option<Unclaimed>,
        after: Option<Position>,
    ) -> Result<Page, Interrupted> {
        let unclaimed = match unclaimed {
            Some(unclaimed) => unclaimed,
            None => self.read(after).await.map_err(|error| Interrupted { error, unclaimed: None })?,
        };
        reach(Point::PageRead);
        match self.claim(&unclaimed.wanted).await {
            Ok(claimed) => {
                let pulled = unclaimed.known.into_iter().chain(claimed).collect();
                Ok(Page { pulled, next: unclaimed.next })
            }
            Err(error) => Err(Interrupted { error, unclaimed: Some(unclaimed) }),
        }
    }

    async fn read(&self, after: Option<Position>) -> Result<Unclaimed, StoreError> {
        let query = DueQuery {
            due_by: self.terms.due_by,
            force: self.terms.all,
            now: self.terms.takes_over_from(self.clock.now()),
            limit: self.terms.page,
            after,
            providers: self.providers.clone(),
        };
        let page = self.store.due_page(&query).await?;
        let (mut known, mut wanted) = (Vec::new(), Vec::new());
        for document in page.documents.into_iter().map(|document| self.whose(document)) {
            if !self.is_asked_for(&document) {
                continue;
            }
            match select(&document, self.terms.force, self.terms.punishes_reuse) {
                Selected::Known => known.push(Pulled::Known(document)),
                Selected::Claim => wanted.push(document),
            }
        }
        Ok(Unclaimed { known, wanted, next: page.next })
    }

    /// Claims what was read. May be repeated: what carries our lease already is handed out again.
    async fn claim(&self, wanted: &[TokenDocument]) -> Result<Vec<Pulled>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let due_by = (!self.terms.all).then_some(self.terms.due_by);
        // Those of a process that is never heard of again by themselves: the claim says so, in the same write.
        let of_others = |document: &&TokenDocument| {
            document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.id != self.terms.lease_id)
        };
        let (taken_over, free): (Vec<_>, Vec<_>) = wanted.iter().partition(of_others);
        let (mut claimed, mut refused) = (Vec::new(), Vec::new());
        for (documents, taken_over) in [(free, false), (taken_over, true)] {
            if documents.is_empty() {
                continue;
            }
            let ids = documents.into_iter().map(|document| document.id.clone()).collect();
            let lease = Lease { taken_over, ..self.terms.lease_from(now) };
            // Read back after the lease is set: the token as it is now, not as it was on the page.
            let part = Claim { ids, lease, due_by, now: self.terms.takes_over_from(now) };
            let part = self.store.claim(&part).await?;
            claimed.extend(part.documents);
            refused.extend(part.refused);
        }
        reach(Point::Claimed);
        let read: HashMap<_, _> =
            wanted.iter().enumerate().map(|(place, document)| (&document.id, (place, document))).collect();
        claimed.sort_by_key(|document| read.get(&document.id).map(|(place, _)| *place));
        let pulled = claimed.into_iter().map(|mut document| {
            // The claim moved it; what isn't taken gets it back.
            document.bookkeeping.due_at =
                read.get(&document.id).and_then(|(_, read)| read.bookkeeping.due_at);
            if !self.is_of_this_lane(&document) {
                if let Ok(token) = &document.refresh_token {
                    document.bookkeeping = taken_over_noted(document.bookkeeping, token.fingerprint(), now);
                }
                return Pulled::Stray(document);
            }
            let document = self.whose(document);
            match document.refresh_token {
                Ok(refresh_token) => Pulled::Token(DueToken {
                    id: document.id,
                    subject: document.subject,
                    bookkeeping: taken_over_noted(document.bookkeeping, refresh_token.fingerprint(), now),
                    refresh_token,
                }),
                Err(_) => Pulled::Malformed(document),
            }
        });
        let refused = refused.into_iter().filter_map(|(id, reason)| {
            let (_, document) = read.get(&id)?;
            Some(Pulled::NoRoom((*document).clone(), reason))
        });
        Ok(pulled.chain(refused).collect())
    }

    /// In a look over the whole collection: is it due, or does it fall due too late?
    fn is_asked_for(&self, document: &TokenDocument) -> bool {
        let bookkeeping = &document.bookkeeping;
        let is_due = bookkeeping.due_at.is_none_or(|at| at <= self.terms.due_by);
        let is_only_looked_at = self.terms.all && !self.terms.force;
        !is_only_looked_at || is_due || falls_due_too_late(bookkeeping, self.clock.now())
    }

    fn is_of_this_lane(&self, document: &TokenDocument) -> bool {
        match &self.providers {
            ProviderFilter::Any => true,
            ProviderFilter::Named(name) => document.provider.as_ref() == Some(name),
            ProviderFilter::NoneOf(names) => {
                document.provider.as_ref().is_none_or(|found| !names.contains(found))
            }
        }
    }

    /// A document of a provider that nobody configured has no token that can be sent.
    fn whose(&self, mut document: TokenDocument) -> TokenDocument {
        if matches!(self.providers, ProviderFilter::NoneOf(_)) {
            document.refresh_token = Err(match &document.provider {
                Some(name) => Malformed::UnknownProvider(Subject::new(name)),
                None => Malformed::NoProvider,
            });
        }
        document
    }
}
