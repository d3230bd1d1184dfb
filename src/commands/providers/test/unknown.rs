//! Answers that any server may give, and that few profiles know: a person sees that none of them marks a user.

use crate::clock::Timestamp;
use crate::commands::providers::reading;
use crate::grant::RawAnswer;
use crate::provider::Profile;
use crate::store::mapping::Mapping;
use bytes::Bytes;
use serde::Serialize;

/// What they are, their status, their body, and whether it is whole.
const ANSWERS: [(&str, u16, &str, bool); 12] = [
    ("200 without tokens", 200, "{\"ok\":true}", true),
    ("400 with an unknown text", 400, UNKNOWN, true),
    ("401 with an unknown text", 401, UNKNOWN, true),
    ("403 with an unknown text", 403, UNKNOWN, true),
    ("404", 404, UNKNOWN, true),
    ("410", 410, UNKNOWN, true),
    ("429", 429, "", true),
    ("500", 500, UNKNOWN, true),
    ("503", 503, "", true),
    ("200 with a page", 200, "<!DOCTYPE html><html><body>Sign in</body></html>", true),
    ("200 with an empty body", 200, "", true),
    ("200 with a cut body", 200, "{\"status\":\"o", false),
];

const UNKNOWN: &str = "{\"message\":\"a text that no profile knows\"}";

/// Such an answer, as a pass reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct UnknownAnswer {
    /// What it is.
    pub answer: &'static str,
    /// What a pass takes it for.
    pub found: &'static str,
    /// The code that a pass finds in it.
    pub code: String,
    /// Does it say that a login is over, now or on a second occasion?
    pub marks: bool,
}

/// All of them.
pub(super) fn all(profile: &Profile, mapping: &Mapping, now: Timestamp) -> Vec<UnknownAnswer> {
    let read = |(answer, status, body, complete): (&'static str, u16, &'static str, bool)| {
        let raw = RawAnswer {
            status,
            headers: std::iter::empty::<(&str, &str)>().collect(),
            body: Bytes::from_static(body.as_bytes()),
            complete,
            received_at: now,
        };
        let reading = reading::read(answer, &raw, profile, mapping, now);
        let marks = reading.may_mark();
        UnknownAnswer { answer, found: reading.found, code: reading.code, marks }
    };
    ANSWERS.into_iter().map(read).collect()
}

impl UnknownAnswer {
    /// A row of the table.
    pub(super) fn cells(&self) -> [String; 4] {
        let marks = if self.marks { "if it happens again" } else { "no" };
        [self.answer.to_owned(), self.found.to_owned(), self.code.clone(), marks.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;

    #[test]
    fn the_help_says_what_each_status_alone_means() {
        use crate::provider::ClientAuth;
        let (_, table) = crate::help::OWN_SERVER.split_once("| status alone | means |\n|---|---|\n").unwrap();
        let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
        let class = |status: u16, client_auth| {
            let profile = Profile { client_auth, ..profile::load("generic").unwrap() };
            let headers = std::iter::empty::<(&str, &str)>().collect();
            let (body, received_at) = (Bytes::from_static(UNKNOWN.as_bytes()), Timestamp::UNIX_EPOCH);
            let raw = RawAnswer { status, headers, body, complete: true, received_at };
            reading::read("a", &raw, &profile, &Mapping::default(), received_at).found
        };
        let mut told = std::collections::BTreeSet::new();
        for row in rows {
            let [statuses, means] = row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..]
            else {
                panic!("{row}")
            };
            let word = means.split('`').nth(1).unwrap();
            let auth = if statuses.contains("no_client") { ClientAuth::NoClient } else { ClientAuth::Basic };
            let named: Vec<u16> =
                statuses.split([',', ' ']).filter_map(|status| status.parse().ok()).collect();
            for status in &named {
                assert_eq!(class(*status, auth), word, "{row}");
            }
            if auth == ClientAuth::Basic {
                told.extend(named);
            }
        }
        for status in 400..600 {
            let rest = if status < 500 { "unlisted" } else { "ambiguous" };
            let found = class(status, ClientAuth::Basic);
            assert!(
                found == rest || told.contains(&status),
                "{status} is {found}, and the table has no row for it"
            );
        }
    }

    #[test]
    fn none_marks_a_user_by_any_built_in_profile() {
        for name in profile::names() {
            let profile = profile::load(name).unwrap();
            for answer in all(&profile, &Mapping::default(), Timestamp::UNIX_EPOCH) {
                // Its shape: a session server says nothing but 401; two occasions, and never by one alone.
                let is_told = name == "bearer-session" && answer.found == "suspected";
                assert!(!answer.marks || is_told, "{name}: {answer:?}");
            }
        }
    }
}
