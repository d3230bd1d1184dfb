//! A value that is durable in the journal, and one that the journal failed to keep.

use super::{EntryId, JournalError};
use crate::grant::RawAnswer;

/// A value that is durable in the journal. Only the journal makes one, so its taker can't be early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journaled<T> {
    pub(super) entry: EntryId,
    pub(super) value: T,
}

/// A value that the journal failed to keep. Its document is the only place left for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued<T> {
    entry: EntryId,
    value: T,
}

/// A value that came, kept or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<T> {
    /// The journal holds it.
    Kept(Journaled<T>),
    /// It is held nowhere yet.
    Rescued(Rescued<T>),
}

impl<T> Journaled<T> {
    /// What the journal would have made of a value.
    #[cfg(test)]
    pub(crate) const fn for_tests(entry: EntryId, value: T) -> Self {
        Self { entry, value }
    }

    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// Reads the value into something else; it stays durable.
    #[must_use]
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Journaled<U> {
        Journaled { entry: self.entry, value: read(self.value) }
    }
}

impl<T> Received<T> {
    /// Its row.
    #[must_use]
    pub const fn entry(&self) -> EntryId {
        match self {
            Self::Kept(Journaled { entry, .. }) | Self::Rescued(Rescued { entry, .. }) => *entry,
        }
    }

    /// Does the journal hold it? Otherwise the document is the only place left for it.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        match self {
            Self::Kept(Journaled { value, .. }) | Self::Rescued(Rescued { value, .. }) => value,
        }
    }

    /// Reads the value into something else; it stays as durable as it was.
    #[must_use]
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Received<U> {
        match self {
            Self::Kept(kept) => Received::Kept(kept.map(read)),
            Self::Rescued(Rescued { entry, value }) => {
                Received::Rescued(Rescued { entry, value: read(value) })
            }
        }
    }
}

/// An answer that came and couldn't be journaled: the disk failed under us.
#[derive(Debug)]
pub struct Unjournaled {
    /// What is wrong with the journal.
    pub error: JournalError,
    entry: EntryId,
    answer: RawAnswer,
}

impl Unjournaled {
    pub(super) const fn new(error: JournalError, entry: EntryId, answer: RawAnswer) -> Self {
        Self { error, entry, answer }
    }

    /// Takes the answer for an immediate write-back, the last chance to keep it.
    #[must_use]
    pub fn rescue(self) -> Rescued<RawAnswer> {
        Rescued { entry: self.entry, value: self.answer }
    }
}

#[cfg(test)]
impl<T> Rescued<T> {
    /// What a journal that failed would have made of a value.
    pub(crate) const fn for_tests(entry: EntryId, value: T) -> Self {
        Self { entry, value }
    }
}
