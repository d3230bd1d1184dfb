//! The rate: an even pace, and a window that is kept however late a request arrives.
//!
//! An even pace alone isn't enough: a request that reaches the provider late moves towards its successors, and a
//! window that the provider measures holds one too many. So each grant also waits until the grant that was sent a
//! whole limit before it has left every window that the provider can measure.

use crate::provider::rate::Rate;
use governor::clock::Clock;
use governor::{Quota, RateLimiter, middleware::NoOpMiddleware, state::InMemoryState, state::NotKeyed};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// How late a timer may wake us; the pace may catch up so much, or every tick of the timer would slow it down.
const TIMER_SLACK: Duration = Duration::from_millis(5);

/// A window may be too short by this at most: what is assumed of a request whose answer is still out.
const LATEST_ARRIVAL_SHARE: u32 = 20;

/// Added to each window against rounding at the provider, which may count in whole milliseconds.
const WINDOW_MARGIN: Duration = Duration::from_millis(2);

/// Share of the rate that a throttled provider is asked with at least.
const SLOWEST: f64 = 1.0 / 16.0;

/// What is taken back of the rate after each clean [`CLEAN_TIME`].
const RECOVERY_STEP: f64 = 0.05;

/// Time without a throttled answer after which the pace recovers a step.
const CLEAN_TIME: Duration = Duration::from_secs(30);

/// Tokio's clock for governor, so that a paused test clock paces too.
#[derive(Debug, Clone, Default)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<std::time::Instant>>;

/// One grant in the window.
#[derive(Debug, Clone, Copy)]
struct Slot {
    sent: Instant,
    answered: Option<Instant>,
}

/// Paces the grants of one provider. Owned by its gate; time comes from tokio's clock.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    limiter: Option<Limiter>,
    /// The last grants, at most a whole limit of them, oldest first.
    window: VecDeque<Slot>,
    /// The number of the oldest grant in the window.
    first: u64,
    /// The quickest answer so far: what the way to the provider and back takes at least.
    quickest: Option<Duration>,
    /// Share of the full rate, 1 unless the provider throttled us.
    factor: f64,
    changed_at: Instant,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Self {
        let mut pace = Self {
            rate,
            limiter: None,
            window: VecDeque::new(),
            first: 0,
            quickest: None,
            factor: 1.0,
            changed_at: now,
        };
        pace.swap_limiter();
        pace
    }

    /// Is there a rate?
    pub(super) const fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// Share of the full rate at which grants go out, above 0, at most 1.
    pub(super) const fn factor(&self) -> f64 {
        self.factor
    }

    /// Share of the grants that the rate allows in its window, which the last window used; none without a rate.
    #[expect(clippy::cast_precision_loss, reason = "a share of counts that are far below 2^52")]
    pub(super) fn budget_used(&self, now: Instant) -> Option<f64> {
        let rate = self.rate?;
        let used = self.window.iter().rev().take_while(|slot| slot.sent + rate.window > now).count();
        Some(used as f64 / f64::from(rate.grants.get()))
    }

    /// Goes on at a share of the full rate that an earlier process had come to.
    pub(super) fn set_factor(&mut self, factor: f64, now: Instant) {
        if factor.is_finite() {
            self.factor = factor.clamp(SLOWEST, 1.0);
            self.changed_at = now;
            self.swap_limiter();
        }
    }

    /// Takes the right to send one grant now, and numbers it; otherwise says when to ask again.
    pub(super) fn take(&mut self, now: Instant) -> Result<u64, Instant> {
        let Some(rate) = self.rate else {
            self.first += 1;
            return Ok(self.first - 1);
        };
        let limit = rate.grants.get() as usize;
        if self.window.len() >= limit
            && let Some(oldest) = self.window.front()
        {
            let free_at = self.latest_arrival(*oldest, rate) + rate.window + WINDOW_MARGIN;
            if now < free_at {
                return Err(free_at);
            }
        }
        if let Some(Err(wait)) = self.limiter.as_ref().map(RateLimiter::check) {
            let earliest = wait.earliest_possible();
            return Err(now + earliest.saturating_duration_since(now.into_std()));
        }
        if self.window.len() >= limit {
            self.window.pop_front();
            self.first += 1;
        }
        self.window.push_back(Slot { sent: now, answered: None });
        Ok(self.first + self.window.len() as u64 - 1)
    }

    /// Notes that the provider has answered grant `number`: it can't arrive later than now.
    pub(super) fn answered(&mut self, number: u64, now: Instant) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(slot) = index.and_then(|index| self.window.get_mut(index)) {
            slot.answered = Some(now);
            let took = now.saturating_duration_since(slot.sent);
            self.quickest = Some(self.quickest.map_or(took, |quickest| quickest.min(took)));
        }
    }

    /// Halves the pace; once for all grants that were out together.
    pub(super) fn throttled(&mut self, sent: Instant, now: Instant) {
        if sent >= self.changed_at || self.factor >= 1.0 {
            self.factor = (self.factor / 2.0).max(SLOWEST);
            self.changed_at = now;
            self.swap_limiter();
        }
    }

    /// Takes a step back to the full pace after a clean while.
    pub(super) fn clean(&mut self, now: Instant) {
        if self.factor < 1.0 && now.saturating_duration_since(self.changed_at) >= CLEAN_TIME {
            self.factor = (self.factor + RECOVERY_STEP).min(1.0);
            self.changed_at = now;
            self.swap_limiter();
        }
    }

    /// Would a grant that was let through at `sent` reach the provider later than is assumed, if it went out only now?
    pub(super) fn is_late(&self, sent: Instant, now: Instant) -> bool {
        self.rate.is_some_and(|rate| now > sent + rate.window / LATEST_ARRIVAL_SHARE)
    }

    /// When a grant has reached the provider at the latest, less the way that every grant takes.
    fn latest_arrival(&self, slot: Slot, rate: Rate) -> Instant {
        let assumed = slot.sent + rate.window / LATEST_ARRIVAL_SHARE;
        let Some(answered) = slot.answered else { return assumed };
        let known = answered.checked_sub(self.quickest.unwrap_or_default()).unwrap_or(answered);
        known.clamp(slot.sent, assumed)
    }

    /// A governor's quota can't change: a new one starts where the old one stands.
    fn swap_limiter(&mut self) {
        self.limiter = self.rate.map(|rate| {
            let period = rate.period().div_f64(self.factor).max(Duration::from_nanos(1));
            let slack = TIMER_SLACK.as_nanos() / period.as_nanos().max(1);
            let burst =
                NonZeroU32::MIN.saturating_add(u32::try_from(slack).unwrap_or(u32::MAX)).saturating_add(1);
            let burst = burst.min(rate.grants);
            let quota = Quota::with_period(period).expect("the period is above zero").allow_burst(burst);
            RateLimiter::direct_with_clock(quota, TokioClock)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends as fast as the pace allows, each grant arriving `delays` after it was sent; returns the arrivals.
    async fn arrivals(rate: &str, run: Duration, delays: &[Duration]) -> Vec<Instant> {
        let start = Instant::now();
        let mut pace = Pace::new(Some(rate.parse().unwrap()), start);
        let mut out: Vec<(Instant, u64)> = Vec::new();
        let mut arrived = Vec::new();
        while Instant::now() < start + run {
            let now = Instant::now();
            out.retain(|(answered, number)| {
                if *answered <= now {
                    pace.answered(*number, *answered);
                }
                *answered > now
            });
            match pace.take(now) {
                Ok(number) => {
                    let delay = delays[arrived.len() % delays.len()];
                    arrived.push(now + delay);
                    out.push((now + delay, number));
                }
                Err(at) => {
                    let next =
                        out.iter().map(|(answered, _)| *answered).min().map_or(at, |first| first.min(at));
                    tokio::time::sleep_until(next).await;
                }
            }
        }
        arrived.sort();
        arrived
    }

    fn most_in_a_window(arrived: &[Instant], window: Duration) -> usize {
        (0..arrived.len())
            .map(|first| arrived[first..].partition_point(|at| *at < arrived[first] + window))
            .max()
            .unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn every_window_is_kept_and_nearly_used_up() {
        let quick = [Duration::from_millis(3)];
        for (rate, run, limit, window) in
            [("400/min", 300, 400, 60), ("50/s", 20, 50, 1), ("1000/s", 3, 1000, 1)]
        {
            let arrived = arrivals(rate, Duration::from_secs(run), &quick).await;
            let most = most_in_a_window(&arrived, Duration::from_secs(window));
            assert!(most <= limit, "{rate}: {most}");
            let allowed = limit * usize::try_from(run / window).unwrap();
            assert!(arrived.len() * 100 >= allowed * 98, "{rate}: {} of {allowed}", arrived.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_window_has_no_burst() {
        let arrived = arrivals("400/min", Duration::from_secs(2), &[Duration::from_millis(1)]).await;
        assert!(most_in_a_window(&arrived, Duration::from_secs(1)) <= 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_pace_halves_once_for_what_was_out_and_recovers() {
        let start = Instant::now();
        let mut pace = Pace::new(Some("50/s".parse().unwrap()), start);
        let later = start + Duration::from_secs(1);
        for _ in 0..64 {
            pace.throttled(start, later);
        }
        assert!((pace.factor() - 0.5).abs() < 1e-9);
        pace.throttled(later, later + Duration::from_secs(1));
        assert!((pace.factor() - 0.25).abs() < 1e-9);
        let mut now = later;
        for _ in 0..20 {
            now += CLEAN_TIME + Duration::from_secs(1);
            pace.clean(now);
        }
        assert!((pace.factor() - 1.0).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However the line delays, up to what a window forgives, no window holds more than the limit.
        #[test]
        fn no_jitter_breaks_a_window(delays in proptest::collection::vec(1u64..50, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let delays: Vec<_> = delays.into_iter().map(Duration::from_millis).collect();
            let arrived = runtime.block_on(arrivals("50/s", Duration::from_secs(5), &delays));
            prop_assert!(most_in_a_window(&arrived, Duration::from_secs(1)) <= 50);
        }
    }
}
