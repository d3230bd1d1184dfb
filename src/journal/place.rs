//! Where the journal is: the state directory must be ours, and stay where it was.
//!
//! A directory that is moved or replaced under a running process leaves that process with files which no other one sees: a second
//! one would start beside it, with an empty journal.

use super::JournalError;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Files and directories by what they are, whatever their paths lead to by now.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Places {
    /// Notes what this path leads to.
    pub(super) fn note(&mut self, path: &Path, open: &File) -> io::Result<()> {
        let metadata = open.metadata()?;
        self.0.push(Place { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() });
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does each path still lead to what it led to? Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalError::Moved`].
    pub(super) fn check(&self) -> Result<(), JournalError> {
        for Place { path, device, inode } in &self.0 {
            let is_there = match path.metadata() {
                Ok(metadata) => (metadata.dev(), metadata.ino()) == (*device, *inode),
                Err(error) if is_gone(&error) => false,
                // It says nothing of where it is; what can't be written is found out by writing.
                Err(_) => continue,
            };
            if !is_there {
                let replaced = path.exists();
                return Err(JournalError::Moved { path: path.clone(), replaced });
            }
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Refuses a state directory that belongs to another user, and a link to one that another user could lead elsewhere.
///
/// One of `root` is not refused: Kubernetes mounts volumes so, and systemd makes the link to a dynamic user's directory. One
/// that isn't there is made.
///
/// # Errors
/// [`JournalError::Foreign`].
pub(super) fn must_be_ours(directory: &Path) -> Result<(), JournalError> {
    let us = nix::unistd::geteuid().as_raw();
    let link = directory.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink);
    let of_link = link.map(|link| (link.uid(), true));
    let of_directory = directory.metadata().ok().map(|metadata| (metadata.uid(), false));
    match [of_link, of_directory].into_iter().flatten().find(|(owner, _)| is_foreign(*owner, us)) {
        None => Ok(()),
        Some((owner, is_link)) => {
            Err(JournalError::Foreign { directory: directory.to_owned(), owner, us, is_link })
        }
    }
}

const fn is_foreign(owner: u32, us: u32) -> bool {
    owner != us && owner != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_ours_or_roots() {
        assert!(!is_foreign(1000, 1000) && !is_foreign(0, 1000) && !is_foreign(0, 0));
        assert!(is_foreign(1001, 1000) && is_foreign(1000, 0));
    }
}
