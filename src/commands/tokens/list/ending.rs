//! `evergrant tokens list --ending-within`: whose login ends soon, the soonest end first.

use super::{PAGE, Reader, Writer};
use crate::clock::Timestamp;
use crate::commands::tokens::state::ListedDocument;
use crate::commands::{CommandError, shown};
use crate::token::TokenId;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

/// Most documents in one list: it is sorted in memory, and a collection may be larger than that.
const MOST_LISTED: usize = 100_000;

/// The documents whose login ends soonest.
pub(super) struct Ending {
    /// The last moment that counts as soon.
    until: Timestamp,
    most: usize,
    soonest: BTreeMap<(Timestamp, TokenId), ListedDocument>,
    count: u64,
}

impl Ending {
    /// Those that end within that time from now; at most `limit` of them are listed.
    pub(super) fn new(now: Timestamp, within: Duration, limit: Option<NonZeroU64>) -> Self {
        let within = TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(within).unwrap_or(Timestamp::MAX_UTC);
        let limit = limit.and_then(|limit| usize::try_from(limit.get()).ok());
        let most = limit.map_or(MOST_LISTED, |limit| limit.min(MOST_LISTED));
        Self { until, most, soonest: BTreeMap::new(), count: 0 }
    }

    /// Takes a document if its login ends in that time; one whose user must log in already is left out.
    pub(super) fn take(&mut self, document: ListedDocument) {
        let Some(end) = document.login_ends_at.filter(|end| *end <= self.until) else { return };
        if !document.state.is_asked() {
            return;
        }
        self.count += 1;
        self.soonest.insert((end, document.id.clone()), document);
        if self.soonest.len() > self.most {
            self.soonest.pop_last();
        }
    }

    /// Writes the list, with the totals below it.
    pub(super) fn write(self, writer: &mut Writer) -> Result<(), CommandError> {
        writer.totals.ending = Some(self.count);
        let documents: Vec<_> = self.soonest.into_values().collect();
        for page in documents.chunks(PAGE) {
            if shown::write(&writer.page(page)?)? == Reader::Gone {
                return Ok(());
            }
        }
        // A reader that is gone now has all of the list.
        let _: Reader = shown::write(&writer.end(false)?)?;
        Ok(())
    }
}

impl Writer {
    /// How many logins end in that time, and whether all of them are listed; `None` without `--ending-within`.
    pub(super) fn ending_text(&self) -> Option<String> {
        let ending = self.totals.ending?;
        let ends = if ending == 1 { "login ends" } else { "logins end" };
        let cut = if ending > self.listed {
            format!("; the list ends after the first {}", self.listed)
        } else {
            String::new()
        };
        Some(format!("{ending} {ends} in this time{cut}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;
    use crate::commands::tokens::state::tests::{at, document, listed, marked};
    use crate::token::{Bookkeeping, State};

    fn ends(id: &str, end: Option<&str>, bookkeeping: Bookkeeping) -> ListedDocument {
        let mut document = document(Ok("a"), bookkeeping);
        document.id = TokenId::from_extended_json(id);
        document.facts.login_ends_at = end.map(at);
        listed(document)
    }

    fn documents() -> [ListedDocument; 6] {
        let new = |id, end| ends(id, end, Bookkeeping::default());
        [
            new("1", Some("2026-12-01T00:00:00Z")),
            new("2", Some("2026-11-22T00:00:00Z")),
            new("3", Some("2026-12-05T03:00:00Z")),
            new("4", Some("2026-12-05T03:00:01Z")),
            ends("5", Some("2026-11-22T00:00:00Z"), marked(State::NeedsLogin, "invalid_grant", Some("a"))),
            new("6", None),
        ]
    }

    fn list(limit: Option<u64>, format: Format) -> (Vec<String>, String) {
        let now = at("2026-11-21T03:00:00Z");
        let mut ending = Ending::new(now, Duration::from_hours(14 * 24), limit.and_then(NonZeroU64::new));
        let mut writer = Writer::new(format, false, now);
        for document in documents() {
            writer.count(&document);
            ending.take(document);
        }
        let ids = ending.soonest.values().map(|document| document.id.to_string()).collect();
        writer.totals.ending = Some(ending.count);
        let page: Vec<_> = ending.soonest.into_values().collect();
        (ids, [writer.page(&page).unwrap(), writer.end(false).unwrap()].concat())
    }

    #[test]
    fn the_soonest_end_comes_first_and_who_must_log_in_already_or_ends_later_is_not_listed() {
        let (ids, text) = list(None, Format::Text);
        assert_eq!(ids, ["2", "1", "3"]);
        insta::assert_snapshot!(text);
        let (_, text) = list(None, Format::Json);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["documents"][0]["login_ends_at"], "2026-11-22T00:00:00Z", "{json}");
        assert_eq!((&json["totals"]["ending"], &json["totals"]["documents"]), (&3.into(), &6.into()));
    }

    #[test]
    fn a_limit_keeps_the_soonest_and_all_are_counted() {
        let (ids, text) = list(Some(2), Format::Text);
        assert_eq!(ids, ["2", "1"]);
        assert!(text.contains("3 logins end in this time; the list ends after the first 2\n"), "{text}");
    }

    #[test]
    fn the_longest_time_that_can_be_asked_for_lists_every_end() {
        let mut ending = Ending::new(at("2026-11-21T03:00:00Z"), Duration::MAX, None);
        for document in documents() {
            ending.take(document);
        }
        assert_eq!(ending.count, 4);
    }
}
