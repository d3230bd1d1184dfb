//! What a document says once the claim of a process that is gone is given back.

use super::doubt::first_sending;
use crate::clock::Timestamp;
use crate::journal::Entry;
use crate::token::{
    Bookkeeping, Code, Evidence, Fingerprint, LastError, Lost, RefreshToken, TokenDocument, Word,
};

/// What the journal knows of a token: it goes into the document, because another machine, which may ask for the token
/// next, doesn't see our journal.
#[derive(Debug)]
pub struct Known {
    /// Of which token.
    pub fingerprint: Fingerprint,
    /// What the document must say of it.
    pub evidence: LastError,
}

impl Known {
    /// It was sent, and no answer settled what became of it.
    #[must_use]
    pub fn in_doubt(entry: &Entry, cause: Word<Code>, now: Timestamp) -> Self {
        let first = entry.unsettled_since.or(entry.turned_away_since);
        let lost = Lost {
            cause: entry.why.as_deref().map_or(cause, Word::read),
            sent_at: first.or(Some(entry.intent.sent_at)),
            peer: entry.peer.clone(),
            received_bytes: entry.received_bytes.unwrap_or_default(),
            turned_away: entry.unsettled_since.is_none() && entry.turned_away_since.is_some(),
        };
        Self { fingerprint: entry.intent.fingerprint, evidence: LastError::in_doubt(lost, now) }
    }

    /// It was answered with a success that can't be read, or that has no way into its document yet, and isn't sent again.
    #[must_use]
    pub fn unread(entry: &Entry, code: Word<Code>, http_status: u16, now: Timestamp) -> Self {
        let (class, http_status) = (Evidence::Unreadable.into(), Some(http_status));
        let evidence = LastError { class, code, http_status, at: now, lost: None };
        Self { fingerprint: entry.intent.fingerprint, evidence }
    }
}

/// The bookkeeping of a document whose claim is given back: due now, and with what is `known` of its token. One that was
/// cut off falls due before all others, because a provider that forgives a lost answer doesn't do so for long.
#[must_use]
pub fn released(
    document: &TokenDocument,
    known: Option<&[Known]>,
    due_by: Timestamp,
    now: Timestamp,
) -> Bookkeeping {
    let due_at = known.is_none().then_some(due_by);
    let before = document.bookkeeping.clone();
    let Some(now_there) = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint) else {
        return Bookkeeping { lease: None, due_at, ..before };
    };
    let before = before.noting_the_takeover(now_there, now);
    let known = known.into_iter().flatten().find(|known| known.fingerprint == now_there);
    let Some(Known { evidence, .. }) = known else { return Bookkeeping { lease: None, due_at, ..before } };
    let before = before.speaking_of(now_there, evidence.at);
    let noted = before.last_error.as_ref();
    let lost =
        first_sending(noted.and_then(|error| error.lost.clone()).into_iter().chain(evidence.lost.clone()));
    // Another machine's journal may hold an answer for it: that isn't hidden behind what ours doesn't know, unless ours
    // was sent after that, by force.
    let sent_at = evidence.lost.as_ref().and_then(|lost| lost.sent_at);
    let is_answered = |error: &&LastError| error.class.is(Evidence::Unreadable);
    let theirs = noted.filter(is_answered).filter(|noted| sent_at.is_none_or(|sent_at| noted.at >= sent_at));
    // Nor is anything hidden behind a page that turned a request away.
    let is_page = evidence.lost.as_ref().is_some_and(|lost| lost.turned_away);
    let theirs = if is_page { noted } else { theirs };
    let says = theirs.filter(|_| !is_answered(&evidence)).unwrap_or(evidence).clone();
    Bookkeeping { lease: None, due_at, last_error: Some(LastError { lost, ..says }), ..before }
}
