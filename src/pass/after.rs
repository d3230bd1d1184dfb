//! What is noted when the lanes have ended: what stopped a gate, what is usual for a provider, how the journal stands.

use super::Line;
use crate::gate::{Stopped, WithoutRequest};
use crate::journal::JournalError;
use crate::report::Trouble;
use chrono::TimeDelta;
use std::time::Duration;

impl Line {
    /// Reports what stopped the gate, and remembers how many refusals are usual for its provider.
    pub(super) async fn note_gate(&self) {
        let Some(counter) = self.whose.counter() else { return };
        let (provider, gate, journal) = (&counter.provider, &counter.gate, &self.base.journal);
        if let Some(why) = gate.stopped() {
            self.report.stopped(provider, &why);
        }
        if gate.granted() > 0 && !matches!(gate.stopped(), Some(Stopped::ClientRejected { .. })) {
            self.report.rejected_among_grants(&provider.name);
        }
        if let Some(suspicion) = gate.suspicion() {
            self.report.trouble(Trouble::Refusals { provider: provider.name.to_string(), suspicion });
        }
        counter.learn(self.report.lives());
        if let Err(error) = counter.note(&self.base).await {
            self.journal_failed(&error);
        }
        for why in [WithoutRequest::Redeemed, WithoutRequest::MayBeSpent] {
            if let Some(found) = gate.too_many_unasked(why) {
                self.report.too_many_unasked(&provider.name, why, found, journal.directory());
            }
        }
        if let Some(history) = gate.history_after()
            && let Err(error) = journal.set_history(&provider.name, history).await
        {
            self.journal_failed(&error);
        }
    }

    /// Reports a pause that is longer than a pass waits, where it keeps something from being refreshed.
    pub(super) fn note_pause(&self) {
        let Some(counter) = self.whose.counter() else { return };
        if counter.gate.stopped() != Some(Stopped::Paused) || !self.report.leaves_something() {
            return;
        }
        // A second that has begun counts: a request at that time is not too early.
        let left = counter.gate.status().paused_for.unwrap_or_default();
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let length = Duration::from_secs(seconds);
        let until = self.base.clock.now() + TimeDelta::from_std(length).unwrap_or_default();
        let provider = counter.provider.name.to_string();
        self.report.trouble(Trouble::Paused { provider, seconds, until });
    }

    /// Notes how the journal stands at the end: what is parked in it, and has it run out of room?
    pub(super) async fn stand(&self) {
        match self.base.journal.standing().await {
            Ok(standing) => {
                self.report.parked(standing.parked);
                if let Some(shortage) = standing.shortage {
                    self.journal_failed(&JournalError::Full(shortage));
                }
            }
            // The code that met the failure first has reported it.
            Err(JournalError::Stopped) => self.cannot_keep(),
            Err(error) => self.journal_failed(&error),
        }
    }
}
