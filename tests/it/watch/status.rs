//! `evergrant status`: through the process, and without one.

use super::{Shown, after_a_pass};
use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use serde_json::Value;

fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

/// Where a service may listen: free a moment ago.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_tells_how_it_stands_and_after_its_end_the_journal_does() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig { dead_users: 1, ..users(12) };
        let Some(mut scene) = Scene::new("status", kind, config).await else { continue };
        scene.set("schedule", "* * * * * *");
        let none = scene.run(&["status", "--live"]).await;
        assert_eq!(none.code, Some(2), "it can't be asked while `admin.listen` is off: {none:?}");
        let mut shown = Shown::start(&mut scene);
        // The survey comes after the pass.
        shown
            .until(|page| after_a_pass(page) && page.contains_key("evergrant_survey_timestamp_seconds"))
            .await;
        let said = scene.run(&["status"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stdout.starts_with("nothing needs a look\n"), "{said:?}");
        for part in
            ["; sleeping since", "11 live, 1 must log in again", "last pass ended", "nothing is on its way"]
        {
            assert!(said.stdout.contains(part), "{part}: {said:?}");
        }
        let told = scene.run(&["status", "--format", "json"]).await.json();
        assert_eq!((&told["told_by"], &told["exit_code"]), (&"process".into(), &0.into()), "{told}");
        let live = scene.run(&["status", "--live"]).await;
        assert_eq!((live.code, live.stdout.as_str()), (Some(0), "ok\n"), "{live:?}");
        // Another journal is asked for: what this process says is not about it.
        let (here, elsewhere) = (scene.state_folder(), scene.folder.path().join("elsewhere"));
        scene.set("state_dir", elsewhere.to_str().unwrap());
        let other = scene.run(&["status"]).await;
        assert!(other.stdout.contains("holds the journal of another `state_dir`"), "{other:?}");
        assert!(!elsewhere.exists(), "it is only looked for");
        scene.set("state_dir", here.to_str().unwrap());
        assert_eq!(shown.end().await.code, Some(0));

        let said = scene.run(&["status"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        for part in [
            "no process holds the journal",
            "(nothing listens there)",
            "11 live, 1 must log in again",
            "last pass ended",
        ] {
            assert!(said.stdout.contains(part), "{part}: {said:?}");
        }
        let told = scene.run(&["status", "--format", "json"]).await.json();
        assert_eq!(
            (&told["told_by"], &told["held"], &told["phase"]),
            (&"journal".into(), &false.into(), &Value::Null)
        );
        assert_eq!(
            told["providers"]["generic"]["last_pass"]["pass"].as_str().map(str::is_empty),
            Some(false)
        );
        assert_eq!(
            (&told["live"], told["survey"]["providers"]["generic"]["live"].as_u64()),
            (&Value::Null, Some(11))
        );
        let live = scene.run(&["status", "--live"]).await;
        assert_eq!(live.code, Some(7), "{live:?}");
        assert!(live.stdout.contains("no process answers at 127.0.0.1:"), "{live:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_look_decides_the_exit_code_without_a_process() {
    let mut scene = Scene::new("status_codes", Kind::Sqlite, users(3)).await.unwrap();
    scene.set("admin.listen", &free_address());
    let fresh = scene.run(&["status"]).await;
    assert_eq!(fresh.code, Some(4), "no pass was there yet: {fresh:?}");
    assert!(fresh.stdout.starts_with("generic: no pass has ended on this machine yet\nhint: "), "{fresh:?}");
    assert!(!scene.state_folder().exists(), "it makes nothing");
    scene.set("max_retries_per_pass", "0");
    scene.sandbox.set_faults("503".parse().unwrap());
    let ended = scene.run(&ONCE).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let left = scene.run(&["status"]).await;
    assert_eq!(left.code, Some(4), "{left:?}");
    assert!(left.stdout.contains("left something: unfinished, provider_code 3"), "{left:?}");
    scene.sandbox.set_faults("".parse().unwrap());
    assert_eq!(scene.run(&["run", "--once", "--force"]).await.code, Some(0));
    assert_eq!(scene.run(&["status"]).await.code, Some(0));

    scene.set("store.url", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300");
    scene.set("store.database", "logins");
    let away = scene.run(&["status"]).await;
    assert_eq!(away.code, Some(7), "{away:?}");
    assert!(away.stdout.starts_with("the store does not answer: logins.tokens at 127.0.0.1:1"), "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_status_and_a_service_that_waits_for_its_store_says_so() {
    let mut scene = Scene::new("status_token", Kind::Sqlite, users(2)).await.unwrap();
    let address = free_address();
    scene.set("admin.listen", &address);
    scene.set("admin.token", "admin-token-canary");
    scene.set("store.url", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300");
    scene.set("store.database", "logins");
    let mut child = scene.start(&["run"]);
    // It listens before it has found its store.
    let said = loop {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for its store");
        let said = scene.run(&["status"]).await;
        if said.stdout.contains("Evergrant ") && said.code == Some(7) {
            break said;
        }
    };
    assert!(said.stdout.starts_with("the store does not answer: "), "{said:?}");
    assert!(said.stdout.contains("; starting since"), "{said:?}");
    assert_eq!(
        scene.run(&["status", "--live"]).await.code,
        Some(0),
        "it lives, and a restart would not help"
    );
    scene.set("admin.token", "another-token-canary");
    let closed = scene.run(&["status"]).await;
    assert!(closed.stdout.contains("does not tell it: this needs the token `admin.token`"), "{closed:?}");
    assert!(!format!("{said:?}{closed:?}").contains("-canary"));
    child.kill().await.unwrap();
}
