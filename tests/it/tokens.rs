//! `evergrant tokens list` and `tokens show`, and what `check` says of the documents: why a user isn't refreshed.

use crate::support::process::{Ended, Kind, ONCE, Scene};
use evergrant::sandbox::{FaultScript, SandboxConfig};
use serde_json::{Value, json};

const JSON: [&str; 2] = ["--format", "json"];

async fn scenes(name: &str, config: &SandboxConfig) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for kind in [Kind::Sqlite, Kind::Mongo] {
        scenes.extend(Scene::new(name, kind, config.clone()).await);
    }
    scenes
}

fn users(users: usize, dead_users: usize) -> SandboxConfig {
    SandboxConfig { users, dead_users, ..SandboxConfig::default() }
}

async fn show(scene: &Scene, user: &str) -> Ended {
    scene.run(&[&["tokens", "show", user][..], &JSON].concat()).await
}

fn only(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown = ended.json();
    let documents = shown["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 1, "{ended:?}");
    documents[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_shown_with_why_and_what_to_do_in_each_state() {
    for scene in scenes("show", &users(5, 1)).await {
        let new = only(&show(&scene, "user-000000@example.com").await);
        assert_eq!((&new["state"], &new["due_at"]), (&json!("new"), &Value::Null));
        assert!(new["why"].as_str().unwrap().contains("never asked"), "{new}");
        scene.run(&ONCE).await;
        let live = only(&show(&scene, "user-000000@example.com").await);
        assert_eq!(
            (&live["state"], &live["new_login"], &live["failures"]),
            (&json!("live"), &json!(false), &json!(0))
        );
        assert!(live["refreshed_at"].is_string() && live["next_wake"].is_string(), "{live}");
        // A dead login may need a second pass before it is marked.
        scene.run(&["run", "--once", "--force"]).await;
        scene.run(&["run", "--once", "--force"]).await;
        let dead = only(&show(&scene, "user-000004@example.com").await);
        assert_eq!(
            (&dead["state"], &dead["last_error"]["code"]),
            (&json!("needs_login"), &json!("invalid_grant"))
        );
        assert!(dead["next"].as_str().unwrap().contains("must log in again"), "{dead}");
        assert_eq!(dead["next_wake"], Value::Null, "no pass asks for it");
        let by_id = only(&show(&scene, &format!("{:024x}", 4)).await);
        assert_eq!(by_id["subject"], "user-000004@example.com");
        let text = scene.run(&["tokens", "show", "user-000004@example.com"]).await;
        for part in
            ["invalid_grant (refused, HTTP 400)", "no pass asks for it", "next         The user must log in"]
        {
            assert!(text.stdout.contains(part), "{part}: {text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_in_place_of_a_dead_one_is_told() {
    let Some(scene) = Scene::new("new_login", Kind::Mongo, users(2, 1)).await else { return };
    for _ in 0..2 {
        scene.run(&["run", "--once", "--force"]).await;
    }
    let user = "user-000001@example.com";
    assert_eq!(only(&show(&scene, user).await)["state"], "needs_login");
    let new = scene.sandbox.login(user).unwrap().refresh_token;
    let collection = scene.collection().await;
    let set = bson::doc! { "$set": { "refresh_token": new } };
    collection.update_one(bson::doc! { "email": user }, set).await.unwrap();
    let shown = only(&show(&scene, user).await);
    assert_eq!((&shown["state"], &shown["new_login"]), (&json!("live"), &json!(true)));
    assert_eq!(shown["earlier_mark"], "needs_login");
    assert_eq!((&shown["failures"], &shown["last_error"]), (&json!(0), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeemed_token_that_is_there_again_is_no_new_login_and_the_journal_with_its_pair_is_named() {
    let Some(scene) = Scene::new("show_spent", Kind::Mongo, users(1, 0)).await else { return };
    let collection = scene.collection().await;
    let before = collection.find_one(bson::doc! {}).await.unwrap().unwrap();
    assert_eq!(scene.run(&ONCE).await.code, Some(0));
    let after = collection.find_one(bson::doc! {}).await.unwrap().unwrap();
    let stale = bson::doc! { "$set": { "refresh_token": before.get_str("refresh_token").unwrap() } };
    collection.update_one(bson::doc! {}, stale).await.unwrap();
    let shown = only(&show(&scene, "user-000000@example.com").await);
    let journal = after.get_document("evergrant").unwrap().get_str("refreshed_by").unwrap();
    assert_eq!((&shown["new_login"], &shown["spent_by"]), (&json!(false), &json!(journal)));
    for (field, part) in [("why", "a token again that was redeemed"), ("next", journal)] {
        assert!(shown[field].as_str().unwrap().contains(part), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_documents_of_a_subject_are_shown_and_an_unknown_one_is_a_usage_error() {
    let Some(scene) = Scene::new("show_many", Kind::Mongo, users(3, 0)).await else { return };
    let collection = scene.collection().await;
    collection
        .update_many(bson::doc! {}, bson::doc! { "$set": { "email": "all@example.com" } })
        .await
        .unwrap();
    let shown = show(&scene, "all@example.com").await;
    assert_eq!(shown.json()["documents"].as_array().unwrap().len(), 3, "{shown:?}");
    let nobody = show(&scene, "All@example.com").await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(2), ""), "{nobody:?}");
    assert!(
        nobody.stderr.contains("no document has the subject or the `_id` `All@example.com`"),
        "{nobody:?}"
    );
    assert!(nobody.stderr.contains("\nhint: "), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_shown_while_another_process_holds_the_journal_and_waits_for_the_answer() {
    let config = SandboxConfig { faults: "delay(600)".parse::<FaultScript>().unwrap(), ..users(1, 0) };
    for scene in scenes("show_held", &config).await {
        let mut first = scene.start(&ONCE);
        scene.until(&mut first, |sandbox| sandbox.ledger().requests >= 1).await;
        let user = "user-000000@example.com";
        let shown = show(&scene, user).await;
        let held_by = shown.json()["journal"]["held_by"].as_str().unwrap().to_owned();
        assert!(held_by.contains(&first.id().unwrap().to_string()), "{shown:?}");
        let document = only(&shown);
        assert_eq!((&document["journal"][0]["state"], &document["state"]), (&json!("intent"), &json!("new")));
        assert!(document["lease"]["until"].is_string(), "{document}");
        let text = scene.run(&["tokens", "show", user]).await;
        for part in ["claim        held by ", "1 open entry (the journal in ", "is in use by process "] {
            assert!(text.stdout.contains(part), "{part}: {text:?}");
        }
        first.kill().await.unwrap();
        // A journal that can't be read is no reason to show nothing.
        for file in ["journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(scene.state_folder().join(file));
        }
        std::fs::write(scene.state_folder().join("journal.db"), "this is no journal, and never was one")
            .unwrap();
        let damaged = show(&scene, user).await;
        assert!(damaged.json()["journal"]["problem"].is_string(), "{damaged:?}");
        assert_eq!(only(&damaged)["subject"], user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_takes_several_states_and_counts_all_of_them() {
    for scene in scenes("list", &users(6, 2)).await {
        let list = async |arguments: &[&str]| {
            let ended = scene.run(&[&["tokens", "list"], arguments, &JSON].concat()).await;
            assert_eq!(ended.code, Some(0), "{ended:?}");
            ended.json()
        };
        assert_eq!(list(&[]).await["totals"]["states"], json!({ "new": 6 }));
        for _ in 0..2 {
            scene.run(&["run", "--once", "--force"]).await;
        }
        let all = list(&[]).await;
        assert_eq!(all["totals"]["states"], json!({ "live": 4, "needs_login": 2 }));
        for arguments in [
            &["--state", "needs_login,lost_in_flight"][..],
            &["--state", "needs_login", "--state", "malformed"],
        ] {
            let chosen = list(arguments).await;
            assert_eq!(chosen["documents"].as_array().unwrap().len(), 2, "{arguments:?}");
            assert_eq!(chosen["totals"], all["totals"], "what is left out is counted all the same");
        }
        let cut = list(&["--limit", "3"]).await;
        assert_eq!((cut["documents"].as_array().unwrap().len(), &cut["totals"]), (3, &Value::Null));
        let whole = list(&["--limit", "6"]).await;
        assert_eq!(whole["totals"]["documents"], 6, "the limit has cut nothing");
        let text = scene.run(&["tokens", "list"]).await.stdout;
        assert!(text.ends_with("\n\n6 documents: live 4, needs_login 2\n"), "{text}");
        let unmapped = scene.run(&["tokens", "list", "--provider", "xero"]).await;
        assert_eq!(unmapped.code, Some(2), "{unmapped:?}");
        assert!(unmapped.stderr.contains("set `documents.provider`"), "{unmapped:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_one_documents_provider_is_found_by_check_list_show_and_the_log() {
    let Some(mut scene) = Scene::new("slip", Kind::Mongo, users(103, 0)).await else { return };
    let collection = scene.collection().await;
    collection.update_many(bson::doc! {}, bson::doc! { "$set": { "idp": "generic" } }).await.unwrap();
    let user = "user-000102@example.com";
    let slip = bson::doc! { "$set": { "idp": "Generic" } };
    collection.update_one(bson::doc! { "email": user }, slip).await.unwrap();
    scene.set("documents.provider", "idp");
    let told = "`Generic` is not configured; did you mean `generic`?";
    let check = scene.run(&["check"]).await;
    assert!(check.stdout.contains("`Generic` 1 (did you mean `generic`?)"), "{check:?}");
    assert!(
        check.stdout.contains(r#".updateMany({"idp":"Generic"}, {"$set":{"idp":"generic"}})"#),
        "{check:?}"
    );
    let run = scene.run(&["run", "--once"]).await;
    assert!(run.stderr.contains(told), "{run:?}");
    let list = scene.run(&["tokens", "list", "--state", "malformed"]).await;
    let row = list.stdout.lines().find(|line| line.ends_with(user)).unwrap_or_else(|| panic!("{list:?}"));
    assert!(row.contains("unknown_provider (`generic`?)") && row.contains("  Generic  "), "{row}");
    let of_provider = scene.run(&["tokens", "list", "--provider", "generic", "--format", "json"]).await;
    assert_eq!(of_provider.json()["totals"]["documents"], 102);
    let shown = only(&show(&scene, user).await);
    assert!(shown["why"].as_str().unwrap().contains(told), "{shown}");

    collection.update_many(bson::doc! {}, bson::doc! { "$unset": { "idp": "" } }).await.unwrap();
    let check = scene.run(&["check"]).await;
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stdout.contains("no document has the field `idp`"), "{check:?}");
    assert!(check.stdout.contains(r#".updateMany({"idp":null}, {"$set":{"idp":"generic"}})"#), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ends_soon_is_told_by_the_report_the_list_and_check_and_one_that_must_log_in_is_not() {
    let mut scene = Scene::new("ending", Kind::Sqlite, users(4, 1)).await.expect("needs no server");
    let before = scene.run(&["check"]).await;
    assert!(!before.stdout.contains("logins"), "{before:?}");
    // The default schedule is weekly or more often: five days are soon.
    scene.set("login_lifetime", "5d");
    let list = async |arguments: &[&str]| {
        let ended = scene.run(&[&["tokens", "list", "--ending-within"], arguments, &JSON].concat()).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()
    };
    assert_eq!(list(&["14d"]).await["totals"]["ending"], 0, "no end is known before the first pass");
    let run = scene.run(&["run", "--once", "--format", "json"]).await;
    let report = run.json();
    assert_eq!(
        (&report["ending_count"], &report["outcomes"]["refreshed"]),
        (&json!(3), &json!(3)),
        "{run:?}"
    );
    assert_eq!(report["ending"][0]["subject"], "user-000000@example.com");
    scene.run(&["run", "--once", "--force"]).await;
    scene.run(&["run", "--once", "--force"]).await;

    let ending = list(&["14d"]).await;
    assert_eq!((&ending["totals"]["ending"], &ending["totals"]["documents"]), (&json!(3), &json!(4)));
    let ends = |list: &Value| -> Vec<_> {
        let documents = list["documents"].as_array().unwrap();
        documents.iter().map(|document| document["login_ends_at"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ends(&ending).is_sorted(), "{ending}");
    assert_eq!(ends(&list(&["14d", "--limit", "2"]).await), ends(&ending)[..2]);
    assert!(ends(&list(&["4d"]).await).is_empty());
    assert!(ends(&list(&["14d", "--state", "needs_login"]).await).is_empty());
    let text = scene.run(&["tokens", "list", "--ending-within", "14d"]).await.stdout;
    assert!(text.contains("  LOGIN ENDS  ") && text.contains("\n3 logins end in this time\n"), "{text}");
    let slip = scene.run(&["tokens", "list", "--ending-within", "14"]).await;
    assert_eq!(slip.code, Some(2), "{slip:?}");

    let check = scene.run(&["check"]).await;
    assert!(check.stdout.contains("3 within 7 days, 3 within 14 days, 3 within 30 days"), "{check:?}");
    assert!(check.stdout.contains("hint: `evergrant tokens list --ending-within 7d`"), "{check:?}");
    let shown = scene.run(&["tokens", "show", "user-000000@example.com"]).await;
    assert!(shown.stdout.contains("login ends"), "{shown:?}");
}
