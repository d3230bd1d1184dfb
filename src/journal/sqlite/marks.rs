//! The list of marks whose pass isn't judged yet.

use super::{Rows, failure, from_millis, read};
use crate::clock::Timestamp;
use crate::journal::{JournalError, Judged, LeftMark, MadeMark};
use crate::token::{Fingerprint, RefreshToken, Subject, TokenId};
use rusqlite::{Row, params};

/// Most marks in a page.
const PAGE: i64 = 500;

impl Rows {
    pub(in crate::journal) fn list_marks(
        &mut self,
        provider: &str,
        marks: &[MadeMark],
    ) -> Result<(), JournalError> {
        for mark in marks {
            let last_error = mark.last_error.as_ref().and_then(|error| serde_json::to_string(error).ok());
            self.run(
                "list a mark",
                "INSERT OR REPLACE INTO marks
                   (provider, document, subject, fingerprint, marked_at, pass, since, last_error, doubted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
                params![
                    provider,
                    mark.document.as_str(),
                    mark.subject.as_str(),
                    mark.fingerprint.to_string(),
                    mark.marked_at.timestamp_millis(),
                    mark.pass,
                    mark.since.map(|since| since.timestamp_millis()),
                    last_error,
                ],
            )?;
        }
        Ok(())
    }

    pub(in crate::journal) fn doubt_marks(&mut self, provider: &str) -> Result<(), JournalError> {
        let doubt = "UPDATE marks SET doubted = 1 WHERE provider = ?1 AND doubted = 0";
        self.run("note that marks are in doubt", doubt, [provider])
    }

    pub(in crate::journal) fn doubted_marks(
        &mut self,
        provider: &str,
        after: Option<&TokenId>,
    ) -> Result<Vec<MadeMark>, JournalError> {
        let read = || {
            self.connection
                .prepare_cached(
                    "SELECT document, subject, fingerprint, marked_at, pass, since, last_error FROM marks
                     WHERE provider = ?1 AND document > ?2 AND doubted != 0 ORDER BY document LIMIT ?3",
                )?
                .query_map(params![provider, after.map_or("", TokenId::as_str), PAGE], made_mark)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| failure(&self.file, "read the list of marks", source))
    }

    pub(in crate::journal) fn judge_marks(
        &mut self,
        provider: &str,
        judged: &Judged,
    ) -> Result<(), JournalError> {
        let action = "take marks off the list";
        match judged {
            Judged::Good { pass, earlier } => {
                let delete = "DELETE FROM marks WHERE provider = ?1 AND doubted = 0 AND (pass = ?2 OR ?3)";
                self.run(action, delete, params![provider, pass, earlier])
            }
            Judged::Accepted => self.run(action, "DELETE FROM marks WHERE provider = ?1", [provider]),
            Judged::Settled(documents) => documents.iter().try_for_each(|document| {
                let delete = "DELETE FROM marks WHERE provider = ?1 AND document = ?2";
                self.run(action, delete, [provider, document.as_str()])
            }),
        }
    }

    pub(in crate::journal) fn left_marks(
        &mut self,
        configured: &[String],
        after: Option<&LeftMark>,
    ) -> Result<Vec<LeftMark>, JournalError> {
        let (provider, document) =
            after.map_or(("", ""), |after| (after.provider.as_str(), after.document.as_str()));
        let configured = serde_json::to_string(configured).unwrap_or_default();
        let left_mark = |row: &Row<'_>| {
            Ok(LeftMark { provider: read::shown(row, 0)?, document: TokenId::from(read::shown(row, 1)?) })
        };
        let read = || {
            self.connection
                .prepare_cached(
                    "SELECT provider, document FROM marks
                     WHERE provider NOT IN (SELECT value FROM json_each(?1)) AND (provider, document) > (?2, ?3)
                     ORDER BY provider, document LIMIT ?4",
                )?
                .query_map(params![configured, provider, document, PAGE], left_mark)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| failure(&self.file, "read the list of marks", source))
    }

    pub(in crate::journal) fn adopt_marks(
        &mut self,
        provider: &str,
        marks: &[LeftMark],
    ) -> Result<(), JournalError> {
        let adopt = "UPDATE OR IGNORE marks SET provider = ?1 WHERE provider = ?2 AND document = ?3";
        for LeftMark { provider: before, document } in marks {
            self.run("take over the list of marks", adopt, [provider, before, document.as_str()])?;
            self.judge_marks(before, &Judged::Settled(vec![document.clone()]))?;
        }
        Ok(())
    }
}

/// What can't be read is nothing that a document bears: such a mark is taken off the list, and not taken back.
fn made_mark(row: &Row<'_>) -> rusqlite::Result<MadeMark> {
    let last_error = read::text_or_none(row, 6)?;
    Ok(MadeMark {
        document: TokenId::from(read::shown(row, 0)?),
        subject: Subject::new(&read::shown(row, 1)?),
        fingerprint: Fingerprint::from_hex(&read::shown(row, 2)?).unwrap_or_else(nothing),
        marked_at: from_millis(row.get(3)?).unwrap_or(Timestamp::MIN_UTC),
        pass: read::shown(row, 4)?,
        since: row.get::<_, Option<i64>>(5)?.and_then(from_millis),
        last_error: last_error.and_then(|json| serde_json::from_str(&json).ok()),
    })
}

/// The fingerprint of no token that can be sent.
fn nothing() -> Fingerprint {
    RefreshToken::new(String::new()).fingerprint()
}
