//! What a person installs from `deploy/` is true: the unit, the manifest, the settings.

use crate::support::mongod::{scratch, skip};
use evergrant::clock::Clock;
use evergrant::config::{Config, Inputs, Need, keys::KEYS};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The lines of the unit that systemd reads.
fn unit() -> Vec<String> {
    let text = text("evergrant.service");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(ToOwned::to_owned).collect()
}

/// What `systemd-analyze` says; `None`, said loudly, where there is none.
fn systemd_analyze(what: &str, arguments: &[&str], unit: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    if output.is_err() {
        skip(what, "no `systemd-analyze`: install systemd");
    }
    output.ok()
}

#[test]
fn the_service_is_exposed_by_1_5_at_most() {
    let arguments = ["security", "--no-pager", "--offline=yes", "--threshold=15"];
    let unit = path("evergrant.service");
    let Some(output) = systemd_analyze("the exposure of the service", &arguments, &unit) else { return };
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("Overall exposure level"), "{told}");
}

#[test]
fn systemd_understands_each_line_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("evergrant.service");
    let built = text("evergrant.service")
        .replace("=/usr/local/bin/evergrant ", concat!("=", env!("CARGO_BIN_EXE_evergrant"), " "));
    fs::write(&installed, built).unwrap();
    let arguments = ["verify", "--man=no"];
    let Some(output) = systemd_analyze("the unit's lines", &arguments, &installed) else { return };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("evergrant.service"), "{told}");
}

#[test]
fn the_service_waits_for_network_and_clock_and_stays_stopped_where_a_restart_mends_nothing() {
    let unit = unit();
    for line in [
        "Wants=network-online.target time-sync.target",
        "After=network-online.target time-sync.target",
        "Restart=always",
        "RestartPreventExitStatus=2 6 8",
    ] {
        assert!(unit.iter().any(|of_unit| of_unit == line), "the unit lacks {line}");
    }
}

#[test]
fn a_command_beside_the_service_has_the_services_user_credentials_and_state() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = folder.path().join("systemd-run");
    fs::write(&stand_in, "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 6\n").unwrap();
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(path("evergrant-as-service"))
        .args(["journal", "discard", "7"])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "the command's own exit code: {output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[..4], ["--quiet", "--collect", "--wait", "--pipe"]);
    let program = lines.iter().position(|line| !line.starts_with("--")).unwrap();
    assert_eq!(lines[program..], ["/usr/local/bin/evergrant", "journal", "discard", "7"]);
    let given: BTreeSet<_> = lines.iter().filter_map(|line| line.strip_prefix("--property=")).collect();
    let unit = unit();
    let shared = ["DynamicUser=", "User=", "UMask=", "StateDirectory", "LoadCredential", "Environment"];
    let of_unit = unit.iter().map(String::as_str);
    let of_unit: BTreeSet<_> =
        of_unit.filter(|line| shared.iter().any(|name| line.starts_with(name))).collect();
    assert_eq!(given, of_unit);
}

/// `/etc/evergrant/evergrant.toml` with the credentials that the unit loads.
#[test]
fn the_services_settings_and_credentials_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    for line in unit() {
        let Some(credential) = line.strip_prefix("LoadCredential=") else { continue };
        let (name, file) = credential.split_once(':').unwrap();
        assert_eq!(file, format!("/etc/evergrant/{name}"));
        let secret = if name == "store_url" { "mongodb://localhost/app" } else { "a secret" };
        fs::write(folder.path().join(name), secret).unwrap();
    }
    let inputs = Inputs {
        flags: Vec::new(),
        variables: vec![("CREDENTIALS_DIRECTORY".into(), folder.path().into())],
        working_directory: folder.path().to_owned(),
        file: None,
        system_file: path("evergrant.toml"),
    };
    let config = Config::load(&inputs, Need::Provider, Clock::system().now()).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/evergrant"));
    assert_eq!(config.warnings, []);
    assert!(config.providers[0].client_secret.is_some());
}

#[test]
fn every_variable_of_manifest_and_image_is_a_setting() {
    let known: BTreeSet<_> = KEYS.iter().map(evergrant::config::keys::Key::variable).collect();
    for name in ["cronjob.yaml", "Dockerfile"] {
        let text = text(name);
        let words = text.split(|character: char| !character.is_ascii_uppercase() && character != '_');
        let variables: BTreeSet<_> = words.filter(|word| word.starts_with("EVERGRANT_")).collect();
        assert!(!variables.is_empty(), "{name} sets something");
        for variable in variables {
            assert!(known.contains(variable), "{name}: there is no {variable}");
        }
    }
}

#[test]
fn the_schedule_of_the_manifest_is_told_to_the_program() {
    let manifest = text("cronjob.yaml");
    let schedules: BTreeSet<_> = manifest
        .lines()
        .filter_map(|line| line.split_once("schedule: ").or_else(|| line.split_once("value: \"")))
        .map(|(_, cron)| cron.split(" #").next().unwrap().trim_matches('"'))
        .collect();
    assert_eq!(schedules.len(), 1, "the CronJob and EVERGRANT_SCHEDULE agree: {schedules:?}");
}

#[test]
fn the_manifest_keeps_the_schemas_from_1_25_on_and_restricted_pod_security() {
    // `.ci/run` installs it into the target folder.
    let python = scratch().parent().unwrap().join("kubernetes-validate/bin/python");
    let checked = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/deploy/manifest.py"))
        .arg(path("cronjob.yaml"))
        .output();
    let Ok(output) = checked else {
        let why = format!("no {}: see `.ci/run`", python.display());
        return skip("the manifest", &why);
    };
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let (oldest, newest) = (told.lines().next(), told.lines().last());
    assert_eq!(oldest, Some("1.25.0"));
    assert!(newest.is_some_and(|newest| newest >= "1.37"), "{newest:?} is not the newest");
}

#[test]
fn the_image_is_built_without_the_rehearsal_and_runs_as_nobody_special() {
    let image = text("Dockerfile");
    let builds = image.matches("cargo build").count();
    assert_eq!(image.matches("cargo build --profile dist --no-default-features --locked").count(), builds);
    assert!(builds > 0 && image.contains("/src/target/dist/evergrant") && image.contains("USER 10001:10001"));
}
