//! What follows from what a person does to a row by hand: `journal apply`, `journal retry` and `journal discard`.
//!
//! | apply: the document | |
//! |---|---|
//! | gone, another provider's, claimed, or without a token to compare with | refused |
//! | holds the pair | redeemed: nothing is written |
//! | named by the person, and holds another token than the one that was sent | refused |
//! | holds any other token | the pair is written in its place, by compare-and-swap |
//!
//! | retry: the document | |
//! |---|---|
//! | claimed | refused |
//! | holds the token of the row | due now, and in doubt; the next pass asks again |
//! | gone, or holds another token | nothing to ask for: the answer is parked |
//!
//! | discard: the row | |
//! |---|---|
//! | an answer whose provider is configured | refused: recovery writes it |
//! | without an answer, or kept beside its document | refused: there is nothing to discard |
//! | any other | given up |

use super::document::{is_claimed, write_pair};
use super::released::Known;
use super::spent::rotated;
use super::{Around, Rule, Verdict};
use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::{Entry, EntryId, EntryState, Event, Journaled, Received};
use crate::provider::{AskAgain, Profile, Provider, Rotation};
use crate::store::{Change, Fence};
use crate::token::{
    Bookkeeping, Code, Fingerprint, Lease, Malformed, ParkedWhy, RefreshToken, TokenDocument,
};

/// Why it can't be done now. Nothing changes then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The document isn't there.
    Gone,
    /// It belongs to another provider.
    ProviderChanged,
    /// A person named it, and it doesn't hold the token for which the pair came.
    OtherToken,
    /// A pass holds it.
    Claimed(Box<Lease>),
    /// There is no token in it that a write could be compared with.
    NoToken(Malformed),
    /// Its provider forbids a second request for a token that may be spent.
    NeverAskedAgain,
    /// Its answer is on its way into its document.
    OnItsWay,
    /// There is no answer in the row that a person could give up.
    NothingToDiscard,
}

/// A parked pair that is to be written by hand.
#[derive(Debug, Clone)]
pub struct ByHandPair {
    /// Its row.
    pub entry: EntryId,
    /// The pair.
    pub pair: Journaled<Granted>,
    /// The token for which it came.
    pub sent: Fingerprint,
    /// When its answer came.
    pub received_at: Timestamp,
    /// The only token that it may replace; `None`: any.
    pub over: Option<Fingerprint>,
}

/// Puts a parked pair into its document, whatever token stands there now.
///
/// # Errors
/// [`Obstacle`]
pub fn apply(
    parked: ByHandPair,
    provider: &Provider,
    document: Option<&TokenDocument>,
    around: &Around<'_>,
) -> Result<Verdict, Obstacle> {
    let ByHandPair { entry, pair, sent, received_at, over } = parked;
    let Some(document) = document else { return Err(Obstacle::Gone) };
    let new = pair.get().refresh_token.as_ref();
    if let (Some(new), Ok(there)) = (new, &document.refresh_token)
        && there == new
    {
        let event = rotated(new.fingerprint(), Some(&provider.profile), &[&document.bookkeeping]);
        let row = Some((entry, event));
        return Ok(Verdict::leave(Rule::ByHandThere, None).with_row(row));
    }
    if around.documents_name_provider && document.provider.as_deref() != Some(&*provider.name) {
        return Err(Obstacle::ProviderChanged);
    }
    if let Some(lease) = document.bookkeeping.lease.clone().filter(|_| is_claimed(document, around.now)) {
        return Err(Obstacle::Claimed(Box::new(lease)));
    }
    let there = document.refresh_token.as_ref().map_err(|malformed| Obstacle::NoToken(malformed.clone()))?;
    if over.is_some_and(|over| over != there.fingerprint()) {
        return Err(Obstacle::OtherToken);
    }
    let Ok(token) = document.clone().into_due_token() else { return Err(Obstacle::Gone) };
    let pair = Received::Kept(pair);
    let change = around.policy.recovered(&pair, &token, &provider.profile, received_at, around.jitter);
    // The token in whose place it is written wasn't sent, and may be good.
    let new = change.bookkeeping.fingerprint.unwrap_or(sent);
    let spent = token.bookkeeping.spent_after(sent, sent, new);
    let change = Change { bookkeeping: Bookkeeping { spent, ..change.bookkeeping }, ..change };
    let verdict = write_pair(&token, &provider.profile, &pair, change);
    Ok(Verdict { rule: Rule::ByHandWritten, ..verdict })
}

/// Allows a second request for a token whose answer can't be read, because a person knows that it held no pair.
///
/// # Errors
/// [`Obstacle`]
pub fn retry(
    entry: &Entry,
    profile: Option<&Profile>,
    document: Option<&TokenDocument>,
    around: &Around<'_>,
) -> Result<Verdict, Obstacle> {
    // Whatever is left of a grace, the next pass may come after it.
    let forbids =
        |profile: &Profile| profile.rotation != Rotation::None && profile.ask_again == AskAgain::Never;
    if profile.is_some_and(forbids) {
        return Err(Obstacle::NeverAskedAgain);
    }
    let of_this_token = |token: &RefreshToken| token.fingerprint() == entry.intent.fingerprint;
    let row = Some((entry.id, Event::AskAgain(Code::Unreadable.into())));
    // It may have been moved, and hold the token under another `_id`.
    let Some(there) = document else {
        return Ok(Verdict::leave(Rule::ByHandAskAgain, None).with_row(row));
    };
    if !there.refresh_token.as_ref().is_ok_and(of_this_token) {
        // With nothing to ask for, its answer is kept for a person like any that has no place.
        let row = Some((entry.id, Event::NoPlace(ParkedWhy::Superseded)));
        return Ok(Verdict::leave(Rule::ByHandParked, None).with_row(row));
    }
    if let Some(lease) = there.bookkeeping.lease.clone().filter(|_| is_claimed(there, around.now)) {
        return Err(Obstacle::Claimed(Box::new(lease)));
    }
    let unsettled_since = entry.unsettled_since.or(Some(entry.intent.sent_at));
    let doubted = Entry { unsettled_since, answer: None, ..entry.clone() };
    let known = Known::in_doubt(&doubted, Code::Unreadable.into(), around.now);
    let books = there.bookkeeping.clone().speaking_of(known.fingerprint, around.now);
    let change = Change {
        id: there.id.clone(),
        expect_refresh_token: there.refresh_token.as_ref().ok().cloned(),
        // A claim that has ended, and that another process may take over in this moment.
        expect_lease: Fence::of(there.bookkeeping.lease.as_ref()),
        pair: None,
        bookkeeping: Bookkeeping { due_at: None, last_error: Some(known.evidence), lease: None, ..books },
    };
    Ok(Verdict::write(Rule::ByHandAskAgain, change, None).with_row(row))
}

/// Gives up the answer in a row for good. `is_configured`: will recovery know its provider?
///
/// # Errors
/// [`Obstacle`]
pub fn discard(entry: &Entry, is_configured: bool) -> Result<Verdict, Obstacle> {
    let holds_something = match entry.state {
        EntryState::Answer if is_configured => return Err(Obstacle::OnItsWay),
        EntryState::Answer
        | EntryState::AskAgain
        | EntryState::Unread
        | EntryState::SetAside
        | EntryState::Orphan => true,
        // A page that turned the request away: it isn't asked for any more once its document has moved on.
        EntryState::Unsettled => entry.received_bytes.is_some(),
        EntryState::Intent => false,
    };
    if !holds_something {
        return Err(Obstacle::NothingToDiscard);
    }
    Ok(Verdict::leave(Rule::ByHandDiscarded, None).with_row(Some((entry.id, Event::GivenUp))))
}
