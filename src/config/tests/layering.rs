use super::*;
use crate::provider::Rotation;
use secrecy::ExposeSecret;

#[test]
fn four_variables_are_a_complete_configuration() {
    let config = Setup::minimal().load();
    let [provider] = &config.providers[..] else { panic!("{:?}", config.providers) };
    assert_eq!(
        (&*provider.name, provider.profile_name.as_str(), provider.client_id.as_str()),
        ("autodesk", "autodesk", "an-id")
    );
    assert_eq!(provider.client_secret.as_ref().unwrap().expose(), CANARY);
    assert_eq!(provider.token_url.to_string(), "https://developer.api.autodesk.com/authentication/v2/token");
    assert_eq!(provider.profile.rate.unwrap().to_string(), "400/min");
    assert_eq!(config.store.collection, "tokens");
    assert_eq!(config.store.mapping, crate::store::mapping::Mapping::default());
    assert_eq!(config.schedule.to_string(), "0 3 * * SUN (UTC)");
    assert_eq!(config.renew_after.to_string(), "33.3%");
    assert_eq!(config.lease, Duration::from_mins(10));
    assert_eq!(config.stop_grace, Duration::from_secs(75));
    assert_eq!(config.retry_after_failure, Duration::from_mins(15));
    assert_eq!(config.max_retries_per_pass, 3);
    assert_eq!(config.log, LogSettings { format: LogFormat::Text, level: "info".to_owned() });
    assert_eq!(config.state_dir, PathBuf::from("/home/somebody/.local/state/evergrant"));
    assert!(config.sources.is_empty());
}

/// Lays one more layer into a setup.
type Lay = fn(Setup) -> Setup;

#[test]
fn a_stronger_layer_wins_over_each_weaker_one() {
    let layers: [(&str, Lay); 5] = [
        ("tokens", |setup| setup),
        ("from_file", |setup| setup.file("[store]\ncollection = \"from_file\"\n")),
        ("from_env_file", |setup| setup.env_file("EVERGRANT_STORE_COLLECTION=from_env_file\n")),
        ("from_environment", |setup| setup.variable("EVERGRANT_STORE_COLLECTION", "from_environment")),
        ("from_flag", |setup| setup.flag("store.collection", "from_flag")),
    ];
    let mut setup = Setup::minimal();
    for (expected, lay) in layers {
        setup = lay(setup);
        assert_eq!(setup.load().store.collection, expected);
    }
    assert_eq!(setup.load().sources, [".env", "evergrant.toml"]);
    assert_eq!(setup.flag("store.collection", "the_last_flag").load().store.collection, "the_last_flag");
}

#[test]
fn a_file_alone_is_a_complete_configuration() {
    let setup = Setup::bare().file(
        r#"
        provider = "generic"
        client_id = "an-id"
        client_auth = "none"
        token_url = "http://127.0.0.1:8080/token"
        scope = "offline_access"
        rate = "50/s"
        concurrency = 64
        request_timeout = "20s"
        refresh_token_lifetime = "unknown"
        rotation = "grace"
        grace = "30min"
        schedule = "0 30 4 * * *"
        timezone = "Europe/Berlin"
        renew_after = 0.5
        state_dir = "state"
        extra_parameters = { audience = "api" }

        [answer]
        refused = ["invalid_grant", "bad_refresh_token"]
        access_token = "/data/access_token"

        [documents]
        refresh_token = "oauth.refresh"
        subject = ["name", "userId"]
        expires_format = "unix_millis"

        [log]
        format = "json"
        level = "info,evergrant=debug"
        "#,
    );
    let config = setup.load();
    let provider = &config.providers[0];
    let profile = &provider.profile;
    assert!(provider.client_secret.is_none());
    assert_eq!(profile.scope.as_deref(), Some("offline_access"));
    assert_eq!(profile.rate.unwrap().to_string(), "50/s");
    assert_eq!((profile.concurrency.get(), profile.request_timeout), (64, Duration::from_secs(20)));
    assert_eq!((profile.rotation, profile.grace), (Rotation::Grace, Duration::from_mins(30)));
    assert_eq!(profile.refresh_token_lifetime, None);
    assert_eq!(profile.extra_parameters["audience"], "api".into());
    assert_eq!(profile.answer.refused, ["invalid_grant", "bad_refresh_token"]);
    assert_eq!(profile.answer.access_token, "/data/access_token".parse().unwrap());
    assert_eq!(profile.answer.refresh_token, "/refresh_token".parse().unwrap(), "the profile's own");
    assert_eq!(config.store.mapping.refresh_token.as_str(), "oauth.refresh");
    assert_eq!(config.store.mapping.subject.len(), 2);
    assert_eq!(config.state_dir, setup.path("state"));
    assert_eq!(
        config.store.url.expose_secret(),
        format!("sqlite:{}", setup.path("state/tokens.db").display())
    );
    assert_eq!(config.renew_after.to_string(), "50%");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.sources, ["evergrant.toml"]);
}

#[test]
fn lists_tables_and_numbers_come_from_the_environment_too() {
    let config = Setup::minimal()
        .variable("EVERGRANT_CONCURRENCY", " 8 ")
        .variable("EVERGRANT_DOCUMENTS_SUBJECT", "name, userId")
        .variable("EVERGRANT_EXTRA_PARAMETERS", "audience=api, resource=a=b")
        .variable("EVERGRANT_ANSWER_REFUSED", "invalid_grant,expired")
        .variable("EVERGRANT_RENEW_AFTER", "20%")
        .load();
    let profile = &config.providers[0].profile;
    assert_eq!(profile.concurrency.get(), 8);
    assert_eq!(profile.extra_parameters["audience"], "api".into());
    assert_eq!(profile.extra_parameters["resource"], "a=b".into());
    assert_eq!(profile.answer.refused, ["invalid_grant", "expired"]);
    let subject: Vec<_> =
        config.store.mapping.subject.iter().map(crate::store::mapping::FieldPath::as_str).collect();
    assert_eq!(subject, ["name", "userId"]);
}

#[test]
fn the_file_is_the_named_one_or_the_one_here_or_the_machines() {
    let collection = |name: &str| format!("store.collection = \"{name}\"\n");
    let mut setup = Setup::minimal().write("etc/evergrant.toml", &collection("the_machines"));
    assert_eq!(setup.load().store.collection, "the_machines");
    setup = setup.file(&collection("here"));
    assert_eq!(setup.load().store.collection, "here");
    setup = setup.write("other/named.toml", &collection("named"));
    setup.inputs.file = Some("other/named.toml".into());
    assert_eq!(setup.load().store.collection, "named");
    assert_eq!(setup.load().sources, ["other/named.toml"]);
    setup.inputs.file = Some("gone.toml".into());
    assert_tells(&setup.refused(), &["there is no configuration file `gone.toml`", "hint: "]);
}

#[test]
fn quotes_in_an_env_file_are_the_shells() {
    for (text, expected) in [
        ("EVERGRANT_CLIENT_ID=plain", "plain"),
        ("export EVERGRANT_CLIENT_ID=exported # a comment", "exported"),
        ("EVERGRANT_CLIENT_ID='single $quoted #1'", "single $quoted #1"),
        ("EVERGRANT_CLIENT_ID=\"double \\\"quoted\\\"\"", "double \"quoted\""),
        ("\u{feff}# first\n\nOTHER=1\nEVERGRANT_CLIENT_ID = spaced", "spaced"),
        ("NAME=a\nEVERGRANT_CLIENT_ID=${NAME}-b", "a-b"),
    ] {
        let setup = Setup::minimal().without("EVERGRANT_CLIENT_ID").env_file(text);
        assert_eq!(setup.load().providers[0].client_id, expected, "{text}");
    }
    let setup =
        Setup::minimal().without("EVERGRANT_CLIENT_SECRET").env_file("EVERGRANT_CLIENT_SECRET='p$ss'\n");
    assert_eq!(setup.load().providers[0].client_secret.as_ref().unwrap().expose(), "p$ss");
}

#[test]
fn a_name_in_an_env_file_means_a_variable_of_the_process_and_else_one_of_the_file() {
    let text = "HOST=a\nEVERGRANT_CLIENT_ID=${HOST}-$A_B-${NOWHERE}.\n";
    let setup = Setup::minimal().without("EVERGRANT_CLIENT_ID").env_file(text).variable("A_B", "c");
    assert_eq!(setup.load().providers[0].client_id, "a-c-.");
    assert_eq!(setup.variable("HOST", "b").load().providers[0].client_id, "b-c-.");
    // What stands in the environment of the tests is none of theirs.
    let from_here = Setup::minimal().without("EVERGRANT_CLIENT_ID").env_file("EVERGRANT_CLIENT_ID=x${PATH}");
    assert_eq!(from_here.load().providers[0].client_id, "x");
}

#[test]
fn values_in_an_env_file_end_where_a_shell_ends_them() {
    for (text, expected) in [
        ("x#y", Some("x#y")),
        ("x #y", Some("x")),
        ("'x'\"y\"z\t# all", Some("xyz")),
        ("'it'\\''s'", Some("it's")),
        ("\"a\\n\\$b\\\\\"", Some("a\n$b\\")),
        ("\"a\r\nb\"\r\nOTHER=1", Some("a\nb")),
        ("'a\n# no comment\nb' # but this", Some("a\n# no comment\nb")),
        ("a b", None),
        ("a\\b", None),
        ("a\\", None),
        ("${A", None),
        ("${A B}", None),
        ("\"a\nOTHER=1\"", None),
        ("'a' b", None),
        ("#only a comment", None),
        ("", None),
    ] {
        let whole = format!("export EVERGRANT_CLIENT_ID={text}\nEVERGRANT_RATE=7/s\n");
        let setup = Setup::minimal().without("EVERGRANT_CLIENT_ID").env_file(&whole);
        match expected {
            Some(expected) => {
                let config = setup.load();
                assert_eq!(config.providers[0].client_id, expected, "{text}");
                assert_eq!(config.providers[0].profile.rate.unwrap().to_string(), "7/s", "{text}");
            }
            None => assert_tells(&setup.refused(), &[".env line 1: "]),
        }
    }
}

#[test]
fn entries_of_a_table_come_from_several_layers_and_each_is_named_with_its_own_place() {
    let file = "[documents.also]\n\"a.b\" = \"/one\"\nc = \"/two\"\n";
    let setup = Setup::minimal().file(file).variable("EVERGRANT_DOCUMENTS_ALSO", "c=/three,d=/four");
    let also: Vec<_> = setup.load().store.mapping.also.into_iter().collect();
    let shown: Vec<_> = also.iter().map(|(field, place)| format!("{field} {place}")).collect();
    assert_eq!(shown, ["a.b /one", "c /three", "d /four"]);
    let file = "[extra_parameters]\naudience = \"api\"\n\nscope = \"s\"\n";
    let with = |setup: Setup| setup.variable("EVERGRANT_EXTRA_PARAMETERS", "more=1").refused();
    assert_tells(&with(Setup::minimal().file(file)), &["`extra_parameters.scope` (evergrant.toml line 1)"]);
    let over = Setup::minimal().file(file).flag("extra_parameters", "scope=t").refused();
    assert_tells(&over, &["`extra_parameters.scope` (command line)"]);
}

#[test]
fn another_programs_lines_in_an_env_file_are_its_own_affair() {
    let ours = "EVERGRANT_CLIENT_ID=${HOST}-id\nEVERGRANT_DOCUMENTS_FILTER='{\n\"active\": true}'";
    for theirs in [
        "APS_CLIENT_ID=abc def",
        "NOTE=don't",
        "NOTE=\"not closed",
        "no assignment at all",
        "KEY=\"-----BEGIN KEY-----\nMIIE/+=\n-----END KEY-----\"",
        "1=2\n= =\n'\n\"",
        "A=b\\",
    ] {
        let text = format!("HOST=a\n{theirs}\n{ours}\n{theirs}\nEVERGRANT_RATE=7/s ");
        let setup = Setup::minimal().without("EVERGRANT_CLIENT_ID").env_file(&text);
        let config = setup.load();
        assert_eq!(config.providers[0].client_id, "a-id", "{theirs}");
        assert_eq!(config.providers[0].profile.rate.unwrap().to_string(), "7/s", "{theirs}");
        assert_eq!(config.store.mapping.filter.as_deref(), Some("{\n\"active\": true}"), "{theirs}");
        let wrong = format!("{theirs}\nEVERGRANT_RATE=fast\n");
        let line = 1 + theirs.lines().count();
        assert_tells(&Setup::minimal().env_file(&wrong).refused(), &[&format!(".env line {line}: `rate`")]);
    }
}

#[test]
fn the_state_directory_follows_systemd_then_xdg_then_home() {
    let setup = Setup::minimal();
    let setup = setup.variable("XDG_STATE_HOME", "/xdg");
    assert_eq!(setup.load().state_dir, PathBuf::from("/xdg/evergrant"));
    let setup = setup.variable("STATE_DIRECTORY", "/var/lib/evergrant:/var/lib/second");
    assert_eq!(setup.load().state_dir, PathBuf::from("/var/lib/evergrant"));
    let setup = setup.variable("EVERGRANT_STATE_DIR", "/mine");
    assert_eq!(setup.load().state_dir, PathBuf::from("/mine"));
    let homeless = Setup::minimal().without("HOME");
    assert_tells(&homeless.refused(), &["`state_dir` is not set", "`EVERGRANT_STATE_DIR`"]);
}

#[test]
fn variables_that_are_not_settings_are_left_alone() {
    Setup::minimal()
        .variable("EVERGRANT_TEST_MONGODB_URI", "mongodb://localhost")
        .variable("EVERGRANT_SERVICE_HOST", "10.0.0.1")
        .variable("EVERGRANT_SERVICE_PORT_METRICS", "9090")
        .variable("EVERGRANT_PORT", "tcp://10.0.0.1:9090")
        .variable("EVERGRANT_PORT_9090_TCP_ADDR", "10.0.0.1")
        .variable("EVERGRANTED", "x")
        .raw_variable("OTHER".into(), not_text())
        .load();
}

#[test]
fn a_command_that_needs_no_provider_works_without_one() {
    let config = Setup::bare().needing(Need::Store).load();
    assert!(config.providers.is_empty());
    assert_eq!(config.store.url.expose_secret(), "sqlite:/home/somebody/.local/state/evergrant/tokens.db");
}

#[test]
fn no_secret_is_shown_by_debug() {
    let setup = Setup::minimal().flag("client_secret", CANARY);
    let shown = format!("{:?} {:#?} {:?}", setup.load(), setup.load(), setup.inputs);
    assert!(!shown.contains(CANARY), "{shown}");
}

#[cfg(unix)]
pub(super) fn not_text() -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(vec![0xff, 0xfe])
}

#[test]
fn a_service_that_stands_in_the_root_names_its_settings_file_by_the_whole_path() {
    let mut setup = Setup::minimal().write("etc/evergrant.toml", "");
    assert_eq!(setup.load().sources, ["etc/evergrant.toml"]);
    setup.inputs.working_directory = PathBuf::from("/");
    assert_eq!(setup.load().sources, [setup.path("etc/evergrant.toml").display().to_string()]);
}
