//! A value that the journal made durable, and one that it could not.

use super::{EntryId, JournalError};
use crate::grant::RawAnswer;

/// A value that the journal holds durably, or failed to hold. Only the journal makes one, so its taker can't be
/// early.
#[derive(Debug, Clone)]
pub struct Journaled<T> {
    pub(super) entry: EntryId,
    pub(super) kept: bool,
    pub(super) value: T,
}

impl<T> Journaled<T> {
    /// What the journal would have made of a value.
    #[cfg(test)]
    pub(crate) const fn for_tests(entry: EntryId, kept: bool, value: T) -> Self {
        Self { entry, kept, value }
    }

    /// The row that holds it.
    #[must_use]
    pub const fn entry(&self) -> EntryId {
        self.entry
    }

    /// Is it in the journal? Otherwise the document is the only place left for it.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.kept
    }

    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// Reads the value into something else; it stays as durable as it was.
    #[must_use]
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Journaled<U> {
        Journaled { entry: self.entry, kept: self.kept, value: read(self.value) }
    }

    /// Gives the value up to its new owner, beside its row.
    #[must_use]
    pub fn into_parts(self) -> (EntryId, T) {
        (self.entry, self.value)
    }
}

/// An answer that came and couldn't be journaled: the disk failed under us.
///
/// It must still be written back at once, because the document is the only place left for it.
#[derive(Debug)]
pub struct Unjournaled {
    /// What is wrong with the journal.
    pub error: JournalError,
    pub(super) answer: Journaled<RawAnswer>,
}

impl Unjournaled {
    /// Takes the answer for an immediate write-back, the last chance to keep it.
    #[must_use]
    pub fn rescue(self) -> Journaled<RawAnswer> {
        self.answer
    }
}
