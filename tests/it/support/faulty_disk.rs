//! A layer under the built binary that makes its disk fail: C, compiled here, loaded before the C library.

use super::mongod::say_skipped;
use nix::errno::Errno;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/faulty_disk.c");

/// What fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// A part of the paths.
    pub(crate) path: &'static str,
    /// Some of `write`, `sync`, `truncate`, `allocate`.
    pub(crate) calls: &'static str,
    /// How.
    pub(crate) errno: Errno,
    /// How often; 0 for as long as the fault lasts.
    pub(crate) count: u32,
}

/// A disk that fails while it is told to.
pub(crate) struct FaultyDisk {
    library: &'static Path,
    fault: Fault,
    trigger: PathBuf,
    log: PathBuf,
}

impl FaultyDisk {
    /// `None`, said loudly, where nothing can be compiled or loaded.
    pub(crate) fn new(folder: &Path, fault: &Fault) -> Option<Self> {
        let library = library()?;
        Some(Self {
            library,
            fault: *fault,
            trigger: folder.join("disk.fails"),
            log: folder.join("disk.log"),
        })
    }

    /// Puts it under a command.
    pub(crate) fn under(&self, command: &mut tokio::process::Command) {
        command
            .env("LD_PRELOAD", self.library)
            .env("FAULTY_DISK_PATH", self.fault.path)
            .env("FAULTY_DISK_CALLS", self.fault.calls)
            .env("FAULTY_DISK_ERRNO", (self.fault.errno as i32).to_string())
            .env("FAULTY_DISK_COUNT", self.fault.count.to_string())
            .env("FAULTY_DISK_WHILE", &self.trigger)
            .env("FAULTY_DISK_LOG", &self.log);
    }

    pub(crate) fn begin(&self) {
        std::fs::write(&self.trigger, "").unwrap();
    }

    pub(crate) fn end(&self) {
        std::fs::remove_file(&self.trigger).unwrap();
    }

    /// The calls that failed, a line each.
    pub(crate) fn failures(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Compiled once for all tests.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let compiled = LIBRARY.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            say_skipped("the failing disk", "`LD_PRELOAD` is Linux's");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("faulty_disk.so");
        let compiled = std::process::Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([library.as_os_str(), SOURCE.as_ref()])
            .args(["-ldl", "-lpthread"])
            .output();
        match compiled {
            Ok(output) if output.status.success() => Some((folder, library)),
            failed => {
                say_skipped("the failing disk", &format!("{SOURCE} can't be compiled: {failed:?}"));
                None
            }
        }
    });
    compiled.as_ref().map(|(_, library)| library.as_path())
}
