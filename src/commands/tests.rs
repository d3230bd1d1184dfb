//! Commands as they are run, over an embedded store in a folder of their own.

use super::*;
use crate::cli::{CheckArgs, Cli, JournalCommand, ListArgs, TokensCommand};
use crate::grant::RawAnswer;
use crate::grant::headers::Headers;
use crate::journal::{Intent, Journal, Permission};
use crate::sandbox::{Sandbox, SandboxConfig};
use crate::store::sqlite::SqliteStore;
use crate::token::{Subject, TokenId};
use bytes::Bytes;
use std::path::Path;

fn surroundings(directory: &Path, settings: &[(&str, &str)]) -> Surroundings {
    let mut global = Cli::parse_from(["evergrant", "providers", "list", "-qq"]).global;
    let all = [
        ("state_dir", directory.to_str().unwrap()),
        ("provider", "generic"),
        ("token_url", "http://127.0.0.1:1/token"),
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-secret"),
    ];
    let all = all.iter().chain(settings);
    global.set = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Surroundings { global, clock: Clock::system(), talk: telemetry::stderr() }
}

async fn import(directory: &Path, text: &str, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let file = directory.join("documents");
    std::fs::write(&file, text).unwrap();
    tokens::run(TokensCommand::Import { file, input: None, overwrite: false }, surroundings).await
}

async fn refresh_token(surroundings: &Surroundings, id: &str) -> String {
    let config = surroundings.config(Need::Store).unwrap();
    let id = TokenId::from_extended_json(id);
    let documents = crate::assembly::store(&config).await.unwrap().read(&[id]).await.unwrap();
    documents[0].refresh_token.as_ref().unwrap().expose().to_owned()
}

/// What a process leaves that was killed between the answer and the write-back.
async fn leave_an_answer(surroundings: &Surroundings, directory: &Path) {
    let journal = Journal::open(directory, &surroundings.clock).unwrap();
    let now = surroundings.clock.now();
    let token = crate::token::RefreshToken::new("old".to_owned());
    let intent = Intent {
        provider: "generic".into(),
        document: TokenId::from_extended_json("\"ann\""),
        subject: Subject::new("ann@example.com"),
        fingerprint: token.fingerprint(),
        sent_at: now,
        access: None,
        is_refreshed_elsewhere: false,
    };
    let Permission::Send { entry, .. } = journal.intent(intent, token).await.unwrap() else {
        panic!("it may be sent")
    };
    let answer = RawAnswer {
        status: 200,
        headers: Headers::default(),
        body: Bytes::from_static(br#"{"access_token":"a","refresh_token":"new"}"#),
        complete: true,
        received_at: now,
    };
    journal.answer(entry, answer).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn an_answer_that_a_process_left_is_written_back_without_asking_anybody() {
    let directory = tempfile::tempdir().unwrap();
    let surroundings = surroundings(directory.path(), &[]);
    let document = "{\"_id\":\"ann\",\"email\":\"ann@example.com\",\"refresh_token\":\"old\"}";
    assert_eq!(import(directory.path(), document, &surroundings).await.unwrap(), Exit::Well);
    leave_an_answer(&surroundings, directory.path()).await;
    assert_eq!(
        journal::run(JournalCommand::List { orphans: false }, &surroundings).await.unwrap(),
        Exit::Well
    );
    assert_eq!(refresh_token(&surroundings, "\"ann\"").await, "old");

    let held = Journal::open(directory.path(), &surroundings.clock).unwrap();
    let error =
        journal::run(JournalCommand::Recover { adopt_store: false }, &surroundings).await.unwrap_err();
    assert_eq!(error.exit(), Exit::JournalHeld);
    held.close().await;

    for _ in 0..2 {
        assert_eq!(
            journal::run(JournalCommand::Recover { adopt_store: false }, &surroundings).await.unwrap(),
            Exit::Well
        );
        assert_eq!(refresh_token(&surroundings, "\"ann\"").await, "new");
    }
    assert!(Journal::peek(directory.path()).unwrap().is_empty());
}

#[tokio::test]
async fn a_check_finds_out_what_a_pass_would() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::start(SandboxConfig::default(), "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = sandbox.token_url();
    let probe = CheckArgs { probe_client: true, allow_empty: false };
    let documents = "{\"_id\":1,\"refresh_token\":\"old\"}";
    let good = surroundings(directory.path(), &[("token_url", &url)]);
    import(directory.path(), documents, &good).await.unwrap();
    for (settings, exit) in [
        (&[("token_url", url.as_str())][..], Exit::Well),
        (&[("token_url", &url), ("client_secret", "wrong")], Exit::ClientRejected),
        (&[("token_url", &url), ("documents.refresh_token", "oauth.refresh")], Exit::Usage),
        (&[("token_url", &url), ("state_dir", "/dev/null")], Exit::Unavailable),
        (&[], Exit::Usage),
    ] {
        let surroundings = surroundings(directory.path(), settings);
        assert_eq!(check::run(&probe, &surroundings).await.unwrap(), exit, "{settings:?}");
    }
    let ledger = sandbox.ledger();
    assert_eq!((ledger.granted, ledger.refused, ledger.client_rejected), (0, 3, 1));
    assert_eq!(refresh_token(&good, "{\"$numberInt\":\"1\"}").await, "old");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_check_makes_neither_a_store_nor_a_directory() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("state");
    let surroundings = surroundings(&directory, &[]);
    check::run(&CheckArgs { probe_client: false, allow_empty: false }, &surroundings).await.unwrap();
    for command in [TokensCommand::Export, TokensCommand::List(ListArgs::default())] {
        let error = tokens::run(command, &surroundings).await.unwrap_err();
        assert!(told(&error).contains("\nhint: `evergrant tokens import FILE` makes it"), "{}", told(&error));
    }
    journal::run(JournalCommand::List { orphans: false }, &surroundings).await.unwrap();
    assert!(!directory.exists());
}

#[tokio::test]
async fn an_import_that_can_not_work_says_what_to_do_and_makes_no_store() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("state");
    let embedded = surroundings(&directory, &[]);
    let mongodb = surroundings(&directory, &[("store.url", "mongodb://db1/logins")]);
    for (file, surroundings, part) in [
        ("none.json", &embedded, "there is no file `"),
        ("", &embedded, "is a directory\nhint: "),
        (
            "none.json",
            &mongodb,
            "and `store.url` names a MongoDB\nhint: write the documents into that database",
        ),
    ] {
        let command = TokensCommand::Import { file: home.path().join(file), input: None, overwrite: false };
        let error = tokens::run(command, surroundings).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(told(&error).contains(part), "{}", told(&error));
    }
    assert!(!directory.exists());
}

#[tokio::test]
async fn an_import_may_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let surroundings = surroundings(directory.path(), &[]);
    for token in ["one", "two"] {
        let text = format!("_id,email,refresh_token\n1,a@b,{token}\n2,c@d,\n");
        import(directory.path(), &text, &surroundings).await.unwrap();
    }
    assert_eq!(refresh_token(&surroundings, "\"1\"").await, "two");
    let path = directory.path().join("tokens.db");
    let store = SqliteStore::open(&path, crate::store::mapping::Mapping::default()).await.unwrap();
    assert_eq!(store.export(None, 10).await.unwrap().documents.len(), 2);
}
