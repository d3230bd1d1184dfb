//! Writing an answer into a profile file, as an `[[example]]`.

use crate::clock::Timestamp;
use crate::commands::CommandError;
use crate::commands::providers::reading::ReadAnswer;
use crate::grant::answer::read_answer;
use crate::grant::mask::MaskedAnswer;
use crate::provider::Provider;
use crate::provider::example::{Example, FieldTexts};
use crate::provider::place::{AnswerPlace, AnswerPlaces};
use crate::provider::rules::RulePlace;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Header fields that say what an answer means; the others are the server's own affair.
const TELLING: [&str; 4] = ["content-type", "retry-after", "set-cookie", "www-authenticate"];

#[derive(Serialize)]
struct Examples {
    example: Vec<Example>,
}

/// Adds the answer at the end of the file, which may be absent; returns the file's name.
///
/// # Errors
/// [`CommandError`], and the file stays as it was: where the answer holds a pair or means something else without its
/// tokens, and where the file is no TOML or has its examples in another form.
pub(super) fn save(
    path: &Path,
    masked: &MaskedAnswer,
    reading: &ReadAnswer,
    provider: &Provider,
    now: Timestamp,
) -> Result<String, CommandError> {
    let name = path.display().to_string();
    let refused = |why: &str, hint: &str| {
        Err(CommandError::usage(format!("nothing is written into {name}: {why}"), hint))
    };
    if reading.found == "granted" {
        return refused("the provider granted a made-up token", "is `token_url` the right server?");
    }
    let again = read_answer(&masked.raw(), &provider.profile, now);
    if again.class.word() != reading.found || masked.without_body || !masked.complete {
        return refused(
            "without its tokens, or in a text, the answer means something else",
            "write the `[[example]]` by hand",
        );
    }
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CommandError::io(format!("read {name}"))(error)),
    };
    let example = Examples { example: vec![example(masked, reading, provider, now)] };
    let added = toml::to_string(&example)
        .map_err(|error| CommandError::Internal(format!("the example can't be written as TOML: {error}")))?;
    let separator = match &*before {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    let text = format!("{before}{separator}{added}");
    // Without the library's words: they quote the file.
    if before.parse::<toml::Table>().is_err() {
        return refused("it is no TOML", "`evergrant providers test` says in which line");
    }
    if text.parse::<toml::Table>().is_err() {
        return refused("its examples have another form", "write each as a table: `[[example]]`");
    }
    std::fs::write(path, text).map_err(CommandError::io(format!("write {name}")))?;
    Ok(name)
}

fn example(masked: &MaskedAnswer, reading: &ReadAnswer, provider: &Provider, now: Timestamp) -> Example {
    let answer = &provider.profile.answer;
    let places = |places: &AnswerPlaces| places.0.clone();
    let conditions = answer.rules.iter().flat_map(|rule| rule.conditions.keys().cloned());
    let of_rules = conditions.filter_map(|place| match place {
        RulePlace::Place(place) => Some(place),
        RulePlace::Body => None,
    });
    let named: Vec<_> = [places(&answer.access_token), places(&answer.refresh_token)]
        .concat()
        .into_iter()
        .chain(of_rules)
        .filter_map(|place| match place {
            AnswerPlace::Header(name) => Some(name),
            AnswerPlace::Pointer(_) | AnswerPlace::Cookie(_) => None,
        })
        .collect();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &masked.headers {
        if TELLING.contains(&name.as_str()) || named.contains(name) {
            headers.entry(name.clone()).or_default().push(value.clone());
        }
    }
    let texts = |mut texts: Vec<String>| match texts.len() {
        1 => FieldTexts::One(texts.remove(0)),
        _ => FieldTexts::Many(texts),
    };
    let at = now.format("%Y-%m-%d");
    Example {
        name: format!("made-up token, {at}"),
        status: masked.status,
        headers: headers.into_iter().map(|(name, values)| (name, texts(values))).collect(),
        body: masked.body.clone(),
        means: reading.found.to_owned(),
        code: Some(reading.code.clone()),
        source: Some(format!("evergrant providers try --made-up, {at}")),
    }
}
