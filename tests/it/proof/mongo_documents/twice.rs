//! Documents in which a name stands twice: BSON allows it, and MongoDB treats them badly.

use super::*;
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;

/// What becomes of a document in which a name stands twice.
#[derive(Debug, Clone, Copy)]
enum Twice {
    /// In no document that we write into: it is refreshed as any other.
    Elsewhere,
    /// This field of ours: it is named, and not a byte of the document changes.
    Ours(&'static str),
    /// Another one, at the top or in this sub-document: its name isn't ours to print.
    Beside(Option<&'static str>),
}

impl Twice {
    fn reason(self) -> Option<Unwritable> {
        match self {
            Self::Elsewhere => None,
            Self::Ours(field) => Some(Unwritable::Twice(field.to_owned())),
            Self::Beside(parent) => Some(Unwritable::TwiceBeside(parent.map(|path| path.parse().unwrap()))),
        }
    }
}

/// Makes a document of a user's two tokens, which come first, and of what is in the way.
type Make = fn(&mut RawDocumentBuf, &str, &str);

const TOP_LEVEL: [(Twice, Make); 17] = [
    (Twice::Ours("refresh_token"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("refresh_token"), refresh);
    }),
    (Twice::Ours("refresh_token"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
        it.append(cstr("refresh_token"), "another");
    }),
    (Twice::Ours("refresh_token"), |it, refresh, access| {
        it.append(cstr("refresh_token"), "another");
        pair(it, refresh, access);
    }),
    (Twice::Ours("access_token"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("access_token"), access);
    }),
    (Twice::Ours("evergrant"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
    }),
    (Twice::Ours("evergrant"), |it, refresh, access| {
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
        it.append(cstr("evergrant"), "text");
        pair(it, refresh, access);
    }),
    (Twice::Ours("evergrant"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), Bson::Null.try_into_raw());
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
    }),
    (Twice::Ours("evergrant.due_at"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), twice("due_at", rawdoc! {}));
    }),
    (Twice::Ours("evergrant.lease"), |it, refresh, access| {
        it.append(cstr("evergrant"), twice("lease", rawdoc! { "state": "live" }));
        pair(it, refresh, access);
    }),
    (Twice::Ours("evergrant.state"), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), twice("state", rawdoc! { "failures": 0 }));
    }),
    (Twice::Beside(Some("evergrant")), |it, refresh, access| {
        it.append(cstr("evergrant"), twice("theirs", rawdoc! { "state": "live" }));
        pair(it, refresh, access);
    }),
    (Twice::Elsewhere, |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), rawdoc! { "last_error": twice("code", rawdoc! {}) });
    }),
    (Twice::Beside(None), |it, refresh, access| {
        it.append(cstr("note"), 1);
        it.append(cstr("note"), "two");
        pair(it, refresh, access);
    }),
    (Twice::Beside(None), |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
        it.append(cstr("note"), 1);
        it.append(cstr("note"), 1);
    }),
    (Twice::Beside(None), |it, refresh, access| {
        it.append(cstr("evergrant"), "text");
        it.append(cstr("note"), rawdoc! { "a": 1 });
        it.append(cstr("note"), rawdoc! { "a": 2 });
        pair(it, refresh, access);
    }),
    (Twice::Elsewhere, |it, refresh, access| {
        it.append(cstr("profile"), twice("name", rawdoc! { "age": 1 }));
        pair(it, refresh, access);
    }),
    (Twice::Elsewhere, |it, refresh, access| {
        pair(it, refresh, access);
        it.append(cstr("evergrant"), rawdoc! { "state": "live" });
        it.append(cstr("profile"), twice("name", rawdoc! { "age": 1 }));
    }),
];

const NESTED: [(Twice, Make); 9] = [
    (Twice::Ours("oauth"), |it, refresh, access| {
        nested(it, refresh, access, "scope");
        it.append(cstr("oauth"), "text");
    }),
    (Twice::Ours("oauth.refresh"), |it, refresh, access| nested(it, refresh, access, "refresh")),
    (Twice::Ours("oauth.access"), |it, refresh, access| nested(it, refresh, access, "access")),
    (Twice::Ours("meta"), |it, refresh, access| {
        it.append(cstr("meta"), rawdoc! { "evergrant": { "state": "live" } });
        it.append(cstr("meta"), rawdoc! { "theirs": 1 });
        nested(it, refresh, access, "scope");
    }),
    (Twice::Ours("meta.evergrant"), |it, refresh, access| {
        nested(it, refresh, access, "scope");
        it.append(cstr("meta"), twice("evergrant", rawdoc! { "theirs": 1 }));
    }),
    (Twice::Ours("meta.evergrant.due_at"), |it, refresh, access| {
        nested(it, refresh, access, "scope");
        it.append(cstr("meta"), rawdoc! { "evergrant": twice("due_at", rawdoc! {}) });
    }),
    (Twice::Beside(Some("meta")), |it, refresh, access| {
        it.append(cstr("meta"), twice("theirs", rawdoc! { "evergrant": twice("theirs", rawdoc! {}) }));
        nested(it, refresh, access, "scope");
    }),
    (Twice::Beside(Some("oauth")), |it, refresh, access| nested(it, refresh, access, "scope")),
    (Twice::Elsewhere, |it, refresh, access| {
        let profile = twice("name", rawdoc! { "age": 1 });
        it.append(
            cstr("meta"),
            rawdoc! { "evergrant": { "last_error": twice("code", rawdoc! {}) }, "x": profile.clone() },
        );
        it.append(cstr("oauth"), rawdoc! { "refresh": refresh, "access": access, "profile": profile });
    }),
];

fn pair(it: &mut RawDocumentBuf, refresh: &str, access: &str) {
    it.append(cstr("access_token"), access);
    it.append(cstr("refresh_token"), refresh);
}

/// A pair within `oauth`, in which some name stands twice more.
fn nested(it: &mut RawDocumentBuf, refresh: &str, access: &str, name: &str) {
    it.append(cstr("oauth"), twice(name, rawdoc! { "refresh": refresh, "access": access }));
}

fn twice(name: &str, mut within: RawDocumentBuf) -> RawDocumentBuf {
    within.append(cstr(name), 1);
    within.append(cstr(name), "two");
    within
}

/// MongoDB 6.0 ends with a failed invariant when a pipeline updates one of two fields of a name, and a `$set` of one makes
/// the members of a replica set differ.
#[tokio::test]
async fn names_that_stand_twice_stop_no_server_and_lose_nothing() {
    let Some(mut set) = ReplicaSet::start().await else { return };
    let path = |text: &str| text.parse::<FieldPath>().unwrap();
    let mapping = Mapping {
        refresh_token: path("oauth.refresh"),
        access_token: Some(path("oauth.access")),
        bookkeeping: path("meta.evergrant"),
        ..Mapping::default()
    };
    let primary = set.primary().await;
    stands_twice(&set, &TOP_LEVEL, Mapping::default()).await;
    stands_twice(&set, &NESTED, mapping).await;
    assert!(set.all_run() && set.primary().await == primary, "no member has ended");
}

async fn stands_twice(set: &ReplicaSet, shapes: &[(Twice, Make)], mapping: Mapping) {
    let uri = set.uri_as("twice");
    let backend = mongo_beside(&uri, &uri, "twice", mapping.clone()).await;
    let rehearsal = empty(backend, shapes.len() + 1).await;
    let plain: Make = if mapping == Mapping::default() {
        pair
    } else {
        |it, refresh, access| it.append(cstr("oauth"), rawdoc! { "refresh": refresh, "access": access })
    };
    let good = (Twice::Elsewhere, plain);
    let shapes: Vec<_> = shapes.iter().chain([&good]).copied().collect();
    let make = |position: usize, make: Make| {
        let user = &rehearsal.users[position];
        let mut document = RawDocumentBuf::new();
        document.append(cstr("_id"), i32::try_from(position).unwrap());
        document.append(cstr("email"), user.email.as_str());
        make(&mut document, &user.refresh_token, &user.access_token);
        document
    };
    let before: Vec<_> = shapes.iter().enumerate().map(|(at, (_, shape))| make(at, *shape)).collect();
    insert(&rehearsal, &before).await;
    let there: Vec<_> = (0..shapes.len()).filter(|at| shapes[*at].0.reason().is_some()).collect();
    let (refused, well) = (there.len() as u64, (shapes.len() - there.len()) as u64);
    for pass in 1..=2 {
        let everybody = PassRequest { force: true, ..PassRequest::default() };
        let summary = rehearsal.run_with(&everybody, &Stop::default()).await;
        let counts = (summary.count(Outcome::Refreshed), summary.count(Outcome::Malformed));
        assert_eq!(counts, (well, refused), "{pass}: {summary}");
        assert_eq!(rehearsal.sandbox.ledger().granted, pass * well);
        let documents = on_each_member(set, &rehearsal).await;
        for (at, (twice, _)) in shapes.iter().enumerate() {
            if twice.reason().is_some() {
                assert_eq!(documents[at], before[at], "{pass}: {at} has changed");
            } else {
                let newest = newest(&rehearsal, at);
                let bytes = documents[at].as_bytes();
                let holds = bytes.windows(newest.len()).any(|window| window == newest.as_bytes());
                assert!(holds, "{pass}: {at} doesn't hold its newest token");
            }
        }
    }
    assert!(rehearsal.entries().await.is_empty());
    let ids: Vec<_> = there.iter().map(|at| id(&json!(*at))).collect();
    let claimed = rehearsal.backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
    assert!(claimed.documents.is_empty());
    for (at, id) in there.iter().zip(&ids) {
        let refused = claimed.refused.iter().find(|(refused, _)| refused == id).map(|(_, reason)| reason);
        assert_eq!(refused, shapes[*at].0.reason().as_ref(), "{at}");
    }
    write_all_the_same(set, &rehearsal, &shapes).await;
    let collection = rehearsal.backend.collection().clone_with_type::<RawDocumentBuf>();
    for at in &there {
        let id = i32::try_from(*at).unwrap();
        collection.replace_one(doc! { "_id": id }, make(*at, plain)).await.unwrap();
    }
    let mended = rehearsal.run().await;
    assert_eq!((mended.count(Outcome::Refreshed), mended.touched), (refused, refused), "{mended}");
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
}

fn newest(rehearsal: &Rehearsal, at: usize) -> String {
    rehearsal.sandbox.user(&rehearsal.users[at].user).unwrap().current_refresh_token
}

/// As if each document had been claimed while it was well: a pair goes where no name stands twice beside it.
async fn write_all_the_same(set: &ReplicaSet, rehearsal: &Rehearsal, shapes: &[(Twice, Make)]) {
    let tomorrow = Clock::system().now() + TimeDelta::days(1);
    let change = |position: usize| {
        let token = || RefreshToken::new(newest(rehearsal, position));
        Change {
            id: id(&json!(position)),
            expect_refresh_token: Some(token()),
            expect_lease: Fence::None,
            pair: Some(PairChange {
                refresh_token: token(),
                access_token: Some(AccessToken::new("written all the same".to_owned())),
                also: Vec::new(),
                replaces: Replaces::Any,
            }),
            bookkeeping: Bookkeeping { due_at: Some(tomorrow), ..Bookkeeping::default() },
        }
    };
    let before = on_each_member(set, rehearsal).await;
    let changes: Vec<_> = (0..shapes.len()).map(change).collect();
    let applied = rehearsal.backend.store.apply(&changes).await.unwrap();
    let after = on_each_member(set, rehearsal).await;
    assert!(!applied.every_matched);
    for (at, (twice, _)) in shapes.iter().enumerate() {
        let refused = applied.refused.iter().find(|(refused, _)| *refused == at).map(|(_, reason)| reason);
        assert_eq!(refused, twice.reason().as_ref(), "{at}");
        assert_eq!(after[at] != before[at], refused.is_none(), "{at}: {twice:?}");
    }
}

/// A tool writes the document anew while it is claimed, with our lease in it twice: renewed, the members would differ.
#[tokio::test]
async fn a_claim_is_not_renewed_where_a_name_stands_twice_by_now() {
    let Some(set) = ReplicaSet::start().await else { return };
    let uri = set.uri_as("renewal");
    let backend = mongo_beside(&uri, &uri, "renewal", Mapping::default()).await;
    let rehearsal = empty(backend, 1).await;
    insert(&rehearsal, &[plain(&rehearsal, 0)]).await;
    let (ids, lease) = ([id(&json!(0))], lease("l", 60));
    let claimed = rehearsal.backend.store.claim(&claim(&ids, lease.clone(), 0)).await.unwrap();
    assert_eq!(claimed.documents.len(), 1);
    let mut twice = on_each_member(&set, &rehearsal).await.remove(0);
    twice.append(cstr("evergrant"), rawdoc! { "lease": { "id": "l" } });
    let collection = rehearsal.backend.collection().clone_with_type::<RawDocumentBuf>();
    collection.replace_one(doc! { "_id": 0 }, &twice).await.unwrap();
    assert_eq!(rehearsal.backend.store.renew(&ids, &Lease { until: at(120), ..lease }).await.unwrap(), []);
    assert_eq!(on_each_member(&set, &rehearsal).await, [twice]);
}

/// The documents, the same on each member.
async fn on_each_member(set: &ReplicaSet, rehearsal: &Rehearsal) -> Vec<RawDocumentBuf> {
    let tokens = rehearsal.backend.collection();
    let (client, names) = (tokens.client(), tokens.namespace());
    // Whoever has this has all that was written before.
    let everybody = WriteConcern::builder().w(Acknowledgment::Nodes(3)).build();
    let marks = client.database(&names.db).collection::<Document>("marks");
    marks.insert_one(doc! {}).write_concern(everybody).await.unwrap();
    let mut found: Option<Vec<RawDocumentBuf>> = None;
    for member in set.clients() {
        let tokens = member.database(&names.db).collection::<RawDocumentBuf>(&names.coll);
        let documents = tokens.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        let documents: Vec<_> = documents.try_collect().await.unwrap();
        let others = found.get_or_insert_with(|| documents.clone());
        assert_eq!(*others, documents, "the members differ");
    }
    found.unwrap()
}
