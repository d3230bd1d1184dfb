//! The built binary against a server that speaks no OAuth, with a profile of its own: the tokens in JSON, in cookies, as
//! bearer. The oracle is the server's own store.

use super::outcome;
use crate::support::foreign::{Client, Installation, Server, express};
use std::fmt::Write as _;

/// The rules and the examples of each profile: what the server says of a dead token.
const RULES: &str = r#"
rules = [
  { status = 401, where = { "/message" = ["Refresh token is expired or used", "jwt expired", "Invalid refresh token"] }, means = "refused" },
  { status = 401, where = { "/message" = ["invalid signature", "jwt malformed", "invalid token"] }, means = "suspected", code = "jwt_rejected" },
  { status = 401, where = { "/message" = "unauthorized request" }, means = "client_rejected", code = "token_not_received" },
]
[[example]]
name = "used"
status = 401
body = '{"statusCode":401,"data":null,"message":"Refresh token is expired or used","success":false,"errors":[]}'
means = "refused"
[[example]]
name = "the token didn't come"
status = 401
body = '{"statusCode":401,"data":null,"message":"unauthorized request","success":false,"errors":[]}'
means = "client_rejected"
code = "token_not_received"
"#;

/// What each of the server's ways wants, and where it answers: path, request, places.
const WAYS: [(&str, &str, &str); 6] = [
    (
        "/refresh-token",
        r#"encoding = "json", grant_type = "none", refresh_token = "body:refreshToken""#,
        "access_token = \"/data/accessToken\"\nrefresh_token = \"/data/refreshToken\"",
    ),
    (
        "/refresh-token",
        r#"encoding = "json", grant_type = "none", refresh_token = "cookie:refreshToken""#,
        "access_token = [\"/none\", \"cookie:accessToken\"]\nrefresh_token = [\"/data/nothing\", \"cookie:refreshToken\"]",
    ),
    (
        "/session",
        r#"encoding = "none", refresh_token = "cookie:refresh_token""#,
        "access_token = \"cookie:access_token\"\nrefresh_token = \"cookie:refresh_token\"",
    ),
    (
        "/bearer",
        r#"encoding = "none", refresh_token = "bearer""#,
        "access_token = \"/token/value\"\nrefresh_token = \"header:X-Refresh-Token\"",
    ),
    (
        "/other?version=2",
        r#"method = "GET", encoding = "none", refresh_token = "query:token""#,
        "access_token = \"/accessToken\"\nrefresh_token = \"/refreshToken\"",
    ),
    (
        "/other",
        r#"method = "GET", encoding = "none", refresh_token = "header:X-Refresh-Token""#,
        "access_token = \"/accessToken\"\nrefresh_token = \"/refreshToken\"",
    ),
];

fn profile(server: &Server, (path, request, places): (&str, &str, &str)) -> String {
    let mut profile = format!("token_url = \"{}\"\n", server.url(path));
    if request.contains("query:") {
        profile.push_str("url_holds_secrets = true\n");
    }
    writeln!(profile, "client_auth = \"no_client\"\nrequest = {{ {request} }}\n[answer]\n{places}{RULES}")
        .unwrap();
    profile
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_oauth_and_we_hold_the_same_pairs_after_each_pass() {
    let Some(server) = express() else { return };
    for (number, way) in WAYS.into_iter().enumerate() {
        let client = Client::new(&format!("own-{number}"), "", "body");
        let before = server.register(&client, 25);
        let mut installation = Installation::with_profile(&profile(server, way), &before).await;
        // Every line that there is, of the libraries too: none may hold a token.
        installation.set("log.level", "trace");
        let tested = installation.run(&["providers", "test", "own.toml"]).await;
        assert_eq!(tested.code, Some(0), "{way:?}: {tested:?}");
        let mut held = before;
        for arguments in [&[][..], &["--force"]] {
            let ended = installation.pass(arguments).await;
            assert_eq!(ended.code, Some(0), "{way:?}: {ended:?}");
            assert_eq!(outcome(&ended.json(), "refreshed"), 25, "{ended:?}");
            let printed = format!("{}{}", ended.stdout, ended.stderr);
            assert!(printed.contains("TRACE") || printed.contains("DEBUG"), "there are lines: {ended:?}");
            let now = installation.logins().await;
            assert_eq!(now, server.logins(&client), "{way:?}");
            for (user, login) in &held {
                assert_ne!(login.refresh_token, now[user].refresh_token, "{user} was rotated");
                let printed = format!("{}{}", ended.stdout, ended.stderr);
                assert!(
                    !printed.contains(login.refresh_token.as_ref().unwrap().as_str()),
                    "{way:?}: a token is printed"
                );
            }
            held = now;
        }
    }
    assert_eq!(server.reused(), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_users_whose_login_that_server_ended_must_log_in_again() {
    let Some(server) = express() else { return };
    let client = Client::new("own-revoked", "", "body");
    let mut logins = server.register(&client, 20);
    server.revoke(&client, &["user-3@example.com", "user-17@example.com"]);
    // A text that this server never signed.
    logins.get_mut("user-5@example.com").unwrap().refresh_token = Some("not.a.token".to_owned());
    let installation = Installation::with_profile(&profile(server, WAYS[0]), &logins).await;
    let ended = installation.pass(&[]).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let report = ended.json();
    let counts = ["refreshed", "needs_login", "still_due"]
        .map(|word| outcome(&report, word).as_u64().unwrap_or_default());
    assert_eq!(counts, [17, 2, 1], "{report}");
    let documents = installation.documents().await;
    for user in ["user-3@example.com", "user-17@example.com"] {
        let bookkeeping = &documents[user]["evergrant"];
        assert_eq!(bookkeeping["state"], "needs_login", "{bookkeeping}");
        // A free text of the answer goes into no document.
        assert_eq!(bookkeeping["last_error"]["code"], "rule_1", "{bookkeeping}");
    }
    assert_eq!(documents["user-5@example.com"]["evergrant"]["state"], "live", "suspected once marks no user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_sends_the_token_to_the_wrong_place_is_told_and_changes_no_login() {
    let Some(server) = express() else { return };
    let client = Client::new("own-wrong", "", "body");
    let before = server.register(&client, 10);
    let way = ("/bearer", r#"encoding = "none", refresh_token = "header:X-Token""#, WAYS[3].2);
    let installation = Installation::with_profile(&profile(server, way), &before).await;
    let ended = installation.pass(&[]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stdout.contains("token_not_received"), "{ended:?}");
    assert_eq!(installation.logins().await, before);
}
