//! The forecast, as `run --once` and `check` ask for it: after the pass, and never a reason to fail.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::pass::Stop;
use crate::store::{Store, surveyed};
use crate::survey::{NextPass, NotMade, Survey, SurveyQuery};
use std::sync::Arc;
use std::time::Duration;

/// Asks the store for it; why there is none where there is none.
pub(super) async fn ask(store: &dyn Store, config: &Config, now: Timestamp) -> Result<Survey, NotMade> {
    let begins_at = config.schedule.next_after(now).unwrap_or(Timestamp::MAX_UTC);
    let providers = if config.providers.is_empty() {
        // Their rates aren't known: only what ends before the wake is too late.
        let named = |name: &String| NextPass { provider: name.clone(), begins_at, per_token: Duration::ZERO };
        config.provider_names.iter().map(named).collect()
    } else {
        config.providers.iter().map(|provider| provider.next_pass(begins_at)).collect()
    };
    surveyed(store, &SurveyQuery { now, providers }).await
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
