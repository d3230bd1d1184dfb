//! Writing back: compare and swap, whole or not at all.

use super::backend::{Backend, at, both, claim, date, id, lease, login, path};
use evergrant::testing::store::{
    Applied, Change, Fence, PairChange, Replaces,
    mapping::{ExpiryFormat, Mapping},
};
use evergrant::testing::token::{
    AccessToken, Bookkeeping, Further, LastError, RefreshToken, SpentTokens, State, TokenId,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn change(id: &TokenId, old: Option<&str>, new: Option<&str>) -> Change {
    Change {
        id: id.clone(),
        expect_refresh_token: old.map(|old| RefreshToken::new(old.to_owned())),
        expect_lease: Fence::None,
        pair: new.map(|new| PairChange {
            refresh_token: RefreshToken::new(new.to_owned()),
            access_token: Some(AccessToken::new(format!("{new}-access"))),
            also: Vec::new(),
            replaces: Replaces::Any,
        }),
        bookkeeping: Bookkeeping { due_at: Some(at(500)), ..Bookkeeping::default() },
    }
}

async fn apply(backend: &Backend, changes: &[Change]) -> bool {
    let Applied { every_matched, refused } = backend.store.apply(changes).await.unwrap();
    assert_eq!(refused, []);
    every_matched
}

fn pair(document: &Value) -> (&str, &str) {
    (document["refresh_token"].as_str().unwrap(), document["access_token"].as_str().unwrap())
}

#[tokio::test]
async fn a_pair_is_written_only_over_the_token_that_it_replaces() {
    for backend in both("compare_and_swap", Mapping::default()).await {
        let more = json!({ "nested": { "z": 1, "a": [1, 2] }, "evergrant": { "failures": 4, "theirs": 1 } });
        let ids: Vec<TokenId> = ["a", "b", "c"].iter().map(|name| id(&json!(name))).collect();
        backend.insert(["a", "b", "c"].iter().map(|name| login(&json!(name), more.clone()))).await;
        assert!(apply(&backend, &[change(&ids[0], Some("old"), Some("new"))]).await);
        let written = backend.whole(&ids[0]).await.unwrap();
        let expected = login(
            &json!("a"),
            json!({
                "refresh_token": "new", "access_token": "new-access", "nested": { "z": 1, "a": [1, 2] },
                "evergrant": { "state": "live", "due_at": date(500), "failures": 0 },
            }),
        );
        assert_eq!(
            written, expected,
            "our fields are new, the bookkeeping is whole, the others are as they were"
        );

        let repeated = change(&ids[0], Some("old"), Some("new"));
        assert!(!apply(&backend, &[repeated]).await, "repeating finds another token, and changes nothing");
        let mixed = [
            change(&ids[0], Some("old"), Some("newer")),
            change(&ids[1], Some("old"), Some("new")),
            change(&id(&json!("gone")), Some("old"), Some("new")),
            change(&ids[2], None, None),
        ];
        assert!(!apply(&backend, &mixed).await);
        assert_eq!(backend.whole(&ids[0]).await.unwrap(), expected);
        assert_eq!(pair(&backend.whole(&ids[1]).await.unwrap()), ("new", "new-access"));
        assert_eq!(pair(&backend.whole(&ids[2]).await.unwrap()), ("old", "a"));
        assert_eq!(backend.read(&ids[2]).await.bookkeeping.failures, 0);
        assert_eq!(backend.whole(&id(&json!("gone"))).await, None, "nothing is ever inserted");
        assert!(apply(&backend, &[]).await);
    }
}

#[tokio::test]
async fn a_provider_that_keeps_the_refresh_token_is_no_conflict() {
    for backend in both("same_token", Mapping::default()).await {
        let one = id(&json!("a"));
        backend.insert([login(&json!("a"), json!({}))]).await;
        assert!(apply(&backend, &[change(&one, Some("old"), Some("old"))]).await);
        assert!(apply(&backend, &[change(&one, Some("old"), Some("old"))]).await, "and may be repeated");
        assert_eq!(pair(&backend.whole(&one).await.unwrap()), ("old", "old-access"));
    }
}

/// Written by a statement of its own, and by one that it shares.
#[tokio::test]
async fn a_newer_access_token_is_not_replaced_where_the_refresh_token_is_kept() {
    let nested = Mapping { access_token: Some(path("oauth.access")), ..Mapping::default() };
    for (test, mapping, field) in
        [("newer_access", Mapping::default(), "access_token"), ("newer_access_alone", nested, "oauth")]
    {
        let place = |access: Value| if field == "oauth" { json!({ "access": access }) } else { access };
        for backend in both(test, mapping.clone()).await {
            let replacing = |n: usize, replaces: Replaces| {
                let mut change = change(&id(&json!(n)), Some("old"), Some("old"));
                change.pair.as_mut().unwrap().replaces = replaces;
                change
            };
            let a = || Replaces::Token(AccessToken::new("a".into()));
            let cases = [
                (json!("a"), a(), true),
                (json!("A"), a(), false),
                (json!("newer"), a(), false),
                (json!(null), a(), false),
                (json!("a"), Replaces::Nothing, false),
                (json!(""), Replaces::Nothing, true),
                (json!(7), Replaces::Nothing, true),
                (json!("newer"), Replaces::Any, true),
            ];
            for (n, (there, ..)) in cases.iter().enumerate() {
                backend.insert([login(&json!(n), json!({ field: place(there.clone()) }))]).await;
            }
            let changes: Vec<_> = cases
                .iter()
                .enumerate()
                .map(|(n, (_, replaces, _))| replacing(n, replaces.clone()))
                .collect();
            assert!(!apply(&backend, &changes).await);
            for (n, (there, _, written)) in cases.iter().enumerate() {
                let document = backend.whole(&id(&json!(n))).await.unwrap();
                let expected = if *written { json!("old-access") } else { there.clone() };
                assert_eq!(document[field], place(expected), "{test}: {n}");
                assert_eq!(document.get("evergrant").is_some(), *written, "{test}: {n}");
            }
        }
    }
}

#[tokio::test]
async fn the_token_must_be_the_very_same_text() {
    for backend in both("very_same", Mapping::default()).await {
        for (n, token) in
            [json!("Old"), json!("old "), json!("older"), json!(["old"]), json!(5), json!(null), json!("")]
                .into_iter()
                .enumerate()
        {
            backend.insert([login(&json!(n), json!({ "refresh_token": token }))]).await;
            let before = backend.whole(&id(&json!(n))).await;
            assert!(!apply(&backend, &[change(&id(&json!(n)), Some("old"), Some("new"))]).await, "{n}");
            assert_eq!(backend.whole(&id(&json!(n))).await, before);
        }
        backend.insert([login(&json!("dollar"), json!({ "refresh_token": "$refresh_token" }))]).await;
        assert!(
            apply(&backend, &[change(&id(&json!("dollar")), Some("$refresh_token"), Some("$new"))]).await
        );
        assert_eq!(pair(&backend.whole(&id(&json!("dollar"))).await.unwrap()), ("$new", "$new-access"));
    }
}

#[tokio::test]
async fn a_change_is_fenced_by_its_lease() {
    for backend in both("fenced", Mapping::default()).await {
        let one = id(&json!("a"));
        let mine = std::slice::from_ref(&one);
        backend.insert([login(&json!("a"), json!({}))]).await;
        backend.store.claim(&claim(mine, lease("first", 10), 0)).await.unwrap();
        backend.store.claim(&claim(mine, lease("second", 60), 10)).await.unwrap();
        let of = |lease: &str| Change {
            expect_lease: Fence::Lease(lease.into()),
            ..change(&one, Some("old"), Some("new"))
        };
        assert!(!apply(&backend, &[of("first")]).await);
        assert_eq!(pair(&backend.whole(&one).await.unwrap()), ("old", "a"));
        assert!(apply(&backend, &[of("second")]).await);
        assert_eq!(
            backend.read(&one).await.bookkeeping.lease,
            None,
            "the lease went with the old bookkeeping"
        );
        assert!(!apply(&backend, &[of("second")]).await);
    }
}

#[tokio::test]
async fn a_change_for_an_unclaimed_document_spares_a_claim() {
    for backend in both("unclaimed", Mapping::default()).await {
        let one = id(&json!("a"));
        let unclaimed =
            |old, new| Change { expect_lease: Fence::Unclaimed, ..change(&one, Some(old), Some(new)) };
        backend.insert([login(&json!("a"), json!({}))]).await;
        assert!(apply(&backend, &[unclaimed("old", "new")]).await, "no bookkeeping at all");
        assert!(apply(&backend, &[unclaimed("new", "newer")]).await, "bookkeeping without a lease");
        let mine = std::slice::from_ref(&one);
        backend.store.claim(&claim(mine, lease("first", 510), 500)).await.unwrap();
        assert!(!apply(&backend, &[unclaimed("newer", "newest")]).await);
        let books = backend.read(&one).await.bookkeeping;
        assert_eq!(books.lease.map(|lease| lease.id).as_deref(), Some("first"));
        assert_eq!(pair(&backend.whole(&one).await.unwrap()), ("newer", "newer-access"));
    }
}

#[tokio::test]
async fn a_change_for_a_mark_spares_whatever_has_become_of_the_document_since() {
    for backend in both("marked", Mapping::default()).await {
        let one = id(&json!("a"));
        let said = |seconds: i64| {
            let (class, code) = ("refused".into(), "invalid_grant".into());
            Some(LastError { class, code, http_status: Some(400), at: at(seconds), lost: None })
        };
        let books = |state, last_error: Option<LastError>| {
            let since = last_error.as_ref().map(|error| error.at);
            Bookkeeping { state, since, last_error, ..Bookkeeping::default() }
        };
        let write = |fence, bookkeeping| Change {
            expect_lease: fence,
            pair: None,
            bookkeeping,
            ..change(&one, Some("old"), None)
        };
        let live = || write(Fence::Marked(at(7)), books(State::Live, None));
        backend.insert([login(&json!("a"), json!({}))]).await;
        assert!(!apply(&backend, &[live()]).await, "no bookkeeping at all");
        for (state, seconds, expected) in [
            (State::NeedsLogin, 7, true),
            (State::LostInFlight, 7, true),
            (State::NeedsLogin, 8, false),
            (State::Live, 7, false),
        ] {
            assert!(apply(&backend, &[write(Fence::None, books(state, said(seconds)))]).await);
            assert_eq!(apply(&backend, &[live()]).await, expected, "{state:?} {seconds}");
            let now_there = backend.read(&one).await.bookkeeping;
            assert_eq!(now_there.last_error.is_none(), expected, "{state:?} {seconds}");
        }
        assert!(apply(&backend, &[write(Fence::None, books(State::NeedsLogin, said(7)))]).await);
        let mine = std::slice::from_ref(&one);
        backend.store.claim(&claim(mine, lease("first", 10), 0)).await.unwrap();
        assert!(!apply(&backend, &[live()]).await, "claimed by force");
        assert_eq!(backend.read(&one).await.bookkeeping.state, State::NeedsLogin);
    }
}

#[tokio::test]
async fn a_due_date_is_moved_only_from_where_it_was_and_while_the_document_is_unclaimed() {
    for backend in both("due_fence", Mapping::default()).await {
        let one = id(&json!("a"));
        let due = |seconds| Bookkeeping { due_at: Some(at(seconds)), ..Bookkeeping::default() };
        let write = |expect_lease, bookkeeping| Change {
            expect_lease,
            pair: None,
            bookkeeping,
            ..change(&one, Some("old"), None)
        };
        backend.insert([login(&json!("a"), json!({}))]).await;
        assert!(!apply(&backend, &[write(Fence::Due(at(7)), due(1))]).await, "no bookkeeping at all");
        assert!(apply(&backend, &[write(Fence::None, due(7))]).await);
        assert!(!apply(&backend, &[write(Fence::Due(at(8)), due(1))]).await);
        assert!(apply(&backend, &[write(Fence::Due(at(7)), due(1))]).await);
        assert_eq!(backend.read(&one).await.bookkeeping.due_at, Some(at(1)));
        backend.store.claim(&claim(std::slice::from_ref(&one), lease("first", 10), 20)).await.unwrap();
        assert!(!apply(&backend, &[write(Fence::Due(at(10)), due(1))]).await, "claimed");
    }
}

#[tokio::test]
async fn paths_may_be_dotted_and_expiries_are_written_as_mapped() {
    let formats = [
        (ExpiryFormat::Date, date(60)),
        (ExpiryFormat::UnixSeconds, json!(at(60).timestamp())),
        (ExpiryFormat::UnixMillis, json!(at(60).timestamp_millis())),
        (ExpiryFormat::Rfc3339, date(60)["$date"].clone()),
    ];
    for (format, expected) in formats {
        let mapping = Mapping {
            refresh_token: path("oauth.tokens.refresh"),
            access_token: Some(path("oauth.tokens.access")),
            bookkeeping: path("oauth.care"),
            access_expires_at: Some(path("oauth.ends.access")),
            refresh_expires_at: Some(path("refresh_ends")),
            expires_format: format,
            ..Mapping::default()
        };
        for backend in both("dotted", mapping).await {
            let oauth =
                json!({ "tokens": { "refresh": "old", "more": 1 }, "ends": { "access": 5 }, "more": 2 });
            backend.insert([json!({ "_id": "a", "oauth": oauth, "refresh_ends": 7, "more": 3 })]).await;
            let one = id(&json!("a"));
            let mut first = change(&one, Some("old"), Some("new"));
            first.bookkeeping.access_expires_at = Some(at(60));
            assert!(apply(&backend, std::slice::from_ref(&first)).await);
            let care =
                json!({ "state": "live", "due_at": date(500), "access_expires_at": date(60), "failures": 0 });
            let expected = json!({
                "_id": "a",
                "oauth": {
                    "tokens": { "refresh": "new", "more": 1, "access": "new-access" },
                    "ends": { "access": expected }, "more": 2, "care": care,
                },
                "more": 3,
            });
            let written = backend.whole(&one).await.unwrap();
            assert_eq!(written, expected, "an expiry that isn't known is taken out: it was the old token's");
            let read = backend.read(&one).await;
            assert_eq!(read.refresh_token.unwrap().expose(), "new");
            assert_eq!(read.access_token.unwrap().expose(), "new-access");
            assert_eq!(read.bookkeeping, first.bookkeeping);
        }
    }
}

#[tokio::test]
async fn a_document_may_have_no_access_token_and_take_further_values() {
    let places = [("oauth.url", "/instance_url"), ("scope", "/scope"), ("absent", "/absent")];
    let also: BTreeMap<_, _> = places.map(|(field, place)| (path(field), place.parse().unwrap())).into();
    let mapping = Mapping {
        access_token: None,
        updated_at: Some(path("updatedAt")),
        also,
        login_ends_at: Some(path("ends")),
        logged_in_at: Some(path("began")),
        values: [("shop".to_owned(), path("oauth.shop")), ("none".to_owned(), path("list"))].into(),
        client_id: Some(path("client")),
        ..Mapping::default()
    };
    for backend in both("further", mapping).await {
        let one = id(&json!("a"));
        backend
            .insert([json!({
                "_id": "a", "refresh_token": "old", "oauth": { "shop": "ann" }, "list": [1], "client": 7,
                "ends": date(90), "began": at(30).timestamp(), "absent": "stays",
            })])
            .await;
        let facts = backend.read(&one).await.facts;
        assert_eq!((facts.login_ends_at, facts.logged_in_at), (Some(at(90)), Some(at(30))));
        let value = |name: &str| facts.value(name);
        assert_eq!((value("shop"), value("none"), value("client_id")), (Some("ann"), Some(""), Some("7")));
        let mut change = change(&one, Some("old"), Some("new"));
        change.bookkeeping.refreshed_at = Some(at(60));
        let further = |name: &str, value: Value| (name.to_owned(), Further::read(&value).unwrap());
        change.pair.as_mut().unwrap().also = vec![
            // A text that looks like another type in extended JSON stays a text.
            further("oauth.url", json!("{\"$oid\":\"507f1f77bcf86cd799439011\"}")),
            further("scope", json!(["a", 1, true])),
            further("not mapped", json!("x")),
        ];
        assert!(apply(&backend, &[change]).await);
        let written = backend.whole(&one).await.unwrap();
        let url = "{\"$oid\":\"507f1f77bcf86cd799439011\"}";
        assert_eq!(written["oauth"], json!({ "shop": "ann", "url": url }));
        assert_eq!((&written["scope"], &written["absent"]), (&json!(["a", 1, true]), &json!("stays")));
        assert_eq!((&written["updatedAt"], &written["refresh_token"]), (&date(60), &json!("new")));
        assert_eq!((written.get("access_token"), written.get("not mapped")), (None, None));
    }
}

#[tokio::test]
async fn bookkeeping_is_written_whole_over_anything() {
    for backend in both("whole_bookkeeping", Mapping::default()).await {
        let strange = [json!(null), json!("text"), json!([1]), json!({ "a": 1 })];
        backend
            .insert(strange.iter().enumerate().map(|(n, old)| login(&json!(n), json!({ "evergrant": old }))))
            .await;
        let bookkeeping = Bookkeeping {
            state: State::NeedsLogin,
            since: Some(at(1)),
            fingerprint: Some(RefreshToken::new("old".into()).fingerprint()),
            access_fingerprint: Some(RefreshToken::new("old".into()).fingerprint()),
            due_at: Some(at(2)),
            refreshed_at: Some(at(3)),
            refreshed_by: Some("journal".to_owned()),
            spent: SpentTokens::default(),
            access_expires_at: Some(at(4)),
            refresh_expires_at: Some(at(5)),
            login_at: Some(at(10)),
            login_ends_at: Some(at(11)),
            failures: 6,
            last_error: Some(LastError {
                class: "refused".into(),
                code: "invalid_grant".into(),
                http_status: Some(400),
                at: at(7),
                lost: None,
            }),
            lease: Some(lease("l", 8)),
        };
        for n in 0..strange.len() {
            let one = id(&json!(n));
            let whole = Change { bookkeeping: bookkeeping.clone(), ..change(&one, Some("old"), None) };
            assert!(apply(&backend, &[whole]).await);
            let read = backend.read(&one).await;
            assert_eq!(read.bookkeeping, bookkeeping);
            assert_eq!(read.refresh_token.unwrap().expose(), "old");
        }
    }
}

#[tokio::test]
async fn a_change_that_the_document_has_no_room_for_is_refused_and_blocks_no_other() {
    let mapping = Mapping { access_token: Some(path("oauth.access")), ..Mapping::default() };
    for backend in both("refused", mapping).await {
        backend.insert([json!({ "_id": "a", "refresh_token": "old", "oauth": "s3cret" })]).await;
        backend.insert([json!({ "_id": "b", "refresh_token": "old" })]).await;
        let ids = [id(&json!("a")), id(&json!("b"))];
        let before = backend.whole(&ids[0]).await;
        let changes = ids.each_ref().map(|id| change(id, Some("old"), Some("new")));
        let applied = backend.store.apply(&changes).await.unwrap();
        assert!(!applied.every_matched);
        assert_eq!(applied.refused.len(), 1);
        assert_eq!(applied.refused[0].0, 0);
        assert!(!applied.refused[0].1.to_string().contains("s3cret"));
        assert_eq!(backend.whole(&ids[0]).await, before, "not even a half of the pair");
        assert_eq!(backend.read(&ids[1]).await.refresh_token.unwrap().expose(), "new");
    }
}

#[tokio::test]
async fn many_changes_are_one_call() {
    for backend in both("many", Mapping::default()).await {
        let ids: Vec<TokenId> = (0..2300).map(|n| id(&json!(n))).collect();
        backend.insert((0..2300).map(|n| login(&json!(n), json!({})))).await;
        let changes: Vec<Change> = ids.iter().map(|id| change(id, Some("old"), Some("new"))).collect();
        assert!(apply(&backend, &changes).await);
        assert_eq!(pair(&backend.whole(&ids[2299]).await.unwrap()), ("new", "new-access"));
        assert_eq!(backend.store.read(&ids).await.unwrap().len(), ids.len());
    }
}

#[tokio::test]
async fn pairs_that_are_written_together_go_each_into_its_own_document() {
    for backend in both("together", Mapping::default()).await {
        let names: Vec<Value> = (0..40).map(|n| json!(n)).chain([json!("a"), json!({ "b": 1 })]).collect();
        let ids: Vec<TokenId> = names.iter().map(id).collect();
        let old = |n: usize| format!("$old-{n}");
        backend
            .insert(
                names
                    .iter()
                    .enumerate()
                    .map(|(n, name)| login(name, json!({ "refresh_token": old(n), "mine": n }))),
            )
            .await;
        backend.set(&ids[3], json!({ "refresh_token": "somebody else's" })).await;
        backend.set(&ids[4], json!({ "refresh_token": [old(4)] })).await;
        backend.delete(&ids[5]).await;
        // Two documents of one login, and bookkeeping that is none.
        backend.set(&ids[7], json!({ "refresh_token": old(6), "access_token": { "not": "text" } })).await;
        let changes: Vec<Change> = (0..ids.len())
            .map(|n| change(&ids[n], Some(&old(if n == 7 { 6 } else { n })), Some(&format!("$new-{n}"))))
            .collect();
        assert!(!apply(&backend, &changes).await);
        for (n, id) in ids.iter().enumerate() {
            let Some(document) = backend.whole(id).await else {
                assert_eq!(n, 5);
                continue;
            };
            assert_eq!(document["mine"], n);
            match n {
                3 => assert_eq!(document["refresh_token"], "somebody else's"),
                4 => assert_eq!(document["refresh_token"], json!([old(4)])),
                _ => {
                    let new = format!("$new-{n}");
                    assert_eq!(pair(&document), (new.as_str(), format!("{new}-access").as_str()));
                    let bookkeeping = json!({ "state": "live", "due_at": date(500), "failures": 0 });
                    assert_eq!(document["evergrant"], bookkeeping);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_below_an_array_is_not_ours_to_write() {
    let mapping = Mapping { refresh_token: path("oauth.refresh"), ..Mapping::default() };
    for backend in both("below_array", mapping).await {
        backend.insert([json!({ "_id": "a", "oauth": [{ "refresh": "old" }] })]).await;
        backend.insert([json!({ "_id": "b", "oauth": { "refresh": ["old"] } })]).await;
        backend.insert([json!({ "_id": "c", "oauth": { "refresh": "old" } })]).await;
        let ids = ["a", "b", "c"].map(|name| id(&json!(name)));
        let before = [backend.whole(&ids[0]).await, backend.whole(&ids[1]).await];
        assert!(!apply(&backend, &ids.each_ref().map(|id| change(id, Some("old"), Some("new")))).await);
        assert_eq!([backend.whole(&ids[0]).await, backend.whole(&ids[1]).await], before);
        assert_eq!(backend.read(&ids[2]).await.refresh_token.unwrap().expose(), "new");
    }
}
