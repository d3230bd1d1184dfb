//! Moments that are remembered over a restart.

use std::borrow::Cow;
use std::sync::Arc;

/// A moment that the journal remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The last scheduled wake that a provider's pass answered.
    LastWake(Arc<str>),
    /// When another pass is to follow those of a provider that put something off.
    FollowUp(Arc<str>),
    /// How late an earlier pass saw the clock, where that was ahead: documents may fall due too late since.
    ClockAhead,
    /// The same, as it was when a pass of this provider had looked through all of its documents.
    ClockLooked(Arc<str>),
    /// The latest that any pass saw the clock at.
    LatestPass,
}

impl Moment {
    pub(super) fn key(&self) -> Cow<'static, str> {
        match self {
            Self::LastWake(provider) => format!("last_wake {provider}").into(),
            Self::FollowUp(provider) => format!("follow_up {provider}").into(),
            Self::ClockLooked(provider) => format!("clock_looked {provider}").into(),
            Self::ClockAhead => "clock_ahead".into(),
            Self::LatestPass => "latest_pass".into(),
        }
    }

    /// What the keys of all providers begin with; an earlier version had this one key for all of them together.
    pub(super) const fn common_key(&self) -> Option<&'static str> {
        match self {
            Self::LastWake(_) => Some("last_wake"),
            Self::FollowUp(_) => Some("follow_up"),
            Self::ClockLooked(_) | Self::ClockAhead | Self::LatestPass => None,
        }
    }
}
