//! What only MongoDB has: roles, validators, collations, elections, and acknowledgements that get lost.

use super::backend::{
    Backend, COLLECTION, at, claim, date, due_now, id, lease, login, mongo, mongo_at, mongo_beside, settings,
};
use crate::support::mongod::{self, Server, admin};
use bson::{Bson, Document, doc};
use evergrant::testing::store::{
    Change, Existence, Fence, IndexState, PairChange, Replaces, Store, StoreError, StoreSettings, Unwritable,
    connect, mapping::Mapping,
};
use evergrant::testing::token::{AccessToken, Bookkeeping, RefreshToken, TokenId};
use mongodb::Client;
use serde_json::json;
use std::sync::Arc;

fn change(id: &TokenId) -> Change {
    Change {
        id: id.clone(),
        expect_refresh_token: Some(RefreshToken::new("old".into())),
        expect_lease: Fence::None,
        pair: Some(PairChange {
            refresh_token: RefreshToken::new("new".into()),
            access_token: Some(AccessToken::new("new-access".into())),
            also: Vec::new(),
            replaces: Replaces::Any,
        }),
        bookkeeping: Bookkeeping { due_at: Some(at(500)), ..Bookkeeping::default() },
    }
}

/// Lets the next `update` of the test's own client fail.
async fn fail_update(application: &str, data: Document) {
    let mut whole = doc! { "failCommands": ["update"], "appName": application };
    whole.extend(data);
    let command = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": whole };
    admin(mongod::uri().unwrap(), command).await.unwrap();
}

async fn refresh_token(backend: &Backend, id: &TokenId) -> String {
    backend.read(id).await.refresh_token.unwrap().expose().to_owned()
}

/// However many pairs are written, and whatever each demands of its document.
#[tokio::test]
async fn pairs_that_keep_the_refresh_token_are_written_by_few_statements() {
    let Some(server) = Server::start(&[]) else { return };
    let backend = mongo_beside(&server.uri, &server.uri, "few_statements", Mapping::default()).await;
    let client = Client::with_uri_str(&server.uri).await.unwrap();
    let statements = async || {
        let status = client.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
        let counters = status.get_document("opcounters").unwrap();
        let count = counters.get("update").unwrap();
        count.as_i64().or(count.as_i32().map(i64::from)).unwrap()
    };
    let ids: Vec<TokenId> = (0..1000).map(|n| id(&json!(n))).collect();
    backend.insert((0..1000).map(|n| login(&json!(n), json!({})))).await;
    let changes = ids.iter().enumerate().map(|(n, id)| {
        let mut change = change(id);
        let pair = change.pair.as_mut().unwrap();
        pair.refresh_token = RefreshToken::new("old".into());
        pair.replaces =
            if n % 2 == 0 { Replaces::Token(AccessToken::new("a".into())) } else { Replaces::Any };
        change
    });
    let before = statements().await;
    let applied = backend.store.apply(&changes.collect::<Vec<_>>()).await.unwrap();
    assert!(applied.every_matched);
    assert_eq!(
        statements().await - before,
        2,
        "one for those that demand an access token, one for the others"
    );
    let written = backend.read(&ids[998]).await;
    assert_eq!(written.access_token.unwrap().expose(), "new-access");
}

#[tokio::test]
async fn a_lost_acknowledgement_is_unavailable_and_the_same_call_may_be_repeated() {
    let _mine = mongod::FAIL_POINTS.lock().await;
    let test = "lost_acknowledgement";
    let Some(uri) = mongod::uri_as(test) else { return };
    // The server doesn't know that it is said not to be the primary, so the driver finds out at its next heartbeat only.
    let uri = format!("{uri}&heartbeatFrequencyMS=500");
    let Some(backend) = mongo_at(&uri, test, Mapping::default()).await else { return };
    backend.insert([login(&json!("a"), json!({}))]).await;
    let one = id(&json!("a"));
    let mine = std::slice::from_ref(&one);
    let wrong: [(Document, bool); 4] = [
        (doc! { "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" } }, true),
        (doc! { "closeConnection": true }, false),
        (doc! { "errorCode": 10107 }, false),
        (doc! { "errorCode": 91, "errorLabels": ["RetryableWriteError"] }, false),
    ];
    for (data, happened) in wrong {
        let before = doc! { "$set": { "refresh_token": "old" }, "$unset": { "evergrant": 1 } };
        backend.collection().update_one(doc! {}, before).await.unwrap();
        fail_update(test, data.clone()).await;
        let error = backend.store.claim(&claim(mine, lease("l", 60), 0)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{data}: {error:?}");
        let again = backend.store.claim(&claim(mine, lease("l", 60), 0)).await.unwrap().documents;
        assert_eq!(again.len(), 1, "{data}: ours, whether or not the first one happened");

        fail_update(test, data.clone()).await;
        let error = backend.store.apply(&[change(&one)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{data}: {error:?}");
        // Not through the store: it reads what a majority has, and nobody has waited for that yet.
        let whole = backend.whole(&one).await.unwrap();
        assert_eq!(whole["refresh_token"] == "new", happened, "{data}");
        let again = backend.store.apply(&[change(&one)]).await.unwrap();
        assert_eq!(again.every_matched, !happened, "{data}");
        assert_eq!(refresh_token(&backend, &one).await, "new");
    }
    fail_update(test, doc! { "errorCode": 121 }).await;
    let error = backend.store.apply(&[change(&one)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn a_validator_refuses_one_document_and_blocks_no_other() {
    let Some(backend) = mongo("validator", Mapping::default()).await else { return };
    backend.insert(["a", "b", "c"].map(|name| login(&json!(name), json!({ "s3cret": name })))).await;
    let rule = doc! { "s3cret": { "$ne": "b" } };
    let command = doc! { "collMod": COLLECTION, "validator": rule };
    let database = Client::with_uri_str(mongod::uri().unwrap()).await.unwrap();
    database.database(&backend.collection().namespace().db).run_command(command).await.unwrap();
    let ids: Vec<TokenId> = ["a", "b", "c"].iter().map(|name| id(&json!(name))).collect();
    let claimed = backend.store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
    assert_eq!(claimed.documents.len(), 2, "the document that can't be written is left out");
    assert_eq!(claimed.refused, [(ids[1].clone(), Unwritable::Validator)]);
    let changes: Vec<Change> = ids.iter().map(change).collect();
    let applied = backend.store.apply(&changes).await.unwrap();
    assert!(!applied.every_matched);
    assert_eq!(applied.refused, [(1, Unwritable::Validator)]);
    assert_eq!(refresh_token(&backend, &ids[2]).await, "new");
}

#[tokio::test]
async fn a_token_that_a_collation_takes_for_the_same_is_another_one() {
    let Some(uri) = mongod::uri_as("collation") else { return };
    let name = mongod::database_name("collation");
    let database = Client::with_uri_str(&uri).await.unwrap().database(&name);
    let collation = doc! { "locale": "en", "strength": 2 };
    database.run_command(doc! { "create": COLLECTION, "collation": collation }).await.unwrap();
    let store = connect(&settings(&uri, Some(&name), Mapping::default()), 4).await.unwrap();
    assert_eq!(store.prepare().await.unwrap().index, IndexState::Ready);
    assert_eq!(store.prepare().await.unwrap().index, IndexState::Ready, "and found again");
    let documents = ["A", "b", "C"].map(|id| doc! { "_id": id, "refresh_token": "OLD" });
    database.collection(COLLECTION).insert_many(documents).await.unwrap();
    let applied = store.apply(&[change(&id(&json!("A")))]).await.unwrap();
    assert!(!applied.every_matched);
    let mut query = due_now(1);
    let mut found = Vec::new();
    loop {
        let page = store.due_page(&query).await.unwrap();
        found.extend(page.documents.into_iter().map(|document| document.id));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["A", "b", "C"].map(|text| id(&json!(text))));
}

#[tokio::test]
async fn the_extra_filter_holds_for_every_page() {
    let filter = Mapping {
        filter: Some(r#"{"kind": "oauth", "at": {"$gte": {"$date": "2026-01-01T00:00:00Z"}}}"#.into()),
        ..Mapping::default()
    };
    let Some(backend) = mongo("extra_filter", filter).await else { return };
    backend
        .insert((0..20).map(|n| {
            let kind = if n % 2 == 0 { "oauth" } else { "other" };
            login(&json!(n), json!({ "kind": kind, "at": date(0) }))
        }))
        .await;
    assert_eq!(backend.due(&due_now(3)).await.len(), 10);
    let forced = evergrant::testing::store::DueQuery { force: true, ..due_now(3) };
    assert_eq!(backend.due(&forced).await.len(), 10);
}

#[tokio::test]
async fn a_pass_with_nothing_due_reads_the_index_only() {
    let Some(backend) = mongo("nothing_due", Mapping::default()).await else { return };
    let documents = (0..20_000).map(|n| doc! { "_id": n, "evergrant": { "due_at": Bson::DateTime(bson::DateTime::from_millis(at(n).timestamp_millis() + 1000)) } });
    backend.collection().insert_many(documents).await.unwrap();
    let name = backend.collection().namespace().db;
    let database = Client::with_uri_str(mongod::uri().unwrap()).await.unwrap().database(&name);
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    assert_eq!(backend.due(&due_now(100)).await, []);
    assert_eq!(backend.store.count_due(&due_now(100)).await.unwrap(), 0);
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let profile = database.collection::<Document>("system.profile");
    for asked in
        [doc! { "op": "query", "command.find": COLLECTION }, doc! { "command.aggregate": COLLECTION }]
    {
        let mut looked = 0;
        let mut found = profile.find(asked).await.unwrap();
        while found.advance().await.unwrap() {
            let entry: Document = found.deserialize_current().unwrap();
            assert_eq!(entry.get_i32("docsExamined").unwrap(), 0, "{entry}");
            assert!(entry.get_i32("keysExamined").unwrap() < 10, "{entry}");
            looked += 1;
        }
        assert!(looked > 0);
    }
}

#[tokio::test]
async fn a_collection_that_is_not_there_is_told_and_not_made() {
    let Some(uri) = mongod::uri() else { return };
    let name = mongod::database_name("not_there");
    let store = connect(&settings(uri, Some(&name), Mapping::default()), 4).await.unwrap();
    let readiness = store.prepare().await.unwrap();
    let absent = |others: &[&str]| Existence::Absent {
        collection: COLLECTION.to_owned(),
        database: name.clone(),
        others: others.iter().map(|&other| other.to_owned()).collect(),
    };
    assert_eq!((readiness.existence, readiness.documents), (absent(&[]), 0));
    assert!(store.due_page(&due_now(5)).await.unwrap().documents.is_empty());
    let database = Client::with_uri_str(uri).await.unwrap().database(&name);
    assert!(database.list_collection_names().await.unwrap().is_empty());
    for other in ["users", "token", "sessions"] {
        database.create_collection(other).await.unwrap();
    }
    assert_eq!(store.prepare().await.unwrap().existence, absent(&["token", "users", "sessions"]));
}

#[tokio::test]
async fn an_equivalent_index_under_another_name_will_do() {
    let Some(uri) = mongod::uri() else { return };
    let name = mongod::database_name("other_index");
    let database = Client::with_uri_str(uri).await.unwrap().database(&name);
    let index = doc! { "key": { "evergrant.due_at": 1, "_id": 1 }, "name": "theirs" };
    database.run_command(doc! { "createIndexes": COLLECTION, "indexes": [index] }).await.unwrap();
    let store = connect(&settings(uri, Some(&name), Mapping::default()), 4).await.unwrap();
    let readiness = store.prepare().await.unwrap();
    assert_eq!((readiness.existence, readiness.index), (Existence::There, IndexState::Ready));
    assert!(readiness.server.starts_with("MongoDB "), "{}", readiness.server);
    let names = database.collection::<Document>(COLLECTION).list_index_names().await.unwrap();
    assert_eq!(names, ["_id_", "theirs", "evergrant_claimed", "evergrant_expiry"]);
    database.collection(COLLECTION).insert_one(doc! { "_id": "a" }).await.unwrap();
    assert_eq!(store.due_page(&due_now(5)).await.unwrap().documents.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // Port 9 (discard) has no server on a machine of today.
    let url = "mongodb://user:s3cret@127.0.0.1:9/logins?serverSelectionTimeoutMS=200";
    let store = connect(&settings(url, None, Mapping::default()), 4).await.unwrap();
    assert_eq!(store.describe(), "logins.tokens at 127.0.0.1:9");
    let error = store.prepare().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(!format!("{error:?} {store:?}").contains("s3cret"));
}

async fn as_user(server: &Server, user: &str, password: &str) -> Arc<dyn Store> {
    let url = server.uri.replace("mongodb://", &format!("mongodb://{user}:{password}@"));
    let url = format!("{url}logins?authSource=admin");
    connect(&StoreSettings { ..settings(&url, None, Mapping::default()) }, 4).await.unwrap()
}

#[tokio::test]
async fn a_standalone_server_works_and_each_missing_role_is_named() {
    let Some(server) = Server::start(&["--auth"]) else { return };
    let client = Client::with_uri_str(&server.uri).await.unwrap();
    let create = |user: &str, roles: Vec<Bson>| doc! { "createUser": user, "pwd": "s3cret", "roles": roles };
    let administrator = client.database("admin");
    administrator.run_command(create("root", vec!["root".into()])).await.unwrap();
    let root_uri = server.uri.replace("mongodb://", "mongodb://root:s3cret@");
    let role = doc! {
        "createRole": "narrow", "roles": [],
        "privileges": [{
            "resource": { "db": "logins", "collection": COLLECTION },
            "actions": ["find", "update", "listIndexes", "collStats"],
        }],
    };
    let on = |role: &str, db: &str| Bson::Document(doc! { "role": role, "db": db });
    for command in [
        role,
        create("writer", vec![on("readWrite", "logins")]),
        create("reader", vec![on("read", "logins")]),
        create("narrow", vec![on("narrow", "admin")]),
        create("stranger", vec![on("readWrite", "elsewhere")]),
    ] {
        admin(&root_uri, command).await.unwrap();
    }
    let root = Client::with_uri_str(&root_uri).await.unwrap().database("logins");
    let document = doc! { "_id": "a", "refresh_token": "old", "email": "a@b" };
    root.collection(COLLECTION).insert_one(document).await.unwrap();

    for user in ["reader", "stranger"] {
        let error = as_user(&server, user, "s3cret").await.prepare().await.unwrap_err();
        let StoreError::Denied { hint, .. } = &error else { panic!("{user}: {error:?}") };
        assert!(hint.contains("`readWrite`"), "{user}: {hint}");
        assert!(!format!("{error:?}").contains("s3cret"));
    }
    let reader = as_user(&server, "reader", "s3cret").await;
    let error = reader.apply(&[change(&id(&json!("a")))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }));
    assert!(!format!("{error:?}").contains("old"), "the server's message quotes the command");

    let error = as_user(&server, "writer", "wr0ng").await.prepare().await.unwrap_err();
    let StoreError::Denied { hint, .. } = &error else { panic!("{error:?}") };
    assert!(hint.contains("password"));
    assert!(!format!("{error:?}").contains("wr0ng"));

    let narrow = as_user(&server, "narrow", "s3cret").await;
    let readiness = narrow.prepare().await.unwrap();
    let IndexState::Missing { reason, command } = readiness.index else { panic!("{:?}", readiness.index) };
    assert_eq!(reason, "Unauthorized (13)");
    let expected = "db.getSiblingDB(\"logins\").getCollection(\"tokens\")\
        .createIndex({\"evergrant.due_at\":1,\"_id\":1}, { name: \"evergrant_due\" })";
    assert_eq!(command, expected);
    assert_eq!(narrow.due_page(&due_now(5)).await.unwrap().documents.len(), 1, "passes work, with scans");

    let writer = as_user(&server, "writer", "s3cret").await;
    let readiness = writer.prepare().await.unwrap();
    assert!(readiness.server.ends_with("(standalone)"), "{}", readiness.server);
    assert_eq!(
        (readiness.existence, readiness.documents, readiness.index),
        (Existence::There, 1, IndexState::Ready)
    );
    let ids = [id(&json!("a"))];
    assert_eq!(writer.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap().documents.len(), 1);
    assert_eq!(writer.renew(&ids, &lease("l", 90)).await.unwrap(), ids);
    assert!(writer.apply(&[change(&ids[0])]).await.unwrap().every_matched);
}

#[tokio::test]
async fn a_claim_that_can_not_be_read_back_yet_is_made_again() {
    let _mine = mongod::FAIL_POINTS.lock().await;
    let test = "claim_read_back";
    let Some(uri) = mongod::uri_as(test) else { return };
    let Some(backend) = mongo_at(&uri, test, Mapping::default()).await else { return };
    backend.insert(["a", "b", "c"].map(|id| login(&json!(id), json!({})))).await;
    let ids = ["a", "b", "c"].map(|name| id(&json!(name)));
    let late =
        doc! { "failCommands": ["find"], "appName": test, "blockConnection": true, "blockTimeMS": 1500 };
    let late = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": late };
    admin(mongod::uri().unwrap(), late).await.unwrap();
    // A primary that was elected between the claim and the reading shows the documents as they were before.
    let as_before = async {
        let (claimed, before) = (doc! { "evergrant.lease.id": "l" }, doc! { "$unset": { "evergrant": 1 } });
        while backend.collection().update_many(claimed.clone(), before.clone()).await.unwrap().matched_count
            == 0
        {}
    };
    let terms = claim(&ids, lease("l", 60), 0);
    let (claimed, ()) = tokio::join!(backend.store.claim(&terms), as_before);
    assert_eq!(claimed.unwrap().documents.len(), 3, "nobody stays claimed without anybody who knows of it");
}
