//! The claimed stream: one page in use, and one on the way.

use super::page::{Interrupted, Page, Source, Unclaimed};
use super::{ClaimTerms, Pulled};
use crate::clock::Clock;
use crate::store::{Position, ProviderFilter, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The claimed stream: keyset pages, one in use and one on the way.
#[derive(Debug)]
pub struct Claims {
    source: Arc<Source>,
    ready: VecDeque<Pulled>,
    next_page: Option<JoinHandle<Result<Page, Interrupted>>>,
    /// A page that was read and couldn't be claimed, or nobody knows.
    unclaimed: Option<Unclaimed>,
    after: Option<Position>,
    exhausted: bool,
}

/// What [`Claims::rest`] hands out.
#[derive(Debug)]
pub struct Rest {
    /// Claimed and not taken.
    pub pulled: Vec<Pulled>,
    /// Is that all? Otherwise the store went away during a claim, and more may carry our lease.
    pub complete: bool,
}

impl Claims {
    /// A stream over the documents of `providers`; reads nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, terms: ClaimTerms, providers: ProviderFilter, clock: Clock) -> Self {
        let source = Arc::new(Source { store, terms, providers, clock });
        Self {
            source,
            ready: VecDeque::new(),
            next_page: None,
            unclaimed: None,
            after: None,
            exhausted: false,
        }
    }

    /// The next document, or `None` when there are no more. Cancel-safe.
    ///
    /// # Errors
    /// After an error the same page is read, or claimed, again by the next call.
    pub async fn next(&mut self) -> Result<Option<Pulled>, StoreError> {
        loop {
            if let Some(pulled) = self.ready.pop_front() {
                return Ok(Some(pulled));
            }
            if self.exhausted {
                return Ok(None);
            }
            self.start_page();
            let Some(handle) = &mut self.next_page else { return Ok(None) };
            let page = handle.await;
            self.next_page = None;
            let page = match page {
                Ok(Ok(page)) => page,
                Ok(Err(Interrupted { error, unclaimed })) => {
                    self.unclaimed = unclaimed;
                    return Err(error);
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            self.ready = page.pulled.into();
            self.exhausted = page.next.is_none();
            self.after = page.next;
            if !self.exhausted {
                self.start_page();
            }
        }
    }

    /// Ends the stream, and hands out what was claimed and not yet taken, so that it can be released.
    pub async fn rest(&mut self) -> Rest {
        self.exhausted = true;
        let mut rest = Rest { pulled: self.ready.drain(..).collect(), complete: true };
        if self.unclaimed.is_some() {
            self.start_page();
        }
        if let Some(handle) = self.next_page.take() {
            match handle.await {
                Ok(Ok(page)) => rest.pulled.extend(page.pulled),
                Ok(Err(interrupted)) => rest.complete = interrupted.unclaimed.is_none(),
                Err(_) => rest.complete = false,
            }
        }
        rest
    }

    fn start_page(&mut self) {
        if self.next_page.is_none() {
            let (source, unclaimed, after) = (self.source.clone(), self.unclaimed.take(), self.after.clone());
            self.next_page = Some(tokio::spawn(async move { source.page(unclaimed, after).await }));
        }
    }
}
