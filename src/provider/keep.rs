//! Which token is kept good.

use serde::{Deserialize, Serialize};

/// Which token's end says when a document is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The refresh token's: the login is kept alive, and access tokens end between two passes.
    #[default]
    Refresh,
    /// The access token's too: the document holds a good one at any time.
    Access,
}

impl Keep {
    /// Is it the usual one?
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
