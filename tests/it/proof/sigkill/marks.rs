//! Kills between a mark, its entry on the list, and its taking back: no wrong mark outlives its entry.

use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::kill_point::Point;
use nix::sys::signal::Signal;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::Duration;

const USERS: usize = 400;

/// Their logins have ended. A pass marks them, and takes that back when the provider refuses every second user.
const DEAD: [usize; 2] = [5, 30];

fn id(position: usize) -> String {
    format!(r#"{{"$oid":"{position:024x}"}}"#)
}

/// The documents on the list, and whether their marks are to be taken back.
fn listed(state: &Path) -> BTreeMap<String, bool> {
    let file = Connection::open(state.join("journal.db")).unwrap();
    let mut marks = file.prepare("SELECT document, doubted FROM marks").unwrap();
    let rows = marks.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

async fn marked(scene: &Scene) -> Vec<String> {
    let documents = scene.documents().await.into_iter();
    let mut marked: Vec<_> = documents
        .filter(|document| document.bookkeeping.state.is_mark())
        .map(|document| document.id.as_str().to_owned())
        .collect();
    marked.sort();
    marked
}

/// A provider with a grace: what a kill cuts off is not lost.
async fn scene(kind: Kind) -> Option<Scene> {
    let config = SandboxConfig {
        users: USERS,
        grace: Duration::from_mins(5),
        faults: "refuse:50%@200..".parse().unwrap(),
        ..SandboxConfig::default()
    };
    let mut scene = Scene::new("kill_marks", kind, config).await?;
    // Each pass finds all of them due.
    for (key, value) in [
        ("concurrency", "8"),
        ("rotation", "grace"),
        ("grace", "5min"),
        ("refresh_token_lifetime", "unknown"),
        // So that both are refused twice before the provider refuses others.
        ("settle_after", "1ms"),
    ] {
        scene.set(key, value);
    }
    for position in DEAD {
        assert!(scene.sandbox.revoke(&format!("user-{position:06}")));
    }
    Some(scene)
}

async fn dies_at(kind: Kind, point: Point) {
    let Some(scene) = scene(kind).await else { return };
    let plan = format!("{}:1", point.name());
    let ended = scene.command(&ONCE).env("EVERGRANT_TEST_KILL_AT", &plan).status().await.unwrap();
    assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{kind:?} {plan}");
    let (list, there) = (listed(&scene.state_folder()), marked(&scene).await);
    assert!(there.iter().all(|id| list.contains_key(id)), "{kind:?} {plan}: {there:?}, listed {list:?}");
    assert!(!list.is_empty(), "{kind:?} {plan}");
    let dead: Vec<_> = DEAD.map(id).into();
    let (are_marked, in_doubt) = match point {
        Point::TakesBack => (true, true),
        Point::TakenBack => (false, true),
        _ => (false, false),
    };
    assert_eq!(there, if are_marked { dead.clone() } else { Vec::new() }, "{kind:?} {plan}");
    assert!(list.values().all(|doubted| *doubted == in_doubt), "{kind:?} {plan}: {list:?}");

    // The next pass takes back first what it must, and the one after it asks for these tokens as well.
    scene.sandbox.set_faults("".parse().unwrap());
    for _ in 0..2 {
        let ended = scene.run(&ONCE).await;
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "{kind:?} {plan}: {ended:?}");
    }
    assert_eq!(marked(&scene).await, dead, "{kind:?} {plan}: those whom a good pass has marked");
    assert!(listed(&scene.state_folder()).is_empty(), "{kind:?} {plan}");
    let audit = scene.audit().await;
    assert_eq!(audit.lost_received, 0, "{kind:?} {plan}: {audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_user_live_or_with_a_mark_that_is_on_the_list() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        for point in [Point::MarksListed, Point::TakesBack, Point::TakenBack] {
            dies_at(kind, point).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_before_a_kill_and_one_after_it_mark_no_user() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(scene) = scene(kind).await else { continue };
        let refused_once = || "refuse user=user-000002 times=1".parse().unwrap();
        scene.sandbox.set_faults(refused_once());
        let plan = format!("{}:1", Point::RefusedOnce.name());
        let ended = scene.command(&ONCE).env("EVERGRANT_TEST_KILL_AT", &plan).status().await.unwrap();
        assert_eq!(ended.signal(), Some(Signal::SIGKILL as i32), "{kind:?}");
        assert!(marked(&scene).await.is_empty() && listed(&scene.state_folder()).is_empty(), "{kind:?}");

        // Asked twice anew: granted the second time; those whose logins have ended are refused both times.
        scene.sandbox.set_faults(refused_once());
        let report = scene.run(&ONCE).await.json();
        let again: Vec<_> = report["live_again"].as_array().unwrap().iter().collect();
        assert!(
            matches!(&again[..], [one] if one["id"].as_str() == Some(&*id(2)) && one["why"] == "asked_twice"),
            "{kind:?}: {report}"
        );
        assert_eq!(marked(&scene).await, DEAD.map(id), "{kind:?}: {report}");
    }
}
