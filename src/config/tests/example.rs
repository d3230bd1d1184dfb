use super::*;
use crate::config::{
    keys::{DefaultValue, KEYS, Key, Place},
    layers::{Layer, Layers},
};
use std::collections::BTreeMap;

const EXAMPLE: &str = include_str!("../../../.env.example");

/// Variable → the comment above it, its value without quotes, and is it commented out?
fn documented() -> BTreeMap<String, (String, String, bool)> {
    let lines: Vec<_> = EXAMPLE.lines().collect();
    let assignments = lines.iter().enumerate().filter_map(|(index, line)| {
        let commented = line.starts_with("#EVERGRANT_");
        let (name, value) = line.trim_start_matches('#').split_once('=')?;
        name.starts_with("EVERGRANT_").then(|| {
            let comment = lines[index - 1].trim_start_matches("# ").to_owned();
            (name.to_owned(), (comment, value.trim_matches('\'').to_owned(), commented))
        })
    });
    assignments.collect()
}

#[test]
fn the_example_documents_exactly_every_key() {
    let mut documented = documented();
    for key in KEYS.iter().filter(|key| key.place != Place::Named) {
        let (comment, value, _) =
            documented.remove(&key.variable()).unwrap_or_else(|| panic!("{} is missing", key.name));
        match key.default {
            DefaultValue::Is(default) => {
                assert_eq!((comment.as_str(), value.as_str()), (key.doc, default), "{}", key.name);
            }
            DefaultValue::Follows("none") | DefaultValue::Profile => {
                assert_eq!(comment, key.doc, "{}", key.name);
            }
            DefaultValue::Follows(words) => {
                assert_eq!(comment, format!("{} Default: {words}.", key.doc), "{}", key.name);
            }
        }
    }
    let rest: Vec<_> = documented.keys().map(String::as_str).collect();
    assert_eq!(rest, ["EVERGRANT_PROVIDERS_NAME_CLIENT_ID", "EVERGRANT_PROVIDERS_NAME_PROFILE"]);
}

#[test]
fn every_value_of_the_example_is_one_that_its_key_takes() {
    for (name, (_, value, _)) in documented() {
        let Some(key) = KEYS.iter().find(|key| key.variable() == name) else { continue };
        let mut layers = Layers::of_defaults(Path::new("/")).unwrap();
        layers.lay_text(key.name, key, &value, Layer::Environment, &name).unwrap();
    }
}

#[test]
fn the_example_as_it_stands_is_a_first_run() {
    let config = Setup::bare().env_file(EXAMPLE).load();
    assert_eq!(config.providers[0].client_id, "your-client-id");
    let uncommented: Vec<_> = documented().into_iter().filter(|(_, (_, _, commented))| !commented).collect();
    assert_eq!(uncommented.len(), 4);
}

/// A profile's value that no key overrides would be one that a person can't change.
#[test]
fn every_value_of_a_profile_has_a_key() {
    let profile = crate::provider::profile::load("autodesk").unwrap();
    let everything = Setup::minimal()
        .variable("EVERGRANT_SCOPE", "a")
        .variable("EVERGRANT_ROTATION", "grace")
        .variable("EVERGRANT_GRACE", "1min")
        .variable("EVERGRANT_EXTRA_PARAMETERS", "a=b")
        .load();
    assert_eq!(profile.title, everything.providers[0].profile.title);
    let value = serde_json::to_value(&everything.providers[0].profile).unwrap();
    for (name, value) in value.as_object().unwrap() {
        let names: Vec<String> = match value.as_object().filter(|_| name != "extra_parameters") {
            Some(inner) => inner.keys().map(|inner| format!("{name}.{inner}")).collect(),
            None => vec![name.clone()],
        };
        for name in names
            .iter()
            .filter(|name| !["title", "sources", "notes", "checked", "example"].contains(&name.as_str()))
        {
            let key: Option<&Key> = KEYS.iter().find(|key| key.name == name && key.place == Place::Provider);
            assert!(key.is_some(), "{name}");
        }
    }
}
