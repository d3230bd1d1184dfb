//! Why `journal apply` or `journal retry` can't do what a person asks.

use super::PassError;
use crate::clock::Timestamp;
use crate::journal::{Damaged, Entry, EntryId, EntryState};
use crate::store::StoreError;
use crate::token::{Malformed, Subject, TokenId};
use crate::verdict::Obstacle;

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
    /// It is no unread answer.
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
    /// Its answer can't be read.
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
    /// Another program wrote it while we did.
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

impl ApplyError {
    /// What stands in the way of a row, with its names.
    pub(super) fn obstacle(obstacle: Obstacle, entry: &Entry) -> Self {
        let (id, subject) = (entry.id, entry.intent.subject.clone());
        let provider = entry.intent.provider.to_string();
        match obstacle {
            Obstacle::Gone => Self::Gone { id, subject, document: entry.intent.document.clone() },
            Obstacle::ProviderChanged => Self::ProviderChanged { id, subject, provider },
            Obstacle::Claimed(lease) => Self::Claimed { subject, owner: lease.owner, until: lease.until },
            Obstacle::NoToken(malformed) => Self::NoToken { subject, malformed },
            Obstacle::NeverAskedAgain => Self::NeverAskedAgain { id, provider },
        }
    }
}
