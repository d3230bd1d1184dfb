use super::*;

fn keeping(schedule: &str, access_token_lifetime: &str) -> Setup {
    let setup = Setup::minimal().variable("EVERGRANT_KEEP", "access");
    let setup = setup.variable("EVERGRANT_SCHEDULE", schedule);
    let setup = setup.variable("EVERGRANT_REFRESH_TOKEN_LIFETIME", "unknown");
    setup.variable("EVERGRANT_ACCESS_TOKEN_LIFETIME", access_token_lifetime)
}

#[test]
fn access_tokens_that_end_between_two_passes_are_refused_with_an_interval_that_works() {
    for (schedule, life, parts) in [
        (
            "0 3 * * SUN",
            "30min",
            &[
                "`schedule = \"0 3 * * SUN\"` (environment variable `EVERGRANT_SCHEDULE`)",
                "`access_token_lifetime = \"30min\"`",
                "`keep = \"access\"` (environment variable `EVERGRANT_KEEP`)",
                "lives 30min, scheduled passes start up to 7d apart, and a request takes up to 1min",
                "hint: set `schedule = \"every 29min\"`",
            ][..],
        ),
        ("every 30min", "30min", &["hint: set `schedule = \"every 29min\"`"]),
        ("*/5 9-17 * * *", "12h 30min", &["up to 15h 5min apart", "`schedule = \"every 12h 29min\"`"]),
        ("0 3 1 * *", "14d", &["`schedule = \"every 13d 23h\"`"]),
        ("every 1min", "2min", &["OK"]),
        ("every 1min", "100s", &["hint: set a shorter `request_timeout`, or `keep = \"refresh\"`"]),
        ("every 29min", "30min", &["OK"]),
        ("0,20,40 * * * *", "21min", &["OK"]),
    ] {
        let setup = keeping(schedule, life);
        if parts == ["OK"] {
            assert_eq!(setup.warned(), Vec::<String>::new(), "{schedule} {life}");
        } else {
            assert_tells(&setup.refused(), parts);
        }
    }
    // Without `keep` it is as it was.
    let weekly = Setup::minimal().variable("EVERGRANT_ACCESS_TOKEN_LIFETIME", "30min");
    assert_eq!(weekly.warned(), Vec::<String>::new());
}

#[test]
fn an_access_token_that_is_written_nowhere_cannot_be_kept_good() {
    let setup = keeping("every 29min", "30min").file("documents.access_token = \"none\"");
    assert_tells(
        &setup.refused(),
        &[
            "`keep = \"access\"` (environment variable `EVERGRANT_KEEP`)",
            "`documents.access_token = \"none\"` (evergrant.toml line 1)",
            "hint: set `documents.access_token` to its field, or `keep = \"refresh\"`",
        ],
    );
    Setup::minimal().file("documents.access_token = \"none\"").load();
}

#[test]
fn what_an_interval_is_advised_is_taken() {
    for minutes in (2..60 * 24 * 20).step_by(37) {
        let life = words(Duration::from_mins(minutes));
        let refused = keeping("0 0 1 1 *", &life).refused();
        let advised = refused.split("hint: set `schedule = \"").nth(1).unwrap().split('"').next().unwrap();
        keeping(advised, &life).load();
    }
}

#[test]
fn an_access_token_of_unknown_life_and_one_that_is_too_young_cannot_be_kept() {
    let unknown = keeping("every 29min", "unknown").refused();
    assert_tells(
        &unknown,
        &[
            "`keep = \"access\"` (environment variable `EVERGRANT_KEEP`)",
            "`access_token_lifetime = \"unknown\"`",
            "hint: set `access_token_lifetime`",
        ],
    );
    let young = keeping("every 29min", "58min").variable("EVERGRANT_MIN_AGE", "29min");
    assert_tells(&young.refused(), &["`min_age = \"29min\"`", "too young", "hint: set a smaller `min_age`"]);
    let calm = keeping("every 29min", "59min").variable("EVERGRANT_MIN_AGE", "29min");
    assert_eq!(calm.warned(), Vec::<String>::new());
    let old_enough = keeping("every 29min", "30min").variable("EVERGRANT_MIN_AGE", "28min");
    assert_eq!(old_enough.warned(), Vec::<String>::new());
    assert_tells(
        &Setup::minimal().variable("EVERGRANT_KEEP", "both").refused(),
        &["`EVERGRANT_KEEP`", "one of `refresh`, `access`"],
    );
}

#[test]
fn a_pass_that_takes_too_long_to_keep_access_tokens_is_told_with_what_to_do() {
    let warned = |life: &str, documents: u64| {
        let config = keeping("every 20min", life).load();
        let now = "2026-11-21T06:00:00Z".parse().unwrap();
        let provider = &config.providers[0];
        let keeping = Keeping::of(&config, provider, now).unwrap();
        keeping.warning(documents, provider.profile.rate).map(|warning| told(&warning))
    };
    // 400 a minute: 30 min are 20 + 1 + 9.
    assert_eq!(warned("30min", 3600), None);
    assert_tells(
        &warned("30min", 3601).unwrap(),
        &[
            "a pass over all 3601 documents at 400/min takes 9min",
            "can end before its new one comes: an access token lives 30min",
            "hint: set `schedule = \"every 19min\"`",
        ],
    );
    assert_eq!(warned("1h", 8000), None);
    assert_tells(
        &warned("1h", 8400).unwrap(),
        &["takes 21min", "the next one starts up to 20min later", "hint: raise `rate`"],
    );
}
