//! What a person installs from `deploy/` is true: the unit, the manifest, the settings. What systemd and the schemas of
//! Kubernetes say of them is asked by `.ci/services`.

use evergrant::testing::clock::Clock;
use evergrant::testing::config::{Config, Inputs, Need, keys::KEYS};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The lines of a unit that systemd reads.
fn lines_of(unit: &str) -> Vec<String> {
    let text = text(unit);
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(ToOwned::to_owned).collect()
}

fn unit() -> Vec<String> {
    lines_of("evergrant.service")
}

#[test]
fn the_unit_of_one_pass_is_confined_as_the_service_and_takes_its_place() {
    let (service, once) = (unit(), lines_of("evergrant-once.service"));
    // What belongs to a process that stays, and to one that ends.
    let of_service = [
        "Type=",
        "NotifyAccess=",
        "WatchdogSec=",
        "Restart",
        "ExecStart=",
        "Description=",
        "WantedBy=",
        "[Install]",
    ];
    let of_once = [
        "Type=",
        "SuccessExitStatus=",
        "TimeoutStartSec=",
        "ExecStart=",
        "Description=",
        "Conflicts=evergrant.service",
    ];
    let common = |unit: Vec<String>, own: &[&str]| -> BTreeSet<String> {
        unit.into_iter().filter(|line| !own.iter().any(|start| line.starts_with(start))).collect()
    };
    assert_eq!(common(once.clone(), &of_once), common(service, &of_service));
    assert!(once.iter().any(|line| line == "Conflicts=evergrant.service"));
    assert!(once.iter().any(|line| line == "SuccessExitStatus=3 4"));
}

#[test]
fn the_service_waits_for_network_and_clock_and_stays_stopped_where_a_restart_mends_nothing() {
    let unit = unit();
    for line in [
        "Wants=network-online.target time-sync.target",
        "After=network-online.target time-sync.target",
        "Restart=always",
        "RestartPreventExitStatus=2 6 8",
        "Type=notify",
        "WatchdogSec=90",
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
fn every_variable_of_manifests_and_image_is_a_setting() {
    let known: BTreeSet<_> = KEYS.iter().map(evergrant::testing::config::keys::Key::variable).collect();
    for name in
        ["kubernetes/base/statefulset.yaml", "kubernetes/components/cronjob/cronjob.yaml", "Dockerfile"]
    {
        let text = text(name);
        let words = text.split(|character: char| !character.is_ascii_uppercase() && character != '_');
        let variables: BTreeSet<_> = words.filter(|word| word.starts_with("EVERGRANT_")).collect();
        assert!(!variables.is_empty(), "{name} sets something");
        for variable in variables {
            assert!(known.contains(variable), "{name}: there is no {variable}");
        }
    }
}

/// `/etc/evergrant/evergrant.toml` of a pod, with the variables that the manifest sets.
#[test]
fn the_pods_settings_and_secrets_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = text("kubernetes/base/statefulset.yaml");
    let set = manifest.lines().filter_map(|line| line.trim().strip_prefix("- { name: EVERGRANT_"));
    let mut variables: Vec<(std::ffi::OsString, std::ffi::OsString)> = Vec::new();
    for line in set {
        let (name, value) = line.trim_end_matches(" }").split_once(", value: ").unwrap();
        let mut value = value.trim_matches('"').to_owned();
        if let Some(secret) = value.strip_prefix("/run/secrets/evergrant/") {
            let file = folder.path().join(secret);
            fs::write(&file, if secret == "store_url" { "mongodb://localhost/app" } else { "a secret" })
                .unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).unwrap();
            value = file.to_str().unwrap().to_owned();
        }
        variables.push((format!("EVERGRANT_{name}").into(), value.into()));
    }
    assert_eq!(variables.len(), 4);
    let inputs = Inputs {
        flags: Vec::new(),
        variables,
        working_directory: folder.path().to_owned(),
        file: None,
        system_file: path("kubernetes/base/evergrant.toml"),
    };
    let config = Config::load(&inputs, Need::Provider, Clock::system().now()).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/evergrant/state"));
    assert!(config.providers[0].client_secret.is_some());
}

#[test]
fn the_schedule_of_the_cronjob_is_told_to_the_program() {
    let job = text("kubernetes/components/cronjob/cronjob.yaml");
    let settings = text("kubernetes/base/evergrant.toml");
    let quoted = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    assert_eq!(quoted(&job, "schedule: "), quoted(&settings, "schedule = "));
}

#[test]
fn the_timer_starts_a_pass_when_the_settings_say_so() {
    let (settings, timer) = (text("evergrant.toml"), lines_of("evergrant-once.timer"));
    assert!(settings.lines().any(|line| line == "schedule = \"0 3 * * *\""));
    assert!(settings.lines().any(|line| line == "timezone = \"UTC\""));
    assert!(timer.iter().any(|line| line == "OnCalendar=*-*-* 03:00:00 UTC"), "{timer:?}");
}

#[test]
fn each_way_to_stop_it_leaves_time_for_the_answers_to_what_was_sent() {
    let inputs = Inputs {
        flags: Vec::new(),
        variables: vec![("EVERGRANT_CLIENT_SECRET".into(), "a secret".into())],
        working_directory: path(""),
        file: None,
        system_file: path("evergrant.toml"),
    };
    let grace = Config::load(&inputs, Need::Provider, Clock::system().now()).unwrap().stop_grace.as_secs();
    for (name, key) in [
        ("evergrant.service", "TimeoutStopSec="),
        ("evergrant-once.service", "TimeoutStopSec="),
        ("kubernetes/base/statefulset.yaml", "terminationGracePeriodSeconds: "),
        ("kubernetes/components/cronjob/cronjob.yaml", "terminationGracePeriodSeconds: "),
    ] {
        let text = text(name);
        let seconds = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
        assert!(
            seconds.parse::<u64>().unwrap() > grace,
            "{name}: {seconds} s, and `stop_grace` is {grace} s"
        );
    }
}

#[test]
fn the_version_of_the_image_is_ours() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("Dockerfile").contains(&format!("org.opencontainers.image.version=\"{version}\"")));
    assert!(text("kubernetes/kustomization.yaml").contains(&format!("newTag: {version}\n")));
}

#[test]
fn the_image_is_built_without_the_rehearsal_and_runs_as_nobody_special() {
    let image = text("Dockerfile");
    let builds = image.matches("cargo build").count();
    assert_eq!(image.matches("cargo build --profile dist --no-default-features --locked").count(), builds);
    assert!(builds > 0 && image.contains("/src/target/dist/evergrant") && image.contains("USER 10001:10001"));
}
