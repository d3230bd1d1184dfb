use super::*;

#[test]
fn contradictions_are_refused_with_both_values() {
    for (file, parts) in [
        (
            "schedule = \"0 3 1 * *\"",
            &[
                "`schedule = \"0 3 1 * *\"` (evergrant.toml line 1)",
                "`refresh_token_lifetime = \"14d\"` (the profile `autodesk`)",
                "31d",
                "9d 8h",
            ][..],
        ),
        (
            "refresh_token_lifetime = \"7d\"",
            &[
                "`schedule = \"0 3 * * SUN\"` (default)",
                "`refresh_token_lifetime = \"7d\"` (evergrant.toml line 1)",
            ],
        ),
        (
            "lease = \"60s\"",
            &[
                "`lease = \"60s\"` (evergrant.toml line 1)",
                "`request_timeout = \"1min\"` (the profile `autodesk`)",
                "more than 1min 30s",
            ],
        ),
        (
            "min_age = \"7d\"",
            &[
                "`min_age = \"7d\"` (evergrant.toml line 1)",
                "`refresh_token_lifetime = \"14d\"` (the profile `autodesk`)",
                "up to 7d apart",
                "set a smaller `min_age`",
            ],
        ),
        ("min_age = \"10M\"", &["`min_age = \"304d", "`10M` are ten months"]),
        ("lease = \"90s\"", &["`lease = \"90s\"`"]),
        ("lease = \"13h\"", &["`lease = \"13h\"`", "12h"]),
        (
            "settle_after = \"15min\"",
            &["`lease = \"10min\"` (default)", "`settle_after = \"15min\"` (evergrant.toml line 1)"],
        ),
        (
            "request_timeout = \"10min\"",
            &["`lease = \"10min\"` (default)", "`request_timeout = \"10min\"` (evergrant.toml line 1)"],
        ),
        (
            "rotation = \"grace\"",
            &["`rotation = \"grace\"` (evergrant.toml line 1)", "`grace = \"0s\"` (the profile `autodesk`)"],
        ),
        (
            "grace = \"30min\"",
            &["`rotation = \"single_use\"` (the profile `autodesk`)", "`grace = \"30min\"`"],
        ),
        (
            "extra_parameters = { refresh_token = \"x\" }",
            &["`extra_parameters.refresh_token` (evergrant.toml line 1)", "every grant"],
        ),
        (
            "documents.bookkeeping = \"refresh_token\"",
            &[
                "`documents.refresh_token = \"refresh_token\"` (default)",
                "`documents.bookkeeping = \"refresh_token\"` (evergrant.toml line 1)",
            ],
        ),
        (
            "documents.access_token = \"evergrant.token\"",
            &["`documents.access_token", "`documents.bookkeeping"],
        ),
    ] {
        assert_tells(&Setup::minimal().file(file).refused(), parts);
    }
    let filter = Setup::minimal()
        .variable("EVERGRANT_STORE_URL", "sqlite:tokens.db")
        .file("documents.filter = '{\"a\": 1}'")
        .refused();
    assert_tells(
        &filter,
        &[
            "`documents.filter = \"{\"a\": 1}\"` (evergrant.toml line 1)",
            "`store.url` (environment variable `EVERGRANT_STORE_URL`), a SQLite file",
        ],
    );
}

#[test]
fn further_fields_that_stand_in_the_way_of_others_are_refused_with_both_keys() {
    let cases: &[(&str, &[&str])] = &[
        (
            "documents.also = { _id = \"/id\" }",
            &["`documents.also._id` (evergrant.toml line 1)", "`_id`", "hint: name another field"],
        ),
        ("documents.also = { \"_id.a\" = \"/id\" }", &["`documents.also._id.a`", "`_id`"]),
        ("documents.access_token = \"_id\"", &["`documents.access_token = \"_id\"`", "`_id`"]),
        (
            "documents.also = { \"evergrant.due_at\" = \"/at\" }",
            &["`documents.bookkeeping = \"evergrant\"` (default)", "`documents.also.evergrant.due_at`"],
        ),
        (
            "documents.also = { refresh_token = \"/rt\" }",
            &["`documents.refresh_token = \"refresh_token\"` (default)", "`documents.also.refresh_token`"],
        ),
        (
            "documents.also = { ends = \"/at\" }\ndocuments.login_ends_at = \"ends\"",
            &["`documents.also.ends` (evergrant.toml line 1)", "`documents.login_ends_at = \"ends\"`"],
        ),
        ("documents.also = { email = \"/mail\" }", &["`documents.also.email`", "`documents.subject"]),
        (
            "documents.also = { a = \"/a\", \"a.b\" = \"/b\" }",
            &["`documents.also.a`", "`documents.also.a.b`"],
        ),
    ];
    for (file, parts) in cases {
        assert_tells(&Setup::minimal().file(file).refused(), parts);
    }
}

#[test]
fn what_is_risky_is_warned_of_with_the_arithmetic() {
    // The four lines: a weekly pass meets each token once, and the service has 56 hours to try again.
    assert_eq!(Setup::minimal().warned(), Vec::<String>::new());
    // 11 d leave 8 h 0 min after the weekly pass: an outage of a night would cost logins.
    let warnings = Setup::minimal().variable("EVERGRANT_REFRESH_TOKEN_LIFETIME", "11d").warned();
    let [chances] = &warnings[..] else { panic!("{warnings:?}") };
    assert_tells(
        chances,
        &[
            "meets only 1 scheduled pass",
            "only 8h are left",
            "lives 11d",
            "7d 8h left",
            "7d apart",
            "hint: wake more",
        ],
    );
    // Nor is a service with a first wait of a day able to try again in time.
    let slow = Setup::minimal().variable("EVERGRANT_RETRY_AFTER_FAILURE", "24h").warned();
    assert!(slow.is_empty(), "it tries again once, after 30 h at the latest: {slow:?}");
    let calm = Setup::minimal().variable("EVERGRANT_SCHEDULE", "0 3 * * *");
    assert_eq!(calm.warned(), Vec::<String>::new());
    let hasty = calm.variable("EVERGRANT_STOP_GRACE", "60s").warned();
    assert_tells(
        &hasty.join("\n"),
        &["`stop_grace = \"60s\"`", "`request_timeout = \"1min\"`", "1min 5s or more"],
    );
    let unknown = Setup::minimal().variable("EVERGRANT_REFRESH_TOKEN_LIFETIME", "unknown").warned();
    assert_eq!(unknown, Vec::<String>::new(), "every wake finds every token due");
    let sqlite = Setup::minimal()
        .variable("EVERGRANT_STORE_URL", "sqlite:tokens.db")
        .variable("EVERGRANT_STORE_DATABASE", "app")
        .warned();
    assert_tells(&sqlite.join("\n"), &["`store.database = \"app\"`", "SQLite"]);
}

#[test]
fn a_login_that_nothing_extends_is_warned_of_and_never_refused() {
    let told = |login: &str, slides: &str| {
        let setup = Setup::minimal().variable("EVERGRANT_LOGIN_LIFETIME", login);
        setup.variable("EVERGRANT_REFRESH_TOKEN_LIFETIME", slides).warned().join("\n")
    };
    for slides in ["unknown", "24h", "60d"] {
        let warned = told("24h", slides);
        assert_tells(
            &warned,
            &["a login of `autodesk` ends 1d after it began", "7d apart", "hint: each user"],
        );
    }
    assert!(!told("60d", "unknown").contains("a login of"));
    let slides = Setup::minimal().variable("EVERGRANT_LOGIN_LIFETIME", "60d");
    let refused = slides.variable("EVERGRANT_REFRESH_TOKEN_LIFETIME", "24h").refused();
    assert_tells(&refused, &["`schedule", "refresh_token_lifetime"]);
}

#[test]
fn run_once_is_told_that_it_does_not_try_again() {
    let warning = |setup: &Setup| {
        let config = setup.load();
        let now = "2026-11-21T06:00:00Z".parse().unwrap();
        Chances::of(&config, &config.providers[0], now)
            .unwrap()
            .warning_for_once()
            .map(|warning| told(&warning))
    };
    let weekly = warning(&Setup::minimal()).unwrap();
    assert_tells(
        &weekly,
        &[
            "meets only 1 scheduled pass",
            "`run --once` does not try again",
            "hint: start `run --once` more often",
        ],
    );
    assert_eq!(warning(&Setup::minimal().variable("EVERGRANT_SCHEDULE", "0 3 * * *")), None);
}

#[test]
fn a_rate_that_cannot_drain_the_collection_is_warned_of() {
    let setup = Setup::minimal();
    let warning = |setup: &Setup, documents: u64| {
        let config = setup.load();
        let now = "2026-11-21T06:00:00Z".parse().unwrap();
        drain_warning(documents, &config.providers[0], &config.schedule, config.renew_after, now)
            .map(|warning| told(&warning))
    };
    // 9 d 8 h less 7 d are 56 h; 400 a minute are 24,000 an hour.
    assert_eq!(warning(&setup, 1_344_000), None);
    let told = warning(&setup, 2_000_000).unwrap();
    assert_tells(
        &told,
        &["2000000 documents at 400/min takes 3d 11h", "2d 8h left", "lives 14d", "7d", "hint: "],
    );
    let unlimited = Setup::minimal().variable("EVERGRANT_RATE", "none");
    assert_eq!(warning(&unlimited, u64::MAX), None);
}
