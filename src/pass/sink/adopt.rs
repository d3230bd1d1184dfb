//! The marks that are listed under the name that a provider had before.

use super::Sink;
use crate::journal::{JournalError, Judged, LeftMark};
use crate::token::TokenDocument;
use std::collections::BTreeMap;
use tracing::info;

impl Sink {
    /// Takes over the lists of names that aren't configured any more, so that their marks can be judged.
    ///
    /// Whose a mark is says its document. Where documents name no provider, there is only one.
    pub(super) async fn adopt_marks(&mut self) {
        let own = self.line.whose.name();
        let (mut after, mut adopted) = (None, BTreeMap::new());
        let failed = loop {
            match self.adopt_page(after, &mut adopted).await {
                Ok(Some(last)) => after = Some(last),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        for (before, marks) in adopted {
            info!(
                marks,
                "the provider `{before}` is called `{own}` now: {marks} of its marks that are not judged yet are taken over"
            );
        }
        if let Some(error) = failed {
            self.line.journal_failed(&error);
        }
    }

    /// Returns the last mark of the page; `None` when there is no other page, or the store can't be used.
    async fn adopt_page(
        &mut self,
        after: Option<LeftMark>,
        adopted: &mut BTreeMap<String, u64>,
    ) -> Result<Option<LeftMark>, JournalError> {
        let line = self.line.clone();
        let journal = &line.base.journal;
        let page = journal.left_marks(line.base.provider_names(), after).await?;
        let last = page.last().cloned();
        if last.is_none() {
            return Ok(None);
        }
        let ids: Vec<_> = page.iter().map(|mark| mark.document.clone()).collect();
        let Some(documents) = self.read(&ids).await else { return Ok(None) };
        let own = line.whose.name();
        let is_ours = |document: &TokenDocument| line.provider_name(document).as_deref() == Some(&*own);
        let mut ours = Vec::new();
        for mark in page {
            match documents.get(&mark.document) {
                Some(document) if is_ours(document) => ours.push(mark),
                // Another provider's, or one that isn't configured now.
                Some(_) => {}
                None => journal.judge_marks(&mark.provider, Judged::Settled(vec![mark.document])).await?,
            }
        }
        for mark in &ours {
            *adopted.entry(mark.provider.clone()).or_default() += 1;
        }
        journal.adopt_marks(&own, ours).await?;
        Ok(last)
    }
}
