//! Claims that ended in the hands of another process: may this one send the token?
//!
//! The claim is the mark: it says that the token may have been sent, and the answer may be in the journal of the process that
//! held it. Only where a second request does no harm the token is taken over at once.

use super::ClaimTerms;
use super::page::Source;
use crate::clock::Timestamp;
use crate::journal::Journal;
use crate::provider::{AskAgain, Profile, Rotation};
use crate::token::{Lease, RefreshToken, TokenDocument, TokenId, UNKNOWN_JOURNAL};
use chrono::TimeDelta;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// How long a token of unknown life waits for the journal that may hold its answer.
pub const WAIT_OF_UNKNOWN_LIFE: TimeDelta = TimeDelta::days(1);

/// What a pass knows of claims that aren't its own.
#[derive(Debug, Clone)]
pub struct Others {
    /// Knows the passes of this machine.
    pub journal: Journal,
    /// Ids of the journals whose claims a person has given up; [`UNKNOWN_JOURNAL`] may be among them.
    pub given_up: Arc<BTreeSet<String>>,
    /// The life that the answers of the provider told.
    pub learned_life: Option<Duration>,
}

/// Who made a claim that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A pass that this machine's journal knows: it knows as well what was sent.
    ThisJournal,
    /// Another one, and a person says that its journal is gone.
    GivenUp,
    /// Another one.
    AnotherJournal,
}

/// When the life of a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// As the provider or the profile says.
    Until(Timestamp),
    /// As other answers of the provider let expect.
    Expected(Timestamp),
    /// Nothing says.
    Unknown,
}

/// What becomes of a document whose claim ended in the hands of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It is taken over, and its token may be sent.
    Send,
    /// Its token must not be sent twice, and its life is over: it is taken over, and marked as lost.
    TooLate {
        /// By when it was sent, if it was.
        sent_at: Timestamp,
    },
    /// It is left as it is: not claimed, and not written to.
    Wait {
        /// When it is sent by itself; none where it never is.
        sent_at: Option<Timestamp>,
    },
}

/// What becomes of the document with this lease, which has ended? `since` is when the claim was made.
#[must_use]
pub fn takeover(
    by: Holder,
    profile: Option<&Profile>,
    (since, ended): (Timestamp, Timestamp),
    life: Life,
    now: Timestamp,
) -> Takeover {
    if by != Holder::AnotherJournal {
        return Takeover::Send;
    }
    let is_sent_freely = profile.is_some_and(|profile| match profile.rotation {
        Rotation::None => true,
        Rotation::Grace => is_within(profile.grace, since, now),
        Rotation::SingleUse => false,
    });
    if is_sent_freely {
        return Takeover::Send;
    }
    if profile.is_some_and(|profile| profile.ask_again == AskAgain::Never) {
        return match life {
            Life::Until(end) if end <= now => Takeover::TooLate { sent_at: since },
            Life::Until(_) | Life::Expected(_) | Life::Unknown => Takeover::Wait { sent_at: None },
        };
    }
    let sent_at = match life {
        Life::Until(end) | Life::Expected(end) => ended + (end - ended).max(TimeDelta::zero()) / 2,
        Life::Unknown => ended.checked_add_signed(WAIT_OF_UNKNOWN_LIFE).unwrap_or(Timestamp::MAX_UTC),
    };
    if sent_at <= now { Takeover::Send } else { Takeover::Wait { sent_at: Some(sent_at) } }
}

/// A clock that was set back since then proves nothing.
fn is_within(grace: Duration, since: Timestamp, now: Timestamp) -> bool {
    let age = now - since;
    age >= TimeDelta::zero() && TimeDelta::from_std(grace).is_ok_and(|grace| age < grace)
}

/// When the life of the token in the document ends, as far as the bookkeeping speaks of this token.
pub(super) fn life(document: &TokenDocument, profile: Option<&Profile>, learned: Option<Duration>) -> Life {
    let books = &document.bookkeeping;
    let token = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    if token.is_none() || token != books.fingerprint {
        return Life::Unknown;
    }
    let after =
        |life: Option<Duration>| books.refreshed_at?.checked_add_signed(TimeDelta::from_std(life?).ok()?);
    let told = books.refresh_expires_at;
    let said = told.or_else(|| after(profile.and_then(|profile| profile.refresh_token_lifetime)));
    match (said, after(learned)) {
        (Some(end), _) => Life::Until(end),
        (None, Some(end)) => Life::Expected(end),
        (None, None) => Life::Unknown,
    }
}

impl ClaimTerms {
    /// The claim of another pass on this document, where it ended before this.
    pub(super) fn ended<'a>(&self, document: &'a TokenDocument, by: Timestamp) -> Option<&'a Lease> {
        let lease = document.bookkeeping.lease.as_ref()?;
        (lease.id != self.lease_id && lease.until <= by).then_some(lease)
    }

    fn takeover_of(
        &self,
        document: &TokenDocument,
        lease: &Lease,
        is_known: bool,
        now: Timestamp,
    ) -> Takeover {
        let journal = lease.by.as_ref().map_or(UNKNOWN_JOURNAL, |by| &by.journal);
        let by = if is_known {
            Holder::ThisJournal
        } else if self.others.given_up.contains(journal) {
            Holder::GivenUp
        } else {
            Holder::AnotherJournal
        };
        let life = life(document, self.profile(), self.others.learned_life);
        takeover(by, self.profile(), (claimed_at(lease, self.lease), lease.until), life, now)
    }
}

/// When a claim was made; one of an earlier version doesn't say so.
#[must_use]
pub fn claimed_at(lease: &Lease, lasts: Duration) -> Timestamp {
    let lasts = TimeDelta::from_std(lasts).unwrap_or_default();
    lease.by.as_ref().map_or_else(|| lease.until - lasts, |by| by.since)
}

impl Source {
    /// What becomes of those documents whose claims ended in the hands of other processes.
    pub(super) async fn takeovers(
        &self,
        documents: impl Iterator<Item = &TokenDocument> + Clone,
    ) -> HashMap<TokenId, Takeover> {
        let (now, by) = (self.clock.now(), self.terms.takes_over_from(&self.clock));
        let ended = documents.filter(|document| has_a_good_token(document));
        let ended = ended.filter_map(|document| Some((document, self.terms.ended(document, by)?)));
        let ended: Vec<_> = ended.collect();
        if ended.is_empty() {
            return HashMap::new();
        }
        let leases = ended.iter().map(|(_, lease)| *lease);
        let known = self.known_passes(leases).await;
        let of = |(document, lease): (&TokenDocument, &Lease)| {
            let takeover = self.terms.takeover_of(document, lease, known.contains(&lease.id), now);
            (document.id.clone(), takeover)
        };
        ended.into_iter().map(of).collect()
    }

    /// The ids of those leases that are of passes which this machine's journal knows; none where it can't tell.
    pub(super) async fn known_passes(&self, leases: impl Iterator<Item = &Lease>) -> BTreeSet<String> {
        self.terms.others.journal.known_passes(leases).await.unwrap_or_else(|error| {
            // Nothing is sent any more: the next intent says so.
            debug!(error = %crate::failure::error_chain(&error), "the journal can't tell its passes");
            BTreeSet::new()
        })
    }
}

/// Is there a token in it that another process may have sent?
pub(super) fn has_a_good_token(document: &TokenDocument) -> bool {
    document.refresh_token.as_ref().err().is_none_or(crate::token::Malformed::leaves_the_token_good)
}

#[cfg(test)]
mod tests;
