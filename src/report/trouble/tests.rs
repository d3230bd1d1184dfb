use super::*;

fn hint(code: &str, http_status: u16, client_auth: ClientAuth) -> String {
    let (provider, code) = ("own".to_owned(), code.to_owned());
    let trouble = Trouble::ClientRejected { provider, code, http_status: Some(http_status), client_auth };
    trouble.hint().unwrap().into_owned()
}

#[test]
fn a_rejected_client_names_the_keys_that_the_request_is_made_of() {
    for (client_auth, names, silent) in [
        (ClientAuth::Body, &["`client_id`", "`client_secret`"][..], &["`values`"][..]),
        (ClientAuth::SecretAsUser, &["`client_secret`"], &["`client_id`"]),
        (ClientAuth::None, &["`client_id`"], &["`client_secret`"]),
        (ClientAuth::NoClient, &["`request.headers`", "`values`"], &["`client_id`", "`client_secret`"]),
    ] {
        for (code, status) in [("token_not_received", 401), ("http_403", 403)] {
            let hint = hint(code, status, client_auth);
            assert!(names.iter().all(|key| hint.contains(key)), "{client_auth:?}: {hint}");
            assert!(!silent.iter().any(|key| hint.contains(key)), "{client_auth:?}: {hint}");
            assert_eq!(hint.contains("firewall"), code == "http_403", "{hint}");
        }
    }
    assert!(hint("invalid_scope", 400, ClientAuth::NoClient).contains("`scope`"));
    assert!(hint("access_denied", 403, ClientAuth::Basic).starts_with("check `client_id`"), "its own code");
}

#[test]
fn a_rejected_client_may_be_logins_that_have_ended_under_a_code_that_is_not_listed() {
    for (code, status, says, silent) in [
        ("invalid_request", 400, "list `invalid_request` in `answer.refused`", "`answer.rules`"),
        ("refresh_token_invalidated", 401, "list `refresh_token_invalidated`", "`answer.rules`"),
        ("http_401", 401, "`answer.rules`", "list `http_401`"),
        ("http_403", 403, "`answer.rules`", "list `http_403`"),
        ("unlisted_code", 401, "`answer.rules`", "list `unlisted_code`"),
    ] {
        let hint = hint(code, status, ClientAuth::Basic);
        assert!(hint.contains("`client_secret`"), "both explanations: {hint}");
        assert!(hint.contains(says) && !hint.contains(silent), "{hint}");
    }
    for (code, status) in
        [("http_302", 302), ("http_404", 404), ("invalid_scope", 400), ("invalid_client", 401)]
    {
        assert!(!hint(code, status, ClientAuth::Basic).contains("logins"), "{code}");
    }
}

#[test]
fn the_word_of_a_trouble_is_its_kind_in_json() {
    let (provider, until) = ("p".to_owned(), Timestamp::default());
    let (message, hint) = (String::new(), None);
    for trouble in [
        Trouble::Outage { provider: provider.clone() },
        Trouble::Paused { provider: provider.clone(), seconds: 1, until },
        Trouble::Overrun { provider: provider.clone(), documents: 1, taken: 2 },
        Trouble::Store { message: message.clone(), hint: hint.clone() },
        Trouble::Journal { message, hint },
        Trouble::Interrupted { given_up: 0 },
        Trouble::ClientRejected {
            provider,
            code: "invalid_client".into(),
            http_status: None,
            client_auth: ClientAuth::Basic,
        },
    ] {
        let json = serde_json::to_value(&trouble).unwrap();
        assert_eq!(json["kind"], trouble.word());
    }
}

#[test]
fn a_pause_says_how_long_and_until_when() {
    let until = "2026-11-21T06:15:42Z".parse().unwrap();
    let pause = Trouble::Paused { provider: "own".into(), seconds: 11_742, until };
    let text =
        "the provider `own` asks us to wait 3h 16min, until 2026-11-21 06:15:42 UTC; what is due stays due";
    assert_eq!(pause.to_string(), text);
    let json = serde_json::to_value(&pause).unwrap();
    assert_eq!((&json["seconds"], &json["until"]), (&11_742.into(), &"2026-11-21T06:15:42Z".into()));
}
