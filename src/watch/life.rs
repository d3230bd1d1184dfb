//! What the supervisor says of itself, and whether the process still works.

use super::Phase;
use crate::clock::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The supervisor looks around at least every 20 seconds: after so long without a sign it hangs.
const HEARTBEAT: Duration = Duration::from_secs(90);

/// So long the journal's thread may take for an answer: one fsync on a slow disk takes seconds.
const JOURNAL_ANSWERS: Duration = Duration::from_mins(1);

/// A pass that ends no document and gets no answer for so long hangs, unless it waits for a reason that is known.
const PROGRESS: Duration = Duration::from_mins(30);

/// What the supervisor says of itself.
#[derive(Debug)]
pub struct Life(Mutex<Told>);

/// What it said last.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// What it is doing.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// The next wake of the schedule.
    pub next_wake_at: Option<Timestamp>,
    /// When the next pass follows one that left something due.
    pub follow_up_at: Option<Timestamp>,
    /// The longest time between two wakes.
    pub wake_interval: Option<Duration>,
    /// When it last gave a sign; none before the first one, and where there is no supervisor.
    heartbeat: Option<Instant>,
    /// When the journal was asked for what it has not answered yet.
    asked_journal: Option<Instant>,
    /// Was everything opened once?
    pub is_ready: bool,
}

/// Why a process hangs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hangs {
    /// The supervisor gave no sign for so long.
    Supervisor(Duration),
    /// The journal's thread has not answered for so long.
    Journal(Duration),
    /// The pass of this provider has ended no document and got no answer for so long, and nothing is known that it could wait for.
    Pass(String, Duration),
}

/// How long a pass has ended no document and got no answer.
#[derive(Debug, Clone)]
pub struct Standstill {
    /// Of which provider.
    pub provider: String,
    /// How long.
    pub lasts: Duration,
    /// So long the rate alone can make it wait between two documents.
    pub pace: Duration,
    /// So long a token can wait that is asked for again, and then for its answer.
    pub rest: Duration,
    /// Is a reason known: a pause, an outage, a store that is away?
    pub is_known: bool,
}

impl Life {
    /// A process that begins now.
    #[must_use]
    pub fn begun(now: Timestamp) -> Self {
        Self(Mutex::new(Told {
            phase: Phase::Starting,
            since: now,
            next_wake_at: None,
            follow_up_at: None,
            wake_interval: None,
            heartbeat: None,
            asked_journal: None,
            is_ready: false,
        }))
    }

    /// What was said last.
    #[must_use]
    pub fn told(&self) -> Told {
        *self.lock()
    }

    /// The process does this from now on.
    pub fn enter(&self, phase: Phase, now: Timestamp) {
        let mut told = self.lock();
        if told.phase != phase {
            (told.phase, told.since) = (phase, now);
        }
        // Until then nothing was opened.
        told.is_ready |= phase != Phase::Starting;
    }

    /// The supervisor looks around: it lives, and these are the next passes.
    pub fn beats(&self, next_wake_at: Option<Timestamp>, follow_up_at: Option<Timestamp>) {
        let mut told = self.lock();
        (told.next_wake_at, told.follow_up_at) = (next_wake_at, follow_up_at);
        told.heartbeat = Some(Instant::now());
    }

    /// The longest time between two wakes in the coming year.
    pub fn wakes_every(&self, longest: Option<Duration>) {
        self.lock().wake_interval = longest;
    }

    /// The journal is asked something.
    pub fn asks_journal(&self) {
        self.lock().asked_journal.get_or_insert_with(Instant::now);
    }

    /// It has answered, well or badly.
    pub fn journal_answered(&self) {
        self.lock().asked_journal = None;
    }

    /// Why the process hangs, if it does. Never because a store, a provider or a disk is away: a restart would not mend that, and
    /// cuts off answers.
    #[must_use]
    pub fn hangs(&self, standstills: &[Standstill]) -> Option<Hangs> {
        let told = self.told();
        let longer =
            |since: Option<Instant>, most| since.map(|at| at.elapsed()).filter(|lasts| *lasts > most);
        if let Some(lasts) = longer(told.heartbeat, HEARTBEAT) {
            return Some(Hangs::Supervisor(lasts));
        }
        if let Some(lasts) = longer(told.asked_journal, JOURNAL_ANSWERS) {
            return Some(Hangs::Journal(lasts));
        }
        let longest = |still: &Standstill| PROGRESS.max(still.pace * 3).max(still.rest * 2);
        let hangs = |still: &&Standstill| !still.is_known && still.lasts > longest(still);
        standstills.iter().find(hangs).map(|still| Hangs::Pass(still.provider.clone(), still.lasts))
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Plain values: a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Hangs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Supervisor(lasts) => {
                write!(formatter, "supervisor gave no sign for {} s", lasts.as_secs())
            }
            Self::Journal(lasts) => write!(formatter, "journal has not answered for {} s", lasts.as_secs()),
            Self::Pass(provider, lasts) => {
                write!(
                    formatter,
                    "pass of `{provider}` has ended no document and got no answer for {} s",
                    lasts.as_secs()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(lasts: u64, [pace, rest]: [u64; 2], is_known: bool) -> [Standstill; 1] {
        let [lasts, pace, rest] = [lasts, pace, rest].map(Duration::from_mins);
        [Standstill { provider: "crm".into(), lasts, pace, rest, is_known }]
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_hangs_without_a_sign_an_answer_or_progress_and_for_no_reason_that_is_known() {
        let life = Life::begun(Timestamp::default());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(life.hangs(&[]), None, "it may start for as long as the store is away");
        life.beats(None, None);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(life.hangs(&[]), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(life.hangs(&[]), Some(Hangs::Supervisor(Duration::from_secs(91))));
        life.beats(None, None);
        life.asks_journal();
        tokio::time::advance(Duration::from_secs(50)).await;
        // It was not answered in between.
        life.asks_journal();
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(life.hangs(&[]), Some(Hangs::Journal(Duration::from_secs(61))));
        life.journal_answered();
        assert_eq!(life.hangs(&[]), None);
        for (standstill, hangs) in [
            (still(30, [0, 1], false), false),
            (still(31, [0, 1], false), true),
            (still(31, [0, 1], true), false),
            // One request an hour: it waits for its own rate.
            (still(120, [60, 1], false), false),
            (still(181, [60, 1], false), true),
            // A lost answer is followed by a second request hours later.
            (still(240, [0, 121], false), false),
            (still(243, [0, 121], false), true),
        ] {
            assert_eq!(life.hangs(&standstill).is_some(), hangs, "{standstill:?}");
        }
    }

    #[test]
    fn a_phase_has_lasted_since_it_was_entered_first() {
        let at = |second| chrono::DateTime::from_timestamp(second, 0).unwrap();
        let life = Life::begun(at(0));
        assert!(!life.told().is_ready);
        for second in [5, 6] {
            life.enter(Phase::Passing, at(second));
        }
        assert_eq!(
            (life.told().phase, life.told().since, life.told().is_ready),
            (Phase::Passing, at(5), true)
        );
    }
}
