//! Draws: documents from all over what is due, where those that come next bring no grant.

use super::{Shelf, Source, Wanted};
use crate::failure::error_chain;
use crate::select::Found;
use crate::select::again::GIVEN_BACK_WITHIN;
use crate::select::takeover::Takeover;
use crate::store::DueQuery;
use crate::token::{Bookkeeping, TokenDocument};
use tracing::warn;

impl Source {
    /// Draws documents from all over what is due. One that waits on the shelf leaves it.
    ///
    /// A store that can't do this, or not in time, leaves it at those that come next.
    pub(super) async fn draw(&self, shelf: &mut Shelf, size: usize) -> Vec<Wanted> {
        let query = DueQuery {
            due_by: self.terms.due_by,
            due_after: None,
            force: self.terms.all,
            now: self.terms.takes_over_from(&self.clock),
            limit: size,
            after: None,
            providers: self.providers.clone(),
        };
        // A pass over all documents has been through a part of them.
        let (began, now) = (self.terms.due_by, self.clock.now() + GIVEN_BACK_WITHIN);
        let is_to_come = |document: &TokenDocument| {
            let Bookkeeping { refreshed_at, due_at, last_error, .. } = &document.bookkeeping;
            let ended_at = (*refreshed_at).max(last_error.as_ref().map(|error| error.at));
            let was_given_back = due_at.is_some_and(|due_at| began < due_at && due_at <= now);
            !was_given_back && ended_at.is_none_or(|at| at < began)
        };
        let drawn = self.store.draw(&query).await.unwrap_or_else(|error| {
            warn!(error = %error_chain(&error), "no documents could be drawn from all over what is due");
            Vec::new()
        });
        let drawn: Vec<_> = drawn.into_iter().map(|document| self.sendable(document)).collect();
        let takeovers = self.takeovers(drawn.iter()).await;
        let drawn: Vec<_> = drawn
            .into_iter()
            .filter(|document| !matches!(takeovers.get(&document.id), Some(Takeover::Wait { .. })))
            .filter(|document| self.is_asked_for(document) && self.asks(document) && is_to_come(document))
            .map(|document| Wanted { document, found: Found::Due })
            .collect();
        let is_drawn = |wanted: &Wanted| drawn.iter().any(|drawn| drawn.document.id == wanted.document.id);
        shelf.wanted.retain(|wanted| !is_drawn(wanted));
        shelf.drawn.extend(drawn.iter().map(|wanted| wanted.document.id.clone()));
        drawn
    }
}
