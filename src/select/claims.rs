//! The claimed stream: documents are read a page at a time, and claimed as the gate takes their tokens.

use super::flow::Flow;
use super::page::{Part, Shelf, Source};
use super::{Again, ClaimTerms, Pulled};
use crate::clock::Clock;
use crate::store::{ProviderFilter, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument as _;

/// The claimed stream: keyset pages, of which a part is claimed in time for the gate.
#[derive(Debug)]
pub struct Claims {
    source: Arc<Source>,
    flow: Flow,
    ready: VecDeque<Pulled>,
    /// How many tokens are to be drawn from all over what is due, before anything else is handed out.
    to_draw: Option<usize>,
    /// How many of the next tokens are drawn.
    drawn: usize,
    /// What is read and not claimed; `None` while `next_part` works with it.
    shelf: Option<Shelf>,
    next_part: Option<JoinHandle<(Shelf, Result<Part, StoreError>)>>,
    ended: bool,
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
    /// A stream over the documents of `providers`, and over what falls due `again` meanwhile; reads nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        terms: ClaimTerms,
        providers: ProviderFilter,
        clock: Clock,
        flow: Flow,
        again: Option<Again>,
    ) -> Self {
        let source = Arc::new(Source { store, terms, providers, clock, again });
        Self {
            source,
            flow,
            ready: VecDeque::new(),
            to_draw: None,
            drawn: 0,
            shelf: Some(Shelf::default()),
            next_part: None,
            ended: false,
        }
    }

    /// Has the next tokens drawn from all over what is due: those in order bring no grant.
    pub fn draw(&mut self, tokens: usize) {
        self.to_draw = Some(tokens);
    }

    /// Are the next tokens drawn, or to be drawn?
    #[must_use]
    pub const fn is_sample(&self) -> bool {
        self.to_draw.is_some() || self.drawn > 0
    }

    /// The next document, or `None` when there are no more. Cancel-safe.
    ///
    /// # Errors
    /// After an error the same page is read, or the same part of it claimed, again by the next call.
    pub async fn next(&mut self) -> Result<Option<Pulled>, StoreError> {
        self.flow.asked(Instant::now());
        loop {
            if self.to_draw.is_none()
                && let Some(pulled) = self.ready.pop_front()
            {
                if matches!(pulled, Pulled::Token { .. }) {
                    self.drawn = self.drawn.saturating_sub(1);
                    self.flow.handed(Instant::now());
                }
                if self.flow.is_time(self.ready.len()) {
                    self.start_part();
                }
                return Ok(Some(pulled));
            }
            self.start_part();
            let Some(part) = &mut self.next_part else {
                if let Some(wanted) = self.to_draw.take() {
                    self.spread(wanted, Vec::new());
                    continue;
                }
                return Ok(None);
            };
            let (shelf, part) = match part.await {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            (self.shelf, self.next_part) = (Some(shelf), None);
            let Part { pulled, is_drawn } = part?;
            if is_drawn {
                let wanted = self.to_draw.take().unwrap_or_default();
                self.spread(wanted, pulled);
            } else {
                self.ready.extend(pulled);
            }
        }
    }

    /// Puts what was drawn before all else that is in hand. Where that is less than was wanted, the last of the others come next:
    /// they may be all that is left.
    fn spread(&mut self, wanted: usize, drawn: Vec<Pulled>) {
        let missing = wanted.saturating_sub(drawn.len());
        for _ in 0..missing.min(self.ready.len()) {
            if let Some(last) = self.ready.pop_back() {
                self.ready.push_front(last);
            }
        }
        let tokens = drawn.len() + missing.min(self.ready.len());
        drawn.into_iter().rev().for_each(|pulled| self.ready.push_front(pulled));
        self.ready.push_front(Pulled::Drawn(tokens));
        self.drawn = tokens;
    }

    /// Ends the stream, and hands out what was claimed and not yet taken, so that it can be released.
    pub async fn rest(&mut self) -> Rest {
        let mut rest = Rest { pulled: self.ready.drain(..).collect(), complete: true };
        // A claim that failed may have happened: asked again, it says what carries our lease.
        if self.shelf.as_ref().is_some_and(Shelf::is_in_doubt) {
            self.start_part();
        }
        self.ended = true;
        self.to_draw = None;
        if let Some(part) = self.next_part.take() {
            match part.await {
                Ok((_, Ok(part))) => rest.pulled.extend(part.pulled),
                Ok((shelf, Err(_))) => rest.complete = !shelf.is_in_doubt(),
                Err(_) => rest.complete = false,
            }
        }
        rest
    }

    /// Begins to claim the next part, unless that is under way or there is nothing more.
    fn start_part(&mut self) {
        let (to_draw, ended) = (self.to_draw, self.ended);
        if ended || self.shelf.as_ref().is_none_or(|shelf| shelf.is_done() && to_draw.is_none()) {
            return;
        }
        if let Some(shelf) = self.shelf.take() {
            let (source, at_once) = (self.source.clone(), self.flow.at_once());
            let part = async move { source.part(shelf, at_once, to_draw).await };
            self.next_part = Some(tokio::spawn(part.in_current_span()));
        }
    }
}
