//! What the token endpoint grants, refuses, rejects and throttles.

use super::*;

/// `sandbox-client:sandbox-secret`
const BASIC: &str = "Authorization: Basic c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ=\r\n";

#[tokio::test]
async fn a_redemption_answers_with_a_new_pair_that_nobody_may_cache() {
    let sandbox = start(SandboxConfig { announce_refresh_lifetime: true, ..Default::default() }).await;
    let first = seeded(&sandbox, 0);
    let reply = redeem(&sandbox, &first).await;
    assert_eq!(reply.status, Some(200));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answer = reply.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["refresh_token_expires_in"], 14 * 24 * 3600);
    let second = reply.refresh_token();
    assert_eq!((first.len(), second.len()), (43, 43));
    let user = &sandbox.users()[0];
    assert_eq!(
        (&user.refresh_token, &user.access_token),
        (&second, &answer["access_token"].as_str().unwrap().into())
    );
    let history = sandbox.token_history(&first).unwrap();
    assert_eq!(history.successor, Some(second.clone()));
    assert_eq!(history.delivery(), Some(Outcome::Delivered));
    assert_eq!(history.redeemed_at.len(), 1);
    assert_eq!(sandbox.token_history(&second).unwrap().predecessor, Some(first));
    assert!(sandbox.token_history("never handed out").is_none());
}

#[tokio::test]
async fn a_refresh_token_works_once() {
    let sandbox = start(SandboxConfig::default()).await;
    let first = seeded(&sandbox, 0);
    let second = redeem(&sandbox, &first).await.refresh_token();
    let reply = redeem(&sandbox, &first).await;
    assert_eq!((reply.status, reply.error().as_str()), (Some(400), "invalid_grant"));
    assert_eq!(redeem(&sandbox, &second).await.status, Some(200));
    let ledger = sandbox.ledger();
    assert_eq!((ledger.requests, ledger.granted, ledger.delivered, ledger.refused), (3, 2, 2, 1));
    assert_eq!((ledger.reuses, ledger.reuses_in_grace, ledger.families_revoked), (1, 0, 0));
}

#[tokio::test]
async fn reuse_ends_the_whole_login_when_asked_to() {
    let sandbox = start(SandboxConfig { reuse: Reuse::RevokeFamily, ..Default::default() }).await;
    let first = seeded(&sandbox, 0);
    let second = redeem(&sandbox, &first).await.refresh_token();
    assert_eq!(redeem(&sandbox, &first).await.status, Some(400));
    assert_eq!(redeem(&sandbox, &second).await.error(), "invalid_grant");
    assert_eq!(sandbox.ledger().families_revoked, 1);
    assert_eq!(sandbox.user("user-000000").unwrap().dead_because.as_deref(), Some("reuse"));
    let again = sandbox.login("user-000000@example.com").unwrap();
    assert_eq!(redeem(&sandbox, &again.refresh_token).await.status, Some(200));
}

#[tokio::test]
async fn within_the_grace_the_old_token_hands_out_a_sibling() {
    let clock = Clock::steppable();
    let grace = Duration::from_secs(30);
    let sandbox = start(SandboxConfig { grace, clock: clock.clone(), ..Default::default() }).await;
    let first = seeded(&sandbox, 0);
    let lost = redeem(&sandbox, &first).await.refresh_token();
    clock.step(TimeDelta::seconds(20));
    let sibling = redeem(&sandbox, &first).await.refresh_token();
    assert_ne!(lost, sibling);
    assert_eq!(seeded(&sandbox, 0), sibling, "the newest is current");
    clock.step(TimeDelta::seconds(10));
    assert_eq!(
        redeem(&sandbox, &first).await.status,
        Some(400),
        "the grace counts from the first redemption"
    );
    assert_eq!(redeem(&sandbox, &lost).await.status, Some(200), "an unused sibling stays valid");
    assert_eq!(redeem(&sandbox, &sibling).await.status, Some(200));
    let ledger = sandbox.ledger();
    assert_eq!((ledger.granted, ledger.reuses, ledger.reuses_in_grace), (4, 2, 1));
}

#[tokio::test]
async fn a_token_that_does_not_rotate_stays_and_may_be_left_out() {
    for (rotation, repeated) in [(Rotation::Keep, true), (Rotation::KeepAndOmit, false)] {
        let sandbox = start(SandboxConfig { rotation, ..Default::default() }).await;
        let token = seeded(&sandbox, 0);
        let first = redeem(&sandbox, &token).await.json();
        let second = redeem(&sandbox, &token).await.json();
        assert_ne!(first["access_token"], second["access_token"]);
        assert_eq!(first.get("refresh_token").and_then(|it| it.as_str()), repeated.then_some(token.as_str()));
        assert_eq!(sandbox.ledger().reuses, 0);
    }
}

#[tokio::test]
async fn a_refresh_token_expires_by_the_clock() {
    let clock = Clock::steppable();
    let sandbox = start(SandboxConfig { users: 2, clock: clock.clone(), ..Default::default() }).await;
    let token = seeded(&sandbox, 0);
    clock.step(TimeDelta::days(13));
    let renewed = redeem(&sandbox, &token).await.refresh_token();
    clock.step(TimeDelta::days(1));
    assert_eq!(redeem(&sandbox, &seeded(&sandbox, 1)).await.error(), "invalid_grant");
    assert_eq!(sandbox.user("user-000001").unwrap().dead_because.as_deref(), Some("expired"));
    assert_eq!(redeem(&sandbox, &renewed).await.status, Some(200));
}

#[tokio::test]
async fn dead_revoked_and_unknown_tokens_are_refused() {
    let sandbox = start(SandboxConfig { users: 3, dead_users: 1, ..Default::default() }).await;
    assert!(sandbox.revoke("user-000001"));
    assert!(!sandbox.revoke("user-000003"));
    assert_eq!(redeem(&sandbox, &seeded(&sandbox, 2)).await.error(), "invalid_grant");
    assert_eq!(redeem(&sandbox, &seeded(&sandbox, 1)).await.error(), "invalid_grant");
    assert_eq!(redeem(&sandbox, "made-up").await.error(), "invalid_grant");
    let ledger = sandbox.ledger();
    assert_eq!((ledger.refused, ledger.alive_users, ledger.dead_users), (3, 1, 2));
}

#[tokio::test]
async fn a_new_login_leaves_the_old_one_alive() {
    let sandbox = start(SandboxConfig::default()).await;
    let old = seeded(&sandbox, 0);
    let new = sandbox.login("user-000000").unwrap().refresh_token;
    assert_eq!(redeem(&sandbox, &old).await.status, Some(200));
    assert_eq!(redeem(&sandbox, &new).await.status, Some(200));
    assert_eq!(sandbox.user("user-000000").unwrap().logins, 2);
}

#[tokio::test]
async fn the_client_authenticates_in_the_header_or_in_the_body_but_not_in_both() {
    let sandbox = start(SandboxConfig { rotation: Rotation::Keep, ..Default::default() }).await;
    let grant = format!("grant_type=refresh_token&refresh_token={}", seeded(&sandbox, 0));
    let wrong_basic = "Authorization: Basic c2FuZGJveC1jbGllbnQ6d3Jvbmc=\r\n";
    let in_body = "&client_id=sandbox-client&client_secret=sandbox-secret";
    let cases = [
        (BASIC, "", 200, None),
        (BASIC, "&client_id=sandbox-client", 200, None),
        ("", in_body, 200, None),
        (BASIC, in_body, 400, Some("invalid_request")),
        (BASIC, "&client_id=other", 400, Some("invalid_request")),
        (wrong_basic, "", 401, Some("invalid_client")),
        ("Authorization: Bearer x\r\n", "", 401, Some("invalid_client")),
        ("", "&client_id=sandbox-client&client_secret=wrong", 401, Some("invalid_client")),
        ("", "", 401, Some("invalid_client")),
    ];
    for (headers, more, status, error) in cases {
        let reply = post_form(&sandbox, headers, &format!("{grant}{more}")).await;
        assert_eq!(reply.status, Some(status), "{headers}{more}");
        assert_eq!(reply.json()["error"].as_str(), error, "{headers}{more}");
        let challenged = reply.header("www-authenticate").is_some_and(|it| it.starts_with("Basic "));
        assert_eq!(challenged, status == 401 && !headers.is_empty(), "{headers}{more}");
    }
    let ledger = sandbox.ledger();
    assert_eq!((ledger.granted, ledger.invalid_requests, ledger.client_rejected), (3, 2, 4));
}

#[tokio::test]
async fn malformed_requests_say_what_is_wrong() {
    let sandbox = start(SandboxConfig::default()).await;
    let cases = [
        ("refresh_token=x", "invalid_request"),
        ("grant_type=refresh_token", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=x&refresh_token=y", "invalid_request"),
        ("grant_type=authorization_code&code=x", "unsupported_grant_type"),
    ];
    for (body, error) in cases {
        let reply = post_form(&sandbox, BASIC, body).await;
        assert_eq!((reply.status, reply.error().as_str()), (Some(400), error), "{body}");
    }
    let json = format!("Content-Type: application/json\r\n{BASIC}");
    assert_eq!(send(&sandbox, "POST", "/token", &json, "{}").await.error(), "invalid_request");
    assert_eq!(get(&sandbox, "/token").await.status, Some(405));
    assert_eq!(get(&sandbox, "/nothing").await.status, Some(404));
    assert_eq!(sandbox.ledger().invalid_requests, 6);
}

#[tokio::test]
async fn the_autodesk_path_is_the_same_endpoint() {
    let sandbox = start(SandboxConfig::default()).await;
    let body = format!("grant_type=refresh_token&refresh_token={}", seeded(&sandbox, 0));
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\n{BASIC}");
    let reply = send(&sandbox, "POST", "/authentication/v2/token", &headers, &body).await;
    assert_eq!(reply.status, Some(200));
}

#[tokio::test]
async fn the_rate_limit_is_exact_in_every_sliding_window() {
    let clock = Clock::steppable();
    let rate_limit = Some("3/10min".parse().unwrap());
    let rotation = Rotation::Keep;
    let sandbox =
        start(SandboxConfig { rate_limit, rotation, clock: clock.clone(), ..Default::default() }).await;
    let token = seeded(&sandbox, 0);
    assert_eq!(redeem(&sandbox, &token).await.status, Some(200));
    clock.step(TimeDelta::minutes(4));
    assert_eq!(redeem(&sandbox, &token).await.status, Some(200));
    assert_eq!(redeem(&sandbox, &token).await.status, Some(200));
    let throttled = redeem(&sandbox, &token).await;
    assert_eq!(throttled.status, Some(429));
    assert_eq!(throttled.header("retry-after"), Some("360"), "rounded up");
    clock.step(TimeDelta::minutes(6));
    assert_eq!(redeem(&sandbox, &token).await.status, Some(200), "the first one left the window");
    assert_eq!(redeem(&sandbox, &token).await.status, Some(429), "only the first one did");
    clock.step(TimeDelta::days(-1));
    assert_eq!(redeem(&sandbox, &token).await.status, Some(200), "a clock set back does not block for a day");
    let ledger = sandbox.ledger();
    assert_eq!((ledger.granted, ledger.throttled, ledger.max_grants_in_window), (5, 2, 3));
}

#[test]
fn rate_limits_are_read_as_people_write_them() {
    let limit = |grants, seconds| Ok(RateLimit { grants, window: Duration::from_secs(seconds) });
    let refused = |text: &str| Err(RateLimitError(text.into()));
    for (text, expected) in [
        ("400/min", limit(400, 60)),
        ("50/s", limit(50, 1)),
        ("9 / hour", limit(9, 3600)),
        ("10/10s", limit(10, 10)),
        ("400", refused("400")),
        ("0/s", refused("0/s")),
        ("5/0s", refused("5/0s")),
        ("many/s", refused("many/s")),
    ] {
        assert_eq!(text.parse::<RateLimit>(), expected);
        if let Ok(limit) = expected {
            assert_eq!(limit.to_string().parse::<RateLimit>(), expected);
        }
    }
}

#[tokio::test]
async fn the_same_seed_makes_the_same_tokens() {
    let one = start(SandboxConfig { users: 3, ..Default::default() }).await;
    let same = start(SandboxConfig { users: 3, ..Default::default() }).await;
    let other = start(SandboxConfig { users: 3, seed: 2, ..Default::default() }).await;
    assert_eq!(one.users(), same.users());
    assert_ne!(one.users(), other.users());
    let next = redeem(&one, &seeded(&one, 1)).await.body;
    assert_eq!(next, redeem(&same, &seeded(&same, 1)).await.body);
}

#[tokio::test]
async fn users_come_as_documents_that_can_be_imported() {
    let sandbox = start(SandboxConfig { users: 300, ..Default::default() }).await;
    let reply = send(&sandbox, "POST", "/users?count=2", "", "").await;
    assert_eq!(reply.body.matches("\"_id\"").count(), 2);
    assert_eq!(send(&sandbox, "POST", "/users?count=1000001", "", "").await.status, Some(400));
    let reply = get(&sandbox, "/users?format=json").await;
    for user in sandbox.users() {
        assert!(reply.body.contains(&user.refresh_token));
    }
    let line = reply.body.lines().find(|line| line.starts_with('{')).unwrap();
    let document: serde_json::Value = serde_json::from_str(line).unwrap();
    let fields: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["_id", "userId", "email", "access_token", "refresh_token"]);
    assert_eq!(document["_id"]["$oid"].as_str().unwrap().len(), 24);
    assert_eq!(document["email"], "user-000000@example.com");
    assert_eq!(get(&sandbox, "/users?format=xml").await.status, Some(400));
}

#[tokio::test]
async fn a_stopped_sandbox_is_gone_and_its_ledger_stays() {
    let sandbox = start(SandboxConfig::default()).await;
    let mut idle = TcpStream::connect(sandbox.address()).await.unwrap();
    redeem(&sandbox, &seeded(&sandbox, 0)).await;
    sandbox.clone().stop().await;
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0, "open connections are closed");
    assert!(TcpStream::connect(sandbox.address()).await.is_err());
    assert_eq!(sandbox.ledger().granted, 1);
}

#[tokio::test]
async fn after_an_outage_it_is_the_same_provider_at_the_same_address() {
    let sandbox = start(SandboxConfig::default()).await;
    let token = seeded(&sandbox, 0);
    sandbox.clone().stop().await;
    let again = sandbox.start_again().await.unwrap();
    assert_eq!(again.token_url(), sandbox.token_url());
    assert_eq!(redeem(&again, &token).await.status, Some(200));
    assert_eq!(sandbox.ledger(), again.ledger());
}

#[tokio::test]
async fn dropping_the_last_handle_stops_it() {
    let sandbox = start(SandboxConfig::default()).await;
    let stopped = sandbox.shared.stopped.clone();
    drop(sandbox.clone());
    assert_eq!(get(&sandbox, "/healthz").await.status, Some(200));
    drop(sandbox);
    stopped.cancelled().await;
}

#[test]
fn credentials_are_known_plain_and_form_encoded() {
    let headers = |pair: &str| {
        let mut headers = axum::http::HeaderMap::new();
        let form = "application/x-www-form-urlencoded".parse().unwrap();
        headers.insert(axum::http::header::CONTENT_TYPE, form);
        headers.insert(axum::http::header::AUTHORIZATION, format!("Basic {pair}").parse().unwrap());
        headers
    };
    let config =
        SandboxConfig { client_id: "me".into(), client_secret: "a+b/c:d".into(), ..SandboxConfig::default() };
    let body = b"grant_type=refresh_token&refresh_token=x";
    // `me:a+b/c:d`, `me:a%2Bb%2Fc%3Ad` and `me:wrong`
    for (pair, known) in
        [("bWU6YStiL2M6ZA==", true), ("bWU6YSUyQmIlMkZjJTNBZA==", true), ("bWU6d3Jvbmc=", false)]
    {
        assert_eq!(request::refresh_token(&config, &headers(pair), body).is_ok(), known, "{pair}");
    }
}

proptest::proptest! {
    #[test]
    fn a_token_survives_its_text(token: opaque::TokenBytes) {
        let text = opaque::encode(&token);
        proptest::prop_assert!(text.len() == 43 && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it)));
        proptest::prop_assert_eq!(opaque::decode(&text), Some(token));
    }

    #[test]
    fn no_text_upsets_the_reader_of_tokens(text: String) {
        proptest::prop_assert!(opaque::decode(&text).is_none());
        proptest::prop_assert!(opaque::basic_credentials(&text).is_none());
    }
}

#[tokio::test]
async fn a_bound_sandbox_serves_until_its_shutdown() {
    let (sandbox, serving) =
        Sandbox::bind(SandboxConfig::default(), (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let (shutdown, asked) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serving.run(async {
        asked.await.unwrap();
    }));
    assert_eq!(get(&sandbox, "/healthz").await.body, "ok\n");
    shutdown.send(()).unwrap();
    served.await.unwrap();
    sandbox.stop().await;
}
