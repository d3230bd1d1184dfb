//! `journal retry`: a token whose answer could not be read is asked for again.

use super::apply_error::ApplyError;
use super::recover::provider_of;
use super::{Base, Line, Stop};
use crate::journal::{EntryId, EntryState};
use crate::report::Report;
use crate::token::{Subject, TokenId};
use crate::verdict::{Step, by_hand_retry};
use serde::Serialize;
use std::sync::Arc;

/// What [`Base::retry`] gave free.
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

impl Base {
    /// Lets the next pass ask again for a token that was answered with a success in which no pair was found,
    /// because a person knows that it held none. It is in doubt from then on: granted, or `lost_in_flight`.
    ///
    /// **Must run to completion**; killed midway, it does the rest when it is run again.
    ///
    /// # Errors
    /// See [`ApplyError`]; nothing has changed then.
    pub async fn retry(&self, id: EntryId) -> Result<Retried, ApplyError> {
        let line = Line::of_rows(self, &Stop::default(), Arc::new(Report::new()));
        line.begin_process().await?;
        self.retry_entry(&line, id).await
    }

    async fn retry_entry(&self, line: &Line, id: EntryId) -> Result<Retried, ApplyError> {
        let entry = self.open_entry(id).await?;
        if entry.state != EntryState::Unread {
            return Err(ApplyError::NotUnread { id, state: entry.state });
        }
        let profile = provider_of(&entry, &self.providers).map(|provider| &provider.profile);
        let there = self.read(&entry.intent.document).await?;
        let verdict = by_hand_retry(&entry, profile, there.as_ref(), &line.around())
            .map_err(|obstacle| ApplyError::obstacle(obstacle, &entry))?;
        let waits = matches!(verdict.document, Step::Write(..));
        // The document first: it keeps the other machines from asking, and must not do so when the journal doesn't.
        self.execute_by_hand(line, &entry, verdict).await?;
        let provider = entry.intent.provider.to_string();
        Ok(Retried { id, subject: entry.intent.subject, document: entry.intent.document, provider, waits })
    }
}
