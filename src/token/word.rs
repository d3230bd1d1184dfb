//! Words of closed lists: what a document, a journal row or a report says, and what each word means.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// A closed list of words, each with its meaning and with what to do.
///
/// `evergrant help reasons`, the reports and `evergrant journal list` print from here, so that no explanation stands twice.
pub trait Vocabulary: Copy + Eq + fmt::Debug + 'static {
    /// All words of the list, in the order in which help shows them.
    const ALL: &'static [Self];

    /// The word in documents, journal rows, reports, logs and JSON.
    fn word(self) -> &'static str;

    /// What it means, in one or two sentences.
    fn meaning(self) -> &'static str;

    /// What to do about it.
    fn advice(self) -> &'static str;

    /// Reads a word; `None` for one that isn't in the list.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.word() == word)
    }
}

/// A word of the list `V`, or one that the list doesn't have: a provider's code, or a word of a later version.
///
/// A word that is read from a document or a row is written back as it was.
#[derive(Clone, PartialEq, Eq)]
pub enum Word<V> {
    /// One of ours.
    Ours(V),
    /// Another one.
    Other(Box<str>),
}

impl<V: Vocabulary> Word<V> {
    /// Reads a word.
    #[must_use]
    pub fn read(word: &str) -> Self {
        V::from_word(word).map_or_else(|| Self::Other(word.into()), Self::Ours)
    }

    /// The word itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ours(known) => known.word(),
            Self::Other(word) => word,
        }
    }

    /// Is it this word of ours?
    #[must_use]
    pub fn is(&self, wanted: V) -> bool {
        *self == Self::Ours(wanted)
    }
}

impl<V: Vocabulary> From<V> for Word<V> {
    fn from(known: V) -> Self {
        Self::Ours(known)
    }
}

impl<V: Vocabulary> From<&str> for Word<V> {
    fn from(word: &str) -> Self {
        Self::read(word)
    }
}

impl<V: Vocabulary> Deref for Word<V> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<V: Vocabulary> PartialEq<str> for Word<V> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<V: Vocabulary> PartialEq<&str> for Word<V> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<V: Vocabulary> fmt::Display for Word<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl<V: Vocabulary> fmt::Debug for Word<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl<V: Vocabulary> Serialize for Word<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, V: Vocabulary> Deserialize<'de> for Word<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::read(&word))
    }
}

/// Makes an enum of a closed list: a line for each variant with its word, its meaning and the advice.
macro_rules! vocabulary {
    (
        $(#[$about:meta])*
        $name:ident {
            $( $(#[$note:meta])* $variant:ident = $word:literal: $meaning:literal, $advice:literal; )+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( #[doc = $meaning] $(#[$note])* $variant, )+
        }

        impl $name {
            /// The word in documents, journal rows, reports, logs and JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$variant => $meaning, )+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $( Self::$variant => $advice, )+ }
            }
        }

        impl $crate::token::Vocabulary for $name {
            const ALL: &'static [Self] = &[$( Self::$variant, )+];

            fn word(self) -> &'static str {
                Self::word(self)
            }

            fn meaning(self) -> &'static str {
                Self::meaning(self)
            }

            fn advice(self) -> &'static str {
                Self::advice(self)
            }
        }
    };
}

pub(crate) use vocabulary;

#[cfg(test)]
mod tests {
    use super::super::{Code, Evidence, ParkedWhy, Reason};
    use super::*;
    use std::collections::HashSet;

    fn is_sound<V: Vocabulary>() {
        let words: HashSet<_> = V::ALL.iter().map(|known| known.word()).collect();
        assert_eq!(words.len(), V::ALL.len(), "no word stands twice");
        for known in V::ALL {
            let word = Word::<V>::read(known.word());
            assert!(word.is(*known) && word == known.word());
            let json = serde_json::to_string(&word).unwrap();
            assert_eq!(serde_json::from_str::<Word<V>>(&json).unwrap(), word);
            for sentence in [known.meaning(), known.advice()] {
                assert!(sentence.ends_with(['.', '?']), "{known:?}: {sentence}");
            }
        }
    }

    #[test]
    fn every_word_is_read_back_and_explained() {
        is_sound::<Reason>();
        is_sound::<Code>();
        is_sound::<ParkedWhy>();
        is_sound::<Evidence>();
    }

    #[test]
    fn a_word_of_a_later_version_survives() {
        let word = Word::<Code>::read("struck_by_lightning");
        assert_eq!((word.as_str(), word.is(Code::Timeout)), ("struck_by_lightning", false));
        assert_eq!(serde_json::to_string(&word).unwrap(), "\"struck_by_lightning\"");
    }
}
