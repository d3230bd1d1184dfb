//! The forecast, as `run --once` and `check` ask for it: after the pass, and never a reason to fail.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::failure::{Advice as _, error_chain};
use crate::pass::Stop;
use crate::store::Store;
use crate::survey::{NotMade, Survey, SurveyQuery, Surveyed};
use std::borrow::Cow;
use std::sync::Arc;

/// Asks the store for it; why there is none where there is none.
pub(super) async fn ask(store: &dyn Store, config: &Config, now: Timestamp) -> Result<Survey, NotMade> {
    let begins_at = config.schedule.next_after(now).unwrap_or(Timestamp::MAX_UTC);
    let providers = config.providers.iter().map(|provider| provider.next_pass(begins_at)).collect();
    match store.survey(&SurveyQuery { now, providers }).await {
        Ok(Surveyed::Made(survey)) => Ok(*survey),
        Ok(Surveyed::NotMade(why)) => Err(why),
        Err(error) => Err(NotMade { reason: error_chain(&error), hint: error.hint().map(Cow::into_owned) }),
    }
}

/// The same, until a stop comes: then there is none, and nothing is to be said.
pub(super) async fn ask_unless(
    stop: &Stop,
    store: Arc<dyn Store>,
    config: &Config,
    now: Timestamp,
) -> Option<Result<Survey, NotMade>> {
    let config = config.clone();
    let asking = tokio::spawn(async move { ask(&*store, &config, now).await });
    match stop.take_no_more.run_until_cancelled(asking).await? {
        Ok(asked) => Some(asked),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
