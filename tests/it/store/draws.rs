//! Documents drawn from all over what is due.

use super::backend::{at, both, date, login};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::{DueQuery, ProviderFilter};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn drawn_of(provider: &str, limit: usize) -> DueQuery {
    DueQuery {
        due_by: at(0),
        due_after: None,
        force: false,
        now: at(0),
        limit,
        after: None,
        providers: ProviderFilter::Named(provider.to_owned()),
    }
}

fn of(provider: &str, name: &str, bookkeeping: Value) -> Value {
    let mut more = json!({ "provider": provider });
    more["evergrant"] = bookkeeping;
    login(&json!(name), more)
}

#[tokio::test]
async fn what_is_drawn_is_due_and_each_document_that_is_due_may_be_drawn() {
    let mapping = Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() };
    for backend in both("draws", mapping).await {
        let live = || json!({ "state": "live", "due_at": date(-1) });
        let due: BTreeSet<String> = (0..30).map(|number| format!("due-{number:02}")).collect();
        let new = || json!({ "state": "live" });
        backend
            .insert(
                due.iter()
                    .enumerate()
                    .map(|(place, name)| of("acme", name, if place % 2 == 0 { live() } else { new() })),
            )
            .await;
        let lease = json!({ "id": "l", "owner": "host:1", "until": date(5) });
        backend
            .insert([
                of("acme", "later", json!({ "state": "live", "due_at": date(1) })),
                of("acme", "marked", json!({ "state": "needs_login", "due_at": date(-5) })),
                of("acme", "claimed", json!({ "state": "live", "due_at": date(-5), "lease": lease })),
                of("other", "another provider's", live()),
            ])
            .await;
        let draw = async |limit| {
            let drawn = backend.store.draw(&drawn_of("acme", limit)).await.unwrap();
            let names = drawn.iter().map(|one| one.id.as_str().trim_matches('"').to_owned());
            let distinct: BTreeSet<String> = names.collect();
            assert_eq!(distinct.len(), drawn.len(), "none is drawn twice");
            distinct
        };
        assert_eq!(draw(100).await, due);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let five = draw(5).await;
            assert!(five.is_subset(&due) && (1..=5).contains(&five.len()), "{five:?}");
            seen.extend(five);
        }
        assert_eq!(seen, due, "from all over");
        assert!(backend.store.draw(&drawn_of("nothing", 5)).await.unwrap().is_empty());
    }
}
