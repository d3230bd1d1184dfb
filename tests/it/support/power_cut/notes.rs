//! The layer's notes, as `power_cut.c` writes them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

/// A file or a folder, by its inode.
pub(super) type Inode = u64;

/// Words before the bytes of a note.
const WORDS: usize = 7;

/// A change that a process made, in which a sync may not have reached.
#[derive(Debug)]
pub(super) enum Change {
    /// Bytes of a file, and perhaps its size.
    Content(Content),
    /// A name in a folder.
    Name(Inode, Name),
}

#[derive(Debug)]
pub(super) struct Content {
    pub(super) file: Inode,
    pub(super) old_size: u64,
    pub(super) new_size: u64,
    /// The range that is another one now.
    pub(super) from: u64,
    pub(super) length: u64,
    /// What was there; behind its end were no bytes, or zeros.
    pub(super) before: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Name {
    Created(OsString),
    Removed(OsString, Inode),
    /// From the first to the second, where this file was before, if any.
    Renamed(OsString, OsString, Option<Inode>),
    FolderMade(OsString),
}

/// What one process did, in its order.
#[derive(Debug, Default)]
pub(super) struct Notes {
    changes: Vec<(u64, Change)>,
    /// All changes before this number have reached the disk.
    synced: HashMap<Inode, u64>,
}

impl Notes {
    /// A note that was cut off says nothing: its change had not begun.
    pub(super) fn read(log: &Path) -> Self {
        let bytes = std::fs::read(log).unwrap_or_default();
        let (mut notes, mut rest, mut number) = (Self::default(), &bytes[..], 0);
        while let Some((words, behind)) = rest.split_at_checked(WORDS * 8) {
            let words: Vec<u64> =
                words.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
            let length = usize::try_from(words[WORDS - 1]).unwrap();
            let Some((bytes, behind)) = behind.split_at_checked(length) else { break };
            notes.take(number, &words, bytes.to_vec());
            (rest, number) = (behind, number + 1);
        }
        notes
    }

    fn take(&mut self, number: u64, words: &[u64], bytes: Vec<u8>) {
        let &[kind, file, at, length, old_size, other, _] = words else { panic!("{words:?}") };
        let name = OsString::from_vec;
        let change = match kind {
            1 => {
                let new_size = old_size.max(at + length);
                Change::Content(Content { file, old_size, new_size, from: at, length, before: bytes })
            }
            2 => {
                let (from, length) = (at.min(old_size), at.abs_diff(old_size));
                Change::Content(Content { file, old_size, new_size: at, from, length, before: bytes })
            }
            3 => {
                let synced = self.synced.entry(file).or_default();
                *synced = at.max(*synced);
                return;
            }
            4 => Change::Name(file, Name::Created(name(bytes))),
            5 => Change::Name(file, Name::Removed(name(bytes), other)),
            6 => {
                let (from, to) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap());
                let replaced = (other != 0).then_some(other);
                Change::Name(file, Name::Renamed(name(from.to_vec()), name(to[1..].to_vec()), replaced))
            }
            7 => Change::Name(file, Name::FolderMade(name(bytes))),
            _ => panic!("{words:?}"),
        };
        self.changes.push((number, change));
    }

    /// The number of the last change of a file's content.
    pub(super) fn last_change_of(&self, inode: Inode) -> Option<u64> {
        let is_of = |change: &Change| matches!(change, Change::Content(content) if content.file == inode);
        self.changes.iter().rev().find_map(|(number, change)| is_of(change).then_some(*number))
    }

    /// The changes that no sync has reached, in their order.
    pub(super) fn unsynced(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.changes.iter().filter_map(|(number, change)| {
            let (Change::Content(Content { file, .. }) | Change::Name(file, _)) = change;
            let synced = self.synced.get(file).is_some_and(|synced| number < synced);
            (!synced).then_some(change)
        })
    }
}
