//! The words for how a line breaks: where, how much goes through first, and what happens then.

use super::wire::Wire;
use std::time::Duration;

/// Where on the way of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The connection stands, and nothing was read from it.
    Accept,
    /// So much of the request was passed on.
    Request(Cut),
    /// The whole request was passed on, the peer has answered, and so much of its answer was passed on.
    Answer(Cut),
}

impl Stage {
    /// How much of the message is passed on first.
    pub(crate) fn cut(self) -> Option<Cut> {
        match self {
            Self::Accept => None,
            Self::Request(cut) | Self::Answer(cut) => Some(cut),
        }
    }
}

/// How much of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    HalfHead,
    HalfBody,
    Bytes(usize),
    AllBut(usize),
    Whole,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both connections are reset.
    Reset,
    /// The client's connection is closed in order.
    Close,
    /// Nothing goes through any more, and nothing is closed.
    BlackHole,
    /// The rest goes through so much later, if the client is still there.
    Delay(Duration),
    /// Both connections are reset, and nobody listens any more.
    Gone,
}

/// A fault that waits for its request.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) stage: Stage,
    pub(crate) fault: Fault,
    /// Bytes that the request must contain; a connection that is struck at [`Stage::Accept`] has none yet.
    pub(crate) needle: Option<Vec<u8>>,
    /// How often it strikes.
    pub(crate) times: u64,
}

impl Cut {
    /// Bytes of this message that come before the cut.
    pub(super) fn of(self, wire: Wire, message: &[u8]) -> usize {
        let head = wire.head(message);
        let at = match self {
            Self::Nothing => 0,
            Self::HalfHead => head / 2,
            Self::HalfBody => usize::midpoint(head, message.len()),
            Self::Bytes(bytes) => bytes,
            Self::AllBut(bytes) => message.len().saturating_sub(bytes),
            Self::Whole => message.len(),
        };
        at.min(message.len())
    }
}
