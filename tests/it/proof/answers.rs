//! Bad answers, and the one class that each of them gets.

mod anything;
mod codes;
mod codings;
mod no_text;
mod statuses;
mod successes;
mod values;

use super::shapes::shape;
use bytes::Bytes;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::answer::{Reading, read_answer};
use evergrant::testing::grant::headers::Headers;
use evergrant::testing::provider::{Profile, profile};
use evergrant::testing::token::{Code, Word};

const PAIR: &str = r#"{"access_token":"a-1","refresh_token":"r-1","expires_in":3599}"#;
const DEAD: &str = r#"{"error":"invalid_grant"}"#;
const PORTAL: &str =
    "<!DOCTYPE html><html><title>Sign in to the Wi-Fi</title><script>access_token=1</script>";
const WAF: &str = "<html><h1>Request blocked</h1>invalid_grant</html>";

fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

fn raw(status: u16, body: impl Into<Bytes>) -> RawAnswer {
    RawAnswer { status, headers: Headers::default(), body: body.into(), complete: true, received_at: now() }
}

fn reading(answer: &RawAnswer, name: &str) -> Reading {
    let profile = Profile { answer: shape(name), ..profile::load("generic").unwrap() };
    read_answer(answer, &profile, now())
}

/// Every row that isn't as it should be, in one failure.
fn check<'a>(rows: impl IntoIterator<Item = (String, Reading, &'a str, &'a str)>, at_least: usize) {
    let (mut rows_seen, mut wrong) = (0, Vec::new());
    for (row, reading, class, code) in rows {
        rows_seen += 1;
        if (reading.class.word(), reading.code.as_str()) != (class, code) {
            wrong.push(format!(
                "{row}\n  is {} ({}), not {class} ({code})",
                reading.class.word(),
                reading.code
            ));
        }
        // A code of ours is one that help explains; another one is the provider's own, which is never made of words of ours.
        let ours = Word::<Code>::read(&reading.code);
        let of_the_provider = reading.code.starts_with("http_")
            || row.contains(&reading.code)
            || shape("generic").refused.contains(&reading.code);
        if matches!(ours, Word::Other(_)) && reading.code != "granted" && !of_the_provider {
            wrong.push(format!(
                "{row}\n  has the code {}, which `evergrant help reasons` doesn't explain",
                reading.code
            ));
        }
    }
    assert!(rows_seen >= at_least, "{rows_seen} rows");
    assert!(wrong.is_empty(), "{} of {rows_seen}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A profile, a status and a body, and the class and code that they have.
type Row = (&'static str, u16, &'static str, &'static str, &'static str);

/// A table of many rows, each as it should be.
fn check_table(table: &[Row]) {
    let rows = table.iter().map(|(profile, status, body, class, code)| {
        let read = reading(&raw(*status, *body), profile);
        (format!("{profile} {status} {body}"), read, *class, *code)
    });
    check(rows, 20);
}
