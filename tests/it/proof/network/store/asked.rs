//! What a pass asks of the store, at the meddler and on the line.

use crate::store::backend::COLLECTION;
use crate::support::meddler::Call;

/// What a pass asks of the store when the line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Before the first grant: is it there, and can it be written?
    Prepare,
    /// Which documents are due?
    DuePage,
    /// The claim itself.
    Claim,
    /// Which of them carry our claim?
    ReadClaims,
    /// The new pair.
    WriteBack,
    /// What became of a pair whose write matched nothing?
    ReadAgain,
}

pub(super) const EVERY: [Asked; 6] =
    [Asked::Prepare, Asked::DuePage, Asked::Claim, Asked::ReadClaims, Asked::WriteBack, Asked::ReadAgain];

impl Asked {
    /// Is it this call that asks?
    pub(super) fn is(self, call: &Call) -> bool {
        match self {
            Self::Prepare => matches!(call, Call::Prepare),
            Self::DuePage => matches!(call, Call::DuePage),
            Self::Claim | Self::ReadClaims => matches!(call, Call::Claim),
            Self::WriteBack => call.writes_a_pair(),
            Self::ReadAgain => matches!(call, Call::Read(_)),
        }
    }

    /// The first element of the command, as it is on the line.
    pub(super) fn command(self) -> Vec<u8> {
        let name = match self {
            Self::Prepare | Self::Claim | Self::WriteBack => "update",
            Self::DuePage | Self::ReadClaims | Self::ReadAgain => "find",
        };
        let mut element = vec![0x02];
        element.extend(name.as_bytes());
        element.push(0);
        element.extend(u32::try_from(COLLECTION.len() + 1).unwrap().to_le_bytes());
        element.extend(COLLECTION.as_bytes());
        element
    }
}
