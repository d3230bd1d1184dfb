//! What happens to the rows: [`Row`] says what an event makes of one, and this does it.

use super::forget::Beside;
use super::{Rows, from_millis, read};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::journal::row::{Next, Remember, Row};
use crate::journal::seal::{Head, Part, Place};
use crate::journal::{Doubts, EntryId, EntryState, Event, IfRedeemed, Intent, JournalError, Permission};
use crate::token::{RefreshToken, TokenId};
use chrono::TimeDelta;
use rusqlite::{Row as Columns, params};

/// How long before the end of its row a token may have been used, at most: longer than the grace of any profile. A clock that
/// was years behind when it was sent must not make us forget it.
const LONGEST_GRACE: TimeDelta = TimeDelta::days(31);

/// A query for what [`found`] reads of a row; one text, so that the statement is found again.
macro_rules! select_found {
    ($rest:literal) => {
        concat!(
            "SELECT id, fingerprint, document, state, sent_at, unsettled_since, turned_away_since, why, peer,
               coalesce(status BETWEEN 200 AND 299, 0), coalesce(sealed, 0) = 0 AND coalesce(body, sent) IS NOT NULL, access,
               after_another
             FROM entries ",
            $rest
        )
    };
}

/// A row, as an event finds it.
struct Found {
    id: i64,
    fingerprint: String,
    document: String,
    row: Row,
    /// Are its secrets in the clear?
    is_clear: bool,
    /// Is its state one that we know?
    is_known: bool,
    /// The fingerprint of the access token that stood beside the token.
    access: Option<String>,
    /// Did another machine write the pair whose token was sent?
    is_after_another: bool,
}

impl Rows {
    /// May a refresh token be sent? Then its row is there.
    pub(in crate::journal) fn intent(
        &mut self,
        intent: &Intent,
        refresh_token: &RefreshToken,
        if_redeemed: IfRedeemed,
    ) -> Result<Permission, JournalError> {
        let fingerprint = intent.fingerprint.to_string();
        if if_redeemed == IfRedeemed::Refuse
            && let Some((first, successor)) = self.newest(intent.fingerprint)?
        {
            let at = self.redeemed_at(intent.fingerprint)?;
            let has_other_access = match intent.access {
                Some(access) => self.is_other_access(intent.fingerprint, access)?,
                None => false,
            };
            return Ok(Permission::AlreadyRedeemed { first, at, has_other_access, successor });
        }
        let open = select_found!("WHERE fingerprint = ?1 AND state != 'orphan' AND state != 'set_aside'");
        let doubts = match self.find(open, [&fingerprint], found)? {
            None => self.noted_doubts(&fingerprint)?,
            // Something else wrote it: it is neither used nor deleted.
            Some(open) if !open.is_known || open.is_clear && self.seal.encrypts() => {
                return Ok(Permission::InFlight(TokenId::from(open.document)));
            }
            Some(Found { row: Row { state: EntryState::Unread, .. }, .. }) => return Ok(Permission::Unread),
            Some(open) => {
                let doubts = open.row.doubts;
                match open.row.sent_again() {
                    Ok(next) => self.replace(open.id, next)?,
                    Err(_) => return Ok(Permission::InFlight(TokenId::from(open.document))),
                }
                doubts
            }
        };
        let entry = self.insert(intent, &fingerprint, refresh_token, doubts)?;
        Ok(Permission::Send { entry, doubts })
    }

    /// Keeps an answer in its row, encrypted when there is a key.
    pub(in crate::journal) fn answer(
        &mut self,
        entry: EntryId,
        answer: &RawAnswer,
    ) -> Result<(), JournalError> {
        let head = Head {
            status: answer.status,
            complete: answer.complete,
            received_at: answer.received_at.timestamp_millis(),
        };
        let encoded = answer.headers.encode();
        let sealed = self.sealed(entry, head, &encoded, &answer.body)?;
        let [headers, body] =
            sealed.as_ref().map_or([&encoded[..], &answer.body[..]], |[headers, body]| [headers, body]);
        self.writes += body.len() / super::PAGE_BYTES;
        // The one step that SQL guards and not the row: it is on everybody's way, and reads nothing.
        let kept = self.change(
            "keep an answer",
            "UPDATE entries SET state = 'answer', status = ?2, complete = ?3, received_at = ?4, headers = ?5, body = ?6
             WHERE id = ?1 AND state IN ('intent', 'unsettled')",
            params![entry.0, head.status, head.complete, head.received_at, headers, body],
        )?;
        if kept == 1 { Ok(()) } else { Err(JournalError::NoEntry(entry)) }
    }

    /// Seals an answer for the place of its row: header fields and body; `None` without a key.
    fn sealed(
        &self,
        entry: EntryId,
        head: Head,
        headers: &[u8],
        body: &[u8],
    ) -> Result<Option<[Vec<u8>; 2]>, JournalError> {
        if !self.seal.encrypts() {
            return Ok(None);
        }
        let sealed = self.find(
            "SELECT id, provider, document, fingerprint FROM entries WHERE id = ?1",
            [entry.0],
            |row| {
                let place = read::place(row, [0, 1, 2, 3])?;
                let headers = self.seal.close(headers, place, Part::Headers(head));
                let body = self.seal.close(body, place, Part::Body(head, &headers));
                Ok([headers, body])
            },
        )?;
        sealed.map(Some).ok_or(JournalError::NoEntry(entry))
    }

    /// Does what an event makes of a row. One that isn't there is over already.
    pub(in crate::journal) fn end(
        &mut self,
        entry: EntryId,
        event: &Event,
        at: Timestamp,
    ) -> Result<(), JournalError> {
        let found = self.find(select_found!("WHERE id = ?1"), [entry.0], found)?;
        let Some(Found { id, fingerprint, document, row, access, is_after_another, .. }) = found else {
            return Ok(());
        };
        let first_sent_at = row.doubts.unsettled_since.unwrap_or(row.sent_at);
        let (sent_at, doubts) = (row.sent_at, row.doubts);
        let Next { row, remember, has_a_pair } = row.on(event).map_err(|illegal| {
            JournalError::OutOfOrder { entry, state: illegal.state, event: illegal.event }
        })?;
        if let Some(remember) = remember {
            // A grace lasts from the first use on, and not from when its pair found its place.
            let at = first_sent_at.clamp(at - LONGEST_GRACE, at);
            let beside = Beside { life: event.life(), access: access.as_deref() };
            self.remember_redeemed(&fingerprint, &document, remember, beside, at)?;
        }
        if remember.is_some() && doubts != Doubts::default() {
            self.forget_doubts(&fingerprint, sent_at)?;
        }
        if remember.is_some() && is_after_another {
            self.forget_kept_before(id)?;
        }
        match (event, remember) {
            (_, Some(Remember::Redeemed(Some(successor)))) => {
                self.keep_pair(id, &fingerprint, successor)?;
                if self.forget_handed_out(&successor.to_string(), sent_at)? {
                    self.forget_access_beside(&fingerprint)?;
                }
            }
            (_, Some(_)) => self.forget_sent(&fingerprint)?,
            (Event::Renewed, None) => {
                self.forget_handed_out(&fingerprint, sent_at)?;
            }
            (Event::Settled | Event::GivenUp, None) => self.note_doubts(&fingerprint, doubts)?,
            _ => {}
        }
        if has_a_pair {
            // But for one in the clear that something else put into a sealed journal.
            self.run(
                "end what was set aside",
                "DELETE FROM entries WHERE state = 'set_aside' AND fingerprint = ?1 AND coalesce(sealed, 0) >= ?2",
                params![fingerprint, self.seal.encrypts()],
            )?;
        }
        self.replace(id, row)
    }

    /// The answers of open intents are not waited for any more: of those of a provider, or of all.
    pub(super) fn note_cut_off(&mut self, provider: Option<&str>) -> Result<(), JournalError> {
        let mut after = i64::MIN;
        let next = select_found!(
            "WHERE state = 'intent' AND id > ?1 AND (?2 IS NULL OR provider = ?2) ORDER BY id LIMIT 1"
        );
        while let Some(open) = self.find(next, params![after, provider], found)? {
            after = open.id;
            self.replace(open.id, Some(open.row.process_gone()))?;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        intent: &Intent,
        fingerprint: &str,
        refresh_token: &RefreshToken,
        doubts: Doubts,
    ) -> Result<EntryId, JournalError> {
        let secret = refresh_token.expose().as_bytes();
        let encrypts = self.seal.encrypts();
        let millis = |at: Option<Timestamp>| at.map(|at| at.timestamp_millis());
        self.change(
            "record an intent",
            "INSERT INTO entries (run, provider, document, subject, fingerprint, state, sent_at, unsettled_since,
               turned_away_since, sent, sealed, access, after_another, store)
             VALUES (?1, ?2, ?3, ?4, ?5, 'intent', ?6, ?7, ?8, ?9, ?10, ?11, ?12,
               coalesce((SELECT max(id) FROM stores WHERE is_here), 1))",
            params![
                self.run.clone(),
                &*intent.provider,
                intent.document.as_str(),
                intent.subject.as_str(),
                fingerprint,
                intent.sent_at.timestamp_millis(),
                millis(doubts.unsettled_since),
                millis(doubts.turned_away_since),
                (!encrypts).then_some(secret),
                encrypts,
                intent.access.map_or_else(String::new, |access| access.to_string()),
                intent.is_refreshed_elsewhere
            ],
        )?;
        let id = self.connection.last_insert_rowid();
        if encrypts {
            // Its number is part of its place, and wasn't known before.
            let place = Place {
                id,
                provider: intent.provider.as_bytes(),
                document: intent.document.as_str().as_bytes(),
                fingerprint: fingerprint.as_bytes(),
            };
            let sealed = self.seal.close(secret, place, Part::Sent);
            self.run("record an intent", "UPDATE entries SET sent = ?2 WHERE id = ?1", params![id, sealed])?;
        }
        Ok(EntryId(id))
    }

    /// The row becomes this, or goes. What came for it stays beside it.
    fn replace(&mut self, id: i64, row: Option<Row>) -> Result<(), JournalError> {
        let Some(row) = row else {
            return self.run("end a row", "DELETE FROM entries WHERE id = ?1", [id]);
        };
        let millis = |at: Option<Timestamp>| at.map(|at| at.timestamp_millis());
        self.run(
            "change a row",
            "UPDATE entries SET state = ?2, why = ?3, peer = ?4, unsettled_since = ?5, turned_away_since = ?6
             WHERE id = ?1",
            params![
                id,
                row.state.word(),
                row.why,
                row.peer,
                millis(row.doubts.unsettled_since),
                millis(row.doubts.turned_away_since)
            ],
        )
    }
}

/// A value that can't be read is none: the rows of others must go on, and a person must be able to give this one up.
fn found(columns: &Columns<'_>) -> rusqlite::Result<Found> {
    let millis = |index| columns.get::<_, Option<i64>>(index).ok().flatten().and_then(from_millis);
    let (word, is_success) = (read::shown(columns, 3)?, columns.get(9)?);
    Ok(Found {
        id: columns.get(0)?,
        fingerprint: read::shown(columns, 1)?,
        document: read::shown(columns, 2)?,
        row: Row {
            state: EntryState::read(&word, is_success),
            sent_at: millis(4).unwrap_or_default(),
            doubts: Doubts { unsettled_since: millis(5), turned_away_since: millis(6) },
            why: read::text_or_none(columns, 7).ok().flatten(),
            peer: read::text_or_none(columns, 8).ok().flatten(),
            is_success,
        },
        is_clear: columns.get(10)?,
        is_known: EntryState::from_word(&word).is_some(),
        access: read::text_or_none(columns, 11).ok().flatten(),
        is_after_another: columns.get(12)?,
    })
}
