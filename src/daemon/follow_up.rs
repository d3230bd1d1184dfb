//! When passes that put something off are followed by another one, without waiting for the next wake.

use crate::clock::Timestamp;
use crate::schedule::{FOLLOW_UP_JITTER, backoff};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::Instant;

/// What a pass left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Is anything still due that a pass could do something about?
    pub(super) due: bool,
    /// When the last of what it put off is due again.
    pub(super) until: Option<Timestamp>,
    /// Until when the provider asked us to wait: a pass before that would send nothing.
    pub(super) not_before: Option<Timestamp>,
}

/// The pass that follows those that left something.
#[derive(Debug, Default)]
pub(super) struct FollowUp {
    /// Passes in a row that left something due.
    failures: u32,
    /// Passes in a row that left nothing due, while something that was put off wasn't due yet.
    looks: u32,
    /// When the last of what any of them put off is due again: a follow-up that finds nothing due yet isn't the last.
    until: Option<Timestamp>,
    at: Option<Instant>,
}

impl FollowUp {
    /// What an earlier process would have followed up until then; what it missed is made up for at once.
    pub(super) fn after_restart(until: Option<Timestamp>, now: Timestamp, first: Duration) -> Self {
        let at = until.map(|until| {
            let left = (until - now).to_std().unwrap_or_default();
            Instant::now() + left.min(first)
        });
        Self { until, at, ..Self::default() }
    }

    /// By when all that was put off is followed up.
    pub(super) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// How long until it is time, if anything is to be followed up.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_time(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// Plans the next one after a pass that ended `now`; returns how long it waits, and by when all that was put off is
    /// followed up, to be remembered. None when nothing is waiting.
    pub(super) fn plan(
        &mut self,
        left: Left,
        now: Timestamp,
        [first, longest]: [Duration; 2],
        jitter_unit: f64,
    ) -> Option<(Duration, Timestamp)> {
        // Nothing is put off for longer: what says so was written under a clock that was ahead.
        let latest = in_time(now, longest);
        let until = self.until.max(left.until).filter(|until| *until > now).map(|until| until.min(latest));
        if !left.due && until.is_none() {
            *self = Self::default();
            return None;
        }
        let pause = left.not_before.and_then(|until| (until - now).to_std().ok());
        let [failures, looks] = if pause.is_some() {
            // The provider says when; and nothing has failed.
            [self.failures, 0]
        } else if left.due {
            [self.failures.saturating_add(1), 0]
        } else {
            [0, self.looks.saturating_add(1)]
        };
        let full = backoff(failures.max(looks), first, longest, 0.0);
        let due_again = until.and_then(|until| (until - now).to_std().ok()).filter(|_| !left.due);
        let wait = pause.unwrap_or_else(|| due_again.map_or(full, |due_again| due_again.min(full)))
            + first.mul_f64(FOLLOW_UP_JITTER * jitter_unit);
        *self = Self { failures, looks, until, at: Some(Instant::now() + wait) };
        let at = in_time(now, wait);
        Some((wait, until.map_or(at, |until| until.max(at))))
    }
}

fn in_time(now: Timestamp, wait: Duration) -> Timestamp {
    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(Timestamp::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: [Duration; 2] = [Duration::from_mins(15), Duration::from_hours(24)];

    fn at(minutes: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::minutes(minutes)
    }

    /// After a pass that ended at a minute: how long the follow-up waits, and what is remembered, in minutes.
    fn plan(follow_up: &mut FollowUp, due: bool, until: Option<i64>, now: i64) -> Option<(u64, i64)> {
        let planned =
            follow_up.plan(Left { due, until: until.map(at), not_before: None }, at(now), WAITS, 0.0);
        planned.map(|(wait, by)| (wait.as_secs() / 60, (by - Timestamp::default()).num_minutes()))
    }

    #[test]
    fn a_follow_up_comes_when_what_was_put_off_is_due_and_goes_on_until_all_of_it_was_followed_up() {
        let mut one = FollowUp::default();
        assert_eq!(plan(&mut one, false, None, 0), None);
        // One failed for the first time, another one for the third.
        assert_eq!(plan(&mut one, true, Some(60), 0), Some((15, 60)));
        // The first is well by now, and the other isn't due yet.
        assert_eq!(plan(&mut one, false, None, 15), Some((15, 60)));
        assert_eq!(plan(&mut one, false, None, 30), Some((30, 60)));
        // Another user's token fails for the first time.
        assert_eq!(plan(&mut one, true, Some(60), 45), Some((15, 60)));
        assert_eq!(plan(&mut one, false, None, 60), None);
        assert_eq!(plan(&mut one, true, None, 100), Some((15, 115)), "the waits begin anew");
        // Written under a clock that was years ahead.
        assert_eq!(plan(&mut one, true, Some(10_000_000), 115), Some((30, 115 + 1440)));
    }

    #[test]
    fn what_stays_due_is_followed_up_ever_later() {
        let mut one = FollowUp::default();
        let mut now = 0;
        for wait in [15_u64, 30, 60, 120, 240, 480, 960, 1440, 1440] {
            // A document that waits for a person is put off for the first wait each time.
            assert_eq!(plan(&mut one, true, Some(now + 15), now), Some((wait, now + wait.cast_signed())));
            now += wait.cast_signed();
        }
    }

    #[test]
    fn a_pass_that_the_provider_asked_to_wait_is_followed_up_when_the_pause_is_over() {
        let mut one = FollowUp::default();
        let left = Left { due: true, until: None, not_before: Some(at(180)) };
        let (wait, by) = one.plan(left, at(0), WAITS, 0.0).unwrap();
        assert_eq!((wait, by), (Duration::from_hours(3), at(180)));
        for _ in 0..10 {
            let quota = Left { due: true, until: None, not_before: Some(at(195)) };
            assert_eq!(
                one.plan(quota, at(180), WAITS, 0.0).unwrap().0,
                Duration::from_mins(15),
                "a pause is no failure"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn jitter_never_lets_it_come_too_early() {
        let mut one = FollowUp::default();
        let left = Left { due: true, until: Some(at(15)), not_before: None };
        let (wait, _) = one.plan(left, at(0), WAITS, 0.999).unwrap();
        assert!(wait > WAITS[0] && wait < WAITS[0] * 5 / 4, "{wait:?}");
        tokio::time::advance(WAITS[0]).await;
        assert!(!one.is_time());
        tokio::time::advance(WAITS[0] / 4).await;
        assert!(one.is_time());
    }
}
