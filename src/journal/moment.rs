//! Moments that are remembered over a restart.

use std::sync::Arc;

/// A moment that the journal remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The last scheduled wake that a provider's pass answered.
    LastWake(Arc<str>),
    /// When another pass is to follow those of a provider that put something off.
    FollowUp(Arc<str>),
    /// When a pass of a provider last came through everything that was due.
    LastCompletePass(Arc<str>),
}

impl Moment {
    pub(super) fn key(&self) -> String {
        let (Self::LastWake(provider) | Self::FollowUp(provider) | Self::LastCompletePass(provider)) = self;
        format!("{} {provider}", self.common_key())
    }

    /// What the keys of all providers begin with; an earlier version had this one key for all of them together.
    pub(super) const fn common_key(&self) -> &'static str {
        match self {
            Self::LastWake(_) => "last_wake",
            Self::FollowUp(_) => "follow_up",
            Self::LastCompletePass(_) => "last_complete_pass",
        }
    }
}
