//! The file: made readable by its owner only, set up to be durable, its tables made.

use super::{BUSY_TIMEOUT, place};
use rusqlite::{Connection, Error, OpenFlags, ffi};
use std::{fs, io, path::Path};

/// The layout of the tables below, kept in `user_version`.
const LAYOUT: i64 = 1;

/// `due_at` is milliseconds since 1970, or [`super::rows::DUE_NOW`]; `id` is canonical extended JSON; `fields` is the
/// document as it came, without the bookkeeping; `bookkeeping` is extended JSON, and the three columns behind it are
/// read out of it whenever it is written.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS documents (
        id TEXT NOT NULL PRIMARY KEY,
        fields TEXT NOT NULL,
        bookkeeping TEXT,
        due_at INTEGER NOT NULL,
        lease_id TEXT,
        lease_until INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS evergrant_due ON documents (due_at, id);
";

/// What is claimed now. The files of earlier versions lack it, and are as good without it.
const CLAIMS: &str = "
    CREATE INDEX IF NOT EXISTS evergrant_claimed ON documents (lease_until, id) WHERE lease_until IS NOT NULL;
";

/// Opens or makes the file.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    make_private(path).map_err(|error| cannot_open(path, &error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match transaction.pragma_query_value(None, "user_version", |row| row.get(0))? {
        LAYOUT => {}
        0 => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        newer => {
            let text =
                format!("the file has layout {newer}, this version knows {LAYOUT}; use the newer version");
            return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_ERROR), Some(text)));
        }
    }
    transaction.execute_batch(CLAIMS)?;
    place::note(&transaction, path)?;
    transaction.commit()?;
    Ok(connection)
}

fn cannot_open(path: &Path, error: &io::Error) -> Error {
    let text = format!("`{}` can't be made: {error}", path.display());
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(text))
}

/// Makes the file before SQLite does, because SQLite would let others read it; its `-wal` and `-shm` follow it.
fn make_private(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut file = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        file.mode(0o600);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        crate::room::make_folder(folder)?;
    }
    file.write(true).create(true).truncate(false).open(path).map(drop)
}
