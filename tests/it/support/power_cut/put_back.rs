//! Puts back what a power cut takes: of files first, then of folders, the newest change first.

use super::Taken;
use super::notes::{Change, Content, Inode, Name, Notes};
use rand::{Rng as _, rngs::StdRng};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a disk writes as a whole.
const SECTOR: u64 = 512;

/// Where each file and folder is, with a name or without.
fn places(root: &Path, removed: &Path) -> HashMap<Inode, PathBuf> {
    let (mut places, mut folders) = (HashMap::new(), vec![removed.to_owned(), root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                places.insert(entry.metadata().unwrap().ino(), entry.path());
            }
        }
        places.insert(folder.metadata().unwrap().ino(), folder);
    }
    places
}

pub(super) fn put_back(
    root: &Path,
    removed: &Path,
    notes: &Notes,
    survival: f64,
    random: &mut StdRng,
) -> Taken {
    let places = places(root, removed);
    let mut taken = Taken::default();
    let mut files: HashMap<Inode, File> = HashMap::new();
    // By the order of the notes: which file is asked for first must not be chance beside the seed.
    for change in notes.unsynced().rev() {
        if let Change::Content(content) = change
            && let Some(path) = places.get(&content.file)
        {
            taken.unsynced += 1;
            files.entry(content.file).or_insert_with(|| File::at(path)).undo(content, survival, random);
        }
    }
    for file in files.into_values() {
        taken.sectors += file.undone.len() as u64;
        file.write();
    }
    for (folder, name) in lost_names(notes, survival, random).into_iter().rev() {
        undo(&places[&folder], removed, name);
        taken.names += 1;
    }
    taken
}

/// A file on its way back.
struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    size: u64,
    /// Reached the disk as they are now.
    settled: HashSet<u64>,
    is_size_settled: bool,
    undone: HashSet<u64>,
}

impl File {
    fn at(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let size = bytes.len() as u64;
        let (path, settled, undone) = (path.to_owned(), HashSet::new(), HashSet::new());
        Self { path, bytes, size, settled, is_size_settled: false, undone }
    }

    /// Each sector, and the size, stays as this change left it, or becomes what it was before.
    fn undo(&mut self, change: &Content, survival: f64, random: &mut StdRng) {
        if change.old_size != change.new_size && !self.is_size_settled {
            self.is_size_settled = random.random_bool(survival);
            if !self.is_size_settled {
                self.size = change.old_size;
            }
        }
        let end = change.from + change.length;
        let index = |at: u64| usize::try_from(at).unwrap();
        if self.bytes.len() < index(end) {
            self.bytes.resize(index(end), 0);
        }
        for sector in change.from / SECTOR..end.div_ceil(SECTOR) {
            if self.settled.contains(&sector) || random.random_bool(survival) {
                self.settled.insert(sector);
                continue;
            }
            for at in (sector * SECTOR).max(change.from)..((sector + 1) * SECTOR).min(end) {
                let before = change.before.get(index(at - change.from)).copied();
                self.bytes[index(at)] = before.unwrap_or_default();
            }
            self.undone.insert(sector);
        }
    }

    /// In place: the file stays the same one.
    fn write(mut self) {
        use std::io::Write as _;
        self.bytes.resize(usize::try_from(self.size).unwrap(), 0);
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(&self.path).unwrap();
        file.write_all(&self.bytes).unwrap();
    }
}

/// The changes of names that are undone: in each folder all since some moment.
fn lost_names<'a>(notes: &'a Notes, survival: f64, random: &mut StdRng) -> Vec<(Inode, &'a Name)> {
    let mut ended = HashSet::new();
    let mut lost = Vec::new();
    for change in notes.unsynced() {
        let Change::Name(folder, name) = change else { continue };
        if ended.contains(folder) || !random.random_bool(survival) {
            ended.insert(*folder);
            lost.push((*folder, name));
        }
    }
    lost
}

/// A change that was noted and not made any more is undone as well: then there is nothing to do.
fn undo(folder: &Path, removed: &Path, name: &Name) {
    let kept = |inode: &Inode| removed.join(inode.to_string());
    match name {
        Name::Created(name) => {
            let _ = fs::remove_file(folder.join(name));
        }
        Name::Removed(name, inode) => {
            let _ = fs::hard_link(kept(inode), folder.join(name));
        }
        Name::Renamed(from, to, replaced) => {
            let _ = fs::rename(folder.join(to), folder.join(from));
            if let Some(inode) = replaced {
                let _ = fs::hard_link(kept(inode), folder.join(to));
            }
        }
        Name::FolderMade(name) => {
            let made = folder.join(name);
            if let Ok(metadata) = made.metadata() {
                fs::rename(made, removed.join(format!("folder-{}", metadata.ino()))).unwrap();
            }
        }
    }
}
