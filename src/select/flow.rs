//! How many documents to claim at once, and when: by the pace at which the gate takes tokens.

use crate::provider::rate::Rate;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;

/// How long the content of a document counts as known after it was read.
///
/// The user's application may redeem the token at any time. To send it after that is reuse, and some providers revoke
/// the whole login for it. A token that was read earlier is read again right before it is sent.
pub const FRESH_FOR: Duration = Duration::from_secs(2);

/// Time before its first use at which a claim begins, so that the gate doesn't wait for the store.
const AHEAD: Duration = Duration::from_millis(500);

/// Time in which the tokens of one claim pass the gate. With [`AHEAD`] the last of them is still fresh.
const IN_HAND: Duration = FRESH_FOR.saturating_sub(AHEAD);

/// Tokens over which the pace is averaged: a gate without a rate takes them in bursts, as answers come.
const AVERAGED: u32 = 16;

/// Longest wait of one token that counts: after a pause the pace is measured anew within a few tokens.
const LONGEST_COUNTED: Duration = FRESH_FOR;

/// The pace at which tokens leave, and what follows from it for the claims.
#[derive(Debug)]
pub struct Flow {
    /// Average time from one token to the next.
    gap: Duration,
    /// The same at the full rate: it is never shorter.
    shortest_gap: Duration,
    /// When the last token was handed out; until the next one is asked for, it waits at the gate.
    handed_at: Option<Instant>,
}

impl Flow {
    /// A flow to a gate of this rate. Without a rate the first claim fills the places in flight, and the pace that is
    /// measured says the rest.
    #[must_use]
    pub fn new(rate: Option<Rate>, concurrency: NonZeroUsize) -> Self {
        let places = u32::try_from(concurrency.get()).unwrap_or(u32::MAX);
        let shortest_gap = rate.map_or(Duration::ZERO, Rate::period);
        Self { gap: rate.map_or(IN_HAND / places, Rate::period), shortest_gap, handed_at: None }
    }

    /// A flow of documents that pass no gate: each claim is as large as a page.
    #[must_use]
    pub const fn without_gate() -> Self {
        Self { gap: Duration::ZERO, shortest_gap: Duration::ZERO, handed_at: None }
    }

    /// Notes that a token goes to the gate.
    pub(super) fn handed(&mut self, now: Instant) {
        self.handed_at = Some(now);
    }

    /// Notes that the next token is asked for: the last one has passed.
    pub(super) fn asked(&mut self, now: Instant) {
        if let Some(handed_at) = self.handed_at.take() {
            let gap = now.saturating_duration_since(handed_at).min(LONGEST_COUNTED);
            self.gap = (self.gap * (AVERAGED - 1) + gap) / AVERAGED;
        }
    }

    /// How many documents to claim at once, at least 1.
    pub(super) fn at_once(&self) -> usize {
        let gap = self.gap().as_nanos().max(1);
        usize::try_from(IN_HAND.as_nanos() / gap).unwrap_or(usize::MAX).max(1)
    }

    /// Is it time to claim more, with so many tokens claimed and not handed out, and one at the gate?
    pub(super) fn is_time(&self, in_hand: usize) -> bool {
        let waiting = u32::try_from(in_hand).unwrap_or(u32::MAX).saturating_add(1);
        self.gap().saturating_mul(waiting) <= AHEAD
    }

    fn gap(&self) -> Duration {
        self.gap.max(self.shortest_gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(rate: &str, concurrency: usize) -> Flow {
        Flow::new(rate.parse().ok(), concurrency.try_into().unwrap())
    }

    /// Lets `tokens` pass one after the other, each `gap` after the one before.
    fn pass(flow: &mut Flow, tokens: u32, gap: Duration) {
        let mut now = Instant::now();
        for _ in 0..tokens {
            flow.handed(now);
            now += gap;
            flow.asked(now);
        }
    }

    #[tokio::test]
    async fn the_last_token_of_a_claim_is_fresh_when_it_is_sent() {
        for (rate, at_once) in
            [("400/min", 10), ("50/s", 75), ("60/min", 1), ("30/min", 1), ("1/h", 1), ("100/min", 2)]
        {
            let mut flow = flow(rate, 16);
            let period = rate.parse::<Rate>().unwrap().period();
            pass(&mut flow, 100, period);
            assert_eq!(flow.at_once(), at_once, "{rate}");
            let most_ahead = (0..flow.at_once()).filter(|in_hand| flow.is_time(*in_hand)).max();
            let before = most_ahead.map_or(0, |in_hand| in_hand + 1);
            let oldest = period * u32::try_from(before + at_once).unwrap();
            assert!(oldest <= FRESH_FOR || at_once == 1, "{rate}: {oldest:?}");
        }
    }

    #[tokio::test]
    async fn a_claim_follows_a_gate_that_slows_down_pauses_and_recovers() {
        let mut flow = flow("400/min", 16);
        pass(&mut flow, 100, Duration::from_millis(600));
        assert_eq!(flow.at_once(), 2, "a quarter of the rate");
        pass(&mut flow, 100, Duration::from_millis(150));
        assert_eq!(flow.at_once(), 9);
        pass(&mut flow, 1, Duration::from_mins(5));
        assert!((4..9).contains(&flow.at_once()), "{}", flow.at_once());
        pass(&mut flow, 50, Duration::from_millis(150));
        assert!(flow.at_once() >= 9);
    }

    #[tokio::test]
    async fn without_a_rate_the_claims_follow_the_provider() {
        let mut flow = flow("none", 64);
        assert_eq!(flow.at_once(), 64);
        pass(&mut flow, 64, Duration::from_micros(200));
        assert!(flow.at_once() > 2000 && flow.is_time(500), "{}", flow.at_once());
        // 16 at once every five seconds.
        let mut slow = self::flow("none", 16);
        for _ in 0..20 {
            pass(&mut slow, 1, Duration::from_secs(5));
            pass(&mut slow, 15, Duration::ZERO);
        }
        assert!((1..=40).contains(&slow.at_once()), "{}", slow.at_once());
    }
}
