//! The rows as a value, for simulations: what a disk holds from one process to the next.

use super::{Rows, failure, read};
use crate::clock::Timestamp;
use crate::journal::seal::Seal;
use crate::journal::simulated::Mistake;
use crate::journal::{JournalError, KnownTokens};
use crate::token::Fingerprint;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The tables that hold everything; the last one counts the numbers of the rows, so that none comes again.
const TABLES: [&str; 9] =
    ["entries", "redeemed", "passes", "marks", "meta", "stores", "doubted", "kept", "sqlite_sequence"];

/// Where `entries` has what is asked of it.
const DOCUMENT_COLUMN: usize = 3;
const STATE_COLUMN: usize = 6;
const BODY_COLUMN: usize = 16;

/// Where `kept` has it.
const KEPT_BODY_COLUMN: usize = 11;

/// All rows of all tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image([Vec<Vec<Value>>; TABLES.len()]);

impl Rows {
    /// Rows in memory, with what an image holds.
    pub(crate) fn in_memory(image: Option<&Image>, now: Timestamp) -> Result<Self, JournalError> {
        let file = Path::new("(in memory)");
        let open = || {
            let connection = Connection::open_in_memory()?;
            if let Some(image) = image {
                connection.execute_batch(super::open::STORES)?;
                connection.execute_batch(super::open::SCHEMA)?;
                connection.pragma_update(None, "user_version", super::open::FORMAT)?;
                image.restore(&connection)?;
            }
            Ok(connection)
        };
        Self::prepare(open().map_err(|source| failure(file, "open", source))?, file, Seal::default(), now)
    }

    /// All rows as they are now.
    pub(crate) fn image(&self) -> Result<Image, JournalError> {
        let mut image = Image::default();
        for (table, rows) in TABLES.iter().zip(&mut image.0) {
            let read = || {
                let mut statement = self.connection.prepare_cached(&format!("SELECT * FROM {table}"))?;
                let columns = statement.column_count();
                statement
                    .query_map([], |row| (0..columns).map(|column| row.get(column)).collect())?
                    .collect::<rusqlite::Result<_>>()
            };
            *rows = read().map_err(|source| failure(&self.file, "be copied", source))?;
        }
        Ok(image)
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
    /// Does any answer in it hold this text?
    pub(crate) fn holds(&self, text: &str) -> bool {
        let holds = |value: &Value| matches!(value, Value::Blob(body) if body.windows(text.len()).any(|part| part == text.as_bytes()));
        // Not what was sent: a token that was spent is no pair that is kept.
        let [entries, .., kept, _] = &self.0;
        entries.iter().any(|row| row.get(BODY_COLUMN).is_some_and(holds))
            || kept.iter().any(|row| row.get(KEPT_BODY_COLUMN).is_some_and(holds))
    }

    /// The documents and the states of the open rows.
    pub(crate) fn open_rows(&self) -> Vec<(String, String)> {
        let text = |row: &[Value], column: usize| match row.get(column) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        self.0[0].iter().map(|row| (text(row, DOCUMENT_COLUMN), text(row, STATE_COLUMN))).collect()
    }

    /// Forgets the rows of a table.
    pub(crate) fn empty(&mut self, table: &str) {
        TABLES.iter().zip(&mut self.0).filter(|(name, _)| **name == table).for_each(|(_, rows)| rows.clear());
    }

    /// Is a pair kept in it, or a row open that isn't parked?
    pub(crate) fn binds(&self) -> bool {
        let [.., kept, _] = &self.0;
        let is_parked = |state: &str| matches!(state, "orphan" | "set_aside");
        !kept.is_empty() || self.open_rows().iter().any(|(_, state)| !is_parked(state))
    }

    fn restore(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (table, rows) in TABLES.iter().zip(&self.0) {
            // The rows before have counted, too.
            if *table == "sqlite_sequence" {
                connection.execute("DELETE FROM sqlite_sequence", [])?;
            }
            for row in rows {
                let places = vec!["?"; row.len()].join(", ");
                connection
                    .prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))?
                    .execute(params_from_iter(row))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_image_has_every_table() {
        let rows = Rows::in_memory(None, Timestamp::default()).unwrap();
        let mut statement =
            rows.connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let there: rusqlite::Result<BTreeSet<String>> =
            statement.query_map([], |row| row.get(0)).unwrap().collect();
        assert_eq!(there.unwrap(), TABLES.iter().map(|table| (*table).to_owned()).collect());
    }
}
