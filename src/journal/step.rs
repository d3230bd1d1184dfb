//! What is recorded of one token: the intent, the permission to send it, and how its row ends.

use super::{EntryId, OtherStore};
use crate::clock::Timestamp;
use crate::token::{Code, DueToken, Fingerprint, ParkedWhy, Subject, TokenId, Word};
use std::sync::Arc;
use std::time::Duration;

/// What is about to be sent.
#[derive(Debug, Clone)]
pub struct Intent {
    /// To whom.
    pub provider: Arc<str>,
    /// For which document.
    pub document: TokenId,
    /// How people call it.
    pub subject: Subject,
    /// Which refresh token.
    pub fingerprint: Fingerprint,
    /// When.
    pub sent_at: Timestamp,
    /// The access token that stands beside it in the document; none where none does, and where it isn't asked for.
    pub access: Option<Fingerprint>,
    /// Did another machine write the last pair into the document?
    pub is_refreshed_elsewhere: bool,
}

/// When a token was first sent without an answer that settled what became of it: a refusal then means lost, not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts {
    /// No answer came, or none that says anything: whether the token is sent again is for its provider's profile to say.
    pub unsettled_since: Option<Timestamp>,
    /// An answer that wasn't the provider's own turned the request away; the token may be sent again.
    pub turned_away_since: Option<Timestamp>,
}

/// What is said of a token that was redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfRedeemed {
    /// It is not sent: [`Permission::AlreadyRedeemed`].
    Refuse,
    /// It is sent all the same: its provider doesn't rotate, or its grace lasts.
    Send,
}

/// The access token that stood beside a refresh token when that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessThen {
    /// An earlier version sent it, and didn't note that.
    #[default]
    Unknown,
    /// None stood there.
    Nothing,
    /// This one.
    Token(Fingerprint),
}

impl AccessThen {
    /// Is what stands there now known as another one? None now says nothing.
    #[must_use]
    pub fn differs_from(self, now_there: Option<Fingerprint>) -> bool {
        match self {
            Self::Unknown => false,
            Self::Nothing => now_there.is_some(),
            Self::Token(then) => now_there.is_some_and(|now_there| now_there != then),
        }
    }

    /// As the journal keeps it; `None` reads as unknown, and no digits as none.
    pub(super) fn read(text: Option<&str>) -> Self {
        match text {
            None => Self::Unknown,
            Some("") => Self::Nothing,
            Some(text) => Fingerprint::from_hex(text).map_or(Self::Unknown, Self::Token),
        }
    }
}

/// May this refresh token be sent?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// Yes; the intent is recorded.
    Send {
        /// Its row.
        entry: EntryId,
        /// What the journal knows of earlier sendings.
        doubts: Doubts,
    },
    /// No: this very token is on its way or its answer is being written back, for this document.
    InFlight(TokenId),
    /// No: it was redeemed. Where the provider takes a redeemed token, it may be sent with [`IfRedeemed::Send`].
    AlreadyRedeemed {
        /// For this document.
        first: TokenId,
        /// When it was first sent with success, or given up by a person; none where that can't be read.
        at: Option<Timestamp>,
        /// Does an access token stand beside it that stood beside no token of its chain when that was sent?
        has_other_access: bool,
        /// The newest refresh token that is known to have come out of it by now; none when the pair has no document.
        successor: Option<Fingerprint>,
    },
    /// No: the provider has answered it with a success that can't be read. The answer is kept, and read again at each
    /// start: once the profile says where the tokens stand, the pair is written.
    Unread,
}

/// What [`Journal::begin_pass`](super::Journal::begin_pass) found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The pass may begin; these are the lease ids of passes that never finished.
    Alone {
        /// Their claims can be given back: their process is gone, because we hold its journal, or they have ended.
        unfinished: Vec<String>,
    },
    /// The pass must not begin: open rows belong to the documents of another store.
    OtherStore(OtherStore),
}

/// A document that holds a redeemed token again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleDocument {
    /// Which one.
    pub document: TokenId,
    /// How people call its user.
    pub subject: Subject,
    /// The token that it holds.
    pub token: Fingerprint,
    /// When another machine wrote the pair of which its bookkeeping speaks, where that isn't the one that it holds.
    pub refreshed_elsewhere: Option<Timestamp>,
    /// The good token of its login, where its document knows the one that it holds as redeemed. This machine may have redeemed
    /// it just when a stale save came between.
    pub good: Option<Fingerprint>,
    /// The token for which this machine wrote the last pair, where its document knows the one that it holds as redeemed. What
    /// came between may be known to other machines only.
    pub last_sent: Option<Fingerprint>,
}

impl StaleDocument {
    /// The document that holds this token; `journal` is the id of ours.
    #[must_use]
    pub fn of(token: &DueToken, journal: &str) -> Self {
        let fingerprint = token.refresh_token.fingerprint();
        let books = &token.bookkeeping;
        // A mark as redeemed speaks of the token, whatever its document said of another one before.
        let is_marked = books.last_error.as_ref().is_some_and(|error| error.code.is(Code::AlreadyRedeemed));
        let is_spent = books.spent.contains(fingerprint);
        let speaks_of_another = is_marked || is_spent || books.fingerprint != Some(fingerprint);
        let is_elsewhere = speaks_of_another && books.is_refreshed_elsewhere(journal);
        let is_ours = books.refreshed_by.as_deref() == Some(journal);
        Self {
            document: token.id.clone(),
            subject: token.subject.clone(),
            token: fingerprint,
            refreshed_elsewhere: is_elsewhere.then(|| books.refreshed_at.unwrap_or(Timestamp::MAX_UTC)),
            good: books.good_token().filter(|_| is_spent),
            last_sent: books.spent.last().filter(|_| is_spent && is_ours),
        }
    }
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The document holds the pair, and the provider rotated: the old token is never sent again. The row goes.
    Redeemed {
        /// The new refresh token.
        successor: Fingerprint,
        /// How long such a token lives; `None` where that isn't known, and where its provider must never see it again. It
        /// says how long the old one is remembered.
        life: Option<Duration>,
    },
    /// The provider granted and kept the refresh token that was sent: it is good, whatever was in doubt of it. The row goes.
    Renewed,
    /// There is nothing more to do for the row, and it goes. What was in doubt of its token stays known.
    Settled,
    /// Provably not processed. A token that was in doubt before stays so; otherwise the row goes.
    NotProcessed,
    /// An answer that isn't the provider's own says: not processed. The row stays until an answer settles it, and the token
    /// may be sent again.
    TurnedAway {
        /// Why, in a word.
        cause: Word<Code>,
        /// Where it was sent to.
        peer: Option<String>,
    },
    /// No usable answer came. The row stays.
    Lost {
        /// Why, in a word.
        cause: Word<Code>,
        /// Where it was sent to.
        peer: Option<String>,
    },
    /// The provider's own success, in which no pair can be found: why. The row and the answer stay, and the token is
    /// not sent again: it may be spent.
    CannotRead(Word<Code>),
    /// A person, or the profile of today, allows a second request for a token whose answer can't be read: why. The answer
    /// stays until a pair came for the token.
    AskAgain(Word<Code>),
    /// A good pair that can't go into its document: why. The row and the answer stay; the old token is redeemed.
    NoPlace(ParkedWhy),
    /// A person has given it up. The row goes; the old token of a pair or of an unread answer is never sent again. What was in
    /// doubt of any other stays known.
    GivenUp,
}

impl Event {
    /// How long the token of the row lives, where that is known and of interest.
    pub(super) const fn life(&self) -> Option<Duration> {
        match self {
            Self::Redeemed { life, .. } => *life,
            _ => None,
        }
    }

    /// Its name in an error.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Redeemed { .. } => "redeemed",
            Self::Renewed => "renewed",
            Self::Settled => "settled",
            Self::NotProcessed => "not processed",
            Self::TurnedAway { .. } => "turned away",
            Self::Lost { .. } => "lost",
            Self::CannotRead(_) => "can't be read",
            Self::AskAgain(_) => "ask again",
            Self::NoPlace(_) => "no place",
            Self::GivenUp => "given up",
        }
    }
}
