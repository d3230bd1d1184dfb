//! Users whom earlier passes put off: each report names them until their time has come.

use super::{Line, Whose};
use crate::clock::Timestamp;
use crate::report::PutOff;
use crate::token::{Evidence, Reason, RefreshToken, State, TokenDocument, TokenId};
use std::time::Duration;
use tracing::Instrument as _;

/// Longest wait for their documents at the end of a pass.
const READ_PATIENCE: Duration = Duration::from_secs(5);

impl Line {
    /// Names in the report those whom earlier passes put off and who still wait, and remembers all who wait for the next
    /// report.
    ///
    /// The documents are read: a user who was refreshed, marked or deleted since waits no more.
    pub(super) async fn name_put_off(&self) {
        let Whose::Provider(counter) = &self.whose else { return };
        let (journal, provider) = (&self.base.journal, &counter.provider.name);
        if self.report.is_store_away() || journal.is_broken() {
            return;
        }
        let before = match journal.put_off(provider).await {
            Ok(before) => before,
            Err(error) => return self.journal_failed(&error),
        };
        let of_this_pass = self.report.put_off_ids();
        let earlier: Vec<_> = before.iter().filter(|id| !of_this_pass.contains(id)).cloned().collect();
        let Some(documents) = self.read_in_time(earlier).await else { return };
        let now = self.base.clock.now();
        for document in documents {
            if let Some(put_off) = waits(self, &document, now) {
                self.report.put_off_before(put_off);
            }
        }
        let after = self.report.put_off_ids();
        if before.is_empty() && after.is_empty() {
            return;
        }
        if let Err(error) = journal.set_put_off(provider, after).await {
            self.journal_failed(&error);
        }
    }

    /// `None` when the store doesn't answer in time: then the list stays as it is for the next pass.
    async fn read_in_time(&self, ids: Vec<TokenId>) -> Option<Vec<TokenDocument>> {
        if ids.is_empty() {
            return Some(Vec::new());
        }
        let store = self.base.store.clone();
        // A task of its own, because a store's method must run to completion.
        let reading = tokio::spawn(async move { store.read(&ids).await }.in_current_span());
        let read = self.stop.give_up.run_until_cancelled(tokio::time::timeout(READ_PATIENCE, reading)).await;
        match read {
            Some(Ok(Ok(read))) => read.ok(),
            Some(Ok(Err(panic))) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            Some(Ok(Err(_)) | Err(_)) | None => None,
        }
    }
}

/// Is this document's token still the one that was put off, and not due yet? Then why, and until when.
fn waits(line: &Line, document: &TokenDocument, now: Timestamp) -> Option<PutOff> {
    let bookkeeping = &document.bookkeeping;
    // An earlier version remembered those of all providers together.
    let provider = line.provider_name(document);
    if provider.as_deref() != Some(&*line.whose.name()) {
        return None;
    }
    let of_this_token =
        bookkeeping.fingerprint == document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    let due_at = bookkeeping.due_at.filter(|due_at| *due_at > now)?;
    let error = bookkeeping.last_error.as_ref()?;
    if !of_this_token || bookkeeping.state != State::Live || bookkeeping.lease.is_some() {
        return None;
    }
    let was_refused = error.class.is(Evidence::Refused) || error.class.is(Evidence::Suspected);
    let code = if was_refused { Reason::RefusedOnce.word().to_owned() } else { error.code.to_string() };
    Some(PutOff {
        id: document.id.clone(),
        subject: document.subject.clone(),
        provider,
        code,
        due_at,
        new: false,
    })
}
