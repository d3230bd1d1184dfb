//! `evergrant run` as a person meets it: exit codes, signals, wrong settings, silence.

use crate::support::process::{Ended, Kind, ONCE, Scene};
use evergrant::sandbox::{FaultScript, SandboxConfig};
use evergrant::testing::clock::Clock;
use evergrant::testing::journal::{Journal, Moment};
use evergrant::testing::token::{Bookkeeping, State, TokenDocument};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::process::Child;

async fn scene(name: &str, config: SandboxConfig) -> Scene {
    Scene::new(name, Kind::Sqlite, config).await.unwrap()
}

fn users(users: usize) -> SandboxConfig {
    SandboxConfig { users, ..SandboxConfig::default() }
}

fn faults(script: &str) -> FaultScript {
    script.parse().unwrap()
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it is still running");
    kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_over_plain_documents_refreshes_everybody_and_a_second_one_finds_nothing_due() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(scene) = Scene::new("plain", kind, users(30)).await else { continue };
        let ended = scene.run(&ONCE).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report = ended.json();
        assert_eq!(
            (&report["touched"], &report["outcomes"]["refreshed"], &report["documents"]),
            (&30.into(), &30.into(), &30.into())
        );
        assert_eq!(scene.audit().await.kept, 30);
        let again = scene.run(&ONCE).await;
        assert_eq!((again.code, &again.json()["touched"]), (Some(0), &0.into()), "{again:?}");
        assert_eq!(scene.sandbox.ledger().granted, 30);
        let forced = scene.run(&["run", "--once", "--force", "--limit", "7", "--format", "json"]).await;
        assert_eq!((forced.code, scene.sandbox.ledger().granted), (Some(0), 37), "{forced:?}");
        assert_eq!(scene.audit().await.kept, 30);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_a_person_must_do() {
    let dead = scene("dead", SandboxConfig { dead_users: 2, ..users(5) }).await;
    let ended = dead.run(&["run", "--once"]).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stdout.contains("must log in again") && ended.stdout.contains("user-000004@example.com"),
        "{ended:?}"
    );

    let mut failing = scene("failing", SandboxConfig { faults: faults("503"), ..users(2) }).await;
    failing.set("max_retries_per_pass", "0");
    let ended = failing.run(&["run", "--once"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stdout.contains("still_due") && ended.stdout.contains("http_503"), "{ended:?}");

    let mut rejected = scene("rejected", users(20)).await;
    rejected.set("client_secret", "wrong-secret-canary");
    let ended = rejected.run(&["run", "--once"]).await;
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(
        ended.stdout.contains("invalid_client") && ended.stdout.contains("hint: check `client_id`"),
        "{ended:?}"
    );
    assert!(!format!("{ended:?}").contains("wrong-secret-canary"), "{ended:?}");
    assert!(rejected.documents().await.iter().all(|document| document.bookkeeping.state == State::Live));

    let mut nowhere = scene("nowhere", users(1)).await;
    nowhere.set("store.url", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300");
    nowhere.set("store.database", "logins");
    let ended = nowhere.run(&["run", "--once"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(7), ""), "{ended:?}");
    assert!(ended.stderr.contains(": 127.0.0.1:1 refused the connection (tried for "), "{ended:?}");
    assert!(ended.stderr.contains("\nhint: does MongoDB run there"), "{ended:?}");
    assert!(!ended.stderr.contains("Topology"), "{ended:?}");
    let verbose = nowhere.run(&["run", "--once", "-v"]).await;
    assert!(verbose.stderr.contains("Topology"), "the driver's words are for the debug log: {verbose:?}");

    let mut nodir = scene("nodir", users(1)).await;
    std::fs::write(nodir.folder.path().join("file"), "").unwrap();
    nodir.set("state_dir", nodir.folder.path().join("file/state").to_str().unwrap());
    let ended = nodir.run(&["run", "--once"]).await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(ended.stderr.contains("EVERGRANT_STATE_DIR"), "{ended:?}");
    assert_eq!(nodir.sandbox.ledger().requests, 0, "nothing is redeemed that can't be kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_succeeds_on_what_it_was_told_and_on_nothing_else() {
    let config = SandboxConfig { dead_users: 1, ..users(5) };
    let needs_login = ["run", "--once", "--force", "--succeed-on", "needs_login"];
    let either = ["run", "--once", "--force", "--succeed-on", "needs_login,unfinished"];
    for (script, arguments, code) in [("", needs_login, 0), ("503@1", needs_login, 4), ("503@1", either, 0)] {
        let mut scene = scene("succeed", SandboxConfig { faults: faults(script), ..config.clone() }).await;
        scene.set("max_retries_per_pass", "0");
        let ended = scene.run(&arguments).await;
        assert_eq!(ended.code, Some(code), "{script} {arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("exit code 3 (needs_login) counts as success"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_names_those_whom_the_pass_then_asks_and_touches_nothing() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig { dead_users: 2, ..users(10) };
        let Some(mut scene) = Scene::new("dry_run", kind, config).await else { continue };
        scene.set("rate", "60/min");
        let plan = |arguments: &'static [&'static str]| {
            let all = [&["run", "--once", "--dry-run", "--format", "json"], arguments].concat();
            let scene = &scene;
            async move {
                let ended = scene.run(&all).await;
                assert_eq!(ended.code, Some(0), "{ended:?}");
                ended.json()
            }
        };
        let first = plan(&["--limit", "4"]).await;
        let pass = &first["passes"][0];
        assert_eq!(
            (&pass["documents"]["asked"], &pass["documents"]["beyond_limit"]),
            (&4.into(), &6.into()),
            "{first}"
        );
        assert_eq!(pass["takes_seconds"], 4.0, "four requests at one a second");
        let named: Vec<_> =
            pass["asked"].as_array().unwrap().iter().map(|asked| asked["id"].to_string()).collect();
        assert_eq!((named.len(), scene.sandbox.ledger().requests), (4, 0));
        assert!(
            scene.documents().await.iter().all(|document| document.bookkeeping == Bookkeeping::default())
        );
        assert!(!scene.state_folder().exists(), "not even a journal");
        // The pass asks these, and these alone.
        let quick = ["--set", "rate=none"];
        let limited = [&["run", "--once", "--limit", "4"], &quick[..]].concat();
        assert_eq!(scene.run(&limited).await.code, Some(0));
        let refreshed = |document: &&TokenDocument| document.bookkeeping.refreshed_at.is_some();
        let mut asked: Vec<_> = scene
            .documents()
            .await
            .iter()
            .filter(refreshed)
            .map(|document| serde_json::to_string(&document.id).unwrap())
            .collect();
        asked.sort_unstable();
        let mut named = named;
        named.sort_unstable();
        assert_eq!(asked, named);
        assert_eq!(scene.run(&[&ONCE, &quick[..]].concat()).await.code, Some(3));
        let nothing = plan(&[]).await;
        assert_eq!(nothing["passes"][0]["asked"], serde_json::json!([]), "{nothing}");
        let forced = plan(&["--force"]).await;
        assert_eq!(forced["passes"][0]["documents"]["asked"], 10, "{forced}");
        // Beside a process.
        let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
        let text = scene.run(&["run", "--once", "--dry-run", "--force"]).await;
        assert_eq!(text.code, Some(0), "{text:?}");
        for part in ["would end with exit code 6", "generic: 10 requests", "ORDER", "user-000000@example.com"]
        {
            assert!(text.stdout.contains(part), "{part}: {text:?}");
        }
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weekly_run_once_is_told_that_it_does_not_try_again_and_a_daily_one_is_not() {
    let mut scene = scene("weekly", users(2)).await;
    let weekly = scene.run(&ONCE).await;
    assert_eq!(weekly.code, Some(0), "{weekly:?}");
    for said in ["meets only 1 scheduled pass before it expires", "`run --once` does not try again by itself"]
    {
        assert!(weekly.stderr.contains(said), "{said}: {weekly:?}");
    }
    scene.set("schedule", "0 3 * * *");
    let daily = scene.run(&ONCE).await;
    assert!(!daily.stderr.contains("before it expires"), "{daily:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collection_is_no_error_and_is_said() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let Some(mut scene) = Scene::new("empty", kind, users(1)).await else { continue };
        scene.set("store.collection", "nobody");
        if kind == Kind::Sqlite {
            scene.set("store.url", &format!("sqlite:{}", scene.folder.path().join("other.db").display()));
            assert_eq!(scene.run(&["run", "--once", "--allow-empty"]).await.code, Some(0));
        } else {
            scene
                .collection()
                .await
                .client()
                .database(&scene.collection().await.namespace().db)
                .create_collection("nobody")
                .await
                .unwrap();
        }
        let ended = scene.run(&["run", "--once"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("0 documents in"), "{ended:?}");
        assert!(ended.stderr.contains("the database and collection that you meant"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_end_with_2_and_name_the_variable_and_the_fix() {
    let cases: [(&str, &str, &[&str]); 9] = [
        ("rate", "400", &["EVERGRANT_RATE", "400/min"]),
        ("concurrency", "0", &["EVERGRANT_CONCURRENCY"]),
        ("schedule", "0 3 * *", &["EVERGRANT_SCHEDULE", "fields"]),
        ("schedule", "0 3 31 2 *", &["never wakes"]),
        ("timezone", "Europe/Berln", &["EVERGRANT_TIMEZONE", "Europe/Berlin"]),
        ("token_url", "http://example.com/token", &["EVERGRANT_TOKEN_URL", "https"]),
        ("provider", "autodsk", &["autodesk"]),
        ("conccurency", "3", &["EVERGRANT_CONCCURENCY", "did you mean `EVERGRANT_CONCURRENCY`"]),
        ("lease", "30s", &["lease", "request_timeout"]),
    ];
    for (key, value, expected) in cases {
        let mut scene = scene("settings", users(1)).await;
        scene.set(key, value);
        let ended = scene.run(&["run", "--once"]).await;
        assert_eq!(ended.code, Some(2), "{key}={value}: {ended:?}");
        for word in expected {
            assert!(ended.stderr.contains(word), "{key}={value} doesn't say {word}: {}", ended.stderr);
        }
    }
    let unknown = scene("usage", users(1)).await.run(&["run", "--onec"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_takes_no_more_and_finishes_what_was_sent() {
    let mut scene = scene("stop", SandboxConfig { latency: Duration::from_millis(30), ..users(300) }).await;
    scene.set("concurrency", "4");
    let mut child = scene.start(&ONCE);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 20).await;
    signal(&child, Signal::SIGINT);
    let ended = Ended::of(child).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("no more tokens are taken"), "{ended:?}");
    let (ledger, audit) = (scene.sandbox.ledger(), scene.audit().await);
    assert!(ledger.granted < 300, "it stopped in the middle");
    assert_eq!((audit.kept, ledger.answers_untaken), (300, 0), "nothing was cut off");
    let again = scene.run(&ONCE).await;
    assert_eq!((again.code, scene.sandbox.ledger().granted), (Some(0), 300), "each exactly once: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_gives_up_the_answers_and_the_next_start_asks_again() {
    let config =
        SandboxConfig { grace: Duration::from_mins(1), faults: faults("delay(600)@5..7"), ..users(30) };
    let mut scene = scene("give_up", config).await;
    scene.set("concurrency", "2");
    let mut child = scene.start(&ONCE);
    scene.until(&mut child, |sandbox| sandbox.ledger().requests >= 6).await;
    signal(&child, Signal::SIGTERM);
    let mut stderr = tokio::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    let price = [
        "waiting for 2 grants that were sent",
        "press Ctrl-C again",
        "up to 2 users may then have to log in",
    ];
    while !price.iter().all(|words| said.contains(words)) {
        assert_ne!(tokio::io::AsyncBufReadExt::read_line(&mut stderr, &mut said).await.unwrap(), 0, "{said}");
    }
    signal(&child, Signal::SIGTERM);
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut said).await.unwrap();
    let ended = Ended::of(child).await;
    assert_eq!(ended.code, Some(4), "{ended:?} {said}");
    assert!(ended.stdout.contains("\"given_up\": 2"), "{ended:?}");
    assert!(said.contains("as asked again; 2 grants given up without an answer"), "{said}");
    scene.sandbox.set_faults(FaultScript::default());
    let again = scene.run(&ONCE).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.json()["recovery"]["unsettled"], 2, "{again:?}");
    assert_eq!(scene.audit().await.kept, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_journal_is_refused_by_the_name_of_the_first() {
    let mut scene = scene("held", SandboxConfig { faults: faults("delay(600)"), ..users(2) }).await;
    scene.set("stop_grace", "75s");
    let mut first = scene.start(&ONCE);
    scene.until(&mut first, |sandbox| sandbox.ledger().requests >= 1).await;
    let second = scene.run(&ONCE).await;
    assert_eq!(second.code, Some(6), "{second:?}");
    assert!(second.stderr.contains(&format!("process {}", first.id().unwrap())), "{second:?}");
    assert!(second.stderr.contains("stop the service, run `evergrant run --once`, and start"), "{second:?}");
    assert!(!second.stderr.contains("STATE_DIR"), "no second journal for one store: {second:?}");
    first.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_wakes_on_its_schedule_and_ends_well_when_asked() {
    let mut scene = scene("daemon", users(10)).await;
    scene.set("schedule", "* * * * * *");
    scene.set("refresh_token_lifetime", "unknown");
    let mut child = scene.start(&["run"]);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 20).await;
    signal(&child, Signal::SIGTERM);
    let ended = Ended::of(child).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said = |words: &str| ended.stderr.find(words).unwrap_or_else(|| panic!("{words}: {ended:?}"));
    assert!(
        said("10 documents are due now; the first pass begins") < said("waking for the scheduled pass"),
        "{ended:?}"
    );
    assert!(said("next wakes") < said("stopping: ") && said("stopping: ") < said(" stopped"), "{ended:?}");
    assert_eq!(scene.audit().await.kept, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_wakes_at_an_interval_catches_up_one_wake_and_keeps_access_tokens_good() {
    let mut scene = scene("every", users(10)).await;
    scene.set("schedule", "every 29min");
    scene.set("keep", "access");
    scene.set("access_token_lifetime", "1h");
    // An earlier process has answered its last wake two days ago.
    let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    let long_ago = Clock::system().now() - chrono::TimeDelta::days(2);
    journal.remember(Moment::LastWake("generic".into()), Some(long_ago)).await.unwrap();
    journal.close().await;
    let mut child = scene.start(&["run"]);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 10).await;
    signal(&child, Signal::SIGTERM);
    let ended = Ended::of(child).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("the first pass begins now"), "{ended:?}");
    assert_eq!(scene.audit().await.kept, 10);
    assert_eq!(scene.sandbox.ledger().granted, 10);
    for document in scene.documents().await {
        let books = document.bookkeeping;
        // A gap of 29 minutes, a request of one, and the pass over 10 documents.
        let before_the_end = books.access_expires_at.unwrap() - books.due_at.unwrap();
        assert!((30..=31).contains(&before_the_end.num_minutes()), "{books:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_follows_up_what_was_put_off_until_all_of_it_had_its_turn() {
    let mut scene = scene("follow_up", SandboxConfig { dead_users: 3, ..users(3) }).await;
    // No wake will come; an earlier process has left something.
    scene.set("schedule", "0 3 29 2 *");
    scene.set("refresh_token_lifetime", "9000d");
    scene.set("retry_after_failure", "1s");
    let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    journal.remember(Moment::FollowUp("generic".into()), Some(Clock::system().now())).await.unwrap();
    journal.close().await;
    let mut child = scene.start(&["run"]);
    // Nobody is granted anything: they are refused once, and once more when they are due again.
    scene.until(&mut child, |sandbox| sandbox.ledger().requests >= 6).await;
    signal(&child, Signal::SIGTERM);
    let ended = Ended::of(child).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for said in ["trying again what earlier passes left due", "still due: refused_once 3"] {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
    let marked = |document: &TokenDocument| document.bookkeeping.state == State::NeedsLogin;
    assert_eq!(scene.documents().await.iter().filter(|document| marked(document)).count(), 3);
    let journal = Journal::open(&scene.state_folder(), &Clock::system()).unwrap();
    assert_eq!(scene.sandbox.ledger().requests, 6);
    assert!(journal.remembered(Moment::LastWake("generic".into())).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_at_any_level_holds_a_token_or_a_secret() {
    let config = SandboxConfig {
        dead_users: 2,
        client_secret: "canary-secret".into(),
        faults: faults("503@3, 429(1)@5, html@7, drop-after@9, truncate@11, 500@13, redirect@15"),
        ..users(24)
    };
    let mut scene = scene("silence", config).await;
    scene.set("client_secret", "canary-secret");
    for format in ["text", "json"] {
        scene.set("log.format", format);
        let mut said = String::new();
        for arguments in [
            &["run", "--once", "-vv", "--force"][..],
            &["run", "--once", "-vv", "--force", "--format", "json"],
        ] {
            let ended = scene.run(arguments).await;
            assert!(matches!(ended.code, Some(0 | 3 | 4)), "{ended:?}");
            said.extend([ended.stdout, ended.stderr]);
        }
        assert!(said.contains("user-000003@example.com"), "the log is there: {said}");
        assert!(!said.contains("canary-secret"));
        for user in scene.sandbox.users() {
            assert!(!said.contains(&user.refresh_token) && !said.contains(&user.access_token));
        }
        for document in scene.documents().await {
            let token = document.refresh_token.unwrap();
            assert!(!said.contains(token.expose()), "{}", document.subject);
        }
    }
}
