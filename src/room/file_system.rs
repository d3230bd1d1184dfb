//! What a directory lies on, where that is no place for a journal.

use std::path::Path;

/// A file system on which a journal may be lost, or shared unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// NFS.
    Nfs,
    /// CIFS, or another version of SMB.
    Smb,
    /// The upper layer of a container's image.
    Overlay,
    /// Memory.
    Memory,
}

impl Unfit {
    /// What `directory` lies on, where that is one of these; `None` for any other, and where the system doesn't say. For one that
    /// isn't there, what the nearest directory above lies on.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let there = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
        magic(there).and_then(Self::from_magic)
    }

    /// By the numbers of `statfs(2)`.
    const fn from_magic(magic: u64) -> Option<Self> {
        match magic {
            0x6969 => Some(Self::Nfs),
            0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some(Self::Smb),
            0x794c_7630 => Some(Self::Overlay),
            0x0102_1994 | 0x8584_58f6 => Some(Self::Memory),
            _ => None,
        }
    }

    /// What may happen there.
    #[must_use]
    pub const fn risk(self) -> &'static str {
        match self {
            Self::Nfs => {
                "is on NFS: locks and the journal's log may not work there, and two processes may use one journal"
            }
            Self::Smb => {
                "is on CIFS (SMB): locks and the journal's log may not work there, and two processes may use one journal"
            }
            Self::Overlay => {
                "is in the container's own layer (overlay): it is gone with the container, and with it every received pair that \
                 is not written yet"
            }
            Self::Memory => {
                "is in memory (tmpfs): it is gone after a restart of the machine, and with it every received pair that is not \
                 written yet"
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Nfs | Self::Smb => {
                "set `state_dir` (`EVERGRANT_STATE_DIR`) to a directory on a disk of this machine, or on a volume that one machine \
                 mounts at a time"
            }
            Self::Overlay => "mount a volume there, or set `state_dir` (`EVERGRANT_STATE_DIR`) to one",
            Self::Memory => "set `state_dir` (`EVERGRANT_STATE_DIR`) to a directory on a disk",
        }
    }
}

#[cfg(target_os = "linux")]
fn magic(directory: &Path) -> Option<u64> {
    let found = nix::sys::statfs::statfs(directory).ok()?.filesystem_type().0;
    u64::try_from(found).ok()
}

#[cfg(not(target_os = "linux"))]
const fn magic(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_by_its_number_and_a_disk_is_none_of_them() {
        for (magic, expected) in [
            (0x6969, Some(Unfit::Nfs)),
            (0xff53_4d42, Some(Unfit::Smb)),
            (0xfe53_4d42, Some(Unfit::Smb)),
            (0x794c_7630, Some(Unfit::Overlay)),
            (0x0102_1994, Some(Unfit::Memory)),
            // ext4, XFS, Btrfs, ZFS.
            (0xef53, None),
            (0x5846_5342, None),
            (0x9123_683e, None),
            (0x2fc1_2fc1, None),
        ] {
            assert_eq!(Unfit::from_magic(magic), expected, "{magic:#x}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_lies_where_it_would_be_made() {
        let here = Unfit::of(Path::new("/proc"));
        assert_eq!(here, None, "no place at all is none of these");
        let shared = Path::new("/dev/shm");
        assert_eq!(Unfit::of(&shared.join("not/there")), Unfit::of(shared));
    }
}
