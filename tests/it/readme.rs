//! The README says what is so: its table of settings is made from the one table of keys, its commands exist.

use evergrant::cli::Cli;
use evergrant::config::keys::{DefaultValue, KEYS, Key, Place};
use std::path::Path;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

fn row(key: &Key) -> String {
    let default = match key.default {
        DefaultValue::Is(value) => format!("`{value}`"),
        DefaultValue::Follows(words) => words.to_owned(),
        DefaultValue::Profile => "from the profile".to_owned(),
    };
    let place = if matches!(key.place, Place::Named) { "`providers.NAME.`" } else { "" };
    format!("| {place}`{}` | {} | {default} |", key.name, key.doc).replace("``", "")
}

#[test]
fn the_readme_has_every_setting_as_the_code_has_it() {
    let readme = readme();
    let missing: Vec<_> = KEYS.iter().map(row).filter(|row| !readme.contains(row)).collect();
    assert!(missing.is_empty(), "the README's table lacks:\n{}", missing.join("\n"));
}

#[test]
fn every_command_of_the_readme_is_one() {
    use clap::Parser as _;
    let readme = readme();
    let mut commands = 0;
    for line in readme.lines().filter_map(|line| line.trim().strip_prefix("evergrant ")) {
        let words = line.split(" #").next().unwrap_or_default().split(['|', '>']).next().unwrap_or_default();
        let words: Vec<_> = words.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        if let Err(error) = Cli::try_parse_from(std::iter::once("evergrant").chain(words)) {
            panic!("`evergrant {line}`: {error}");
        }
        commands += 1;
    }
    assert!(commands >= 8, "the README shows how to use it");
}
