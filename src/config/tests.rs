mod cross_checks;
mod example;
mod keep;
mod layering;
mod named_providers;
mod own_profile;
mod refusals;
mod secrets;
mod variables;

use super::*;
use crate::failure::told;
use std::ffi::OsString;
use tempfile::TempDir;

/// A secret that no message may hold.
const CANARY: &str = "canary-S3cr3t";

/// An installation in a directory of its own: a minimal one that works, and what a test changes about it.
struct Setup {
    directory: TempDir,
    inputs: Inputs,
    need: Need,
}

impl Setup {
    /// No file and no variable but `HOME`.
    fn bare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let inputs = Inputs {
            flags: Vec::new(),
            variables: vec![("HOME".into(), "/home/somebody".into())],
            working_directory: directory.path().to_owned(),
            file: None,
            system_file: directory.path().join("etc/evergrant.toml"),
        };
        Self { directory, inputs, need: Need::Provider }
    }

    /// The four variables that the contract calls complete.
    fn minimal() -> Self {
        Self::bare()
            .variable("EVERGRANT_PROVIDER", "autodesk")
            .variable("EVERGRANT_CLIENT_ID", "an-id")
            .variable("EVERGRANT_CLIENT_SECRET", CANARY)
            .variable("EVERGRANT_STORE_URL", &format!("mongodb://user:{CANARY}@db1:27017/logins"))
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.inputs.variables.push((name.into(), value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.inputs.variables.retain(|(known, _)| known != name);
        self
    }

    fn raw_variable(mut self, name: OsString, value: OsString) -> Self {
        self.inputs.variables.push((name, value));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.inputs.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    fn write(self, name: &str, text: &str) -> Self {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn file(self, text: &str) -> Self {
        self.write(FILE_NAME, text)
    }

    fn env_file(self, text: &str) -> Self {
        self.write(".env", text)
    }

    fn needing(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn try_load(&self) -> Result<Config, ConfigError> {
        Config::load(&self.inputs, self.need, "2026-11-21T06:00:00Z".parse().unwrap())
    }

    fn load(&self) -> Config {
        match self.try_load() {
            Ok(config) => config,
            Err(error) => panic!("refused: {error}"),
        }
    }

    /// The warnings, as a person is told them.
    fn warned(&self) -> Vec<String> {
        self.load().warnings.iter().map(told).collect()
    }

    /// The refusal's message; each one tells where, and none a secret.
    fn refused(&self) -> String {
        let error = self.try_load().expect_err("it should be refused");
        for shown in [told(&error), format!("{error:?}")] {
            assert!(!shown.contains(CANARY), "{shown}");
        }
        told(&error)
    }
}

/// Every part is in the text.
#[track_caller]
fn assert_tells(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` isn't in: {text}");
    }
}
