//! The keys of the journal, tried at its opening: every secret is opened, and sealed with the current key.

use super::{Rows, read};
use crate::journal::seal::{Closed, Part, Seal};
use crate::journal::{JournalError, KeyProblem};
use rusqlite::{Row as Columns, params};

/// In `meta`, while a key is set: what is in the clear from then on was put there by something else. It guards against
/// mistakes only: a program that can write the file can remove it.
const SEALED: &str = "sealed";

/// In `meta`: the key with which all kept pairs are sealed.
const KEPT_BY: &str = "kept_by";

/// Kept pairs that are sealed in one commit: the log stays short, and a start that is cut off goes on where it was.
pub(super) const KEPT_AT_ONCE: usize = 2000;

/// What was found of the secrets.
#[derive(Default)]
struct Found {
    no_key: u64,
    wrong_key: u64,
    /// Was something sealed?
    changed: bool,
}

/// The secrets of a row, opened or sealed anew; never shown.
#[derive(Default)]
pub(super) struct Secrets {
    pub(super) sent: Option<Vec<u8>>,
    pub(super) headers: Option<Vec<u8>>,
    pub(super) body: Option<Vec<u8>>,
}

/// What became of the secrets of one row.
enum Tried {
    /// They are as they should be.
    Fine,
    /// They are opened, and to be sealed with the current key.
    Seal(Secrets),
    /// They don't open.
    Closed(Closed),
}

impl Rows {
    /// Opens every sealed secret of the rows, and seals each anew that isn't sealed with the current key; without one all stay
    /// as they are. Tells whether something was sealed.
    pub(super) fn seal_entries(&mut self) -> Result<bool, JournalError> {
        let was_sealed = self.find("SELECT 1 FROM meta WHERE key = ?1", [SEALED], |_| Ok(()))?.is_some();
        let mut found = Found::default();
        self.seal_table("entries", was_sealed, &mut found, (i64::MIN, usize::MAX))?;
        if let Some(problem) = KeyProblem::of(found.no_key, found.wrong_key) {
            return Err(JournalError::Sealed { file: self.file.clone(), problem });
        }
        let sql = if self.seal.encrypts() {
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, 1)"
        } else {
            "DELETE FROM meta WHERE key = ?1"
        };
        self.run("note that it is encrypted", sql, [SEALED])?;
        Ok(found.changed)
    }

    /// Does the same with the kept pairs, once with each key: there may be a million of them.
    ///
    /// One that doesn't open keeps no start from its work. It is of no use until its key is set again, and goes by its age.
    pub(super) fn seal_kept(&mut self) -> Result<(), JournalError> {
        let key = self.seal.key_name();
        let kept_by =
            self.find("SELECT value FROM meta WHERE key = ?1", [KEPT_BY], |row| read::shown(row, 0))?;
        if kept_by.as_ref() == Some(&key) {
            return Ok(());
        }
        let was_sealed = kept_by.is_some_and(|kept_by| kept_by != Seal::default().key_name());
        let (mut found, mut next) = (Found::default(), Some(i64::MIN));
        while let Some(after) = next {
            self.begin(true)?;
            next = self.seal_table("kept", was_sealed, &mut found, (after, KEPT_AT_ONCE))?;
            let closed = found.no_key + found.wrong_key;
            if next.is_none() && closed == 0 {
                let note = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
                self.run("note the key of what it keeps", note, params![KEPT_BY, key])?;
            } else if next.is_none() {
                tracing::warn!(
                    "{closed} kept pairs in {} don't open with the keys that are set: they can't go back into documents that lose them; \
                     set `journal_old_keys` to the key before, or let them go by their age (`keep_pairs`)",
                    self.file.display()
                );
            }
            self.commit()?;
            if found.changed {
                self.empty_log()?;
            }
        }
        Ok(())
    }

    /// Tries up to `most` rows behind one; behind which it goes on, where there may be more.
    fn seal_table(
        &mut self,
        table: &str,
        was_sealed: bool,
        found: &mut Found,
        (mut after, most): (i64, usize),
    ) -> Result<Option<i64>, JournalError> {
        for _ in 0..most {
            let Some((id, tried)) = self.next_secrets(table, after, was_sealed)? else { return Ok(None) };
            after = id;
            match tried {
                Tried::Fine => {}
                Tried::Closed(Closed::NoKey) => found.no_key += 1,
                Tried::Closed(Closed::UnknownKey) => found.wrong_key += 1,
                // A damaged row does not stop the others: it stays as it is, and recovery names it. Its key may go, too.
                Tried::Closed(Closed::Tampered) => {
                    let mark = format!("UPDATE {table} SET sealed = 2 WHERE id = ?1");
                    self.run("note a damaged answer", &mark, [id])?;
                }
                Tried::Seal(Secrets { sent, headers, body }) => {
                    let seal = format!(
                        "UPDATE {table} SET sent = coalesce(?2, sent), headers = ?3, body = ?4, sealed = 1 WHERE id = ?1"
                    );
                    self.run("encrypt its answers", &seal, params![id, sent, headers, body])?;
                    found.changed = true;
                }
            }
        }
        Ok(Some(after))
    }

    /// The secrets of the next row behind `after` that has some, and isn't known to be damaged.
    fn next_secrets(
        &self,
        table: &str,
        after: i64,
        was_sealed: bool,
    ) -> Result<Option<(i64, Tried)>, JournalError> {
        let sql = format!(
            "SELECT {} FROM {table}
             WHERE coalesce(body, sent) IS NOT NULL AND id > ?1 AND coalesce(sealed, 0) != 2 ORDER BY id LIMIT 1",
            read::SECRETS
        );
        // A row that can't be read doesn't stop the others either.
        let unreadable = if self.seal.encrypts() { Tried::Closed(Closed::Tampered) } else { Tried::Fine };
        self.find(&sql, [after], |row| Ok((row.get(0)?, self.tried(row, was_sealed).unwrap_or(unreadable))))
    }

    fn tried(&self, row: &Columns<'_>, was_sealed: bool) -> rusqlite::Result<Tried> {
        let is_clear = read::is_clear(row)?;
        let secrets = match read::secrets(row, &self.seal)? {
            Ok(secrets) => secrets,
            Err(closed) => return Ok(Tried::Closed(closed)),
        };
        let is_ours = is_clear && !was_sealed;
        let is_old = !is_clear && !read::is_current(row, &self.seal)?;
        let is_nothing = secrets.sent.is_none() && secrets.body.is_none();
        if !self.seal.encrypts() || !(is_ours || is_old) || is_nothing {
            return Ok(Tried::Fine);
        }
        let place = read::place(row, read::SECRETS_PLACE)?;
        let head = read::head_of(row);
        let close =
            |secret: Option<Vec<u8>>, part| secret.map(|secret| self.seal.close(&secret, place, part));
        let sent = close(secrets.sent, Part::Sent);
        let headers = close(secrets.headers, Part::Headers(head));
        let body = close(secrets.body, Part::Body(head, headers.as_deref().unwrap_or_default()));
        Ok(Tried::Seal(Secrets { sent, headers, body }))
    }
}

impl KeyProblem {
    /// What is wrong with the keys. `no_key` rows need one and none is set; `wrong_key` rows open with none of those set.
    pub(super) const fn of(no_key: u64, wrong_key: u64) -> Option<Self> {
        match (no_key, wrong_key) {
            (0, 0) => None,
            (0, wrong_key) => Some(Self::WrongKey(wrong_key)),
            (no_key, _) => Some(Self::NoKey(no_key)),
        }
    }
}
