//! What a person may make the journal forget: that tokens were redeemed. Rows and answers stay.

use super::{EntryId, Journal, JournalError, owner};
use crate::clock::Timestamp;
use crate::token::Fingerprint;

/// A refresh token that the journal knows as redeemed, or as given up by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Which.
    pub token: Fingerprint,
    /// When it was first sent with success, or given up; `None` where that can't be read.
    pub at: Option<Timestamp>,
    /// A row that is open for it all the same, or holds its parked pair: it is not forgotten.
    pub row: Option<EntryId>,
}

impl Journal {
    /// Those of these tokens that are known as redeemed, in the same order.
    pub async fn spent(&self, tokens: Vec<Fingerprint>) -> Result<Vec<Spent>, JournalError> {
        self.ask(|reply| owner::Request::Spent(tokens, reply)).await
    }

    /// Forgets that these tokens were redeemed, but those that have a row; returns how many it forgot. They may be sent
    /// again from then on.
    pub async fn forget(&self, tokens: Vec<Fingerprint>) -> Result<u64, JournalError> {
        self.ask(|reply| owner::Request::Forget(tokens, reply)).await
    }
}
