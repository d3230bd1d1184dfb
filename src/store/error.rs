//! What goes wrong in a store, shaped by what the caller does next.

use super::{mongo, sqlite};
use crate::exit::Exit;
use crate::failure::Advice;
use crate::room::Shortage;
use std::borrow::Cow;

/// What a store can't do, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, failing over, or an acknowledgement that says "maybe": the same call may be repeated.
    #[error("the store {at} is not available while trying to {action}")]
    Unavailable {
        /// [`Store::describe`](super::Store::describe).
        at: String,
        /// In words: `claim documents`.
        action: &'static str,
        /// The library's error; its text never holds credentials or document values.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store understood and refused; repeating won't help, a person must act.
    #[error("the store {at} refuses to {action}")]
    Denied {
        /// [`Store::describe`](super::Store::describe).
        at: String,
        /// In words: `update documents`.
        action: &'static str,
        /// What to do about it.
        hint: String,
        /// The library's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk of an embedded store has no room for what would be redeemed; nothing was written.
    #[error("the store {at} can't {action}: {shortage}")]
    Full {
        /// [`Store::describe`](super::Store::describe).
        at: String,
        /// In words: `claim documents`.
        action: &'static str,
        /// What is left.
        shortage: Shortage,
    },
    /// The disk of an embedded store failed. It is not asked again before [`Store::prepare`](super::Store::prepare) has opened it anew: a second
    /// sync may say that what the first one lost is there.
    #[error("the store {at} failed to {action}")]
    Failed {
        /// [`Store::describe`](super::Store::describe).
        at: String,
        /// In words: `update documents`.
        action: &'static str,
        /// The library's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings can't describe a store: URL, extra filter, field path.
    #[error("{0}")]
    Settings(String),
}

impl Advice for StoreError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Unavailable { source, .. } => {
                mongo::hint_of(&**source).or_else(|| sqlite::hint_of(&**source)).map(Cow::from)
            }
            Self::Denied { hint, .. } => Some(hint.into()),
            Self::Full { .. } => Some(
                "free some space there; until then nothing is claimed (`free_space_floor` says how much is kept)".into(),
            ),
            Self::Failed { .. } => {
                Some("look at the disk; new pairs stay in the journal, and the next start writes them".into())
            }
            Self::Settings(_) => None,
        }
    }
}

impl StoreError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Settings(_) => Exit::Usage,
            Self::Unavailable { .. } | Self::Denied { .. } | Self::Full { .. } | Self::Failed { .. } => {
                Exit::Unavailable
            }
        }
    }
}
