//! What is said of a provider: by each answer, and at last why it gets no more grants.

use super::Suspicion;
use std::time::Duration;

/// What an answer says about the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// It works, and knows our client: a grant, or a well-formed refusal of one token.
    Works {
        /// Was it a grant? Only a grant ends the canary.
        granted: bool,
    },
    /// It works, and refuses a token of which nothing bad was known.
    Refused {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
        /// Has its document failed before?
        before: bool,
    },
    /// It works, and refuses a token that may have been spent before: expected, unless everybody is refused.
    RefusedInDoubt {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
    },
    /// It asks for a pause.
    Throttled {
        /// For so long, if it said.
        wait: Option<Duration>,
        /// May the pause be about one token, while others are granted?
        may_be_alone: bool,
    },
    /// The request failed, or its outcome is unknown.
    Failed,
    /// It doesn't accept our client.
    ClientRejected {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
        /// The host or client of the document, where each document has its own: one of them says nothing of the others.
        tenant: Option<String>,
        /// Is it a success that can't be read?
        unread: bool,
    },
    /// It wasn't asked.
    NotAsked,
}

/// Why a provider gets no more grants in this pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Stopped {
    /// It rejected the client so often in a row that it is our fault.
    ClientRejected {
        /// Its code.
        code: String,
        /// Its status.
        http_status: Option<u16>,
    },
    /// It refused so many tokens that this is more likely our fault than their users' fate.
    Refusals(Suspicion),
    /// It failed for longer than a pass waits.
    Outage,
    /// It asked for a pause that is longer than a pass waits.
    Paused,
    /// The journal or the store can keep no more answers.
    CannotKeep,
}
