//! The reader of profiles: what it takes, what it says of what it doesn't take, and what it answers.

use super::*;
use crate::provider::profile as profiles;
use axum::http::Request;
use axum::http::header::SET_COOKIE;

const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn profile(text: &str) -> Profile {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    std::fs::write(&file, text).unwrap();
    profiles::load(file.to_str().unwrap()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn role(text: &str) -> Result<Role, RoleError> {
    Role::new("own", &profile(text))
}

/// What a request is answered: `200` and its tokens, or status and description.
fn asked(role: &Role, request: Request<&str>) -> Result<(String, Option<String>), (u16, String)> {
    let (head, body) = request.into_parts();
    let config = SandboxConfig {
        client_id: "id & co".into(),
        client_secret: "s3+cret/%".into(),
        ..SandboxConfig::default()
    };
    match role.read(&config, &head, body.as_bytes()) {
        Ok(asked) => Ok((asked.refresh_token, asked.access_token)),
        Err((_, answer)) => Err((answer.status.as_u16(), answer.text)),
    }
}

fn form(body: &str) -> Request<&str> {
    let form = "application/x-www-form-urlencoded";
    Request::post("/token").header("content-type", form).body(body).unwrap()
}

fn json(body: &str) -> Request<&str> {
    Request::post("/token").header("content-type", "application/json").body(body).unwrap()
}

#[test]
fn a_form_is_taken_as_the_profile_has_it_and_no_other_way() {
    let role =
        role("client_auth = \"body\"\nextra_parameters = { audience = \"a b\", id = \"{uuid}\" }").unwrap();
    let client = "client_id=id+%26+co&client_secret=s3%2Bcret%2F%25";
    let rest = "grant_type=refresh_token&audience=a+b&id=0a1b2c3d-0000-4000-8000-0123456789ab";
    let whole = format!("{client}&{rest}&refresh_token={TOKEN}");
    assert_eq!(asked(&role, form(&whole)), Ok((TOKEN.to_owned(), None)));
    for (cut, by, status, expected, saw) in [
        (
            "refresh_token=AAAA",
            "refreshToken=AAAA",
            400,
            "the refresh token at `body:refresh_token`",
            "a token at `body:refreshToken`",
        ),
        (
            "grant_type=refresh_token",
            "grant_type=password",
            400,
            "`grant_type` with `refresh_token`",
            "another value",
        ),
        ("grant_type=refresh_token&", "", 400, "`grant_type`", "saw none"),
        ("audience=a+b", "audience=a", 400, "the field `audience`", "another value"),
        ("id=0a1b", "id=0a1", 400, "the field `id`", "another value"),
        (
            "client_secret",
            "secret",
            401,
            "the fields `client_id` and `client_secret`",
            "`client_secret`: none",
        ),
        ("client_id=", "client_id=x&client_id=", 401, "the fields `client_id`", "`client_id`: 2 of them"),
        (
            "audience=",
            &format!("x={TOKEN}&audience="),
            400,
            "at `body:refresh_token` only",
            "`body:x` and `body:refresh_token`",
        ),
    ] {
        let refused = asked(&role, form(&whole.replacen(cut, by, 1))).unwrap_err();
        assert_eq!(refused.0, status, "{cut}: {refused:?}");
        for words in ["plays the profile `own`", expected, saw] {
            assert!(refused.1.contains(words), "{cut}: {words}: {}", refused.1);
        }
        for secret in [TOKEN, "s3+cret/%", "password"] {
            assert!(!refused.1.contains(secret), "{cut}: {}", refused.1);
        }
    }
    let known = |request| asked(&role, request).unwrap_err().1;
    assert!(
        known(json("{}"))
            .contains("expected a form (`application/x-www-form-urlencoded`), and saw a JSON object")
    );
    let get = Request::get("/token").body("").unwrap();
    assert!(known(get).contains("expected POST, and saw GET"));
    let mut both = form(&whole);
    both.headers_mut().insert("authorization", "Basic eDp5".parse().unwrap());
    assert!(known(both).contains("and no `Authorization`, and saw an `Authorization`"));
    // What is no name may be a token.
    let raw = known(form(TOKEN));
    assert!(!raw.contains(TOKEN), "{raw}");
    let wrong = asked(&role, form(&whole.replace("s3%2B", "s4"))).unwrap_err();
    assert_eq!((wrong.0, wrong.1.contains("invalid_client")), (401, true));
}

#[test]
fn each_way_to_say_who_the_client_is_is_taken_in_that_way_only() {
    use base64::Engine as _;
    let basic = |pair: &str| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair));
    let encoded = basic("id%20%26+co:s3%2Bcret%2F%25");
    let raw = basic("id & co:s3+cret/%");
    let secret = basic("s3+cret/%:");
    for (auth, good, bad) in [
        ("basic", &encoded, &[&raw, &secret][..]),
        ("basic_raw", &raw, &[&encoded, &secret]),
        ("secret_as_user", &secret, &[&encoded, &raw]),
    ] {
        let role = role(&format!("client_auth = \"{auth}\"")).unwrap();
        let body = format!("grant_type=refresh_token&refresh_token={TOKEN}");
        let with = |header: &str| {
            let mut request = form(&body);
            request.headers_mut().insert("authorization", header.parse().unwrap());
            asked(&role, request)
        };
        assert!(with(good).is_ok(), "{auth}");
        for other in bad {
            assert_eq!(with(other).unwrap_err().0, 401, "{auth}");
        }
        assert!(asked(&role, form(&body)).unwrap_err().1.contains("saw no `Authorization`"), "{auth}");
        let twice = format!("{body}&client_secret=s3%2Bcret%2F%25");
        let mut request = form(&twice);
        request.headers_mut().insert("authorization", good.parse().unwrap());
        assert!(asked(&role, request).unwrap_err().1.contains("saw a field `client_secret`"), "{auth}");
    }
}

#[test]
fn a_token_is_read_at_each_kind_of_place() {
    let own = |request: &str| {
        role(&format!("client_auth = \"no_client\"\nurl_holds_secrets = true\n{request}")).unwrap()
    };
    let body = format!("{{\"auth\":{{\"rt\":\"{TOKEN}\"}},\"n\":5}}");
    let nested = own(
        "extra_parameters = { n = 5 }\nrequest = { encoding = \"json\", grant_type = \"none\", refresh_token = \"body:/auth/rt\" }",
    );
    assert_eq!(asked(&nested, json(&body)), Ok((TOKEN.to_owned(), None)));
    assert!(asked(&nested, json(&body.replace("5}", "\"5\"}"))).unwrap_err().1.contains("the field `n`"));
    assert!(asked(&nested, json("[]")).unwrap_err().1.contains("no JSON object"));
    let flat = asked(&nested, json(&format!("{{\"n\":5,\"a\":[{{\"b\":\"{TOKEN}\"}}]}}"))).unwrap_err().1;
    assert!(flat.contains("none there, but a token at `body:/a/0/b`"), "{flat}");

    let plain = |method: &str| Request::builder().method(method).uri("/token");
    for (place, request) in [
        ("bearer", plain("GET").header("authorization", format!("bearer {TOKEN}"))),
        ("header:x-token", plain("GET").header("X-Token", TOKEN)),
        ("cookie:rt", plain("GET").header("cookie", format!("a=1; rt={TOKEN}"))),
        ("query:rt", plain("GET").uri(format!("/token?rt={TOKEN}"))),
    ] {
        let role = own(&format!(
            "request = {{ method = \"GET\", encoding = \"none\", grant_type = \"none\", refresh_token = \"{place}\" }}"
        ));
        assert_eq!(asked(&role, request.body("").unwrap()), Ok((TOKEN.to_owned(), None)), "{place}");
        let missing = asked(&role, plain("GET").body("").unwrap()).unwrap_err().1;
        assert!(missing.contains(&format!("the refresh token at `{place}`, and saw none")), "{missing}");
        let stuffed = plain("GET").header("content-type", "text/plain").body("x").unwrap();
        assert!(asked(&role, stuffed).unwrap_err().1.contains("expected an empty body"));
    }
    let query = own("request = { encoding = \"query\" }");
    let request = plain("POST").uri(format!("/token?grant_type=refresh_token&refresh_token={TOKEN}"));
    assert!(asked(&query, request.body("").unwrap()).is_ok());
    let pair =
        own("request = { encoding = \"json\", access_token = \"bearer\", headers = { X-Version = \"2\" } }");
    let with = |access: &str| {
        let body = format!("{{\"grant_type\":\"refresh_token\",\"refresh_token\":\"{TOKEN}\"}}");
        let mut request =
            Request::post("/token").header("content-type", "application/json").header("x-version", "2");
        if !access.is_empty() {
            request = request.header("authorization", format!("Bearer {access}"));
        }
        asked(&pair, request.body(body.as_str()).unwrap())
    };
    assert_eq!(with("old"), Ok((TOKEN.to_owned(), Some("old".to_owned()))));
    assert!(with("").unwrap_err().1.contains("the old access token at `bearer`"));
    assert_eq!(with(TOKEN).unwrap_err().0, 400);
}

#[test]
fn a_success_is_the_example_with_new_tokens_in_it() {
    let role = role(
        r#"
        [answer]
        access_token = ["/data/at", "cookie:at"]
        refresh_token = ["/data/rt", "cookie:rt", "header:x-rt"]
        [[example]]
        name = "body"
        status = 201
        headers = { Date = "Thu, 26 Nov 2026 12:00:00 GMT", X-Rt = "old-rt" }
        body = '{"data":{"at":"old-at","rt":"old-rt","expires_in":7}}'
        means = "granted"
        [[example]]
        name = "cookies"
        status = 200
        headers = { "Set-Cookie" = ["at=old-at; Path=/; Max-Age=60", "rt=old-rt; HttpOnly", "at2=x"] }
        body = '{"success":true}'
        means = "granted"
        "#,
    )
    .unwrap();
    let first = role.granted(1, "AT", Some("RT"));
    assert_eq!(first.status, 201);
    assert_eq!(first.text, r#"{"data":{"at":"AT","rt":"RT","expires_in":7}}"#);
    let of = |answer: &Answer, name: &str| -> Vec<String> {
        let named = answer.headers.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(&first, "x-rt"), ["RT"], "the same token at another of its places");
    assert_eq!(
        (of(&first, "date").len(), of(&first, "content-type")),
        (0, vec!["application/json".to_owned()])
    );
    let second = role.granted(2, "AT", Some("RT"));
    assert_eq!(of(&second, SET_COOKIE.as_str()), ["at=AT; Path=/; Max-Age=60", "rt=RT; HttpOnly", "at2=x"]);
    assert_eq!(second.text, r#"{"success":true}"#);
    assert_eq!(role.granted(3, "AT", Some("RT")).status, 201, "they take turns");
}

#[test]
fn a_profile_without_an_example_is_answered_at_its_places() {
    let role = role("access_token_lifetime = \"5min\"\n[answer]\naccess_token = \"/data/at\"\nrefresh_token = \"cookie:rt\"\nexpires_in = \"/data/life\"").unwrap();
    let answer = role.granted(1, "AT", Some("RT"));
    assert_eq!(answer.text, r#"{"token_type":"Bearer","data":{"life":300,"at":"AT"}}"#);
    assert!(answer.headers.iter().any(|(_, value)| value == "rt=RT; Path=/; HttpOnly"));
    let config = role.played_by(SandboxConfig::default());
    assert_eq!(config.rotation, Rotation::Rotate);
}

#[test]
fn a_place_that_the_examples_contradict_is_told() {
    let example = |places: &str, body: &str| {
        role(&format!(
            "{places}\n[[example]]\nname = \"ok\"\nstatus = 200\nbody = '{body}'\nmeans = \"granted\""
        ))
        .unwrap_err()
    };
    let body = r#"{"access_token":"a","refresh_token":"r","refresh_token_expires_in":"5"}"#;
    let broken = example("answer = { access_token = \"/acces_token\" }", body);
    assert_eq!(broken, RoleError::NoAccessToken { example: "ok".into() });
    let broken = example("answer = { refresh_token = \"/refresh_tokn\" }", body);
    assert_eq!(broken, RoleError::Stray { example: "ok".into(), place: "/refresh_token".into() });
}

#[test]
fn what_nothing_shows_is_not_played() {
    let script = |text: &str| text.parse::<FaultScript>().unwrap();
    let silent = role("client_auth = \"no_client\"\n[answer]\nrefused = []\nsuspected = []").unwrap();
    assert!(matches!(silent.can_play(&script(""), 1), Err(RoleError::NoDeadAnswer { .. })));
    assert!(matches!(silent.can_play(&script("refuse@3"), 0), Err(RoleError::NoDeadAnswer { .. })));
    assert!(matches!(
        silent.can_play(&script("503, reject-client"), 0),
        Err(RoleError::NoClientAnswer { .. })
    ));
    assert_eq!(silent.can_play(&script("503"), 0), Ok(()));
    assert_eq!(silent.throttled(7).status, 429);
    let usual = role("").unwrap();
    assert_eq!(usual.can_play(&script("refuse, reject-client"), 3), Ok(()));
    assert!(usual.dead().text.contains("invalid_grant"));
}

#[test]
fn every_built_in_profile_can_be_played_with_all_faults() {
    let script = "refuse, 429".parse().unwrap();
    for name in profiles::names() {
        let profile = profiles::load(name).unwrap();
        let role = Role::new(name, &profile).unwrap_or_else(|error| panic!("{name}: {error}"));
        role.can_play(&script, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = role.granted(1, "AT-1", Some("RT-1"));
        let whole = format!("{}{:?}", answer.text, answer.headers);
        assert!(whole.contains("AT-1"), "{name}: {whole}");
        let config = role.played_by(SandboxConfig::default());
        let rotates = profile.rotation != ProfileRotation::None;
        assert_eq!(
            (config.rotation == Rotation::Rotate, !rotates || whole.contains("RT-1")),
            (rotates, true),
            "{name}"
        );
    }
}
