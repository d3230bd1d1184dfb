//! The disk: full, failing, without a word about a sync. The built binary on a real small file system, and above a layer
//! that fails as it is told. The oracle is the provider's ledger once the fault has ended and a pass has followed.

mod service;

use crate::support::faulty_disk::{Fault, FaultyDisk};
use crate::support::process::{Ended, Kind, ONCE, Scene};
use crate::support::small_disk::SmallDisk;
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::token::State;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Grants that go well before the disk fails.
const BEFORE: u64 = 20;

async fn scene(name: &str, kind: Kind, users: usize) -> Option<Scene> {
    let config = SandboxConfig {
        users,
        latency: Duration::from_millis(5),
        latency_jitter: Duration::from_millis(10),
        ..SandboxConfig::default()
    };
    let mut scene = Scene::new(name, kind, config).await?;
    scene.set("concurrency", "8");
    Some(scene)
}

/// After the fault: a pass that nothing hinders leaves everybody alive and refreshed, and no token was sent twice.
async fn everybody_is_well(scene: &Scene, name: &str) {
    let again = scene.run(&ONCE).await;
    assert_eq!(again.code, Some(0), "{name}: {again:?}");
    let (audit, ledger) = (scene.audit().await, scene.sandbox.ledger());
    assert_eq!(audit.lost_received, 0, "{name}: received and lost: {:?}", audit.lost);
    assert_eq!(audit.lost, [], "{name}: nothing was cut off");
    assert_eq!(ledger.reuses, 0, "{name}: sent again after its answer");
    let documents = scene.documents().await;
    assert_eq!(audit.kept, documents.len() as u64, "{name}");
    for document in documents {
        let bookkeeping = document.bookkeeping;
        assert_eq!(
            (bookkeeping.state, bookkeeping.lease),
            (State::Live, None),
            "{name}: {}",
            document.subject
        );
        assert!(bookkeeping.refreshed_at.is_some(), "{name}: {}", document.subject);
    }
}

/// Runs a pass whose disk fails in its middle.
async fn failing_pass(scene: &Scene, fault: &Fault) -> Option<Ended> {
    let disk = FaultyDisk::new(scene.folder.path(), fault)?;
    let mut command = scene.command(&ONCE);
    disk.under(&mut command);
    let mut child = command.spawn().unwrap();
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= BEFORE).await;
    disk.begin();
    let ended = Ended::of(child).await;
    disk.end();
    assert!(!disk.failures().is_empty(), "{fault:?} met nothing: {ended:?}");
    Some(ended)
}

/// The pass ends with this exit code: 8 where the journal failed, 7 where the store did.
async fn a_fault_ends_with(exit: i32, name: &str, fault: Fault) {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        if kind == Kind::Mongo && fault.path.starts_with("tokens") {
            continue;
        }
        let Some(scene) = scene(name, kind, 150).await else { continue };
        let Some(ended) = failing_pass(&scene, &fault).await else { return };
        assert_eq!(ended.code, Some(exit), "{name} {kind:?}: {ended:?}");
        assert_eq!(ended.json()["outcomes"]["lost"], 0, "{name} {kind:?}: {ended:?}");
        everybody_is_well(&scene, name).await;
        assert!(scene.state_folder().join("journal.ballast").exists(), "{name}: it is made again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_whose_sync_fails_once_stops_and_its_answers_go_into_the_documents() {
    let fault = Fault { path: "journal.db-wal", calls: "sync", errno: Errno::EIO, count: 1 };
    a_fault_ends_with(8, "journal_sync", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_can_not_be_written_stops_and_its_answers_go_into_the_documents() {
    let fault = Fault { path: "journal.db-wal", calls: "write", errno: Errno::EIO, count: 0 };
    a_fault_ends_with(8, "journal_write", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_on_a_disk_that_is_full_for_a_moment_keeps_its_answers_by_the_ballast() {
    let fault = Fault { path: "journal.db-wal", calls: "write", errno: Errno::ENOSPC, count: 1 };
    a_fault_ends_with(8, "journal_full_once", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_on_a_disk_that_stays_full_leaves_its_answers_to_the_documents() {
    let fault = Fault { path: "journal.db", calls: "write truncate", errno: Errno::ENOSPC, count: 0 };
    a_fault_ends_with(8, "journal_full", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_sync_fails_once_is_not_asked_again_and_its_pairs_stay_in_the_journal() {
    let fault = Fault { path: "tokens.db-wal", calls: "sync", errno: Errno::EIO, count: 1 };
    a_fault_ends_with(7, "store_sync", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_disk_that_stays_full_leaves_its_pairs_in_the_journal() {
    let fault = Fault { path: "tokens.db", calls: "write truncate", errno: Errno::ENOSPC, count: 0 };
    a_fault_ends_with(7, "store_full", fault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_neither_journal_nor_store_could_keep_is_named_as_lost_and_nobody_else_is() {
    let Some(scene) = scene("both", Kind::Sqlite, 150).await else { return };
    let fault = Fault { path: ".db-wal", calls: "write", errno: Errno::EIO, count: 0 };
    let Some(ended) = failing_pass(&scene, &fault).await else { return };
    assert_eq!(ended.code, Some(8), "{ended:?}");
    let report = ended.json();
    let named: BTreeSet<_> =
        report["lost"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    assert_eq!(report["outcomes"]["lost"], named.len(), "{ended:?}");

    let again = scene.run(&ONCE).await;
    assert!(matches!(again.code, Some(0 | 3)), "{again:?}");
    let (audit, ledger) = (scene.audit().await, scene.sandbox.ledger());
    let lost: BTreeSet<_> = audit.lost.iter().map(|lost| format!("{}@example.com", lost.user)).collect();
    assert_eq!(lost, named, "{ended:?}");
    // Nobody could know that their answers had come: no file took a note of it.
    assert!(ledger.reuses <= named.len() as u64, "{} reuses, {} lost", ledger.reuses, named.len());
}

/// Runs a pass whose disk fills up in its middle, below what is `kept` there: it ends with `exit`, and says where.
async fn filled_pass(scene: &Scene, disk: &SmallDisk, kept: &Path, exit: i32) {
    let mut child = scene.start(&ONCE);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= BEFORE).await;
    disk.fill();
    let ended = Ended::of(child).await;
    assert!(
        scene.sandbox.ledger().granted < scene.sandbox.users().len() as u64,
        "it ended in the middle: {ended:?}"
    );
    assert_eq!(ended.code, Some(exit), "{ended:?}");
    let told = ended.json()["troubles"].to_string();
    assert!(told.contains(kept.to_str().unwrap()) && told.contains("bytes free"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_the_journal_ends_the_pass_and_costs_nobody() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(mut scene) = scene("small_journal", kind, 2000).await else { continue };
        let Some(disk) = SmallDisk::mount(scene.folder.path()) else { return };
        let state = disk.path().join("state");
        scene.set("state_dir", state.to_str().unwrap());
        scene.set("free_space_floor", "1MiB");
        filled_pass(&scene, &disk, &state, 8).await;
        let full = scene.run(&ONCE).await;
        assert_eq!(full.code, Some(8), "{kind:?}, while it is full: {full:?}");
        disk.free();
        everybody_is_well(&scene, "small_journal").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_the_store_ends_the_pass_and_costs_nobody() {
    let Some(mut scene) = scene("small_store", Kind::Sqlite, 2000).await else { return };
    let Some(disk) = SmallDisk::mount(scene.folder.path()) else { return };
    let path = disk.path().join("tokens.db");
    scene.put_store_at(&format!("sqlite:{}", path.display())).await;
    scene.set("free_space_floor", "1MiB");
    filled_pass(&scene, &disk, &path, 7).await;
    disk.free();
    everybody_is_well(&scene, "small_store").await;
}
