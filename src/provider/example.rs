//! Examples of answers that a profile brings, each with what it must mean: the profile's own tests.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An answer, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it shows: `success`, `expired`, …
    pub name: String,
    /// The HTTP status.
    pub status: u16,
    /// The header fields, each a text or a list of texts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, FieldTexts>,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The word for what it means: `granted`, `refused`, `suspected`, `client_rejected`, `throttled`, `transient`,
    /// `ambiguous`, `unlisted` or `unreadable`.
    pub means: String,
    /// The code that is found in it, where the example says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where the answer was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The values of a header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldTexts {
    /// It comes once.
    One(String),
    /// It comes so often, as `Set-Cookie` does.
    Many(Vec<String>),
}

impl Example {
    /// The header fields, one by one.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().flat_map(|(name, texts)| {
            let texts = match texts {
                FieldTexts::One(text) => std::slice::from_ref(text),
                FieldTexts::Many(texts) => texts,
            };
            texts.iter().map(move |text| (name.as_str(), text.as_str()))
        })
    }
}
