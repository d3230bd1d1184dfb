//! Whose a document is: its identity for the store, its subject for a person.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Longest subject shown, in characters; the rest is cut, because a log line is read by a person.
const MAX_SUBJECT_CHARS: usize = 120;

/// The identity of a token document: its `_id` as canonical extended JSON (`{"$oid":"…"}`, `"abc"`, `{"$numberInt":"7"}`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// Wraps the canonical extended JSON of an `_id`.
    #[must_use]
    pub fn from_extended_json(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// The `_id` as canonical extended JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<String> for TokenId {
    fn from(json: String) -> Self {
        Self(json.into())
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// How a person recognises a document in a log line: its email, its user id, else its `_id`; never a token.
///
/// What ends a line or misleads a reader is replaced, and the length is cut when it is made, so that a document can't forge log lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Subject(Arc<str>);

impl Subject {
    /// Makes a subject of any text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown: String = text
            .chars()
            .take(MAX_SUBJECT_CHARS)
            .map(|c| if c.is_control() || breaks_lines(c) || misleads(c) { '\u{fffd}' } else { c })
            .collect();
        if text.chars().nth(MAX_SUBJECT_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown.into())
    }

    /// The subject of a document that has none of the configured fields: its `_id`.
    #[must_use]
    pub fn from_id(id: &TokenId) -> Self {
        Self::new(&format!("_id {id}"))
    }

    /// The text to show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.as_ref().to_owned()
    }
}

/// Unicode's own separators of lines and paragraphs: no control characters, and yet a line ends there for some readers.
const fn breaks_lines(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Marks that reorder the text around them (Unicode Annex 9), and letters without a shape: one subject could look like another.
const fn misleads(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_cannot_forge_a_log_line() {
        assert_eq!(Subject::new("a@b\nERROR x\u{202e}").as_str(), "a@b\u{fffd}ERROR x\u{fffd}");
        for separator in ['\u{2028}', '\u{2029}', '\u{85}', '\u{200b}', '\u{feff}', '\u{61c}'] {
            assert_eq!(Subject::new(&format!("a{separator}b")).as_str(), "a\u{fffd}b", "{separator:?}");
        }
        assert_eq!(Subject::new(&"é".repeat(500)).as_str().chars().count(), MAX_SUBJECT_CHARS + 1);
    }
}
