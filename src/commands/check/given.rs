//! Settings and a time, as the tests of the checks give them.

use crate::clock::Timestamp;
use crate::config::{Config, Inputs, Need};
use std::path::PathBuf;

/// The time of these tests.
pub(super) fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

/// The configuration of these settings alone: no file, no environment.
pub(super) fn config(settings: &[(&str, &str)]) -> Config {
    let given = [("state_dir", "/s")].iter().chain(settings);
    let inputs = Inputs {
        flags: given.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        variables: Vec::new(),
        working_directory: PathBuf::from("/nowhere"),
        file: None,
        system_file: PathBuf::from("/nowhere/evergrant.toml"),
    };
    Config::load(&inputs, Need::Provider, now()).unwrap()
}
