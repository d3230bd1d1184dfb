use super::*;
use secrecy::ExposeSecret;

fn secret_of(setup: &Setup) -> String {
    setup.load().providers[0].client_secret.as_ref().unwrap().expose().to_owned()
}

#[test]
fn a_secret_comes_from_a_value_a_file_or_a_credential() {
    let open = || Setup::minimal().without("EVERGRANT_CLIENT_SECRET");
    let in_env_file = open().env_file("EVERGRANT_CLIENT_SECRET=from-env-file\n");
    assert_eq!(secret_of(&in_env_file), "from-env-file");
    let in_file = open().file("client_secret = \"from file\"");
    assert_eq!(secret_of(&in_file), "from file");
    let mounted =
        open().write("mounted", "from mount\r\n").variable("EVERGRANT_CLIENT_SECRET_FILE", "mounted");
    assert_eq!(secret_of(&mounted), "from mount");
    let credentials = |setup: Setup| {
        let directory = setup.path("credentials").display().to_string();
        setup
            .write("credentials/client_secret", "from systemd\n")
            .variable("CREDENTIALS_DIRECTORY", &directory)
    };
    assert_eq!(secret_of(&credentials(open())), "from systemd");
    assert_eq!(secret_of(&credentials(Setup::minimal())), CANARY, "a key that is set is meant");
}

#[test]
fn a_path_in_a_file_starts_at_the_file() {
    let mut setup = Setup::minimal()
        .without("EVERGRANT_CLIENT_SECRET")
        .write("conf/secret", "beside the file")
        .write("conf/evergrant.toml", "client_secret_file = \"secret\"");
    setup.inputs.file = Some("conf/evergrant.toml".into());
    assert_eq!(secret_of(&setup), "beside the file");
}

#[test]
fn of_value_and_file_the_stronger_layer_holds() {
    let setup = Setup::minimal().write("mounted", "from mount").file("client_secret_file = \"mounted\"");
    assert_eq!(secret_of(&setup), CANARY);
    let setup = setup.flag("client_secret_file", "mounted");
    assert_eq!(secret_of(&setup), "from mount");
}

#[test]
fn the_stores_url_is_a_secret_too() {
    let url = |setup: &Setup| setup.load().store.url.expose_secret().to_owned();
    let open = || Setup::minimal().without("EVERGRANT_STORE_URL");
    let mounted =
        open().write("url", "mongodb://db/from_mount\n").variable("EVERGRANT_STORE_URL_FILE", "url");
    assert_eq!(url(&mounted), "mongodb://db/from_mount");
    let setup = open().write("credentials/store_url", "mongodb://db/from_systemd\n");
    let directory = setup.path("credentials").display().to_string();
    assert_eq!(url(&setup.variable("CREDENTIALS_DIRECTORY", &directory)), "mongodb://db/from_systemd");
}

#[test]
fn two_sources_of_one_layer_an_empty_one_and_a_missing_file_are_refused() {
    let twice = Setup::minimal().variable("EVERGRANT_CLIENT_SECRET_FILE", "/run/secret").refused();
    assert_tells(
        &twice,
        &[
            "(environment variable `EVERGRANT_CLIENT_SECRET`)",
            "(environment variable `EVERGRANT_CLIENT_SECRET_FILE`)",
            "one source",
        ],
    );
    let twice = Setup::minimal().variable("EVERGRANT_STORE_URL_FILE", "/run/url").refused();
    assert_tells(&twice, &["`store.url` (", "`store.url_file = "]);
    let empty = Setup::minimal().variable("EVERGRANT_CLIENT_SECRET", "").refused();
    assert_tells(&empty, &["environment variable `EVERGRANT_CLIENT_SECRET`: `client_secret` is empty"]);
    let open = || Setup::minimal().without("EVERGRANT_CLIENT_SECRET");
    let empty = open().write("mounted", "\n\n").variable("EVERGRANT_CLIENT_SECRET_FILE", "mounted").refused();
    assert_tells(
        &empty,
        &["mounted`, named by environment variable `EVERGRANT_CLIENT_SECRET_FILE`", "is empty"],
    );
    let gone = open().variable("EVERGRANT_CLIENT_SECRET_FILE", "gone").refused();
    assert_tells(&gone, &["gone` can't be read"]);
}

#[test]
fn what_an_editor_leaves_around_a_secret_is_named() {
    let file = |text: &str| {
        Setup::minimal()
            .without("EVERGRANT_CLIENT_SECRET")
            .write("mounted", text)
            .variable("EVERGRANT_CLIENT_SECRET_FILE", "mounted")
    };
    for (text, part) in [
        (format!("\u{feff}{CANARY}\n"), "begins with a byte order mark"),
        (format!("{CANARY} \n"), "ends with a blank"),
        (format!(" {CANARY}"), "begins with a blank"),
    ] {
        assert_tells(&file(&text).refused(), &["mounted`, named by", part, "hint: write the file again"]);
    }
    assert_eq!(secret_of(&file("a secret\r\n")), "a secret");
    let url = Setup::minimal()
        .without("EVERGRANT_STORE_URL")
        .write("url", "\u{feff}mongodb://db/logins\n")
        .variable("EVERGRANT_STORE_URL_FILE", "url");
    assert_tells(&url.refused(), &["`store.url` is a text that begins with a byte order mark"]);
}

#[test]
fn a_settings_file_with_a_secret_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let in_file = format!("client_secret = \"{CANARY}\"");
    let in_env_file =
        format!("EVERGRANT_STORE_URL=mongodb://u:{CANARY}@db1/logins\nEVERGRANT_CLIENT_SECRET={CANARY}");
    let open = || Setup::minimal().without("EVERGRANT_CLIENT_SECRET").without("EVERGRANT_STORE_URL");
    let at_home = "EVERGRANT_STORE_URL=mongodb://db1/logins\n";
    for (setup, name, held) in [
        (open().file(&in_file).env_file(at_home), FILE_NAME, "`client_secret`"),
        (open().env_file(&in_env_file), ".env", "`client_secret` and `store.url`"),
    ] {
        let path = setup.path(name);
        for (mode, warned) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = setup.warned();
            let expected = format!("can read `{}`, which holds {held}\nhint: chmod 600 ", path.display());
            let found = warnings.iter().any(|warning| warning.contains(&expected));
            assert_eq!(found, warned, "{mode:o}: {warnings:?}");
            assert!(!warnings.iter().any(|warning| warning.contains(CANARY)));
        }
    }
    let without = Setup::minimal().file("rate = \"1/s\"").warned();
    assert!(!without.iter().any(|warning| warning.contains("chmod")), "it holds no secret");
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let warnings = Setup::minimal().flag("client_secret", CANARY).warned();
    assert!(warnings.iter().any(|warning| warning.contains("on the command line")), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains(CANARY)));
}

#[test]
fn client_authentication_and_secret_must_agree() {
    let contradiction = Setup::minimal().variable("EVERGRANT_CLIENT_AUTH", "none").refused();
    assert_tells(
        &contradiction,
        &[
            "`client_auth = \"none\"` (environment variable `EVERGRANT_CLIENT_AUTH`)",
            "`client_secret` (environment variable `EVERGRANT_CLIENT_SECRET`)",
        ],
    );
    let public =
        Setup::minimal().without("EVERGRANT_CLIENT_SECRET").variable("EVERGRANT_CLIENT_AUTH", "none");
    assert!(public.load().providers[0].client_secret.is_none());
}

#[test]
fn the_journals_keys_come_from_where_secrets_come_from_and_are_checked() {
    let key = "0f".repeat(32);
    assert!(Setup::minimal().load().journal.key.is_none());
    let in_file =
        Setup::minimal().write("key", &format!("{key}\n")).variable("EVERGRANT_JOURNAL_KEY_FILE", "key");
    assert!(in_file.load().journal.key.is_some());
    let setup = Setup::minimal().write("credentials/journal_key", &key);
    let directory = setup.path("credentials").display().to_string();
    assert!(setup.variable("CREDENTIALS_DIRECTORY", &directory).load().journal.key.is_some());
    let rotated = Setup::minimal()
        .variable("EVERGRANT_JOURNAL_KEY", &key)
        .variable("EVERGRANT_JOURNAL_OLD_KEYS", &format!("{key}, {key}\n{key}"))
        .load();
    assert_eq!(rotated.journal.old_keys.len(), 3);
    assert!(!format!("{rotated:?}").contains(&key));

    let no_key = Setup::minimal().variable("EVERGRANT_JOURNAL_KEY", CANARY).refused();
    assert_tells(&no_key, &["EVERGRANT_JOURNAL_KEY", "64 hexadecimal digits", "openssl rand -hex 32"]);
    let only_old = Setup::minimal().variable("EVERGRANT_JOURNAL_OLD_KEYS", &key).refused();
    assert_tells(&only_old, &["`journal_key`", "EVERGRANT_JOURNAL_OLD_KEYS"]);
}

#[test]
fn the_floor_is_a_size_with_a_unit() {
    let floor = |text: &str| Setup::minimal().variable("EVERGRANT_FREE_SPACE_FLOOR", text);
    assert_eq!(Setup::minimal().load().journal.free_space_floor_bytes, 64 << 20);
    assert_eq!(floor("1 GiB").load().journal.free_space_floor_bytes, 1 << 30);
    for wrong in ["64", "0MiB", "64MB", "-1MiB", "99999999999999999999TiB", "99999999999TiB"] {
        assert_tells(&floor(wrong).refused(), &["free_space_floor", "64MiB"]);
    }
}
