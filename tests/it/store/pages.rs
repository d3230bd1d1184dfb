//! Which documents are read, and in which order.

use super::backend::{Backend, at, both, claim, date, due_now, id, lease, login, path};
use evergrant::testing::clock::Timestamp;
use evergrant::testing::store::{DueAfter, DueQuery, Later, ProviderFilter, mapping::Mapping};
use evergrant::testing::token::{Malformed, TokenId};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An `_id` of each kind, in MongoDB's order.
fn ids_of_each_kind() -> Vec<Value> {
    vec![
        json!(null),
        json!(-1),
        json!({ "$numberDouble": "0.5" }),
        json!({ "$numberLong": "7" }),
        json!({ "$numberDecimal": "7.5" }),
        json!(""),
        json!("A"),
        json!("a"),
        json!("é\"\u{1}"),
        json!({}),
        json!({ "tenant": 1, "user": "u" }),
        json!({ "$binary": { "base64": "AAAAAAAAAAAAAAAAAAAAAA==", "subType": "04" } }),
        json!({ "$oid": "507f1f77bcf86cd799439011" }),
        json!({ "$oid": "507f1f77bcf86cd799439012" }),
        json!(false),
        json!(true),
        json!({ "$date": { "$numberLong": "-5" } }),
        json!({ "$date": { "$numberLong": "5" } }),
        json!({ "$timestamp": { "t": 1, "i": 1 } }),
        json!({ "$minKey": 1 }),
    ]
}

fn distinct(ids: &[TokenId]) -> BTreeSet<TokenId> {
    ids.iter().cloned().collect()
}

#[tokio::test]
async fn pages_go_by_due_at_and_then_by_id_whatever_its_type() {
    for backend in both("pages_by_due_at", Mapping::default()).await {
        let kinds = ids_of_each_kind();
        backend
            .insert(kinds.iter().map(|id| login(id, json!({ "evergrant": { "due_at": date(-5) } }))))
            .await;
        backend.insert([login(&json!("first"), json!({ "evergrant": { "due_at": date(-9) } }))]).await;
        backend.insert([login(&json!("exactly"), json!({ "evergrant": { "due_at": date(0) } }))]).await;
        backend.insert([login(&json!("later"), json!({ "evergrant": { "due_at": date(1) } }))]).await;
        let whole = backend.due(&due_now(1000)).await;
        assert_eq!(whole.len(), kinds.len() + 2);
        assert_eq!(whole.first(), Some(&id(&json!("first"))));
        assert_eq!(whole.last(), Some(&id(&json!("exactly"))));
        assert_eq!(distinct(&whole).len(), whole.len());
        for limit in [1, 2, 3, 7, whole.len() - 1, whole.len()] {
            assert_eq!(backend.due(&due_now(limit)).await, whole, "{limit} at a time");
        }
        without_index_the_same(&backend, &whole).await;
    }
}

/// Without the due index a page is a sorted scan with the same outcome.
async fn without_index_the_same(backend: &Backend, whole: &[TokenId]) {
    if backend.is_mongo() {
        backend.collection().drop_index("evergrant_due").await.unwrap();
        for limit in [1, 3, 1000] {
            assert_eq!(backend.due(&due_now(limit)).await, whole, "{limit} at a time, without the index");
        }
    }
}

#[tokio::test]
async fn a_due_at_that_is_no_date_means_due() {
    for backend in both("unreadable_due_at", Mapping::default()).await {
        let mut strange = vec![
            json!({}),
            json!({ "evergrant": null }),
            json!({ "evergrant": "text" }),
            json!({ "evergrant": 5 }),
            json!({ "evergrant": [] }),
            json!({ "evergrant": {} }),
        ];
        let values = [
            json!(null),
            json!(5),
            json!("2099-01-01"),
            json!(true),
            json!({ "a": 1 }),
            json!({ "$timestamp": { "t": 4_000_000_000_u32, "i": 1 } }),
            json!({ "$regularExpression": { "pattern": "a", "options": "" } }),
            json!({ "$maxKey": 1 }),
            json!({ "$minKey": 1 }),
            json!({ "$oid": "507f1f77bcf86cd799439011" }),
            json!([]),
            json!([1, "a", 2]),
            json!([1, "a", 2]),
            json!([1, "b"]),
            json!([date(-100), date(-50)]),
        ];
        strange.extend(values.into_iter().map(|value| json!({ "evergrant": { "due_at": value } })));
        strange.push(json!({ "evergrant": [{ "due_at": 1 }, { "due_at": "x" }] }));
        let count = strange.len();
        backend.insert(strange.into_iter().enumerate().map(|(n, more)| login(&json!(n), more))).await;
        backend.insert([login(&json!("later"), json!({ "evergrant": { "due_at": date(1) } }))]).await;
        let expected: BTreeSet<TokenId> = (0..count).map(|n| id(&json!(n))).collect();
        let assert_all = |found: Vec<TokenId>, how: &str| {
            assert_eq!(found.len(), count, "{how}");
            assert_eq!(distinct(&found), expected, "{how}");
        };
        for limit in [1, 2, 5, 1000] {
            assert_all(backend.due(&due_now(limit)).await, &format!("{limit} at a time"));
        }
        if backend.is_mongo() {
            backend.collection().drop_index("evergrant_due").await.unwrap();
            for limit in [1, 1000] {
                assert_all(
                    backend.due(&due_now(limit)).await,
                    &format!("{limit} at a time, without the index"),
                );
            }
            backend.store.prepare().await.unwrap();
        }
        let ids: Vec<TokenId> = expected.iter().cloned().collect();
        let claimed = backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
        assert!(claimed.documents.iter().all(|document| document.bookkeeping.due_at == Some(at(60))));
        let mut refused: Vec<_> = claimed.refused.into_iter().map(|(id, _)| id).collect();
        refused.sort();
        // An import takes null for nothing.
        let first = if backend.is_mongo() { 1 } else { 2 };
        let no_sub_document: BTreeSet<_> = (first..5).chain([count - 1]).map(|n| id(&json!(n))).collect();
        assert_eq!(
            distinct(&refused),
            no_sub_document,
            "each of the others can be claimed, and is mended by it"
        );
        assert_eq!(claimed.documents.len(), count - refused.len());
        assert_eq!(distinct(&backend.due(&due_now(1000)).await), no_sub_document);
    }
}

#[tokio::test]
async fn each_kind_of_malformed_refresh_token_is_a_value_and_not_an_error() {
    for backend in both("malformed_tokens", Mapping::default()).await {
        let long = "x".repeat(10 << 20);
        let table = [
            (json!({ "refresh_token": null }), Malformed::Null),
            (json!({ "refresh_token": "" }), Malformed::Empty),
            (json!({ "refresh_token": 5 }), Malformed::NotText("int")),
            (json!({ "refresh_token": 5.5 }), Malformed::NotText("double")),
            (json!({ "refresh_token": true }), Malformed::NotText("bool")),
            (json!({ "refresh_token": ["old"] }), Malformed::NotText("array")),
            (json!({ "refresh_token": { "a": 1 } }), Malformed::NotText("object")),
            (
                json!({ "refresh_token": { "$oid": "507f1f77bcf86cd799439011" } }),
                Malformed::NotText("objectId"),
            ),
            (json!({ "refresh_token": date(0) }), Malformed::NotText("date")),
            (json!({ "refresh_token": long }), Malformed::TooLong(10 << 20)),
            (json!({ "refresh_token": "a\u{7}b" }), Malformed::ForbiddenCharacter),
            (json!({ "refresh_token": "a\u{0}b" }), Malformed::ForbiddenCharacter),
        ];
        for (n, (more, _)) in table.iter().enumerate() {
            backend.insert([login(&json!(n), more.clone())]).await;
        }
        backend.insert([json!({ "_id": "missing" }), login(&json!("z-good"), json!({}))]).await;
        let found = backend.drain(&due_now(3)).await;
        assert_eq!(found.len(), table.len() + 2);
        for (n, (_, expected)) in table.into_iter().enumerate() {
            let document = found.iter().find(|one| one.id == id(&json!(n))).unwrap();
            assert_eq!(document.refresh_token.as_ref().err(), Some(&expected));
        }
        let missing = found.iter().find(|one| one.id == id(&json!("missing"))).unwrap();
        assert_eq!(missing.refresh_token.as_ref().err(), Some(&Malformed::Missing));
        let good = found.iter().find(|one| one.id == id(&json!("z-good"))).unwrap();
        assert_eq!(good.refresh_token.as_ref().unwrap().expose(), "old");
    }
}

#[tokio::test]
async fn a_subject_is_the_first_mapped_field_that_a_person_can_read() {
    for backend in both("subjects", Mapping::default()).await {
        let table = [
            (json!({ "email": "a@b", "userId": 5 }), "a@b"),
            (json!({ "email": "", "userId": 5 }), "5"),
            (json!({ "email": null, "userId": { "$numberLong": "5" } }), "5"),
            (
                json!({ "email": [], "userId": { "$oid": "507f1f77bcf86cd799439011" } }),
                "507f1f77bcf86cd799439011",
            ),
            (json!({ "email": {}, "userId": true }), "_id \"x4\""),
        ];
        for (n, (more, _)) in table.iter().enumerate() {
            backend.insert([login(&json!(format!("x{n}")), more.clone())]).await;
        }
        for (n, (_, expected)) in table.iter().enumerate() {
            let read = backend.read(&id(&json!(format!("x{n}")))).await;
            assert_eq!(read.subject.as_str(), *expected);
        }
    }
}

#[tokio::test]
async fn what_has_fallen_due_since_a_moment_is_what_has_a_date_after_it() {
    for backend in both("due_after", Mapping::default()).await {
        let error = json!({ "class": "transient", "code": "http_503", "at": date(-9) });
        let due = |at: Value| json!({ "evergrant": { "due_at": at, "last_error": error } });
        let leased = json!({ "evergrant": { "due_at": date(-2), "last_error": error, "lease": { "id": "x", "owner": "y", "until": date(1) } } });
        backend
            .insert([
                login(&json!("refreshed"), json!({ "evergrant": { "due_at": date(-2) } })),
                login(&json!("no date"), due(json!("2099-01-01"))),
                login(&json!("dates"), due(json!([date(-2), date(-1)]))),
                login(&json!("none"), json!({})),
                login(&json!("before"), due(date(-5))),
                login(&json!("then"), due(date(-3))),
                login(&json!("c"), due(date(-2))),
                login(&json!("b"), due(date(-2))),
                login(&json!("a"), due(date(0))),
                login(&json!("later"), due(date(1))),
                login(&json!("leased"), leased),
            ])
            .await;
        let since = |limit: usize| DueQuery { due_after: Some(DueAfter::put_off(at(-3))), ..due_now(limit) };
        let expected: Vec<TokenId> = ["b", "c", "a"].iter().map(|text| id(&json!(text))).collect();
        for limit in [1, 2, 10] {
            assert_eq!(backend.due(&since(limit)).await, expected, "{limit} at a time");
        }
        assert_eq!(backend.store.count_due(&since(1)).await.unwrap(), 3);
        for after in [0, 1] {
            let nothing = DueQuery { due_after: Some(DueAfter::put_off(at(after))), ..due_now(1) };
            assert_eq!(backend.due(&nothing).await, [], "{after}");
        }
        if backend.is_mongo() {
            backend.collection().drop_index("evergrant_due").await.unwrap();
            for limit in [1, 10] {
                assert_eq!(
                    backend.due(&since(limit)).await,
                    expected,
                    "{limit} at a time, without the index"
                );
            }
        }
    }
}

#[tokio::test]
async fn each_document_belongs_to_exactly_one_provider_or_to_nobody() {
    let mapping = Mapping { provider: Some(path("oauth.provider")), ..Mapping::default() };
    for backend in both("providers", mapping).await {
        let values = [
            json!({ "oauth": { "provider": "one" } }),
            json!({ "oauth": { "provider": "two" } }),
            json!({ "oauth": { "provider": "One" } }),
            json!({ "oauth": { "provider": ["one"] } }),
            json!({ "oauth": [{ "provider": "one" }] }),
            json!({ "oauth": { "provider": null } }),
            json!({ "oauth": { "provider": 1 } }),
            json!({ "oauth": "one" }),
            json!({ "oauth": { "provider": "$oauth.provider" } }),
            json!({}),
        ];
        let count = values.len();
        backend.insert(values.into_iter().enumerate().map(|(n, more)| login(&json!(n), more))).await;
        let ids = |numbers: &[usize]| numbers.iter().map(|n| id(&json!(n))).collect::<BTreeSet<_>>();
        let of = |providers: ProviderFilter| DueQuery { providers, ..due_now(2) };
        let nobodys = of(ProviderFilter::NoneOf(vec!["one".into(), "two".into()]));
        assert_eq!(distinct(&backend.due(&of(ProviderFilter::Named("one".into()))).await), ids(&[0]));
        assert_eq!(distinct(&backend.due(&of(ProviderFilter::Named("two".into()))).await), ids(&[1]));
        assert_eq!(
            distinct(&backend.due(&of(ProviderFilter::Named("$oauth.provider".into()))).await),
            ids(&[8])
        );
        assert_eq!(distinct(&backend.due(&nobodys).await), ids(&[2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(backend.due(&of(ProviderFilter::Any)).await.len(), count);
        let read = backend.read(&id(&json!(0))).await;
        assert_eq!(read.provider.as_deref(), Some("one"));
        assert_eq!(backend.read(&id(&json!(3))).await.provider, None);
    }
}

#[tokio::test]
async fn force_reads_what_is_not_due_but_never_what_is_leased() {
    for backend in both("force", Mapping::default()).await {
        let leased = |until: i64| json!({ "evergrant": { "lease": { "id": "x", "owner": "y", "until": date(until) } } });
        backend
            .insert([
                login(&json!("a"), json!({ "evergrant": { "due_at": date(500) } })),
                login(&json!("b"), json!({})),
                login(&json!("c"), leased(1)),
                login(&json!("d"), leased(0)),
                login(&json!("e"), json!({ "evergrant": { "due_at": date(-500) } })),
            ])
            .await;
        let forced = DueQuery { force: true, ..due_now(2) };
        let expected: Vec<TokenId> = ["a", "b", "d", "e"].iter().map(|text| id(&json!(text))).collect();
        assert_eq!(backend.due(&forced).await, expected, "in `_id` order");
        let due: Vec<TokenId> = ["b", "d", "e"].iter().map(|text| id(&json!(text))).collect();
        assert_eq!(distinct(&backend.due(&due_now(2)).await), due.into_iter().collect());
    }
}

#[tokio::test]
async fn a_count_of_what_is_due_leaves_out_what_is_marked_or_leased_or_another_providers() {
    let mapping = Mapping { provider: Some(path("provider")), ..Mapping::default() };
    for backend in both("count_due", mapping).await {
        let of = |name: &str, more: Value| json!({ "provider": name, "evergrant": more });
        let leased = json!({ "lease": { "id": "x", "owner": "y", "until": date(1) } });
        let had_none = json!({ "class": "malformed", "code": "missing", "at": date(0) });
        backend
            .insert([
                login(&json!("mended"), of("one", json!({ "state": "malformed", "last_error": had_none }))),
                login(&json!("new"), json!({ "provider": "one" })),
                login(&json!("live"), of("one", json!({ "state": "live", "due_at": date(0) }))),
                login(&json!("odd"), of("one", json!({ "state": 7, "due_at": date(-1) }))),
                login(&json!("other"), of("two", json!({ "state": "live" }))),
                login(&json!("later"), of("one", json!({ "due_at": date(1) }))),
                login(&json!("leased"), of("one", leased)),
                login(&json!("dead"), of("one", json!({ "state": "needs_login" }))),
                login(&json!("lost"), of("one", json!({ "state": "lost_in_flight" }))),
                login(&json!("bad"), of("one", json!({ "state": "malformed" }))),
            ])
            .await;
        let count = async |query: DueQuery| backend.store.count_due(&query).await.unwrap();
        let one = ProviderFilter::Named("one".into());
        assert_eq!(count(due_now(1)).await, 5);
        assert_eq!(count(DueQuery { providers: one.clone(), ..due_now(1) }).await, 4);
        assert_eq!(count(DueQuery { force: true, ..due_now(1) }).await, 9);
        assert_eq!(count(DueQuery { force: true, providers: one, ..due_now(1) }).await, 8);
    }
}

#[tokio::test]
async fn a_list_has_every_document_once_in_the_order_of_ids() {
    for backend in both("list", Mapping::default()).await {
        let kinds = ids_of_each_kind();
        let leased = json!({ "evergrant": { "lease": { "id": "x", "owner": "y", "until": date(999) } } });
        backend.insert(kinds.iter().map(|id| login(id, leased.clone()))).await;
        let whole = backend.store.list(None, 1000).await.unwrap();
        assert_eq!((whole.documents.len(), whole.next), (kinds.len(), None));
        let whole: Vec<TokenId> = whole.documents.into_iter().map(|document| document.id).collect();
        for limit in [1, 2, 5] {
            let (mut after, mut all) = (None, Vec::new());
            loop {
                let page = backend.store.list(after.as_ref(), limit).await.unwrap();
                all.extend(page.documents.into_iter().map(|document| document.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(all, whole, "{limit} at a time");
        }
        let read = backend.store.read(&whole).await.unwrap();
        assert_eq!(read.len(), whole.len(), "an `_id` of each kind finds its document");
    }
}

#[tokio::test]
async fn what_falls_due_later_than_its_bookkeeping_explains_is_found_soonest_first() {
    for backend in both("unexplained", Mapping::default()).await {
        let due = |at: i64, more: Value| {
            let mut books = json!({ "due_at": date(at) });
            books.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "evergrant": books })
        };
        let refreshed =
            |at: i64, end: i64| json!({ "refreshed_at": date(at), "refresh_expires_at": date(end) });
        let error =
            |at: i64| json!({ "last_error": { "class": "transient", "code": "http_503", "at": date(at) } });
        let mut put_off_ahead = refreshed(-1, 900);
        put_off_ahead.as_object_mut().unwrap().extend(error(30).as_object().unwrap().clone());
        backend
            .insert([
                login(&json!("soon"), due(50, json!({}))),
                login(&json!("explained"), due(200, refreshed(-1, 600))),
                login(&json!("until its end"), due(200, refreshed(-1, 200))),
                login(&json!("no end"), due(300, json!({ "refreshed_at": date(-1) }))),
                login(&json!("behind its end"), due(210, refreshed(-1, 150))),
                login(&json!("written ahead"), due(205, refreshed(30, 600))),
                login(&json!("put off ahead"), due(206, put_off_ahead)),
                login(&json!("no date"), json!({ "evergrant": { "due_at": "2099-01-01" } })),
                login(
                    &json!("claimed"),
                    json!({ "evergrant": {
                    "due_at": date(400), "lease": { "id": "x", "owner": "y", "until": date(400) } } }),
                ),
            ])
            .await;
        let only = Later::Unexplained { now: at(10) };
        let due_after = Some(DueAfter { at: at(100), only });
        let query = |limit: usize| DueQuery { due_by: Timestamp::MAX_UTC, due_after, ..due_now(limit) };
        let names = ["written ahead", "put off ahead", "behind its end", "no end"];
        let expected: Vec<TokenId> = names.iter().map(|text| id(&json!(text))).collect();
        for limit in [1, 3, 10] {
            assert_eq!(backend.due(&query(limit)).await, expected, "{limit} at a time");
        }
        assert_eq!(backend.store.count_due(&query(1)).await.unwrap(), 4);
        if backend.is_mongo() {
            backend.collection().drop_index("evergrant_due").await.unwrap();
            assert_eq!(backend.due(&query(2)).await, expected, "without the index");
        }
    }
}
