//! A dead man's switch elsewhere, such as a check of healthchecks.io: told when a pass begins, and how it ended.

use super::{Event, SecretUrl, next_event, outbound};
use crate::failure::error_chain;
use crate::report::PassRecord;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;

/// Most bytes of a text that such a service keeps.
const MOST_BYTES: usize = 10_000;

/// What is told to the service.
#[derive(Debug, Default)]
pub struct Ping {
    /// The providers whose last pass didn't come through, and what it said: another one's success doesn't mend that.
    failing: BTreeMap<Arc<str>, String>,
}

impl Ping {
    /// Tells of each pass, until `ended`. No pass waits for it.
    pub async fn of_each_pass(
        mut self,
        url: SecretUrl,
        mut events: broadcast::Receiver<Event>,
        ended: CancellationToken,
    ) {
        while let Some(event) = next_event(&mut events, &ended).await {
            self.tell(&url, &event).await;
        }
    }

    /// Tells of one event. What fails is told in the log, and is no failure of a pass.
    pub async fn tell(&mut self, url: &SecretUrl, event: &Event) {
        let Some((suffix, id, text)) = self.signal(event) else { return };
        let url = signalled(&url.0, suffix, &id);
        if let Err(error) =
            outbound::send(outbound::Method::Post, &url, "text/plain; charset=utf-8", text).await
        {
            let host = url.host_str().unwrap_or_default();
            warn!(error = error_chain(&error), "`ping_url` at {host} could not be told about a pass");
        }
    }

    /// What is appended to the URL's path, the id of the pass, and the text.
    fn signal(&mut self, event: &Event) -> Option<(&'static str, String, String)> {
        Some(match event {
            Event::Surveyed => return None,
            Event::Begun { provider, started_at } => {
                ("start", id(provider, *started_at), format!("{provider}: a pass begins\n"))
            }
            Event::Ended { provider, started_at, record } => {
                let text = record.as_ref().map_or_else(
                    || format!("{provider}: the pass could not begin\n"),
                    |record| words(provider, record),
                );
                if record.as_ref().is_some_and(|record| record.complete) {
                    self.failing.remove(provider);
                } else {
                    self.failing.insert(provider.clone(), text.clone());
                }
                let suffix = if self.failing.is_empty() { "" } else { "fail" };
                let others = self.failing.iter().filter(|(name, _)| *name != provider);
                let mut text = others.fold(text, |text, (_, other)| text + "earlier: " + other);
                text.truncate(text.floor_char_boundary(MOST_BYTES));
                (suffix, id(provider, *started_at), text)
            }
        })
    }
}

/// One line of counts; no name of a user.
fn words(provider: &str, record: &PassRecord) -> String {
    let mut text = format!("{provider}: {}", record.result);
    for (outcome, count) in record.outcomes.iter().filter(|(_, count)| **count > 0) {
        // Into a string it never fails.
        let _ = write!(text, ", {count} {outcome}");
    }
    if !record.troubles.is_empty() {
        let _ = write!(text, "; {}", record.troubles.join(", "));
    }
    let took = (record.ended_at - record.started_at).num_seconds();
    let _ = writeln!(text, " ({took} s)");
    text
}

/// The id by which the service joins begin and end: the form of a UUID.
fn id(provider: &str, started_at: crate::clock::Timestamp) -> String {
    let digest = Sha256::digest(format!("{provider} {}", started_at.timestamp_micros()));
    let part = |from: usize, to: usize| {
        digest[from..to].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 16)
    )
}

/// The URL with a signal at the end of its path, and the id of the pass in its query.
fn signalled(url: &Url, suffix: &str, id: &str) -> Url {
    let mut url = url.clone();
    if !suffix.is_empty()
        && let Ok(mut path) = url.path_segments_mut()
    {
        path.pop_if_empty().push(suffix);
    }
    url.query_pairs_mut().append_pair("rid", id);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn ended(provider: &str, complete: bool) -> Event {
        let record = PassRecord {
            pass: "p".into(),
            started_at: Timestamp::default(),
            ended_at: Timestamp::default() + chrono::TimeDelta::seconds(7),
            result: if complete { "needs_login" } else { "unavailable" }.into(),
            complete,
            due: None,
            remaining_due: None,
            outcomes: [("refreshed".into(), 3), ("needs_login".into(), 1), ("held".into(), 0)].into(),
            newly_marked: BTreeMap::new(),
            still_due_reasons: BTreeMap::new(),
            grants: 4,
            troubles: if complete { Vec::new() } else { vec!["store".into()] },
        };
        Event::Ended {
            provider: provider.into(),
            started_at: Timestamp::default(),
            record: Some(Arc::new(record)),
        }
    }

    #[test]
    fn a_failure_stands_until_a_pass_of_the_same_provider_comes_through() {
        let mut ping = Ping::default();
        let (suffix, id, text) = ping.signal(&ended("crm", false)).unwrap();
        assert_eq!((suffix, &*text), ("fail", "crm: unavailable, 1 needs_login, 3 refreshed; store (7 s)\n"));
        let (suffix, other, text) = ping.signal(&ended("erp", true)).unwrap();
        assert_eq!(suffix, "fail", "the other one still fails");
        assert!(text.contains("earlier: crm: unavailable") && id != other, "{text}");
        // Users who must log in again are no failure.
        assert_eq!(ping.signal(&ended("crm", true)).unwrap().0, "");
        let not_begun =
            Event::Ended { provider: "crm".into(), started_at: Timestamp::default(), record: None };
        assert_eq!(ping.signal(&not_begun).unwrap().0, "fail");
    }

    #[test]
    fn a_signal_stands_at_the_end_of_the_path_and_the_id_in_the_query() {
        let url = Url::parse("https://hc-ping.com/abc/?create=1").unwrap();
        let begun = Event::Begun { provider: "crm".into(), started_at: Timestamp::default() };
        let (suffix, id, _) = Ping::default().signal(&begun).unwrap();
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(signalled(&url, suffix, "i").as_str(), "https://hc-ping.com/abc/start?create=1&rid=i");
        assert_eq!(signalled(&url, "", "i").as_str(), "https://hc-ping.com/abc/?create=1&rid=i");
    }
}
