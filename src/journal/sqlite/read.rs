//! Reading rows: a page at a time, one bad row never in the way of the others.

use super::keys::Secrets;
use super::open::{FORMAT, ROWS_SINCE, format_of};
use super::store::{ELSEWHERE_NOW, read_identity};
use super::{Rows, failure, from_millis, kept};
use crate::grant::headers::Headers;
use crate::grant::{RawAnswer, secret_bytes};
use crate::journal::seal::{Closed, Head, Part, Place, SEAL_BYTES, Seal};
use crate::journal::{
    AccessThen, Damaged, Entry, EntryId, EntryState, Intent, JournalError, Journaled, KnownTokens, Listed,
    Page, Parked,
};
use crate::token::{Fingerprint, RefreshToken, Subject, TokenId};
use rusqlite::{Connection, Error, OpenFlags, Row};
use std::path::Path;

/// Most rows in a page.
const PAGE_ROWS: i64 = 500;

/// Bodies in a page, in bytes: behind the row that reaches it, the page ends.
///
/// A body may have a mebibyte, and recovery must not need more memory than a pass.
const PAGE_BODIES_BYTES: usize = 4 * 1024 * 1024;

/// The columns that [`secrets`] takes, in their order.
pub(super) const SECRETS: &str =
    "id, provider, document, fingerprint, sealed, status, complete, received_at, headers, body, sent";

/// The row's place among them.
pub(super) const SECRETS_PLACE: [usize; 4] = [0, 1, 2, 3];
const SEALED: usize = 4;
const STATUS: usize = 5;
const COMPLETE: usize = 6;
const RECEIVED_AT: usize = 7;
const HEADERS: usize = 8;
const BODY: usize = 9;
const SENT: usize = 10;

/// The other columns of an [`Entry`], behind those.
const BEHIND: &str = "subject, state, sent_at, unsettled_since, turned_away_since, why, peer, (SELECT identity FROM stores WHERE id = store AND NOT is_here), length(body), access";
const SUBJECT: usize = 11;
const STATE: usize = 12;
const SENT_AT: usize = 13;
const UNSETTLED_SINCE: usize = 14;
const TURNED_AWAY_SINCE: usize = 15;
const WHY: usize = 16;
const PEER: usize = 17;
const ELSEWHERE: usize = 18;
const LENGTH: usize = 19;
const ACCESS: usize = 20;

impl Rows {
    /// The rows behind `after`, oldest first; none of another store, and no pair that is only kept.
    pub(in crate::journal) fn page(&mut self, after: Option<EntryId>) -> Result<Page, JournalError> {
        let read = || {
            let sql = format!(
                "SELECT {SECRETS}, {BEHIND} FROM entries
                 WHERE id > ?1 AND store NOT IN {ELSEWHERE_NOW} ORDER BY id LIMIT ?2"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([after.map_or(i64::MIN, |after| after.0), PAGE_ROWS])?;
            let (mut page, mut read, mut bytes) = (Page::default(), 0, 0);
            while let Some(row) = rows.next()? {
                let id = EntryId(row.get(0)?);
                read += 1;
                bytes += self::bytes(row, BODY)?.len();
                match whole(row, &self.seal)? {
                    Ok(entry) => page.entries.push(entry),
                    Err(damaged) => page.damaged.push(damaged),
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
        let sql = format!("SELECT {SECRETS}, {BEHIND} FROM entries WHERE id = ?1");
        self.find(&sql, [id.0], |row| whole(row, &self.seal))
    }

    /// How many pairs wait for a person.
    pub(in crate::journal) fn parked(&mut self) -> Result<Parked, JournalError> {
        let count = |row: &Row<'_>| Ok(row.get::<_, i64>(0)?.unsigned_abs());
        let orphans = "SELECT count(*) FROM entries WHERE state IN ('orphan', 'set_aside')";
        let unread = "SELECT count(*) FROM entries WHERE state = 'unread'";
        let counted = |sql| Ok(self.find(sql, [], count)?.unwrap_or_default());
        Ok(Parked { orphans: counted(orphans)?, unread: counted(unread)? })
    }
}

/// Opens a file beside a process that may be writing it, and its format. `None` where it isn't there, or has no tables: a
/// process that was killed while it made them has left it so.
pub(super) fn beside(file: &Path) -> Result<Option<(Connection, i64)>, JournalError> {
    if !file.exists() {
        return Ok(None);
    }
    let failed = |source| failure(file, "be read", source);
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let format = format_of(&connection, file)?;
    let has_tables = has_column(&connection, "id").map_err(failed)?;
    Ok(has_tables.then_some((connection, format)))
}

/// Reads the rows beside a process that may be writing them; without their secrets.
pub(in crate::journal) fn peek(file: &Path) -> Result<Listed, JournalError> {
    let Some((connection, format)) = beside(file)? else { return Ok(Listed::default()) };
    let read = || {
        // A journal of an earlier version that is only looked at lacks some of them, and no secret is read.
        let has_stores = has_column(&connection, "store")?;
        let column = |column: &'static str| {
            let is_secret = ["headers", "body", "sent"].contains(&column);
            let has = !is_secret
                && if column.contains("FROM stores") {
                    has_stores
                } else {
                    column.contains('(') || has_column(&connection, column)?
                };
            Ok(if has { column } else { "NULL" })
        };
        let columns = SECRETS.split(", ").chain(BEHIND.split(", ")).map(column);
        let columns = columns.collect::<rusqlite::Result<Vec<_>>>()?.join(", ");
        let mut statement = connection.prepare(&format!("SELECT {columns} FROM entries ORDER BY id"))?;
        let mut rows = statement.query([])?;
        let mut listed = Listed::default();
        while let Some(row) = rows.next()? {
            match entry(row) {
                Ok(entry) if format < ROWS_SINCE => {
                    let state = super::migrate::state(entry.state, entry.why.as_deref());
                    listed.entries.push(Entry { state, ..entry });
                }
                Ok(entry) => listed.entries.push(entry),
                Err(error) => listed.damaged.push(damaged(EntryId(row.get(0)?), error)?),
            }
        }
        listed.kept = kept::count(&connection)?;
        Ok(listed)
    };
    read().map_err(|source| failure(file, "be read", source))
}

/// Reads one row with its secrets beside a process that may be writing it; `None` where there is none.
pub(in crate::journal) fn peek_one(
    file: &Path,
    id: EntryId,
    seal: &Seal,
) -> Result<Option<Result<Entry, Damaged>>, JournalError> {
    let Some((connection, format)) = beside(file)? else { return Ok(None) };
    if format < FORMAT {
        let problem = "an earlier version wrote it, and the next start of this one takes it over".to_owned();
        return Ok(Some(Err(Damaged { id, problem })));
    }
    let sql = format!("SELECT {SECRETS}, {BEHIND} FROM entries WHERE id = ?1");
    let read = || {
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([id.0])?;
        rows.next()?.map(|row| whole(row, seal)).transpose()
    };
    read().map_err(|source| failure(file, "be read", source))
}

/// Which of these refresh tokens the journal knows, read beside a process that may be writing it.
pub(in crate::journal) fn known(file: &Path, tokens: &[Fingerprint]) -> Result<KnownTokens, JournalError> {
    let Some((connection, _)) = beside(file)? else { return Ok(KnownTokens::default()) };
    known_of(&connection, tokens).map_err(|source| failure(file, "be read", source))
}

pub(super) fn known_of(connection: &Connection, tokens: &[Fingerprint]) -> rusqlite::Result<KnownTokens> {
    let mut known = KnownTokens::default();
    let mut redeemed = connection.prepare("SELECT 1 FROM redeemed WHERE fingerprint = ?1")?;
    let mut open = connection.prepare(
        "SELECT 1 FROM entries WHERE fingerprint = ?1 AND state != 'orphan' AND state != 'set_aside'",
    )?;
    for token in tokens {
        let text = token.to_string();
        if redeemed.exists([&text])? {
            known.redeemed.insert(*token);
        } else if open.exists([&text])? {
            known.on_their_way.insert(*token);
        }
    }
    Ok(known)
}

/// Journals of earlier versions lack some.
pub(super) fn has_column(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    table_has_column(connection, "entries", name)
}

/// The same of any table; one that isn't there has none.
pub(super) fn table_has_column(connection: &Connection, table: &str, name: &str) -> rusqlite::Result<bool> {
    let count = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    connection.query_row(count, [table, name], |row| row.get(0))
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

/// Where secrets belong: `id`, `provider`, `document` and `fingerprint` stand in these columns.
pub(super) fn place<'a>(row: &'a Row<'_>, columns: [usize; 4]) -> rusqlite::Result<Place<'a>> {
    let [id, provider, document, fingerprint] = columns;
    Ok(Place {
        id: row.get(id)?,
        provider: bytes(row, provider)?,
        document: bytes(row, document)?,
        fingerprint: bytes(row, fingerprint)?,
    })
}

/// What the secrets of an answer are bound to, in these columns. What can't be read is nothing: a damaged row is sealed
/// like any other.
pub(super) fn bound_head(row: &Row<'_>, [status, complete, received_at]: [usize; 3]) -> Head {
    Head {
        status: row.get::<_, Option<u16>>(status).ok().flatten().unwrap_or_default(),
        complete: row.get::<_, Option<bool>>(complete).ok().flatten().unwrap_or_default(),
        received_at: row.get::<_, Option<i64>>(received_at).ok().flatten().unwrap_or_default(),
    }
}

/// The same of a row of [`SECRETS`].
pub(super) fn head_of(row: &Row<'_>) -> Head {
    bound_head(row, [STATUS, COMPLETE, RECEIVED_AT])
}

/// What is known of the answer in a row of [`SECRETS`]; `None` where it holds none.
fn head(row: &Row<'_>) -> rusqlite::Result<Option<Head>> {
    let Some(status) = row.get(STATUS)? else { return Ok(None) };
    let complete = row.get::<_, Option<bool>>(COMPLETE)?.unwrap_or_default();
    let received_at = row.get::<_, Option<i64>>(RECEIVED_AT)?.unwrap_or_default();
    Ok(Some(Head { status, complete, received_at }))
}

/// Are the secrets of a row of [`SECRETS`] in the clear?
pub(super) fn is_clear(row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(row.get::<_, Option<i64>>(SEALED)?.unwrap_or_default() == 0)
}

/// Are they sealed with the current key? What was sent counts where nothing has come.
pub(super) fn is_current(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<bool> {
    let (headers, body) = (blob(row, HEADERS)?, blob(row, BODY)?);
    let sent = blob(row, SENT)?.filter(|_| body.is_none());
    Ok([headers, body, sent].into_iter().flatten().all(|secret| seal.is_current(secret)))
}

/// The secrets of a row of [`SECRETS`], opened. What was sent is `None` where it doesn't open: no answer is lost for it.
pub(super) fn secrets(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<Result<Secrets, Closed>> {
    let (is_clear, place, head) = (is_clear(row)?, place(row, SECRETS_PLACE)?, head_of(row));
    let (sent, headers, body) = (blob(row, SENT)?, blob(row, HEADERS)?, blob(row, BODY)?);
    let open = |secret: Option<&[u8]>, part| match secret {
        Some(secret) if !is_clear => seal.open(secret, place, part).map(Some),
        secret => Ok(secret.map(<[u8]>::to_vec)),
    };
    let sent = open(sent, Part::Sent).unwrap_or_default();
    let opened = open(headers, Part::Headers(head)).and_then(|opened| {
        let body = open(body, Part::Body(head, headers.unwrap_or_default()))?;
        Ok(Secrets { sent: sent.clone(), headers: opened, body })
    });
    Ok(match opened {
        Err(Closed::Tampered) => opened_before(seal, place, headers, body).ok_or(Closed::Tampered),
        opened => opened,
    })
}

/// An answer that an earlier version has sealed and could not open: its row may have been repaired since.
fn opened_before(
    seal: &Seal,
    place: Place<'_>,
    headers: Option<&[u8]>,
    body: Option<&[u8]>,
) -> Option<Secrets> {
    let fields = Headers::decode(headers?)?;
    let coding = fields.all("content-encoding").next();
    let body = seal.open_before(body?, place, coding).ok()?;
    Some(Secrets { sent: None, headers: headers.map(<[u8]>::to_vec), body: Some(body) })
}

fn blob<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    Ok(row.get_ref(index)?.as_bytes_or_null()?)
}

/// A query for whole rows that meet a condition.
pub(super) fn select_entries(condition: &str) -> String {
    format!("SELECT {SECRETS}, {BEHIND} FROM entries WHERE {condition}")
}

/// A row with its secrets.
pub(super) fn whole(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<Result<Entry, Damaged>> {
    let id = EntryId(row.get(0)?);
    match with_secrets(row, seal) {
        Ok(entry) => Ok(entry.map_err(|problem| Damaged { id, problem: problem.to_owned() })),
        Err(error) => damaged(id, error).map(Err),
    }
}

fn with_secrets(row: &Row<'_>, seal: &Seal) -> rusqlite::Result<Result<Entry, &'static str>> {
    const CLOSED: &str = "its answer can't be read";
    let mut entry = entry(row)?;
    if seal.encrypts() && is_clear(row)? && (blob(row, BODY)?.is_some() || blob(row, SENT)?.is_some()) {
        return Ok(Err("it is not encrypted, and this journal is: something else wrote it"));
    }
    let Ok(secrets) = secrets(row, seal)? else { return Ok(Err(CLOSED)) };
    let text = |sent| String::from_utf8(sent).ok();
    entry.sent = secrets.sent.and_then(text).map(RefreshToken::new);
    let Some(head) = head(row)? else { return Ok(Ok(entry)) };
    let headers = secrets.headers.as_deref().map_or(Some(Headers::default()), Headers::decode);
    let Some(headers) = headers else { return Ok(Err(CLOSED)) };
    let value = RawAnswer {
        status: head.status,
        headers,
        body: secret_bytes(secrets.body.unwrap_or_default()),
        complete: head.complete,
        received_at: from_millis(head.received_at).unwrap_or_default(),
    };
    entry.answer = Some(Journaled { entry: entry.id, value });
    Ok(Ok(entry))
}

/// The store that a row belongs to, for people.
fn elsewhere(json: &str) -> String {
    read_identity(json).to_string()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let exact =
        |index, name| String::from_utf8(bytes(row, index)?.to_vec()).map_err(|_| unreadable(index, name));
    let at = |index| Ok::<_, Error>(row.get::<_, Option<i64>>(index)?.and_then(from_millis));
    let head = head(row)?;
    let sealed_bytes = if is_clear(row)? { 0 } else { SEAL_BYTES as u64 };
    let length = row.get::<_, Option<i64>>(LENGTH)?.unwrap_or_default().unsigned_abs();
    Ok(Entry {
        id: EntryId(row.get(0)?),
        state: EntryState::read(
            &shown(row, STATE)?,
            head.is_some_and(|head| (200..300).contains(&head.status)),
        ),
        intent: Intent {
            provider: exact(1, "provider")?.into(),
            document: TokenId::from(exact(2, "document")?),
            subject: Subject::new(&shown(row, SUBJECT)?),
            fingerprint: Fingerprint::from_hex(&shown(row, 3)?)
                .ok_or_else(|| unreadable(3, "fingerprint"))?,
            sent_at: at(SENT_AT)?.unwrap_or_default(),
            access: None,
            is_refreshed_elsewhere: false,
        },
        unsettled_since: at(UNSETTLED_SINCE)?,
        turned_away_since: at(TURNED_AWAY_SINCE)?,
        why: text_or_none(row, WHY)?,
        peer: text_or_none(row, PEER)?,
        received_bytes: head.map(|_| length.saturating_sub(sealed_bytes)),
        complete: head.map(|head| head.complete),
        elsewhere: text_or_none(row, ELSEWHERE)?.map(|json| elsewhere(&json)),
        access: AccessThen::read(text_or_none(row, ACCESS)?.as_deref()),
        sent: None,
        answer: None,
    })
}
