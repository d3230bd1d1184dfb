//! Counts of a pass while it runs.

/// A snapshot of a running pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Documents that reached their end.
    pub done: u64,
    /// Of these: with a new pair.
    pub refreshed: u64,
    /// Of these: people who must log in again.
    pub needs_login: u64,
    /// Answers that asked for a pause.
    pub throttled: u64,
}
