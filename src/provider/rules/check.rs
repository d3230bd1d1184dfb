//! Which rules may stand: one that says too little of an answer would mark the wrong user, or lose a token. Pure.

use super::{Meaning, Pattern, Rule, Status};
use crate::provider::Rotation;
use std::time::Duration;

/// A rule that would mark a user by mistake, or that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} of `answer.rules` (`means = \"{means}\"`) {fault}")]
pub struct RuleError {
    /// Its place in the list, from 1.
    pub number: usize,
    means: &'static str,
    fault: &'static str,
}

/// Longest `wait` of a rule: as long as a `Retry-After` is heeded. A token that rests for longer may end meanwhile.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What a 5xx of a provider that rotates may mean.
const fn may_follow_a_5xx(means: Meaning, has_evidence: bool) -> bool {
    match means {
        Meaning::Ambiguous | Meaning::Throttled => true,
        Meaning::Suspected => has_evidence,
        Meaning::Refused | Meaning::ClientRejected | Meaning::Transient | Meaning::Unlisted => false,
    }
}

/// Checks each rule by itself.
///
/// # Errors
/// The first one that may not stand.
pub fn check(rules: &[Rule], rotation: Rotation) -> Result<(), RuleError> {
    for (number, rule) in (1..).zip(rules) {
        if let Some(fault) = fault(rule, rotation) {
            return Err(RuleError { number, means: rule.means.word(), fault });
        }
    }
    Ok(())
}

fn fault(rule: &Rule, rotation: Rotation) -> Option<&'static str> {
    let Rule { status, conditions, means, code, wait, pause } = rule;
    if status.is_empty() && conditions.is_empty() {
        return Some("has neither `status` nor `where`, and would stand for every answer");
    }
    let has_evidence = conditions.iter().any(|(place, wanted)| wanted.says_enough(place));
    let rotates = rotation != Rotation::None;
    if *means == Meaning::Refused && !has_evidence {
        return Some(
            "says too little to mark a user: `where` must name a whole text or a number (no status) in the JSON body, or at least \
             12 characters beside the `*`, and no word of everybody's like `Unauthorized`. `suspected` may say less",
        );
    }
    if status.hold_a_5xx() && rotates && !may_follow_a_5xx(*means, has_evidence) {
        return Some(
            "can't stand for a 5xx of a provider that rotates tokens: the answer may be a lost one. There `means` is `ambiguous`, \
             `throttled`, or `suspected` with a text that says so; or set `rotation = \"none\"` if asking again costs nothing",
        );
    }
    if status.hold_a_2xx() && rotates && *means != Meaning::Ambiguous && !has_evidence {
        return Some(
            "says too little of a 2xx, which may hold a new token: name the text of the error in `where`, or a `status` of 400 and \
             above",
        );
    }
    if conditions
        .values()
        .any(|wanted| wanted.0.is_empty() || wanted.0.contains(&Pattern::Text(String::new())))
    {
        return Some("has an empty value in `where`, which nothing fits");
    }
    if status.0.contains(&Status::Exactly(429)) && *means != Meaning::Throttled {
        return Some("can't give 429 another meaning than `throttled`");
    }
    if wait.is_some() && !matches!(means, Meaning::Throttled | Meaning::Transient) {
        return Some("has a `wait`, which only `throttled` and `transient` take");
    }
    if wait.is_some_and(|wait| wait > LONGEST_WAIT) {
        return Some(
            "has a `wait` of more than 24 hours, and a token may end before it is asked for again: set 24h or less (ten minutes are \
             `10min` or `10m`; `10M` are ten months)",
        );
    }
    if pause.is_some() && *means != Meaning::Throttled {
        return Some("has a `pause`, which only `throttled` takes");
    }
    let plain = |code: &String| {
        let signs = code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
        signs && (1..=32).contains(&code.len())
    };
    (!code.as_ref().is_none_or(plain))
        .then_some("has a `code` that isn't one: 1 to 32 letters, digits and `_-.:`")
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_rule_that_could_mark_the_wrong_one_is_refused() {
        for (text, words) in [
            (r#"{ status = 401, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/ok" = false }, means = "refused" }"#, "says too little"),
            (r#"{ where = { body = "expired" }, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/message" = "*expired*" }, means = "refused" }"#, "says too little"),
            (
                r#"{ where = { "/message" = ["Refresh token expired", "*"] }, means = "refused" }"#,
                "says too little",
            ),
            (r#"{ where = { "/message" = [] }, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/message" = "" }, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/statusCode" = 401 }, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/message" = "Unauthorized" }, means = "refused" }"#, "says too little"),
            (r#"{ where = { "/status" = "error" }, means = "refused" }"#, "says too little"),
            (
                r#"{ where = { "header:content-type" = "application/json" }, means = "refused" }"#,
                "says too little",
            ),
            (r#"{ where = { "cookie:a" = "a long text of theirs" }, means = "refused" }"#, "says too little"),
            (r#"{ status = "2xx", means = "transient" }"#, "2xx"),
            (r#"{ where = { "/message" = "*" }, means = "transient" }"#, "2xx"),
            (r#"{ status = 500, means = "transient" }"#, "5xx"),
            (r#"{ status = "5xx", means = "suspected" }"#, "5xx"),
            (r#"{ status = "5xx", where = { "/e" = "dead" }, means = "unlisted" }"#, "5xx"),
            (r#"{ status = 400, where = { "/e" = "" }, means = "transient" }"#, "nothing fits"),
            (r#"{ status = 500, where = { "/e" = "dead" }, means = "refused" }"#, "5xx"),
            (r#"{ status = ["4xx", "5xx"], where = { "/e" = "dead" }, means = "refused" }"#, "5xx"),
            (r#"{ means = "transient" }"#, "every answer"),
            (r#"{ status = 429, means = "transient" }"#, "429"),
            (r#"{ status = 401, means = "suspected", wait = "1min" }"#, "`wait`"),
            (r#"{ status = 401, means = "transient", pause = "token" }"#, "`pause`"),
            (r#"{ status = 401, means = "transient", wait = "10M" }"#, "`10M` are ten months"),
            (r#"{ status = 429, means = "throttled", wait = "24h 1s" }"#, "more than 24 hours"),
            (r#"{ status = 401, means = "suspected", code = "two words" }"#, "`code`"),
        ] {
            let error = check(&rules(text).unwrap(), Rotation::SingleUse).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("rule 1 of `answer.rules`"), "{text}: {error}");
        }
        let dead = rules(r#"{ status = 500, where = { "/e" = "dead" }, means = "refused" }"#).unwrap();
        assert_eq!(check(&dead, Rotation::None), Ok(()), "asking costs nothing there");
    }

    #[test]
    fn rules_of_the_field_are_taken() {
        let text = r#"
            { status = 403, where = { "/message" = "Refresh token was expired*" }, means = "refused", code = "expired" },
            { status = [400, 401], where = { "/error" = "unauthorized_client", "/error_description" = "Old refresh token*" }, means = "refused" },
            { where = { "/error_codes" = [700082, 50173] }, means = "refused", code = "AADSTS_ended" },
            { status = 200, where = { "/ok" = false, "/error" = "invalid_refresh_token" }, means = "suspected" },
            { where = { "/error" = "ratelimited" }, means = "throttled", wait = "1min", pause = "token" },
            { status = 401, means = "suspected", code = "http_401" },
            { where = { "/error_description" = "*access_token not expired*" }, means = "transient", wait = "10min" },
            { where = { "/error" = "quota_of_the_day" }, means = "throttled", wait = "24h" },
            { status = ["4xx", 500], where = { body = "*JsonWebTokenError: *" }, means = "suspected" },
            { status = 403, where = { "header:www-authenticate" = "*refresh token has expired*" }, means = "refused", code = "expired" },
            { where = { body = "*TokenExpiredError: jwt expired*" }, means = "refused", code = "jwt_expired" },
        "#;
        let read = rules(text).unwrap();
        assert_eq!(check(&read, Rotation::SingleUse), Ok(()));
        assert_eq!(read[4].wait, Some(Duration::from_mins(1)));
        let written = toml::to_string(&BTreeMap::from([("rules", &read)])).unwrap();
        let table: BTreeMap<String, Vec<Rule>> = toml::from_str(&written).unwrap();
        assert_eq!(table["rules"], read, "{written}");
    }
}
