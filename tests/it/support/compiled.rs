//! C beside this file, compiled when a test first needs it: layers for `LD_PRELOAD`, and what is run above them.

use super::mongod::say_skipped;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One source, compiled once for all tests.
pub(crate) struct Compiled {
    /// `support/{name}.c`
    name: &'static str,
    /// What is skipped without it.
    needed_for: &'static str,
    options: &'static [&'static str],
    made: OnceLock<Option<(tempfile::TempDir, PathBuf)>>,
}

impl Compiled {
    /// A library that is loaded before the C library.
    pub(crate) const fn library(name: &'static str, needed_for: &'static str) -> Self {
        Self { name, needed_for, options: &["-shared", "-fPIC"], made: OnceLock::new() }
    }

    /// A program.
    pub(crate) const fn program(name: &'static str, needed_for: &'static str) -> Self {
        Self { name, needed_for, options: &[], made: OnceLock::new() }
    }

    /// `None`, said loudly, where nothing can be compiled or loaded.
    pub(crate) fn path(&'static self) -> Option<&'static Path> {
        self.made.get_or_init(|| self.make()).as_ref().map(|(_, made)| made.as_path())
    }

    fn make(&self) -> Option<(tempfile::TempDir, PathBuf)> {
        if !cfg!(target_os = "linux") {
            say_skipped(self.needed_for, "`LD_PRELOAD` is Linux's");
            return None;
        }
        let source = format!("{}/tests/it/support/{}.c", env!("CARGO_MANIFEST_DIR"), self.name);
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join(self.name);
        let output = Command::new("cc")
            .args(["-O1", "-o"])
            .args([made.as_os_str(), source.as_ref()])
            .args(self.options)
            .args(["-ldl", "-lpthread"])
            .output();
        match output {
            Ok(output) if output.status.success() => Some((folder, made)),
            failed => {
                say_skipped(self.needed_for, &format!("{source} can't be compiled: {failed:?}"));
                None
            }
        }
    }
}
