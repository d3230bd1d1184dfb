//! Marks that a pass makes, and those that are taken back because its refusals aren't believed.
//!
//! | the document | |
//! |---|---|
//! | bears the mark, and is claimed | it is left to the claim's owner, and looked at again by the next pass |
//! | bears the mark, and a claim that may be taken over | as below, unless a claim comes between |
//! | bears the mark | live again, and due as after a put-off |
//! | anything else, or gone | it is as another program has left it |

use super::{Around, Case, Rule, Step, Verdict, is_known_dead};
use crate::clock::Timestamp;
use crate::journal::MadeMark;
use crate::store::{Change, Fence};
use crate::token::{Bookkeeping, LastError, Lease, State, TokenDocument};

/// What follows for a mark that is to be taken back.
#[derive(Debug, Clone)]
pub enum TakingBack {
    /// This change takes it back.
    Write(Box<Change>),
    /// Another process has claimed the document, and may still be at work.
    IsClaimed,
    /// The document doesn't bear it.
    IsNotThere,
}

/// The mark that a verdict makes, and what its document says before; `None` where it makes none, or one that was known.
#[must_use]
pub fn made_mark(case: &Case, verdict: &Verdict, around: &Around<'_>) -> Option<MadeMark> {
    let Step::Write(change, _) = &verdict.document else { return None };
    let marks = matches!(verdict.rule, Rule::Marked | Rule::MarkedLost | Rule::RedeemedMarked);
    if !marks || is_known_dead(&case.token) {
        return None;
    }
    let fingerprint = case.token.refresh_token.fingerprint();
    let before = case.token.bookkeeping.clone().speaking_of(fingerprint, around.now);
    let was_live = before.state == State::Live;
    Some(MadeMark {
        document: case.token.id.clone(),
        subject: case.token.subject.clone(),
        fingerprint,
        marked_at: change.bookkeeping.marked_at()?,
        pass: around.lease_id.to_owned(),
        since: if was_live { before.since } else { Some(around.now) },
        last_error: before.last_error,
    })
}

/// What becomes of a mark that is to be taken back, by its document as it is now. Claims that ended by `claims_ended_by` may
/// be taken over: another machine that is gone must not keep a wrong mark in its document.
#[must_use]
pub fn take_back(
    mark: &MadeMark,
    document: Option<&TokenDocument>,
    claims_ended_by: Timestamp,
    around: &Around<'_>,
) -> TakingBack {
    let Some(document) = document else { return TakingBack::IsNotThere };
    let (token, books) = (document.refresh_token.as_ref().ok(), &document.bookkeeping);
    let Some(token) = token
        .filter(|token| token.fingerprint() == mark.fingerprint && books.marked_at() == Some(mark.marked_at))
    else {
        return TakingBack::IsNotThere;
    };
    let (expect_lease, books) = match &books.lease {
        None => (Fence::Marked(mark.marked_at), books.clone()),
        Some(lease) if lease.until > claims_ended_by => return TakingBack::IsClaimed,
        Some(lease) => {
            // The process that held it may have sent the token.
            let held =
                Bookkeeping { lease: Some(Lease { taken_over: true, ..lease.clone() }), ..books.clone() };
            let noted = held.noting_the_takeover(mark.fingerprint, around.now);
            (Fence::Lease(lease.id.clone()), noted)
        }
    };
    TakingBack::Write(Box::new(Change {
        id: document.id.clone(),
        expect_refresh_token: Some(token.clone()),
        expect_lease,
        pair: None,
        bookkeeping: Bookkeeping {
            state: State::Live,
            since: mark.since,
            access_fingerprint: None,
            due_at: Some(around.policy.behind_others(around.now)),
            last_error: said_before(mark, books.last_error.as_ref(), around),
            lease: None,
            ..books
        },
    }))
}

/// What the document said before the mark. What the mark knows of a lost answer stays: a provider that forbids a second
/// request must not get one because its user isn't marked any more.
fn said_before(mark: &MadeMark, says: Option<&LastError>, around: &Around<'_>) -> Option<LastError> {
    let before = mark.last_error.clone();
    match says.and_then(|error| error.lost.clone()) {
        None => before,
        Some(lost) => Some(match before {
            Some(error) => LastError { lost: Some(lost), ..error },
            None => LastError::in_doubt(lost, around.now),
        }),
    }
}

#[cfg(test)]
mod tests;
