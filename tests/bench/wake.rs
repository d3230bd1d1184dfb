//! A wake over many providers, few of which have something due.

use crate::collection::Collection;
use crate::provider::ProviderProcess;
use crate::{Measured, median, say, setup};
use evergrant::testing::clock::Clock;
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::Provider;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Providers that are configured.
const PROVIDERS: usize = 1000;

/// Of these: with something due.
const DUE: usize = 3;

/// Documents, of all providers together.
const DOCUMENTS: usize = 100_000;

/// Wakes, the median of which counts.
const WAKES: usize = 9;

/// Longest time until the passes begin.
const MOST_SECONDS: f64 = 0.1;

pub(crate) async fn measure() -> Vec<Measured> {
    let mut figures = Vec::new();
    match Collection::mongo("bench_wake") {
        Some(collection) => figures.extend(over("MongoDB", collection).await),
        None => figures.push(Measured::skipped("MongoDB, a wake over 1,000 providers")),
    }
    let folder = tempfile::tempdir().unwrap();
    figures.extend(over("SQLite", Collection::sqlite(folder.path())).await);
    figures
}

async fn over(store: &str, collection: Collection) -> Vec<Measured> {
    say(&format!("{store}: a wake over {PROVIDERS} providers and {DOCUMENTS} documents"));
    let collection = Collection { provider: Some("provider"), ..collection };
    let (folder, process) =
        (tempfile::tempdir().unwrap(), ProviderProcess::start("none", std::time::Duration::ZERO));
    collection.fill(documents(process.add_users(DOCUMENTS).await)).await;
    let one = process.as_provider("none", 16);
    let named = |number| Arc::new(Provider { name: name(number).into(), ..(*one).clone() });
    let engine = setup::passes(&collection, folder.path(), (0..PROVIDERS).map(named).collect()).await;
    let work = engine.all_work();
    let (mut looks, mut due) = (Vec::new(), 0);
    for _ in 0..WAKES {
        let began = Instant::now();
        let todo = engine.todo().await.unwrap();
        due = work.iter().filter(|whose| todo.of(whose).is_some()).count();
        looks.push(began.elapsed().as_secs_f64());
    }
    assert_eq!(due, DUE);
    let began = Instant::now();
    let summary = setup::run(&engine, &Stop::default()).await;
    let took = began.elapsed().as_secs_f64();
    assert_eq!(
        (summary.providers.len(), summary.idle_providers),
        (DUE, (PROVIDERS - DUE) as u64),
        "{summary}"
    );
    engine.close().await;
    collection.drop().await;
    let look = median(looks);
    vec![
        Measured::required(
            format!("{store}: a wake over {PROVIDERS} providers, until the {DUE} passes begin"),
            format!("{:.1} ms", look * 1000.0),
            "≤ 100 ms",
            look <= MOST_SECONDS,
        ),
        Measured::noted(
            format!("{store}: the same, with its passes ({} grants)", summary.grants),
            format!("{:.0} ms", took * 1000.0),
        ),
    ]
}

fn name(number: usize) -> String {
    format!("provider-{number:04}")
}

/// Spread over all providers; of all but a few they fall due tomorrow.
fn documents(users: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let tomorrow = (Clock::system().now() + chrono::TimeDelta::days(1))
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let document = |(position, mut user): (usize, Map<String, Value>)| {
        let provider = position % PROVIDERS;
        user.insert("provider".to_owned(), name(provider).into());
        if provider >= DUE {
            let due_at = json!({ "$date": tomorrow });
            user.insert("evergrant".to_owned(), json!({ "state": "live", "due_at": due_at }));
        }
        user
    };
    users.into_iter().enumerate().map(document).collect()
}
