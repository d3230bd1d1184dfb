//! Waiting for an answer, by the time in which this process runs.
//!
//! A process that was stopped, or whose machine slept, finds its timeouts over and the answers in its sockets. To
//! believe the clock then is to throw away pairs that exist nowhere else.

use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// What is waited at a time. After a pause the rest of the wait is at least as long, for what has come meanwhile.
const STEP: Duration = Duration::from_secs(1);

/// A step that took longer than this beyond its end was a pause of the process.
const AWAY: Duration = Duration::from_millis(500);

/// Most pauses that lengthen one wait: on a machine that is never in time it must end all the same.
const MOST_PAUSES: u32 = 5;

/// How long something is still waited for.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    pauses: u32,
}

impl Patience {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { left: timeout, pauses: 0 }
    }

    /// Waits for `future`, and for no longer than what is left; `None` when that is over.
    pub(super) async fn wait<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            let (step, began) = (self.left.min(STEP), Instant::now());
            let waited = tokio::time::timeout(step, &mut future).await;
            let took = began.elapsed();
            self.left = self.left.saturating_sub(took.min(step));
            if let Ok(output) = waited {
                return Some(output);
            }
            if took > step + AWAY && self.pauses < MOST_PAUSES {
                self.pauses += 1;
                self.left = self.left.max(STEP);
            }
            if self.left.is_zero() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_as_long_as_it_was_told() {
        for millis in [1, 999, 1000, 2500] {
            let (timeout, began) = (Duration::from_millis(millis), Instant::now());
            assert_eq!(Patience::new(timeout).wait(std::future::pending::<()>()).await, None);
            assert_eq!(began.elapsed(), timeout);
        }
        let mut patience = Patience::new(Duration::from_secs(5));
        assert!(patience.wait(tokio::time::sleep(Duration::from_secs(4))).await.is_some());
        assert!(patience.wait(tokio::time::sleep(Duration::from_secs(4))).await.is_none());
    }
}
