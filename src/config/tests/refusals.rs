use super::*;

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    for (text, parts) in [
        ("rate = \"1/s\"\nclient_id = [\n", &["evergrant.toml line "][..]),
        ("\n\nrate \"1/s\"\n", &["evergrant.toml line 3"]),
        ("rate = \"1/s\"\nrate = \"2/s\"\n", &["evergrant.toml line 2", "duplicate key"]),
        (&format!("\nclient_secret = {CANARY}\n"), &["evergrant.toml line 2"]),
        (&format!("\nclient_secret = \"{CANARY}\n"), &["evergrant.toml line 2"]),
    ] {
        assert_tells(&Setup::minimal().file(text).refused(), parts);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    for (text, parts) in [
        (
            "schedul = \"0 3 * * *\"",
            &["evergrant.toml line 1: there is no key `schedul`", "hint: did you mean `schedule`?"][..],
        ),
        (
            "[store]\n\nuri = \"x\"",
            &["evergrant.toml line 3: there is no key `store.uri`", "did you mean `store.url`?"],
        ),
        ("[documents]\nrefreshToken = \"x\"", &["line 2", "`documents.refresh_token`"]),
        ("[answer]\nerror_codes = []", &["line 2", "`answer.error_code`"]),
        (
            "[providers.autodesk]\nclientid = \"x\"",
            &["line 2", "did you mean `providers.autodesk.client_id`?"],
        ),
        ("[providers.autodesk]\nlease = \"5min\"", &["line 2: there is no key `providers.autodesk.lease`"]),
        ("profile = \"autodesk\"", &["line 1: there is no key `profile`"]),
        ("[colours]\nred = 1", &["line 1: there is no key `colours`"]),
    ] {
        assert_tells(&Setup::minimal().file(text).refused(), parts);
    }
    let unknown = Setup::minimal().variable("EVERGRANT_STORE_URI", "x").refused();
    assert_tells(
        &unknown,
        &["environment variable `EVERGRANT_STORE_URI`", "did you mean `EVERGRANT_STORE_URL`?"],
    );
    let unknown = Setup::minimal().env_file("# a line\nEVERGRANT_RAET=1/s\n").refused();
    assert_tells(&unknown, &[".env line 2: there is no variable `EVERGRANT_RAET`", "`EVERGRANT_RATE`"]);
    let unknown = Setup::minimal().flag("cron", "x").refused();
    assert_tells(&unknown, &["command line: there is no key `cron`"]);
}

#[test]
fn a_wrong_type_is_refused_with_its_line_and_what_was_expected() {
    for (text, parts) in [
        (
            "\n\nconcurrency = \"many\"",
            &["evergrant.toml line 3: `concurrency` is the text `many`; expected a whole number above 0"][..],
        ),
        ("concurrency = 0", &["`concurrency` is the number 0; expected a whole number above 0"]),
        ("concurrency = -1", &["the number -1"]),
        ("concurrency = 1.5", &["the number 1.5"]),
        ("concurrency = 99999999999999999999", &["a number that is too large"]),
        ("rate = 400", &["`rate` is the number 400; expected", "`400/min`"]),
        ("rate = \"0/s\"", &["the text `0/s`", "above 0"]),
        ("lease = 600", &["`lease` is the number 600; expected a duration"]),
        ("lease = \"0s\"", &["a duration above 0"]),
        ("lease = \"1000years\"", &["a duration above 0"]),
        ("client_id = true", &["`client_id` is `true`; expected a text"]),
        ("client_id = \" \"", &["`client_id` is empty", "hint: leave `client_id` out"]),
        ("client_id = 2026-11-21", &["a date"]),
        ("renew_after = 1.0", &["`renew_after`", "less than 1"]),
        ("renew_after = \"3/2\"", &["the text `3/2`"]),
        ("rotation = \"sometimes\"", &["one of `single_use`, `grace`, `none`"]),
        ("documents.subject = 5", &["`documents.subject` is the number 5; expected a list of fields"]),
        ("documents.subject = []", &["an empty list"]),
        ("documents.refresh_token = \"a..b\"", &["names joined by dots"]),
        ("documents.filter = \"active\"", &["no JSON object"]),
        ("answer.access_token = \"access_token\"", &["a place in an answer: `/json/pointer`"]),
        ("extra_parameters = \"a=b\"", &["a table of texts"]),
        ("extra_parameters.depth = [3]", &["a list"]),
        ("documents = \"email\"", &["`documents` is a text; expected a table of keys, like `[documents]`"]),
        (&format!("store = \"mongodb://u:{CANARY}@h\""), &["`store` is a text"]),
        (&format!("client_secret = [\"{CANARY}\"]"), &["`client_secret` is a list; expected a text"]),
        ("client_secret = 12345", &["`client_secret` is a number; expected a text"]),
        ("log.format = \"yaml\"", &["one of `text`, `json`"]),
        ("log.level = \"inof\"", &["`log.level` is the text `inof`", "did you mean `info`?"]),
        ("provider = \"autodesc\"", &["one of: autodesk, ", "generic"]),
    ] {
        assert_tells(&Setup::bare().file(text).refused(), parts);
    }
    for (name, value, parts) in [
        (
            "EVERGRANT_CONCURRENCY",
            "many",
            &["environment variable `EVERGRANT_CONCURRENCY`: `concurrency` is the text `many`"][..],
        ),
        ("EVERGRANT_RATE", "fast", &["environment variable `EVERGRANT_RATE`", "`400/min`"]),
        ("EVERGRANT_RATE", "", &["`rate` is empty"]),
        ("EVERGRANT_EXTRA_PARAMETERS", "audience", &["`audience=api` in the environment"]),
        (
            "EVERGRANT_PROVIDER",
            "autodesc",
            &["`provider` is the text `autodesc`", "did you mean `autodesk`?"],
        ),
    ] {
        assert_tells(&Setup::minimal().variable(name, value).refused(), parts);
    }
    let binary =
        Setup::minimal().raw_variable("EVERGRANT_SCOPE".into(), super::layering::not_text()).refused();
    assert_tells(&binary, &["environment variable `EVERGRANT_SCOPE`", "not UTF-8"]);
    assert_tells(
        &Setup::minimal().flag("concurrency", "0").refused(),
        &["command line: `concurrency` is the number 0"],
    );
}

#[test]
fn an_env_file_that_cannot_be_read_is_refused_with_its_line() {
    let spaced = format!("\nEVERGRANT_RATE=1/s\nEVERGRANT_CLIENT_SECRET={CANARY} with spaces\n");
    let unclosed = format!("OTHER=1\nEVERGRANT_CLIENT_SECRET='{CANARY}\n");
    let dollar = format!("OTHER=1\n\nEVERGRANT_CLIENT_SECRET={CANARY}$x\n");
    for (text, parts) in [
        (spaced.as_str(), &[".env line 3: expected `NAME=value`", "single quotes"][..]),
        (&unclosed, &[".env line 2: expected `NAME=value`"]),
        (&dollar, &[".env line 3: `EVERGRANT_CLIENT_SECRET` has a `$`", "single quotes"]),
        ("EVERGRANT_RATE\n", &[".env line 1: expected `NAME=value`"]),
        ("EVERGRANT_RATE=fast\n", &[".env line 1: `rate` is the text `fast`"]),
        ("EVERGRANT_RATE=1/s\nX=1\nEVERGRANT_RATE=2/s\n", &["(.env line 1)", "(.env line 3)", "two values"]),
        (
            "X=a b\nEVERGRANT_TIMEZONE=Europe / Berlin\n",
            &[".env line 2: ", "`EVERGRANT_TIMEZONE` can't be read"],
        ),
    ] {
        assert_tells(&Setup::minimal().without("EVERGRANT_CLIENT_SECRET").env_file(text).refused(), parts);
    }
}

#[test]
fn schedules_and_zones_are_refused_with_where_they_stand() {
    for (name, value, parts) in [
        (
            "EVERGRANT_SCHEDULE",
            "0 3 * *",
            &["environment variable `EVERGRANT_SCHEDULE`", "`0 3 * *` is not a cron schedule", "five fields"]
                [..],
        ),
        ("EVERGRANT_SCHEDULE", "0 3 31 2 *", &["never wakes", "hint: "]),
        (
            "EVERGRANT_TIMEZONE",
            "Europe/Berln",
            &["environment variable `EVERGRANT_TIMEZONE`", "did you mean `Europe/Berlin`?"],
        ),
    ] {
        assert_tells(&Setup::minimal().variable(name, value).refused(), parts);
    }
    let file = Setup::minimal().file("\nschedule = \"99 3 * * *\"").refused();
    assert_tells(&file, &["evergrant.toml line 2: `schedule`"]);
}

#[test]
fn urls_are_refused_without_showing_a_password() {
    let with_password = format!("https://user:{CANARY}@login.example.com/token");
    let no_url = format!("user:{CANARY}@login");
    for (url, parts) in [
        ("http://login.example.com/token", &["expected `https://`", "in the clear"][..]),
        ("http://localhost.example.com/token", &["expected `https://`"]),
        ("http://128.0.0.1/token", &["expected `https://`"]),
        ("ftp://login.example.com/token", &["starts with `https://`"]),
        ("login.example.com/token", &["starts with `https://`"]),
        ("https://login.example.com/token#x", &["without `#`"]),
        (&with_password, &["a user name or password"]),
        (&no_url, &["`https://`"]),
    ] {
        let told = Setup::minimal().variable("EVERGRANT_TOKEN_URL", url).refused();
        assert_tells(&told, &["environment variable `EVERGRANT_TOKEN_URL`: `token_url` is"]);
        assert_tells(&told, parts);
    }
    for url in
        ["http://localhost:1/t", "http://127.1.2.3/t", "http://[::1]:8080/t", "https://a.example/t?tenant=1"]
    {
        assert_eq!(
            Setup::minimal().variable("EVERGRANT_TOKEN_URL", url).load().providers[0]
                .token_url
                .fixed()
                .unwrap()
                .as_str(),
            url
        );
    }
    for (url, parts) in [
        (format!("postgres://u:{CANARY}@db/logins"), &["starts with `postgres://`", "`sqlite:PATH`"][..]),
        (CANARY.to_owned(), &["a text without a scheme"]),
        (format!("u:{CANARY} @://"), &["no URL"]),
        ("sqlite:".to_owned(), &["`sqlite:` without a path"]),
        (format!("mongodb://u:{CANARY}@/logins"), &["without a host"]),
        (
            format!("mongodb://u:{CANARY}@db1,db2/?replicaSet=rs"),
            &["`store.database` is not set", "`EVERGRANT_STORE_DATABASE`"],
        ),
    ] {
        let told = Setup::minimal().variable("EVERGRANT_STORE_URL", &url).refused();
        assert_tells(&told, &["environment variable `EVERGRANT_STORE_URL`"]);
        assert_tells(&told, parts);
    }
    let named = Setup::minimal()
        .variable("EVERGRANT_STORE_URL", "mongodb+srv://cluster.example.net/?w=majority")
        .variable("EVERGRANT_STORE_DATABASE", "logins")
        .load();
    assert_eq!(named.store.database.as_deref(), Some("logins"));
}

#[test]
fn quotes_that_docker_keeps_are_refused_by_the_name_of_their_variable() {
    for (name, value) in [
        ("EVERGRANT_STORE_URL", format!("'mongodb://u:{CANARY}@db1/logins'")),
        ("EVERGRANT_CLIENT_SECRET", format!("\"{CANARY}\"")),
        ("EVERGRANT_SCHEDULE", "'0 3 * * *'".to_owned()),
    ] {
        let told = Setup::minimal().variable(name, &value).refused();
        assert_tells(
            &told,
            &[
                &format!("the value of `{name}` begins and ends with a quote"),
                "hint: `docker run --env-file` keeps",
            ],
        );
    }
    let unmatched = Setup::minimal().variable("EVERGRANT_CLIENT_ID", "'id\"");
    assert_eq!(unmatched.load().providers[0].client_id, "'id\"");
}

#[test]
fn an_at_sign_among_the_options_of_a_url_ends_no_password() {
    for url in [
        format!("mongodb://account:{CANARY}@db1:10255/logins?ssl=true&appName=@account@"),
        "mongodb://127.0.0.1:1/logins?replicaSet=rs&appName=@account@".to_owned(),
        "mongodb://127.0.0.1:1/logins?appName=@a/b@".to_owned(),
    ] {
        Setup::minimal().variable("EVERGRANT_STORE_URL", &url).load();
    }
    let url = "mongodb://127.0.0.1:1/?appName=@account@";
    assert_tells(&Setup::minimal().variable("EVERGRANT_STORE_URL", url).refused(), &["names no database"]);
}

#[test]
fn without_a_provider_it_is_told_where_settings_were_looked_for() {
    let bare = Setup::bare();
    let here = bare.directory.path().display().to_string();
    let told = bare.refused();
    assert_tells(
        &told,
        &[
            &format!("no `.env` in {here}, no `evergrant.toml` in {here} or {here}/etc"),
            "`EVERGRANT_PROVIDER`",
        ],
    );
    let told = Setup::bare().env_file("OTHER=1\n").refused();
    assert_tells(&told, &["no provider is configured (`.env` was read, no `evergrant.toml` in "]);
}

#[test]
fn what_is_missing_is_named_with_key_and_variable() {
    for (missing, key) in [
        ("EVERGRANT_PROVIDER", "provider"),
        ("EVERGRANT_CLIENT_ID", "client_id"),
        ("EVERGRANT_CLIENT_SECRET", "client_secret"),
    ] {
        let told = Setup::minimal().without(missing).refused();
        assert_tells(&told, &[&format!("`{key}` is not set"), &format!("`{missing}`"), "hint: set "]);
    }
    let generic = Setup::minimal().variable("EVERGRANT_PROVIDER", "generic").refused();
    assert_tells(
        &generic,
        &["the provider `generic` has no token endpoint", "`token_url`", "`EVERGRANT_TOKEN_URL`"],
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_is_there_and_cannot_be_read_is_an_error() {
    let setup = Setup::minimal();
    std::fs::create_dir(setup.path(FILE_NAME)).unwrap();
    assert_tells(&setup.refused(), &["evergrant.toml` can't be read"]);
}
