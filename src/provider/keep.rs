//! Which tokens are kept valid: the refresh token only, or the access token too.

use serde::{Deserialize, Serialize};

/// Which tokens are kept valid. The end that comes first says when a document is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The refresh token only: the login is kept alive, and access tokens may end between two passes.
    #[default]
    Refresh,
    /// The access token too: the document holds a valid one at any time.
    Access,
}

impl Keep {
    /// Is it the usual one?
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}
