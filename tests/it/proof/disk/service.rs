//! A service whose disk fails: what a process of one pass is spared by its end.

use super::{BEFORE, everybody_is_well, scene};
use crate::support::faulty_disk::{Fault, FaultyDisk};
use crate::support::process::{Ended, Kind, Scene};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

const USERS: usize = 150;

/// A service that finds every document due each second, above a disk that fails as it is told; it has done some grants.
async fn service(name: &str, fault: &Fault) -> Option<(Scene, FaultyDisk, Child)> {
    let mut scene = scene(name, Kind::Sqlite, USERS).await?;
    for (key, value) in [
        ("refresh_token_lifetime", "unknown"),
        ("schedule", "* * * * * *"),
        ("retry_after_failure", "1s"),
        ("log.level", "warn"),
    ] {
        scene.set(key, value);
    }
    let disk = FaultyDisk::new(scene.folder.path(), fault)?;
    let mut command = scene.command(&["run"]);
    disk.under(&mut command);
    let mut child = command.spawn().unwrap();
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= BEFORE).await;
    Some((scene, disk, child))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_journal_has_failed_ends_by_itself() {
    let fault = Fault { path: "journal.db-wal", calls: "sync", errno: Errno::EIO, count: 1 };
    let Some((scene, disk, child)) = service("service_sync", &fault).await else { return };
    disk.begin();
    let ended = Ended::of(child).await;
    disk.end();
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(!disk.failures().is_empty(), "{ended:?}");
    everybody_is_well(&scene, "service_sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_disk_was_full_for_a_while_redeems_again() {
    let fault = Fault { path: "journal.db", calls: "write truncate", errno: Errno::ENOSPC, count: 0 };
    let Some((scene, disk, mut child)) = service("service_full", &fault).await else { return };
    disk.begin();
    scene.until(&mut child, |_| !disk.failures().is_empty()).await;
    disk.end();
    let wanted = scene.sandbox.ledger().granted + 2 * USERS as u64;
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= wanted).await;
    let id = child.id().expect("it goes on");
    kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGTERM).unwrap();
    let ended = Ended::of(child).await;
    assert!(scene.sandbox.ledger().granted >= wanted, "{ended:?}");
    everybody_is_well(&scene, "service_full").await;
}
