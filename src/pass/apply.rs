//! A parked pair, written into its document by hand.

use super::recover::provider_of;
use super::{Line, Pass, PassError, PassRequest, Stop};
use crate::clock::Timestamp;
use crate::grant::answer::{Class, Granted, read_answer};
use crate::journal::{Damaged, Entry, EntryId, EntryState, Event, Journaled};
use crate::provider::AnswerShape;
use crate::report::Report;
use crate::store::{Change, StoreError};
use crate::token::{DueToken, Fingerprint, Malformed, Subject, TokenDocument, TokenId};
use crate::verdict::change::{Found, settle};
use crate::verdict::is_claimed;
use serde::Serialize;
use std::sync::Arc;

/// What [`Pass::apply`] did.
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

/// Why a parked pair couldn't be written. It is parked as before.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store or the journal isn't ready.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// There is no such entry.
    #[error("the journal has no open entry {0}\nhint: `evergrant journal list` shows those that are open")]
    NotThere(EntryId),
    /// It can't be read.
    #[error("the entry {} can't be read: {}\nhint: it stays as it is; restore `journal.db` from a copy, or give it up: `evergrant journal discard {} --yes`", .0.id, .0.problem, .0.id)]
    Damaged(Damaged),
    /// It holds an answer that recovery writes.
    #[error(
        "the entry {0} isn't parked: its answer is on its way into the document\nhint: run `evergrant journal recover`"
    )]
    Answer(EntryId),
    /// It is open for another reason.
    #[error("the entry {id} isn't a parked pair but {}\nhint: `evergrant journal list` says what it waits for", state.word())]
    NotParked {
        /// Which.
        id: EntryId,
        /// Its state.
        state: EntryState,
    },
    /// It is no answer that nobody could read.
    #[error(
        "the entry {id} isn't an unread answer but {}\nhint: `evergrant journal list` says what it waits for", state.word()
    )]
    NotUnread {
        /// Which.
        id: EntryId,
        /// Its state.
        state: EntryState,
    },
    /// Its provider is never shown a token that may be spent.
    #[error(
        "the token of the entry {id} may be spent, and `ask_again = \"never\"` forbids sending such a token to `{provider}`, which would end the whole login\nhint: set where the tokens stand in its answers (`answer.access_token`, `answer.refresh_token`); or set `ask_again = \"once\"` for this one time; or `evergrant journal discard {id}`"
    )]
    NeverAskedAgain {
        /// Which.
        id: EntryId,
        /// Whose.
        provider: String,
    },
    /// Nobody can read its answer.
    #[error(
        "no pair can be read in the answer of the entry {id} ({code})\nhint: set where the tokens stand (`answer.access_token`, `answer.refresh_token`); for `content_coding_…` use a version that knows the coding; or `evergrant journal discard {id}`"
    )]
    Unreadable {
        /// Which.
        id: EntryId,
        /// What is wrong with it.
        code: String,
    },
    /// Its provider isn't configured.
    #[error(
        "the entry {id} is a pair of the provider `{provider}`, which is not configured\nhint: configure it under that name, or `evergrant journal discard {id}`"
    )]
    NoProvider {
        /// Which.
        id: EntryId,
        /// Whose.
        provider: String,
    },
    /// It is a pair of another store.
    #[error(
        "the entry {id} is a pair of another store: {store}\nhint: set `store.url` back to that store and apply again; or, if its tokens live here now, `evergrant journal recover --adopt-store`"
    )]
    Elsewhere {
        /// Which.
        id: EntryId,
        /// Whose.
        store: String,
    },
    /// The document isn't there.
    #[error(
        "the document {document} of `{subject}` is gone\nhint: bring it back, with any refresh token in it, and apply again; or `evergrant journal discard {id}`"
    )]
    Gone {
        /// Which entry.
        id: EntryId,
        /// Whose.
        subject: Subject,
        /// Its `_id`.
        document: TokenId,
    },
    /// The document belongs to another provider now.
    #[error(
        "the document of `{subject}` belongs to another provider now, and the pair of the entry {id} to `{provider}`\nhint: set the document's provider back and apply again, or `evergrant journal discard {id}`"
    )]
    ProviderChanged {
        /// Which entry.
        id: EntryId,
        /// Whose.
        subject: Subject,
        /// The pair's.
        provider: String,
    },
    /// There is no token in the document to compare with.
    #[error(
        "the document of `{subject}` holds no refresh token that a write could be compared with: {malformed}\nhint: write any text into that field and apply again: the write is compared with it, so that no new token is overwritten"
    )]
    NoToken {
        /// Whose.
        subject: Subject,
        /// What is there.
        malformed: Malformed,
    },
    /// A pass holds it.
    #[error(
        "the document of `{subject}` is claimed by {owner} until {until}\nhint: let that pass end, or its claim run out; if that process used this state directory and is gone, run `evergrant journal recover`; then try again"
    )]
    Claimed {
        /// Whose.
        subject: Subject,
        /// By whom.
        owner: String,
        /// Until when.
        until: Timestamp,
    },
    /// Somebody wrote it while we did.
    #[error(
        "the document of `{0}` changed meanwhile, and nothing was written\nhint: look at it, and apply again if this pair is the better one"
    )]
    Changed(Subject),
    /// The store refuses this document.
    #[error(
        "the store refuses to write the document of `{subject}`: {reason}\nhint: mend the document or the collection's rules, and apply again"
    )]
    Refused {
        /// Whose.
        subject: Subject,
        /// Why.
        reason: String,
    },
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Pass(error.into())
    }
}

impl Pass {
    /// Writes a parked pair into its document, whatever token stands there now, unless that one changes meanwhile.
    ///
    /// Access token, refresh token and bookkeeping go in one update. **Must run to completion**; killed midway, it is
    /// found written by the next start.
    ///
    /// # Errors
    /// See [`ApplyError`]; the pair stays parked then.
    pub async fn apply(&self, id: EntryId) -> Result<Applied, ApplyError> {
        let report = Arc::new(Report::new());
        let now = self.clock.now();
        let line = self.line(&PassRequest::default(), &self.providers, &Stop::default(), report, now);
        self.begin(&line).await?;
        let applied = self.apply_entry(&line, id).await;
        self.journal.finish_pass(&line.terms.lease_id).await.map_err(PassError::from)?;
        applied
    }

    async fn apply_entry(&self, line: &Line, id: EntryId) -> Result<Applied, ApplyError> {
        let entry = match self.journal.entry(id).await.map_err(PassError::from)? {
            None => return Err(ApplyError::NotThere(id)),
            Some(Err(damaged)) => return Err(ApplyError::Damaged(damaged)),
            Some(Ok(entry)) => entry,
        };
        match entry.state {
            EntryState::Orphan => {}
            EntryState::Answer if provider_of(&entry, &self.providers).is_none() => {
                return Err(ApplyError::NoProvider { id, provider: entry.intent.provider.to_string() });
            }
            EntryState::Answer => return Err(ApplyError::Answer(id)),
            state => return Err(ApplyError::NotParked { id, state }),
        }
        if let Some(store) = entry.elsewhere {
            return Err(ApplyError::Elsewhere { id, store });
        }
        let intent = entry.intent.clone();
        let (subject, document, name) = (intent.subject, intent.document, intent.provider.to_string());
        // By hand only under its own name: a pair of a provider that was left out isn't to be guessed at.
        let Some(provider) = self.providers.iter().find(|provider| *provider.name == *name) else {
            return Err(ApplyError::NoProvider { id, provider: name });
        };
        let (granted, new, received_at) = self.pair_of(entry, &provider.profile.answer)?;
        let done = |replaced| Applied {
            id,
            subject: subject.clone(),
            document: document.clone(),
            provider: name.clone(),
            replaced,
            written: new,
        };
        let Some(there) = self.read(&document).await? else {
            return Err(ApplyError::Gone { id, subject, document });
        };
        let redeemed = vec![(id, Event::Redeemed { successor: new })];
        if there.refresh_token.as_ref().is_ok_and(|token| token.fingerprint() == new) {
            self.journal.end(redeemed, self.clock.now()).await.map_err(PassError::from)?;
            return Ok(done(None));
        }
        if self.settings.documents_name_provider && there.provider.as_deref() != Some(&*name) {
            return Err(ApplyError::ProviderChanged { id, subject, provider: name });
        }
        if is_claimed(&there, self.clock.now())
            && let Some(lease) = there.bookkeeping.lease
        {
            return Err(ApplyError::Claimed { subject, owner: lease.owner, until: lease.until });
        }
        let refresh_token = there
            .refresh_token
            .map_err(|malformed| ApplyError::NoToken { subject: subject.clone(), malformed })?;
        let replaced = refresh_token.fingerprint();
        let token =
            DueToken { id: there.id, subject: there.subject, refresh_token, bookkeeping: there.bookkeeping };
        let jitter = self.chance.unit();
        let change = line.policy.renewal(&granted, &token, &provider.profile, received_at, jitter);
        self.write_alone(id, &subject, &change).await?;
        self.journal.end(redeemed, self.clock.now()).await.map_err(PassError::from)?;
        Ok(done(Some(replaced)))
    }

    /// Writes one change for an entry, and says why when it didn't match.
    pub(super) async fn write_alone(
        &self,
        id: EntryId,
        subject: &Subject,
        change: &Change,
    ) -> Result<(), ApplyError> {
        let (subject, document) = (subject.clone(), change.id.clone());
        let written = self.store.apply(std::slice::from_ref(change)).await?;
        if let Some((_, reason)) = written.refused.into_iter().next() {
            return Err(ApplyError::Refused { subject, reason });
        }
        if written.every_matched {
            return Ok(());
        }
        match settle(change, self.read(&document).await?.as_ref()) {
            Found::Ours => Ok(()),
            Found::Theirs | Found::Unchanged => Err(ApplyError::Changed(subject)),
            Found::Gone => Err(ApplyError::Gone { id, subject, document }),
        }
    }

    pub(super) async fn read(&self, id: &TokenId) -> Result<Option<TokenDocument>, StoreError> {
        Ok(self.store.read(std::slice::from_ref(id)).await?.into_iter().next())
    }

    /// The pair in a parked answer, its refresh token's fingerprint, and when it came.
    fn pair_of(
        &self,
        entry: Entry,
        shape: &AnswerShape,
    ) -> Result<(Journaled<Granted>, Fingerprint, Timestamp), ApplyError> {
        let id = entry.id;
        let unreadable = |code: &str| ApplyError::Unreadable { id, code: code.to_owned() };
        let answer = entry.answer.ok_or_else(|| unreadable("no_answer"))?;
        let received_at = answer.get().received_at;
        let answer = answer.map(|raw| read_answer(&raw, shape, self.clock.now()));
        let Class::Granted(granted) = answer.get().class.clone() else {
            return Err(unreadable(&answer.get().code));
        };
        let new = granted.refresh_token.as_ref().map(crate::token::RefreshToken::fingerprint);
        // Without one there is nothing that the document's next grant doesn't give again.
        let new = new.ok_or_else(|| unreadable("no_refresh_token"))?;
        Ok((answer.map(|_| granted), new, received_at))
    }
}
