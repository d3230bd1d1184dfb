//! The log as a program reads it: fixed fields on each line about a token, and no token.

use crate::loops::signal;
use crate::support::meddler::{Call, Mishap};
use crate::support::process::{Kind, Scene};
use crate::support::rehearsal::{Plan, on_both};
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::{State, TokenDocument};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What each line about a token has; those that say where its document ended have an `outcome`, too.
const FIELDS: [&str; 5] = ["pass", "provider", "document", "subject", "code"];

fn lines(stderr: &str) -> Vec<Map<String, Value>> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn is_about_a_token(line: &Map<String, Value>) -> bool {
    line.contains_key("subject") || line.contains_key("document") || line.contains_key("outcome")
}

fn assert_fields(line: &Map<String, Value>) {
    for field in FIELDS {
        let value = line.get(field).and_then(Value::as_str).unwrap_or_default();
        assert!(!value.is_empty(), "no `{field}` in {line:?}");
    }
    assert_eq!(
        (&line["provider"], line["pass"].as_str().unwrap().len()),
        (&"generic".into(), 32),
        "{line:?}"
    );
    let subject = line["subject"].as_str().unwrap();
    assert!(line["message"].as_str().unwrap().contains(subject), "text has no fields: {line:?}");
}

/// Asserts that each line of a pass says so: with one provider these are the lines from the first that does to the last.
fn assert_each_line_of_the_pass_says_so(lines: &[Map<String, Value>]) {
    let is_of_a_pass = |line: &Map<String, Value>| line.contains_key("pass");
    let first = lines.iter().position(is_of_a_pass).expect("there is a pass");
    let last = lines.iter().rposition(is_of_a_pass).unwrap();
    for line in &lines[first..=last] {
        assert_eq!(line.get("provider"), Some(&"generic".into()), "{line:?}");
        assert_eq!(line.get("pass"), lines[first].get("pass"), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_about_a_token_has_its_fields_and_the_outcomes_are_those_of_the_report() {
    for kind in [Kind::Sqlite, Kind::Mongo] {
        let config = SandboxConfig {
            dead_users: 2,
            faults: "503@3, 429(1)@5, html@7, drop-after@9, truncate@11, 500@13".parse().unwrap(),
            users: 24,
            ..SandboxConfig::default()
        };
        let Some(mut scene) = Scene::new("log", kind, config).await else { continue };
        scene.set("log.format", "json");
        let ended = scene.run(&["run", "--once", "-v", "--format", "json"]).await;
        let (mut outcomes, mut passes) = (BTreeMap::<String, u64>::new(), Vec::new());
        let mut about = 0;
        let lines = lines(&ended.stderr);
        assert_each_line_of_the_pass_says_so(&lines);
        for line in lines.into_iter().filter(is_about_a_token) {
            assert_fields(&line);
            about += 1;
            passes.push(line["pass"].clone());
            if let Some(outcome) = line.get("outcome") {
                *outcomes.entry(outcome.as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        passes.dedup();
        assert_eq!(passes.len(), 1, "one provider, one pass");
        assert!(about > 2 * 24, "a line for each grant, and for each end: {about}");
        let mut told = ended.json()["outcomes"].clone();
        told.as_object_mut().unwrap().retain(|_, count| *count != 0);
        assert_eq!(told, serde_json::to_value(outcomes).unwrap(), "{ended:?}");
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        for user in scene.sandbox.users() {
            assert!(!shown.contains(&user.refresh_token) && !shown.contains(&user.access_token));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_takes_the_fields_from_a_line_that_is_told() {
    let config =
        SandboxConfig { users: 8, faults: "truncate@2".parse().unwrap(), ..SandboxConfig::default() };
    let mut scene = Scene::new("warn", Kind::Sqlite, config).await.unwrap();
    scene.set("log.format", "json");
    scene.set("log.level", "warn");
    let ended = scene.run(&["run", "--once"]).await;
    let about: Vec<_> = lines(&ended.stderr).into_iter().filter(is_about_a_token).collect();
    assert!(!about.is_empty(), "{ended:?}");
    about.iter().for_each(assert_fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_says_once_of_each_user_who_must_log_in_again_who_it_is_and_why() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let config = SandboxConfig { users: 6, dead_users: 2, ..SandboxConfig::default() };
    let mut scene = Scene::new("needs_login", Kind::Sqlite, config).await.unwrap();
    for (key, value) in [("log.format", "json"), ("schedule", "continuous")] {
        scene.set(key, value);
    }
    let mut child = scene.start(&["run"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    // What follows a pass comes after all that is said of its end.
    while said.last().is_none_or(|line: &Map<String, Value>| !line.contains_key("refreshed")) {
        said.extend(lines(&stderr.next_line().await.unwrap().expect("a pass ends")));
    }
    let pass = said.last().unwrap()["pass"].clone();
    signal(&child, Signal::SIGTERM);
    while let Some(line) = stderr.next_line().await.unwrap() {
        said.extend(lines(&line));
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    let mut marked: Vec<_> =
        said.iter().filter(|line| line.get("outcome") == Some(&"needs_login".into())).collect();
    for line in &marked {
        assert_fields(line);
        assert_eq!(
            (&line["level"], &line["code"], &line["pass"]),
            (&"WARN".into(), &"invalid_grant".into(), &pass)
        );
    }
    marked.sort_by_key(|line| line["subject"].to_string());
    let mut documents = scene.documents().await;
    documents.retain(|document| document.bookkeeping.state == State::NeedsLogin);
    documents.sort_by_key(|document| document.subject.to_string());
    let who = |line: &Map<String, Value>| (line["document"].clone(), line["subject"].clone());
    let are = |document: &TokenDocument| {
        (Value::from(document.id.to_string()), Value::from(document.subject.to_string()))
    };
    assert_eq!(documents.len(), 2);
    assert_eq!(
        marked.into_iter().map(who).collect::<Vec<_>>(),
        documents.iter().map(are).collect::<Vec<_>>()
    );
    for line in
        said.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("pass")))
    {
        assert_eq!(line.get("provider"), Some(&"generic".into()), "{line:?}");
    }
}

/// What the store says about a call is told within the span that the call is made in.
#[tokio::test]
async fn the_store_is_asked_by_a_pass_within_the_span_of_the_pass() {
    let _logged = tracing::subscriber::set_default(tracing_subscriber::registry());
    on_both("spans", Plan::users(12), async |rehearsal| {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        rehearsal.meddler.decide(move |call| {
            let span = tracing::Span::current().metadata().map(tracing::Metadata::name);
            match call {
                Call::Prepare | Call::Waiting => {}
                Call::DuePage => seen.lock().unwrap().push(("due_page", span)),
                Call::Claimed => seen.lock().unwrap().push(("claimed", span)),
                Call::Claim => seen.lock().unwrap().push(("claim", span)),
                Call::Renew => seen.lock().unwrap().push(("renew", span)),
                Call::Apply(_) => seen.lock().unwrap().push(("apply", span)),
                Call::Read(_) => seen.lock().unwrap().push(("read", span)),
            }
            Mishap::None
        });
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 12);
        let asked = asked.lock().unwrap();
        for call in ["due_page", "claim", "apply"] {
            assert!(asked.iter().any(|(name, _)| *name == call), "{call}: {asked:?}");
        }
        for (call, span) in &*asked {
            assert!(matches!(span, Some("pass" | "document")), "{call}: {span:?}");
        }
    })
    .await;
}
