//! The survey of a service: after each pass, and now and then between them; never while a pass runs.

use super::Engine;
use crate::clock::Timestamp;
use crate::failure::{Advice as _, error_chain, with_hint};
use crate::survey::{NotMade, Survey, SurveyQuery, Surveyed};
use crate::watch::Event;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often it is made between passes.
const SURVEY_EVERY: Duration = Duration::from_mins(10);

/// When it was made last.
#[derive(Debug, Default)]
pub(super) struct LastSurvey {
    at: Option<Instant>,
    /// Was it said that it can't be made?
    is_told: bool,
}

impl Engine {
    /// Makes a survey, if it is time and no pass runs. `is_new` says that a pass has ended since the last one.
    pub(super) async fn survey_now_and_then(&self, last: &mut LastSurvey, is_new: bool) {
        if is_new {
            last.at = None;
        }
        let is_time = last.at.is_none_or(|at| at.elapsed() >= SURVEY_EVERY);
        let is_busy = self.counters.iter().any(|counter| counter.tally.running().is_some());
        // Before the store was prepared once, its index may be missing.
        if !is_time || is_busy || !self.shown.is_prepared() {
            return;
        }
        last.at = Some(Instant::now());
        let made = self.survey(self.next_pass_at()).await;
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
        match self.base.store.survey(&SurveyQuery { now: self.base.clock.now(), providers }).await {
            Ok(Surveyed::Made(survey)) => Ok(*survey),
            Ok(Surveyed::NotMade(why)) => Err(why),
            Err(error) => {
                Err(NotMade { reason: error_chain(&error), hint: error.hint().map(Cow::into_owned) })
            }
        }
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
