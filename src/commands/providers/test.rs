//! `evergrant providers test`: is a profile whole, and are its own examples read as it says?

use crate::clock::Timestamp;
use crate::commands::shown;
use crate::config::{check_file, words};
use crate::exit::Exit;
use crate::grant::RawAnswer;
use crate::grant::answer::{Class, read_answer};
use crate::grant::headers::Headers;
use crate::provider::conflict::{Conflict, conflict};
use crate::provider::example::Example;
use crate::provider::{Profile, file};
use bytes::Bytes;
use serde::Serialize;
use std::fmt::Write as _;

/// What `providers test --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TestedProfile {
    /// The profile's name, or its file.
    pub name: String,
    /// Its examples, in their order.
    pub examples: Vec<TestedExample>,
    /// What a pass couldn't work with.
    pub problems: Vec<String>,
    /// What to add or to set, where nothing is wrong.
    pub hints: Vec<String>,
}

/// One example of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TestedExample {
    /// Its name.
    pub name: String,
    /// What it means, by the profile.
    pub means: String,
    /// What a pass takes it for.
    pub found: String,
    /// The code that a pass finds in it.
    pub code: String,
    /// Are they the same?
    pub holds: bool,
    /// The lives that a pass reads in it: `access token 1h`.
    pub lives: Vec<String>,
}

/// Reads each example as a pass would.
pub(super) fn tested(name: &str, profile: &Profile) -> TestedProfile {
    let examples: Vec<_> = profile.examples.iter().map(|example| read(example, profile)).collect();
    let clash = |Conflict { first, second, reason, hint }| {
        format!(
            "`{} = \"{}\"` contradicts `{} = \"{}\"`: {reason}; {hint}",
            first.0, first.1, second.0, second.1
        )
    };
    let mut hints = Vec::new();
    if profile.token_url.is_none() {
        hints.push("`token_url` is left to the settings".to_owned());
    }
    if let Some(lifetime) = profile.login_lifetime {
        hints.push(format!("a login ends {} after it began, and no refresh extends it", words(lifetime)));
    }
    let shows = |word: &str| examples.iter().any(|example| example.found == word);
    for (word, what) in [("granted", "a success"), ("refused", "a refusal of a dead token")] {
        if !shows(word) {
            hints.push(format!("no `[[example]]` shows {what}: add the answer as your server gives it, with `means = \"{word}\"`"));
        }
    }
    let mut problems: Vec<_> = conflict(profile).map(clash).into_iter().collect();
    if file::is_file(name)
        && let Ok(table) = crate::provider::profile::table(name)
        && let Err(error) = check_file(name, &table)
    {
        problems.push(error.to_string());
    }
    let odd = profile.examples.iter().filter(|example| !Class::WORDS.contains(&example.means.as_str()));
    problems.extend(odd.map(|example| {
        let (name, means) = (shown::plain(&example.name), shown::plain(&example.means));
        format!("the example `{name}` has `means = \"{means}\"`; there are: {}", Class::WORDS.join(", "))
    }));
    TestedProfile { name: name.to_owned(), examples, problems, hints }
}

fn read(example: &Example, profile: &Profile) -> TestedExample {
    let headers: Headers = example.fields().collect();
    // Points in time are measured against the day of the example, where it has one.
    let date = headers.all("date").next().and_then(|date| std::str::from_utf8(date).ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let received_at = date.map_or(Timestamp::UNIX_EPOCH, Timestamp::from);
    let body = Bytes::from(example.body.clone());
    let answer = RawAnswer { status: example.status, headers, body, complete: true, received_at };
    let reading = read_answer(&answer, profile, received_at);
    let found = reading.class.word();
    let holds = found == example.means && example.code.as_ref().is_none_or(|code| *code == reading.code);
    TestedExample {
        name: example.name.clone(),
        means: example.means.clone(),
        found: found.to_owned(),
        lives: lives(&reading.class),
        code: reading.code,
        holds,
    }
}

fn lives(class: &Class) -> Vec<String> {
    let Class::Granted(granted) = class else { return Vec::new() };
    let lives = [
        ("access token", granted.expires_in),
        ("refresh token", granted.refresh_expires_in),
        ("login", granted.login_expires_in),
    ];
    lives.into_iter().filter_map(|(what, life)| Some(format!("{what} {}", words(life?)))).collect()
}

impl TestedProfile {
    /// As for wrong settings, where something doesn't hold.
    pub(super) fn exit(&self) -> Exit {
        let holds = self.problems.is_empty() && self.examples.iter().all(|example| example.holds);
        if holds { Exit::Well } else { Exit::Usage }
    }

    /// A line for each example, then what is wrong and what is missing.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text can't fail.
        for TestedExample { name, means, found, code, holds, lives } in &self.examples {
            let name = shown::plain(name);
            let parts: Vec<_> = [""].into_iter().chain(lives.iter().map(String::as_str)).collect();
            let lives = parts.join(", ");
            let _ = match holds {
                true => writeln!(text, "ok      {name}: {found} ({code}){lives}"),
                false => writeln!(
                    text,
                    "WRONG   {name}: is {found} ({code}), and should be {means}",
                    means = shown::plain(means)
                ),
            };
        }
        for problem in &self.problems {
            let _ = writeln!(text, "WRONG   {problem}");
        }
        for hint in &self.hints {
            let _ = writeln!(text, "hint    {hint}");
        }
        let wrong = self.examples.iter().filter(|example| !example.holds).count() + self.problems.len();
        let examples = shown::count(self.examples.len() as u64, "example");
        let verdict = if wrong == 0 { "nothing is wrong".to_owned() } else { format!("{wrong} wrong") };
        let _ = write!(text, "{}: {examples}, {verdict}", self.name);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::json::assert_documented;
    use crate::provider::profile;

    fn with(more: &str) -> Profile {
        let mut table = profile::table("generic").unwrap();
        table.extend(more.parse::<toml::Table>().unwrap());
        profile::read("own", table).unwrap()
    }

    #[test]
    fn each_example_is_read_as_a_pass_would() {
        let profile = with(
            r#"
            token_url = "https://api.example.com/token"
            login_lifetime = "60d"
            [[example]]
            name = "success"
            status = 200
            headers = { Date = "Sat, 21 Nov 2026 03:00:00 GMT" }
            body = '{"access_token":"a","refresh_token":"r","expires_at":"2026-11-21T04:00:00Z","expires_in":1800}'
            means = "granted"
            [[example]]
            name = "dead"
            status = 400
            body = '{"error":"invalid_grant"}'
            means = "refused"
            code = "invalid_grant"
            [[example]]
            name = "limited"
            status = 429
            headers = { "Retry-After" = "5" }
            means = "transient"
            "#,
        );
        let mut profile = profile;
        profile.answer.expires_in = "/expires_at as date".parse().unwrap();
        let tested = tested("./own.toml", &profile);
        insta::assert_snapshot!(tested.text());
        assert_eq!(tested.exit(), Exit::Usage);
        assert_documented("providers test", &tested);
        assert_documented("providers test: examples[]", &tested.examples[0]);
    }

    #[test]
    fn what_is_missing_is_said_and_is_not_wrong() {
        let tested = tested("generic", &profile::load("generic").unwrap());
        insta::assert_snapshot!(tested.text());
        assert_eq!(tested.exit(), Exit::Well);
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_wrong() {
        let tested = tested("./own.toml", &with("request = { method = \"GET\" }"));
        assert!(tested.problems[0].contains("a GET has no body"), "{tested:?}");
        assert_eq!(tested.exit(), Exit::Usage);
    }

    #[test]
    fn the_examples_of_every_built_in_profile_hold() {
        for name in profile::names() {
            let tested = tested(name, &profile::load(name).unwrap());
            assert_eq!(tested.exit(), Exit::Well, "{}", tested.text());
        }
    }
}
