//! The built binary against authorization servers that nobody here wrote. The oracle is each server's own store.

mod kinds;
mod own_server;

use crate::support::foreign::{Client, Installation, Make, servers};
use serde_json::Value;

/// What a form, a header or a shell could take for something else; RFC 6749 §A.2 allows each of them in a secret.
const AWKWARD: &str = "s e:c&r=e+t%41%/?~*\"'\\#";

/// How a client may prove who it is.
const WAYS: [&str; 2] = ["basic", "body"];

fn outcome<'report>(report: &'report Value, outcome: &str) -> &'report Value {
    &report["outcomes"][outcome]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_server_and_we_hold_the_same_pairs_after_each_pass() {
    for server in servers() {
        for auth in WAYS {
            let client = Client::new(&format!("plain-{auth}"), "secret", auth);
            let before = server.register(&client, 25);
            let installation = Installation::new(server, &client, &before).await;
            let mut held = before;
            // The second pass redeems what the first one wrote: the server takes each of them.
            for arguments in [&[][..], &["--force"]] {
                let ended = installation.pass(arguments).await;
                assert_eq!(ended.code, Some(0), "{:?} {auth}: {ended:?}", server.make);
                assert_eq!(outcome(&ended.json(), "refreshed"), 25, "{ended:?}");
                let now = installation.logins().await;
                assert_eq!(now, server.logins(&client), "{:?} {auth}", server.make);
                for (user, login) in &held {
                    assert_ne!(login.refresh_token, now[user].refresh_token, "{user} was rotated");
                    assert_ne!(login.access_token, now[user].access_token, "{user}");
                }
                held = now;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_users_whose_login_a_foreign_server_ended_must_log_in_again() {
    for server in servers() {
        let client = Client::new("revoked", "secret", "basic");
        let installation = Installation::new(server, &client, &server.register(&client, 20)).await;
        let dead = ["user-3@example.com", "user-17@example.com"];
        server.revoke(&client, &dead);
        let ended = installation.pass(&[]).await;
        assert_eq!(ended.code, Some(3), "{:?}: {ended:?}", server.make);
        let report = ended.json();
        assert_eq!(
            (outcome(&report, "refreshed"), outcome(&report, "needs_login")),
            (&18.into(), &2.into()),
            "{report}"
        );
        let theirs = server.logins(&client);
        for (user, document) in installation.documents().await {
            let bookkeeping = &document["evergrant"];
            if dead.contains(&user.as_str()) {
                assert_eq!(bookkeeping["state"], "needs_login", "{document}");
                assert_eq!(bookkeeping["last_error"]["code"], "invalid_grant", "{document}");
                assert_eq!(bookkeeping["last_error"]["http_status"], 400, "{document}");
            } else {
                assert_eq!(bookkeeping["state"], "live", "{document}");
                assert_eq!(document["refresh_token"].as_str(), theirs[&user].refresh_token.as_deref());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_foreign_server_rejects_changes_no_document() {
    for server in servers() {
        for auth in WAYS {
            let client = Client::new(&format!("rejected-{auth}"), "secret", auth);
            let before = server.register(&client, 20);
            let mut installation = Installation::new(server, &client, &before).await;
            installation.set("client_secret", "another");
            let ended = installation.pass(&[]).await;
            assert_eq!(ended.code, Some(5), "{:?} {auth}: {ended:?}", server.make);
            assert!(ended.stdout.contains("invalid_client"), "{ended:?}");
            assert_eq!((&installation.logins().await, &server.logins(&client)), (&before, &before));
            for document in installation.documents().await.values() {
                assert!(matches!(document["evergrant"]["state"].as_str(), None | Some("live")), "{document}");
            }
            installation.set("client_secret", &client.secret);
            let ended = installation.pass(&["--force"]).await;
            assert_eq!(
                (ended.code, installation.logins().await),
                (Some(0), server.logins(&client)),
                "{ended:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_server_knows_us_by_any_id_and_secret() {
    for server in servers() {
        // oidc-provider takes what RFC 6749 allows; Authlib takes any text.
        let beyond = (server.make == Make::Authlib).then(|| format!("{AWKWARD} ü€😀"));
        for auth in WAYS {
            for (number, text) in [AWKWARD.to_owned()].into_iter().chain(beyond.clone()).enumerate() {
                let client = Client::new(&format!("{auth}-{number} {text}"), &text, auth);
                let installation = Installation::new(server, &client, &server.register(&client, 3)).await;
                let ended = installation.pass(&[]).await;
                assert_eq!(ended.code, Some(0), "{:?} {client:?}: {ended:?}", server.make);
                assert_eq!(installation.logins().await, server.logins(&client), "{:?}", server.make);
            }
        }
    }
}

/// A backup of one document is restored, and the state directory that would have known the old token is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_refresh_token_is_refused_by_a_foreign_server_and_named() {
    for server in servers() {
        let client = Client::new("restored", "secret", "basic");
        let old = server.register(&client, 10);
        let first = Installation::new(server, &client, &old).await;
        assert_eq!(first.pass(&[]).await.code, Some(0));
        let restored = "user-4@example.com".to_owned();
        let mut held = first.logins().await;
        held.insert(restored.clone(), old[&restored].clone());
        let again = Installation::new(server, &client, &held).await;
        let ended = again.pass(&[]).await;
        assert_eq!(ended.code, Some(3), "{:?}: {ended:?}", server.make);
        let documents = again.documents().await;
        assert_eq!(documents[&restored]["evergrant"]["state"], "needs_login", "{ended:?}");
        assert_eq!(documents[&restored]["evergrant"]["last_error"]["code"], "invalid_grant", "{ended:?}");
        let (ours, mut theirs) = (again.logins().await, server.logins(&client));
        // What becomes of the login that the old token once belonged to is the server's to choose (RFC 9700 §4.14.2).
        let survivor = theirs.remove(&restored).and_then(|login| login.refresh_token);
        match server.make {
            Make::Authlib => assert_eq!(survivor, first.logins().await[&restored].refresh_token),
            Make::OidcProvider => assert_eq!(survivor, None, "the whole login is ended"),
            Make::Express => unreachable!("it speaks no OAuth"),
        }
        assert_eq!(theirs.len(), 9);
        assert!(theirs.iter().all(|(user, login)| ours[user] == *login), "{:?}", server.make);
    }
}

/// Authlib answers without a refresh token then, oidc-provider with the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_a_foreign_server_does_not_rotate_is_kept() {
    for server in servers() {
        let client = Client { rotates: false, ..Client::new("kept", "secret", "basic") };
        let before = server.register(&client, 10);
        let installation = Installation::new(server, &client, &before).await;
        for arguments in [&[][..], &["--force"]] {
            let ended = installation.pass(arguments).await;
            assert_eq!(ended.code, Some(0), "{:?}: {ended:?}", server.make);
            assert_eq!(outcome(&ended.json(), "refreshed"), 10, "{ended:?}");
            let now = installation.logins().await;
            assert_eq!(now, server.logins(&client), "{:?}", server.make);
            for (user, login) in &before {
                assert_eq!(login.refresh_token, now[user].refresh_token, "{user}");
                assert_ne!(login.access_token, now[user].access_token, "{user}");
            }
        }
    }
}
