//! How a provider stood when it was last asked: what its gate goes on with after a restart.

use super::learned::Learned;
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// A pause, a slowed rate, an outage; and what its answers told of its tokens' lives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it was noted.
    pub at: Timestamp,
    /// Until when the provider asked us to wait.
    pub paused_until: Option<Timestamp>,
    /// Share of the full rate, above 0, at most 1.
    pub factor: f64,
    /// Since when it has given no usable answer.
    pub failing_since: Option<Timestamp>,
    /// The lives that its answers told.
    #[serde(default)]
    pub learned: Learned,
}

impl Memory {
    /// Is there nothing to remember?
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_undisturbed() && self.learned == Learned::default()
    }

    /// Does the provider stand well?
    fn is_undisturbed(&self) -> bool {
        self.paused_until.is_none() && self.failing_since.is_none() && self.factor >= 1.0
    }

    /// Does it say no more than this, whenever that was noted?
    #[must_use]
    pub fn says_as_much_as(&self, noted: &Self) -> bool {
        self.is_undisturbed() && noted.is_undisturbed() && self.learned == noted.learned
    }
}
