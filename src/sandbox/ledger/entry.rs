//! What the ledger keeps: logins, tokens, presentations.

use super::super::opaque::TokenBytes;
use super::super::record::Outcome;
use std::num::NonZeroU32;

/// Position in one of the ledger's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Index(NonZeroU32);

impl Index {
    pub(super) fn new(position: usize) -> Self {
        let number = u32::try_from(position).ok().and_then(|it| it.checked_add(1)).and_then(NonZeroU32::new);
        Self(number.expect("memory ends long before four billion entries"))
    }

    pub(in super::super) const fn position(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Why a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Ended {
    DeadFromStart,
    Revoked,
    Reuse,
    Expired,
}

/// A login: the chain, or with grace the tree, of refresh tokens that came from it.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) user: usize,
    pub(super) ended: Option<Ended>,
    /// The token that was handed out last.
    pub(super) newest: Index,
    /// The same user's login before this one.
    pub(super) earlier: Option<Index>,
    pub(super) rotations: u32,
    pub(super) lost_answers: u32,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) bytes: TokenBytes,
    pub(super) family: Index,
    pub(super) issued_at: i64,
    /// When an answer last contained it.
    pub(super) handed_at: i64,
    pub(super) first_redeemed_at: Option<i64>,
    pub(super) predecessor: Option<Index>,
    pub(super) successor: Option<Index>,
    /// The latest entry of its presentations, which leads to the earlier ones.
    pub(super) last_presentation: Option<Index>,
    /// How many answers contained it: each has its own access token.
    pub(super) answers: u32,
}

#[derive(Debug)]
pub(super) struct Presented {
    pub(super) token: Index,
    pub(super) earlier: Option<Index>,
    pub(super) at: i64,
    pub(super) outcome: Outcome,
    pub(super) reuse: bool,
    pub(super) in_grace: bool,
    pub(super) successor: Option<Index>,
}

impl Presented {
    pub(super) const fn nothing(token: Index, at: i64, outcome: Outcome, reuse: bool) -> Self {
        Self { token, earlier: None, at, outcome, reuse, in_grace: false, successor: None }
    }
}
