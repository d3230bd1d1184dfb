//! Room before need: the free space that must be left, and a ballast that is given up when it isn't.
//!
//! An answer that can't be kept must not be asked for, and one that is on its way when the disk fills up must still fit.

mod file_system;

pub use file_system::Unfit;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Free space below which no token is redeemed, in bytes, unless `free_space_floor` says otherwise.
///
/// 64 MiB hold more answers of the largest size than can be in flight at once.
pub const FREE_SPACE_FLOOR_BYTES: u64 = 64 * 1024 * 1024;

/// Size of a ballast, in bytes.
///
/// Answers are a few KiB: this holds those of a thousand grants in flight, with everything that a commit writes beside
/// them. Larger would only be disk that can't be used.
pub const BALLAST_BYTES: u64 = 8 * 1024 * 1024;

/// Too little space is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has {free_bytes} bytes free, less than the {floor_bytes} that must stay free", directory.display())]
pub struct Shortage {
    /// Where.
    pub directory: PathBuf,
    /// What is left there.
    pub free_bytes: u64,
    /// What must be left there.
    pub floor_bytes: u64,
}

/// What the file system has left for an unprivileged user, in bytes.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let room = nix::sys::statvfs::statvfs(directory)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}

/// Is less than `floor_bytes` left?
pub fn shortage(directory: &Path, floor_bytes: u64) -> io::Result<Option<Shortage>> {
    let free_bytes = free_bytes(directory)?;
    let short = free_bytes < floor_bytes;
    Ok(short.then(|| Shortage { directory: directory.to_owned(), free_bytes, floor_bytes }))
}

/// Makes a folder, 0700, with its parents; an existing one is left as it is. Its name survives a power cut.
///
/// A synced file is lost all the same when no sync has reached the name of a folder above it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // An existing one too: the process that made it may have died before it came to this.
    for parent in folder.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        // Of a folder that can't be opened we have made no part, and a disk that fails fails other syncs as well.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
    }
    Ok(())
}

/// Makes a file that is there already readable by its owner only; one that isn't there stays so.
pub fn make_private(file: &Path) -> io::Result<()> {
    match file.metadata() {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            std::fs::set_permissions(file, Permissions::from_mode(0o600))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file that only takes up space, to be removed when others need it.
#[derive(Debug, Clone)]
pub struct Ballast {
    file: PathBuf,
}

impl Ballast {
    /// The ballast in this file; it may not be there yet.
    #[must_use]
    pub const fn in_file(file: PathBuf) -> Self {
        Self { file }
    }

    /// Makes it, 0600, its blocks allocated, unless it is there. `false` when there is no room for it.
    pub fn make(&self) -> io::Result<bool> {
        make_private(&self.file)?;
        if self.file.metadata().is_ok_and(|metadata| metadata.len() >= BALLAST_BYTES) {
            return Ok(true);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file)?;
        match allocate(&file).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(true),
            Err(error) => {
                // Half of one is of no use to anybody.
                let _ = std::fs::remove_file(&self.file);
                if is_full(&error) { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Gives it up; `false` when there was none to give.
    pub fn give_up(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where the file system can't allocate, the C library writes into each block.
#[cfg(target_os = "linux")]
fn allocate(file: &File) -> io::Result<()> {
    let length = i64::try_from(BALLAST_BYTES).unwrap_or(i64::MAX);
    Ok(nix::fcntl::posix_fallocate(file, 0, length)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(mut file: &File) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(1), BALLAST_BYTES), &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_ballast_takes_up_its_space_until_it_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ballast");
        std::fs::write(&file, "short").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let ballast = Ballast::in_file(file.clone());
        assert!(ballast.make().unwrap() && ballast.make().unwrap());
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert!(metadata.blocks() * 512 >= BALLAST_BYTES, "{} blocks", metadata.blocks());
        assert!(ballast.give_up().unwrap() && !file.exists());
        assert!(!ballast.give_up().unwrap(), "there is nothing left to give");
    }

    #[test]
    fn a_floor_above_what_is_free_is_a_shortage() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(shortage(directory.path(), 1).unwrap(), None);
        let short = shortage(directory.path(), u64::MAX).unwrap().unwrap();
        assert_eq!((short.floor_bytes, short.directory.as_path()), (u64::MAX, directory.path()));
    }
}
