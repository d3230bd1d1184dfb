//! What is noted when the lanes have ended: what stopped a gate, what is usual for a provider, how the journal stands.

use super::{Line, Pass};
use crate::journal::JournalError;

impl Pass {
    /// Reports what stopped a gate, and remembers how many refusals are usual for each provider.
    pub(super) async fn note_gates(&self, line: &Line) {
        for (provider, gate) in &line.gates {
            if let Some(why) = gate.stopped() {
                line.report.stopped(provider, &why);
            }
            if let Some(found) = gate.redeemed_before() {
                line.report.redeemed_before(provider, found, self.journal.directory());
            }
            if let Some(history) = gate.history_after()
                && let Err(error) = self.journal.set_history(provider, history).await
            {
                line.journal_failed(&error);
            }
        }
    }

    /// Notes how the journal stands at the end: what is parked in it, and has it run out of room?
    pub(super) async fn stand(&self, line: &Line) {
        match self.journal.standing().await {
            Ok(standing) => {
                line.report.parked(standing.parked);
                if let Some(shortage) = standing.shortage {
                    line.journal_failed(&JournalError::Full(shortage));
                }
            }
            // The code that met the failure first has reported it.
            Err(JournalError::Stopped) => line.cannot_keep(),
            Err(error) => line.journal_failed(&error),
        }
    }
}
