//! The rate is kept, and used: at a provider that enforces exactly the limit that we were told.

use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, say, setup};
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::rate::Rate;
use std::time::Duration;

/// Accepted grants, as a share of what the limit allows over the run.
const LEAST_SHARE: f64 = 0.98;

/// Grants in flight at once, at most.
const CONCURRENCY: usize = 16;

/// How often the ledger is asked whether the first grant has come.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) async fn measure() -> Vec<Measured> {
    say("the rate at 400/min (75 s) and at 50/s (20 s), side by side");
    let (a_minute, a_second) =
        tokio::join!(kept("400/min", Duration::from_secs(75)), kept("50/s", Duration::from_secs(20)));
    a_minute.into_iter().chain(a_second).collect()
}

async fn kept(limit: &str, run: Duration) -> [Measured; 2] {
    let folder = tempfile::tempdir().unwrap();
    let provider = ProviderProcess::start(limit, Duration::ZERO);
    let rate: Rate = limit.parse().unwrap();
    let allowed = rate.per_second() * run.as_secs_f64();
    let collection = Collection::sqlite(folder.path());
    // Half as many again: the pass must not run out of tokens.
    collection.fill(provider.add_users(rounded(allowed * 1.5)).await).await;

    let pass = setup::pass(&collection, folder.path(), provider.as_provider(limit, CONCURRENCY)).await;
    let stop = Stop::default();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { setup::run(&pass, &stop).await }
    });
    while provider.ledger().await.granted == 0 {
        assert!(!running.is_finished(), "the pass ended without a grant");
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(run).await;
    let accepted = provider.ledger().await.granted;
    stop.take_no_more.cancel();
    running.await.unwrap();
    let ledger = provider.ledger().await;

    let share = accepted as f64 / allowed;
    let most = ledger.max_grants_in_window;
    [
        Measured::required(
            format!("{limit}: accepted, of what the limit allows"),
            format!("{:.1} % ({accepted} of {allowed:.0})", share * 100.0),
            "≥ 98 %",
            share >= LEAST_SHARE,
        ),
        Measured::required(
            format!("{limit}: answers 429"),
            format!("{} (at most {most} in a window)", ledger.throttled),
            "0",
            ledger.throttled == 0,
        ),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of documents")]
fn rounded(count: f64) -> usize {
    count.ceil() as usize
}
