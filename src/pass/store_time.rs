//! The clock of all passes goes by the store's: other hosts judge the claims, due times and marks that this one writes.

use super::Base;
use crate::clock::{Clock, Reading};
use crate::duration::words;
use crate::failure::{error_chain, with_hint};
use crate::report::summary::Warned;
use crate::select::LEASES_AFTER_A_LEAP;
use crate::store::{Store, StoreError};
use chrono::TimeDelta;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, warn};

/// How often a store is asked for its time in one go, at most; the quickest answer counts.
const QUESTIONS: usize = 4;

/// An answer that tells the time so exactly is good enough.
const EXACT: TimeDelta = TimeDelta::milliseconds(20);

/// How often a running pass asks for the store's time. A steady clock drifts by less than a second in an hour; but a store fails
/// over to a machine with another clock.
const ASKED_EVERY: Duration = Duration::from_mins(1);

/// A difference above this is said once.
const SAID_FROM: TimeDelta = TimeDelta::seconds(1);

/// A difference above this stands in each report, too: TLS, tokens with an end of their own and other programs go by that clock.
const REPORTED_FROM: TimeDelta = TimeDelta::minutes(1);

/// The store's time, by the quickest of a few answers; `None` where its machine is ours. Must run to completion.
async fn store_time(store: &dyn Store, clock: &Clock) -> Result<Option<Reading>, StoreError> {
    let mut best: Option<Reading> = None;
    for _ in 0..QUESTIONS {
        let asked = clock.passed();
        let Some(told) = store.time().await? else { return Ok(None) };
        let reading = clock.reading(told, asked);
        if best.is_none_or(|best| reading.width() < best.width()) {
            best = Some(reading);
        }
        if reading.width() <= EXACT {
            break;
        }
    }
    Ok(best)
}

/// Lets the clock go by the store's, once; says whether that is another one. Must run to completion.
///
/// # Errors
/// [`StoreError`] when the store can't be asked: the clock stays as it was.
pub async fn go_by_its_time(store: &dyn Store, clock: &Clock) -> Result<bool, StoreError> {
    let Some(reading) = store_time(store, clock).await? else { return Ok(false) };
    clock.follow(&reading, TimeDelta::MAX);
    Ok(true)
}

/// What is said of a machine's clock that is wrong by more than a minute; `None` where it is right enough, or where the clock
/// follows no store.
#[must_use]
pub fn wrong_clock(clock: &Clock, store: &str) -> Option<Warned> {
    let ahead = clock.machine_ahead().filter(|ahead| ahead.abs() > REPORTED_FROM)?;
    Some(warned(ahead, store))
}

fn warned(ahead: TimeDelta, store: &str) -> Warned {
    let message =
        format!("this machine's clock is {} the clock of {store}; passes go by the store's", off(ahead));
    let hint = "let NTP set this machine's clock (`timedatectl set-ntp true`); should the store's be the wrong one, set that";
    Warned { provider: None, message, hint: Some(hint.to_owned()) }
}

/// `2h ahead of`, `3d behind`.
fn off(ahead: TimeDelta) -> String {
    let word = if ahead < TimeDelta::zero() { "behind" } else { "ahead of" };
    format!("{} {word}", words(ahead.abs().to_std().unwrap_or_default()))
}

impl Base {
    /// Sets the clock by the store's, where that has a clock of its own. Must run to completion.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be asked: the clock stays as it was.
    pub(super) async fn set_clock(&self) -> Result<(), StoreError> {
        let Some(reading) = store_time(&*self.store, &self.clock).await? else { return Ok(()) };
        let lease = TimeDelta::from_std(self.settings.lease).unwrap_or(TimeDelta::MAX);
        let corrected = self.clock.follow(&reading, lease);
        let store = self.store.describe();
        if corrected.abs() >= lease {
            let (by, wait) = (
                words(corrected.abs().to_std().unwrap_or_default()),
                words(self.settings.lease.saturating_mul(LEASES_AFTER_A_LEAP)),
            );
            let direction = if corrected > TimeDelta::zero() { "ahead" } else { "back" };
            let message = format!(
                "the clock of {store} has leapt {by} {direction}: for {wait} this process takes over no claim of another one"
            );
            let hint = "look at the clocks of the members of the replica set (NTP): another one may be the primary now";
            warn!(store, "{}", with_hint(message, Some(hint)));
        }
        let ahead = self.clock.machine_ahead().filter(|ahead| ahead.abs() > SAID_FROM);
        if let Some(ahead) = ahead
            && !self.has_told_of_clock.swap(true, Ordering::Relaxed)
        {
            let Warned { message, hint, .. } = warned(ahead, &store);
            warn!(store, "{}", with_hint(message, hint.as_deref()));
        }
        Ok(())
    }

    /// Asks for the store's time every minute, until the end. Where the store has no clock of its own it ends at once.
    pub(crate) async fn keep_time(self, end: CancellationToken) {
        if self.clock.machine_ahead().is_none() {
            return;
        }
        while end.run_until_cancelled(tokio::time::sleep(ASKED_EVERY)).await.is_some() {
            let base = self.clone();
            // A task of its own, because a store's method must run to completion.
            let asked = tokio::spawn(async move { base.set_clock().await }.in_current_span());
            match end.run_until_cancelled(asked).await {
                Some(Ok(Err(error))) => {
                    debug!(error = %error_chain(&error), "the store can't be asked for its time");
                }
                Some(Err(panic)) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                Some(Ok(Ok(())) | Err(_)) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_machines_clock_is_said_to_be_wrong_from_a_minute_on_and_in_which_direction() {
        let said = |ahead: TimeDelta| {
            let clock = Clock::steppable();
            let now = Timestamp::default();
            clock.follow(&clock.reading(now, clock.passed()), TimeDelta::MAX);
            let right = clock.machine_ahead().expect("it follows a store");
            clock.set_machine_ahead(ahead - right);
            wrong_clock(&clock, "the store").map(|warned| warned.message)
        };
        assert_eq!(said(TimeDelta::seconds(59)), None);
        assert_eq!(said(TimeDelta::seconds(-59)), None);
        let ahead = said(TimeDelta::minutes(90)).expect("it is wrong");
        assert!(
            ahead.starts_with("this machine's clock is 1h 30min ahead of the clock of the store"),
            "{ahead}"
        );
        let behind = said(TimeDelta::days(-3)).expect("it is wrong");
        assert!(behind.starts_with("this machine's clock is 3d behind the clock of the store"), "{behind}");
        assert_eq!(wrong_clock(&Clock::system(), "the store").map(|_| ()), None);
    }
}
