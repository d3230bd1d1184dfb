//! Which providers have something due: what [`Store::waiting`](super::Store::waiting) is asked, and what it says.

use crate::clock::Timestamp;
use std::collections::BTreeMap;

/// Whose due documents are looked for.
#[derive(Debug, Clone)]
pub struct WhoWaits {
    /// Due as in [`DueQuery::due_by`](super::DueQuery::due_by).
    pub due_by: Timestamp,
    /// A document that is leased beyond this can't be taken yet.
    pub now: Timestamp,
    /// The names that the provider field may hold; none where no field is mapped.
    pub providers: Vec<String>,
}

/// What waits of the documents that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    /// Only what a pass sends nothing for, as far as the bookkeeping says: marked documents, which may hold a new login, and
    /// claimed ones.
    Idle,
    /// A document that a pass works on.
    Work,
}

/// Who has something due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// By the provider's name; who has nothing due isn't here.
    pub providers: BTreeMap<String, Waits>,
    /// Documents that hold none of the names; where no name was given, all documents.
    pub others: Option<Waits>,
}
