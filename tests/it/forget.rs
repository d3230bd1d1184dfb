//! `evergrant journal forget`, as a person meets it: which tokens, what is in the way, and what comes next.

use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::{Event, Intent, Journal, Permission};
use evergrant::testing::store::{Change, Fence, PairChange, Replaces};
use evergrant::testing::token::{Bookkeeping, State, TokenDocument};
use std::time::Duration;

/// Puts back the pair that a document held before, as a backup does.
async fn put_back(scene: &Scene, documents: &[TokenDocument]) {
    let change = |document: &TokenDocument| Change {
        id: document.id.clone(),
        expect_refresh_token: None,
        expect_lease: Fence::None,
        pair: Some(PairChange {
            refresh_token: document.refresh_token.clone().unwrap(),
            access_token: document.access_token.clone(),
            also: Vec::new(),
            replaces: Replaces::Any,
        }),
        bookkeeping: Bookkeeping::default(),
    };
    let changes: Vec<_> = documents.iter().map(change).collect();
    let applied = scene.store.apply(&changes).await.unwrap();
    assert!(applied.every_matched, "{applied:?}");
}

async fn states(scene: &Scene) -> Vec<State> {
    scene.documents().await.iter().map(|document| document.bookkeeping.state).collect()
}

/// Leaves an open entry for the token of a document.
async fn leave_open(scene: &Scene, document: &TokenDocument) -> String {
    let clock = Clock::system();
    let journal = Journal::open(&scene.state_folder(), &clock).unwrap();
    let token = document.refresh_token.clone().unwrap();
    let intent = Intent {
        provider: "generic".into(),
        document: document.id.clone(),
        subject: document.subject.clone(),
        fingerprint: token.fingerprint(),
        sent_at: clock.now(),
        access: None,
        is_refreshed_elsewhere: false,
    };
    let asked = journal.intent_although_redeemed(intent, token).await.unwrap();
    let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
    journal.close().await;
    entry.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_the_tokens_of_a_backup_asked_for_again() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        // A provider that was set back, too: it takes them.
        let config = SandboxConfig { users: 5, grace: Duration::from_hours(24), ..SandboxConfig::default() };
        let Some(mut scene) = Scene::new("forget", kind, config).await else { continue };
        // Else their pairs go back.
        scene.set("keep_pairs", "0");
        let before = scene.documents().await;
        assert_eq!(scene.run(&ONCE).await.code, Some(0));
        put_back(&scene, &before[..3]).await;
        assert_eq!(scene.run(&ONCE).await.code, Some(3));
        assert_eq!(
            states(&scene).await[..4],
            [State::NeedsLogin, State::NeedsLogin, State::NeedsLogin, State::Live]
        );

        let all = ["journal", "forget", "--provider", "generic", "--all", "--format", "json"];
        let asked = scene.run(&all[..4]).await;
        assert_eq!(asked.code, Some(2), "{asked:?}");
        for word in ["hold 3 tokens", "redeemed between", "nothing was forgotten", "--since TIME", "--all"] {
            assert!(asked.stderr.contains(word), "{word}: {asked:?}");
        }
        let later =
            ["journal", "forget", "--provider", "generic", "--since", "2100-01-01", "--format", "json"];
        assert_eq!(scene.run(&later).await.json()["forgotten"], 0);
        let wrong = scene.run(&["journal", "forget", "--provider", "generic", "--before", "yesterday"]).await;
        assert!(wrong.code == Some(2) && wrong.stderr.contains("2026-11-21T03:00:00Z"), "{wrong:?}");
        let id = before[0].id.to_string();
        let unsaid = scene.run(&["journal", "forget"]).await;
        assert_eq!(unsaid.code, Some(2), "{unsaid:?}");

        let one = scene.run(&["journal", "forget", "--id", &id, "--format", "json"]).await;
        assert_eq!(one.code, Some(0), "{one:?}");
        let one = one.json();
        assert_eq!(
            (&one["provider"], &one["forgotten"], &one["marked"]),
            (&"generic".into(), &1.into(), &1.into())
        );
        let again = scene.run(&["journal", "forget", "--id", &id]).await;
        assert!(again.code == Some(0) && again.stdout.contains("nothing to forget"), "{again:?}");
        let tried = scene.run(&["providers", "try", "generic", "--id", &id, "--yes"]).await;
        assert_eq!(tried.code, Some(0), "{tried:?}");
        assert_eq!(states(&scene).await[..2], [State::Live, State::NeedsLogin]);

        // An entry in the way is settled first; nothing is forgotten until then.
        let entry = leave_open(&scene, &before[1]).await;
        let refused = scene.run(&all).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        for word in
            [&format!("({entry})"), "1 open entry", "nothing was forgotten", "evergrant journal recover"]
        {
            assert!(refused.stderr.contains(word), "{word}: {refused:?}");
        }
        let held = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
        assert_eq!(held.entries().await.unwrap().len(), 1, "the entry stays");
        assert_eq!(scene.run(&all).await.code, Some(6), "a process at work has the journal");
        let open = held.entries().await.unwrap().remove(0).id;
        held.end(vec![(open, Event::Settled)], Clock::system().now()).await.unwrap();
        held.close().await;

        let forgotten = scene.run(&all).await.json();
        assert_eq!(
            (&forgotten["documents"], &forgotten["forgotten"], &forgotten["marked"]),
            (&5.into(), &2.into(), &2.into())
        );
        let forced = scene.run(&["run", "--once", "--force", "--provider", "generic"]).await;
        assert_eq!(forced.code, Some(0), "{forced:?}");
        assert_eq!(states(&scene).await, [State::Live; 5]);
        let audit = scene.audit().await;
        assert_eq!((audit.kept, audit.lost_received), (5, 0), "{audit:?}");
    }
}
