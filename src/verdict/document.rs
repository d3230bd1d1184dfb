//! What follows from the document as it is now: pairs, marks, copies, and claims that are given back.
//!
//! | case | document: unknown | gone | holds another token | holds the token |
//! |---|---|---|---|---|
//! | a mark that is believed | still due | gone | superseded | marked |
//! | a newer token was written | still due | gone | superseded | superseded |
//!
//! | redeemed before; the first document: | unknown | claimed | holds the token that came out of it | anything else |
//! |---|---|---|---|---|
//! | the journal has its newest pair | still due | still due | the pair is copied | the pair is put back |
//! | it has none | still due | still due | the pair is copied | marked, once that is believed |
//!
//! A mark that is believed becomes *put back*, too, where the token was asked for although it was redeemed, and the journal has
//! its newest pair.
//!
//! Where the provider takes a token that was redeemed, it is still due instead of put back or marked.

use super::permission::takes_redeemed;
use super::spent::rotated;
use super::{
    Around, Belief, Case, Document, End, Mark, Pair, ReceivedPair, Redeemed, Refusal, Rule, Step, Verdict,
};
use crate::clock::Timestamp;
use crate::gate::Signal;
use crate::grant::answer::Granted;
use crate::journal::{EntryId, Event, Received};
use crate::provider::Profile;
use crate::report::Outcome;
use crate::store::{Change, Fence};
use crate::token::{
    Bookkeeping, Code, DueToken, Evidence, Fingerprint, LEASE_MARGIN, LastError, Malformed, Reason,
    RefreshToken, State, TokenDocument,
};
use std::time::Duration;

/// A new pair goes into the document, by compare-and-swap on the token that was sent.
pub(super) fn write_pair(
    token: &DueToken,
    profile: &Profile,
    granted: &Received<Granted>,
    change: Change,
) -> Verdict {
    let new = granted.get().refresh_token.as_ref().filter(|new| **new != token.refresh_token);
    let event = new.map_or(Event::Renewed, |new| {
        rotated(new.fingerprint(), Some(profile), &[&token.bookkeeping, &change.bookkeeping])
    });
    let unsendable = change.bookkeeping.state == State::Malformed;
    let (rule, outcome) = if unsendable {
        (Rule::GrantedUnsendable, Outcome::Malformed)
    } else {
        (Rule::Granted, Outcome::Refreshed)
    };
    let pair = if granted.is_kept() { Pair::Journaled } else { Pair::Rescued };
    Verdict {
        rule,
        row: Some((granted.entry(), event)),
        document: Step::Write(Box::new(change), pair),
        gate: Signal::Works { granted: true },
        ends: Some(End::new(outcome)),
    }
}

/// A mark that was held, with what is believed by now.
pub(super) fn marked(
    case: &Case,
    mark: &Mark,
    belief: Belief,
    document: Document<'_>,
    around: &Around<'_>,
) -> Verdict {
    match (mark, belief) {
        // It was asked although it was redeemed, as a new login that it wasn't: the login goes on with what came for it.
        (Mark::Refused(Refusal { entry, received: Some(received), .. }), Belief::Believed)
            if document.holds(&case.token.refresh_token) =>
        {
            let verdict = put_back(case, received, around);
            // That of a parked pair ends in the place of the refusal's own.
            let row = verdict.row.clone().or(Some((*entry, Event::Settled)));
            verdict.with_row(row)
        }
        (Mark::Refused(refusal), Belief::Believed) => {
            retire(case, Some(refusal.entry), refusal.state, &refusal.evidence, document, around)
        }
        (Mark::Refused(refusal), Belief::Once) => {
            // Without jitter, which only shortens: the next occasion is at least the first wait away.
            let change = around.policy.deferral(&case.token, refusal.evidence.clone(), 0.0);
            Verdict::write(Rule::RefusedOnce, change, Some(End::still_due(Reason::RefusedOnce)))
        }
        (Mark::Refused(_), Belief::OurFault) => {
            behind(case, Rule::RefusalsNotBelieved, Reason::RefusedShare, around)
        }
        (Mark::MayBeSpent(..), Belief::OurFault) => {
            behind(case, Rule::MarksWithoutRequestNotBelieved, Reason::NotAskedAgain, around)
        }
        (Mark::MayBeSpent(entry, evidence), Belief::Believed | Belief::Once) => {
            self::may_be_spent(case, *entry, evidence, true, document, around)
        }
        (Mark::Redeemed(_), Belief::OurFault) => {
            behind(case, Rule::MarksWithoutRequestNotBelieved, Reason::AlreadyRedeemed, around)
        }
        (Mark::Redeemed(redeemed), Belief::Believed | Belief::Once) => {
            self::redeemed(case, redeemed, true, document, around)
        }
    }
}

/// Its provider is never shown a token that may be spent: it is marked without a request.
pub(super) fn may_be_spent(
    case: &Case,
    entry: EntryId,
    evidence: &LastError,
    believed: bool,
    document: Document<'_>,
    around: &Around<'_>,
) -> Verdict {
    match document {
        Document::NotRead if believed => look(Rule::MarkLooks),
        // Nothing was sent this time, whatever becomes of the document.
        Document::NotRead => Verdict {
            document: Step::Hold(Mark::MayBeSpent(entry, evidence.clone())),
            ..Verdict::leave(Rule::MayBeSpent, None)
        }
        .with_row(Some((entry, Event::NotProcessed))),
        Document::Gone => {
            let ends = Some(End::new(Outcome::Gone));
            Verdict::leave(Rule::MarkGone, ends).with_row(Some((entry, Event::NotProcessed)))
        }
        Document::Unknown | Document::There(_) => {
            retire(case, Some(entry), State::LostInFlight, evidence, document, around)
        }
    }
}

/// Marks a document, if it still holds the token that was refused.
fn retire(
    case: &Case,
    entry: Option<EntryId>,
    state: State,
    evidence: &LastError,
    document: Document<'_>,
    around: &Around<'_>,
) -> Verdict {
    let token = &case.token;
    let row = |event| entry.map(|entry| (entry, event));
    match document {
        Document::NotRead => look(Rule::MarkLooks),
        // Not settled after all: the provider is asked again in the next pass.
        Document::Unknown => unknown(Rule::MarkUnknown).with_row(row(Event::NotProcessed)),
        // It may have been moved, and hold the token under another `_id`: what was in doubt of that stays known.
        Document::Gone => {
            let ends = End { refused: true, ..End::new(Outcome::Gone) };
            Verdict::leave(Rule::MarkGone, Some(ends)).with_row(row(Event::NotProcessed))
        }
        // The loser of a race marks no user: the refused token isn't theirs any more.
        Document::There(document) if document.refresh_token.as_ref() != Ok(&token.refresh_token) => {
            superseded(Rule::MarkSuperseded, document, around).with_row(row(Event::Settled))
        }
        Document::There(_) => {
            let (rule, outcome) = match state {
                State::LostInFlight => (Rule::MarkedLost, Outcome::LostInFlight),
                State::Live | State::NeedsLogin | State::Malformed => (Rule::Marked, Outcome::NeedsLogin),
            };
            let change = around.policy.retirement(token, state, evidence.clone());
            let ends = End { news: !is_known_dead(token), ..End::new(outcome) };
            Verdict::write(rule, change, Some(ends)).with_row(row(Event::Settled))
        }
    }
}

/// A token that was redeemed already: its pair is in the document for which it was, or it is lost.
pub(super) fn redeemed(
    case: &Case,
    redeemed: &Redeemed,
    believed: bool,
    document: Document<'_>,
    around: &Around<'_>,
) -> Verdict {
    let token = &case.token;
    let pair = match document {
        Document::NotRead => return look(Rule::RedeemedLooks),
        Document::Unknown => return unknown(Rule::RedeemedUnknown),
        Document::There(first)
            if redeemed.first != token.id
                && is_at_work_with(first, token, redeemed.successor, around.now) =>
        {
            let ends = Some(End::still_due(Reason::SameTokenInFlight));
            return Verdict::write(Rule::RedeemedOnItsWay, around.policy.release(token), ends);
        }
        Document::There(first) => copy(token, redeemed.successor, first, around),
        Document::Gone => None,
    };
    if let Some(change) = pair {
        return Verdict::write(Rule::Copied, change, Some(End::new(Outcome::Duplicate)));
    }
    // It was to be copied, and the first document has changed since: the next pass asks for it.
    if takes_redeemed(case.profile(), redeemed.at, around.now) {
        let ends = Some(End::still_due(Reason::DocumentChanged));
        return Verdict::write(Rule::RedeemedIsTaken, around.policy.release(token), ends);
    }
    if let Some(received) = &redeemed.received {
        return put_back(case, received, around);
    }
    let news = !is_known_dead(token);
    if news && !believed {
        return Verdict {
            document: Step::Hold(Mark::Redeemed(redeemed.clone())),
            ..Verdict::leave(Rule::RedeemedIsHeld, None)
        };
    }
    let evidence = LastError {
        class: Evidence::Refused.into(),
        code: Code::AlreadyRedeemed.into(),
        http_status: None,
        at: around.now,
        lost: None,
    };
    let change = around.policy.retirement(token, State::NeedsLogin, evidence);
    let ends = End { news, ..End::new(Outcome::NeedsLogin) };
    Verdict::write(Rule::RedeemedMarked, change, Some(ends))
}

/// A document holds a token again that was redeemed: the newest pair that came out of it goes back, by compare-and-swap.
fn put_back(case: &Case, received: &ReceivedPair, around: &Around<'_>) -> Verdict {
    let ReceivedPair { pair, sent, received_at, is_parked } = received;
    let (token, profile) = (&case.token, case.profile());
    let change = around.policy.recovered(pair, token, profile, *received_at, around.jitter);
    // Unlike a pair that just came: the pass that has taken the claim over looks at this document by itself.
    let expect_lease = Fence::of(token.bookkeeping.lease.as_ref());
    let there = token.refresh_token.fingerprint();
    let new = change.bookkeeping.fingerprint.unwrap_or(there);
    let spent = token.bookkeeping.spent_after(there, *sent, new);
    let bookkeeping = Bookkeeping { spent, ..change.bookkeeping };
    // Another machine may have found this pair in the document and sent its token, before the old one came back. One that is
    // parked was in none, and one that came later was not there yet.
    let was_there = |sent_at: &Timestamp| !is_parked && *sent_at > *received_at - LEASE_MARGIN;
    let bookkeeping = match token.bookkeeping.sent_by_another_machine().filter(was_there) {
        Some(sent_at) => bookkeeping.noting_a_doubt(new, Some(sent_at), around.now),
        None => bookkeeping,
    };
    let change = Change { expect_lease, bookkeeping, ..change };
    let written = write_pair(token, profile, pair, change);
    let outcome = match written.rule {
        Rule::GrantedUnsendable => Outcome::Malformed,
        _ => Outcome::Restored,
    };
    let (row, document) = match written.document {
        // One that isn't written stays parked.
        document if *is_parked => (written.row, document),
        // One that isn't written stays kept, and nothing waits for it.
        Step::Write(change, _) => (None, Step::Write(change, Pair::None)),
        document => (None, document),
    };
    Verdict { document, ..Verdict::leave(Rule::PutBack, Some(End::new(outcome))) }.with_row(row)
}

/// The change that copies the pair that came for a token out of the first document, if it is there.
pub fn copy(
    token: &DueToken,
    successor: Option<Fingerprint>,
    first: &TokenDocument,
    around: &Around<'_>,
) -> Option<Change> {
    // Only what came out of this very token: the first document may belong to another login by now.
    let now_there = first.refresh_token.as_ref().ok().map(RefreshToken::fingerprint)?;
    let is_successor = successor == Some(now_there);
    is_successor.then(|| around.policy.copy(token, first)).flatten()
}

/// Another program wrote a newer token: theirs is kept.
pub(super) fn overtaken(refused: bool, document: Document<'_>, around: &Around<'_>) -> Verdict {
    match document {
        Document::NotRead => look(Rule::OvertakenLooks),
        Document::Unknown => unknown(Rule::OvertakenUnknown),
        Document::Gone => {
            let ends = End { refused, ..End::new(Outcome::Gone) };
            Verdict::leave(Rule::OvertakenGone, Some(ends))
        }
        Document::There(document) => superseded(Rule::Overtaken, document, around),
    }
}

/// The claim is given back: due for the next pass.
pub(super) fn not_sent(case: &Case, reason: Reason, around: &Around<'_>) -> Verdict {
    Verdict::write(Rule::NotSent, around.policy.release(&case.token), Some(End::still_due(reason)))
}

/// The claim is given back, and not due before the first wait is over.
pub(super) fn waits(case: &Case, reason: Reason, around: &Around<'_>) -> Verdict {
    let change = around.policy.later(&case.token, around.now, around.policy.first_backoff);
    Verdict::write(Rule::Waits, change, Some(End::still_due(reason)))
}

/// The claim is given back, and not due before the token is old enough.
pub(super) fn too_young(case: &Case, until: Timestamp, around: &Around<'_>) -> Verdict {
    let change = around.policy.until_old_enough(&case.token, until);
    Verdict::write(Rule::TooYoung, change, Some(End::still_due(Reason::TooYoung)))
}

/// The claim is given back as if it had never been taken.
pub(super) fn not_taken(case: &Case, around: &Around<'_>) -> Verdict {
    Verdict::write(Rule::NotTaken, around.policy.not_taken(&case.token), None)
}

/// The claim is given back: due for the next pass, after those that were not asked for. A person who mends the cause need
/// not wait.
fn behind(case: &Case, rule: Rule, reason: Reason, around: &Around<'_>) -> Verdict {
    let change = around.policy.later(&case.token, around.now, Duration::ZERO);
    Verdict::write(rule, change, Some(End::still_due(reason)))
}

fn superseded(rule: Rule, document: &TokenDocument, around: &Around<'_>) -> Verdict {
    let ends = Some(End::new(Outcome::Superseded));
    match given_back(document, around) {
        Some(change) => Verdict::write(rule, change, ends),
        None => Verdict::leave(rule, ends),
    }
}

fn look(rule: Rule) -> Verdict {
    Verdict { document: Step::Look, ..Verdict::leave(rule, None) }
}

/// The store can't be read: the next pass finds out.
fn unknown(rule: Rule) -> Verdict {
    Verdict::leave(rule, Some(End::still_due(Reason::Store)))
}

/// The change that gives back our claim on a document that holds another program's token now; `None` where the claim is
/// another process'.
fn given_back(theirs: &TokenDocument, around: &Around<'_>) -> Option<Change> {
    let lease = theirs.bookkeeping.lease.as_ref()?;
    (lease.id == around.lease_id).then(|| around.policy.overtaken(theirs, around.now))
}

/// The same, where a pair could not be written. An older token of the login, which a stale save has brought back, is not another
/// program's: then the document says that its good token was redeemed, and that this machine has the pair.
#[must_use]
pub fn given_back_without(unwritten: &Change, theirs: &TokenDocument, around: &Around<'_>) -> Option<Change> {
    let change = given_back(theirs, around)?;
    let (books, redeemed) = (&theirs.bookkeeping, &unwritten.bookkeeping);
    let there = theirs.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    let stale = there.filter(|there| books.spent.contains(*there));
    let Some(stale) =
        stale.filter(|_| unwritten.pair.is_some() && redeemed.spent.last() == books.fingerprint)
    else {
        return Some(change);
    };
    // It is what the document holds, and must not fall out of the list for those that came after it.
    let (spent, by) = (redeemed.spent.with_the_older(stale), redeemed.refreshed_by.clone());
    let bookkeeping =
        Bookkeeping { spent, refreshed_by: by, refreshed_at: redeemed.refreshed_at, ..change.bookkeeping };
    Some(Change { bookkeeping, ..change })
}

/// What becomes of a document that has no token to send: it is malformed, or another provider's by now.
#[must_use]
pub fn without_token(
    document: &TokenDocument,
    malformed: Option<&Malformed>,
    around: &Around<'_>,
) -> Verdict {
    match malformed {
        Some(malformed) => {
            let change = around.policy.malformed(document, malformed, around.now);
            Verdict::write(Rule::Malformed, change, Some(End::new(Outcome::Malformed)))
        }
        None => Verdict::write(Rule::Stray, around.policy.stray(document), None),
    }
}

/// May the token in this document be on its way, so that its pair isn't to be copied?
#[must_use]
pub(super) fn is_claimed(document: &TokenDocument, now: Timestamp) -> bool {
    document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.until > now)
}

/// May this redeemed token, or what came for it, be on its way in a claimed document? Then there is no pair to copy yet. What
/// another login in it is claimed for doesn't matter.
#[must_use]
pub fn is_at_work_with(
    first: &TokenDocument,
    token: &DueToken,
    successor: Option<Fingerprint>,
    now: Timestamp,
) -> bool {
    let there = first.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    let concerns = there == Some(token.refresh_token.fingerprint()) || there.is_some() && there == successor;
    concerns && is_claimed(first, now)
}

/// Is the document marked already, for this very token?
#[must_use]
pub fn is_known_dead(token: &DueToken) -> bool {
    token.bookkeeping.state.is_mark()
        && token.bookkeeping.fingerprint == Some(token.refresh_token.fingerprint())
}
