//! How a gate stands, for people and for metrics.

use super::Stopped;
use super::state::State;
use crate::token::vocabulary;
use std::time::Duration;
use tokio::time::Instant;

/// What a person may want to know of a gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// What it lets through; after a pass: as that ended.
    pub doing: Doing,
    /// Grants out now.
    pub in_flight: usize,
    /// How long the provider still pauses us.
    pub paused_for: Option<Duration>,
    /// Pauses that the provider has asked for.
    pub pauses: Pauses,
    /// Share of the full rate.
    pub factor: f64,
    /// Share of the grants that the rate allows in its window, which was used in the last one; none without a rate.
    pub budget_used: Option<f64>,
    /// Is the sink full or the store down?
    pub closed: bool,
}

/// Pauses that a provider has asked for since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// How many; one that is made longer while it lasts is one.
    pub count: u64,
    /// How long they are in all.
    pub length: Duration,
}

vocabulary! {
    /// What a gate lets through to its provider.
    Doing {
        Open = "open":
            "Requests are sent at the rate that is set, or more slowly where the provider throttled them.",
            "Nothing to do.";
        Unproven = "unproven":
            "No request was granted lately. One at a time is sent until one is granted.",
            "Nothing to do.";
        Paused = "paused":
            "The provider asked for a pause.",
            "Nothing to do. Evergrant waits as long as the provider asks for.";
        Outage = "outage":
            "The provider gives no usable answers. Single requests try whether it is back.",
            "Look at the provider's status page, and at the network between here and there.";
        ClientRejected = "client_rejected":
            "The provider rejects the client. No user was marked.",
            "Check the client and `token_url`, then run `evergrant check --probe-client`.";
        Refusals = "refusals":
            "The provider refuses far more tokens than usual. No user was marked.",
            "Check whether this is the client that the tokens were issued to. See exit code 5.";
        Closed = "closed":
            "Nothing is sent, because the journal or the store can't keep what would come.",
            "Mend the store, or the disk of `state_dir`.";
    }
}

impl State {
    pub(super) fn status(&self, now: Instant) -> Status {
        let paused_for = self.paused_until.map(|until| until.saturating_duration_since(now));
        let paused_for = paused_for.filter(|left| !left.is_zero());
        Status {
            doing: self.doing(paused_for.is_some()),
            in_flight: self.in_flight,
            paused_for,
            pauses: self.pauses,
            factor: self.pace.factor(),
            budget_used: self.pace.budget_used(now),
            closed: self.closed,
        }
    }

    fn doing(&self, is_paused: bool) -> Doing {
        match &self.stopped {
            Some(Stopped::CannotKeep) => return Doing::Closed,
            Some(Stopped::ClientRejected { .. }) => return Doing::ClientRejected,
            Some(Stopped::Refusals(_)) => return Doing::Refusals,
            Some(Stopped::Outage) => return Doing::Outage,
            // The pause may be over by now.
            Some(Stopped::Paused) | None => {}
        }
        if self.closed {
            Doing::Closed
        } else if self.outage.is_some() {
            Doing::Outage
        } else if is_paused {
            Doing::Paused
        } else if self.refusals.suspicion().is_some() {
            Doing::Refusals
        } else if self.canary {
            Doing::Unproven
        } else {
            Doing::Open
        }
    }

    /// Pauses for as long as the provider asked.
    pub(super) fn pause_as_asked(&mut self, wait: Duration, now: Instant) {
        let before = self.paused_until.filter(|until| *until > now);
        self.pause(now + wait);
        let is_longer_by = (now + wait).saturating_duration_since(before.unwrap_or(now));
        self.pauses.count += u64::from(before.is_none());
        self.pauses.length += is_longer_by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Entered, Gate, Signal};
    use std::num::NonZeroUsize;

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_is_made_longer_is_one_and_counts_once() {
        let gate = Gate::new(Some("10/s".parse().unwrap()), NonZeroUsize::new(4).unwrap());
        assert_eq!(gate.status().doing, Doing::Unproven);
        let mut permits = Vec::new();
        let granted = Signal::Works { granted: true };
        for signal in [granted.clone(), granted.clone(), granted] {
            match gate.enter().await {
                Entered::Go(mut permit) => permit.signal(signal),
                Entered::Stopped(why) => panic!("{why:?}"),
            }
        }
        assert_eq!(gate.status().doing, Doing::Open);
        for _ in 0..2 {
            match gate.enter().await {
                Entered::Go(permit) => permits.push(permit),
                Entered::Stopped(why) => panic!("{why:?}"),
            }
        }
        let status = gate.status();
        assert_eq!((status.in_flight, status.budget_used), (2, Some(0.5)));
        for (permit, seconds) in permits.iter_mut().zip([30, 40]) {
            let wait = Some(Duration::from_secs(seconds));
            permit.signal(Signal::Throttled { wait, may_be_alone: false });
        }
        let status = gate.status();
        assert_eq!(status.pauses, Pauses { count: 1, length: Duration::from_secs(40) });
        assert_eq!((status.doing, status.paused_for), (Doing::Paused, Some(Duration::from_secs(40))));
        tokio::time::advance(Duration::from_secs(41)).await;
        let status = gate.status();
        assert_eq!((status.doing, status.paused_for, status.budget_used), (Doing::Open, None, Some(0.0)));
        gate.close();
        assert_eq!(gate.status().doing, Doing::Closed);
    }
}
