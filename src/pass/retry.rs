//! A token whose answer nobody could read, given free to be asked for again.

use super::orphans::ApplyError;
use super::recover::provider_of;
use super::{Pass, PassError, PassRequest, Stop};
use crate::journal::{Entry, EntryId, EntryState, Event};
use crate::provider::{AskAgain, Rotation};
use crate::report::Report;
use crate::store::Change;
use crate::token::{Bookkeeping, Code, ParkedWhy, RefreshToken, Subject, TokenId};
use crate::verdict::{Known, is_claimed};
use serde::Serialize;
use std::sync::Arc;

/// What [`Pass::retry`] gave free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retried {
    /// The entry; its answer stays until a pair came for the token.
    pub id: EntryId,
    /// Whose token.
    pub subject: Subject,
    /// Its document's `_id`, as extended JSON.
    pub document: TokenId,
    /// At which provider.
    pub provider: String,
    /// Does the document still hold that token? Otherwise there is nothing to ask for.
    pub waits: bool,
}

impl Pass {
    /// Lets the next pass ask again for a token that was answered with a success in which nobody could find a pair,
    /// because a person knows that it held none. It is in doubt from then on: granted, or `lost_in_flight`.
    ///
    /// **Must run to completion**; killed midway, it does the rest when it is run again.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing has changed then.
    pub async fn retry(&self, id: EntryId) -> Result<Retried, ApplyError> {
        let now = self.clock.now();
        let line = self.line(
            &PassRequest::default(),
            &self.providers,
            &Stop::default(),
            Arc::new(Report::new()),
            now,
        );
        self.begin(&line).await?;
        let retried = self.retry_entry(id).await;
        self.journal.finish_pass(&line.terms.lease_id).await.map_err(PassError::from)?;
        retried
    }

    async fn retry_entry(&self, id: EntryId) -> Result<Retried, ApplyError> {
        let now = self.clock.now();
        let entry = match self.journal.entry(id).await.map_err(PassError::from)? {
            None => return Err(ApplyError::NotThere(id)),
            Some(Err(damaged)) => return Err(ApplyError::Damaged(damaged)),
            Some(Ok(entry)) => entry,
        };
        if entry.state != EntryState::Unread {
            return Err(ApplyError::NotUnread { id, state: entry.state });
        }
        let provider = entry.intent.provider.to_string();
        let profile = provider_of(&entry, &self.providers).map(|provider| &provider.profile);
        // Whatever is left of a grace, the next pass may come after it.
        if profile.is_some_and(|to| to.rotation != Rotation::None && to.ask_again == AskAgain::Never) {
            return Err(ApplyError::NeverAskedAgain { id, provider });
        }
        // The document first: it keeps the other machines from asking, and must not do so when the journal doesn't.
        let unsettled_since = entry.unsettled_since.or(Some(entry.intent.sent_at));
        let doubted = Entry { unsettled_since, ..entry.clone() };
        let known = Known::in_doubt(&doubted, Code::Unreadable.into(), now);
        let there = self.read(&entry.intent.document).await?;
        let why = if there.is_some() { ParkedWhy::Superseded } else { ParkedWhy::Gone };
        let of_this_token = |token: &RefreshToken| token.fingerprint() == known.fingerprint;
        let there = there.filter(|there| there.refresh_token.as_ref().is_ok_and(of_this_token));
        let (subject, document) = (entry.intent.subject, entry.intent.document);
        let waits = there.is_some();
        if let Some(there) = there {
            if is_claimed(&there, now)
                && let Some(lease) = there.bookkeeping.lease.clone()
            {
                return Err(ApplyError::Claimed { subject, owner: lease.owner, until: lease.until });
            }
            let bookkeeping = there.bookkeeping.clone().speaking_of(known.fingerprint, now);
            let change = Change {
                id: document.clone(),
                expect_refresh_token: there.refresh_token.ok(),
                // One that has ended, and that somebody may take over in this moment.
                expect_lease: there.bookkeeping.lease.map(|lease| lease.id),
                pair: None,
                bookkeeping: Bookkeeping {
                    due_at: None,
                    last_error: Some(known.evidence),
                    lease: None,
                    ..bookkeeping
                },
            };
            self.write_alone(id, &subject, &change).await?;
        }
        // With nothing to ask for, its answer is kept for a person like any that has no place.
        let ending = if waits { Event::AskAgain(Code::Unreadable.into()) } else { Event::NoPlace(why) };
        self.journal.end(vec![(id, ending)], now).await.map_err(PassError::from)?;
        Ok(Retried { id, subject, document, provider, waits })
    }
}
