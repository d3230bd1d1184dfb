//! What a pass found of an earlier process, and did with it.

use serde::Serialize;

/// What recovery found in the journal and did with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Recovery {
    /// Answers that an earlier process had received and not yet written back.
    pub answers: u64,
    /// Pairs of these that are in their documents now.
    pub written: u64,
    /// Grants without an answer: the provider may have processed them or not. The pass asks for these tokens first.
    pub unsettled: u64,
    /// Claims of an earlier process that were released.
    pub claims_released: u64,
}

impl Recovery {
    /// Was there nothing to recover?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
