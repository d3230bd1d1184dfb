//! Two processes never hold one document.

use super::backend::{at, both, claim, date, due_now, id, lease, login, mongo, path};
use chrono::{SubsecRound, TimeDelta};
use evergrant::testing::clock::Clock;
use evergrant::testing::store::{Change, Claim, Claimed, Fence, Store, Unwritable, mapping::Mapping};
use evergrant::testing::token::{Bookkeeping, Lease, State, TokenId};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_claimers_each_document_has_exactly_one() {
    for backend in both("eight_claimers", Mapping::default()).await {
        let count = 300;
        backend.insert((0..count).map(|n| login(&json!(n), json!({})))).await;
        let claimers = (0..8).map(|number| {
            let store = Arc::clone(&backend.store);
            tokio::spawn(async move {
                let (mut ours, mut query) = (Vec::new(), due_now(20));
                loop {
                    let page = store.due_page(&query).await.unwrap();
                    let ids: Vec<TokenId> = page.documents.into_iter().map(|one| one.id).collect();
                    let claimed = store
                        .claim(&claim(&ids, lease(&format!("l{number}"), 60), 0))
                        .await
                        .unwrap()
                        .documents;
                    ours.extend(claimed.into_iter().map(|one| one.id));
                    match page.next {
                        Some(next) => query.after = Some(next),
                        None => return ours,
                    }
                }
            })
        });
        let mut owners: BTreeMap<TokenId, usize> = BTreeMap::new();
        for claimer in claimers.collect::<Vec<_>>() {
            for id in claimer.await.unwrap() {
                *owners.entry(id).or_default() += 1;
            }
        }
        assert_eq!(owners.len(), count);
        assert!(owners.values().all(|owners| *owners == 1));
    }
}

#[tokio::test]
async fn a_lease_is_respected_until_it_ends_and_then_the_document_is_due_again() {
    for backend in both("lease_ends", Mapping::default()).await {
        let one = id(&json!("one"));
        let mine = std::slice::from_ref(&one);
        backend
            .insert([login(&json!("one"), json!({ "evergrant": { "failures": 3, "theirs": "kept" } }))])
            .await;
        let claimed = backend.store.claim(&claim(mine, lease("first", 60), 0)).await.unwrap().documents;
        assert_eq!(claimed[0].bookkeeping.lease, Some(lease("first", 60)));
        assert_eq!(claimed[0].bookkeeping.due_at, Some(at(60)));
        assert_eq!(claimed[0].bookkeeping.failures, 3);
        assert_eq!(backend.whole(&one).await.unwrap()["evergrant"]["theirs"], "kept");
        assert!(
            backend.store.claim(&claim(mine, lease("second", 90), 0)).await.unwrap().documents.is_empty()
        );
        let forced = Claim { due_by: None, ..claim(mine, lease("second", 90), 59) };
        assert!(
            backend.store.claim(&forced).await.unwrap().documents.is_empty(),
            "force respects a lease too"
        );
        let again = backend.store.claim(&claim(mine, lease("first", 60), 0)).await.unwrap().documents;
        assert_eq!(again.len(), 1, "a claim whose acknowledgement was lost may be repeated");
        let second = backend.store.claim(&claim(mine, lease("second", 90), 60)).await.unwrap().documents;
        assert_eq!(second[0].bookkeeping.lease, Some(lease("second", 90)));
        assert!(
            backend.store.renew(mine, &lease("first", 120)).await.unwrap().is_empty(),
            "the first is fenced out"
        );
    }
}

#[tokio::test]
async fn a_claim_takes_only_what_is_still_due() {
    for backend in both("still_due", Mapping::default()).await {
        let names = ["due", "exactly", "later", "gone"];
        backend
            .insert([
                login(&json!("due"), json!({ "evergrant": { "due_at": date(-1) } })),
                login(&json!("exactly"), json!({ "evergrant": { "due_at": date(0) } })),
                login(&json!("later"), json!({ "evergrant": { "due_at": date(1) } })),
            ])
            .await;
        let ids: Vec<TokenId> = names.iter().map(|name| id(&json!(name))).collect();
        let mut claimed = backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap().documents;
        claimed.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(claimed.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids[..2]);
        let forced = Claim { due_by: None, ..claim(&ids, lease("m", 60), 0) };
        assert_eq!(
            backend.store.claim(&forced).await.unwrap().documents.len(),
            1,
            "only the one that nobody has"
        );
        assert!(backend.store.claim(&claim(&[], lease("n", 60), 0)).await.unwrap().documents.is_empty());
    }
}

#[tokio::test]
async fn only_what_still_carries_a_lease_is_taken_over_and_says_so() {
    for backend in both("taken_over_claim", Mapping::default()).await {
        let names = ["held", "given_back"];
        backend.insert(names.iter().map(|name| login(&json!(name), json!({})))).await;
        let ids: Vec<TokenId> = names.iter().map(|name| id(&json!(name))).collect();
        backend.store.claim(&claim(&ids[..1], lease("theirs", 10), 0)).await.unwrap();
        let over = Lease { taken_over: true, ..lease("ours", 120) };
        let claimed = backend.store.claim(&claim(&ids, over.clone(), 60)).await.unwrap().documents;
        assert_eq!(claimed.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids[..1]);
        assert_eq!(backend.read(&ids[0]).await.bookkeeping.lease, Some(over));
        assert_eq!(backend.read(&ids[1]).await.bookkeeping.lease, None);
    }
}

#[tokio::test]
async fn the_servers_clock_lets_no_living_claim_be_taken_over_or_cut_whatever_time_we_say_it_is() {
    let Some(backend) = mongo("living_claim", Mapping::default()).await else { return };
    let now = Clock::system().now();
    for (minutes, may_be_taken, may_be_cut) in
        [(-11, true, false), (-9, false, false), (5, false, false), (60 * 25, false, true)]
    {
        backend.insert([login(&json!(minutes), json!({}))]).await;
        let ids = [id(&json!(minutes))];
        let theirs = Lease { until: now + TimeDelta::minutes(minutes), ..lease("theirs", 0) };
        let first = Claim { due_by: None, ..claim(&ids, theirs.clone(), 0) };
        assert_eq!(backend.store.claim(&first).await.unwrap().documents.len(), 1);
        let over = Lease { taken_over: true, ..lease("ours", 0) };
        let ended_for = TimeDelta::minutes(10);
        let (wrong, claim) = (now + TimeDelta::days(300), claim(&ids, over, 0));
        let take = Claim { due_by: None, now: wrong, ended_for, ..claim };
        let taken = backend.store.claim(&take).await.unwrap().documents.len();
        assert_eq!(taken == 1, may_be_taken, "ends in {minutes} min");
        let nearer = Lease { until: now + TimeDelta::minutes(10), ..theirs };
        let cut = backend.store.cut(&ids[0], &nearer, TimeDelta::days(1)).await.unwrap();
        assert_eq!(cut, may_be_cut, "ends in {minutes} min");
    }
}

#[tokio::test]
async fn an_ended_claim_is_given_back_only_as_it_was_read_and_by_the_servers_clock() {
    for backend in both("ended_claim", Mapping::default()).await {
        let now = Clock::system().now().trunc_subsecs(3);
        let until = |minutes| now + TimeDelta::minutes(minutes);
        for (minutes, lease_id, read_as_minutes, expected) in [
            (-11, "theirs", -11, true),
            (-11, "another", -11, false),
            (-11, "theirs", -12, false),
            (-9, "theirs", -9, !backend.is_mongo()),
            (5, "theirs", 5, !backend.is_mongo()),
        ] {
            let name = json!(format!("{minutes} {lease_id} {read_as_minutes}"));
            backend.insert([login(&name, json!({}))]).await;
            let ids = [id(&name)];
            let theirs = Lease { until: until(minutes), ..lease("theirs", 0) };
            backend.store.claim(&claim(&ids, theirs.clone(), 0)).await.unwrap();
            let change = Change {
                id: ids[0].clone(),
                expect_refresh_token: None,
                expect_lease: Fence::Ended {
                    lease: lease_id.into(),
                    until: until(read_as_minutes),
                    ended_for: TimeDelta::minutes(10),
                },
                pair: None,
                bookkeeping: Bookkeeping::default(),
            };
            assert_eq!(backend.store.apply(&[change]).await.unwrap().every_matched, expected, "{name}");
            let left = backend.read(&ids[0]).await.bookkeeping.lease;
            assert_eq!(left, (!expected).then_some(theirs), "{name}");
        }
    }
}

#[tokio::test]
async fn renewing_moves_our_own_leases_only() {
    for backend in both("renew", Mapping::default()).await {
        let ids: Vec<TokenId> = ["a", "b", "c"].iter().map(|name| id(&json!(name))).collect();
        backend.insert(["a", "b", "c"].iter().map(|name| login(&json!(name), json!({})))).await;
        backend.store.claim(&claim(&ids[..1], lease("ours", 60), 0)).await.unwrap();
        backend.store.claim(&claim(&ids[1..2], lease("theirs", 60), 0)).await.unwrap();
        let renewed = backend.store.renew(&ids, &lease("ours", 120)).await.unwrap();
        assert_eq!(renewed, ids[..1]);
        let ours = backend.read(&ids[0]).await.bookkeeping;
        assert_eq!((ours.lease, ours.due_at), (Some(lease("ours", 120)), Some(at(120))));
        assert_eq!(backend.read(&ids[1]).await.bookkeeping.lease, Some(lease("theirs", 60)));
        assert_eq!(backend.read(&ids[2]).await.bookkeeping.lease, None);
        assert!(backend.store.renew(&[], &lease("ours", 120)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn strange_bookkeeping_holds_nobody_back() {
    let mapping = Mapping { bookkeeping: path("meta.evergrant"), ..Mapping::default() };
    for backend in both("strange_bookkeeping", mapping).await {
        let documents = [
            json!({}),
            json!({ "meta": {} }),
            json!({ "meta": { "theirs": 1, "evergrant": null } }),
            json!({ "meta": { "evergrant": "text", "theirs": 1 } }),
            json!({ "meta": { "evergrant": [1, { "due_at": 5 }] } }),
            json!({ "meta": { "evergrant": { "state": 5, "lease": "mine", "due_at": "soon" } } }),
            json!({ "meta": { "evergrant": { "lease": { "until": "never", "id": 5 } } } }),
        ];
        let count = documents.len();
        backend.insert(documents.into_iter().enumerate().map(|(n, more)| login(&json!(n), more))).await;
        let ids: Vec<TokenId> = (0..count).map(|n| id(&json!(n))).collect();
        assert_eq!(backend.due(&due_now(2)).await.len(), count);
        let Claimed { documents, mut refused } =
            backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
        for document in &documents {
            assert_eq!(document.bookkeeping.lease, Some(lease("l", 60)));
            assert_eq!(document.bookkeeping.state, State::Live);
        }
        // An import takes null for nothing.
        let odd: &[usize] = if backend.is_mongo() { &[2, 3, 4] } else { &[3, 4] };
        let claimed: BTreeSet<TokenId> = documents.into_iter().map(|document| document.id).collect();
        let fine = (0..count).filter(|at| !odd.contains(at)).map(|at| ids[at].clone());
        assert_eq!(claimed, fine.collect());
        // What is no sub-document belongs to another program: it stays as it is.
        refused.sort();
        let in_the_way = || Unwritable::BookkeepingInTheWay(path("meta.evergrant"));
        let odd: Vec<_> = odd.iter().map(|at| (ids[*at].clone(), in_the_way())).collect();
        assert_eq!(refused, odd);
        assert_eq!(
            backend.whole(&ids[3]).await.unwrap()["meta"],
            json!({ "evergrant": "text", "theirs": 1 })
        );
    }
}

#[tokio::test]
async fn a_store_opened_twice_sees_one_collection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.db");
    let one = evergrant::testing::store::sqlite::SqliteStore::open(&path, Mapping::default()).await.unwrap();
    let other =
        evergrant::testing::store::sqlite::SqliteStore::open(&path, Mapping::default()).await.unwrap();
    let serde_json::Value::Object(document) = login(&json!("a"), json!({})) else { unreachable!() };
    one.import(vec![document]).await.unwrap();
    let ids = [id(&json!("a"))];
    assert_eq!(one.claim(&claim(&ids, lease("one", 60), 0)).await.unwrap().documents.len(), 1);
    assert!(other.claim(&claim(&ids, lease("other", 60), 0)).await.unwrap().documents.is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_before_anything_is_redeemed_for_it() {
    let mapping = Mapping {
        access_token: Some(path("oauth.access.token")),
        access_expires_at: Some(path("oauth.ends.at")),
        ..Mapping::default()
    };
    for backend in both("no_room", mapping).await {
        let documents = [
            json!({}),
            json!({ "oauth": { "access": {} } }),
            json!({ "oauth": { "access": { "token": [] }, "ends": { "at": 5 } } }),
            json!({ "oauth": "text" }),
            json!({ "oauth": null }),
            json!({ "oauth": [{ "access": {} }] }),
            json!({ "oauth": { "access": 5, "ends": [] } }),
            json!({ "oauth": { "ends": { "$date": "2026-01-01T00:00:00Z" } } }),
        ];
        let count = documents.len();
        backend.insert(documents.into_iter().enumerate().map(|(n, more)| login(&json!(n), more))).await;
        let ids: Vec<TokenId> = (0..count).map(|n| id(&json!(n))).collect();
        let claimed = backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
        let mut ours: Vec<_> = claimed.documents.into_iter().map(|one| one.id).collect();
        ours.sort();
        assert_eq!(ours, ids[..3]);
        let mut refused = claimed.refused;
        refused.sort();
        assert_eq!(refused.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ids[3..]);
        let in_the_way = ["oauth", "oauth", "oauth", "oauth.access", "oauth.ends"];
        let reasons = in_the_way.map(|parent| Unwritable::InTheWay(path(parent)));
        assert_eq!(refused.into_iter().map(|(_, why)| why).collect::<Vec<_>>(), reasons);
        for unclaimed in &ids[3..] {
            assert!(backend.whole(unclaimed).await.unwrap().get("evergrant").is_none());
        }
    }
}
