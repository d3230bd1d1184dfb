//! By which settings the documents were read and written.

use super::{Rows, failure, read};
use crate::journal::{DocumentSettings, JournalError};
use rusqlite::{OptionalExtension as _, params};
use std::path::Path;

/// Their key in `meta`.
const KEY: &str = "documents";

impl Rows {
    pub(in crate::journal) fn note_documents(
        &mut self,
        settings: &DocumentSettings,
    ) -> Result<(), JournalError> {
        // Texts: nothing that JSON doesn't have.
        let settings = serde_json::to_string(settings).unwrap_or_default();
        let note = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
        self.run("note by which settings it works", note, params![KEY, settings])
    }
}

/// Those of the last process, read beside one that may be writing the file.
pub(in crate::journal) fn documents_before(file: &Path) -> Result<Option<DocumentSettings>, JournalError> {
    let Some((connection, _)) = read::beside(file)? else { return Ok(None) };
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let found = connection.query_row(sql, [KEY], |row| read::shown(row, 0)).optional();
    let found = found.map_err(|source| failure(file, "be read", source))?;
    // What can't be read is of a version that knows more of them.
    Ok(found.and_then(|settings| serde_json::from_str(&settings).ok()))
}
