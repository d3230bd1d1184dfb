//! A case: one token, and everything that is known of it at one moment.

use super::Belief;
use super::change::DuePolicy;
use crate::clock::Timestamp;
use crate::grant::answer::{Class, Granted, Reading};
use crate::journal::{Doubts, EntryId, Received};
use crate::provider::{Profile, Provider, Rotation};
use crate::token::{
    DueToken, Fingerprint, LastError, Lost, Reason, RefreshToken, State, TokenDocument, TokenId,
};
use std::sync::Arc;

/// One token at one moment.
#[derive(Debug)]
pub struct Case {
    /// The token, and the bookkeeping of its document as it was claimed.
    pub token: DueToken,
    /// Its provider.
    pub provider: Arc<Provider>,
    /// What was found out of it last.
    pub fact: Fact,
}

/// What was found out of a token.
#[derive(Debug)]
pub enum Fact {
    /// Its request has ended.
    Asked(Box<Asked>),
    /// It was refused, and could not be asked for once more in this pass.
    RefusedOnce(Refusal),
    /// A mark was held until the provider's refusals were judged.
    Marked(Mark, Belief),
    /// This machine redeemed the token before.
    Redeemed(Redeemed),
    /// It may be spent, and its provider forbids a second request for such a token.
    MayBeSpent(EntryId, LastError),
    /// Another program wrote a newer token into the document, or deleted it.
    Overtaken {
        /// After the token was refused?
        refused: bool,
    },
    /// It was not sent: why.
    NotSent(Reason),
    /// It can't be sent before something else has happened: why.
    Waits(Reason),
    /// It was issued so short a time ago that its provider would refuse to be asked; it is old enough then.
    TooYoung(Timestamp),
    /// It was claimed, and its turn did not come.
    NotTaken,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Asked {
    /// Its row.
    pub entry: EntryId,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// Where to.
    pub peer: Option<String>,
    /// What came.
    pub heard: Heard,
    /// The first earlier request of this pass that no answer has settled.
    pub earlier: Option<Lost>,
    /// What the journal knows of earlier requests.
    pub doubts: Doubts,
    /// How often the token was asked for in this pass, this time included.
    pub tried: Tried,
    /// Has the provider granted nothing yet in this pass?
    pub unproven: bool,
    /// Is no user granted now, since the pass began or since the provider began to fail? Only asked where tokens are single
    /// use.
    pub without_grants: bool,
}

/// What came for a request.
#[derive(Debug)]
pub enum Heard {
    /// An answer, read after it was journaled.
    Answer {
        /// What it means.
        reading: Received<Reading>,
        /// When it came.
        received_at: Timestamp,
        /// How many bytes its body has.
        bytes: u64,
    },
    /// None.
    Nothing(Reading),
}

impl Heard {
    /// What the answer, or its absence, means.
    #[must_use]
    pub const fn reading(&self) -> &Reading {
        match self {
            Self::Answer { reading, .. } => reading.get(),
            Self::Nothing(reading) => reading,
        }
    }
}

impl Asked {
    /// What the answer, or its absence, means.
    #[must_use]
    pub const fn reading(&self) -> &Reading {
        self.heard.reading()
    }

    /// Is it the outage that spoke, and not an answer to this request? Then it counts as not processed.
    #[must_use]
    pub const fn is_of_an_outage(&self) -> bool {
        self.reading().may_be_outage && self.without_grants
    }

    /// Bytes of an answer that came.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        match &self.heard {
            Heard::Answer { bytes, .. } => *bytes,
            Heard::Nothing(_) => 0,
        }
    }
}

/// How often a token was tried in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tried {
    /// Answers that said: not processed, later.
    pub put_off: u32,
    /// Requests whose answers were lost.
    pub unanswered: u32,
    /// Refusals whose code says that the token is dead.
    pub refused: u32,
}

impl Tried {
    /// With one more request, whose answer means this. An outage is like an answer that said: later; where the provider
    /// doesn't rotate, so is a lost answer.
    #[must_use]
    pub const fn and(self, class: &Class, is_of_an_outage: bool, rotation: Rotation) -> Self {
        let Self { put_off, unanswered, refused } = self;
        match class {
            Class::Ambiguous if is_of_an_outage => Self { put_off: put_off + 1, ..self },
            Class::Throttled(_) | Class::Transient => Self { put_off: put_off + 1, ..self },
            Class::Ambiguous if matches!(rotation, Rotation::None) => {
                Self { put_off: put_off + 1, unanswered: unanswered + 1, refused }
            }
            Class::Ambiguous => Self { unanswered: unanswered + 1, ..self },
            Class::Refused => Self { refused: refused + 1, ..self },
            Class::Granted(_)
            | Class::Suspected
            | Class::ClientRejected
            | Class::Unlisted
            | Class::Unreadable => self,
        }
    }
}

/// A mark that has to be believed before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The provider refused the token.
    Refused(Refusal),
    /// The token was redeemed before, and its pair is in no document.
    Redeemed(Redeemed),
    /// The token may be spent, and its provider forbids a second request: nothing was sent.
    MayBeSpent(EntryId, LastError),
}

/// A token that this machine redeemed before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeemed {
    /// For this document.
    pub first: TokenId,
    /// When, as far as that is known.
    pub at: Option<Timestamp>,
    /// The newest refresh token that is known to have come out of it.
    pub successor: Option<Fingerprint>,
    /// The newest pair that came out of it, where the journal still has it.
    pub received: Option<Box<ReceivedPair>>,
}

/// A pair that was received for a token which a document holds again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPair {
    /// The pair.
    pub pair: Received<Granted>,
    /// The token that was sent for it: another one than the document's, where that is older.
    pub sent: Fingerprint,
    /// When its answer came.
    pub received_at: Timestamp,
    /// Has it had no place yet?
    pub is_parked: bool,
}

/// A refusal, before it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its row.
    pub entry: EntryId,
    /// What the document becomes, if the refusal is believed.
    pub state: State,
    /// What the provider said.
    pub evidence: LastError,
    /// Does its code say that the token is dead, and was that said twice, or may the token not be sent again?
    pub certain: bool,
    /// Was this token refused before, on another occasion, or is the document marked already?
    pub before: bool,
    /// The newest pair that came out of the token, where the journal still has it: the token was asked for all the same.
    pub received: Option<Box<ReceivedPair>>,
}

/// What was found of the document that a case looks at.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// It wasn't looked at.
    NotRead,
    /// The store can't be read.
    Unknown,
    /// It isn't there.
    Gone,
    /// It is there.
    There(&'a TokenDocument),
}

impl Document<'_> {
    /// Is it there, with this token?
    #[must_use]
    pub fn holds(self, token: &RefreshToken) -> bool {
        matches!(self, Self::There(document) if document.refresh_token.as_ref() == Ok(token))
    }
}

/// What is the same for all cases of a pass, and what is drawn for each.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// When things fall due again.
    pub policy: &'a DuePolicy,
    /// The claim of this pass.
    pub lease_id: &'a str,
    /// The claims of this machine's earlier passes that never finished.
    pub earlier: &'a [String],
    /// How often a token is asked for in one pass after answers that said: later.
    pub attempts: u32,
    /// Does each document name its provider?
    pub documents_name_provider: bool,
    /// The time.
    pub now: Timestamp,
    /// In `[0, 1)`; spreads due times.
    pub jitter: f64,
}

impl Around<'_> {
    /// Is this claim this pass's, or of a process of this machine that is gone?
    #[must_use]
    pub fn is_our_claim(&self, lease_id: &str) -> bool {
        lease_id == self.lease_id || self.earlier.iter().any(|earlier| earlier == lease_id)
    }
}

impl Case {
    /// How its provider behaves.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.provider.profile
    }

    /// The document on which the verdict depends: its own, or the one for which the token was redeemed.
    #[must_use]
    pub const fn looks_at(&self) -> &TokenId {
        match &self.fact {
            Fact::Redeemed(redeemed) | Fact::Marked(Mark::Redeemed(redeemed), _) => &redeemed.first,
            Fact::Asked(_)
            | Fact::RefusedOnce(_)
            | Fact::Marked(Mark::Refused(_) | Mark::MayBeSpent(..), _)
            | Fact::MayBeSpent(..)
            | Fact::Overtaken { .. }
            | Fact::NotSent(_)
            | Fact::Waits(_)
            | Fact::TooYoung(_)
            | Fact::NotTaken => &self.token.id,
        }
    }
}
