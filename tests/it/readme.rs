//! What people read says what is so: the README's table is made from the code's, and each command that a text shows exists.

use clap::Parser as _;
use clap::error::ErrorKind;
use evergrant::testing::cli::Cli;
use evergrant::testing::config::keys::KEYS;
use evergrant::testing::exit::Exit;
use evergrant::testing::help::Topic;
use std::path::Path;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The topics of single providers and kinds of servers are named by the topic `providers`, which the README names.
fn is_named_by_the_providers(topic: &str) -> bool {
    Topic::Providers.text().contains(&format!("`evergrant help {topic}`"))
}

/// The README, and every topic of help.
fn texts() -> Vec<(&'static str, String)> {
    let topics = Topic::ALL.map(|topic| (topic.name(), topic.text()));
    std::iter::once(("README.md", readme())).chain(topics).collect()
}

#[test]
fn the_readme_has_every_exit_code_as_the_code_has_it() {
    let readme = readme();
    let row = |exit: &Exit| format!("| {} | {} |", exit.code(), exit.meaning());
    let missing: Vec<_> = Exit::ALL.iter().map(row).filter(|row| !readme.contains(row)).collect();
    assert!(missing.is_empty(), "the README's table lacks:\n{}", missing.join("\n"));
}

#[test]
fn the_readme_names_every_topic_of_help() {
    let readme = readme();
    let missing: Vec<_> = Topic::ALL
        .map(Topic::name)
        .into_iter()
        .filter(|name| !readme.contains(&format!("`{name}`")) && !is_named_by_the_providers(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_readme_is_the_way_in_and_not_the_archive() {
    let readme = readme();
    let size = (readme.lines().count(), readme.split_whitespace().count());
    assert!(
        size.0 <= 160 && size.1 <= 1400,
        "lines and words: {size:?}; reference belongs into `evergrant help`"
    );
}

/// In blocks of commands, and within backquotes.
#[test]
fn every_command_that_a_text_shows_is_one() {
    let mut commands = 0;
    for (name, text) in texts() {
        let blocks = text.lines().filter_map(|line| line.trim().strip_prefix("evergrant "));
        let quoted =
            text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix("evergrant "));
        for line in blocks.chain(quoted) {
            // What stands after two blanks is a remark.
            let line = line.split("  ").next().unwrap_or_default().replace("…", "");
            let words =
                line.split(" #").next().unwrap_or_default().split(['|', '>']).next().unwrap_or_default();
            let words: Vec<_> = words.split_whitespace().map(|word| word.trim_matches('\'')).collect();
            // A number stands for `ID`, and a part of a command is named without its arguments.
            let words: Vec<_> = words.into_iter().map(|word| if word == "ID" { "7" } else { word }).collect();
            if let Err(error) = Cli::try_parse_from(std::iter::once("evergrant").chain(words.clone())) {
                let names_a_part = [
                    ErrorKind::MissingRequiredArgument,
                    ErrorKind::InvalidValue,
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ];
                let is_valueless = error.to_string().contains("but none was supplied");
                let names_a_part = names_a_part.contains(&error.kind())
                    && (error.kind() != ErrorKind::InvalidValue || is_valueless);
                assert!(names_a_part, "{name}: `evergrant {line}`: {error}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 40, "the texts show how to use it: {commands}");
}

#[test]
fn every_help_topic_that_a_text_names_is_one() {
    for (name, text) in texts() {
        for rest in text.split("evergrant help ").skip(1) {
            let topic: String = rest.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
            let known = Topic::from_name(&topic).is_some() || topic == "TOPIC";
            assert!(known, "{name}: `evergrant help {topic}`");
        }
    }
}

#[test]
fn every_setting_that_a_written_text_names_is_one() {
    let sections = ["documents.", "store.", "answer.", "log."];
    for (name, text) in texts() {
        for quoted in text.split('`').skip(1).step_by(2) {
            let key: &str = quoted.split([' ', '=']).next().unwrap_or_default();
            let is_key =
                sections.iter().any(|section| key.starts_with(section)) && !key.ends_with(['*', '/']);
            // The only one that a profile has, and the settings don't.
            let known = key == "answer.rules" || KEYS.iter().any(|known| known.name == key);
            assert!(!is_key || known || key.contains("::"), "{name}: `{quoted}`");
        }
    }
}
