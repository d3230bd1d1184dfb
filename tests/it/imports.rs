//! `evergrant tokens import` over a store that a pass has worked on: the newer pair stays.

use crate::support::process::{Ended, Kind, ONCE, Scene};
use evergrant::sandbox::{SandboxConfig, SeededUser};
use serde_json::json;
use std::path::PathBuf;

const USERS: usize = 12;

/// The users as they were before any pass, as their file.
fn file_of<'a>(scene: &Scene, users: impl Iterator<Item = (usize, &'a SeededUser)>) -> PathBuf {
    let line = |(index, user): (usize, &SeededUser)| {
        let document = json!({
            "_id": { "$oid": format!("{index:024x}") },
            "email": user.email,
            "access_token": user.access_token,
            "refresh_token": user.refresh_token,
        });
        format!("{document}\n")
    };
    let file = scene.folder.path().join("users.json");
    std::fs::write(&file, users.map(line).collect::<String>()).unwrap();
    file
}

async fn import(scene: &Scene, file: &std::path::Path, more: &[&str]) -> Ended {
    let mut arguments = vec!["tokens", "import", file.to_str().unwrap(), "--format", "json"];
    arguments.extend(more);
    scene.run(&arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_the_same_file_after_a_pass_keeps_every_newer_pair() {
    let config = SandboxConfig { users: USERS, ..SandboxConfig::default() };
    let scene = Scene::new("import_again", Kind::Sqlite, config).await.unwrap();
    let users = scene.sandbox.users();
    let file = file_of(&scene, users.iter().enumerate());
    let first = import(&scene, &file, &[]).await;
    assert_eq!((first.code, &first.json()["replaced"]), (Some(0), &USERS.into()), "{first:?}");
    assert_eq!(scene.run(&ONCE).await.code, Some(0));
    assert_eq!(scene.audit().await.kept, USERS as u64);

    let again = import(&scene, &file, &[]).await;
    let said = again.json();
    assert_eq!(
        (again.code, &said["kept"], &said["replaced"]),
        (Some(0), &USERS.into(), &0.into()),
        "{again:?}"
    );
    assert_eq!(scene.audit().await.kept, USERS as u64, "the pairs of the pass are there");
    let forced = scene.run(&["run", "--once", "--force", "--format", "json"]).await;
    assert_eq!(
        (forced.code, &forced.json()["outcomes"]["refreshed"]),
        (Some(0), &USERS.into()),
        "{forced:?}"
    );
    assert_eq!((scene.audit().await.kept, scene.sandbox.ledger().reuses), (USERS as u64, 0));

    // Also where only the journal knows: a document that says nothing of a pass.
    let login = scene.sandbox.login(&users[0].user).unwrap();
    let insisted = import(&scene, &file_of(&scene, [(0, &login)].into_iter()), &["--overwrite"]).await;
    assert_eq!((insisted.code, &insisted.json()["replaced"]), (Some(0), &1.into()), "{insisted:?}");
    let old = import(&scene, &file_of(&scene, users.iter().enumerate().take(1)), &[]).await;
    assert_eq!((old.code, &old.json()["kept"]), (Some(0), &1.into()), "{old:?}");
    assert_eq!(scene.audit().await.kept, USERS as u64, "the new login is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_login_takes_the_place_of_a_dead_one_and_a_corrected_token_that_of_a_malformed_one() {
    let config = SandboxConfig { users: 4, dead_users: 1, ..SandboxConfig::default() };
    let scene = Scene::new("import_login", Kind::Sqlite, config).await.unwrap();
    let mut users = scene.sandbox.users();
    let good = std::mem::replace(&mut users[0].refresh_token, " ".to_owned());
    let broken = import(&scene, &file_of(&scene, users.iter().enumerate().take(1)), &["--overwrite"]).await;
    assert_eq!(broken.code, Some(0), "{broken:?}");
    // Refused once, and marked on the next occasion.
    for _ in 0..3 {
        scene.run(&["run", "--once", "--force"]).await;
    }
    users[0].refresh_token = good;
    users[3] = scene.sandbox.login(&users[3].user).unwrap();
    let corrected = import(&scene, &file_of(&scene, users.iter().enumerate()), &[]).await;
    let said = corrected.json();
    assert_eq!((&said["replaced"], &said["kept"]), (&2.into(), &2.into()), "{corrected:?}");
    let ended = scene.run(&ONCE).await;
    assert_eq!((ended.code, &ended.json()["outcomes"]["refreshed"]), (Some(0), &2.into()), "{ended:?}");
    assert_eq!(scene.audit().await.kept, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeemed_token_corrects_a_malformed_one_where_the_provider_takes_redeemed_tokens() {
    let config = SandboxConfig { users: 1, ..SandboxConfig::default() };
    let mut scene = Scene::new("import_stays_good", Kind::Sqlite, config).await.unwrap();
    let mut users = scene.sandbox.users();
    assert_eq!(scene.run(&ONCE).await.code, Some(0));
    let redeemed = std::mem::replace(&mut users[0].refresh_token, " ".to_owned());
    let broken = import(&scene, &file_of(&scene, users.iter().enumerate()), &["--overwrite"]).await;
    assert_eq!(broken.code, Some(0), "{broken:?}");
    users[0].refresh_token = redeemed;
    let file = file_of(&scene, users.iter().enumerate());
    let spent = import(&scene, &file, &[]).await;
    assert_eq!((spent.code, &spent.json()["kept"]), (Some(0), &1.into()), "{spent:?}");
    scene.set("rotation", "none");
    let good = import(&scene, &file, &[]).await;
    assert_eq!((good.code, &good.json()["replaced"]), (Some(0), &1.into()), "{good:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_beside_a_pass_overwrites_nothing_that_is_on_its_way() {
    let config = SandboxConfig { users: USERS, ..SandboxConfig::default() };
    let mut scene = Scene::new("import_beside", Kind::Sqlite, config).await.unwrap();
    scene.set("concurrency", "2");
    scene.set("rate", "20/s");
    let file = file_of(&scene, scene.sandbox.users().iter().enumerate());
    let mut pass = scene.start(&ONCE);
    scene.until(&mut pass, |sandbox| sandbox.ledger().granted >= 2).await;
    let refused = import(&scene, &file, &["--overwrite"]).await;
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(refused.stderr.contains("hint: stop that process, import, and start it again"), "{refused:?}");
    let beside = import(&scene, &file, &[]).await;
    assert_eq!(beside.code, Some(0), "{beside:?}");
    assert!(beside.stderr.contains("uses this state directory"), "{beside:?}");
    assert_eq!(Ended::of(pass).await.code, Some(0));
    assert_eq!((scene.audit().await.kept, scene.sandbox.ledger().reuses), (USERS as u64, 0));
}
