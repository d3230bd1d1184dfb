//! The rows as a value, for simulations: what a disk holds from one process to the next.

use super::{Rows, failure, read};
use crate::clock::Timestamp;
use crate::journal::seal::Seal;
use crate::journal::simulated::Mistake;
use crate::journal::{JournalError, KnownTokens};
use crate::token::Fingerprint;
use rusqlite::{Connection, Row};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// All that a file holds.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    file: Arc<[u8]>,
    /// The bodies of all answers in it.
    answers: Vec<Vec<u8>>,
    /// The documents and the states of the open rows.
    open_rows: Vec<(String, String)>,
    keeps_pairs: bool,
}

impl Rows {
    /// Rows in memory, with what an image holds.
    pub(crate) fn in_memory(image: Option<&Image>, now: Timestamp) -> Result<Self, JournalError> {
        let file = Path::new("(in memory)");
        let open = || {
            let mut connection = Connection::open_in_memory()?;
            match image {
                Some(image) => image.restore(&mut connection)?,
                // An image is taken with each commit: small pages make a small one.
                None => connection.pragma_update(None, "page_size", 1024)?,
            }
            Ok(connection)
        };
        Self::prepare(open().map_err(|source| failure(file, "open", source))?, file, Seal::default(), now)
    }

    /// All rows as they are now.
    pub(crate) fn image(&mut self) -> Result<Image, JournalError> {
        Image::of(&mut self.connection).map_err(|source| failure(&self.file, "be copied", source))
    }

    /// Makes this mistake at the begin of a pass of this provider.
    pub(crate) fn mistake(&self, mistake: Mistake, provider: &str) {
        let table = match mistake {
            Mistake::RowsOfOthers => "entries",
            Mistake::ClaimsOfOthers => "passes",
            // It is made with each commit.
            Mistake::RedeemedAtOnce => return,
        };
        // One that can't be made is one that isn't found.
        let _ = self.connection.execute(&format!("UPDATE {table} SET provider = ?1"), [provider]);
    }

    /// Which of these tokens they know.
    pub(crate) fn known(&self, tokens: &[Fingerprint]) -> Result<KnownTokens, JournalError> {
        read::known_of(&self.connection, tokens).map_err(|source| failure(&self.file, "be read", source))
    }

    /// Forgets which tokens were redeemed.
    pub(crate) fn forget_redeemed(&self) {
        // As above.
        let _ = self.connection.execute("DELETE FROM redeemed", []);
    }

    /// The error of a disk that doesn't do what it is told.
    pub(crate) fn disk_failed(&self) -> JournalError {
        let source = Arc::new(io::Error::other("the simulated disk failed"));
        JournalError::Failed { file: self.file.clone(), action: "commit", source }
    }
}

impl Image {
    fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        // Not what was sent: a token that was spent is no pair that is kept.
        let answers = "SELECT body FROM entries WHERE body IS NOT NULL UNION ALL SELECT body FROM kept";
        let answers = rows(connection, answers, |row| row.get(0))?;
        let open_rows =
            rows(connection, "SELECT document, state FROM entries", |row| Ok((row.get(0)?, row.get(1)?)))?;
        let keeps_pairs = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM kept)")?
            .query_row([], |row| row.get(0))?;
        let file = connection.serialize(c"main")?[..].into();
        Ok(Self { file, answers, open_rows, keeps_pairs })
    }

    fn restore(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.deserialize_read_exact(c"main", &self.file[..], self.file.len(), false)
    }

    /// Does any answer in it hold this text?
    pub(crate) fn holds(&self, text: &str) -> bool {
        let holds = |body: &Vec<u8>| body.windows(text.len()).any(|part| part == text.as_bytes());
        self.answers.iter().any(holds)
    }

    /// The documents and the states of the open rows.
    pub(crate) fn open_rows(&self) -> Vec<(String, String)> {
        self.open_rows.clone()
    }

    /// Forgets the rows of a table.
    pub(crate) fn empty(&mut self, table: &str) -> rusqlite::Result<()> {
        let mut connection = Connection::open_in_memory()?;
        self.restore(&mut connection)?;
        connection.execute(&format!("DELETE FROM {table}"), [])?;
        *self = Self::of(&mut connection)?;
        Ok(())
    }

    /// Is a pair kept in it, or a row open that isn't parked?
    pub(crate) fn binds(&self) -> bool {
        let is_parked = |state: &str| matches!(state, "orphan" | "set_aside");
        self.keeps_pairs || self.open_rows.iter().any(|(_, state)| !is_parked(state))
    }
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}
