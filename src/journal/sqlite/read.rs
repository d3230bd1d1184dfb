//! Reading rows: a page at a time, one bad row never in the way of the others.

use super::open::{LATER_COLUMNS, SCHEMA_VERSION};
use super::store::read_identity;
use super::{Rows, failure, from_millis};
use crate::grant::RawAnswer;
use crate::grant::headers::Headers;
use crate::journal::seal::{Closed, Place, SEAL_BYTES, Seal};
use crate::journal::{
    Damaged, Entry, EntryId, EntryState, Intent, JournalError, Journaled, KnownTokens, Listed, Page, Parked,
};
use crate::token::{Fingerprint, Subject, TokenId};
use rusqlite::{Connection, Error, OpenFlags, Row};
use std::path::Path;

/// Most rows in a page.
const PAGE_ROWS: i64 = 500;

/// Bodies in a page, in bytes: behind the row that reaches it, the page ends.
///
/// A body may have a mebibyte, and recovery must not need more memory than a pass.
const PAGE_BODIES_BYTES: usize = 4 * 1024 * 1024;

/// The columns of an [`Entry`] without its body, in the order in which [`entry`] takes them.
const COLUMNS: &str =
    "id, provider, document, subject, fingerprint, state, sent_at, unsettled_since, why, status, retry_after, complete,
     received_at, peer, sealed, content_encoding, turned_away_since, length(body), elsewhere";

/// The body's column, behind the others.
const BODY: &str = "body";
const SEALED_AT: usize = 14;
const CONTENT_ENCODING_AT: usize = 15;
const TURNED_AWAY_AT: usize = 16;
const LENGTH_AT: usize = 17;
const ELSEWHERE_AT: usize = 18;
const BODY_AT: usize = 19;

impl Rows {
    /// The rows behind `after`, oldest first; none of another store.
    pub(in crate::journal) fn page(&mut self, after: Option<EntryId>) -> Result<Page, JournalError> {
        let read = || {
            let sql = format!(
                "SELECT {COLUMNS}, {BODY} FROM entries WHERE id > ?1 AND elsewhere IS NULL ORDER BY id LIMIT ?2"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([after.map_or(i64::MIN, |after| after.0), PAGE_ROWS])?;
            let (mut page, mut read, mut bytes) = (Page::default(), 0, 0);
            while let Some(row) = rows.next()? {
                let id = EntryId(row.get(0)?);
                read += 1;
                bytes += row.get_ref(BODY_AT)?.as_blob_or_null().ok().flatten().map_or(0, <[u8]>::len);
                match with_body(row, &self.seal) {
                    Ok(entry) => page.entries.push(entry),
                    Err(error) => page.damaged.push(damaged(id, error)?),
                }
                if read == PAGE_ROWS || bytes >= PAGE_BODIES_BYTES {
                    page.next = Some(id);
                    break;
                }
            }
            Ok(page)
        };
        read().map_err(|source| failure(&self.file, "read its rows", source))
    }

    /// One row.
    pub(in crate::journal) fn entry(
        &mut self,
        id: EntryId,
    ) -> Result<Option<Result<Entry, Damaged>>, JournalError> {
        let sql = format!("SELECT {COLUMNS}, {BODY} FROM entries WHERE id = ?1");
        self.find(&sql, [id.0], |row| match with_body(row, &self.seal) {
            Ok(entry) => Ok(Ok(entry)),
            Err(error) => damaged(id, error).map(Err),
        })
    }

    /// How many pairs wait for a person.
    pub(in crate::journal) fn parked(&mut self) -> Result<Parked, JournalError> {
        let count = |row: &Row<'_>| Ok(row.get::<_, i64>(0)?.unsigned_abs());
        let orphans = "SELECT count(*) FROM entries WHERE state = 'orphan'";
        let unread = "SELECT count(*) FROM entries WHERE state = 'unread'";
        let counted = |sql| Ok(self.find(sql, [], count)?.unwrap_or_default());
        Ok(Parked { orphans: counted(orphans)?, unread: counted(unread)? })
    }
}

/// Reads the rows beside a process that may be writing them; without their bodies.
pub(in crate::journal) fn peek(file: &Path) -> Result<Listed, JournalError> {
    if !file.exists() {
        return Ok(Listed::default());
    }
    let read = || {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Ok(None);
        }
        // A process that was killed while it made the file has left it without tables.
        if !has_column(&connection, "id")? {
            return Ok(Some(Listed::default()));
        }
        let mut columns = COLUMNS.to_owned();
        // A journal of an earlier version that is only looked at.
        for (later, _) in LATER_COLUMNS {
            if !has_column(&connection, later)? {
                columns = columns.replace(later, "NULL");
            }
        }
        let mut statement = connection.prepare(&format!("SELECT {columns} FROM entries ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut listed = Listed::default();
        while let Some(row) = rows.next()? {
            match entry(row) {
                Ok(entry) => listed.entries.push(entry),
                Err(error) => listed.damaged.push(damaged(EntryId(row.get(0)?), error)?),
            }
        }
        Ok(Some(listed))
    };
    let newer = || JournalError::Newer { file: file.to_owned() };
    read().map_err(|source| failure(file, "be read", source))?.ok_or_else(newer)
}

/// Which of these refresh tokens the journal knows, read beside a process that may be writing it.
pub(in crate::journal) fn known(file: &Path, tokens: &[Fingerprint]) -> Result<KnownTokens, JournalError> {
    let mut known = KnownTokens::default();
    if !file.exists() {
        return Ok(known);
    }
    let mut read = || {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Ok(false);
        }
        // A process that was killed while it made the file has left it without tables.
        if !has_column(&connection, "id")? {
            return Ok(true);
        }
        let mut redeemed = connection.prepare("SELECT 1 FROM redeemed WHERE fingerprint = ?1")?;
        let mut open =
            connection.prepare("SELECT 1 FROM entries WHERE fingerprint = ?1 AND state != 'orphan'")?;
        for token in tokens {
            let text = token.to_string();
            if redeemed.exists([&text])? {
                known.redeemed.insert(*token);
            } else if open.exists([&text])? {
                known.on_their_way.insert(*token);
            }
        }
        Ok(true)
    };
    if read().map_err(|source| failure(file, "be read", source))? {
        Ok(known)
    } else {
        Err(JournalError::Newer { file: file.to_owned() })
    }
}

/// Journals of earlier versions lack some.
pub(super) fn has_column(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let count = "SELECT count(*) FROM pragma_table_info('entries') WHERE name = ?1";
    connection.query_row(count, [name], |row| row.get(0))
}

/// What is wrong with a row, when it is the row and not the file.
fn damaged(id: EntryId, error: Error) -> rusqlite::Result<Damaged> {
    match error {
        Error::InvalidColumnType(_, column, _) => {
            Ok(Damaged { id, problem: format!("its {column} can't be read") })
        }
        Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::Utf8Error(..) => {
            Ok(Damaged { id, problem: "a value in it can't be read".to_owned() })
        }
        error => Err(error),
    }
}

fn unreadable(index: usize, column: &str) -> Error {
    Error::InvalidColumnType(index, column.to_owned(), rusqlite::types::Type::Text)
}

/// A text for people, or one that is only compared: what isn't UTF-8 in it is replaced.
pub(super) fn shown(row: &Row<'_>, index: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(bytes(row, index)?).into_owned())
}

pub(super) fn text_or_none(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<String>> {
    Ok(row.get_ref(index)?.as_bytes_or_null()?.map(|text| String::from_utf8_lossy(text).into_owned()))
}

fn bytes<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(index)?.as_bytes_or_null().ok().flatten().unwrap_or_default())
}

/// What is kept of an answer's header.
fn headers(row: &Row<'_>) -> rusqlite::Result<Headers> {
    let wait = row.get::<_, Option<String>>(10)?.map(|wait| ("retry-after", wait));
    let codings = text_or_none(row, CONTENT_ENCODING_AT)?.map(|codings| ("content-encoding", codings));
    Ok([wait, codings].into_iter().flatten().collect())
}

/// Where a body belongs: `document`, `fingerprint`, `provider` and `content_encoding` stand in these columns.
pub(super) fn place<'a>(row: &'a Row<'_>, columns: [usize; 4]) -> rusqlite::Result<Place<'a>> {
    let [document, fingerprint, provider, content_encoding] = columns;
    Ok(Place {
        document: bytes(row, document)?,
        fingerprint: bytes(row, fingerprint)?,
        provider: bytes(row, provider)?,
        content_encoding: row.get_ref(content_encoding)?.as_bytes_or_null().ok().flatten(),
    })
}

/// Opens a body that is sealed.
pub(super) fn open(
    row: &Row<'_>,
    seal: &Seal,
    [body, sealed]: [usize; 2],
    place_columns: [usize; 4],
) -> rusqlite::Result<Result<Vec<u8>, Closed>> {
    let body = bytes(row, body)?;
    if row.get::<_, Option<bool>>(sealed)? != Some(true) {
        return Ok(Ok(body.to_vec()));
    }
    Ok(seal.open(body, place(row, place_columns)?))
}

fn with_body(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<Entry> {
    let mut entry = entry(row)?;
    if let Some(status) = row.get::<_, Option<u16>>(9)? {
        let body = open(row, seal, [BODY_AT, SEALED_AT], [2, 4, 1, CONTENT_ENCODING_AT])?;
        let body = body.map_err(|_| unreadable(BODY_AT, "answer"))?;
        entry.answer = Some(Journaled {
            entry: entry.id,
            kept: true,
            value: RawAnswer {
                status,
                headers: headers(row)?,
                body: crate::grant::secret_bytes(body),
                complete: row.get::<_, Option<bool>>(11)?.unwrap_or_default(),
                received_at: row.get::<_, Option<i64>>(12)?.and_then(from_millis).unwrap_or_default(),
            },
        });
    }
    Ok(entry)
}

/// The store that a row belongs to, for people.
fn elsewhere(json: &str) -> String {
    read_identity(json).map_or_else(|| "another store".to_owned(), |identity| identity.to_string())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let state = match shown(row, 5)?.as_str() {
        "intent" => EntryState::Intent,
        "answer" => EntryState::Answer,
        "unread" => EntryState::Unread,
        "orphan" => EntryState::Orphan,
        // A word of nobody's is the state that loses nothing.
        _ => EntryState::Unsettled,
    };
    let sealed = row.get::<_, Option<bool>>(SEALED_AT)? == Some(true);
    let exact =
        |index, name| String::from_utf8(bytes(row, index)?.to_vec()).map_err(|_| unreadable(index, name));
    Ok(Entry {
        id: EntryId(row.get(0)?),
        state,
        intent: Intent {
            provider: exact(1, "provider")?.into(),
            document: TokenId::from(exact(2, "document")?),
            subject: Subject::new(&shown(row, 3)?),
            fingerprint: Fingerprint::from_hex(&shown(row, 4)?)
                .ok_or_else(|| unreadable(4, "fingerprint"))?,
            sent_at: row.get::<_, i64>(6).map(from_millis)?.unwrap_or_default(),
        },
        unsettled_since: row.get::<_, Option<i64>>(7)?.and_then(from_millis),
        turned_away_since: row.get::<_, Option<i64>>(TURNED_AWAY_AT)?.and_then(from_millis),
        why: text_or_none(row, 8)?,
        peer: text_or_none(row, 13)?,
        received_bytes: row
            .get::<_, Option<u16>>(9)?
            .map(|_| Ok::<_, Error>(row.get::<_, Option<i64>>(LENGTH_AT)?.unwrap_or_default().unsigned_abs()))
            .transpose()?
            .map(|bytes| bytes.saturating_sub(if sealed { SEAL_BYTES as u64 } else { 0 })),
        complete: row.get(11)?,
        elsewhere: text_or_none(row, ELSEWHERE_AT)?.map(|json| elsewhere(&json)),
        answer: None,
    })
}
