//! What the daemon says when it starts: how much is due, and when its first pass begins.

use super::Daemon;
use super::round::Round;
use crate::failure::with_hint;
use crate::pass::{PassRequest, Stop};
use crate::schedule::Wake;
use chrono::TimeDelta;
use std::time::Duration;
use tracing::info;

/// When the first pass begins.
#[derive(Debug, Clone, Copy)]
enum Begins {
    Now,
    /// To try again what an earlier process left due.
    In(Duration),
    /// When a document falls due.
    WhenDue,
    At(Wake),
    Never,
}

impl Daemon {
    /// Says how many documents are due, and when the first pass begins. A stop ends the count.
    pub(super) async fn announce_start(&self, rounds: &[Round], stop: &Stop) {
        let base = self.engine.base.clone();
        // A task of its own, because a store's method must run to completion.
        let counting = tokio::spawn(async move { base.count_due(&PassRequest::default()).await });
        let Some(counted) = stop.take_no_more.run_until_cancelled(counting).await else { return };
        let begins = self.begins(rounds);
        let due = counted.ok().flatten();
        let begins = match begins {
            Begins::Never if self.schedule.is_continuous() && due == Some(0) => Begins::WhenDue,
            Begins::Never if self.schedule.is_continuous() => Begins::Now,
            begins => begins,
        };
        info!("{}", started(due, begins));
    }

    fn begins(&self, rounds: &[Round]) -> Begins {
        let now = self.engine.base.clock.now();
        let is_continuous = self.schedule.is_continuous();
        let missed =
            |round: &Round| !is_continuous && self.schedule.missed_since(round.last_wake, now).is_some();
        if rounds.iter().any(|round| missed(round) || round.follow_up.is_time()) {
            return Begins::Now;
        }
        let next = self.schedule.next_wakes(now, 1).first().copied().filter(|_| !is_continuous);
        let sooner = |wait: &Duration| {
            let at = TimeDelta::from_std(*wait).ok().and_then(|wait| now.checked_add_signed(wait));
            at.is_some_and(|at| next.is_none_or(|next| at < next.at))
        };
        let follow_up = rounds.iter().filter_map(|round| round.follow_up.wait()).min();
        match (follow_up.filter(sooner), next) {
            (Some(wait), _) => Begins::In(wait),
            (None, Some(wake)) => Begins::At(wake),
            (None, None) => Begins::Never,
        }
    }
}

fn started(due: Option<u64>, begins: Begins) -> String {
    let due_now = match due {
        Some(1) => "1 document is due now".to_owned(),
        Some(due) => format!("{due} documents are due now"),
        None => "the documents that are due couldn't be counted".to_owned(),
    };
    let first = match begins {
        Begins::Now => "the first pass begins now".to_owned(),
        Begins::In(wait) => {
            let wait = humantime::format_duration(Duration::from_secs(wait.as_secs()));
            format!("the first pass begins in {wait}")
        }
        Begins::At(wake) => format!("the first pass begins on {wake}"),
        Begins::WhenDue => "the first pass begins when a document falls due".to_owned(),
        Begins::Never => "no pass begins by the schedule".to_owned(),
    };
    let waits = !matches!(begins, Begins::Now) && due != Some(0);
    let hint = "to begin now, stop this service, run `evergrant run --once`, and start the service again";
    with_hint(format!("{due_now}; {first}"), waits.then_some(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::schedule::Schedule;

    #[test]
    fn the_start_says_how_many_are_due_when_the_first_pass_begins_and_how_to_begin_now() {
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        let wake = Schedule::parse("0 3 * * SUN", "UTC", now).unwrap().next_wakes(now, 1)[0];
        assert_eq!(
            started(Some(300), Begins::At(wake)),
            "300 documents are due now; the first pass begins on Sun 2026-11-29 03:00:00 UTC\nhint: to begin now, stop this service, run `evergrant run --once`, and start the service again"
        );
        let soon = started(Some(1), Begins::In(Duration::from_millis(90_400)));
        assert!(soon.starts_with("1 document is due now; the first pass begins in 1m 30s\nhint: "), "{soon}");
        assert_eq!(started(Some(300), Begins::Now), "300 documents are due now; the first pass begins now");
        assert!(!started(Some(0), Begins::At(wake)).contains("hint"));
        assert_eq!(
            started(Some(0), Begins::WhenDue),
            "0 documents are due now; the first pass begins when a document falls due"
        );
        assert!(started(None, Begins::At(wake)).contains("couldn't be counted"));
    }
}
