//! Second looks: what was marked long enough ago is read and asked once more, when all others were asked.

use super::{Shelf, Source, Wanted};
use crate::select::Found;
use crate::select::looks::next_look;
use crate::store::StoreError;
use crate::token::TokenDocument;

impl Source {
    /// Was it marked long enough ago to be asked for once more?
    pub(super) fn is_time_for_a_look(&self, document: &TokenDocument) -> bool {
        let profile = self.terms.profile().filter(|_| self.terms.second_looks);
        let look = profile.and_then(|profile| next_look(&document.bookkeeping, profile));
        look.is_some_and(|look| look <= self.clock.now()) && !self.asks(document)
    }

    /// Reads those once more that were marked long ago.
    pub(super) async fn read_second_looks(
        &self,
        shelf: &mut Shelf,
        at_once: usize,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = shelf.second_looks.iter().take(at_once).cloned().collect();
        let read_at = self.clock.read_at();
        let documents = self.store.read(&ids).await?.into_iter().map(|document| self.sendable(document));
        let wanted = documents.filter(|document| self.is_time_for_a_look(document));
        shelf.wanted.extend(wanted.map(|document| Wanted { document, found: Found::SecondLook }));
        shelf.second_looks.drain(..ids.len());
        shelf.read_at = Some(read_at);
        Ok(())
    }
}
