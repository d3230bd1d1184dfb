//! Documents that wait for another machine: they are named, and left as they are.

use super::Line;
use super::span::document_span;
use crate::clock::Timestamp;
use crate::journal::JournalError;
use crate::report::WaitsFor;
use crate::select::claimed_at;
use crate::token::{Reason, TokenDocument, UNKNOWN_JOURNAL};
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
        let new = self.waited_for.get().is_none_or(|before| !before.contains(&lease.id));
        let journal = lease.by.as_ref().map(|by| by.journal.clone());
        let (code, owner) = (Reason::WaitsFor.word(), &lease.owner);
        let given = journal.as_deref().unwrap_or(UNKNOWN_JOURNAL);
        let first = self.report.waits_for(
            WaitsFor {
                id: document.id.clone(),
                subject: subject.clone(),
                provider: provider.clone(),
                owner: owner.clone(),
                journal: journal.clone(),
                since,
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

    /// Remembers for the next report for which passes documents wait. A pass that didn't read all of them forgets none.
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
