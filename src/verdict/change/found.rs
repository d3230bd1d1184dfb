//! A change that didn't match: what its document holds, and what of the change is still to be written.

use crate::store::{Change, Fence, Replaces};
use crate::token::{RefreshToken, TokenDocument};
use crate::verdict::Around;

/// What [`settle`] found in the document of a change that didn't match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It holds what we wanted to write: an acknowledgement was lost, not the write.
    Ours,
    /// It holds our new refresh token without our bookkeeping, under our claim or under none: the server itself wrote the
    /// token before it answered. [`finishing`] is still to be written.
    Unfinished,
    /// It holds a newer token of another program.
    Theirs,
    /// It holds our refresh token, which the provider kept, and beside it an access token that another program wrote since.
    /// [`without_pair`] is still to be written.
    NewerAccess,
    /// It is as it was: the write never arrived, or another process has claimed it.
    Unchanged,
    /// It isn't there any more.
    Gone,
}

/// The same change for a document that holds its new refresh token already, and nothing else of it: void when that token
/// or the claim on the document changes.
#[must_use]
pub fn finishing(change: &Change, document: &TokenDocument) -> Change {
    let lease = document.bookkeeping.lease.as_ref();
    Change {
        expect_refresh_token: change.pair.as_ref().map(|pair| pair.refresh_token.clone()),
        // A claim that another process takes from now on is one on the new token, which it may have sent.
        expect_lease: lease.map_or(Fence::Unclaimed, |lease| Fence::Lease(lease.id.clone())),
        ..change.clone()
    }
}

/// The same change for a document that holds a newer access token beside its refresh token: the bookkeeping alone, void when
/// the refresh token or the claim on the document changes.
#[must_use]
pub fn without_pair(change: &Change, document: &TokenDocument) -> Change {
    let expect_lease = Fence::of(document.bookkeeping.lease.as_ref());
    Change { pair: None, expect_lease, ..change.clone() }
}

/// Is it a change that [`finishing`] made? No other one that brings the very token it expects is fenced by a claim.
fn finishes(change: &Change) -> bool {
    let brought = change.pair.as_ref().map(|pair| &pair.refresh_token);
    change.expect_lease != Fence::None && brought.is_some() && brought == change.expect_refresh_token.as_ref()
}

/// Says what became of a change that didn't match, from the document as it is now.
#[must_use]
pub fn settle(change: &Change, document: Option<&TokenDocument>, around: &Around<'_>) -> Found {
    let Some(document) = document else { return Found::Gone };
    let now: Option<&RefreshToken> = document.refresh_token.as_ref().ok();
    let wanted = change.pair.as_ref().map(|pair| &pair.refresh_token);
    let written = document.bookkeeping == change.bookkeeping;
    // Where the provider keeps the refresh token, only the bookkeeping tells a write that arrived from one that didn't.
    if let Some(token) = now.filter(|_| now == wanted) {
        if written {
            return Found::Ours;
        }
        let of_this_token = document.bookkeeping.fingerprint == Some(token.fingerprint());
        // Our write takes our claim away: where that stands, the write hasn't come. What another process claims, it asks for.
        let lease = document.bookkeeping.lease.as_ref();
        let is_over = lease.map_or(of_this_token, |lease| !around.is_our_claim(&lease.id));
        if now != change.expect_refresh_token.as_ref() {
            return if is_over { Found::Ours } else { Found::Unfinished };
        }
        let replaces = change.pair.as_ref().map_or(&Replaces::Any, |pair| &pair.replaces);
        if !replaces.admits(document.access_token.as_ref()) {
            // Where our claim is gone the bookkeeping is another process', or was taken away with the claim: it stays.
            let is_ours = lease.is_some_and(|lease| around.is_our_claim(&lease.id));
            return if is_ours { Found::NewerAccess } else { Found::Theirs };
        }
        if is_over && finishes(change) {
            return Found::Ours;
        }
    }
    // Nor does a token that can't be sent tell it: it is read as none. And one that another program has put in the place of ours
    // since then was made of ours: the bookkeeping came with our pair, in one write.
    if written && (wanted.is_none() || now != change.expect_refresh_token.as_ref()) {
        return Found::Ours;
    }
    if now == change.expect_refresh_token.as_ref() { Found::Unchanged } else { Found::Theirs }
}
