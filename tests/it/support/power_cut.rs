//! A disk that loses what wasn't synced: a layer under the built binary (`power_cut.c`) notes what each change replaces, and
//! after a SIGKILL the disk is put back to what a power cut may have left of it.
//!
//! What a file system promises is what POSIX says, and no more. Of a file: each sector may be as any write since the last
//! sync left it, and so may the size. Of a folder: its names may be as they were after any change since its own last sync;
//! a sync of a file says nothing about its name.

mod notes;
mod put_back;
#[cfg(test)]
mod tests;

use super::compiled::Compiled;
use notes::Notes;
use rand::rngs::StdRng;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

static LAYER: Compiled = Compiled::library("power_cut", "the power cuts");

/// A sync takes so long: as a fast disk's, and long enough that a cut often comes in the middle of one.
const SYNC_TAKES: Duration = Duration::from_millis(1);

/// A folder on a disk that loses power.
pub(crate) struct PowerCut {
    library: &'static Path,
    root: PathBuf,
    notes: PathBuf,
    deaf: Option<&'static str>,
}

/// What a cut has found and taken.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Writes, and changes of size, that no sync had reached.
    pub(crate) unsynced: u64,
    /// Sectors that are not as the process left them.
    pub(crate) sectors: u64,
    /// Changes of names that are undone.
    pub(crate) names: u64,
}

impl PowerCut {
    /// For the folder `disk` in `folder`, which is made; the notes stand beside it. `None`, said loudly, where nothing can be
    /// compiled or loaded.
    pub(crate) fn new(folder: &Path) -> Option<Self> {
        let library = LAYER.path()?;
        let folder = folder.canonicalize().unwrap();
        let (root, notes) = (folder.join("disk"), folder.join("power_cut"));
        fs::create_dir_all(&root).unwrap();
        Some(Self { library, root, notes, deaf: None })
    }

    /// Syncs of paths with this ending do nothing from now on, and say that they did; a folder's path ends with `/`.
    pub(crate) const fn deaf_to(mut self, ending: &'static str) -> Self {
        self.deaf = Some(ending);
        self
    }

    /// What lies on this disk.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The settings that put it under the next process: all that is on the disk by then is synced.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let _ = fs::remove_dir_all(&self.notes);
        fs::create_dir_all(self.notes.join("removed")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut environment = vec![
            ("LD_PRELOAD", text(self.library)),
            ("POWER_CUT_ROOT", text(&self.root)),
            ("POWER_CUT_NOTES", text(&self.notes)),
            ("POWER_CUT_MICROS", SYNC_TAKES.as_micros().to_string()),
        ];
        environment.extend(self.deaf.map(|ending| ("POWER_CUT_DEAF", ending.to_owned())));
        environment
    }

    /// Was the first file changed after the second one was?
    pub(crate) fn is_newer(&self, file: &Path, other: &Path) -> bool {
        let notes = Notes::read(&self.notes.join("log"));
        let last = |file: &Path| notes.last_change_of(file.metadata().ok()?.ino());
        last(file) > last(other)
    }

    /// Cuts the power of a process that has ended. Each change that no sync had reached survives with this probability.
    pub(crate) fn cut(&self, survival: f64, random: &mut StdRng) -> Taken {
        let notes = Notes::read(&self.notes.join("log"));
        put_back::put_back(&self.root, &self.notes.join("removed"), &notes, survival, random)
    }
}

/// Kills a process, which may have ended by itself.
pub(crate) async fn killed(child: &mut tokio::process::Child) {
    // An error says so.
    let _ = child.start_kill();
    child.wait().await.unwrap();
}
