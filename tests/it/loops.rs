//! Several providers in one process, and what is remembered of a provider from pass to pass and over a restart.

use crate::support::canaries;
use crate::support::process::{Ended, Kind, ONCE, Scene, command};
use evergrant::sandbox::{Sandbox, SandboxConfig};
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::{Journal, Moment};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Child;

pub(crate) fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

/// Two providers, whose users stand in one store.
pub(crate) struct Two {
    pub(crate) providers: [Sandbox; 2],
    folder: TempDir,
}

const NAMES: [&str; 2] = ["quick", "slow"];

impl Two {
    /// The first is `quick`, the second `slow`. The service wakes each second.
    pub(crate) async fn new(mut configs: [SandboxConfig; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut started = Vec::new();
        let mut settings = "store.url = \"sqlite:tokens.db\"\nstate_dir = \"state\"\n\
             documents.provider = \"provider\"\nschedule = \"* * * * * *\"\nmax_retries_per_pass = 0\n"
            .to_owned();
        let mut lines = String::new();
        for (seed, (name, config)) in NAMES.into_iter().zip(&mut configs).enumerate() {
            // Otherwise both would hand out the same tokens.
            config.seed = seed as u64;
            canaries::CLIENT_SECRET.clone_into(&mut config.client_secret);
            let sandbox =
                Sandbox::start(config.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
            let (url, secret) = (sandbox.token_url(), &config.client_secret);
            writeln!(
                settings,
                "[providers.{name}]\nprofile = \"generic\"\ntoken_url = \"{url}\"\nclient_id = \"sandbox-client\"\n\
                 client_secret = \"{secret}\"\nrefresh_token_lifetime = \"unknown\""
            )
            .unwrap();
            for user in sandbox.users() {
                let document = json!({
                    "_id": format!("{name}-{}", user.user),
                    "email": user.email,
                    "provider": name,
                    "access_token": user.access_token,
                    "refresh_token": user.refresh_token,
                });
                writeln!(lines, "{document}").unwrap();
            }
            started.push(sandbox);
        }
        std::fs::write(folder.path().join("evergrant.toml"), settings).unwrap();
        std::fs::write(folder.path().join("logins.jsonl"), lines).unwrap();
        let Ok(providers) = <[Sandbox; 2]>::try_from(started) else { unreachable!("two were started") };
        let two = Self { providers, folder };
        let imported = two.run(&["tokens", "import", "logins.jsonl"]).await;
        assert_eq!(imported.code, Some(0), "{imported:?}");
        two
    }

    /// Replaces a line of the settings file.
    pub(crate) fn set(&self, line: &str, by: &str) {
        let path = self.folder.path().join("evergrant.toml");
        let settings = std::fs::read_to_string(&path).unwrap();
        assert!(settings.contains(line));
        std::fs::write(path, settings.replace(line, by)).unwrap();
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        command(self.folder.path(), &[], arguments).spawn().unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments)).await
    }

    pub(crate) fn granted(&self) -> [u64; 2] {
        [0, 1].map(|number: usize| self.providers[number].ledger().granted)
    }

    pub(crate) async fn until(&self, child: &mut Child, wanted: impl Fn(&Self) -> bool) {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        let look = async {
            while !wanted(self) && child.try_wait().unwrap().is_none() {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), look).await.expect("the ledgers get there");
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it is still running");
    kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wakes_of_a_quick_provider_are_answered_while_the_pass_of_a_slow_one_runs() {
    let slow = SandboxConfig { faults: "delay(600)".parse().unwrap(), ..users(5) };
    let two = Two::new([users(5), slow]).await;
    let mut child = two.start(&["run"]);
    // Three wakes of the one; the first answer of the other never comes.
    two.until(&mut child, |two| two.granted()[0] >= 15 && two.providers[1].ledger().requests >= 1).await;
    assert_eq!(two.granted()[1], 0);
    child.start_kill().unwrap();
    let ended = Ended::of(child).await;
    for said in ["waking for the scheduled pass of", "`quick`", "`slow`"] {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_is_a_pass_of_each_provider_with_a_part_in_one_report() {
    let failing = SandboxConfig { faults: "503".parse().unwrap(), ..users(3) };
    let two = Two::new([SandboxConfig { dead_users: 1, ..users(5) }, failing]).await;
    let ended = two.run(&ONCE).await;
    let report = ended.json();
    // A user who must log in again is more urgent than documents that are still due.
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let part = |name: &str| report["providers"][name].clone();
    assert_eq!((&part("quick")["due"], &part("slow")["due"]), (&5.into(), &3.into()), "{report}");
    assert_eq!(part("quick")["outcomes"]["refreshed"], 4);
    assert_eq!(part("slow")["outcomes"]["still_due"], 3);
    let sum = |of: &dyn Fn(&Value) -> u64| of(&part("quick")) + of(&part("slow"));
    assert_eq!(report["grants"], sum(&|part| part["grants"].as_u64().unwrap()));
    assert_eq!(report["touched"], 8);
    two.providers[1].set_faults("".parse().unwrap());
    let text = two.run(&["run", "--once", "--force"]).await;
    assert!(text.stdout.contains("quick") && text.stdout.contains("slow"), "{text:?}");
    assert_eq!(two.granted(), [8, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_hours_survives_the_end_of_its_pass_and_a_restart() {
    let config = SandboxConfig { faults: "429(10800)".parse().unwrap(), ..users(5) };
    let scene = Scene::new("paused", Kind::Sqlite, config).await.unwrap();
    let before = Clock::system().now();
    let ended = scene.run(&ONCE).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let report = ended.json();
    assert_eq!((&report["grants"], &report["remaining_due"]), (&1.into(), &5.into()), "{report}");
    assert_eq!(report["troubles"][0]["kind"], "paused", "{report}");
    let until = |report: &Value| report["troubles"][0]["until"].as_str().unwrap().parse().unwrap();
    let paused_until: evergrant::testing::clock::Timestamp = until(&report);
    let minutes = (paused_until - before).num_minutes();
    assert!((179..=181).contains(&minutes), "{minutes} min");
    for document in scene.documents().await {
        assert!(document.bookkeeping.lease.is_none(), "{document:?}");
    }
    scene.sandbox.set_faults("".parse().unwrap());
    let again = scene.run(&ONCE).await;
    assert_eq!((again.code, scene.sandbox.ledger().requests), (Some(4), 1), "nothing is sent: {again:?}");
    assert!((until(&again.json()) - paused_until).num_seconds().abs() <= 2, "{again:?}");
    let text = scene.run(&["run", "--once"]).await.stdout;
    assert!(text.contains("the provider `generic` asks us to wait"), "{text}");
    // The service waits for the end of the pause, and remembers that over its own restart.
    let child = scene.start(&["run"]);
    signal_when_started(child).await;
    assert_eq!(scene.sandbox.ledger().requests, 1);
}

/// Reads what a service says until a line has this.
async fn until_said(child: &mut Child, said: &str) {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect(said).contains(said) {}
}

/// Ends a service by Ctrl-C once it has said when it wakes.
async fn signal_when_started(mut child: Child) {
    until_said(&mut child, "next wakes").await;
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_under_another_name_is_caught_up_by_what_was_remembered_of_others() {
    let mut scene = Scene::new("renamed", Kind::Sqlite, users(3)).await.unwrap();
    scene.set("schedule", "every 12h");
    let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    let long_ago = Clock::system().now() - chrono::TimeDelta::days(2);
    journal.remember(Moment::LastWake("earlier-name".into()), Some(long_ago)).await.unwrap();
    journal.close().await;
    let mut child = scene.start(&["run"]);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 3).await;
    signal(&child, Signal::SIGTERM);
    assert_eq!(Ended::of(child).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_one_run_and_the_service_say_the_same_of_a_life_that_is_too_short_for_the_schedule() {
    let config = SandboxConfig {
        refresh_token_lifetime: Duration::from_hours(48),
        announce_refresh_lifetime: true,
        ..users(3)
    };
    let mut scene = Scene::new("learned", Kind::Sqlite, config).await.unwrap();
    scene.set("schedule", "0 3 * * SUN");
    let lives = async || {
        let report = scene.run(&["check", "--format", "json"]).await.json();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["name"] == "generic: token lives")
    };
    assert_eq!(lives().await, None, "no answer has told a life yet");
    let report = scene.run(&ONCE).await.json();
    let warning = &report["warnings"][0];
    let why = warning["message"].as_str().unwrap().strip_prefix("`generic`: ").unwrap();
    assert!(why.contains("by the provider's answers a refresh token lives 2d"), "{why}");
    let check = lives().await.expect("the journal remembers");
    assert_eq!((&check["status"], &check["hint"]), (&"warning".into(), &warning["hint"]), "{check}");
    assert!(check["detail"].as_str().unwrap().starts_with(why), "{check}");
    let mut child = scene.start(&["run"]);
    until_said(&mut child, why).await;
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}
