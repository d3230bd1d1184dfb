//! `providers test`, `providers try` and `journal capture`, as a person calls them.

use crate::support::canaries;
use crate::support::process::{Kind, ONCE, Scene};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::journal::{EntryId, Event, Intent, Journal, Permission};
use evergrant::testing::store::Claim;
use evergrant::testing::token::{
    AccessToken, Bookkeeping, Lease, RefreshToken, Subject, TokenDocument, TokenId,
};
use serde_json::Value;

/// An own server's profile, as the help shows it.
const OWN: &str = r#"
token_url = "https://api.example.com/auth/refresh"
client_auth = "no_client"
request = { encoding = "json", grant_type = "none", refresh_token = "body:refreshToken" }
access_token_lifetime = "1h"
[answer]
access_token = "/accessToken"
refresh_token = "/refreshToken"
rules = [{ status = 401, where = { "/message" = "Refresh token expired" }, means = "refused" }]
"#;

fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

async fn scene(name: &str, users: usize) -> Scene {
    Scene::new(name, Kind::Sqlite, self::users(users)).await.unwrap()
}

/// All of a document that a pass writes.
fn seen(document: &TokenDocument) -> (&RefreshToken, Option<&AccessToken>, &Bookkeeping) {
    (document.refresh_token.as_ref().unwrap(), document.access_token.as_ref(), &document.bookkeeping)
}

fn id(index: usize) -> String {
    format!("{index:024x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_tested_with_a_document_and_captured_answers_and_without_a_network() {
    let scene = scene("providers-test", 1).await;
    let write = |name: &str, text: &str| std::fs::write(scene.folder.path().join(name), text).unwrap();
    canaries::plant("planted-document-token");
    canaries::plant("planted-answer-token");
    write("own.toml", OWN);
    write("doc.json", "{\"refresh_token\":\"planted-document-token\"}");
    write(
        "ok.http",
        "HTTP/2 200 \r\ncontent-type: application/json\r\n\r\n{\"accessToken\":\"planted-answer-token\",\"refreshToken\":\"planted-answer-token\"}",
    );
    write("dead.http", "HTTP/1.1 401 Unauthorized\n\n{\"message\":\"Refresh token expired\"}\n");
    let arguments = [
        "providers",
        "test",
        "own.toml",
        "--document",
        "doc.json",
        "--answer",
        "ok.http",
        "--answer",
        "dead.http",
    ];
    let tested = scene.run(&arguments).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    for words in [
        "POST https://api.example.com/auth/refresh",
        "{\"refreshToken\":\"‹refresh token, 22 characters›\"}",
        "arrives as it is",
        "ok.http (HTTP 200): granted",
        "/refreshToken, 20 characters",
        "dead.http (HTTP 401): refused",
        "`answer.rules`, rule 1",
        "403 with an unknown text",
        "nothing is wrong",
    ] {
        assert!(tested.stdout.contains(words), "{words}: {}", tested.stdout);
    }
    let json = scene.run(&[&arguments[..], &["--format", "json"]].concat()).await.json();
    assert_eq!(json["answers"][0]["refresh_token"]["characters"], 20);
    assert_eq!(
        (&json["answers"][1]["found"], &json["answers"][1]["writes"][0]["field"]),
        (&"refused".into(), &"evergrant".into())
    );
    assert!(json["unknown"].as_array().unwrap().iter().all(|answer| answer["marks"] == false), "{json}");
    assert_eq!(scene.sandbox.ledger().requests, 0);

    write(
        "wrong.toml",
        &format!(
            "{OWN}[[example]]\nname = \"dead\"\nstatus = 401\nbody = '{{\"message\":\"Token expired\"}}'\nmeans = \"refused\"\n"
        ),
    );
    write("none.http", "{\"accessToken\":\"planted-answer-token\"}");
    write("number.json", "{\"refresh_token\":7}");
    for (arguments, words) in [
        (
            &["providers", "test", "wrong.toml"][..],
            "WRONG   dead: is unlisted (http_401), and should be refused",
        ),
        (&["providers", "test", "own.toml", "--answer", "none.http"], "line 1 is no status line"),
        (&["providers", "test", "own.toml", "--document", "number.json"], "would be `malformed`"),
        (&["providers", "test", "own.toml", "--document", "ok.http"], "is no JSON object"),
    ] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(words), "{words}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_token_costs_one_request_and_its_answer_becomes_an_example() {
    let scene = scene("made-up", 2).await;
    let before = scene.documents().await;
    std::fs::write(scene.folder.path().join("own.toml"), OWN).unwrap();
    let tried = scene.run(&["providers", "try", "--made-up", "--save", "own.toml"]).await;
    assert_eq!(tried.code, Some(0), "{tried:?}");
    for words in [
        "‹refresh token, 48 characters›",
        "HTTP/1.1 400",
        "read as refused (invalid_grant)",
        "written into own.toml",
    ] {
        assert!(tried.stdout.contains(words), "{words}: {tried:?}");
    }
    let ledger = scene.sandbox.ledger();
    assert_eq!((ledger.requests, ledger.granted), (1, 0), "one request, and no second one");
    let tested = scene.run(&["providers", "test", "own.toml", "--format", "json"]).await;
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let tested = tested.json();
    assert_eq!(
        (&tested["examples"][0]["means"], &tested["examples"][0]["holds"]),
        (&"refused".into(), &true.into())
    );
    let after = scene.documents().await;
    assert!(after.iter().map(seen).eq(before.iter().map(seen)), "no document is touched");
    assert!(!scene.state_folder().join("journal.db").exists(), "and no journal is made");

    let json = scene.run(&["providers", "try", "generic", "--made-up", "--format", "json"]).await.json();
    assert_eq!((&json["reading"]["found"], &json["saved"]), (&"refused".into(), &Value::Null));
    for (arguments, code, words) in [
        (
            &["providers", "try", "acme", "--made-up"][..],
            2,
            "no provider `acme` is configured; there are: generic",
        ),
        (&["providers", "try"], 2, "--made-up"),
        (&["providers", "try", "--made-up", "--id", "7"], 2, "cannot be used with"),
        (&["providers", "try", "--id", "7", "--save", "x"], 2, "cannot be used with"),
        (
            &["providers", "try", "--made-up", "--set", "token_url=http://127.0.0.1:1/"],
            2,
            "no answer came (connect)",
        ),
        (&["providers", "try", "--made-up", "--set", "client_id=stranger"], 5, "read as client_rejected"),
    ] {
        let ended = scene.run(arguments).await;
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(words), "{words}: {ended:?}");
    }
    for text in ["this is = no [ toml", "example = []\n"] {
        std::fs::write(scene.folder.path().join("odd.toml"), text).unwrap();
        let ended = scene.run(&["providers", "try", "--made-up", "--save", "odd.toml"]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(std::fs::read_to_string(scene.folder.path().join("odd.toml")).unwrap(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_is_refreshed_and_no_other() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(scene) = Scene::new("try-one", kind, users(3)).await else { continue };
        let before = scene.documents().await;
        let unconfirmed = scene.run(&["providers", "try", "--id", &id(1)]).await;
        assert_eq!(unconfirmed.code, Some(2), "{unconfirmed:?}");
        assert!(unconfirmed.stderr.contains("--yes"), "{unconfirmed:?}");
        assert_eq!(scene.sandbox.ledger().requests, 0);

        // The second time it isn't due, and is asked for all the same.
        for round in 1..=2 {
            let tried = scene.run(&["providers", "try", "generic", "--id", &id(1), "--yes"]).await;
            assert_eq!(tried.code, Some(0), "{tried:?}");
            for words in ["‹refresh token, ", "HTTP/1.1 200", "read as granted", "1 refreshed", "masked-"] {
                assert!(tried.stdout.contains(words), "{words}: {tried:?}");
            }
            assert_eq!(scene.sandbox.ledger().granted, round);
            let after = scene.documents().await;
            for other in [0, 2] {
                assert_eq!(seen(&after[other]), seen(&before[other]), "the others are untouched");
            }
            assert_ne!(after[1].refresh_token, before[1].refresh_token);
            assert!(after[1].bookkeeping.due_at.is_some() && after[1].bookkeeping.lease.is_none());
            assert_eq!(scene.audit().await.lost_received, 0);
        }
        let json = scene.run(&["providers", "try", "--id", &id(2), "--yes", "--format", "json"]).await.json();
        assert_eq!(json["answers"].as_array().unwrap().len(), 1, "{json}");
        assert_ne!(json["before"]["refresh_token"], json["after"]["refresh_token"], "{json}");
        assert_eq!(json["outcomes"]["refreshed"], 1, "{json}");
        let pass = scene.run(&ONCE).await.json();
        assert_eq!((&pass["outcomes"]["refreshed"], &pass["due"]), (&1.into(), &1.into()), "{pass}");
        assert_eq!(scene.sandbox.ledger().reuses, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walls_of_a_pass_stand_for_one_document_too() {
    let scene = scene("try-walls", 3).await;
    let documents = scene.documents().await;
    // Another process holds it.
    let until = Clock::system().now() + chrono::TimeDelta::hours(1);
    let lease = Lease { id: "theirs".into(), owner: "other:1".into(), until, taken_over: false, by: None };
    let now = Clock::system().now();
    let claim = Claim {
        ids: vec![documents[0].id.clone()],
        lease,
        due_by: None,
        now,
        over: Vec::new(),
        ended_for: chrono::TimeDelta::zero(),
    };
    assert_eq!(scene.store.claim(&claim).await.unwrap().documents.len(), 1);
    let held = scene.run(&["providers", "try", "--id", &id(0), "--yes"]).await;
    assert_eq!(held.code, Some(0), "{held:?}");
    assert!(held.stdout.contains("nothing was sent") && held.stdout.contains("holds its claim"), "{held:?}");
    assert_eq!(scene.sandbox.ledger().requests, 0);
    // Another process has the journal.
    let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    assert_eq!(scene.run(&["providers", "try", "--id", &id(1), "--yes"]).await.code, Some(6));
    journal.close().await;
    // A refusal is not believed in a pass in which no other user was granted.
    scene.sandbox.revoke(documents[1].subject.as_str());
    for requests in [1, 2] {
        let dead = scene.run(&["providers", "try", "--id", &id(1), "--yes"]).await;
        assert_eq!(dead.code, Some(4), "{dead:?}");
        for words in ["1 still_due (refused_once)", "read as refused (invalid_grant)"] {
            assert!(dead.stdout.contains(words), "{words}: {dead:?}");
        }
        assert_eq!(scene.sandbox.ledger().requests, requests);
    }
    let pass = scene.run(&["run", "--once", "--force"]).await;
    assert_eq!(pass.code, Some(3), "{pass:?}");
    // One that is marked can be asked for by hand, and stays marked.
    let sent = scene.sandbox.ledger().requests;
    let marked = scene.run(&["providers", "try", "--id", &id(1), "--yes"]).await;
    assert!(marked.stdout.contains("needs_login") && scene.sandbox.ledger().requests > sent, "{marked:?}");
    for (arguments, words) in [
        (["providers", "try", "--id", "7", "--yes"], "no document has the `_id` `7`"),
        (["providers", "try", "acme", "--id", "--yes"], "a value is required"),
    ] {
        let ended = scene.run(&arguments).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

/// Leaves an unread answer in the journal.
async fn leave(scene: &Scene, token: &str, headers: Headers, body: &str) -> EntryId {
    let clock = Clock::system();
    let journal = Journal::open(&scene.state_folder(), &clock).unwrap();
    let token = RefreshToken::new(token.to_owned());
    let intent = Intent {
        provider: "generic".into(),
        document: TokenId::from_extended_json("\"ann\""),
        subject: Subject::new("ann@example.com"),
        fingerprint: token.fingerprint(),
        sent_at: clock.now(),
        access: None,
        is_refreshed_elsewhere: false,
    };
    let Permission::Send { entry, .. } = journal.intent(intent, token).await.unwrap() else {
        panic!("it may be sent")
    };
    let (body, received_at) = (body.to_owned().into(), clock.now());
    journal
        .answer(entry, RawAnswer { status: 200, headers, body, complete: true, received_at })
        .await
        .unwrap();
    journal.end(vec![(entry, Event::CannotRead("no_tokens".into()))], clock.now()).await.unwrap();
    journal.close().await;
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leaves_the_journal_without_its_tokens_and_can_be_tested() {
    for key in [None, Some("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")] {
        let mut scene = scene("capture", 1).await;
        for planted in ["planted-sent-4Kx", "planted-new-9Qz7", "planted-cookie-3Vb", "planted-other-8Ty2Lm"]
        {
            canaries::plant(planted);
        }
        let headers = [
            ("content-type", "application/json"),
            ("set-cookie", "sid=planted-cookie-3Vb; Path=/; HttpOnly"),
            ("x-trace", "planted-other-8Ty2Lm"),
        ];
        let body = r#"{"data":{"refreshToken":"planted-new-9Qz7","token_type":"Bearer"},"note":"planted-sent-4Kx was used","more":"x=planted-other-8Ty2Lm"}"#;
        let entry = leave(&scene, "planted-sent-4Kx", headers.into_iter().collect(), body).await.to_string();
        if let Some(key) = key {
            scene.set("journal_key", key);
            // The next start encrypts what is there.
            assert_eq!(scene.run(&["journal", "recover"]).await.code, Some(0));
        }
        // Beside a process that has the journal.
        let holder = match key {
            None => Some(Journal::open(&scene.state_folder(), &Clock::system()).unwrap()),
            Some(_) => None,
        };
        let captured = scene.run(&["journal", "capture", &entry]).await;
        assert_eq!(captured.code, Some(0), "{captured:?}");
        for words in [
            "HTTP/1.1 200\n",
            "content-type: application/json",
            "sid=masked-",
            "; Path=/; HttpOnly",
            "\"token_type\":\"Bearer\"",
            "was used",
        ] {
            assert!(captured.stdout.contains(words), "{words}: {captured:?}");
        }
        let mask = |before: &str| {
            let (_, rest) = captured.stdout.split_once(before).unwrap();
            rest[..23].to_owned()
        };
        assert_eq!(mask("x-trace: "), mask("x="), "one token has one mask");
        assert_ne!(mask("x-trace: "), mask("sid="));
        let json = scene.run(&["journal", "capture", &entry, "--format", "json"]).await.json();
        assert_eq!((&json["state"], &json["complete"]), (&"unread".into(), &true.into()));
        std::fs::write(scene.folder.path().join("answer.http"), &captured.stdout).unwrap();
        let tested = scene
            .run(&["providers", "test", "generic", "--answer", "answer.http", "--format", "json"])
            .await
            .json();
        assert_eq!(tested["answers"][0]["found"], "unreadable", "{tested}");
        assert_eq!(tested["answers"][0]["unnamed"][0], "/data/refreshToken", "{tested}");
        if let Some(holder) = holder {
            holder.close().await;
        }
        let absent = scene.run(&["journal", "capture", "999"]).await;
        assert_eq!(absent.code, Some(2), "{absent:?}");
        assert!(absent.stderr.contains("no open entry 999"), "{absent:?}");
        if key.is_some() {
            scene.set("journal_key", &"f".repeat(64));
            let closed = scene.run(&["journal", "capture", &entry]).await;
            assert_eq!(closed.code, Some(2), "{closed:?}");
            assert!(closed.stderr.contains("can't be read"), "{closed:?}");
        }
    }
}
