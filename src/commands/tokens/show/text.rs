//! What `tokens show` prints for people.

use super::{JournalSeen, ShownDocument, ShownUser};
use crate::clock::Timestamp;
use crate::commands::journal::ListedEntry;
use crate::commands::shown::{self, NOTHING};
use crate::config::Config;
use crate::token::LastError;

impl ShownUser {
    pub(super) fn text(&self, config: &Config, now: Timestamp) -> String {
        let parts = self.documents.iter().map(|document| document.text(&self.journal, config, now));
        let mut text = parts.collect::<Vec<_>>().join("\n\n");
        if self.more {
            text.push_str("\n\nmore documents have this subject; they are not shown");
        }
        text
    }
}

impl ShownDocument {
    fn text(&self, journal: &JournalSeen, config: &Config, now: Timestamp) -> String {
        let document = &self.document;
        let provider = document.provider.as_deref().map_or_else(
            || match config.provider_names.as_slice() {
                [only] if config.store.mapping.provider.is_none() => only.clone(),
                _ => NOTHING.to_owned(),
            },
            shown::plain,
        );
        let mut rows = vec![
            ("document", document.id.to_string()),
            ("provider", provider),
            ("state", self.state_text()),
            ("refreshed", ago(document.refreshed_at, now)),
            ("due", self.due_text(now)),
            ("token ends", utc(document.refresh_expires_at)),
        ];
        if document.login_ends_at.is_some() {
            rows.push(("login ends", utc(document.login_ends_at)));
        }
        rows.push(("failures", self.failures_text()));
        rows.push((
            "last error",
            document.last_error.as_ref().map_or_else(|| NOTHING.to_owned(), error_text),
        ));
        if let Some(lost) = document.last_error.as_ref().and_then(|error| error.lost.as_ref()) {
            let to =
                lost.peer.as_deref().map_or_else(String::new, |peer| format!(", to {}", shown::plain(peer)));
            let came = lost.received_bytes;
            let sent = utc(lost.sent_at);
            rows.push((
                "lost answer",
                format!("{}, sent {sent}{to}, {came} bytes came", shown::plain(&lost.cause)),
            ));
        }
        rows.push(("claim", self.claim_text(now)));
        rows.push(("journal", journal_text(journal, &self.journal, now)));
        rows.push(("why", self.why.clone()));
        rows.push(("next", self.next.clone()));
        let lines: Vec<_> = rows.into_iter().map(|(name, value)| format!("  {name:<12} {value}")).collect();
        format!("{}\n{}", document.subject, lines.join("\n"))
    }

    /// `2 passes in a row`; a pass that the provider rejected our client in leaves no error in the document.
    fn failures_text(&self) -> String {
        let document = &self.document;
        let passes = match document.failures {
            0 => return "none".to_owned(),
            1 => "1 pass without a new pair".to_owned(),
            many => format!("{many} passes in a row without a new pair"),
        };
        if document.last_error.is_some() {
            return passes;
        }
        format!(
            "{passes}, and none of them recorded an error of this token: the provider rejected the client, or the token had to wait (`evergrant check --probe-client` tries the client)"
        )
    }

    fn due_text(&self, now: Timestamp) -> String {
        let Some(wake) = self.next_wake else {
            return if self.left_out || !self.document.state.is_asked() {
                format!("{NOTHING} (no pass asks for it)")
            } else {
                utc(self.document.due_at)
            };
        };
        let wake = utc(Some(wake));
        let due = match self.document.due_at {
            None => return format!("now (it has no due date yet); the schedule wakes next at {wake}"),
            Some(at) if at <= now => {
                return format!("now, since {}; the schedule wakes next at {wake}", utc(Some(at)));
            }
            Some(at) => utc(Some(at)),
        };
        let why = if self.document.is_claimed(now) {
            " (then the claim ends)"
        } else if self.document.last_error.is_some() {
            " (put off after the last error)"
        } else if self.document.refreshed_at.is_some() {
            " (planned when it was refreshed)"
        } else {
            ""
        };
        format!("{due}{why}; the first wake after that is at {wake}")
    }

    fn claim_text(&self, now: Timestamp) -> String {
        let Some(lease) = &self.document.lease else { return "none".to_owned() };
        let (owner, until) = (shown::plain(&lease.owner), utc(Some(lease.until)));
        if lease.until > now {
            format!("held by {owner} until {until}")
        } else {
            format!("held by {owner} until {until}, which is over: the next pass may take it over")
        }
    }
}

fn utc(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NOTHING.to_owned(), |at| format!("{} UTC", shown::instant(Some(at))))
}

fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(
        || "never by Evergrant".to_owned(),
        |at| format!("{} ({} ago)", utc(Some(at)), shown::age(at, now)),
    )
}

/// `invalid_grant (refused, HTTP 400), at 2026-11-14 03:00 UTC`
fn error_text(error: &LastError) -> String {
    let status = error.http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let (code, class) = (shown::plain(&error.code), shown::plain(&error.class));
    format!("{code} ({class}{status}), at {}", utc(Some(error.at)))
}

fn journal_text(seen: &JournalSeen, entries: &[ListedEntry], now: Timestamp) -> String {
    let place = format!("the journal in {}", seen.state_dir.display());
    if let Some(problem) = &seen.problem {
        return format!("{place} can't be read: {problem}");
    }
    if !seen.exists {
        return format!("there is none in {}", seen.state_dir.display());
    }
    let held = seen.held_by.as_ref();
    let in_use = held.map_or_else(String::new, |holder| format!(" ({place} is in use by {holder})"));
    let mut lines = vec![match entries.len() as u64 {
        0 => format!("nothing{in_use}"),
        some => format!("{}{in_use}", shown::entries(some)),
    }];
    for entry in entries {
        let [meaning, next] = entry.state.explained(held.is_some());
        let why = entry.why.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
        let (sent, age) = (utc(Some(entry.sent_at)), shown::age(entry.sent_at, now));
        lines.push(format!(
            "entry {}, {}{why}, sent {sent} ({age} ago): {meaning}",
            entry.id,
            entry.state.word()
        ));
        lines.push(format!("  next: {next}"));
    }
    if seen.damaged > 0 {
        lines.push(format!(
            "{} that can't be read: `evergrant journal list`",
            shown::entries(seen.damaged as u64)
        ));
    }
    lines.join(&format!("\n{:15}", ""))
}
