//! Ended claims on documents that no pass claims: they are given back here, or they would stay for ever.
//!
//! A claim may take effect after its pass gave up waiting for it, on a document that was marked meanwhile.
//!
//! | the claim has ended, and a claim may be taken over by now | |
//! |---|---|
//! | the document holds no token | given back |
//! | its token waits for the process that held the claim | left as it is |
//! | this journal knows the pass, or the provider does not rotate | given back |
//! | any other, and the token is a good one | given back, with a note that the token may have been sent |
//! | any other | left as it is: when what is wrong beside the token is mended, it is taken over |

use super::Source;
use crate::clock::Timestamp;
use crate::provider::Rotation;
use crate::select::takeover::{Takeover, has_a_good_token};
use crate::store::{Change, Fence, StoreError};
use crate::token::{Bookkeeping, Lease, TokenDocument, TokenId};
use chrono::TimeDelta;
use std::collections::HashMap;
use tracing::debug;

impl Source {
    /// Gives back the ended claims on those of the documents that no pass claims; one that its holder renews meanwhile stays.
    ///
    /// # Errors
    /// After an error it may be repeated.
    pub(super) async fn give_back(
        &self,
        documents: &mut [TokenDocument],
        takeovers: &HashMap<TokenId, Takeover>,
    ) -> Result<(), StoreError> {
        let (now, by) = (self.clock.now(), self.terms.takes_over_from(&self.clock));
        let is_left =
            |document: &TokenDocument| self.terms.ended(document, by).is_some() && !self.asks(document);
        let mut left: Vec<_> = documents.iter_mut().filter(|document| is_left(document)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let leases = left.iter().filter_map(|document| document.bookkeeping.lease.as_ref());
        let known = self.known_passes(leases).await;
        let change = |document: &TokenDocument| {
            let lease = document.bookkeeping.lease.as_ref()?;
            let takeover = takeovers.get(&document.id);
            let bookkeeping = self.given_back(document, takeover, known.contains(&lease.id), now)?;
            debug!(owner = lease.owner, until = %lease.until, "gives back the ended claim of `{}`", document.subject);
            Some(Change {
                id: document.id.clone(),
                expect_refresh_token: document.refresh_token.as_ref().ok().cloned(),
                expect_lease: Fence::Ended {
                    lease: lease.id.clone(),
                    until: lease.until,
                    ended_for: TimeDelta::from_std(self.terms.lease).unwrap_or(TimeDelta::MAX),
                },
                pair: None,
                bookkeeping,
            })
        };
        let changes: Vec<_> = left.iter().filter_map(|document| change(document)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.store.apply(&changes).await?;
        let mut given_back: HashMap<_, _> =
            changes.into_iter().map(|change| (change.id, change.bookkeeping)).collect();
        for document in &mut left {
            if let Some(bookkeeping) = given_back.remove(&document.id) {
                document.bookkeeping = bookkeeping;
            }
        }
        Ok(())
    }

    /// What the document says without the claim; `None` where the claim stays.
    fn given_back(
        &self,
        document: &TokenDocument,
        takeover: Option<&Takeover>,
        is_known: bool,
        now: Timestamp,
    ) -> Option<Bookkeeping> {
        let mut books = document.bookkeeping.clone();
        let lease = books.lease.take()?;
        let Some(takeover) = takeover else { return (!has_a_good_token(document)).then_some(books) };
        if matches!(takeover, Takeover::Wait { .. }) {
            return None;
        }
        let rotates = self.terms.profile().is_none_or(|profile| profile.rotation != Rotation::None);
        if !rotates || (is_known && !lease.taken_over) {
            return Some(books);
        }
        // Only a mark of this very token has come here.
        let token = document.refresh_token.as_ref().ok()?.fingerprint();
        let held = Bookkeeping { lease: Some(Lease { taken_over: true, ..lease }), ..books };
        let noted = match takeover {
            Takeover::TooLate { sent_at } => held.noting_the_sending(token, *sent_at, now),
            Takeover::Send | Takeover::Wait { .. } => held.noting_the_takeover(token, now),
        };
        Some(Bookkeeping { lease: None, ..noted })
    }
}
