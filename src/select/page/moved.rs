//! Claims of earlier passes that came with a document from another place, or that stay on it while its token can't be sent.
//!
//! A claim says that its token may have been sent. It goes only where the document says what became of that: another machine
//! asks the document alone.

use super::Source;
use crate::clock::Timestamp;
use crate::failure::error_chain;
use crate::select::takeover::has_a_good_token;
use crate::token::{Bookkeeping, Fingerprint, RefreshToken, TokenDocument, TokenId};
use crate::verdict::Known;
use std::collections::HashMap;
use tracing::debug;

impl Source {
    /// Is it marked for what stands beside its token, without a claim of ours, so that an ended one stays on it? Once that is
    /// mended, the token is taken over as any other.
    pub(super) fn carries_on(&self, document: &TokenDocument) -> bool {
        let is_hidden = document.refresh_token.is_err() && has_a_good_token(document);
        is_hidden && self.terms.ended(document, self.terms.takes_over_from(&self.clock)).is_some()
    }

    /// The tokens of those documents that were taken over, and that this machine has redeemed: for a document in another place.
    pub(super) async fn redeemed_here(&self, claimed: &[TokenDocument]) -> HashMap<TokenId, Fingerprint> {
        let taken_over = claimed.iter().filter(|document| is_taken_over(document));
        let tokens = taken_over.filter_map(|document| {
            let token = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint)?;
            Some((document.id.clone(), token))
        });
        let mut tokens: HashMap<_, _> = tokens.collect();
        if tokens.is_empty() {
            return tokens;
        }
        match self.terms.others.journal.spent(tokens.values().copied().collect()).await {
            Ok(spent) => tokens.retain(|_, token| spent.iter().any(|spent| spent.token == *token)),
            // Nothing is sent any more: the next intent says so.
            Err(error) => debug!(error = %error_chain(&error), "the journal can't tell what it redeemed"),
        }
        tokens
    }
}

/// Had another pass held its claim until that ran out?
pub(super) fn is_taken_over(document: &TokenDocument) -> bool {
    document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.taken_over)
}

/// The bookkeeping of a document whose token this machine has redeemed: no other one sends it while that isn't settled here.
pub(super) fn noting_redeemed(books: Bookkeeping, token: Fingerprint, now: Timestamp) -> Bookkeeping {
    let Known { evidence, .. } = Known::redeemed(token, now);
    Bookkeeping { last_error: Some(evidence), ..books.speaking_of(token, now) }
}
