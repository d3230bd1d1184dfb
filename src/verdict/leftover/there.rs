//! What a document says of the pair that came for its token.

use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::Entry;
use crate::provider::Profile;
use crate::token::{AccessToken, Fingerprint, RefreshToken, TokenDocument};
use crate::verdict::Around;
use std::time::Duration;

/// Has the server itself written the new token into the document, where nothing has happened to it since? Then access token
/// and bookkeeping are missing there. A claim of another process is one on the new token, which it may have sent.
pub(super) fn is_unfinished(
    entry: &Entry,
    new: &RefreshToken,
    document: &TokenDocument,
    around: &Around<'_>,
) -> bool {
    let books = &document.bookkeeping;
    entry.state.is_open()
        && document.refresh_token.as_ref() == Ok(new)
        && books.fingerprint != Some(new.fingerprint())
        && books.lease.as_ref().is_none_or(|lease| around.is_our_claim(&lease.id))
}

/// Does a document hold this pair, or did it hold it? The bookkeeping says so of a token that can't be sent, which isn't
/// read, and of one that the application has redeemed since: it speaks of a token only when that stood in the document.
pub(super) fn holds(document: &TokenDocument, new: &RefreshToken) -> bool {
    let (books, new_one) = (&document.bookkeeping, new.fingerprint());
    document.refresh_token.as_ref() == Ok(new)
        || books.fingerprint == Some(new_one)
        || books.spent.contains(new_one)
}

pub(super) fn access_now(document: &TokenDocument) -> Option<Fingerprint> {
    document.access_token.as_ref().map(AccessToken::fingerprint)
}

/// Has the access token of an answer ended by now, as far as its life is known?
pub(super) fn has_ended(
    granted: &Granted,
    profile: &Profile,
    received_at: Timestamp,
    now: Timestamp,
) -> bool {
    let lifetime: Option<Duration> = granted.expires_in.or(profile.access_token_lifetime);
    lifetime.is_some_and(|lifetime| (now - received_at).to_std().is_ok_and(|age| age >= lifetime))
}
