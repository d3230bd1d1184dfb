//! Why `journal apply` or `journal retry` can't do what a person asks.

use super::PassError;
use crate::clock::Timestamp;
use crate::exit::Exit;
use crate::failure::Advice;
use crate::journal::{Damaged, Entry, EntryId, EntryState};
use crate::store::{StoreError, Unwritable};
use crate::token::{Malformed, Subject, TokenId};
use crate::verdict::Obstacle;
use std::borrow::Cow;

/// Why a parked pair couldn't be written. It is parked as before.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The store or the journal isn't ready.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// There is no such entry.
    #[error("the journal has no open entry {0}")]
    NotThere(EntryId),
    /// It can't be read.
    #[error("the entry {} can't be read: {}", .0.id, .0.problem)]
    Damaged(Damaged),
    /// It holds an answer that recovery writes.
    #[error("the entry {0} isn't parked: its answer is on its way into the document")]
    Answer(EntryId),
    /// It is open for another reason.
    #[error("the entry {id} isn't a parked pair but {}", state.word())]
    NotParked {
        /// Which.
        id: EntryId,
        /// Its state.
        state: EntryState,
    },
    /// It is no unread answer.
    #[error("the entry {id} isn't an unread answer but {}", state.word())]
    NotUnread {
        /// Which.
        id: EntryId,
        /// Its state.
        state: EntryState,
    },
    /// Its provider is never shown a token that may be spent.
    #[error(
        "the token of the entry {id} may be spent, and `ask_again = \"never\"` forbids sending such a token to `{provider}`, which would end the whole login"
    )]
    NeverAskedAgain {
        /// Which.
        id: EntryId,
        /// Whose.
        provider: String,
    },
    /// Its answer can't be read.
    #[error("no pair can be read in the answer of the entry {id} ({code})")]
    Unreadable {
        /// Which.
        id: EntryId,
        /// What is wrong with it.
        code: String,
    },
    /// Its provider isn't configured.
    #[error("the entry {id} is a pair of the provider `{provider}`, which is not configured")]
    NoProvider {
        /// Which.
        id: EntryId,
        /// Whose.
        provider: String,
    },
    /// It is a pair of another store.
    #[error("the entry {id} is a pair of another store: {store}")]
    Elsewhere {
        /// Which.
        id: EntryId,
        /// Whose.
        store: String,
    },
    /// The document isn't there.
    #[error("the document {document} of `{subject}` is gone")]
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
        "the document of `{subject}` belongs to another provider now, and the pair of the entry {id} to `{provider}`"
    )]
    ProviderChanged {
        /// Which entry.
        id: EntryId,
        /// Whose.
        subject: Subject,
        /// The pair's.
        provider: String,
    },
    /// A person named the document, and the pair didn't come for its token.
    #[error(
        "the document {document} of `{subject}` doesn't hold the token for which the pair of the entry {id} came"
    )]
    OtherToken {
        /// Which entry.
        id: EntryId,
        /// Whose.
        subject: Subject,
        /// Its `_id`.
        document: TokenId,
    },
    /// There is no token in the document to compare with.
    #[error(
        "the document of `{subject}` holds no refresh token that a write could be compared with: {malformed}"
    )]
    NoToken {
        /// Whose.
        subject: Subject,
        /// What is there.
        malformed: Malformed,
    },
    /// A pass holds it.
    #[error("the document of `{subject}` is claimed by {owner} until {until}")]
    Claimed {
        /// Whose.
        subject: Subject,
        /// By whom.
        owner: String,
        /// Until when.
        until: Timestamp,
    },
    /// Another program wrote it while we did.
    #[error("the document of `{0}` changed meanwhile, and nothing was written")]
    Changed(Subject),
    /// The store refuses this document.
    #[error("the store refuses to write the document of `{subject}`: {reason}")]
    Refused {
        /// Whose.
        subject: Subject,
        /// Why.
        reason: Unwritable,
    },
}

impl Advice for ApplyError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Pass(error) => return error.hint(),
            Self::NotThere(_) => "`evergrant journal list` shows those that are open".into(),
            Self::Damaged(Damaged { id, .. }) => format!(
                "it stays as it is; restore `journal.db` from a copy, or give it up: `evergrant journal discard {id} --yes`"
            )
            .into(),
            Self::Answer(_) => "run `evergrant journal recover`".into(),
            Self::NotParked { .. } | Self::NotUnread { .. } => {
                "`evergrant journal list` says what it waits for".into()
            }
            Self::NeverAskedAgain { id, .. } => format!(
                "set where the tokens stand in its answers (`answer.access_token`, `answer.refresh_token`); or set `ask_again = \"once\"` for this one time; or `evergrant journal discard {id}`"
            )
            .into(),
            Self::Unreadable { id, .. } => format!(
                "set where the tokens stand (`answer.access_token`, `answer.refresh_token`); for `content_coding_…` use a version that knows the coding; or `evergrant journal discard {id}`"
            )
            .into(),
            Self::NoProvider { id, .. } => {
                format!("configure it under that name, or `evergrant journal discard {id}`").into()
            }
            Self::Elsewhere { .. } => {
                "set `store.url` back to that store and apply again; or, if its tokens live here now, `evergrant journal adopt`".into()
            }
            Self::Gone { id, .. } => format!(
                "bring it back, with any refresh token in it, and apply again; or `evergrant journal discard {id}`"
            )
            .into(),
            Self::ProviderChanged { id, .. } => format!(
                "set the document's provider back and apply again, or `evergrant journal discard {id}`"
            )
            .into(),
            Self::OtherToken { id, .. } => format!(
                "look for the document that holds it (`evergrant journal list --orphans` shows its fingerprint's entry); \
                 without `--to`, `evergrant journal apply {id}` replaces whatever token its own document holds"
            )
            .into(),
            Self::NoToken { .. } => {
                "write any text into that field and apply again: the write is compared with it, so that no new token is overwritten".into()
            }
            Self::Claimed { .. } => {
                "let that pass end, or its claim run out; if that process used this state directory and is gone, run `evergrant journal recover`; then try again".into()
            }
            Self::Changed(_) => "look at it, and apply again if this pair is the better one".into(),
            Self::Refused { .. } => "mend the document or the collection's rules, and apply again".into(),
        })
    }
}

impl ApplyError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Pass(error) => error.exit(),
            Self::NotThere(_)
            | Self::Damaged(_)
            | Self::Answer(_)
            | Self::NotParked { .. }
            | Self::NotUnread { .. }
            | Self::NeverAskedAgain { .. }
            | Self::Unreadable { .. }
            | Self::NoProvider { .. }
            | Self::Elsewhere { .. }
            | Self::Gone { .. }
            | Self::ProviderChanged { .. }
            | Self::OtherToken { .. }
            | Self::NoToken { .. }
            | Self::Claimed { .. }
            | Self::Changed(_)
            | Self::Refused { .. } => Exit::Usage,
        }
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Pass(error.into())
    }
}

impl ApplyError {
    /// What stands in the way of a row, with its names.
    pub(crate) fn obstacle(obstacle: Obstacle, entry: &Entry) -> Self {
        let (id, subject) = (entry.id, entry.intent.subject.clone());
        let provider = entry.intent.provider.to_string();
        match obstacle {
            Obstacle::Gone => Self::Gone { id, subject, document: entry.intent.document.clone() },
            Obstacle::ProviderChanged => Self::ProviderChanged { id, subject, provider },
            Obstacle::Claimed(lease) => Self::Claimed { subject, owner: lease.owner, until: lease.until },
            Obstacle::NoToken(malformed) => Self::NoToken { subject, malformed },
            Obstacle::OtherToken => Self::OtherToken { id, subject, document: entry.intent.document.clone() },
            Obstacle::NeverAskedAgain => Self::NeverAskedAgain { id, provider },
            Obstacle::OnItsWay => Self::Answer(id),
            Obstacle::NothingToDiscard => Self::NotParked { id, state: entry.state },
        }
    }
}
