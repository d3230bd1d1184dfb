//! A pass over a collection, put together as the program does it.

use crate::collection::Collection;
use evergrant::testing::chance::Chance;
use evergrant::testing::clock::Clock;
use evergrant::testing::engine::Engine;
use evergrant::testing::grant::http::Https;
use evergrant::testing::journal::Journal;
use evergrant::testing::pass::{Base, LOOKS_AGAIN_EVERY, PassRequest, PassSettings, Stop};
use evergrant::testing::provider::Provider;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Reports};
use evergrant::testing::schedule::RenewAfter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A pass with a connected store and an open journal.
pub(crate) async fn pass(collection: &Collection, state: &Path, provider: Arc<Provider>) -> Engine {
    passes(collection, state, vec![provider]).await
}

/// The same with several providers.
pub(crate) async fn passes(collection: &Collection, state: &Path, providers: Vec<Arc<Provider>>) -> Engine {
    let store = collection.open(providers[0].profile.concurrency.get()).await;
    let journal = Journal::open(state, &Clock::system()).unwrap();
    let settings = PassSettings {
        lease: Duration::from_mins(10),
        renew_after: RenewAfter::THIRD,
        first_backoff: Duration::from_mins(15),
        longest_backoff: Duration::from_hours(24),
        attempts: 4,
        looks_again_every: LOOKS_AGAIN_EVERY,
        wakes: None,
        documents_name_provider: collection.provider.is_some(),
        assumed_life: None,
        ending_within: evergrant::testing::report::ENDING_SOON,
    };
    let base = Base::new(store, journal, providers, settings, Clock::system(), Chance::system());
    Engine::new(base, &Https).unwrap()
}

pub(crate) async fn run(pass: &Engine, stop: &Stop) -> Summary {
    pass.run(&PassRequest::default(), stop, Arc::new(Reports::new())).await.unwrap()
}

/// Every document got a new pair, and none was asked for twice.
pub(crate) fn assert_all_refreshed(summary: &Summary, documents: usize) {
    let refreshed = summary.outcomes.get(&Outcome::Refreshed).copied().unwrap_or_default();
    assert_eq!((refreshed, summary.grants), (documents as u64, documents as u64), "{summary}");
}
