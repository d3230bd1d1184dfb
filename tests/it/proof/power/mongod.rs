//! A `mongod` that stands alone and loses power: what it has acknowledged is on its disk.
//!
//! A member of a replica set acknowledges a majority only when its log is synced; one that stands alone must be asked to.

use crate::support::mongod::{Server, admin, free_port};
use crate::support::power_cut::PowerCut;
use crate::support::process::{Ended, Kind, ONCE, Scene};
use bson::doc;
use evergrant::sandbox::SandboxConfig;
use rand::{SeedableRng as _, rngs::StdRng};
use std::time::Duration;

/// It syncs its log by itself as seldom as it can, in milliseconds.
const ARGUMENTS: [&str; 2] = ["--journalCommitInterval", "500"];

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_a_mongod_has_acknowledged_survives_its_power_cut() {
    let config = SandboxConfig { users: 60, latency: Duration::from_millis(5), ..SandboxConfig::default() };
    let Some(mut scene) = Scene::new("power_alone", Kind::Mongo, config).await else { return };
    let Some(power) = PowerCut::new(scene.folder.path()) else { return };
    let (port, folder) = (free_port(), power.root().join("db"));
    std::fs::create_dir(&folder).unwrap();
    let start = || Server::alone(port, &folder, &ARGUMENTS, &power.environment());
    let Some(mut server) = start() else { return };
    let uri = server.uri.clone();
    scene.put_store_at(&uri).await;
    for (key, value) in [
        // Every pass finds every document due.
        ("refresh_token_lifetime", "unknown"),
        ("concurrency", "8"),
        // What the server loses is gone.
        ("keep_pairs", "0s"),
    ] {
        scene.set(key, value);
    }
    admin(&uri, doc! { "fsync": 1 }).await.unwrap();
    let mut random = StdRng::seed_from_u64(1);
    // At the end of a pass, and in its middle.
    for after in [None, Some(30)] {
        let granted = scene.sandbox.ledger().granted;
        let mut child = scene.start(&ONCE);
        let running = if let Some(after) = after {
            scene.until(&mut child, |sandbox| sandbox.ledger().granted >= granted + after).await;
            Ok(child)
        } else {
            Err(Ended::of(child).await)
        };
        server.kill();
        let taken = power.cut(0.0, &mut random);
        assert!(taken.unsynced > 0, "{taken:?}");
        server = start().expect("it has started before");
        let ended = match running {
            Ok(child) => Ended::of(child).await,
            Err(ended) => ended,
        };
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let audit = scene.audit().await;
        assert_eq!((audit.lost_received, audit.kept), (0, 60), "{after:?}: {audit:?}");
        assert_eq!(scene.sandbox.ledger().reuses, 0, "{after:?}");
    }
    server.kill();
}
