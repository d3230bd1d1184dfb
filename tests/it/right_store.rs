//! Is it the store that was meant? The commands as a person meets them, over a wrong name, a moved file, another store.

use crate::support::process::{Ended, Kind, ONCE, Scene, command};
use evergrant::sandbox::{Sandbox, SandboxConfig};
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::{Intent, Journal, Permission};
use evergrant::testing::store::Store;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::store::sqlite::SqliteStore;
use futures::TryStreamExt as _;
use serde_json::json;
use std::path::Path;

fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

/// A grant of a process that was killed: it was sent, or it was not.
async fn leave_a_row(state: &Path, store: &dyn Store) {
    let document = store.list(None, 1).await.unwrap().documents.remove(0);
    let journal = Journal::open(state, &Clock::system()).unwrap();
    let (here, now) = (store.identity().await.unwrap(), Clock::system().now());
    journal.begin_pass("doomed", &here, "generic".into(), now).await.unwrap();
    let token = document.refresh_token.unwrap();
    let intent = Intent {
        provider: "generic".into(),
        document: document.id,
        subject: document.subject,
        fingerprint: token.fingerprint(),
        sent_at: Clock::system().now(),
        access: None,
        is_refreshed_elsewhere: false,
    };
    assert!(matches!(journal.intent(intent, token).await.unwrap(), Permission::Send { .. }));
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_is_not_there_ends_with_2_and_names_those_that_are() {
    let Some(mut scene) = Scene::new("wrong_name", Kind::Mongo, users(2)).await else { return };
    let database = scene.collection().await.namespace().db;
    scene.set("store.collection", "token");
    let expected = format!(
        "`{database}.token` doesn't exist; the database `{database}` has: tokens\nhint: set `store.collection`, or, \
         if the collection is made later, use `--allow-empty` with `run` or `check`"
    );
    for arguments in [
        &["run"][..],
        &ONCE,
        &["journal", "recover"],
        &["tokens", "list"],
        &["tokens", "show", "a@example.com"],
    ] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(&expected), "{arguments:?}: {ended:?}");
    }
    let check = scene.run(&["check", "--format", "json"]).await;
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stdout.contains("doesn't exist; the database"), "{check:?}");
    for arguments in [&["run", "--once", "--allow-empty"][..], &["check", "--allow-empty"]] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    }
    let here = scene.collection().await;
    let names = here.client().database(&database).list_collection_names().await.unwrap();
    assert_eq!(names, ["tokens"], "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_file_that_is_not_there_ends_with_2_and_says_what_makes_it() {
    let mut scene = Scene::new("no_file", Kind::Sqlite, users(1)).await.unwrap();
    let other = scene.folder.path().join("other.db");
    scene.set("store.url", &format!("sqlite:{}", other.display()));
    for arguments in [&["run"][..], &ONCE, &["journal", "recover"], &["check"]] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(format!("{ended:?}").contains("`evergrant tokens import FILE` makes"), "{ended:?}");
        assert!(!other.exists(), "{arguments:?}");
    }
    assert_eq!(scene.run(&["check", "--allow-empty"]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_rows_of_another_store_end_every_command_with_2_until_it_is_adopted() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(mut scene) = Scene::new("adopt", kind, users(3)).await else { continue };
        leave_a_row(&scene.state_folder(), &*scene.store).await;
        match kind {
            Kind::Mongo => {
                let old = scene.collection().await;
                let copy = bson::doc! { "$out": "logins" };
                old.aggregate([copy]).await.unwrap();
                scene.set("store.collection", "logins");
            }
            Kind::Sqlite => {
                let [from, to] = ["tokens.db", "copy.db"].map(|name| scene.folder.path().join(name));
                let store = SqliteStore::open(&to, Mapping::default()).await.unwrap();
                let from = SqliteStore::open(&from, Mapping::default()).await.unwrap();
                store.import(from.export(None, 10).await.unwrap().documents).await.unwrap();
                scene.set("store.url", &format!("sqlite:{}", to.display()));
            }
        }
        for arguments in [&["run"][..], &ONCE, &["journal", "recover"], &["check"]] {
            let ended = scene.run(arguments).await;
            assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains("holds 1 open entry, 0 of them with a received answer"), "{ended:?}");
            assert!(said.contains("`evergrant journal adopt`"), "{ended:?}");
        }
        let unsure = scene.run(&["journal", "adopt"]).await;
        assert_eq!(unsure.code, Some(2), "{unsure:?}");
        assert!(unsure.stderr.contains("confirm with `--yes`"), "{unsure:?}");
        assert_eq!((scene.run(&ONCE).await.code, scene.sandbox.ledger().requests), (Some(2), 0));
        let adopted = scene.run(&["journal", "adopt", "--yes", "--format", "json"]).await;
        assert_eq!((adopted.code, &adopted.json()["open"]), (Some(0), &json!(1)), "{adopted:?}");
        let again = scene.run(&["journal", "adopt"]).await;
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(again.stdout.contains("nothing to adopt"), "{again:?}");
        assert_eq!(scene.run(&ONCE).await.code, Some(0));
        assert_eq!(scene.sandbox.ledger().granted, 3);
        assert_eq!(scene.run(&["check"]).await.code, Some(0));
    }
}

/// A backup is restored under the same name: its documents hold the tokens that were redeemed since.
#[tokio::test(flavor = "multi_thread")]
async fn pairs_kept_for_a_store_that_was_replaced_go_back_into_it_once_a_person_adopts_it() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(scene) = Scene::new("replaced", kind, users(3)).await else { continue };
        let path = scene.folder.path().join("tokens.db");
        let replaced = match kind {
            Kind::Mongo => {
                let collection = scene.collection().await;
                let before: Vec<bson::Document> =
                    collection.find(bson::doc! {}).await.unwrap().try_collect().await.unwrap();
                assert_eq!(scene.run(&ONCE).await.code, Some(0));
                collection.drop().await.unwrap();
                collection.insert_many(before).await.unwrap();
                "dropped and made again, or restored"
            }
            Kind::Sqlite => {
                let store = SqliteStore::open(&path, Mapping::default()).await.unwrap();
                let before = store.export(None, 10).await.unwrap().documents;
                assert_eq!(scene.run(&ONCE).await.code, Some(0));
                drop(store);
                std::fs::rename(&path, scene.folder.path().join("away.db")).unwrap();
                for ending in ["-wal", "-shm"] {
                    let _ = std::fs::remove_file(scene.folder.path().join(format!("tokens.db{ending}")));
                }
                let store = SqliteStore::open(&path, Mapping::default()).await.unwrap();
                store.import(before).await.unwrap();
                "another file now: it was replaced, or restored"
            }
        };
        for arguments in [&["run"][..], &ONCE, &["journal", "recover"], &["check"]] {
            let ended = scene.run(arguments).await;
            assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            for part in ["0 open entries", "and 3 kept pairs", replaced, "`evergrant journal adopt`"] {
                assert!(said.contains(part), "{part}: {ended:?}");
            }
        }
        let asked = scene.run(&["journal", "adopt"]).await;
        assert!(asked.stderr.contains("3  kept pairs: one goes into"), "{asked:?}");
        let adopted = scene.run(&["journal", "adopt", "--yes", "--format", "json"]).await;
        assert_eq!((adopted.code, &adopted.json()["kept"]), (Some(0), &json!(3)), "{adopted:?}");
        let ended = scene.run(&ONCE).await;
        assert_eq!((ended.code, &ended.json()["outcomes"]["restored"]), (Some(0), &json!(3)), "{ended:?}");
        let ledger = scene.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.granted, ledger.reuses), (3, 3, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_is_moved_with_its_store_goes_on() {
    let sandbox = Sandbox::start(users(3), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = |state: &Path| {
        let token_url = sandbox.token_url();
        [
            ("provider", "generic"),
            ("token_url", token_url.as_str()),
            ("client_id", "sandbox-client"),
            ("client_secret", "sandbox-secret"),
            ("state_dir", state.to_str().unwrap()),
            ("store.url", &format!("sqlite:{}", state.join("tokens.db").display())),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    let run = async |state: &Path, arguments: &[&str]| {
        Ended::of(command(folder.path(), &settings(state), arguments).spawn().unwrap()).await
    };
    let [before, after] = ["before", "after"].map(|name| folder.path().join(name));
    let documents = sandbox.users().into_iter().map(|user| {
        let document = json!({ "_id": user.email, "email": user.email, "refresh_token": user.refresh_token });
        format!("{document}\n")
    });
    std::fs::write(folder.path().join("users.json"), documents.collect::<String>()).unwrap();
    assert_eq!(run(&before, &["tokens", "import", "users.json"]).await.code, Some(0));
    {
        let store = SqliteStore::open(&before.join("tokens.db"), Mapping::default()).await.unwrap();
        leave_a_row(&before, &store).await;
    }
    std::fs::rename(&before, &after).unwrap();
    assert_eq!(run(&after, &["check"]).await.code, Some(0));
    let ended = run(&after, &ONCE).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["recovery"]["unsettled"], 1, "{ended:?}");
    assert_eq!((sandbox.ledger().granted, sandbox.ledger().reuses), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_what_the_validator_would_refuse_and_a_pass_says_it_once() {
    let Some(mut scene) = Scene::new("validator", Kind::Mongo, users(30)).await else { return };
    let collection = scene.collection().await;
    let database = collection.client().database(&collection.namespace().db);
    let set = async |rule: bson::Document, level: &str| {
        let command = bson::doc! { "collMod": "tokens", "validator": rule, "validationLevel": level };
        database.run_command(command).await.unwrap();
    };
    let names = ["_id", "userId", "email", "access_token", "refresh_token"];
    let known: bson::Document = names.iter().map(|&name| (name.to_owned(), bson::doc! {}.into())).collect();
    let closed = bson::doc! { "$jsonSchema": { "additionalProperties": false, "properties": known } };
    let before = collection.find_one(bson::doc! {}).await.unwrap();

    set(closed.clone(), "strict").await;
    let check = scene.run(&["check"]).await;
    assert_eq!(check.code, Some(2), "{check:?}");
    for said in [
        "validator refuses `evergrant`",
        "refused in 30",
        "hint: allow that field, or set `documents.bookkeeping`",
    ] {
        assert!(check.stdout.contains(said), "{said}: {}", check.stdout);
    }
    assert_eq!(collection.find_one(bson::doc! {}).await.unwrap(), before, "nothing is written");
    let ended = scene.run(&["run", "--once"]).await;
    assert_eq!((ended.code, scene.sandbox.ledger().requests), (Some(2), 0), "{ended:?}");
    assert!(ended.stderr.contains("nothing can be written into 30 documents"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("DocumentValidationFailure").count(), 1, "{}", ended.stderr);

    set(bson::doc! { "kind": "oauth" }, "moderate").await;
    assert_eq!(scene.run(&["check"]).await.code, Some(0), "documents that break the rule already are spared");
    set(bson::doc! { "kind": "oauth" }, "strict").await;
    let check = scene.run(&["check"]).await;
    assert!(check.stdout.contains("refuses the documents as they are"), "{}", check.stdout);

    let whole = bson::doc! { "$jsonSchema": { "properties": { "ends": { "bsonType": "int" } } } };
    set(whole, "strict").await;
    assert_eq!(scene.run(&["check"]).await.code, Some(0));
    scene.set("documents.access_expires_at", "ends");
    scene.set("documents.expires_format", "unix_seconds");
    let check = scene.run(&["check"]).await;
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stdout.contains("refuses `ends` as we write it"), "{}", check.stdout);
}

/// Each pair is written without them, and a person is told once.
#[tokio::test(flavor = "multi_thread")]
async fn further_fields_that_a_validator_refuses_hold_back_no_pair_and_are_named_once() {
    let Some(mut scene) = Scene::new("further", Kind::Mongo, users(30)).await else { return };
    let collection = scene.collection().await;
    let database = collection.client().database(&collection.namespace().db);
    let rule = bson::doc! { "$jsonSchema": { "properties": { "kind": { "bsonType": "int" } } } };
    database.run_command(bson::doc! { "collMod": "tokens", "validator": rule }).await.unwrap();
    scene.set("documents.also", "kind=/token_type");
    let check = scene.run(&["check"]).await;
    let told = "validator refuses a text in `kind` (`documents.also`), so new pairs are written without it";
    assert_eq!((check.code, check.stdout.contains(told)), (Some(0), true), "{check:?}");
    let ended = scene.run(&["run", "--once"]).await;
    assert_eq!((ended.code, scene.sandbox.ledger().requests), (Some(0), 30), "{ended:?}");
    let audit = scene.audit().await;
    assert_eq!((audit.kept, audit.is_clean()), (30, true), "{audit:?}");
    assert_eq!(collection.count_documents(bson::doc! { "kind": { "$exists": true } }).await.unwrap(), 0);
    assert_eq!(ended.stderr.matches("`documents.also`").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("(`kind`)"), "{}", ended.stderr);
    assert!(Journal::peek(&scene.state_folder()).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_said_where_it_is_made_and_only_there() {
    let Some(scene) = Scene::new("index_said", Kind::Mongo, users(1)).await else { return };
    let said = async || scene.run(&["check"]).await.stderr.contains("made the index `evergrant_due` on");
    assert!(said().await);
    assert!(!said().await);
}
