//! What may go wrong with a profile, and is allowed.

use super::unknown::UnknownAnswer;
use super::{ReadAnswer, TestedExample};
use crate::commands::shown;
use crate::provider::rules::Meaning;
use crate::provider::{Profile, Rotation};

/// Each warning as a sentence.
pub(super) fn warnings(
    profile: &Profile,
    examples: &[TestedExample],
    answers: &[ReadAnswer],
    unknown: &[UnknownAnswer],
) -> Vec<String> {
    let mut warnings = Vec::new();
    let readings = || examples.iter().map(|example| &example.reading).chain(answers);
    for reading in readings() {
        let name = shown::plain(&reading.name);
        for place in &reading.unnamed {
            let place = shown::plain(place);
            warnings.push(format!(
                "{name}: a text at `{place}` could be a token, and no key names it: if it is the refresh token, set `answer.refresh_token`"
            ));
        }
        let is_granted_without = reading.found == "granted" && reading.refresh_token.is_none();
        if is_granted_without && profile.rotation != Rotation::None {
            warnings.push(format!(
                "{name}: holds no refresh token, and `rotation` says that a new one comes each time: the old one is kept"
            ));
        }
    }
    for (number, rule) in (1..).zip(&profile.answer.rules) {
        if rule.means == Meaning::Suspected && rule.conditions.is_empty() {
            warnings.push(format!(
                "`answer.rules`, rule {number}: a status alone is `suspected`: a fault of the server marks users after two occasions"
            ));
        }
        if rule.status.hold_a_5xx() {
            warnings.push(format!(
                "`answer.rules`, rule {number}: it reads a 5xx: the server may have processed the request all the same"
            ));
        }
    }
    if profile.request.url_holds_secrets() {
        warnings.push(
            "the URL holds a token or a secret: servers and proxies write URLs into their logs".to_owned(),
        );
    }
    for answer in unknown.iter().filter(|answer| answer.marks) {
        warnings
            .push(format!("{}: is {}: it marks users who did nothing wrong", answer.answer, answer.found));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::{Beside, tested};
    use crate::clock::Timestamp;
    use crate::provider::profile;

    #[test]
    fn each_danger_is_warned_of_and_is_not_wrong() {
        let mut table = profile::table("generic").unwrap();
        table.extend(
            r#"
            token_url = "https://api.example.com/token"
            url_holds_secrets = true
            request = { refresh_token = "query:t" }
            [[example]]
            name = "simple"
            status = 200
            headers = { Set-Cookie = "sid=4fK9-xQ2_mB7zT1wLc8R; Path=/" }
            body = '{"access_token":"a","refresh":"4fK9-xQ2_mB7zT1wLc8R","token_expires":"2026-11-21T03:00:00.123Z"}'
            means = "granted"
            "#
            .parse::<toml::Table>()
            .unwrap(),
        );
        let rules: toml::Table = r#"
            rules = [{ status = 401, means = "suspected" }, { status = 500, where = { "/message" = "jwt expired*" }, means = "ambiguous" }]
            "#
        .parse()
        .unwrap();
        table.get_mut("answer").unwrap().as_table_mut().unwrap().extend(rules);
        let profile = profile::read("own", table).unwrap();
        let tested = tested("own", &profile, &Beside::default(), Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(tested.warnings.join("\n"));
    }
}
