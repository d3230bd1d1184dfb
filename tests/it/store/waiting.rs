//! Which providers have something due, and the index that tells it.

use super::backend::{Backend, COLLECTION, at, both, date, due_now, id, login, mongo, path, settings};
use crate::support::mongod;
use bson::{Document, doc};
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::{DueQuery, IndexState, ProviderFilter, Waiting, Waits, WhoWaits, connect};
use evergrant::testing::token::TokenId;
use futures::TryStreamExt as _;
use mongodb::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn by_provider() -> Mapping {
    Mapping { provider: Some(path("account.provider")), ..Mapping::default() }
}

/// A document of this provider with this bookkeeping.
fn of(provider: &str, number: usize, bookkeeping: Value) -> Value {
    let mut more = json!({ "account": { "provider": provider } });
    more["evergrant"] = bookkeeping;
    login(&json!(format!("{provider}-{number}")), more)
}

fn who(names: &[&str]) -> WhoWaits {
    WhoWaits { due_by: at(0), now: at(0), providers: names.iter().map(|name| (*name).to_owned()).collect() }
}

async fn drop_index(backend: &Backend, name: &str) {
    if backend.is_mongo() {
        backend.collection().drop_index(name).await.unwrap();
    }
}

#[tokio::test]
async fn only_providers_with_something_due_are_named_and_what_waits_of_theirs() {
    let marked = || json!({ "state": "needs_login", "due_at": date(-50) });
    let claimed = json!({ "state": "live", "due_at": date(-5), "lease": {
        "id": "l", "owner": "host:1", "until": date(5)
    } });
    for backend in both("waiting", by_provider()).await {
        let later = |provider: &str| of(provider, 0, json!({ "state": "live", "due_at": date(1) }));
        assert_eq!(backend.store.waiting(&who(&["new"])).await.unwrap(), Waiting::default());
        backend.insert(["later", "marked", "mixed", "new", "claimed"].map(later)).await;
        backend.insert((1..20).map(|number| of("marked", number, marked()))).await;
        backend.insert((1..20).map(|number| of("mixed", number, marked()))).await;
        let live = || json!({ "state": "live", "due_at": date(-1) });
        backend
            .insert([of("mixed", 30, live()), of("new", 1, json!({})), of("claimed", 1, claimed.clone())])
            .await;
        let asked = who(&["claimed", "empty", "later", "marked", "mixed", "new"]);
        let mut expected = Waiting {
            providers: [
                ("claimed", Waits::Idle),
                ("marked", Waits::Idle),
                ("mixed", Waits::Work),
                ("new", Waits::Work),
            ]
            .map(|(name, waits)| (name.to_owned(), waits))
            .into(),
            others: None,
        };
        assert_eq!(backend.store.waiting(&asked).await.unwrap(), expected);
        backend.insert([of("strange", 1, marked()), of("strange", 2, json!({ "due_at": date(9) }))]).await;
        expected.others = Some(Waits::Idle);
        assert_eq!(backend.store.waiting(&asked).await.unwrap(), expected);
        backend.insert([login(&json!("of none"), json!({}))]).await;
        expected.others = Some(Waits::Work);
        assert_eq!(backend.store.waiting(&asked).await.unwrap(), expected);
        drop_index(&backend, "evergrant_provider_due").await;
        assert_eq!(backend.store.waiting(&asked).await.unwrap(), expected, "without the index");
    }
}

#[tokio::test]
async fn a_provider_field_that_holds_no_text_names_no_provider_whatever_stands_in_it() {
    let fields = [
        json!({ "provider": ["a"] }),
        json!({ "provider": ["a", "b"] }),
        json!({ "provider": [["a"]] }),
        json!({ "provider": { "a": "a" } }),
        json!({ "provider": 5 }),
        json!({ "provider": null }),
        json!({ "provider": "" }),
        json!([{ "provider": "a" }]),
        json!("a"),
    ];
    for (number, account) in fields.iter().enumerate() {
        let waiting = |others, providers: &[(&str, Waits)]| Waiting {
            providers: providers.iter().map(|(name, waits)| ((*name).to_owned(), *waits)).collect(),
            others,
        };
        for backend in both(&format!("waiting_odd_{number}"), by_provider()).await {
            let odd = |id: &str, due: i64, state: &str| {
                let books = json!({ "state": state, "due_at": date(due) });
                login(&json!(id), json!({ "account": account, "evergrant": books }))
            };
            let asked = async || backend.store.waiting(&who(&["a", "b"])).await.unwrap();
            backend.insert([odd("later", 1, "live")]).await;
            assert_eq!(asked().await, waiting(None, &[]), "{account}");
            backend.insert([odd("marked", -1, "malformed")]).await;
            assert_eq!(asked().await.providers, waiting(None, &[]).providers, "{account}");
            assert!(asked().await.others.is_some(), "{account}");
            backend.insert([odd("due", -1, "live")]).await;
            assert_eq!(asked().await, waiting(Some(Waits::Work), &[]), "{account}");
            backend.insert([of("b", 1, json!({}))]).await;
            assert_eq!(asked().await, waiting(Some(Waits::Work), &[("b", Waits::Work)]), "{account}");
            assert_eq!(
                backend.store.strangers(&["a".into(), "b".into()]).await.unwrap().without,
                3,
                "{account}"
            );
        }
    }
}

#[tokio::test]
async fn no_number_of_arrays_hides_a_provider_with_something_due() {
    for backend in both("waiting_arrays", by_provider()).await {
        let array =
            |number: usize| login(&json!(number), json!({ "account": { "provider": ["a", number] } }));
        backend.insert((0..200).map(array)).await;
        backend.insert([of("a", 1, json!({})), of("b", 1, json!({}))]).await;
        let found = backend.store.waiting(&who(&["a", "b"])).await.unwrap();
        assert_eq!(found.providers.into_keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found.others, Some(Waits::Work));
    }
}

#[tokio::test]
async fn where_no_provider_is_named_all_documents_are_asked_about() {
    for backend in both("waiting_for_one", Mapping::default()).await {
        let waits = async || backend.store.waiting(&who(&[])).await.unwrap();
        assert_eq!(waits().await, Waiting::default());
        backend.insert([login(&json!(1), json!({ "evergrant": { "due_at": date(1) } }))]).await;
        assert_eq!(waits().await.others, None);
        let marked = json!({ "state": "lost_in_flight", "due_at": date(-1) });
        backend.insert([login(&json!(2), json!({ "evergrant": marked }))]).await;
        assert_eq!(waits().await.others, Some(Waits::Idle));
        backend.insert([login(&json!(3), json!({ "evergrant": { "due_at": date(0) } }))]).await;
        assert_eq!(waits().await, Waiting { others: Some(Waits::Work), ..Waiting::default() });
        drop_index(&backend, "evergrant_due").await;
        assert_eq!(waits().await.others, Some(Waits::Work), "without the index");
    }
}

#[tokio::test]
async fn what_the_filter_leaves_out_waits_for_no_pass() {
    let mapping = Mapping { filter: Some(r#"{"active": true}"#.to_owned()), ..by_provider() };
    let Some(backend) = mongo("waiting_filtered", mapping).await else { return };
    let asked = who(&["a", "b"]);
    backend.insert([of("a", 1, json!({})), of("b", 1, json!({}))]).await;
    assert_eq!(backend.store.waiting(&asked).await.unwrap(), Waiting::default());
    backend.set(&id(&json!("b-1")), json!({ "active": true })).await;
    let found = backend.store.waiting(&asked).await.unwrap();
    assert_eq!(found.providers, [("b".to_owned(), Waits::Work)].into());
}

fn due_of(name: &str, limit: usize) -> DueQuery {
    DueQuery { providers: ProviderFilter::Named(name.to_owned()), ..due_now(limit) }
}

#[tokio::test]
async fn pages_of_one_provider_hold_all_that_is_due_of_it_whichever_index_there_is() {
    for backend in both("pages_of_provider", by_provider()).await {
        let values = [
            json!(null),
            json!(5),
            json!("2099-01-01"),
            json!({ "$timestamp": { "t": 4_000_000_000_u32, "i": 1 } }),
            json!({ "$regularExpression": { "pattern": "a", "options": "" } }),
            json!({ "$maxKey": 1 }),
            json!({ "$minKey": 1 }),
            json!([]),
            json!([1, "a", 2]),
            json!([date(-100), date(-50)]),
            date(-5),
            date(-4),
            date(0),
        ];
        let count = values.len();
        for name in ["a", "m", "z"] {
            let due = values.iter().cloned().enumerate();
            backend.insert(due.map(|(number, due_at)| of(name, number, json!({ "due_at": due_at })))).await;
            backend.insert([of(name, 100, json!({ "due_at": date(1) }))]).await;
        }
        // Each alone is found by the question for what waits.
        let alone = values.iter().cloned().enumerate();
        backend
            .insert(
                alone.map(|(number, due_at)| of(&format!("alone{number}"), 0, json!({ "due_at": due_at }))),
            )
            .await;
        let names: Vec<String> = (0..count).map(|number| format!("alone{number}")).collect();
        let asked = WhoWaits { providers: names.clone(), ..who(&[]) };
        let found = backend.store.waiting(&asked).await.unwrap();
        assert_eq!(found.providers.into_keys().collect::<BTreeSet<_>>(), names.into_iter().collect());
        let expected: BTreeSet<TokenId> =
            (0..count).map(|number| id(&json!(format!("m-{number}")))).collect();
        let all_there = async |how: &str| {
            for limit in [1, 2, 5, 1000] {
                let found = backend.due(&due_of("m", limit)).await;
                assert_eq!(found.len(), count, "{limit} at a time, {how}");
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{limit} at a time, {how}");
                let strangers = ProviderFilter::NoneOf(vec!["m".to_owned()]);
                let found = backend.due(&DueQuery { providers: strangers, ..due_now(limit) }).await;
                assert_eq!(found.len(), 3 * count, "others, {limit} at a time, {how}");
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 3 * count, "{how}");
            }
        };
        all_there("with the index").await;
        if backend.is_mongo() {
            drop_index(&backend, "evergrant_provider_due").await;
            all_there("without").await;
            let older = doc! { "key": { "evergrant.due_at": 1, "_id": 1 }, "name": "evergrant_due" };
            let command = doc! { "createIndexes": COLLECTION, "indexes": [older] };
            let namespace = backend.collection().namespace();
            let database = backend.collection().client().database(&namespace.db);
            database.run_command(command).await.unwrap();
            assert_eq!(backend.store.prepare().await.unwrap().index, IndexState::Ready);
            all_there("with both").await;
        }
    }
}

#[tokio::test]
async fn an_index_of_an_earlier_version_stays_and_serves_who_may_not_create_another() {
    let Some(server) = mongod::Server::start(&["--auth"]) else { return };
    let create = |user: &str, role: &str| doc! { "createUser": user, "pwd": "s3cret", "roles": [role] };
    let administrator = Client::with_uri_str(&server.uri).await.unwrap().database("admin");
    administrator.run_command(create("root", "root")).await.unwrap();
    let role = doc! { "createRole": "narrow", "roles": [], "privileges": [{
        "resource": { "db": "logins", "collection": COLLECTION },
        "actions": ["find", "update", "listIndexes", "collStats"],
    }] };
    let url = |user: &str| server.uri.replace("mongodb://", &format!("mongodb://{user}:s3cret@"));
    for command in [role, create("narrow", "narrow")] {
        mongod::admin(&url("root"), command).await.unwrap();
    }
    let database = Client::with_uri_str(url("root")).await.unwrap().database("logins");
    let older = doc! { "key": { "evergrant.due_at": 1, "_id": 1 }, "name": "evergrant_due" };
    database.run_command(doc! { "createIndexes": COLLECTION, "indexes": [older] }).await.unwrap();
    let as_user = async |user: &str| {
        let url = format!("{}logins?authSource=admin", url(user));
        connect(&settings(&url, None, by_provider()), 4).await.unwrap()
    };
    let store = as_user("narrow").await;
    let due = bson::Document::try_from(of("a", 1, json!({})).as_object().unwrap().clone()).unwrap();
    database.collection::<Document>(COLLECTION).insert_one(due).await.unwrap();
    let IndexState::Older { index, command, .. } = store.prepare().await.unwrap().index else {
        panic!("it can't be made")
    };
    assert_eq!(index, "evergrant_due");
    assert!(command.contains("{\"account.provider\":1,\"evergrant.due_at\":1,\"_id\":1}"), "{command}");
    assert!(command.contains("\"evergrant_provider_due\""), "{command}");
    assert_eq!(
        store.waiting(&who(&["a", "b"])).await.unwrap().providers,
        [("a".to_owned(), Waits::Work)].into()
    );
    assert_eq!(store.due_page(&due_of("a", 5)).await.unwrap().documents.len(), 1);
    assert_eq!(as_user("root").await.prepare().await.unwrap().index, IndexState::Ready);
    let names = database.collection::<Document>(COLLECTION).list_index_names().await.unwrap();
    assert_eq!(
        names,
        ["_id_", "evergrant_due", "evergrant_provider_due", "evergrant_claimed", "evergrant_provider_expiry"]
    );
}

#[tokio::test]
async fn a_thousand_providers_are_asked_about_by_a_few_commands_that_read_a_key_of_each() {
    let Some(backend) = mongo("waiting_thousand", by_provider()).await else { return };
    let names: Vec<String> = (0..1000).map(|number| format!("p{number:03}")).collect();
    for (number, name) in names.iter().enumerate() {
        let due_at = if number % 400 == 3 { date(-1) } else { date(1) };
        let document = |each| of(name, each, json!({ "state": "live", "due_at": due_at.clone() }));
        backend.insert((0..10).map(document)).await;
    }
    let client = backend.collection().client();
    let database = client.database(&backend.collection().namespace().db);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let found = backend.store.waiting(&WhoWaits { providers: names, ..who(&[]) }).await.unwrap();
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    assert_eq!(found.providers.into_keys().collect::<Vec<_>>(), ["p003", "p403", "p803"]);
    let ours = doc! { "ns": backend.collection().namespace().to_string() };
    let profile = database.collection::<Document>("system.profile").find(ours).await.unwrap();
    let commands: Vec<Document> = profile.try_collect().await.unwrap();
    let sum = |name: &str| {
        let of = |command: &Document| command.get_i32(name).unwrap_or_default();
        commands.iter().map(of).sum::<i32>()
    };
    assert_eq!(commands.len(), 2 + 2 * 3, "{commands:#?}");
    assert!(sum("keysExamined") <= 2100 && sum("docsExamined") <= 10, "{commands:#?}");
}

#[tokio::test]
async fn how_late_providers_fall_due_is_asked_of_one_entry_for_each() {
    let Some(backend) = mongo("latest_entries", by_provider()).await else { return };
    let names: Vec<String> = (0..50).map(|number| format!("p{number:03}")).collect();
    for name in &names {
        backend
            .insert((0..100).map(|each| of(name, each, json!({ "due_at": date(each.try_into().unwrap()) }))))
            .await;
    }
    let client = backend.collection().client();
    let database = client.database(&backend.collection().namespace().db);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    assert_eq!(backend.store.latest_due(&names).await.unwrap().len(), 50);
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let ours = doc! { "ns": backend.collection().namespace().to_string() };
    let profile = database.collection::<Document>("system.profile").find(ours).await.unwrap();
    let commands: Vec<Document> = profile.try_collect().await.unwrap();
    let sum = |name: &str| commands.iter().map(|one| one.get_i32(name).unwrap_or_default()).sum::<i32>();
    assert_eq!(commands.len(), 1, "{commands:#?}");
    assert!(sum("keysExamined") <= 110 && sum("docsExamined") == 0, "{commands:#?}");
}

#[tokio::test]
async fn no_document_of_a_provider_falls_due_later_than_is_said() {
    let due = |provider: &str, number: usize, at: i64| of(provider, number, json!({ "due_at": date(at) }));
    let names = ["early", "late", "none"].map(str::to_owned);
    let said =
        |moments: &[(&str, i64)]| moments.iter().map(|(name, to)| ((*name).to_owned(), at(*to))).collect();
    let unmapped = Mapping::default();
    for mapping in [by_provider(), unmapped] {
        let is_mapped = mapping.provider.is_some();
        for backend in both(if is_mapped { "latest_mapped" } else { "latest" }, mapping).await {
            let latest = async || backend.store.latest_due(&names).await.unwrap();
            assert_eq!(latest().await, [].into());
            backend.insert((0..20).map(|number| of("none", number, json!({})))).await;
            assert_eq!(latest().await, [].into(), "without a date");
            backend.insert((0..20).map(|number| due("early", number, -5))).await;
            backend.insert((0..20).map(|number| due("late", number, number.try_into().unwrap()))).await;
            // A file has one index for all of them: the latest of all is no lie.
            let expected = if is_mapped && backend.is_mongo() {
                said(&[("early", -5), ("late", 19)])
            } else {
                said(&[("early", 19), ("late", 19), ("none", 19)])
            };
            assert_eq!(latest().await, expected);
            if backend.is_mongo() {
                let index = if is_mapped { "evergrant_provider_due" } else { "evergrant_due" };
                drop_index(&backend, index).await;
                let unknown = names.clone().map(|name| (name, Timestamp::MAX_UTC));
                assert_eq!(latest().await, unknown.into(), "without an index");
            }
        }
    }
}
