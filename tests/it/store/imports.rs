//! Documents in and out of the embedded store.

use super::backend::{at, claim, date, id, lease, login};
use evergrant::testing::store::{
    Store, StoreError, connect, import::read_documents, mapping::Mapping, sqlite::SqliteStore,
};
use serde_json::{Map, Value, json};
use std::path::Path;

async fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("deep/er/tokens.db"), Mapping::default()).await.unwrap()
}

fn documents(text: &str) -> Vec<Map<String, Value>> {
    read_documents(text.as_bytes(), None).map(|read| read.unwrap().1).collect()
}

#[tokio::test]
async fn what_was_imported_is_exported_field_by_field() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let line = r#"{"z":1,"_id":{"$oid":"507f1f77bcf86cd799439011"},"refresh_token":"r","at":{"$date":"2026-01-01T00:00:00Z"},"a":[{"y":1,"b":1.0}],"evergrant":{"due_at":{"$date":"2026-01-01T00:00:00Z"}}}"#;
    let summary = store.import(documents(line)).await.unwrap();
    assert_eq!((summary.inserted, summary.replaced, summary.generated_ids), (1, 0, 0));
    let page = store.export(None, 10).await.unwrap();
    assert_eq!(page.next, None);
    assert_eq!(Value::Object(page.documents[0].clone()).to_string(), line);
}

#[tokio::test]
async fn importing_again_replaces_fields_and_keeps_bookkeeping() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let one = id(&json!("a"));
    store.import(documents(r#"{"_id":"a","refresh_token":"one","more":1}"#)).await.unwrap();
    store.claim(&claim(std::slice::from_ref(&one), lease("l", 60), 0)).await.unwrap();
    let summary = store.import(documents(r#"{"_id":"a","refresh_token":"two"}"#)).await.unwrap();
    assert_eq!((summary.inserted, summary.replaced), (0, 1));
    let read = store.read(std::slice::from_ref(&one)).await.unwrap().pop().unwrap();
    assert_eq!(read.refresh_token.unwrap().expose(), "two");
    assert_eq!(read.bookkeeping.lease, Some(lease("l", 60)));
    let own = json!({ "_id": "a", "refresh_token": "two", "evergrant": { "due_at": date(5) } });
    store.import(documents(&own.to_string())).await.unwrap();
    let read = store.read(&[one]).await.unwrap().pop().unwrap();
    assert_eq!((read.bookkeeping.due_at, read.bookkeeping.lease), (Some(at(5)), None));
    assert_eq!(store.export(None, 10).await.unwrap().documents[0].get("more"), None);
}

/// What is in the way of the bookkeeping goes with the next import, as the hint says.
#[tokio::test]
async fn an_import_removes_what_is_in_the_way_of_the_bookkeeping() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let ids = [id(&json!("a"))];
    for (text, claimed) in [
        (r#"{"_id":"a","refresh_token":"one","evergrant":"text"}"#, 0),
        (r#"{"_id":"a","refresh_token":"two"}"#, 1),
    ] {
        store.import(documents(text)).await.unwrap();
        let found = store.claim(&claim(&ids, lease("l", 60), 0)).await.unwrap();
        assert_eq!((found.documents.len(), found.refused.len()), (claimed, 1 - claimed), "{text}");
    }
    store.import(documents(r#"{"_id":"b","refresh_token":"one","evergrant":null}"#)).await.unwrap();
    assert_eq!(store.claim(&claim(&[id(&json!("b"))], lease("l", 60), 0)).await.unwrap().documents.len(), 1);
}

#[tokio::test]
async fn a_document_without_an_id_is_given_one_and_pages_have_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let batch = (0..25).map(|n| Map::from_iter([("refresh_token".to_owned(), json!(format!("r{n}")))]));
    let summary = store.import(batch.collect()).await.unwrap();
    assert_eq!((summary.inserted, summary.generated_ids), (25, 25));
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let page = store.export(after.as_ref(), 10).await.unwrap();
        all.extend(page.documents.into_iter().map(|document| document["refresh_token"].to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 25);
}

#[tokio::test]
async fn a_batch_is_imported_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let mut batch = documents(r#"{"_id":"a"}"#);
    batch.push(Map::from_iter([("_id".to_owned(), json!({ "$oid": "s3cret" }))]));
    let error = store.import(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Settings(_)));
    assert!(!error.to_string().contains("s3cret"));
    assert_eq!(store.prepare().await.unwrap().documents, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_folders_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    store.import(vec![login_map()]).await.unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    for (path, expected) in [
        ("deep", 0o700),
        ("deep/er", 0o700),
        ("deep/er/tokens.db", 0o600),
        ("deep/er/tokens.db-wal", 0o600),
        ("deep/er/tokens.db-shm", 0o600),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
}

fn login_map() -> Map<String, Value> {
    login(&json!("a"), json!({})).as_object().unwrap().clone()
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are notes and no database, and they are long enough to have a header")
        .unwrap();
    let error = SqliteStore::open(&path, Mapping::default()).await.unwrap_err();
    let StoreError::Denied { hint, .. } = error else { panic!("{error:?}") };
    assert!(hint.contains("SQLite"));
}

#[tokio::test]
async fn settings_that_describe_no_store_are_named() {
    let with = |url: &str, mapping: Mapping| super::backend::settings(url, None, mapping);
    let filter = Mapping { filter: Some("{}".into()), ..Mapping::default() };
    let overlap = Mapping { refresh_token: "evergrant.token".parse().unwrap(), ..Mapping::default() };
    let broken = Mapping { filter: Some("{".into()), ..Mapping::default() };
    for (settings, expected) in [
        (with("postgres://u:s3cret@db", Mapping::default()), "store.url"),
        (with("sqlite:", Mapping::default()), "sqlite:PATH"),
        (with("sqlite:x.db", filter), "documents.filter"),
        (with("sqlite:x.db", overlap), "refresh_token"),
        (with("mongodb://u:s3cret@db", Mapping::default()), "EVERGRANT_STORE_DATABASE"),
        (with("mongodb://u:s3cret@db/x", broken), "documents.filter"),
        (with("mongodb://u:s3/cret@db/x", Mapping::default()), "percent-encoded"),
        (with("mongodb://u:s3cret@db:port/x", Mapping::default()), "percent-encoded"),
    ] {
        let error = connect(&settings, 4).await.unwrap_err();
        assert!(matches!(error, StoreError::Settings(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?} {settings:?}").contains("s3"), "{error}");
    }
    assert!(!Path::new("x.db").exists());
}
