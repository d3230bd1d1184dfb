//! Pairs without a place, as a person meets them: listed with what to do, applied by hand, discarded by hand.

use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::journal::{EntryId, Event, Intent, Journal, Permission};
use evergrant::testing::token::{ParkedWhy, RefreshToken, Subject, TokenDocument, TokenId};

/// Leaves an entry in the journal whose answer is the newest pair of the document's user, ended as `ending` says.
async fn leave(scene: &Scene, document: &TokenDocument, provider: &str, ending: Option<Event>) -> EntryId {
    let login = scene.sandbox.login(document.subject.as_str()).unwrap();
    let old = RefreshToken::new(format!("old token of {} {}", document.id, login.refresh_token));
    let body = format!(
        "{{\"access_token\":\"{}\",\"refresh_token\":\"{}\",\"expires_in\":60}}",
        login.access_token, login.refresh_token
    );
    answered(scene, document, (provider, &old), &body, ending).await
}

/// Leaves an entry for this token in the journal, with this answer.
async fn answered(
    scene: &Scene,
    document: &TokenDocument,
    (provider, token): (&str, &RefreshToken),
    body: &str,
    ending: Option<Event>,
) -> EntryId {
    let clock = Clock::system();
    let journal = Journal::open(&scene.state_folder(), &clock).unwrap();
    let intent = Intent {
        provider: provider.into(),
        document: document.id.clone(),
        subject: document.subject.clone(),
        fingerprint: token.fingerprint(),
        sent_at: clock.now(),
        access: None,
        is_refreshed_elsewhere: false,
    };
    let Permission::Send { entry, .. } = journal.intent(intent, token.clone()).await.unwrap() else {
        panic!("it may be sent")
    };
    let answer = RawAnswer {
        status: 200,
        headers: Headers::default(),
        body: body.to_owned().into(),
        complete: true,
        received_at: clock.now(),
    };
    journal.answer(entry, answer).await.unwrap();
    if let Some(ending) = ending {
        journal.end(vec![(entry, ending)], clock.now()).await.unwrap();
    }
    journal.close().await;
    entry
}

async fn document(scene: &Scene, id: &TokenId) -> TokenDocument {
    scene.store.read(std::slice::from_ref(id)).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_pair_is_listed_counted_and_written_by_hand() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig { users: 3, ..SandboxConfig::default() };
        let Some(scene) = Scene::new("apply", kind, config).await else { continue };
        let there = scene.documents().await.remove(0);
        let stood = there.refresh_token.as_ref().unwrap().fingerprint();
        let id =
            leave(&scene, &there, "generic", Some(Event::NoPlace(ParkedWhy::Superseded))).await.to_string();

        let listed = scene.run(&["journal", "list", "--orphans"]).await;
        for word in ["1 parked pair", "superseded", there.subject.as_str(), "evergrant journal apply ID"] {
            assert!(listed.stdout.contains(word), "{word}: {listed:?}");
        }
        let listed = scene.run(&["journal", "list", "--orphans", "--format", "json"]).await.json();
        assert_eq!(
            (&listed["entries"][0]["why"], &listed["entries"][0]["id"].to_string()),
            (&"superseded".into(), &id)
        );

        let applied = scene.run(&["journal", "apply", &id, "--format", "json"]).await;
        assert_eq!(applied.code, Some(0), "{applied:?}");
        let now = document(&scene, &there.id).await;
        let written = now.refresh_token.as_ref().unwrap().fingerprint();
        let told = applied.json();
        assert_eq!(
            (&told["replaced"], &told["written"]),
            (&stood.to_string().into(), &written.to_string().into())
        );
        assert!(!applied.stdout.contains(now.refresh_token.as_ref().unwrap().expose()));
        assert_eq!(now.bookkeeping.fingerprint, Some(written), "the whole bookkeeping went with it");
        assert!(now.bookkeeping.refreshed_at.is_some() && now.bookkeeping.due_at.is_some());
        assert_eq!(scene.audit().await.lost_received, 0, "the pair in the document is the user's newest");
        assert!(Journal::peek(&scene.state_folder()).unwrap().is_empty(), "the entry is ended");
        let again = scene.run(&["journal", "apply", &id]).await;
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.stderr.contains("no open entry") && again.stderr.contains("journal list"), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_applied_or_discarded_says_why_and_what_to_do() {
    let config = SandboxConfig { users: 4, ..SandboxConfig::default() };
    let scene = Scene::new("refused", Kind::Sqlite, config).await.unwrap();
    let documents = scene.documents().await;
    let nobody = TokenDocument {
        id: TokenId::from_extended_json("\"nobody\""),
        subject: Subject::new(documents[0].subject.as_str()),
        ..documents[0].clone()
    };
    let gone = leave(&scene, &nobody, "generic", Some(Event::NoPlace(ParkedWhy::Gone))).await.to_string();
    let stranger =
        leave(&scene, &documents[1], "acme", Some(Event::NoPlace(ParkedWhy::Superseded))).await.to_string();
    let answer = leave(&scene, &documents[2], "generic", None).await.to_string();
    let before = documents[1].refresh_token.clone();
    for (arguments, words) in [
        (["journal", "apply", "999"], ["no open entry 999", "journal list"]),
        (["journal", "apply", &gone], ["is gone", "journal discard"]),
        (["journal", "apply", &stranger], ["`acme`, which is not configured", "journal discard"]),
        (["journal", "apply", &answer], ["isn't parked", "evergrant journal recover"]),
        (["journal", "discard", &answer], ["isn't parked", "evergrant journal recover"]),
        (["journal", "discard", &gone], ["deleted for good", "--yes"]),
    ] {
        let ended = scene.run(&arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(words.iter().all(|word| ended.stderr.contains(word)), "{arguments:?}: {ended:?}");
    }
    assert_eq!(Journal::peek(&scene.state_folder()).unwrap().len(), 3, "nothing was touched");
    assert_eq!(document(&scene, &documents[1].id).await.refresh_token, before);

    let held = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    for arguments in [&["journal", "apply", &gone][..], &["journal", "discard", &gone, "--yes"]] {
        assert_eq!(scene.run(arguments).await.code, Some(6), "{arguments:?}");
    }
    assert_eq!(scene.run(&["journal", "list", "--orphans"]).await.code, Some(0), "looking takes nothing");
    held.close().await;

    let summary = scene.run(&ONCE).await.json();
    assert_eq!(
        summary["parked"]["orphans"], 3,
        "the answer has no place either, and all are counted: {summary}"
    );
    let said = scene.run(&["run", "--once"]).await.stdout;
    assert!(said.contains("3  new pairs wait in the journal"), "{said}");

    for id in [&gone, &stranger, &answer] {
        let ended = scene.run(&["journal", "discard", id, "--yes"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert!(Journal::peek(&scene.state_folder()).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_answer_held_no_pair_is_asked_for_again_once_a_person_says_so() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig { users: 3, ..SandboxConfig::default() };
        let Some(mut scene) = Scene::new("retry", kind, config).await else { continue };
        let documents = scene.documents().await;
        // A provider under maintenance, which says so with 200.
        let body = r#"{"status":"maintenance","request_id":"0c7d9a52-6f1e-4a7b-9a51-0d1c2b3a4e5f"}"#;
        for document in &documents[..2] {
            let token = document.refresh_token.as_ref().unwrap();
            answered(&scene, document, ("generic", token), body, Some(Event::CannotRead("no_tokens".into())))
                .await;
        }
        // The second was processed all the same.
        scene.sandbox.revoke(documents[1].subject.as_str());
        let run = scene.run(&ONCE).await;
        assert_eq!(run.json()["still_due_reasons"]["unread_answer"], 2, "{run:?}");
        let listed = scene.run(&["journal", "list"]).await.stdout;
        assert!(listed.contains("evergrant journal retry ID"), "{listed}");
        scene.set("ask_again", "never");
        let never = scene.run(&["journal", "retry", "1"]).await;
        assert_eq!((never.code, never.stderr.contains("ask_again")), (Some(2), true), "{never:?}");
        scene.set("ask_again", "once");
        let retried = scene.run(&["journal", "retry", "1", "2", "999"]).await;
        assert_eq!(retried.code, Some(2), "{retried:?}");
        assert!(
            retried.stderr.contains("no open entry 999") && retried.stdout.contains("entry 2"),
            "{retried:?}"
        );
        let twice = scene.run(&["journal", "retry", "1"]).await;
        assert_eq!((twice.code, twice.stderr.contains("journal list")), (Some(2), true), "{twice:?}");

        let summary = scene.run(&ONCE).await.json();
        assert_eq!(
            (&summary["outcomes"]["refreshed"], &summary["outcomes"]["lost_in_flight"]),
            (&1.into(), &1.into()),
            "{summary}"
        );
        let lost = document(&scene, &documents[1].id).await.bookkeeping.last_error.unwrap().lost.unwrap();
        assert_eq!((&*lost.cause, lost.received_bytes), ("no_tokens", body.len() as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_answers_without_their_key_refuse_to_start_and_name_the_setting() {
    let config = SandboxConfig { users: 2, ..SandboxConfig::default() };
    let mut scene = Scene::new("sealed", Kind::Sqlite, config).await.unwrap();
    let there = scene.documents().await.remove(0);
    leave(&scene, &there, "generic", Some(Event::NoPlace(ParkedWhy::Superseded))).await;
    let keys = ["a".repeat(64), "b".repeat(64)];
    scene.set("journal_key", &keys[0]);
    assert_eq!(scene.run(&["run", "--once"]).await.code, Some(0), "all is encrypted by this");
    scene.set("journal_key", &keys[1]);
    let wrong = scene.run(&["run", "--once"]).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("journal_old_keys"), "{wrong:?}");
    assert!(keys.iter().all(|key| !wrong.stderr.contains(key)), "{wrong:?}");
    scene.set("journal_old_keys", &keys[0]);
    assert_eq!(scene.run(&["run", "--once"]).await.code, Some(0), "it is read with the old one");
    scene.set("journal_old_keys", &keys[1]);
    assert_eq!(scene.run(&["run", "--once"]).await.code, Some(0), "which can go after one start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_in_nobodys_way_and_can_be_given_up() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig { users: 3, ..SandboxConfig::default() };
        let Some(scene) = Scene::new("damaged", kind, config).await else { continue };
        let documents = scene.documents().await;
        let bad_row = leave(&scene, &documents[0], "generic", None).await;
        let bad_id = leave(&scene, &documents[1], "generic", None).await;
        let rows = rusqlite::Connection::open(scene.state_folder().join("journal.db")).unwrap();
        rows.execute("UPDATE entries SET fingerprint = '?' WHERE id = ?1", [bad_row.to_string()]).unwrap();
        rows.execute("UPDATE entries SET document = '{\"$oid\":\"x\"}' WHERE id = ?1", [bad_id.to_string()])
            .unwrap();
        drop(rows);
        let run = scene.run(&ONCE).await;
        let summary = run.json();
        assert_eq!(summary["outcomes"]["refreshed"], 3, "{run:?}");
        assert_eq!(summary["parked"]["orphans"], 1, "the pair of a document that isn't there: {run:?}");
        let id = bad_row.to_string();
        let asked = scene.run(&["journal", "discard", &id]).await;
        assert_eq!((asked.code, asked.stderr.contains("--yes")), (Some(2), true), "{asked:?}");
        let gone = scene.run(&["journal", "discard", &id, "--yes"]).await;
        assert_eq!(gone.code, Some(0), "{gone:?}");
        assert!(!scene.run(&["journal", "list"]).await.stdout.contains("can't be read"));
    }
}
