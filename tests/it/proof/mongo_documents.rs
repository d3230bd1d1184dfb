//! Bad documents that only a server takes: names twice, text that is none, no room, rules of the collection's own.

mod twice;

use crate::store::backend::{Backend, at, claim, due_now, id, lease, mongo, mongo_beside, sqlite};
use crate::support::meddler::Mishap;
use crate::support::rehearsal::{Plan, Rehearsal, document_id};
use crate::support::replica_set::ReplicaSet;
use bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use evergrant::testing::journal::EntryState;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::store::mapping::{FieldPath, Mapping};
use evergrant::testing::store::{Change, DueQuery, Fence, PairChange, Replaces, Unwritable};
use evergrant::testing::token::{AccessToken, Bookkeeping, Lease, RefreshToken};
use futures::TryStreamExt as _;
use mongodb::options::{Acknowledgment, WriteConcern};
use serde_json::{Value, json};

/// What a document of MongoDB may have at most, in bytes.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// A rehearsal over an empty collection.
async fn empty(backend: Backend, users: usize) -> Rehearsal {
    let rehearsal = Rehearsal::over(backend, &Plan::users(users)).await;
    for position in 0..users {
        rehearsal.backend.delete(&document_id(position)).await;
    }
    rehearsal
}

fn plain(rehearsal: &Rehearsal, position: usize) -> RawDocumentBuf {
    let user = &rehearsal.users[position];
    let mut document = RawDocumentBuf::new();
    document.append(cstr("_id"), i32::try_from(position).unwrap());
    document.append(cstr("email"), user.email.as_str());
    document.append(cstr("access_token"), user.access_token.as_str());
    document.append(cstr("refresh_token"), user.refresh_token.as_str());
    document
}

fn cstr(name: &str) -> bson::raw::CString {
    bson::raw::CString::try_from(name).unwrap()
}

async fn insert(rehearsal: &Rehearsal, documents: &[RawDocumentBuf]) {
    let raw = rehearsal.backend.collection().clone_with_type::<RawDocumentBuf>();
    for document in documents {
        raw.insert_one(document).await.unwrap();
    }
}

/// Two passes over one bad document between two good ones: nobody's newest token is anywhere but with us.
async fn between_good_ones(test: &str, change: impl FnOnce(&mut RawDocumentBuf, &str)) -> Option<Summary> {
    let backend = mongo(test, Mapping::default()).await?;
    let rehearsal = empty(backend, 3).await;
    let mut documents: Vec<_> = (0..3).map(|position| plain(&rehearsal, position)).collect();
    change(&mut documents[1], &rehearsal.users[1].refresh_token);
    insert(&rehearsal, &documents).await;
    let first = rehearsal.run().await;
    assert_eq!(first.touched, 3, "{first}");
    assert!(first.count(Outcome::Refreshed) >= 2, "the good ones are refreshed: {first}");
    let second = rehearsal.run().await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "{first}{second}");
    let raw = rehearsal.backend.collection().clone_with_type::<RawDocumentBuf>();
    let entries = rehearsal.entries().await;
    for (position, user) in rehearsal.users.iter().enumerate() {
        let record = rehearsal.sandbox.token_history(&user.refresh_token).unwrap();
        let newest = record.successor.unwrap_or(user.refresh_token.clone());
        let id = i32::try_from(position).unwrap();
        let document = raw.find_one(doc! { "_id": id }).await.unwrap().unwrap();
        let holds = |bytes: &[u8]| bytes.windows(newest.len()).any(|window| window == newest.as_bytes());
        let journaled =
            entries.iter().any(|entry| entry.answer.as_ref().is_some_and(|answer| holds(&answer.get().body)));
        assert!(holds(document.as_bytes()) || journaled, "user {position} is lost: {first}{second}");
    }
    Some(first)
}

#[tokio::test]
async fn a_subject_that_is_no_text_stops_nobody() {
    between_good_ones("not_utf_8", |document, _| {
        let mut bytes = document.as_bytes().to_vec();
        let at = bytes.windows(5).position(|window| window == b"user-").unwrap();
        bytes[at..at + 3].copy_from_slice(b"\xff\xfe\xfd");
        *document = RawDocumentBuf::from_bytes(bytes).unwrap();
    })
    .await;
}

/// They can't be asked for by their `_id`, so they aren't read; the pages go on behind them.
#[tokio::test]
async fn an_id_that_is_no_text_ends_no_page() {
    let Some(backend) = mongo("id_not_utf_8", Mapping::default()).await else { return };
    let tokens = backend.collection();
    let database = tokens.client().database(&tokens.namespace().db);
    let bad = ["b", "bb", "bbb", "bbbb", "bbbbb", "bbbbbb"].map(|id| rawdoc! { "_id": id });
    // Dates sort behind texts.
    let late = (0..4).map(|id| rawdoc! { "_id": bson::DateTime::from_millis(id), "refresh_token": "r" });
    let documents: RawArrayBuf = bad.into_iter().chain(late).collect();
    let command = rawdoc! { "insert": tokens.name(), "documents": documents };
    // The driver makes no such text.
    let bytes = command.as_bytes().iter().map(|byte| if *byte == b'b' { 0xff } else { *byte }).collect();
    database.run_raw_command(RawDocumentBuf::from_bytes(bytes).unwrap()).await.unwrap();
    for limit in 1..7 {
        for force in [false, true] {
            let found = backend.due(&DueQuery { force, ..due_now(limit) }).await;
            assert_eq!(found.len(), 4, "{limit} at a time, force: {force}");
        }
        let (mut listed, mut after) = (0, None);
        loop {
            let page = backend.store.list(after.as_ref(), limit).await.unwrap();
            listed += page.documents.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, 4, "{limit} at a time");
    }
}

/// The server takes an array for what it is by its type, whatever its elements are called; some programs call them nothing.
#[tokio::test]
async fn an_array_with_odd_names_is_no_name_that_stands_twice() {
    let summary = between_good_ones("odd_array", |document, _| {
        document.append(cstr("list"), rawdoc! { "": 1, "x": "two" });
        let mut bytes = document.as_bytes().to_vec();
        let at = bytes.windows(6).position(|window| window == b"\x03list\0").unwrap();
        bytes[at] = 4;
        *document = RawDocumentBuf::from_bytes(bytes).unwrap();
    });
    assert!(summary.await.is_none_or(|summary| summary.count(Outcome::Refreshed) == 3));
}

/// Both documents get a name twice while the answers are on their way, and one of them a new login: whose a document is says
/// more than why it can't be written.
#[tokio::test]
async fn a_new_login_supersedes_our_pair_also_where_a_name_stands_twice_by_then() {
    let Some(backend) = mongo("twice_at_write", Mapping::default()).await else { return };
    let rehearsal = empty(backend, 2).await;
    insert(&rehearsal, &[plain(&rehearsal, 0), plain(&rehearsal, 1)]).await;
    let raw = rehearsal.backend.collection().clone_with_type::<RawDocumentBuf>();
    rehearsal.meddler.meddle(move |call| {
        let raw = raw.clone();
        let writes = call.writes_a_pair();
        Box::pin(async move {
            for (id, login) in [(0, None), (1, Some("a new login"))].into_iter().filter(|_| writes) {
                let mut document = raw.find_one(doc! { "_id": id }).await.unwrap().unwrap();
                if let Some(login) = login {
                    document = rawdoc! { "_id": id, "refresh_token": login, "access_token": "a" };
                }
                document.append(cstr("note"), 1);
                document.append(cstr("note"), 2);
                raw.replace_one(doc! { "_id": id }, document).await.unwrap();
            }
            Mishap::None
        })
    });
    let summary = rehearsal.run().await;
    rehearsal.meddler.leave();
    let mut states: Vec<_> =
        rehearsal.entries().await.into_iter().map(|entry| (entry.intent.document, entry.state)).collect();
    states.sort();
    let expected = [(id(&json!(0)), EntryState::Answer), (id(&json!(1)), EntryState::Orphan)];
    assert_eq!(states, expected, "{summary}");
}

#[tokio::test]
async fn a_document_without_room_for_a_pair_is_not_redeemed() {
    let Some(backend) = mongo("no_room", Mapping::default()).await else { return };
    // From one that can't even take the lease to one that can take everything.
    let free = [0, 40, 90, 120, 160, 200, 240, 280, 320, 400, 1024, 1 << 20];
    let rehearsal = empty(backend, free.len() + 2).await;
    let documents: Vec<_> = (0..free.len() + 2)
        .map(|position| {
            let mut document = plain(&rehearsal, position);
            if let Some(free) = free.get(position) {
                // A binary member takes its length, its name and seven bytes more.
                let padding = MAX_DOCUMENT_BYTES - free - document.as_bytes().len() - "padding".len() - 7;
                document.append(
                    cstr("padding"),
                    Bson::Binary(bson::Binary {
                        subtype: bson::spec::BinarySubtype::Generic,
                        bytes: vec![7; padding],
                    })
                    .try_into_raw(),
                );
            }
            document
        })
        .collect();
    insert(&rehearsal, &documents).await;
    for pass in ["first", "second"] {
        let summary = rehearsal.run().await;
        assert!(summary.adds_up(), "{pass}: {summary}");
        assert_eq!(
            summary.count(Outcome::Held),
            0,
            "{pass}: redeemed without a place for the pair\n{summary}"
        );
    }
    assert!(rehearsal.entries().await.is_empty());
    let audit = rehearsal.audit().await;
    assert!(audit.is_clean() && audit.kept == rehearsal.users.len() as u64, "{audit:#?}");
}

trait IntoRaw {
    fn try_into_raw(self) -> bson::RawBson;
}

impl IntoRaw for Bson {
    fn try_into_raw(self) -> bson::RawBson {
        self.try_into().unwrap()
    }
}

#[tokio::test]
async fn a_rule_of_the_collection_that_refuses_our_writes_is_met_before_the_grant() {
    for (name, rule) in [
        ("forbids_bookkeeping", doc! { "evergrant": { "$exists": false } }),
        (
            "forbids_more_fields",
            doc! { "$jsonSchema": { "additionalProperties": false, "properties": {
            "_id": {}, "userId": {}, "email": {}, "access_token": {}, "refresh_token": {} } } },
        ),
        // This one lets the lease in, and no other token than the one that is there.
        ("forbids_another_token", doc! { "$expr": { "$lt": [{ "$strLenBytes": "$refresh_token" }, 44] } }),
    ] {
        let Some(backend) = mongo(name, Mapping::default()).await else { return };
        let rehearsal = Rehearsal::over(backend, &Plan::users(3)).await;
        let collection = rehearsal.backend.collection();
        let database = collection.client().database(&collection.namespace().db);
        database.run_command(doc! { "collMod": collection.name(), "validator": rule }).await.unwrap();
        for _ in 0..2 {
            let summary = rehearsal.run().await;
            assert!(summary.adds_up(), "{name}: {summary}");
        }
        let audit = rehearsal.audit().await;
        assert!(audit.is_clean() && audit.kept == 3, "{name}: {audit:#?}");
    }
}

#[tokio::test]
async fn a_document_too_deep_to_be_read_is_left_as_it_is() {
    let rehearsal = empty(sqlite(Mapping::default()).await, 2).await;
    let deep = (0..300).fold(json!("bottom"), |inner, _| json!({ "d": inner }));
    let document = |position: usize, x: Value| {
        let user = &rehearsal.users[position];
        let pair = (&user.refresh_token, &user.access_token);
        json!({ "_id": position, "email": user.email, "refresh_token": pair.0, "access_token": pair.1, "x": x })
    };
    rehearsal.backend.insert([document(0, deep), document(1, json!(1))]).await;
    let before = rehearsal.backend.text_of(0);
    let summary = rehearsal.run().await;
    assert!(summary.adds_up(), "{summary}");
    let counts = (summary.count(Outcome::Refreshed), summary.count(Outcome::StillDue));
    assert_eq!((counts, rehearsal.sandbox.ledger().granted), ((1, 1), 1), "{summary}");
    assert_eq!(rehearsal.backend.text_of(0), before, "not a byte of it has changed");
}
