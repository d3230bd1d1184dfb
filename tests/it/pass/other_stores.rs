//! The store that a journal's rows belong to: found again wherever it went, and never taken for a copy.

use crate::store::backend::{COLLECTION, mongo, mongo_at, settings};
use crate::support::meddler::Mishap;
use crate::support::mongod::{self, Server};
use crate::support::rehearsal::{Plan, Rehearsal, run};
use crate::support::replica_set::ReplicaSet;
use bson::{Bson, Document, doc};
use evergrant::testing::engine::Engine;
use evergrant::testing::failure::told;
use evergrant::testing::pass::{PassError, PassRequest, Stop};
use evergrant::testing::report::{Outcome, Reports};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::{Relation, StoreSettings, connect};
use futures::TryStreamExt as _;
use mongodb::{Client, Collection};
use std::sync::Arc;

const USERS: usize = 4;

/// Pairs that were received and are in the journal, because the store refused them.
async fn with_held_pairs(test: &str) -> Option<Rehearsal> {
    let rehearsal = Rehearsal::over(mongo(test, Mapping::default()).await?, &Plan::users(USERS)).await;
    hold(&rehearsal).await;
    Some(rehearsal)
}

async fn hold(rehearsal: &Rehearsal) {
    rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
    assert!(rehearsal.run().await.count(Outcome::Held) > 0);
    rehearsal.meddler.leave();
}

async fn pass_over(rehearsal: &Rehearsal, settings: &StoreSettings) -> Engine {
    rehearsal.process(connect(settings, 4).await.unwrap(), rehearsal.state()).await
}

/// The refusal of a pass; the question before it gets the same answer.
async fn refusal(pass: Engine) -> (Relation, String) {
    let report = Arc::new(Reports::new());
    let refused = pass.run(&PassRequest::default(), &Stop::default(), report).await.unwrap_err();
    let asked = pass.base.ready(&Stop::default(), false).await.unwrap_err();
    pass.close().await;
    let PassError::OtherStore { other, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(told(&asked), told(&refused));
    assert!(other.answers > 0 && other.open >= other.answers, "{other:?}");
    (other.relation, told(&refused))
}

/// Makes a collection with this UUID, as `mongorestore --preserveUUID` and a copy of the disk do.
async fn copy(original: &Collection<Document>, uri: &str, uuid: Option<Bson>) -> Collection<Document> {
    let namespace = original.namespace();
    let client = Client::with_uri_str(uri).await.unwrap();
    if let Some(uuid) = uuid {
        let create = doc! { "create": &namespace.coll };
        let operation = doc! { "op": "c", "ns": format!("{}.$cmd", namespace.db), "ui": uuid, "o": create };
        client.database("admin").run_command(doc! { "applyOps": [operation] }).await.unwrap();
    }
    let copy = client.database(&namespace.db).collection(&namespace.coll);
    let all: Vec<Document> = original.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    copy.insert_many(all).await.unwrap();
    copy
}

async fn uuid(collection: &Collection<Document>) -> Bson {
    let database = collection.client().database(&collection.namespace().db);
    let command = doc! { "listCollections": 1, "filter": { "name": collection.name() } };
    let reply = database.run_command(command).await.unwrap();
    let first = &reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0];
    first.as_document().unwrap().get_document("info").unwrap().get("uuid").unwrap().clone()
}

async fn tokens(collection: &Collection<Document>) -> Vec<String> {
    let all: Vec<Document> =
        collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap().try_collect().await.unwrap();
    all.iter().map(|one| one.get_str("refresh_token").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_clone_under_the_same_names_gets_none_of_the_pairs() {
    let Some(rehearsal) = with_held_pairs("clone").await else { return };
    let collection = rehearsal.backend.collection();
    let uuid = uuid(collection).await;
    for (preserved, relation) in [(Some(uuid), Relation::Copy), (None, Relation::Other)] {
        let Some(server) = Server::start(&["--replSet", "rs"]) else { return };
        let clone = copy(collection, &server.uri, preserved).await;
        let before = tokens(&clone).await;
        let at_clone = settings(&server.uri, Some(&clone.namespace().db), Mapping::default());
        let (said, text) = refusal(pass_over(&rehearsal, &at_clone).await).await;
        assert_eq!(said, relation, "{text}");
        assert!(text.contains("4 open entries, 4 of them with a received answer"), "{text}");
        assert!(text.contains("`evergrant journal adopt`"), "{text}");
        assert_eq!(tokens(&clone).await, before, "{relation:?}");
    }
    rehearsal.run().await;
    rehearsal.assert_kept(USERS).await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
}

#[tokio::test]
async fn a_collection_made_again_under_its_name_is_refused_until_a_person_adopts_it() {
    let Some(rehearsal) = with_held_pairs("made_again").await else { return };
    let collection = rehearsal.backend.collection();
    let all: Vec<Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    collection.drop().await.unwrap();
    collection.insert_many(all).await.unwrap();
    let (relation, text) = refusal(pass_over(&rehearsal, rehearsal.backend.settings()).await).await;
    assert_eq!(relation, Relation::Replaced, "{text}");

    let pass = pass_over(&rehearsal, rehearsal.backend.settings()).await;
    let adopted = pass.base.adopt_store().await.unwrap();
    assert_eq!((adopted.open, adopted.answers, adopted.parked), (USERS as u64, USERS as u64, 0));
    let summary = run(&pass, &PassRequest::default(), &Stop::default()).await;
    pass.close().await;
    assert_eq!(summary.recovery.written, USERS as u64, "{summary}");
    rehearsal.assert_kept(USERS).await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
}

#[tokio::test]
async fn a_renamed_collection_is_the_same_store() {
    let Some(rehearsal) = with_held_pairs("renamed_collection").await else { return };
    let collection = rehearsal.backend.collection();
    let name = &collection.namespace().db;
    let (from, to) = (format!("{name}.{COLLECTION}"), format!("{name}.logins"));
    let rename = doc! { "renameCollection": &from, "to": &to };
    mongod::admin(mongod::uri().unwrap(), rename).await.unwrap();
    let renamed = StoreSettings { collection: "logins".into(), ..rehearsal.backend.settings().clone() };
    let pass = pass_over(&rehearsal, &renamed).await;
    let summary = run(&pass, &PassRequest::default(), &Stop::default()).await;
    pass.close().await;
    assert_eq!(summary.recovery.written, USERS as u64, "{summary}");
    let back = doc! { "renameCollection": &to, "to": &from };
    mongod::admin(mongod::uri().unwrap(), back).await.unwrap();
    rehearsal.assert_kept(USERS).await;
}

#[tokio::test]
async fn a_set_that_failed_over_and_lost_a_member_is_the_same_store() {
    let Some(mut set) = ReplicaSet::start().await else { return };
    let test = "lost_a_member";
    let Some(backend) = mongo_at_set(&set, test).await else { return };
    let rehearsal = Rehearsal::over(backend, &Plan::users(USERS)).await;
    hold(&rehearsal).await;
    let dead = set.kill_primary().await;
    let primary = set.primary().await;
    remove_member(&set, primary, dead).await;
    let pass = rehearsal.another_process(rehearsal.state()).await;
    let summary = run(&pass, &PassRequest::default(), &Stop::default()).await;
    pass.close().await;
    assert_eq!(summary.recovery.written, USERS as u64, "{summary}");
    rehearsal.assert_kept(USERS).await;
}

async fn mongo_at_set(set: &ReplicaSet, test: &str) -> Option<crate::store::backend::Backend> {
    mongod::uri()?;
    let uri = set.uri_as(test);
    Some(crate::store::backend::mongo_beside(&uri, &uri, test, Mapping::default()).await)
}

/// Takes a member that has ended out of the set.
async fn remove_member(set: &ReplicaSet, primary: usize, dead: usize) {
    let admin = set.client_of(primary).database("admin");
    let reply = admin.run_command(doc! { "replSetGetConfig": 1 }).await.unwrap();
    let mut config = reply.get_document("config").unwrap().clone();
    let mut members = config.get_array("members").unwrap().clone();
    members.remove(dead);
    config.insert("members", members);
    config.insert("version", config.get_i32("version").unwrap() + 1);
    admin.run_command(doc! { "replSetReconfig": config }).await.unwrap();
}

#[tokio::test]
async fn parked_pairs_refuse_no_other_store_and_are_written_into_none() {
    let Some(uri) = mongod::uri_as("parked_elsewhere") else { return };
    let Some(backend) = mongo_at(&uri, "parked_elsewhere", Mapping::default()).await else { return };
    let rehearsal = Rehearsal::over(backend, &Plan::users(USERS)).await;
    hold(&rehearsal).await;
    let collection = rehearsal.backend.collection();
    let mut old: Vec<Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    for document in &mut old {
        document.remove("evergrant");
    }
    // The documents are gone: their pairs are parked.
    collection.delete_many(doc! {}).await.unwrap();
    assert_eq!(rehearsal.run().await.orphans, USERS as u64);
    // Another collection takes the place, with the documents in it and a new login for each.
    collection.drop().await.unwrap();
    collection.insert_many(old).await.unwrap();
    for position in 0..USERS {
        let login = rehearsal.sandbox.login(&rehearsal.users[position].user).unwrap();
        rehearsal.write_login(position, &login).await;
    }
    let summary = rehearsal.run().await;
    assert_eq!((summary.count(Outcome::Refreshed), summary.orphans), (USERS as u64, 0), "{summary}");
    assert_eq!(summary.parked.orphans, USERS as u64, "they are still told: {summary}");
    assert!(rehearsal.entries().await.is_empty(), "and none of this store's recovery");
    rehearsal.assert_whole().await;
}

#[tokio::test]
async fn pairs_are_written_where_another_place_of_the_bookkeeping_or_another_filter_hides_their_documents() {
    for (test, bookkeeping, filter) in [
        ("other_bookkeeping", "books", None),
        ("other_filter", "evergrant", Some(r#"{ "email": "none@example.com" }"#)),
    ] {
        let Some(rehearsal) = with_held_pairs(test).await else { return };
        let mapping = Mapping {
            bookkeeping: bookkeeping.parse().unwrap(),
            filter: filter.map(str::to_owned),
            ..Mapping::default()
        };
        let changed = StoreSettings { mapping, ..rehearsal.backend.settings().clone() };
        let pass = pass_over(&rehearsal, &changed).await;
        let summary = run(&pass, &PassRequest::default(), &Stop::default()).await;
        pass.close().await;
        assert_eq!(summary.recovery.written, USERS as u64, "{test}: {summary}");
        assert_eq!(summary.orphans, 0, "{test}: {summary}");
        rehearsal.assert_kept(USERS).await;
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.reuses, ledger.dead_users), (0, 0), "{test}: {ledger:?}");
    }
}
