//! Users whose login ends soon: no refresh moves that end, so they must be told in time.

use super::{MOST_NAMED, Report};
use crate::clock::Timestamp;
use crate::token::{Subject, TokenId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The least time before its end at which a login is named in a report. With a slow schedule it is longer: two wakes.
pub const ENDING_SOON: Duration = Duration::from_hours(7 * 24);

/// A user whose login ends soon, however often it is refreshed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// The `_id` of the document, as extended JSON.
    pub id: TokenId,
    /// Who.
    pub subject: Subject,
    /// At which provider; `null` where the document names none.
    pub provider: Option<String>,
    /// When the login ends, at the latest.
    pub ends_at: Timestamp,
}

/// Those whose login ends soonest, and how many there are in all. Memory must not grow with the collection.
#[derive(Debug, Default, Clone)]
pub(super) struct Endings {
    soonest: BTreeMap<(Timestamp, TokenId), Ending>,
    count: u64,
}

impl Endings {
    fn add(&mut self, ending: Ending) {
        let known = self.soonest.insert((ending.ends_at, ending.id.clone()), ending);
        self.count += u64::from(known.is_none());
        if self.soonest.len() > MOST_NAMED {
            self.soonest.pop_last();
        }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The soonest end first.
    pub(super) fn into_list(self) -> Vec<Ending> {
        self.soonest.into_values().collect()
    }
}

impl Report {
    /// A document whose login ends soon.
    pub fn ending(&self, ending: Ending) {
        self.lock().endings.add(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_soonest_ends_are_kept_all_are_counted_and_a_document_that_is_written_twice_counts_once() {
        let report = Report::new();
        let most = i64::try_from(MOST_NAMED).unwrap();
        for minutes in (0..most + 5).rev().chain([0]) {
            report.ending(Ending {
                id: TokenId::from_extended_json(minutes.to_string()),
                subject: Subject::new(&format!("user-{minutes}@example.com")),
                provider: None,
                ends_at: Timestamp::default() + TimeDelta::minutes(minutes),
            });
        }
        let summary = report.summary("c", Some(1), Timestamp::default(), Duration::ZERO);
        assert_eq!((summary.ending.len(), summary.ending_count), (MOST_NAMED, MOST_NAMED as u64 + 5));
        let minutes: Vec<_> = summary.ending.iter().map(|ending| ending.ends_at.timestamp() / 60).collect();
        assert_eq!(minutes, (0..most).collect::<Vec<_>>());
    }
}
