//! A real file system that is small enough to fill up.

use super::mongod::say_skipped;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of a test's own.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said loudly, where this user may not mount.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let at = folder.join("small");
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs"])
            .arg(&at)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            say_skipped("the real full disk", "this user may not mount a tmpfs; run as root");
            return None;
        }
        Some(Self(at))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all that is left.
    pub(crate) fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        for size in [64 * 1024, 4096] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
