//! What a store tells of itself before a pass and in `check`: readiness, the index, and what would be refused.

use super::mapping::FieldPath;

/// Different provider names that [`Store::strangers`](super::Store::strangers) tells apart; a wrongly mapped field may hold millions.
pub const MOST_STRANGE_NAMES: usize = 20;

/// Documents that name no configured provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strangers {
    /// Those whose provider field is absent, empty, or not a text.
    pub without: u64,
    /// Those whose provider field holds another name.
    pub other: u64,
    /// Other names and how many documents hold each, most frequent first; at most [`MOST_STRANGE_NAMES`]. Among very
    /// many documents these are counts of a part of them.
    pub names: Vec<(String, u64)>,
}

/// An index by which the store deletes documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TtlIndex {
    /// Its name.
    pub name: String,
    /// The dotted field that holds the date.
    pub field: String,
    /// Seconds from that date until the document is deleted.
    pub after_seconds: i64,
}

/// What [`Store::prepare`](super::Store::prepare) found.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Is there a collection of that name?
    pub existence: Existence,
    /// Documents in the collection, an estimate from its metadata.
    pub documents: u64,
    /// The server or library and its version: `MongoDB 6.0.5 (replica set rs)`.
    pub server: String,
    /// The due index.
    pub index: IndexState,
    /// The index of claims.
    pub claims: IndexState,
    /// The index of states and ends, by which the survey counts.
    pub expiry: IndexState,
}

/// Is there a collection of that name?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Existence {
    /// Yes.
    There,
    /// No; a wrong name would give an empty pass.
    Absent {
        /// The name that was looked for.
        collection: String,
        /// In which database.
        database: String,
        /// The collections that it has, as far as this user may see them; those with the nearest names first.
        others: Vec<String>,
    },
    /// The store doesn't let us ask: why.
    Unknown(String),
}

/// Is the due index there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// There, or made just now.
    Ready,
    /// The one of an earlier version is there, and we may not create the one that begins with the provider: the command that an
    /// administrator must run. Passes work; what is due is read over all providers.
    Older {
        /// The name of the earlier one.
        index: String,
        /// Why the store refused.
        reason: String,
        /// A line to paste into `mongosh`.
        command: String,
    },
    /// Not there, and we may not create it: the command that an administrator must run. Passes work, with scans.
    Missing {
        /// Why the store refused.
        reason: String,
        /// A line to paste into `mongosh`.
        command: String,
    },
}

/// What [`Store::trial`](super::Store::trial) found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trial {
    /// Documents on which it was tried; 0 where there are no rules.
    pub documents: u64,
    /// What would be refused.
    pub refused: Vec<TrialRefusal>,
}

/// A part that would be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialRefusal {
    /// Which.
    pub part: TrialPart,
    /// In how many of the documents.
    pub documents: u64,
}

/// A part of what a pass writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialPart {
    /// Anything: the document breaks the rules as it is.
    AsItIs,
    /// Our bookkeeping.
    Bookkeeping,
    /// The pair.
    Pair,
    /// A further value of the answer (`documents.also`), with the pair; a pass writes the pair without it.
    Further(FieldPath),
    /// A mapped expiry.
    Expiry(FieldPath),
}
