//! `evergrant providers test`: is a profile whole, what does it send, and are answers read as it says?

mod document;
mod unknown;
mod warnings;

use super::reading::{self, ReadAnswer};
use super::shown_request::{self, HostileToken, ShownRequest};
use crate::cli::ProviderTestArgs;
use crate::clock::Timestamp;
use crate::commands::{CommandError, Surroundings, shown};
use crate::config::{check_file, words};
use crate::exit::Exit;
use crate::grant::RawAnswer;
use crate::grant::answer::Class;
use crate::grant::captured::captured;
use crate::grant::headers::Headers;
use crate::provider::conflict::{Conflict, conflict};
use crate::provider::example::Example;
use crate::provider::{Profile, file};
use crate::store::mapping::Mapping;
use crate::token::Facts;
use bytes::Bytes;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use unknown::UnknownAnswer;

/// Length of the made-up refresh token: 32 random bytes in base64url.
const MADE_UP_CHARACTERS: usize = 43;

/// What `providers test --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TestedProfile {
    /// The profile's name, or its file.
    pub name: String,
    /// The request, without its secrets; `null` where `token_url` is no URL.
    pub request: Option<ShownRequest>,
    /// What becomes of a token with every sign that could be taken for something else.
    pub hostile: Option<HostileToken>,
    /// Its examples, in their order.
    pub examples: Vec<TestedExample>,
    /// The captured answers, in the order in which they were named.
    pub answers: Vec<ReadAnswer>,
    /// Answers that profiles seldom know, and what a pass takes them for.
    pub unknown: Vec<UnknownAnswer>,
    /// What a pass couldn't work with.
    pub problems: Vec<String>,
    /// What may go wrong, and is allowed.
    pub warnings: Vec<String>,
    /// What to add or to set, where nothing is wrong.
    pub hints: Vec<String>,
}

/// One example of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TestedExample {
    /// What it means, by the profile.
    pub means: String,
    /// Is it found so?
    pub holds: bool,
    /// What a pass makes of it.
    #[serde(flatten)]
    pub reading: ReadAnswer,
}

/// What is read beside the profile.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// How long the token of the document is, or why it can't be sent.
    document: Option<Result<usize, String>>,
    /// Captured answers by the names of their files.
    answers: Vec<(String, RawAnswer)>,
    /// The fields of documents.
    mapping: Mapping,
}

/// Tests the profile with what the arguments name.
pub(super) fn run(
    args: &ProviderTestArgs,
    profile: &Profile,
    surroundings: &Surroundings,
) -> Result<Exit, CommandError> {
    let now = surroundings.clock.now();
    let mapping = document::mapping(surroundings.global.config.as_deref(), &surroundings.global.set)?;
    let document = args.document.as_deref();
    let document = document.map(|path| document::token_length(path, &mapping, profile)).transpose()?;
    let answers = args.answers.iter().map(|path| capture(path, now)).collect::<Result<_, _>>()?;
    let tested = tested(&args.name, profile, &Beside { document, answers, mapping }, now);
    surroundings.print(&tested.text(), &tested)?;
    Ok(tested.exit())
}

fn capture(path: &Path, now: Timestamp) -> Result<(String, RawAnswer), CommandError> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(CommandError::io(format!("read {name}")))?;
    match captured(&text, now) {
        Ok(answer) => Ok((name, answer)),
        Err(error) => Err(CommandError::usage(
            format!("{name} is no captured answer: {error}"),
            "write it with `curl -i … > answer.http`, or with `evergrant journal capture ID > answer.http`",
        )),
    }
}

/// Reads each example and each captured answer as a pass would.
pub(super) fn tested(name: &str, profile: &Profile, beside: &Beside, now: Timestamp) -> TestedProfile {
    let read = |example: &Example| example_as_read(example, profile, &beside.mapping, now);
    let examples: Vec<_> = profile.examples.iter().map(read).collect();
    let answers: Vec<_> = beside
        .answers
        .iter()
        .map(|(name, answer)| reading::read(name, answer, profile, &beside.mapping, now))
        .collect();
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
    let shows = |word: &str| examples.iter().any(|example| example.reading.found == word);
    for (word, what) in [("granted", "a success"), ("refused", "a refusal of a dead token")] {
        if !shows(word) {
            hints.push(format!("no `[[example]]` shows {what}: add the answer as your server gives it, with `means = \"{word}\"`"));
        }
    }
    let conflict = conflict(profile);
    let can_be_sent = conflict.is_none();
    let mut problems: Vec<_> = conflict.map(clash).into_iter().collect();
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
    let (mut request, mut hostile) = (None, None);
    let characters = match &beside.document {
        Some(Err(problem)) => {
            problems.push(problem.clone());
            MADE_UP_CHARACTERS
        }
        Some(Ok(characters)) => *characters,
        None => MADE_UP_CHARACTERS,
    };
    match shown_request::made_up(name, profile) {
        Ok(provider) if can_be_sent => {
            let found = shown_request::hostile(&provider);
            if !found.arrives {
                problems.push(found.text());
            }
            (request, hostile) =
                (Some(shown_request::shown(&provider, characters, &Facts::default())), Some(found));
        }
        Ok(_) => {}
        Err(error) => problems.push(format!("`token_url` is no URL: {error}")),
    }
    let unknown = unknown::all(profile, &beside.mapping, now);
    let warnings = warnings::warnings(profile, &examples, &answers, &unknown);
    let name = name.to_owned();
    TestedProfile { name, request, hostile, examples, answers, unknown, problems, warnings, hints }
}

fn example_as_read(example: &Example, profile: &Profile, mapping: &Mapping, now: Timestamp) -> TestedExample {
    let headers: Headers = example.fields().collect();
    // Points in time are measured against the day of the example, where it has one.
    let date = headers.all("date").next().and_then(|date| std::str::from_utf8(date).ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let received_at = date.map_or(Timestamp::UNIX_EPOCH, Timestamp::from);
    let answer = RawAnswer {
        status: example.status,
        headers,
        body: Bytes::from(example.body.clone()),
        complete: true,
        received_at,
    };
    let reading = reading::read(&example.name, &answer, profile, mapping, now);
    let means = &example.means;
    let holds = reading.found == means && example.code.as_ref().is_none_or(|code| *code == reading.code);
    TestedExample { means: means.clone(), holds, reading }
}

impl TestedProfile {
    /// As for wrong settings, where something doesn't hold.
    pub(super) fn exit(&self) -> Exit {
        let holds = self.problems.is_empty() && self.examples.iter().all(|example| example.holds);
        if holds { Exit::Well } else { Exit::Usage }
    }

    /// The request, what is made of each answer, then what is wrong and what is missing.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a text can't fail.
        if let Some(request) = &self.request {
            let _ = writeln!(text, "request\n{}\n", request.text());
        }
        if let Some(hostile) = &self.hostile {
            let _ = writeln!(text, "hostile {}\n", hostile.text());
        }
        for TestedExample { means, holds, reading } in &self.examples {
            let ReadAnswer { name, found, code, .. } = reading;
            let name = shown::plain(name);
            let verdict = if *holds {
                format!("ok      {name}: {found} ({code})")
            } else {
                format!("WRONG   {name}: is {found} ({code}), and should be {}", shown::plain(means))
            };
            let _ = writeln!(text, "{verdict}{}", reading.details());
        }
        for reading in &self.answers {
            let ReadAnswer { name, status, found, code, .. } = reading;
            let _ = writeln!(text, "answer  {name} (HTTP {status}): {found} ({code}){}", reading.details());
        }
        let rows = self.unknown.iter().map(UnknownAnswer::cells);
        let table = shown::columns(["ANSWER", "CLASS", "CODE", "MARKS A USER"], rows);
        let _ = writeln!(text, "\nanswers that a server also gives:\n{table}\n");
        for problem in &self.problems {
            let _ = writeln!(text, "WRONG   {problem}");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning {warning}");
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

    fn tested_alone(name: &str, profile: &Profile) -> TestedProfile {
        tested(name, profile, &Beside::default(), "2026-11-21T03:00:00Z".parse().unwrap())
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
        let tested = tested_alone("./own.toml", &profile);
        insta::assert_snapshot!(tested.text());
        assert_eq!(tested.exit(), Exit::Usage);
        assert_documented("providers test", &tested);
        assert_documented("providers test: examples[]", &tested.examples[0]);
        assert_documented("providers test: request", tested.request.as_ref().unwrap());
        assert_documented("providers test: hostile", tested.hostile.as_ref().unwrap());
        assert_documented("providers test: unknown[]", &tested.unknown[0]);
        let beside = Beside {
            answers: vec![("a.http".into(), captured(b"HTTP/1.1 200\n\n{}", Timestamp::UNIX_EPOCH).unwrap())],
            ..Beside::default()
        };
        let answers = super::tested("./own.toml", &profile, &beside, Timestamp::UNIX_EPOCH).answers;
        assert_documented("providers test: answers[]", &answers[0]);
    }

    #[test]
    fn what_is_missing_is_said_and_is_not_wrong() {
        let tested = tested_alone("generic", &profile::load("generic").unwrap());
        insta::assert_snapshot!(tested.text());
        assert_eq!(tested.exit(), Exit::Well);
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_wrong() {
        let tested = tested_alone("./own.toml", &with("request = { method = \"GET\" }"));
        assert!(tested.problems[0].contains("a GET has no body"), "{tested:?}");
        assert_eq!(tested.exit(), Exit::Usage);
    }

    #[test]
    fn the_examples_of_every_built_in_profile_hold() {
        for name in profile::names() {
            let tested = tested_alone(name, &profile::load(name).unwrap());
            assert_eq!(tested.exit(), Exit::Well, "{}", tested.text());
        }
    }
}
