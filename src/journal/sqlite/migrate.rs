//! Journals of earlier versions, formats 1 to 4, taken over at their opening: in one transaction, or not at all.

use super::open::{SCHEMA, STORES};
use super::store::{json, known_before};
use super::{Rows, failure, read};
use crate::grant::headers::Headers;
use crate::journal::seal::{Closed, Part};
use crate::journal::{EntryState, JournalError, KeyProblem};
use crate::token::ParkedWhy;
use rusqlite::{Row as Columns, params};

/// Columns that came with formats 2 and 3, and their types.
const LATER_COLUMNS: [(&str, &str); 4] =
    [("peer", "TEXT"), ("sealed", "INTEGER"), ("content_encoding", "TEXT"), ("turned_away_since", "INTEGER")];

/// An answer, as today's format has it.
struct Answer {
    headers: Vec<u8>,
    body: Vec<u8>,
    /// As `sealed` of today's format.
    sealed: i64,
}

/// The state of a row of format 3, where an orphan for this reason is what was set aside.
pub(super) fn state(state: EntryState, why: Option<&str>) -> EntryState {
    match state {
        EntryState::Orphan if why == Some(ParkedWhy::Unreadable.word()) => EntryState::SetAside,
        state => state,
    }
}

impl Rows {
    /// Gives rows the number of their store, where an earlier version wrote each row's identity beside it, or none.
    pub(super) fn number_stores(&mut self) -> Result<(), JournalError> {
        let number = || {
            let has = |table, column| read::table_has_column(&self.connection, table, column);
            if !has("entries", "id")? || has("entries", "store")? {
                return Ok(());
            }
            self.connection.execute_batch(STORES)?;
            if let Some(known) = known_before(&self.connection)? {
                let note = "INSERT OR IGNORE INTO stores (id, identity, is_here) VALUES (1, ?1, 1)";
                self.connection.execute(note, [json(&known)])?;
            }
            self.connection.execute("DELETE FROM meta WHERE key IN ('store', 'store_identity')", [])?;
            for table in ["entries", "kept"] {
                if !has(table, "id")? || has(table, "store")? {
                    continue;
                }
                let add = format!("ALTER TABLE {table} ADD COLUMN store INTEGER NOT NULL DEFAULT 1");
                self.connection.execute_batch(&add)?;
                if !has(table, "elsewhere")? {
                    continue;
                }
                let note = format!(
                    "INSERT INTO stores (id, identity, is_here)
                     SELECT (SELECT coalesce(max(id), 1) FROM stores) + row_number() OVER (), elsewhere, 0
                     FROM (SELECT DISTINCT elsewhere FROM {table} WHERE elsewhere IS NOT NULL
                       AND elsewhere NOT IN (SELECT identity FROM stores WHERE NOT is_here))"
                );
                self.connection.execute(&note, [])?;
                let of = format!(
                    "UPDATE {table} SET elsewhere = NULL,
                       store = (SELECT id FROM stores WHERE identity = elsewhere AND NOT is_here)
                     WHERE elsewhere IS NOT NULL"
                );
                self.connection.execute(&of, [])?;
            }
            self.connection.execute_batch("DROP INDEX IF EXISTS kept_elsewhere")
        };
        number().map_err(|source| failure(&self.file, "take over its stores", source))
    }

    /// Takes over what an earlier version has left; tells whether there was something.
    ///
    /// # Errors
    /// [`JournalError::Sealed`] when an answer doesn't open with the keys that are set: nothing was changed then.
    pub(super) fn migrate(&mut self) -> Result<bool, JournalError> {
        let has = |column| {
            read::has_column(&self.connection, column)
                .map_err(|source| failure(&self.file, "look at its tables", source))
        };
        if !has("id")? {
            return Ok(false);
        }
        let make = |sql: &str| {
            self.connection
                .execute_batch(sql)
                .map_err(|source| failure(&self.file, "take over its tables", source))
        };
        for (name, kind) in LATER_COLUMNS {
            if !has(name)? {
                make(&format!("ALTER TABLE entries ADD COLUMN {name} {kind}"))?;
            }
        }
        make(
            "DROP INDEX IF EXISTS one_open_row; DROP INDEX IF EXISTS orphans;
              ALTER TABLE entries RENAME TO entries_before;",
        )?;
        // Passes had a key each in `meta`.
        let passes = "INSERT INTO passes (lease_id, provider, started_at)
                        SELECT value, '', 0 FROM meta WHERE key LIKE 'pass %';
                      DELETE FROM meta WHERE key LIKE 'pass %';";
        make(SCHEMA)?;
        make(passes)?;
        self.take_over_rows()?;
        let numbers = "DELETE FROM sqlite_sequence WHERE name = 'entries';
                       INSERT INTO sqlite_sequence (name, seq)
                         SELECT 'entries', seq FROM sqlite_sequence WHERE name = 'entries_before';
                       DROP TABLE entries_before;";
        self.connection
            .execute_batch(numbers)
            .map_err(|source| failure(&self.file, "take over its tables", source))?;
        Ok(true)
    }

    /// Row by row: memory must not grow with what is left.
    fn take_over_rows(&mut self) -> Result<(), JournalError> {
        let (mut after, mut no_key, mut wrong_key) = (i64::MIN, 0, 0);
        while let Some((id, status, word, why, answer)) = self.next_before(after)? {
            after = id;
            let answer = match answer {
                Ok(answer) => answer,
                Err(Closed::NoKey) => {
                    no_key += 1;
                    continue;
                }
                Err(Closed::UnknownKey | Closed::Tampered) => {
                    wrong_key += 1;
                    continue;
                }
            };
            let is_success = status.is_some_and(|status| (200..300).contains(&status));
            let now = state(EntryState::read(&word, is_success), why.as_deref());
            // An unknown word stays.
            let word = EntryState::from_word(&word).map_or(word, |_| now.word().to_owned());
            let (headers, body, sealed) = match answer {
                Some(Answer { headers, body, sealed }) => (Some(headers), Some(body), Some(sealed)),
                None => (None, None, None),
            };
            self.run(
                "take over its rows",
                "INSERT INTO entries (id, provider, document, subject, fingerprint, state, sent_at, unsettled_since,
                   turned_away_since, why, peer, status, complete, received_at, headers, body, sealed, store)
                 SELECT id, provider, document, subject, fingerprint, ?2, sent_at, unsettled_since,
                   turned_away_since, why, peer, status, complete, received_at, ?3, ?4, ?5, store
                 FROM entries_before WHERE id = ?1",
                params![id, word, headers, body, sealed],
            )?;
        }
        match KeyProblem::of(no_key, wrong_key) {
            None => Ok(()),
            Some(problem) => Err(JournalError::Sealed { file: self.file.clone(), problem }),
        }
    }

    /// The next row behind `after`: its number, status, state and why, and its answer as today's format has it.
    #[expect(clippy::type_complexity, reason = "the columns that change")]
    fn next_before(
        &self,
        after: i64,
    ) -> Result<
        Option<(i64, Option<u16>, String, Option<String>, Result<Option<Answer>, Closed>)>,
        JournalError,
    > {
        self.find(
            "SELECT id, provider, document, fingerprint, sealed, status, complete, received_at, body, retry_after,
               content_encoding, state, why
             FROM entries_before WHERE id > ?1 ORDER BY id LIMIT 1",
            [after],
            |row| {
                let status = row.get::<_, Option<u16>>(5).unwrap_or_default();
                let why = read::text_or_none(row, 12).unwrap_or_default();
                Ok((row.get(0)?, status, read::shown(row, 11)?, why, self.answer_before(row)?))
            },
        )
    }

    fn answer_before(&self, row: &Columns<'_>) -> rusqlite::Result<Result<Option<Answer>, Closed>> {
        let column =
            |index: usize| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_bytes_or_null().ok().flatten());
        let Some(body) = column(8)? else { return Ok(Ok(None)) };
        let (place, coding) = (read::place(row, [0, 1, 2, 3])?, column(10)?);
        let fields = [("retry-after", column(9)?), ("content-encoding", coding)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let headers = fields.collect::<Headers>().encode();
        let sealed = row.get::<_, Option<i64>>(4).unwrap_or_default().unwrap_or_default();
        let as_it_is = |sealed| Answer { headers: headers.to_vec(), body: body.to_vec(), sealed };
        let opened = match sealed {
            0 => Ok(body.to_vec()),
            1 => self.seal.open_before(body, place, coding),
            // Its own key did not open it then. The row may have been repaired since.
            _ => match self.seal.open_before(body, place, coding) {
                Ok(opened) => Ok(opened),
                Err(_) => return Ok(Ok(Some(as_it_is(2)))),
            },
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Closed::Tampered) => return Ok(Ok(Some(as_it_is(2)))),
            Err(closed) => return Ok(Err(closed)),
        };
        if !self.seal.encrypts() {
            // Opened with an old key, and there is none to seal it with.
            let closed = Err(Closed::NoKey);
            return Ok(if sealed == 0 { Ok(Some(as_it_is(0))) } else { closed });
        }
        let head = read::bound_head(row, [5, 6, 7]);
        let headers = self.seal.close(&headers, place, Part::Headers(head));
        let body = self.seal.close(&opened, place, Part::Body(head, &headers));
        Ok(Ok(Some(Answer { headers, body, sealed: 1 })))
    }
}
