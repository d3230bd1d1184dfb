//! A layer under the built binary that makes its disk fail: C, compiled here, loaded before the C library.

use super::compiled::Compiled;
use nix::errno::Errno;
use std::path::{Path, PathBuf};

static LAYER: Compiled = Compiled::library("faulty_disk", "the failing disk");

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
        Some(Self {
            library: LAYER.path()?,
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
