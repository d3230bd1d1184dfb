//! The log as a program reads it: fixed fields on each line about a token, and no token.

use crate::support::process::{Kind, Scene};
use evergrant::sandbox::SandboxConfig;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
        for line in lines(&ended.stderr).into_iter().filter(is_about_a_token) {
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
