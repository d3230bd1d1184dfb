//! The survey of a service: after each pass, and now and then between them; never while a pass runs.

use super::Engine;
use crate::clock::Timestamp;
use crate::failure::with_hint;
use crate::store::surveyed;
use crate::survey::{NotMade, Survey, SurveyQuery};
use crate::watch::Event;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often it is made between passes.
const SURVEY_EVERY: Duration = Duration::from_mins(10);

/// One that takes long waits this many times as long for the next one: then it costs the store a fiftieth of its time.
const REST: u32 = 50;

/// When it was made last.
#[derive(Debug, Default)]
pub(super) struct LastSurvey {
    /// When, and how long it took.
    made: Option<(Instant, Duration)>,
    /// Has a pass ended since?
    is_old: bool,
    /// Was it said that it can't be made?
    is_told: bool,
}

impl LastSurvey {
    fn is_time(&self) -> bool {
        self.made.is_none_or(|(at, took)| {
            let longest = if self.is_old { (took * REST).min(SURVEY_EVERY) } else { SURVEY_EVERY };
            at.elapsed() >= longest
        })
    }
}

impl Engine {
    /// Makes a survey, if it is time and no pass runs. `is_new` says that a pass has ended since the last one.
    pub(super) async fn survey_now_and_then(&self, last: &mut LastSurvey, is_new: bool) {
        last.is_old |= is_new;
        let is_busy = self.counters.iter().any(|counter| counter.tally.running().is_some());
        // Before the store was prepared once, its index may be missing.
        if !last.is_time() || is_busy || !self.shown.is_prepared() {
            return;
        }
        let began = Instant::now();
        let made = self.survey(self.next_pass_at()).await;
        (last.made, last.is_old) = (Some((Instant::now(), began.elapsed())), false);
        match &made {
            Ok(_) => last.is_told = false,
            Err(NotMade { reason, .. }) if last.is_told => {
                debug!("when logins end is still not known: {reason}");
            }
            Err(NotMade { reason, hint }) => {
                warn!("{}", with_hint(format!("when logins end is not known: {reason}"), hint.as_deref()));
                last.is_told = true;
            }
        }
        self.note_survey(made);
        self.shown.happened(Event::Surveyed);
    }

    /// Counts how tokens stand, where passes begin next at this moment.
    ///
    /// # Errors
    /// [`NotMade`]: why it can't be counted. No pass depends on it.
    pub async fn survey(&self, next_pass_at: Timestamp) -> Result<Survey, NotMade> {
        let providers = self.base.providers.iter().map(|provider| provider.next_pass(next_pass_at)).collect();
        let query = SurveyQuery { now: self.base.clock.now(), providers };
        surveyed(&*self.base.store, &query).await
    }

    /// Shows this survey from now on.
    pub fn note_survey(&self, made: Result<Survey, NotMade>) {
        self.shown.surveyed(made);
    }

    /// When the next pass begins, as the supervisor says. Where passes begin by what is due alone, each is in time.
    fn next_pass_at(&self) -> Timestamp {
        let told = self.shown.life().told();
        let planned = told.next_wake_at.into_iter().chain(told.follow_up_at).min();
        planned.unwrap_or_else(|| self.base.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_survey_follows_each_pass_but_one_that_takes_long_rests() {
        let made = |took, is_old| LastSurvey { made: Some((Instant::now(), took)), is_old, is_told: false };
        assert!(LastSurvey::default().is_time());
        for (took, is_old, after, is_time) in [
            (Duration::ZERO, true, 0, true),
            (Duration::ZERO, false, 599, false),
            (Duration::ZERO, false, 600, true),
            (Duration::from_secs(2), true, 99, false),
            (Duration::from_secs(2), true, 100, true),
            // However long it takes, between passes it is made as often.
            (Duration::from_mins(1), true, 600, true),
        ] {
            let last = made(took, is_old);
            tokio::time::advance(Duration::from_secs(after)).await;
            assert_eq!(last.is_time(), is_time, "{took:?} {is_old} {after}");
        }
    }
}
