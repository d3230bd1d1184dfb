//! `journal apply`: a parked pair is written into its document by hand.

use super::apply_error::ApplyError;
use super::landed::met;
use super::recover::provider_of;
use super::sink::tell_without_further_values;
use super::span::document_span;
use super::{Base, Line, PassError, Stop};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::grant::answer::{Class, Granted, read_answer};
use crate::journal::{Entry, EntryId, EntryState, Journaled};
use crate::provider::Profile;
use crate::report::Report;
use crate::store::{Change, StoreError};
use crate::token::{Fingerprint, Subject, TokenDocument, TokenId};
use crate::verdict::change::{Found, settle};
use crate::verdict::{ByHandPair, Obstacle, Step, Verdict, by_hand_apply};
use serde::Serialize;
use std::sync::Arc;

/// What [`Base::apply`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The entry, which is gone now.
    pub id: EntryId,
    /// Whose document.
    pub subject: Subject,
    /// Its `_id`, as extended JSON.
    pub document: TokenId,
    /// Whose pair.
    pub provider: String,
    /// Fingerprint of the refresh token that stood there; `null` when it was this pair's already.
    pub replaced: Option<Fingerprint>,
    /// Fingerprint of the refresh token that stands there now.
    pub written: Fingerprint,
}

impl Base {
    /// Writes a parked pair into its document, whatever token stands there now, unless that one changes meanwhile.
    ///
    /// With `to` into that document, if it holds the token for which the pair came.
    ///
    /// Access token, refresh token and bookkeeping go in one update. **Must run to completion**; killed midway, it is
    /// found written by the next start.
    ///
    /// # Errors
    /// See [`ApplyError`]; the pair stays parked then.
    pub async fn apply(&self, id: EntryId, to: Option<TokenId>) -> Result<Applied, ApplyError> {
        let report = Arc::new(Report::new());
        let line = Line::of_rows(self, &Stop::default(), report);
        line.begin_process().await?;
        self.apply_entry(&line, id, to).await
    }

    async fn apply_entry(
        &self,
        line: &Line,
        id: EntryId,
        to: Option<TokenId>,
    ) -> Result<Applied, ApplyError> {
        let mut entry = self.open_entry(id).await?;
        match entry.state {
            EntryState::Orphan | EntryState::SetAside => {}
            EntryState::Answer if provider_of(&entry, &self.providers).is_none() => {
                return Err(ApplyError::NoProvider { id, provider: entry.intent.provider.to_string() });
            }
            EntryState::Answer => return Err(ApplyError::Answer(id)),
            state => return Err(ApplyError::NotParked { id, state }),
        }
        if let Some(store) = entry.elsewhere {
            return Err(ApplyError::Elsewhere { id, store });
        }
        // By hand only under its own name: a pair of a provider that was left out isn't to be guessed at.
        let name = entry.intent.provider.to_string();
        let Some(provider) = self.providers.iter().find(|provider| *provider.name == *name) else {
            return Err(ApplyError::NoProvider { id, provider: name });
        };
        let (pair, written, received_at) = self.pair_of(id, entry.answer.take(), &provider.profile)?;
        let over = to.is_some().then_some(entry.intent.fingerprint);
        // From here on the entry is about the document that is written.
        entry.intent.document = to.unwrap_or(entry.intent.document);
        let there = self.read(&entry.intent.document).await?;
        if let Some(there) = &there {
            entry.intent.subject = there.subject.clone();
        }
        let sent = entry.intent.fingerprint;
        let parked = ByHandPair { entry: id, pair, sent, received_at, over };
        let verdict = by_hand_apply(parked, provider, there.as_ref(), &line.around())
            .map_err(|obstacle| ApplyError::obstacle(obstacle, &entry))?;
        let replaces = matches!(verdict.document, Step::Write(..));
        let before = there.and_then(|there| there.refresh_token.ok()).filter(|_| replaces);
        self.execute_by_hand(line, &entry, verdict).await?;
        Ok(Applied {
            id,
            subject: entry.intent.subject,
            document: entry.intent.document,
            provider: name,
            replaced: before.map(|token| token.fingerprint()),
            written,
        })
    }

    /// An open row that can be read.
    pub(super) async fn open_entry(&self, id: EntryId) -> Result<Entry, ApplyError> {
        match self.journal.entry(id).await.map_err(PassError::from)? {
            None => Err(ApplyError::NotThere(id)),
            Some(Err(damaged)) => Err(ApplyError::Damaged(damaged)),
            Some(Ok(entry)) => Ok(entry),
        }
    }

    /// Executes a verdict for one row, as the sink does, and says why when the document didn't match.
    pub(super) async fn execute_by_hand(
        &self,
        line: &Line,
        entry: &Entry,
        verdict: Verdict,
    ) -> Result<(), ApplyError> {
        met(verdict.rule);
        if let Step::Write(change, _) = &verdict.document {
            self.write_alone(line, entry, change).await?;
        }
        let rows: Vec<_> = verdict.row.into_iter().collect();
        Ok(self.journal.end(rows, self.clock.now()).await.map_err(PassError::from)?)
    }

    async fn write_alone(&self, line: &Line, entry: &Entry, change: &Change) -> Result<(), ApplyError> {
        let subject = entry.intent.subject.clone();
        let mut change = change.clone();
        let mut written = self.store.apply(std::slice::from_ref(&change)).await?;
        if let Some((_, reason)) = written.refused.first() {
            // As a pass does: the pair must not wait for them.
            let further = change.take_further_values();
            if !further.is_empty() {
                let (provider, document) = (&entry.intent.provider, &entry.intent.document);
                document_span(Some(provider), document, &subject)
                    .in_scope(|| tell_without_further_values(&subject, reason, &further));
                written = self.store.apply(std::slice::from_ref(&change)).await?;
            }
        }
        if let Some((_, reason)) = written.refused.into_iter().next() {
            return Err(ApplyError::Refused { subject, reason });
        }
        if written.every_matched {
            return Ok(());
        }
        match settle(&change, self.read(&change.id).await?.as_ref(), &line.around()) {
            // Its refresh token is there, and no pass holds the document: the next one finds the rest.
            Found::Ours | Found::Unfinished => Ok(()),
            Found::Theirs | Found::NewerAccess | Found::Unchanged => Err(ApplyError::Changed(subject)),
            Found::Gone => Err(ApplyError::obstacle(Obstacle::Gone, entry)),
        }
    }

    pub(super) async fn read(&self, id: &TokenId) -> Result<Option<TokenDocument>, StoreError> {
        Ok(self.store.read(std::slice::from_ref(id)).await?.into_iter().next())
    }

    /// The pair in a parked answer, its refresh token's fingerprint, and when it came.
    fn pair_of(
        &self,
        id: EntryId,
        answer: Option<Journaled<RawAnswer>>,
        profile: &Profile,
    ) -> Result<(Journaled<Granted>, Fingerprint, Timestamp), ApplyError> {
        let unreadable = |code: &str| ApplyError::Unreadable { id, code: code.to_owned() };
        let answer = answer.ok_or_else(|| unreadable("no_answer"))?;
        let received_at = answer.get().received_at;
        let answer = answer.map(|raw| read_answer(&raw, profile, self.clock.now()));
        let Class::Granted(granted) = answer.get().class.clone() else {
            return Err(unreadable(&answer.get().code));
        };
        let new = granted.refresh_token.as_ref().map(crate::token::RefreshToken::fingerprint);
        // Without one there is nothing that the document's next grant doesn't give again.
        let new = new.ok_or_else(|| unreadable("no_refresh_token"))?;
        Ok((answer.map(|_| granted), new, received_at))
    }
}
