//! The lock of the state directory: who holds the journal.
//!
//! The directory itself is locked, so that no removed file lets a second process in; and the lock file, which says who holds it,
//! because earlier versions look there, and because some file systems lock no directory.

use super::JournalError;
use super::place::{Places, must_be_ours};
use crate::clock::Timestamp;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// The file whose lock stands for the journal; it also says who holds it.
const FILE_NAME: &str = "journal.lock";

/// How often the lock is tried before it counts as taken: [`holder`] has it for a moment when it looks.
const ATTEMPTS: u32 = 5;

/// The pause between two of them.
const PAUSE: Duration = Duration::from_millis(20);

/// Who holds a journal, as it wrote into the lock file: `process 4711 on db-1 since 2026-11-21T03:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(String);

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The lock of a journal; it is given up when this is dropped, and by a crash.
#[derive(Debug)]
pub struct Lock {
    _files: Vec<File>,
    /// What it locks: these must stay where they are.
    pub(super) places: Places,
}

/// `host:pid`, the owner of the leases that this process takes.
#[must_use]
pub(crate) fn process_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown-host".into())
}

/// Makes the state directory, 0700, with its parents; an existing one is left as it is.
pub(super) fn make_directory(directory: &Path) -> Result<(), JournalError> {
    crate::room::make_folder(directory).map_err(|source| JournalError::Directory {
        directory: directory.to_owned(),
        action: "create it",
        source,
    })
}

/// Takes the lock; it is held for as long as its files are open, and a crash gives it up.
pub(super) fn acquire(directory: &Path, now: Timestamp) -> Result<Lock, JournalError> {
    must_be_ours(directory)?;
    let failed = |action| refused(directory, action);
    let whole = File::open(directory).map_err(failed("open it"))?;
    let mut places = Places::default();
    places.note(directory, &whole).map_err(failed("look at it"))?;
    let is_locked = match try_for_long(|| whole.try_lock()) {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => return Err(held(directory)),
        // NFS locks no directory: there the file alone is the lock, and must stay.
        Err(TryLockError::Error(_)) => false,
    };
    let path = directory.join(FILE_NAME);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("create the lock file in it"))?;
    crate::room::make_private(&path).map_err(failed("keep the lock file in it to ourselves"))?;
    match try_for_long(|| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(directory)),
        Err(TryLockError::Error(source)) => return Err(failed("lock the lock file in it")(source)),
    }
    if !is_locked {
        places.note(&path, &file).map_err(failed("look at the lock file in it"))?;
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(
            file,
            "process {} on {} since {}",
            std::process::id(),
            host_name(),
            now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        )?;
        file.sync_all()
    };
    write(&mut file).map_err(failed("write the lock file in it"))?;
    Ok(Lock { _files: vec![whole, file], places })
}

/// Tries a lock for a moment: [`holder`] has it when it looks.
fn try_for_long(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match lock() {
            Err(TryLockError::WouldBlock) if left > 0 => std::thread::sleep(PAUSE),
            tried => return tried,
        }
    }
}

fn refused(directory: &Path, action: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    let directory = directory.to_owned();
    move |source| JournalError::Directory { directory, action, source }
}

fn held(directory: &Path) -> JournalError {
    let holder = read_holder(File::open(directory.join(FILE_NAME)).ok());
    JournalError::Held { directory: directory.to_owned(), holder }
}

/// Who holds the journal in `directory` now, if anybody; takes nothing, and changes nothing.
pub(super) fn holder(directory: &Path) -> Result<Option<Holder>, JournalError> {
    let failed = |action| refused(directory, action);
    let file = match File::open(directory.join(FILE_NAME)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(failed("read the lock file in it")(source)),
    };
    // A shared lock is refused while a process has the exclusive one, and ends with the file. Where a directory can't be
    // locked, or opened, the file says it.
    let is_held = File::open(directory)
        .is_ok_and(|whole| matches!(whole.try_lock_shared(), Err(TryLockError::WouldBlock)));
    match file.as_ref().map(File::try_lock_shared) {
        Some(Err(TryLockError::Error(source))) => Err(failed("look at the lock file in it")(source)),
        Some(Err(TryLockError::WouldBlock)) => Ok(Some(read_holder(file))),
        Some(Ok(())) | None => Ok(is_held.then(|| read_holder(file))),
    }
}

fn read_holder(file: Option<File>) -> Holder {
    let mut holder = String::new();
    let read = file.map(|mut file| file.read_to_string(&mut holder));
    let known = read.is_some_and(|read| read.is_ok()) && !holder.trim().is_empty();
    Holder(if known { holder.trim().to_owned() } else { "another process".to_owned() })
}
