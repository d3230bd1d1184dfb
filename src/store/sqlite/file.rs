//! The open file, and what becomes of it when its disk fails: room from the ballast, or nothing more.

use super::open;
use crate::room::Ballast;
use rusqlite::{Connection, Error, ErrorCode, TransactionBehavior, ffi};
use std::path::{Path, PathBuf};

/// The connection to the file, and its ballast.
pub(super) struct File {
    path: PathBuf,
    connection: Connection,
    ballast: Ballast,
    /// It failed: what it says from now on may not be so.
    failed: bool,
}

/// The folder that the file is in.
pub(super) fn directory(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

impl File {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut ballast = path.as_os_str().to_owned();
        ballast.push(".ballast");
        let ballast = Ballast::in_file(ballast.into());
        let connection = match open::open(path) {
            Err(error) if is_full(&error) && give_up(&ballast) => open::open(path)?,
            opened => opened?,
        };
        Ok(Self { path: path.to_owned(), connection, ballast, failed: false })
    }

    /// Makes the ballast, again when it was given up; `false` when there is no room for it.
    pub(super) fn make_ballast(&self) -> bool {
        self.ballast.make().unwrap_or_else(|error| {
            tracing::warn!(%error, "the store's ballast can't be made beside {}", self.path.display());
            true
        })
    }

    /// Opens the file anew after a failure, all of its log moved into it before anybody trusts it.
    pub(super) fn mend(&mut self) -> rusqlite::Result<()> {
        if self.failed {
            self.connection = open::open(&self.path)?;
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.failed = false;
        }
        Ok(())
    }

    /// Runs `work` in one transaction. On a full disk it is rolled back, and run once more when the ballast made room.
    pub(super) fn transact<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        if self.failed {
            let text = "it failed before, and is opened anew when the next pass begins";
            return Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), Some(text.to_owned())));
        }
        let done = match self.once(behavior, &work) {
            Err(error) if is_full(&error) && give_up(&self.ballast) => {
                tracing::error!("the disk of {} is full; its ballast is given up", self.path.display());
                self.once(behavior, &work)
            }
            done => done,
        };
        let io_failed = |error: &Error| error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        self.failed = done.as_ref().err().is_some_and(io_failed);
        done
    }

    fn once<T>(
        &mut self,
        behavior: TransactionBehavior,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }
}

fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn give_up(ballast: &Ballast) -> bool {
    ballast.give_up().unwrap_or(false)
}
