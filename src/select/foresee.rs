//! What a pass would do with a document, as far as documents tell it. For a person who wants to know before it is done: nothing is
//! claimed, and nothing is asked.

use super::takeover::{Holder, Takeover, claimed_at, has_a_good_token, life, takeover};
use super::{Selected, next_look, select};
use crate::clock::Timestamp;
use crate::provider::Profile;
use crate::token::{TokenDocument, UNKNOWN_JOURNAL};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a pass goes by.
#[derive(Debug)]
pub struct Foresight<'a> {
    /// How the provider is asked; `None` for documents of none.
    pub profile: Option<&'a Profile>,
    /// Is every token asked for, marked or not?
    pub force: bool,
    /// The id of this machine's journal.
    pub journal: &'a str,
    /// Ids of the journals whose claims a person gives up.
    pub given_up: &'a BTreeSet<String>,
    /// The life that the answers of the provider told.
    pub learned_life: Option<Duration>,
    /// How long a claim lasts.
    pub lease: Duration,
    /// The time.
    pub now: Timestamp,
}

/// What a pass would do with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intended {
    /// Ask for its token.
    Ask,
    /// Ask once more for the token of a marked one, after all others.
    LookAgain,
    /// Name it again: it is marked already.
    Known,
    /// Name it: it holds no token that can be sent.
    NoToken(&'static str),
    /// Leave it to the process of another machine that claimed it and may hold its answer.
    Wait {
        /// When it is sent by itself; none where it never is.
        until: Option<Timestamp>,
    },
    /// Mark it: another process may have sent its token, which must not be sent twice, and its life is over.
    TooLate,
}

impl Foresight<'_> {
    /// What a pass would do with this document, which is [`sendable`](super::sendable) here.
    #[must_use]
    pub fn of(&self, document: &TokenDocument) -> Intended {
        if select(document, self.force, self.profile, self.now) == Selected::Known {
            let look = self.profile.and_then(|profile| next_look(&document.bookkeeping, profile));
            let is_time = !self.force && look.is_some_and(|look| look <= self.now);
            return if is_time { Intended::LookAgain } else { Intended::Known };
        }
        match self.takeover(document) {
            Some(Takeover::Wait { sent_at }) => return Intended::Wait { until: sent_at },
            Some(Takeover::TooLate { .. }) => return Intended::TooLate,
            Some(Takeover::Send) | None => {}
        }
        match &document.refresh_token {
            Ok(_) => Intended::Ask,
            Err(malformed) => Intended::NoToken(malformed.code()),
        }
    }

    /// What becomes of a claim that has ended; what is claimed still is not read.
    fn takeover(&self, document: &TokenDocument) -> Option<Takeover> {
        let lease = document.bookkeeping.lease.as_ref().filter(|_| has_a_good_token(document))?;
        let journal = lease.by.as_ref().map_or(UNKNOWN_JOURNAL, |by| &by.journal);
        let by = if journal == self.journal {
            Holder::ThisJournal
        } else if self.given_up.contains(journal) {
            Holder::GivenUp
        } else {
            Holder::AnotherJournal
        };
        let life = life(document, self.profile, self.learned_life);
        Some(takeover(by, self.profile, (claimed_at(lease, self.lease), lease.until), life, self.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Rotation, profile};
    use crate::token::{
        Bookkeeping, ClaimedBy, Evidence, Facts, LastError, Lease, Malformed, RefreshToken, State, Subject,
        TokenId,
    };
    use chrono::TimeDelta;

    fn day(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(days)
    }

    fn holding(token: Result<&str, Malformed>, bookkeeping: Bookkeeping) -> TokenDocument {
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            refresh_token: token.map(|token| RefreshToken::new(token.into())),
            access_token: None,
            facts: Facts::default(),
            bookkeeping,
        }
    }

    fn marked() -> Bookkeeping {
        let (class, code) = (Evidence::Refused.into(), "invalid_grant".into());
        Bookkeeping {
            state: State::NeedsLogin,
            since: Some(day(0)),
            fingerprint: Some(RefreshToken::new("a".into()).fingerprint()),
            last_error: Some(LastError { class, code, http_status: Some(400), at: day(0), lost: None }),
            ..Bookkeeping::default()
        }
    }

    fn claimed(journal: &str) -> Bookkeeping {
        let by = ClaimedBy { journal: journal.into(), version: "0.1.0".into(), since: day(0) };
        let (id, owner) = ("l".into(), "host:1".into());
        let lease = Lease { id, owner, until: day(1), taken_over: false, by: Some(by) };
        Bookkeeping { lease: Some(lease), ..Bookkeeping::default() }
    }

    #[test]
    fn each_document_is_foreseen_as_the_pass_will_find_it() {
        let single_use = Profile { rotation: Rotation::SingleUse, ..profile::load("generic").unwrap() };
        let given_up = BTreeSet::from(["gone".to_owned()]);
        let foresee = |now, force| Foresight {
            profile: Some(&single_use),
            force,
            journal: "ours",
            given_up: &given_up,
            learned_life: None,
            lease: Duration::from_mins(10),
            now,
        };
        let waits = Intended::Wait { until: Some(day(2)) };
        for (token, books, at, force, expected) in [
            (Ok("a"), Bookkeeping::default(), 1, false, Intended::Ask),
            (Ok("a"), marked(), 1, false, Intended::Known),
            (Ok("a"), marked(), 8, false, Intended::LookAgain),
            (Ok("a"), marked(), 1, true, Intended::Ask),
            (Ok("b"), marked(), 1, false, Intended::Ask),
            (Err(Malformed::Missing), Bookkeeping::default(), 1, false, Intended::NoToken("missing")),
            (Ok("a"), claimed("ours"), 1, false, Intended::Ask),
            (Ok("a"), claimed("gone"), 1, false, Intended::Ask),
            (Ok("a"), claimed("theirs"), 1, false, waits.clone()),
            (Ok("a"), claimed("theirs"), 1, true, waits),
            (Ok("a"), claimed("theirs"), 2, false, Intended::Ask),
        ] {
            let document = holding(token, books);
            assert_eq!(foresee(day(at), force).of(&document), expected, "{document:?} on day {at}");
        }
    }
}
