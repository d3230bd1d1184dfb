//! What is to be written into a document, and what must be so there for it to be written.

use super::mapping::FieldPath;
use crate::clock::Timestamp;
use crate::token::{AccessToken, Bookkeeping, Further, Lease, RefreshToken, TokenId};
use chrono::TimeDelta;

/// One atomic update of one document: a pair and the bookkeeping, or the bookkeeping alone.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which document.
    pub id: TokenId,
    /// Apply only if the document's refresh token is still this one.
    pub expect_refresh_token: Option<RefreshToken>,
    /// Apply only if the claim on the document is as this demands.
    pub expect_lease: Fence,
    /// The new pair.
    pub pair: Option<PairChange>,
    /// The whole new sub-document.
    pub bookkeeping: Bookkeeping,
}

/// What a [`Change`] demands of the claim on its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// Nothing: another process may hold the claim.
    None,
    /// The document still carries this lease id.
    Lease(String),
    /// The document still carries this very claim, which has ended.
    Ended {
        /// The id of the lease.
        lease: String,
        /// Its end: a renewed claim has another one.
        until: Timestamp,
        /// By the store's clock it ended so long ago, or longer. A store on a machine of its own has our clock.
        ended_for: TimeDelta,
    },
    /// The document carries no lease.
    Unclaimed,
    /// The document carries no lease, and falls due at this moment: what was read of it is as it was.
    Due(Timestamp),
    /// The document carries no lease, and the mark that was made at this moment ([`Bookkeeping::marked_at`]).
    Marked(Timestamp),
}

impl Fence {
    /// The claim as it was read; nothing is demanded where there was none.
    #[must_use]
    pub fn of(lease: Option<&Lease>) -> Self {
        lease.map_or(Self::None, |lease| Self::Lease(lease.id.clone()))
    }

    /// Does a document with this bookkeeping meet it?
    #[must_use]
    pub fn admits(&self, bookkeeping: &Bookkeeping) -> bool {
        let lease_id = bookkeeping.lease.as_ref().map(|lease| lease.id.as_str());
        match self {
            Self::None => true,
            Self::Lease(expected) => lease_id == Some(expected),
            Self::Ended { lease, until, .. } => {
                let carried = bookkeeping.lease.as_ref();
                carried.is_some_and(|carried| carried.id == *lease && carried.until == *until)
            }
            Self::Unclaimed => lease_id.is_none(),
            Self::Due(at) => lease_id.is_none() && bookkeeping.due_at == Some(*at),
            Self::Marked(at) => lease_id.is_none() && bookkeeping.marked_at() == Some(*at),
        }
    }
}

impl Change {
    /// Takes the further values of the answer (`documents.also`) out of it; the names of their fields.
    pub fn take_further_values(&mut self) -> Vec<String> {
        let further = self.pair.as_mut().map(|pair| std::mem::take(&mut pair.also)).unwrap_or_default();
        further.into_iter().map(|(field, _)| field).collect()
    }
}

/// The token fields of a [`Change`].
#[derive(Debug, Clone)]
pub struct PairChange {
    /// Goes into the refresh token field.
    pub refresh_token: RefreshToken,
    /// Goes into the access token field, where one is mapped; `None` leaves what is there.
    pub access_token: Option<AccessToken>,
    /// Apply only if this access token stands there, where one is mapped.
    pub replaces: Replaces,
    /// Go into further fields, by the field's path.
    pub also: Vec<(String, Further)>,
}

/// The access token that a pair demands in its document.
///
/// Where a provider keeps the refresh token, this alone says whether a newer pair was written since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaces {
    /// Any, or none: the refresh token says enough.
    Any,
    /// None.
    Nothing,
    /// This one.
    Token(AccessToken),
}

impl Replaces {
    /// The access token that stood there.
    #[must_use]
    pub fn of(token: Option<&AccessToken>) -> Self {
        token.map_or(Self::Nothing, |token| Self::Token(token.clone()))
    }

    /// Does a document with this access token meet it?
    #[must_use]
    pub fn admits(&self, now_there: Option<&AccessToken>) -> bool {
        match self {
            Self::Any => true,
            Self::Nothing => now_there.is_none(),
            Self::Token(expected) => now_there == Some(expected),
        }
    }

    /// The text that the field is to hold; empty for none, and `None` where it may hold any.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Nothing => Some(""),
            Self::Token(token) => Some(token.expose()),
        }
    }
}

impl PairChange {
    /// What goes into this further field.
    pub(super) fn further(&self, path: &FieldPath) -> Option<&Further> {
        self.also.iter().find(|(name, _)| name == path.as_str()).map(|(_, value)| value)
    }
}
