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
    /// How late an earlier pass saw the clock, where that was ahead: until a pass of this provider has looked through the
    /// whole collection.
    ClockAhead(Arc<str>),
    /// The latest that any pass saw the clock at.
    LatestPass,
}

impl Moment {
    pub(super) fn key(&self) -> Cow<'static, str> {
        match self {
            Self::LastWake(provider) => format!("last_wake {provider}").into(),
            Self::FollowUp(provider) => format!("follow_up {provider}").into(),
            Self::ClockAhead(provider) => format!("clock_ahead {provider}").into(),
            Self::LatestPass => "latest_pass".into(),
        }
    }

    /// Under which key an earlier version remembered it, for all providers together.
    pub(super) const fn earlier_key(&self) -> Option<&'static str> {
        match self {
            Self::LastWake(_) => Some("last_wake"),
            Self::FollowUp(_) => Some("follow_up"),
            Self::ClockAhead(_) | Self::LatestPass => None,
        }
    }
}
