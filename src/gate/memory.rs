//! What is remembered of a gate over a restart: a pause, a slowed rate, an outage. Pure.

use super::state::{Outage, State};
use crate::clock::Timestamp;
use crate::provider::learned::Learned;
use crate::provider::memory::Memory;
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::Instant;

/// After so long a slowed rate and an outage say nothing any more.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);

impl State {
    /// What is to be remembered `now`, which is both.
    pub(super) fn memory(&self, at: Timestamp, now: Instant) -> Memory {
        let left = |until: Instant| TimeDelta::from_std(until.saturating_duration_since(now)).ok();
        let ago = |since: Instant| TimeDelta::from_std(now.saturating_duration_since(since)).ok();
        Memory {
            at,
            paused_until: self.paused_until.filter(|until| *until > now).and_then(left).map(|left| at + left),
            factor: self.pace.factor(),
            failing_since: self.outage.as_ref().and_then(|outage| ago(outage.since)).map(|ago| at - ago),
            learned: Learned::default(),
        }
    }

    /// Goes on where an earlier process was. A clock that was ahead when it was noted makes no wait longer.
    pub(super) fn recall(&mut self, memory: Memory, at: Timestamp, now: Instant) {
        let length = |from: Timestamp, to: Timestamp| (to - from).to_std().unwrap_or_default();
        if let Some(until) = memory.paused_until {
            let left = length(at, until).min(length(memory.at, until)).min(LONGEST_PAUSE);
            if !left.is_zero() {
                self.pause(now + left);
            }
        }
        if at - memory.at >= FORGOTTEN_AFTER {
            return;
        }
        self.pace.set_factor(memory.factor, now);
        if let Some(since) = memory.failing_since {
            let lasted = length(since, at.max(memory.at));
            // Where the machine is younger than the outage, it is as old as that.
            let since = now.checked_sub(lasted).unwrap_or(now);
            self.outage = Some(Outage::going_on(since, now));
        }
    }
}

/// Longest pause that is heeded.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Entered, Gate, Signal, Stopped};

    fn gate() -> std::sync::Arc<Gate> {
        Gate::new(Some("10/s".parse().unwrap()), std::num::NonZeroUsize::new(4).unwrap())
    }

    async fn answered(gate: &std::sync::Arc<Gate>, signal: Signal) {
        match gate.enter().await {
            Entered::Go(mut permit) => permit.signal(signal),
            Entered::Stopped(why) => panic!("{why:?}"),
        }
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::minutes(minutes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_and_a_halved_rate_go_on_in_the_next_process() {
        let before = gate();
        answered(&before, Signal::Throttled { wait: Some(Duration::from_hours(3)), may_be_alone: false })
            .await;
        let memory = before.memory(at(0));
        assert_eq!((memory.paused_until, memory.factor), (Some(at(180)), 0.5));
        let json = serde_json::to_string(&memory).unwrap();
        let memory: Memory = serde_json::from_str(&json).unwrap();
        for (now, left) in [(60, Some(120)), (181, None), (-600, Some(180))] {
            let after = gate();
            after.recall(memory, at(now));
            after.begin_pass(crate::provider::history::History::default(), false);
            let status = after.status();
            assert_eq!((status.factor, status.paused_for.map(|left| left.as_secs() / 60)), (0.5, left));
            assert_eq!(after.stopped(), left.map(|_| Stopped::Paused), "a pass doesn't wait for hours");
        }
        let weeks_later = gate();
        weeks_later.recall(memory, at(60 * 24 * 7));
        assert!(weeks_later.memory(at(0)).is_plain());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_goes_on_and_a_few_failures_end_the_next_pass() {
        let before = gate();
        while let Entered::Go(mut permit) = before.enter().await {
            permit.signal(Signal::Failed);
        }
        let memory = before.memory(at(0));
        assert!(memory.failing_since.is_some());
        let after = gate();
        after.recall(memory, at(15));
        after.begin_pass(crate::provider::history::History::default(), false);
        let began = Instant::now();
        while let Entered::Go(mut permit) = after.enter().await {
            assert_eq!(after.status().in_flight, 1, "one at a time");
            permit.signal(Signal::Failed);
        }
        assert_eq!(after.stopped(), Some(Stopped::Outage));
        assert!(began.elapsed() < Duration::from_mins(3), "{:?}", began.elapsed());
        assert!(after.memory(at(20)).failing_since < Some(at(0)), "it lasts since the first failure");
        // A provider that is well again is asked as ever.
        let well = gate();
        well.recall(memory, at(15));
        well.begin_pass(crate::provider::history::History::default(), false);
        answered(&well, Signal::Works { granted: true }).await;
        assert!(well.memory(at(16)).is_plain());
    }
}
