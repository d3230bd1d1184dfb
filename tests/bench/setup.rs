//! A pass over a collection, put together as the program does it.

use crate::collection::Collection;
use evergrant::chance::Chance;
use evergrant::clock::Clock;
use evergrant::grant::http::Https;
use evergrant::journal::Journal;
use evergrant::pass::{Pass, PassRequest, PassSettings, Stop};
use evergrant::provider::Provider;
use evergrant::report::summary::Summary;
use evergrant::report::{Outcome, Report};
use evergrant::schedule::RenewAfter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A pass with a connected store and an open journal.
pub(crate) async fn pass(collection: &Collection, state: &Path, provider: Arc<Provider>) -> Pass {
    let store = collection.open(provider.profile.concurrency.get()).await;
    let journal = Journal::open(state, &Clock::system()).unwrap();
    let settings = PassSettings {
        lease: Duration::from_mins(10),
        renew_after: RenewAfter::THIRD,
        first_backoff: Duration::from_mins(15),
        longest_backoff: Duration::from_hours(24),
        attempts: 4,
        wakes: None,
        documents_name_provider: false,
        ending_within: evergrant::report::ENDING_SOON,
    };
    Pass {
        store,
        journal,
        providers: vec![provider],
        settings,
        clock: Clock::system(),
        connect: Arc::new(Https),
        chance: Chance::system(),
    }
}

pub(crate) async fn run(pass: &Pass, stop: &Stop) -> Summary {
    pass.run(&PassRequest::default(), stop, Arc::new(Report::new())).await.unwrap()
}

/// Every document got a new pair, and none was asked for twice.
pub(crate) fn assert_all_refreshed(summary: &Summary, documents: usize) {
    let refreshed = summary.outcomes.get(&Outcome::Refreshed).copied().unwrap_or_default();
    assert_eq!((refreshed, summary.grants), (documents as u64, documents as u64), "{summary}");
}
