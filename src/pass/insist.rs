//! A store that is away is waited for, with bounds; only waiting ends with a stop, never a call.

use super::Line;
use crate::failure::error_chain;
use crate::store::StoreError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Longest time that a pass waits for a store that went away, before it ends with what it has in the journal.
pub(super) const STORE_PATIENCE: Duration = Duration::from_mins(10);

/// Longest time that a pass which hasn't begun goes on asking for the store after it found it away.
///
/// An election takes up to 12 s by the defaults of MongoDB, and the driver waits for the first 10 s of them by itself: a
/// pass that begins as the primary dies begins all the same, and a store that is simply down is told after half a minute.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(20);

/// First wait between two calls; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait between two calls.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a wait for the store reports.
pub(super) enum Turn<'a> {
    /// A call found the store away; the first one, or another.
    Away { error: &'a StoreError, first: bool },
    /// It had been away.
    Back,
}

/// Repeats a call while the store is away, for `patience` after the first that found it so; gives up at once when the
/// store refuses, and when `end` comes, which is heeded between calls only.
pub(super) async fn insist<T, F>(
    patience: Duration,
    end: &CancellationToken,
    call: impl Fn() -> F,
    turn: impl Fn(Turn<'_>),
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (mut wait, mut since) = (FIRST_WAIT, None);
    loop {
        let error = match call().await {
            Ok(value) => {
                if since.is_some() {
                    turn(Turn::Back);
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        let first = since.is_none();
        let gone_for = since.get_or_insert_with(Instant::now).elapsed();
        let again = matches!(error, StoreError::Unavailable { .. }) && gone_for < patience;
        if !again || end.is_cancelled() {
            return Err(error);
        }
        turn(Turn::Away { error: &error, first });
        if end.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Err(error);
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

impl Line {
    /// Repeats a store call while the store is away; closes the gates meanwhile: we do not redeem what we cannot keep.
    ///
    /// Gives up after [`STORE_PATIENCE`], at once when the store refuses or when nothing is waited for any more.
    pub(super) async fn insist<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.insist_until(&self.stop.give_up, call).await
    }

    /// The same before the first grant: there is nothing yet that a stop would have to wait for.
    pub(super) async fn insist_at_the_start<T, F>(&self, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.insist_until(&self.stop.take_no_more, call).await
    }

    async fn insist_until<T, F>(&self, end: &CancellationToken, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let turn = |turn: Turn<'_>| match turn {
            Turn::Back => {
                // Once an outage: what matters is when it began, and when it ended.
                if self.base.store_is_away.swap(false, Ordering::Relaxed) {
                    info!(store = self.base.store.describe(), "the store is back");
                }
                if let Some(gate) = self.gate() {
                    gate.open();
                }
            }
            Turn::Away { error, .. } => {
                if let Some(gate) = self.gate() {
                    gate.close();
                }
                if self.base.store_is_away.swap(true, Ordering::Relaxed) {
                    debug!(error = %error_chain(error), "the store is still not available");
                } else {
                    warn!(error = %error_chain(error), "the store is not available; nothing is redeemed until it is back");
                }
            }
        };
        let answered = insist(STORE_PATIENCE, end, call, turn).await;
        if answered.is_err() {
            // It isn't waited for any more; the next outage is said again.
            self.base.store_is_away.store(false, Ordering::Relaxed);
        }
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const CALL: Duration = Duration::from_secs(10);

    fn away() -> StoreError {
        StoreError::Unavailable { at: "a".into(), action: "be asked", source: "a test".into() }
    }

    fn refuses() -> StoreError {
        StoreError::Settings("wrong".into())
    }

    /// How often a store is called of which the first so many calls fail like this; its answer, and how long that took.
    async fn calls(
        failures: usize,
        like: fn() -> StoreError,
        end: &CancellationToken,
    ) -> (usize, bool, Duration) {
        let (called, began) = (Cell::new(0), Instant::now());
        let answer = insist(
            START_PATIENCE,
            end,
            || async {
                called.set(called.get() + 1);
                tokio::time::sleep(CALL).await;
                if called.get() <= failures { Err(like()) } else { Ok(()) }
            },
            |_| {},
        )
        .await;
        (called.get(), answer.is_ok(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_waited_for_with_a_bound_and_one_that_refuses_is_not() {
        let end = CancellationToken::new();
        let (called, well, _) = calls(2, away, &end).await;
        assert_eq!((called, well), (3, true));
        let (called, well, took) = calls(usize::MAX, away, &end).await;
        assert!(!well && called == 3, "{called}");
        assert!(took > CALL + START_PATIENCE && took < CALL * 2 + START_PATIENCE, "{took:?}");
        let (called, well, took) = calls(1, refuses, &end).await;
        assert_eq!((called, well, took.as_secs()), (1, false, CALL.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait_and_never_a_call() {
        let end = CancellationToken::new();
        let (stop, midway) = (end.clone(), CALL / 2);
        tokio::spawn(async move {
            tokio::time::sleep(midway).await;
            stop.cancel();
        });
        let (called, well, took) = calls(usize::MAX, away, &end).await;
        assert_eq!((called, well, took.as_secs()), (1, false, CALL.as_secs()));
    }
}
