//! The runbook, the alerts and the dashboard name the same things, and only metrics that there are.

use super::*;
use crate::watch::metrics::{Kind, families};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn monitoring(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The lines of the rules from an alert on, up to the next one.
fn rules() -> Vec<(String, String)> {
    let rules = monitoring("rules.yaml");
    let parts = rules.split("- alert: ").skip(1).map(|part| part.split_once('\n').unwrap());
    parts.map(|(name, rule)| (name.to_owned(), rule.to_owned())).collect()
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let of_rules: Vec<_> = rules().into_iter().map(|(alert, _)| alert).collect();
    assert!(of_rules.len() >= 15, "{of_rules:?}");
    assert_eq!(alerts().collect::<Vec<_>>(), of_rules, "the same alerts in the same order");
}

#[test]
fn a_section_says_what_an_alert_means_where_to_look_and_what_to_do() {
    for (alert, rule) in rules() {
        let text = about(&alert).unwrap();
        assert!(text.contains("\nLook:\n- ") && text.contains("\nDo:\n- "), "{text}");
        assert!(text.lines().next() == Some(&format!("## {alert}")) && !text.contains("\n## "), "{text}");
        let severity = rule.split_once("severity: ").unwrap().1.split_once(' ').unwrap().0;
        assert!(text.contains(&format!("\n\n*{severity}.* ")), "{alert} is {severity}: {text}");
    }
    assert_eq!(about("evergrantdown"), about("EvergrantDown"));
    assert_eq!(about("Evergrant"), None);
}

#[test]
fn an_alert_says_what_is_wrong_what_it_costs_and_how_to_get_help() {
    for (alert, rule) in rules() {
        let value = |key: &str| {
            let line = rule.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{alert} has no `{key}`")).to_owned()
        };
        assert_eq!(value("runbook"), format!("evergrant help runbook {alert}"));
        for key in ["summary", "description", "impact", "action"] {
            assert!(value(key).trim_matches('\'').ends_with('.'), "{alert}: {key}: {}", value(key));
        }
        // A label that no aggregation keeps would be empty in the message.
        for label in value("description").split("$labels.").skip(1) {
            let label: String = label.chars().take_while(char::is_ascii_lowercase).collect();
            let keeps = |line: &str| line.contains("by (") && line.contains(&label);
            assert!(
                alert == "EvergrantDown" || rule.lines().any(keeps) || rule.contains("job_app"),
                "{alert}: {label}"
            );
        }
    }
}

/// The names of metrics in a text: what begins with `evergrant_` or `process_`, and the end of a histogram's series taken off.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let histograms: Vec<_> =
        families().filter(|family| family.kind == Kind::Histogram).map(|family| family.name).collect();
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names = words.filter(|word| word.starts_with("evergrant_") || word.starts_with("process_"));
    let whole = |name: &str| {
        let of = |family: &&&str| {
            name.strip_prefix(**family).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
        };
        histograms.iter().find(of).map_or_else(|| name.to_owned(), ToString::to_string)
    };
    names.map(whole).collect()
}

#[test]
fn rules_dashboard_and_runbook_name_only_metrics_that_there_are() {
    let known: BTreeSet<_> = families().map(|family| family.name.to_owned()).collect();
    let texts = [
        ("runbook.md", RUNBOOK.to_owned()),
        ("rules.yaml", monitoring("rules.yaml")),
        ("rules_test.yaml", monitoring("rules_test.yaml")),
        ("rules_long_test.yaml", monitoring("rules_long_test.yaml")),
        ("dashboard.json", monitoring("dashboard.json")),
    ];
    for (name, text) in texts {
        let named = metrics_named(&text);
        assert!(named.len() >= 10, "{name} names {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&monitoring("dashboard.json")).unwrap()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

#[test]
fn panels_have_their_own_ids_and_places() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 30);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(width > 0 && height > 0 && x + width <= 24, "{panel}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} covers another panel at {cell:?}", panel["title"]);
        }
    }
}

#[test]
fn a_panel_says_what_it_shows_in_which_unit_and_asks_what_the_reader_chose() {
    let dashboard = dashboard();
    assert_eq!((text(&dashboard, "timezone"), &dashboard["editable"]), ("utc", &Value::Bool(false)));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(variables, ["datasource", "job", "provider"]);
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = text(panel, "title");
        assert!(!title.is_empty() && text(panel, "description").ends_with('.'), "{panel}");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let references: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
        assert!(references.len() == targets.len() && !targets.is_empty(), "{title}");
        for target in targets {
            assert_eq!(
                [text(&target["datasource"], "uid"), text(&panel["datasource"], "uid")],
                ["${datasource}"; 2]
            );
            let expression = text(target, "expr");
            assert!(
                expression.contains("job=~\"$job\"") && !text(target, "legendFormat").is_empty(),
                "{expression}"
            );
            let ranges = expression.matches('[').count();
            assert_eq!(ranges, expression.matches("[$__rate_interval]").count(), "{expression}");
        }
    }
}

#[test]
fn a_panel_about_providers_shows_those_that_the_reader_chose() {
    let by_provider: BTreeSet<_> =
        families().filter(|family| family.labels.contains(&"provider")).map(|family| family.name).collect();
    let dashboard = dashboard();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    for expression in targets.flatten().map(|target| text(target, "expr")) {
        for name in metrics_named(expression) {
            let chosen = "{job=~\"$job\",provider=~\"$provider\"";
            let is_chosen = expression.contains(&format!("{name}{chosen}"))
                || expression.contains(&format!("{name}_bucket{chosen}"));
            assert_eq!(is_chosen, by_provider.contains(&*name), "{expression}");
        }
    }
}
