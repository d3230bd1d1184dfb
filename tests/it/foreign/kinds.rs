//! The built binary against a small server of each of the five kinds, with the settings that its topic of help shows. The
//! oracles are the server's own ledger and the collection that it shares with us.

use super::outcome;
use crate::support::foreign::{Kind, Server, express};
use crate::support::mongod;
use crate::support::process::{Ended, ONCE, command};
use bson::{Bson, Document, doc};
use evergrant::testing::help;
use evergrant::testing::token::RefreshToken;
use futures::TryStreamExt as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;

/// Living users of each server.
const USERS: usize = 1000;

/// Timeout of one pass over [`USERS`], of a debug build, beside other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server of a kind, and an installation with the settings of its topic.
struct Team {
    server: &'static Server,
    kind: Kind<'static>,
    folder: TempDir,
    settings: Vec<(String, String)>,
    documents: mongodb::Collection<Document>,
}

impl Drop for Team {
    fn drop(&mut self) {
        self.server.close_kind(&self.kind);
    }
}

/// The settings file in a topic.
fn settings_of(topic: &str) -> &str {
    let (_, rest) = topic.split_once("```toml\n").expect("a settings file");
    rest.split_once("```").expect("its end").0
}

impl Team {
    /// `None` where the server or its store isn't to be had, which was said loudly.
    async fn new(kind: &'static str, topic: &str, path: &str, users: usize) -> Option<Self> {
        Self::with(kind, topic, path, users, false).await
    }

    async fn with(
        kind: &'static str,
        topic: &str,
        path: &str,
        users: usize,
        production: bool,
    ) -> Option<Self> {
        let (uri, server) = (mongod::uri()?, express()?);
        let database = mongod::database_name(kind);
        let kind = Kind { name: kind, uri, database, users, production };
        let port = server.open_kind(&kind);
        let folder = tempfile::tempdir().unwrap();
        let settings = settings_of(topic);
        std::fs::write(folder.path().join("evergrant.toml"), settings).unwrap();
        let collection = settings.lines().find_map(|line| line.strip_prefix("collection = ")).unwrap();
        let client = mongodb::Client::with_uri_str(uri).await.unwrap();
        let documents = client.database(&kind.database).collection(collection.trim_matches('"'));
        let settings = [
            ("token_url", format!("http://127.0.0.1:{port}{path}")),
            ("store.url", uri.to_owned()),
            ("store.database", kind.database.clone()),
            ("state_dir", folder.path().join("state").to_str().unwrap().to_owned()),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
        Some(Self { server, kind, folder, settings, documents })
    }

    fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    async fn pass(&self) -> Ended {
        let child = command(self.folder.path(), &self.settings, &ONCE).spawn().unwrap();
        Ended::within(PATIENCE, child).await
    }

    /// Every document, by the name of its user.
    async fn documents(&self, name: &str) -> BTreeMap<String, Document> {
        let all: Vec<_> = self.documents.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        let named = |document: Document| {
            let name = match document.get(name) {
                Some(Bson::ObjectId(id)) => id.to_hex(),
                Some(Bson::String(name)) => name.clone(),
                other => panic!("{other:?}"),
            };
            (name, document)
        };
        all.into_iter().map(named).collect()
    }

    /// Each living user was granted once, no token was presented after it had been replaced; what the server gave last.
    fn newest(&self) -> BTreeMap<String, String> {
        let ledger = self.server.ledger(&self.kind);
        assert_eq!(ledger["reused"], serde_json::json!([]), "no token is sent after it was replaced");
        let granted = ledger["granted"].as_object().unwrap();
        assert_eq!(granted.len(), self.kind.users);
        assert!(granted.values().all(|times| *times == 1), "each once: {granted:?}");
        serde_json::from_value(ledger["newest"].clone()).unwrap()
    }

    /// A second pass finds none that is due.
    async fn assert_all_is_done(&self) {
        let ended = self.pass().await;
        assert_eq!(ended.json()["grants"], 0, "{ended:?}");
    }
}

fn counts(report: &Value, outcomes: &[&str]) -> Vec<u64> {
    outcomes.iter().map(|word| outcome(report, word).as_u64().unwrap()).collect()
}

/// A document of a living user: alive, due later, claimed by no pass, and its bookkeeping speaks of this token.
fn assert_alive(document: &Document, refresh_token: &str) {
    let books = document.get_document("evergrant").unwrap();
    assert_eq!(books.get_str("state").unwrap(), "live", "{books:?}");
    assert!(books.get("lease").is_none(), "{books:?}");
    assert!(books.get_datetime("due_at").unwrap() > &bson::DateTime::now(), "{books:?}");
    assert!(books.get_datetime("refreshed_at").is_ok() && books.get_datetime("access_expires_at").is_ok());
    let written: RefreshToken = RefreshToken::new(refresh_token.to_owned());
    assert_eq!(books.get_str("fingerprint").unwrap(), written.fingerprint().to_string());
}

fn code_of(document: &Document) -> (&str, &str) {
    let books = document.get_document("evergrant").unwrap();
    let error = books.get_document("last_error").unwrap();
    (books.get_str("state").unwrap(), error.get_str("code").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_of_autodesks_way_are_kept_alive() {
    let Some(mut team) = Team::new("autodesk", help::AUTODESK, "/token", USERS).await else { return };
    let secret = team.folder.path().join("secret");
    std::fs::write(&secret, "the-secret").unwrap();
    team.set("client_secret_file", secret.to_str().unwrap());
    team.set("client_id", "the-client");
    team.set("rate", "none");
    let ended = team.pass().await;
    let report = ended.json();
    assert_eq!(counts(&report, &["refreshed", "needs_login", "malformed"]), [1000, 2, 1], "{report}");
    let (documents, newest) = (team.documents("userId").await, team.newest());
    for (user, token) in &newest {
        let document = &documents[user];
        assert_eq!(document.get_str("refresh_token").unwrap(), token);
        assert_eq!(document.get_str("email").unwrap(), format!("{user}@example.com"));
        assert_alive(document, token);
    }
    for user in ["unknown-0", "unknown-1"] {
        assert_eq!(code_of(&documents[user]), ("needs_login", "invalid_grant"));
    }
    assert_eq!(code_of(&documents["empty-0"]), ("malformed", "empty"));
    team.assert_all_is_done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logins_of_a_servers_own_collection_are_kept_alive_and_what_it_deletes_is_told() {
    let path = "/api/auth/refreshtoken";
    let Some(team) = Team::new("express-jwt", help::EXPRESS_JWT, path, USERS).await else { return };
    let before = team.documents("user").await;
    let ended = team.pass().await;
    let report = ended.json();
    assert_eq!(
        counts(&report, &["refreshed", "gone", "malformed", "needs_login"]),
        [1000, 3, 1, 0],
        "{report}"
    );
    assert_eq!(report["gone_while_refused"], 3, "{report}");
    assert!(ended.stderr.contains("gone while refused"), "{ended:?}");
    let (documents, newest) = (team.documents("user").await, team.newest());
    assert_eq!(documents.len(), 1001, "the server has deleted the three that had ended");
    for (user, token) in &newest {
        let mut document = documents[user].clone();
        assert_alive(&document, token);
        let books = document.get_document("evergrant").unwrap().clone();
        let end = document.get_datetime("expiryDate").unwrap();
        assert_eq!(books.get_datetime("refresh_expires_at").unwrap(), end, "an end that can't be moved");
        document.remove("evergrant");
        assert_eq!(document, before[user], "nothing else of the document is changed");
    }
    team.assert_all_is_done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_whose_server_writes_into_their_documents_are_kept_alive() {
    let Some(team) = Team::new("cookie-session", help::COOKIE_SESSION, "/refresh-token", USERS).await else {
        return;
    };
    let ended = team.pass().await;
    let report = ended.json();
    let outcomes = ["refreshed", "needs_login", "still_due", "malformed", "superseded", "held"];
    assert_eq!(counts(&report, &outcomes), [1000, 3, 1, 1, 0, 0], "{report}");
    let (documents, newest) = (team.documents("username").await, team.newest());
    for (user, token) in &newest {
        let document = &documents[user];
        // The server's own write: its token stands there, with our bookkeeping.
        assert_eq!(document.get_str("refreshToken").unwrap(), token);
        assert!(document.get("access_token").is_none(), "the access token is written nowhere");
        assert_alive(document, token);
    }
    for user in ["ended-0", "ended-1", "unknown-0"] {
        assert_eq!(code_of(&documents[user]), ("needs_login", "dead_token"), "{user}");
    }
    assert_eq!(code_of(&documents["malformed-0"]), ("live", "jwt_rejected"));
    team.assert_all_is_done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reads_the_cookie_alone_is_asked_in_it() {
    let Some(mut team) = Team::new("cookie-session", help::COOKIE_SESSION, "/refresh-token", 20).await else {
        return;
    };
    team.set("request.refresh_token", "cookie:refreshToken");
    let report = team.pass().await.json();
    assert_eq!(counts(&report, &["refreshed", "needs_login", "still_due"]), [20, 3, 1], "{report}");
    let documents = team.documents("username").await;
    for (user, token) in &team.newest() {
        assert_alive(&documents[user], token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pairs_of_nested_properties_are_kept_alive() {
    let Some(team) = Team::new("jwt-pair", help::JWT_PAIR, "/auth/login", USERS).await else { return };
    let before = team.documents("name").await;
    let report = team.pass().await.json();
    let outcomes = ["refreshed", "needs_login", "still_due", "malformed"];
    assert_eq!(counts(&report, &outcomes), [1000, 2, 1, 1], "{report}");
    let (documents, newest) = (team.documents("name").await, team.newest());
    for (user, token) in &newest {
        let tokens = documents[user].get_document("tokens").unwrap();
        assert_eq!(tokens.get_str("refresh").unwrap(), token, "whatever it is nested in");
        let old = before[user].get_document("tokens").unwrap();
        assert_ne!(tokens.get_str("access").unwrap(), old.get_str("access").unwrap());
        assert_alive(&documents[user], token);
    }
    for user in ["ended-0", "ended-1"] {
        assert_eq!(code_of(&documents[user]), ("needs_login", "jwt_expired"));
    }
    assert_eq!(code_of(&documents["malformed-0"]), ("live", "jwt_rejected"));
    assert_eq!(code_of(&documents["half-0"]), ("malformed", "no_access_token"));
    team.assert_all_is_done().await;
}

/// In production Express hides what went wrong: a token whose own end is past is suspected, and no other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_bare_500_for_a_token_that_has_ended_is_suspected() {
    let Some(team) = Team::with("jwt-pair", help::JWT_PAIR, "/auth/login", 20, true).await else { return };
    let report = team.pass().await.json();
    assert_eq!(counts(&report, &["refreshed", "needs_login", "still_due"]), [20, 0, 3], "{report}");
    let documents = team.documents("name").await;
    for user in ["ended-0", "ended-1"] {
        assert_eq!(code_of(&documents[user]), ("live", "past_end"));
    }
    assert_eq!(code_of(&documents["malformed-0"]), ("live", "http_500"));
    team.newest();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sessions_get_a_new_access_token() {
    let Some(team) = Team::new("bearer-session", help::BEARER_SESSION, "/auth/session", USERS).await else {
        return;
    };
    let report = team.pass().await.json();
    let outcomes = ["refreshed", "needs_login", "malformed"];
    assert_eq!(counts(&report, &outcomes), [1000, 4, 1], "{report}");
    let (documents, newest) = (team.documents("userId").await, team.newest());
    for (user, token) in &newest {
        let document = &documents[user];
        assert_eq!(document.get_str("refresh_token").unwrap(), token, "it stays the same");
        assert_ne!(document.get_str("access_token").unwrap(), "old");
        assert_alive(document, token);
    }
    for (user, code) in [
        ("ended-0", "InvalidSession"),
        ("ended-1", "InvalidSession"),
        ("unknown-0", "UserNotFound"),
        ("malformed-0", "invalid_refresh_token"),
    ] {
        assert_eq!(code_of(&documents[user]), ("needs_login", code), "{user}");
    }
    team.assert_all_is_done().await;
}
