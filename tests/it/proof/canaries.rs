//! Planted secrets, and everything that the binary says, leaves behind or shows to the machine.

use crate::support::canaries::{CLIENT_SECRET, plant, searched};
use crate::support::process::{Ended, Kind, Scene};
use evergrant::sandbox::{FaultScript, SandboxConfig};
use evergrant::testing::silence;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Everything, and each library by a longer name than the one that silences it.
const LOUDEST: &str = "trace,hyper=trace,hyper::proto::h1::io=trace,hyper_util::client::legacy::pool=trace,\
    reqwest::connect=trace,reqwest::connect::verbose=trace,h2::codec::framed_write=trace,rustls::client::hs=trace,\
    mongodb::command=trace,mongodb::connection=trace,axum::serve=trace,tower=trace,log=trace";

const FAULTS: &str =
    "503@3, 429(0)@5, html@7, drop-after@9, truncate@11, 500@13, redirect@15, 400@17, drop-before@19";

fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

/// What a person may call, and how it ends.
async fn every_command(scene: &Scene) -> usize {
    let commands: [&[&str]; 27] = [
        &["run", "--once", "--force"],
        &["run", "--once", "--force", "--format", "json"],
        &["run", "--once", "-vv"],
        &["run", "--once", "-qq"],
        &["run", "--onec"],
        &["check"],
        &["check", "--probe-client", "--format", "json"],
        &["tokens", "list"],
        &["tokens", "list", "--state", "needs_login", "--format", "json"],
        &["journal", "list"],
        &["journal", "list", "--format", "json"],
        &["journal", "recover"],
        &["providers", "list"],
        &["providers", "show", "autodesk"],
        &["providers", "test", "autodesk"],
        &["providers", "try", "--made-up"],
        &["providers", "try", "--made-up", "--format", "json", "--save", "made-up.toml"],
        &["providers", "try", "--id", "000000000000000000000001", "--yes"],
        &["providers", "try", "--id", "000000000000000000000002", "--yes", "--format", "json"],
        &["journal", "capture", "1"],
        &["--help"],
        &["run", "--help"],
        &["sandbox", "--help"],
        &["tokens", "import", "nowhere.json"],
        &["run", "--once", "--set", "rate=400"],
        &["run", "--once", "--set", "client_secret=  "],
        &["run", "--once", "--set", "token_url=https://me:planted-in-a-url@example.com/"],
    ];
    for arguments in commands {
        let ended = scene.run(arguments).await;
        assert!(matches!(ended.code, Some(0..=8)), "{arguments:?}: {ended:?}");
    }
    commands.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_of_any_command_holds_a_secret_at_the_loudest_level() {
    plant("planted-in-a-url");
    for kind in [Kind::Sqlite, Kind::Mongo] {
        for format in ["text", "json"] {
            let config = SandboxConfig { dead_users: 2, faults: FAULTS.parse().unwrap(), ..users(24) };
            let Some(mut scene) = Scene::new("loud", kind, config).await else { continue };
            scene.set("log.format", format);
            scene.set("log.level", LOUDEST);
            scene.set("request_timeout", "2s");
            every_command(&scene).await;
            // A success that nobody can read: the journal holds tokens now.
            scene.sandbox.set_faults(FaultScript::default());
            scene.set("answer.access_token", "/nowhere");
            every_command(&scene).await;
            let listed = scene.run(&["journal", "list"]).await;
            assert!(listed.stdout.contains("unread"), "the journal holds an answer: {listed:?}");
            only_store_and_journal_hold_tokens(&scene).await;
        }
    }
    let (outputs, bytes) = searched();
    assert!(outputs > 160, "{outputs} outputs");
    #[expect(clippy::print_stdout, reason = "the figure that is reported")]
    {
        println!("searched {outputs} outputs with {bytes} bytes: 0 secrets found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failure_says_a_secret() {
    let password = "planted-Store-Password-4711";
    plant(password);
    let failures: [(&str, &str, i32); 9] = [
        ("client_secret", "a-wrong-planted-secret", 5),
        (
            "store.url",
            "mongodb://me:planted-Store-Password-4711@127.0.0.1:1/a?serverSelectionTimeoutMS=300",
            7,
        ),
        ("store.url", "mongodb://me:planted-Store-Password-4711@127.0.0.1:99999/a", 2),
        ("store.url", "mongodb://me:planted-Store-Password-4711@/", 2),
        ("store.url", "mongodb+srv://me:planted-Store-Password-4711@nowhere.invalid/a", 7),
        ("store.url", "postgres://me:planted-Store-Password-4711@db/a", 2),
        ("token_url", "http://me:planted-Store-Password-4711@127.0.0.1/", 2),
        ("log.level", "=planted-Store-Password-4711=,", 2),
        ("state_dir", "/proc/nowhere", 7),
    ];
    for (key, value, code) in failures {
        for format in ["text", "json"] {
            let mut scene = Scene::new("failure", Kind::Sqlite, users(6)).await.unwrap();
            scene.set("log.level", "trace");
            scene.set("log.format", format);
            scene.set(key, value);
            if key == "log.level" {
                continue; // a level isn't a secret, and is shown
            }
            let mut codes = Vec::new();
            for arguments in
                [&["run", "--once"][..], &["check"], &["tokens", "list"], &["journal", "recover"]]
            {
                codes.push(scene.run(arguments).await.code);
            }
            assert!(matches!(codes[0], Some(2..=7)), "{key}: {codes:?}, about {code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_on_the_command_line_is_warned_of_and_not_repeated() {
    let scene = Scene::new("cmdline", Kind::Sqlite, users(1)).await.unwrap();
    let secret = format!("client_secret={CLIENT_SECRET}");
    let ended = scene.run(&["run", "--once", "--set", &secret]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("every user of this machine can read it"), "{ended:?}");
    plant("planted-Store-Password-4712");
    let url = "store.url=mongodb://me:planted-Store-Password-4712@127.0.0.1:1/a?serverSelectionTimeoutMS=200";
    for command in ["run --once", "tokens list", "check", "journal recover"] {
        let arguments: Vec<_> = command.split(' ').chain(["--set", url]).collect();
        let ended = scene.run(&arguments).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("every user of this machine can read it"), "{command}: {ended:?}");
    }
}

/// Reads every file below a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    found
}

/// Tokens are in the store and in the journal, and the client's secret is nowhere on the disk.
async fn only_store_and_journal_hold_tokens(scene: &Scene) {
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let tokens: Vec<String> = scene
        .documents()
        .await
        .into_iter()
        .filter_map(|document| Some(document.refresh_token.ok()?.expose().to_owned()))
        .collect();
    for (path, bytes) in files(scene.folder.path()) {
        assert!(!holds(&bytes, CLIENT_SECRET), "the client's secret is in {}", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let may_hold = name.starts_with("tokens.db") || name.starts_with("journal.db");
        let found = tokens.iter().any(|token| holds(&bytes, token));
        assert!(may_hold || !found, "a token is in {}", path.display());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_aborted_leaves_no_core_and_its_environment_is_its_own() {
    let scene = Scene::new("abort", Kind::Sqlite, users(2)).await.unwrap();
    let mut child = scene.start(&["run"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it starts").contains("next wakes") {}
    let pid = child.id().unwrap();
    let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!command_line.contains(CLIENT_SECRET), "the secret came by the environment");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGABRT).unwrap();
    let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await.unwrap().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    let left: Vec<_> = files(scene.folder.path()).into_iter().map(|(path, _)| path).collect();
    let is_core =
        |path: &&std::path::PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("core");
    assert_eq!(left.iter().find(is_core), None);
}

/// Set for the tests that do something only in a process of their own.
const ALONE: &str = "EVERGRANT_TEST_ALONE";

/// Runs one of the tests below in a process of its own; anywhere else they do nothing.
fn alone(test: &str) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("proof::canaries::{test}"), "--nocapture"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_hardened_process_dumps_no_core_and_lets_nobody_read_it() {
    let (well, said) = alone("in_a_process_of_its_own_the_limits_are_set");
    assert!(well, "{said}");
}

#[test]
fn in_a_process_of_its_own_the_limits_are_set() {
    if !is_alone() {
        return;
    }
    silence::keep();
    assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    #[cfg(target_os = "linux")]
    assert!(!nix::sys::prctl::get_dumpable().unwrap());
}

#[test]
fn a_panic_says_where_and_never_with_what() {
    for (test, place) in [
        ("a_panic_with_a_secret_in_its_message", "canaries.rs"),
        ("a_panic_in_a_task_with_a_secret_in_its_message", "canaries.rs"),
        ("a_panic_over_a_text", "canaries.rs"),
    ] {
        let (well, said) = alone(test);
        assert!(!well, "{test}: it panics: {said}");
        assert!(said.contains("panic at") && said.contains(place), "{test}: {said}");
        assert!(!said.contains("planted-in-a-panic"), "{test}: {said}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a knob of the tests, not a setting")]
fn is_alone() -> bool {
    std::env::var(ALONE).is_ok()
}

fn secret() -> String {
    std::hint::black_box("planted-in-a-panic").to_owned()
}

#[test]
fn a_panic_with_a_secret_in_its_message() {
    if !is_alone() {
        return;
    }
    silence::keep();
    let refused: Result<(), String> = std::hint::black_box(Err(secret()));
    refused.unwrap();
}

#[test]
fn a_panic_in_a_task_with_a_secret_in_its_message() {
    if !is_alone() {
        return;
    }
    silence::keep();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let task = runtime.spawn(async { panic!("the token {} is bad", secret()) });
    assert!(runtime.block_on(task).is_ok());
}

#[test]
fn a_panic_over_a_text() {
    if !is_alone() {
        return;
    }
    silence::keep();
    let text = format!("é{}", secret());
    assert_eq!(&text[..1], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_says_nothing_however_it_is_asked() {
    let mut scene = Scene::new("libraries", Kind::Sqlite, users(3)).await.unwrap();
    scene.set("log.format", "json");
    scene.set("log.level", &LOUDEST.replace("trace,hyper=", "off,hyper="));
    let ended: Ended = scene.run(&["run", "--once"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "only libraries were asked to speak");
    scene.set("log.level", "off,evergrant=trace");
    let ended = scene.run(&["run", "--once", "--force"]).await;
    assert!(ended.stderr.contains("TRACE") || ended.stderr.contains("DEBUG"), "{ended:?}");
}
