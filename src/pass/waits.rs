//! Documents that wait for another machine: they are named.

use super::Line;
use super::span::document_span;
use crate::clock::Timestamp;
use crate::journal::JournalError;
use crate::report::WaitsFor;
use crate::select::claimed_at;
use crate::token::{Bookkeeping, Reason, Subject, TokenDocument, TokenId, UNKNOWN_JOURNAL};
use tracing::{debug, warn};

impl Line {
    /// Reads for which passes an earlier report has said that documents wait.
    pub(super) async fn recall_waits(&self) -> Result<(), JournalError> {
        let before = self.base.journal.waited_for(&self.whose.name()).await?;
        // A line begins once.
        let _ = self.waited_for.set(before);
        Ok(())
    }

    /// Counts and names a document whose token waits for the journal of the process that held its claim.
    pub(super) fn waits(&self, document: &TokenDocument, sent_at: Option<Timestamp>) {
        let Some(lease) = &document.bookkeeping.lease else { return };
        let (subject, provider) = (&document.subject, self.provider_name(document));
        let _about = document_span(provider.as_deref(), &document.id, subject).entered();
        let since = claimed_at(lease, self.terms.lease);
        let new = self.is_new(&lease.id);
        let journal = lease.by.as_ref().map(|by| by.journal.clone());
        let (code, owner) = (Reason::WaitsFor.word(), &lease.owner);
        let given = journal.as_deref().unwrap_or(UNKNOWN_JOURNAL);
        let first = self.report.waits_for(
            WaitsFor {
                id: document.id.clone(),
                subject: subject.clone(),
                provider: provider.clone(),
                reason: Reason::WaitsFor.into(),
                owner: Some(owner.clone()),
                journal: journal.clone(),
                since: Some(since),
                sent_at,
                new,
            },
            &lease.id,
        );
        if first && new {
            warn!(
                code,
                owner,
                journal,
                %since,
                "the token of `{subject}` was claimed by `{owner}`, which is gone: it may have been sent, and the answer may be in the journal {given} of that machine. It waits, and others of that pass with it"
            );
        } else {
            debug!(code, owner, journal, %since, "the token of `{subject}` waits for `{owner}`");
        }
    }

    /// Names a document with a redeemed token, whose pair only the journal of another machine can put back.
    pub(super) fn waits_for_its_pair(
        &self,
        id: &TokenId,
        subject: &Subject,
        provider: Option<String>,
        books: &Bookkeeping,
    ) {
        let Some(journal) = &books.refreshed_by else { return };
        let whom = format!("{journal} {id}");
        // Of very many documents the journal alone is remembered.
        let new = self.is_new(&whom) && self.is_new(journal);
        let code = Reason::SpentElsewhere.word();
        let waits = WaitsFor {
            id: id.clone(),
            subject: subject.clone(),
            provider,
            reason: Reason::SpentElsewhere.into(),
            owner: None,
            journal: Some(journal.clone()),
            since: books.refreshed_at,
            sent_at: None,
            new,
        };
        if self.report.waits_for_a_pair(waits, journal, whom) && new {
            warn!(
                code,
                journal,
                "the document of `{subject}` holds a token that was redeemed, and the journal {journal} of another machine has its pair. The token is not sent, and others that wait for that journal are not, either"
            );
        } else {
            debug!(code, journal, "the document of `{subject}` waits for its pair");
        }
    }

    /// Has no earlier report spoken of this pass, or of this document?
    fn is_new(&self, whom: &str) -> bool {
        self.waited_for.get().is_none_or(|before| !before.contains(whom))
    }

    /// Remembers for the next report what waits for whom. A pass that didn't read all of them forgets none.
    pub(super) async fn note_waits(&self) {
        let Some(before) = self.waited_for.get() else { return };
        let mut now = self.report.waited_for();
        if !self.whole || self.report.has_trouble() {
            now.extend(before.iter().cloned());
        }
        if now == *before || self.base.journal.is_broken() {
            return;
        }
        if let Err(error) = self.base.journal.set_waited_for(&self.whose.name(), now).await {
            self.journal_failed(&error);
        }
    }
}
