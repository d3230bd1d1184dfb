//! The built binary, killed with SIGKILL at random moments and started again. The oracle is the provider's ledger.

use crate::support::process::{Kind, Scene};
use evergrant::journal::{EntryState, Journal};
use evergrant::sandbox::SandboxConfig;
use evergrant::store::{Change, PairChange};
use evergrant::token::{AccessToken, RefreshToken, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashSet;
use std::time::Duration;

/// Kills for each of the four tests; `EVERGRANT_TEST_KILLS` asks for more.
const KILLS: usize = 13;

/// Users, few enough for a short pass and many enough for a full pool.
const USERS: usize = 60;

#[expect(clippy::disallowed_methods, reason = "a knob of the tests, not a setting")]
fn kills() -> usize {
    std::env::var("EVERGRANT_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// Runs passes that are killed after a random number of redemptions, each followed by one that ends by itself.
async fn nothing_received_is_lost(name: &str, kind: Kind, grace: Duration) {
    let config = SandboxConfig {
        users: USERS,
        grace,
        latency: Duration::from_millis(2),
        latency_jitter: Duration::from_millis(10),
        ..SandboxConfig::default()
    };
    let Some(mut scene) = Scene::new(name, kind, config).await else { return };
    // Every pass finds every document due.
    scene.set("refresh_token_lifetime", "unknown");
    scene.set("concurrency", "8");
    let mut random = StdRng::seed_from_u64(kind as u64 + grace.as_secs());
    let mut cut_off_so_far = 0;
    for round in 0..kills() {
        let before = scene.sandbox.ledger();
        let mut child = scene.start(&["run", "--once", "--format", "json"]);
        let after = before.granted + random.random_range(0..USERS as u64);
        scene.until(&mut child, |sandbox| sandbox.ledger().granted >= after).await;
        if let Some(id) = child.id() {
            let _ = kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
        child.wait().await.unwrap();

        // What the killed process had received is what its journal holds; what it had sent is there as an intent.
        let entries = Journal::peek(&scene.state_folder()).unwrap();
        let received: HashSet<_> =
            entries.iter().filter(|e| e.state == EntryState::Answer).map(|e| e.intent.fingerprint).collect();
        let cut_off = entries.iter().filter(|entry| entry.state == EntryState::Intent).count() as u64;
        cut_off_so_far += cut_off;
        let spent: Vec<_> = scene
            .documents()
            .await
            .into_iter()
            .filter_map(|document| document.refresh_token.ok())
            .filter(|token| received.contains(&token.fingerprint()))
            .collect();
        let presented =
            |token: &RefreshToken| scene.sandbox.token_history(token.expose()).unwrap().presentations.len();
        let presented_before: Vec<_> = spent.iter().map(presented).collect();

        let ended = scene.run(&["run", "--once", "--format", "json"]).await;
        assert!(matches!(ended.code, Some(0 | 3)), "round {round}: {ended:?}");
        let presented_after: Vec<_> = spent.iter().map(presented).collect();
        assert_eq!(
            presented_before, presented_after,
            "round {round}: a token was sent again after its answer"
        );

        let audit = scene.audit().await;
        let lost: HashSet<_> = audit.lost.iter().map(|lost| lost.user.clone()).collect();
        assert!(lost.len() as u64 <= cut_off, "round {round}: more lost than cut off: {lost:?}");
        assert!(grace.is_zero() || lost.is_empty(), "round {round}: lost within the grace: {:?}", audit.lost);
        let documents = scene.documents().await;
        for document in &documents {
            let user = document.subject.as_str().trim_end_matches("@example.com");
            let named = document.bookkeeping.state == State::LostInFlight;
            assert_eq!(lost.contains(user), named, "round {round}: {user} {:?}", document.bookkeeping);
            assert!(
                named || document.bookkeeping.state == State::Live,
                "round {round}: {user} is marked dead"
            );
            assert_eq!(document.bookkeeping.lease, None, "round {round}: {user} is still claimed");
        }
        let reuses = scene.sandbox.ledger().reuses;
        assert!(
            reuses <= cut_off_so_far,
            "round {round}: {reuses} reuses, {cut_off_so_far} grants were cut off"
        );
        // Whoever was lost logs in again, as people do.
        for document in documents.iter().filter(|document| document.bookkeeping.state == State::LostInFlight)
        {
            let login = scene.sandbox.login(document.subject.as_str()).unwrap();
            let change = Change {
                id: document.id.clone(),
                expect_refresh_token: None,
                expect_lease: None,
                pair: Some(PairChange {
                    refresh_token: RefreshToken::new(login.refresh_token),
                    access_token: AccessToken::new(login.access_token),
                }),
                bookkeeping: document.bookkeeping.clone(),
            };
            scene.store.apply(&[change]).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_sqlite_strict() {
    nothing_received_is_lost("kill_strict", Kind::Sqlite, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_it_had_received_mongodb_strict() {
    nothing_received_is_lost("kill_strict", Kind::Mongo, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_sqlite() {
    nothing_received_is_lost("kill_grace", Kind::Sqlite, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_grace_period_a_killed_process_loses_nothing_at_all_mongodb() {
    nothing_received_is_lost("kill_grace", Kind::Mongo, Duration::from_secs(30)).await;
}
