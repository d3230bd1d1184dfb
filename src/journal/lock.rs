//! The state directory and its lock: who holds the journal, and is there room.

use super::JournalError;
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
    _file: File,
}

impl Lock {
    pub(super) const fn of(file: File) -> Self {
        Self { _file: file }
    }
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

/// Takes the lock; it is held for as long as the file is open, and a crash gives it up.
pub(super) fn acquire(directory: &Path, now: Timestamp) -> Result<File, JournalError> {
    let failed =
        |action| move |source| JournalError::Directory { directory: directory.to_owned(), action, source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(FILE_NAME))
        .map_err(failed("create the lock file in it"))?;
    crate::room::make_private(&directory.join(FILE_NAME))
        .map_err(failed("keep the lock file in it to ourselves"))?;
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if left > 0 => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file);
                return Err(JournalError::Held { directory: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock the lock file in it")(source)),
        }
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
    Ok(file)
}

/// Who holds the journal in `directory` now, if anybody; takes nothing, and changes nothing.
pub(super) fn holder(directory: &Path) -> Result<Option<Holder>, JournalError> {
    let failed =
        |action| move |source| JournalError::Directory { directory: directory.to_owned(), action, source };
    let mut file = match File::open(directory.join(FILE_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read the lock file in it")(source)),
    };
    // A shared lock is refused while somebody has the exclusive one, and ends with the file.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(source)) => Err(failed("look at the lock file in it")(source)),
    }
}

fn read_holder(file: &mut File) -> Holder {
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    let known = read.is_ok() && !holder.trim().is_empty();
    Holder(if known { holder.trim().to_owned() } else { "another process".to_owned() })
}
