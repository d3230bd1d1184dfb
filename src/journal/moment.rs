//! Moments that are remembered over a restart.

/// A moment that the journal remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The last scheduled wake that was answered.
    LastWake,
    /// When another pass is to follow those that put something off.
    FollowUp,
    /// The latest that any pass saw the clock at.
    LatestPass,
}

impl Moment {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::LastWake => "last_wake",
            Self::FollowUp => "follow_up",
            Self::LatestPass => "latest_pass",
        }
    }
}
