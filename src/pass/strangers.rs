//! Documents that name no configured provider, told once a pass: a line for each name, not for each document.

use crate::provider::stranger::Stranger;
use crate::store::MOST_STRANGE_NAMES;
use crate::token::{Subject, TokenDocument};
use std::collections::BTreeMap;
use tracing::warn;

/// What a pass found of them.
pub(super) struct Strangers {
    configured: Vec<String>,
    /// How many documents of each, and one of them.
    found: BTreeMap<Stranger, (u64, Subject)>,
    /// Documents with still other names.
    more: u64,
}

impl Strangers {
    /// None so far; `configured` are the names that documents may hold.
    pub(super) const fn new(configured: Vec<String>) -> Self {
        Self { configured, found: BTreeMap::new(), more: 0 }
    }

    /// Takes note of a document that is marked for it.
    pub(super) fn add(&mut self, document: &TokenDocument) {
        let Some(stranger) = Stranger::of(document, &self.configured) else { return };
        let full = self.found.len() >= MOST_STRANGE_NAMES;
        match self.found.get_mut(&stranger) {
            Some((count, _)) => *count += 1,
            None if full => self.more += 1,
            None => drop(self.found.insert(stranger, (1, document.subject.clone()))),
        }
    }

    /// Says what was found.
    pub(super) fn tell(&self) {
        for (stranger, (documents, example)) in &self.found {
            warn!(documents, %example, "{stranger} (newly found in {documents} of the documents; one is `{example}`)");
        }
        if self.more > 0 {
            warn!(documents = self.more, "{} more documents name still other providers", self.more);
        }
    }
}
