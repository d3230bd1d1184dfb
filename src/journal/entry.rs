//! The rows of the journal, as recovery and a person read them.

use super::{AccessThen, Intent, Journaled};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::room::Shortage;
use crate::store::Relation;
use crate::token::{Fingerprint, RefreshToken};
use serde::Serialize;
use std::collections::HashSet;
use std::num::ParseIntError;
use std::str::FromStr;

/// Names one row while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(transparent)]
pub struct EntryId(pub(super) i64);

impl std::fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for EntryId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self)
    }
}

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Sent or about to be; after a crash: unsettled.
    Intent,
    /// Answered, not yet written back.
    Answer,
    /// Whether the provider processed it isn't known.
    Unsettled,
    /// A success in which no pair was found; the token may be sent again all the same.
    AskAgain,
    /// A success in which no pair was found yet; the token isn't sent again.
    Unread,
    /// A success in which no pair was found; the token was sent again since, and this one stays until a pair came.
    SetAside,
    /// A good pair without a place.
    Orphan,
}

impl EntryState {
    /// All states, in the order in which they are explained.
    pub const ALL: [Self; 7] = [
        Self::Intent,
        Self::Answer,
        Self::Unsettled,
        Self::AskAgain,
        Self::Unread,
        Self::SetAside,
        Self::Orphan,
    ];

    /// The word in the journal and in lists.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Answer => "answer",
            Self::Unsettled => "unsettled",
            Self::AskAgain => "ask_again",
            Self::Unread => "unread",
            Self::SetAside => "set_aside",
            Self::Orphan => "orphan",
        }
    }

    /// Does the next pass have to do something about it? There is one such row for a token at most.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Intent | Self::Answer | Self::Unsettled | Self::AskAgain | Self::Unread => true,
            Self::SetAside | Self::Orphan => false,
        }
    }

    /// The state of this word; `None` where no state has it.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The state of a row with this word, which holds a success or none. An unknown word is read as the state that loses
    /// nothing.
    pub(super) fn read(word: &str, is_success: bool) -> Self {
        match Self::from_word(word) {
            Some(Self::Unsettled) | None if is_success => Self::AskAgain,
            Some(state) => state,
            None => Self::Unsettled,
        }
    }
}

/// A row of the journal, as recovery and `journal list` read it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// What it is waiting for.
    pub state: EntryState,
    /// What was sent.
    pub intent: Intent,
    /// When the token was first sent without an answer that settled it.
    pub unsettled_since: Option<Timestamp>,
    /// When the token was first turned away by an answer that wasn't the provider's own.
    pub turned_away_since: Option<Timestamp>,
    /// Why it is unsettled or an orphan.
    pub why: Option<String>,
    /// The address that it was sent to, where its answer was lost.
    pub peer: Option<String>,
    /// How long the body of its answer is; `None` where it holds none.
    pub received_bytes: Option<u64>,
    /// Did its answer come in full? `None` where it holds none.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "the proof of lost answers reads it"))]
    pub complete: Option<bool>,
    /// The store that it belongs to, where that isn't the one that passes go over now.
    pub elsewhere: Option<String>,
    /// The access token that stood beside the refresh token when that was sent.
    pub access: AccessThen,
    /// The refresh token that was sent; `None` where it isn't asked for, and where an earlier version sent it.
    pub sent: Option<RefreshToken>,
    /// What came back; `None` where it isn't asked for.
    pub answer: Option<Journaled<RawAnswer>>,
}

impl Entry {
    /// Why a pair is parked; `None` for a row in another state.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn parked_why(&self) -> Option<crate::token::Word<crate::token::ParkedWhy>> {
        let is_parked = matches!(self.state, EntryState::Orphan | EntryState::SetAside);
        let why = self.why.as_deref().filter(|_| is_parked)?;
        Some(crate::token::Word::read(why))
    }
}

/// A row that can't be read. It stays as it is, and stops no other row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Its number.
    pub id: EntryId,
    /// What is wrong with it, in words.
    pub problem: String,
}

/// Some rows, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Those that can be read.
    pub entries: Vec<Entry>,
    /// The others.
    pub damaged: Vec<Damaged>,
    /// Go on behind this one; `None` when that was all.
    pub next: Option<EntryId>,
}

/// All rows, without their answers.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Those that can be read, oldest first.
    pub entries: Vec<Entry>,
    /// The others.
    pub damaged: Vec<Damaged>,
    /// Pairs that their documents hold.
    pub kept: KeptPairs,
}

/// Pairs that their documents hold, and that are kept for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct KeptPairs {
    /// How many.
    pub pairs: u64,
    /// How many of them are not encrypted.
    pub in_the_clear: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// When the oldest of them was received.
    pub since: Option<Timestamp>,
}

/// A pair that came for a redeemed token, or for one that came out of it.
#[derive(Debug, Clone)]
pub struct KeptPair {
    /// The row that it was, or is, with its answer.
    pub entry: Entry,
    /// Has it no place yet? Otherwise a document had it.
    pub is_parked: bool,
}

/// Which of some refresh tokens the journal knows.
#[derive(Debug, Clone, Default)]
pub struct KnownTokens {
    /// They were redeemed, or given up by a person: none of them is sent again.
    pub redeemed: HashSet<Fingerprint>,
    /// They were sent, and their answer isn't in its document yet.
    pub on_their_way: HashSet<Fingerprint>,
}

/// Another store that open rows or kept pairs belong to. Parked pairs don't count: they stay those of their store, and never
/// keep a pass from going over another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherStore {
    /// How the store of the pass stands to it.
    pub relation: Relation,
    /// Which, for people.
    pub store: String,
    /// How many rows are open.
    pub open: u64,
    /// How many of them hold a successful answer.
    pub answers: u64,
    /// How many pairs are kept for its documents.
    pub kept: u64,
}

/// What [`super::Journal::adopt_store`] makes this store's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adoption {
    /// The stores that it belonged to, for people, and how this one stands to each. Empty: all is this store's already.
    pub from: Vec<(Relation, String)>,
    /// Open rows.
    pub open: u64,
    /// How many of them hold a successful answer.
    pub answers: u64,
    /// Pairs that are kept, should their documents lose them.
    pub kept: u64,
    /// Parked pairs.
    pub parked: u64,
}

/// What waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Parked {
    /// Good pairs without a place.
    pub orphans: u64,
    /// Successes in which no pair was found yet.
    pub unread: u64,
}

/// How the journal stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What waits for a person.
    pub parked: Parked,
    /// Why it takes no intents, if so.
    pub shortage: Option<Shortage>,
}
