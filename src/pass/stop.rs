//! A stop: its two stages, and what the second one would give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// The two stages of a stop; an argument of everything that waits.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no more; finish what was sent.
    pub take_no_more: CancellationToken,
    /// Wait for nothing any more; say what is left.
    pub give_up: CancellationToken,
    /// What is waited for between the two.
    pub unanswered: Unanswered,
}

/// Grants that were sent and whose answers the journal doesn't hold yet; the copies count together.
#[derive(Debug, Clone, Default)]
pub struct Unanswered(Arc<AtomicU64>);

impl Unanswered {
    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one for as long as the guard lives.
    #[must_use]
    pub(super) fn one(&self) -> OneUnanswered {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneUnanswered(self.clone())
    }
}

/// One grant that was sent and isn't answered.
#[derive(Debug)]
pub(super) struct OneUnanswered(Unanswered);

impl Drop for OneUnanswered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
