//! The state directory as a person meets it: moved under a service, in memory, of another user.

use crate::support::process::{Ended, Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::journal::Journal;
use std::path::Path;

async fn scene(test: &str) -> Scene {
    let users = SandboxConfig { users: 5, ..SandboxConfig::default() };
    Scene::new(test, Kind::Sqlite, users).await.expect("it needs no server")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_state_directory_was_moved_or_replaced_ends_with_8_and_redeems_nothing_more() {
    for replaced in [false, true] {
        let mut scene = scene("moved_state").await;
        scene.set("schedule", "* * * * * *");
        scene.set("refresh_token_lifetime", "unknown");
        let mut child = scene.start(&["run"]);
        scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 5).await;
        let away = scene.folder.path().join("away");
        std::fs::rename(scene.state_folder(), &away).unwrap();
        if replaced {
            std::fs::create_dir(scene.state_folder()).unwrap();
        }
        let ended = Ended::of(child).await;
        assert_eq!(ended.code, Some(8), "{ended:?}");
        let what = if replaced { "was replaced by another one" } else { "was moved or deleted" };
        for said in
            [what, "while Evergrant used it; nothing more is redeemed", "hint: stop Evergrant, put the"]
        {
            assert!(ended.stderr.contains(said), "{said}: {ended:?}");
        }
        let audit = scene.audit().await;
        assert_eq!((audit.kept, audit.is_clean()), (5, true), "{audit:?}");
        assert_eq!(Journal::peek(&away).unwrap().len(), 0, "what came meanwhile was ended there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_in_memory_is_said_by_check_and_at_the_start_of_a_pass() {
    let memory = Path::new("/dev/shm");
    let Ok(folder) = tempfile::tempdir_in(memory) else { return };
    let mut scene = scene("in_memory").await;
    scene.set("state_dir", folder.path().join("state").to_str().unwrap());
    for arguments in [&["check"][..], &ONCE, &["check"]] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(said.matches("is in memory (tmpfs)").count(), 1, "{ended:?}");
        assert!(
            said.contains("hint: set `state_dir` (`EVERGRANT_STATE_DIR`) to a directory on a disk"),
            "{ended:?}"
        );
    }
}

/// Only `root` can give a directory away.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_of_another_user_is_refused_by_check_and_run_with_what_to_do() {
    let scene = scene("foreign_state").await;
    std::fs::create_dir(scene.state_folder()).unwrap();
    if std::os::unix::fs::chown(scene.state_folder(), Some(4711), None).is_err() {
        return;
    }
    for arguments in [&["check"][..], &ONCE, &["run"], &["journal", "recover"]] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("belongs to the user 4711, and this process runs as 0"), "{ended:?}");
        assert!(said.contains("hint: run Evergrant as that user"), "{ended:?}");
    }
    assert_eq!(scene.sandbox.ledger().requests, 0);
}

/// What stands under the old name isn't read any more, and a person is told what that means.
#[tokio::test(flavor = "multi_thread")]
async fn another_place_of_the_bookkeeping_and_another_filter_are_said_until_a_process_works_by_them() {
    let users = SandboxConfig { users: 4, ..SandboxConfig::default() };
    let Some(mut scene) = Scene::new("other_settings", Kind::Mongo, users).await else { return };
    let said = async |scene: &Scene, arguments: &[&str]| {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        let text = format!("{}{}", ended.stdout, ended.stderr);
        ["`documents.bookkeeping` is `books`, and was `evergrant`", "`documents.filter` is another one"]
            .map(|said| text.matches(said).count())
    };
    for arguments in [&ONCE[..], &["check"]] {
        assert_eq!(said(&scene, arguments).await, [0, 0], "nothing has changed");
    }
    scene.set("documents.bookkeeping", "books");
    for (arguments, expected) in
        [(&["check"][..], [1, 0]), (&ONCE, [1, 0]), (&ONCE, [0, 0]), (&["check"], [0, 0])]
    {
        assert_eq!(said(&scene, arguments).await, expected, "{arguments:?}");
    }
    assert_eq!(scene.sandbox.ledger().granted, 8, "all were due, once");
    scene.set("documents.filter", r#"{ "email": { "$exists": true } }"#);
    for (arguments, expected) in [(&["check"][..], [0, 1]), (&ONCE, [0, 1]), (&["check"], [0, 0])] {
        assert_eq!(said(&scene, arguments).await, expected, "{arguments:?}");
    }
    let audit = scene.audit().await;
    assert_eq!((audit.kept, audit.is_clean(), scene.sandbox.ledger().reuses), (4, true, 0), "{audit:?}");
}
