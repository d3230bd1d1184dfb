//! What a profile's rules say of an answer without a pair.

use super::Class;
use super::code::shown_code;
use super::found::{Found, Source};
use crate::grant::body::text_of;
use crate::provider::place::{AnswerPlace, AnswerPlaces};
use crate::provider::rules::{Meaning, Pattern, Pause, Rule, RulePlace, Wanted};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
use std::time::Duration;

/// How much of a body a rule looks through, in bytes.
const LOOKED_THROUGH_BYTES: usize = 64 * 1024;

/// A rule that an answer fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    /// Which rule of the profile, from 1.
    pub(super) number: usize,
    pub(super) class: Class,
    pub(super) code: String,
    /// Did the provider's own JSON decide, and not the status or a page of anybody's?
    pub(super) by_content: bool,
    /// How long this token alone rests, if so.
    pub(super) rests: Option<Duration>,
}

/// The first rule that fits; `wait` is what the answer itself says.
pub(super) fn by_rule(
    rules: &[Rule],
    status: u16,
    source: Source<'_>,
    text: &[u8],
    wait: Option<Duration>,
) -> Option<Ruled> {
    (1..).zip(rules).find_map(|(number, rule): (usize, _)| {
        // 429 has one meaning; a rule may say how long.
        if !rule.status.hold(status) || (status == 429 && rule.means != Meaning::Throttled) {
            return None;
        }
        let mut matched = Vec::new();
        for (place, wanted) in &rule.conditions {
            matched.push(fitting(place, wanted, source, text)?);
        }
        let class = match rule.means {
            Meaning::Refused => Class::Refused,
            Meaning::Suspected => Class::Suspected,
            Meaning::ClientRejected => Class::ClientRejected,
            Meaning::Throttled => Class::Throttled(rule.wait.max(wait)),
            Meaning::Transient => Class::Transient,
            Meaning::Ambiguous => Class::Ambiguous,
            Meaning::Unlisted => Class::Unlisted,
        };
        let by_content = rule.conditions.iter().any(|(place, wanted)| {
            matches!(place, RulePlace::Place(AnswerPlace::Pointer(_))) && wanted.says_enough(place)
        });
        let found = || matched.into_iter().find(|text| !text.is_empty() && shown_code(text) == text);
        let code = rule.code.clone().or_else(found).unwrap_or_else(|| format!("rule_{number}"));
        let rests = match (rule.means, rule.pause) {
            (Meaning::Transient, _) => rule.wait,
            (Meaning::Throttled, Some(Pause::Token)) => rule.wait.max(wait).or(Some(Duration::ZERO)),
            _ => None,
        };
        Some(Ruled { number, class, code, by_content, rests })
    })
}

/// The text that fits at a place, if the rule itself has all of it: another one may be a token. `None` where nothing fits.
fn fitting(place: &RulePlace, wanted: &Wanted, source: Source<'_>, text: &[u8]) -> Option<String> {
    match place {
        // What had to be mended may be anybody's.
        RulePlace::Place(AnswerPlace::Pointer(pointer)) if source.body.is_well_formed() => {
            let value = source.body.value()?.pointer(pointer)?;
            wanted.0.iter().find_map(|pattern| value_fits(pattern, value))
        }
        RulePlace::Place(AnswerPlace::Pointer(_)) => None,
        RulePlace::Place(place) => {
            let Found::Token(found) = source.token(&AnswerPlaces(vec![place.clone()])) else { return None };
            let found = Zeroizing::new(found);
            wanted.0.iter().find(|pattern| pattern.fits(&found)).map(Pattern::shown)
        }
        RulePlace::Body => {
            let text = text_of(&text[..text.len().min(LOOKED_THROUGH_BYTES)])?;
            // All of a body is never a code.
            wanted.0.iter().any(|pattern| pattern.fits(&text)).then(String::new)
        }
    }
}

/// At an array, one of its elements must fit.
fn value_fits(pattern: &Pattern, value: &Value) -> Option<String> {
    match (pattern, value) {
        (pattern, Value::Array(items)) => items.iter().find_map(|item| value_fits(pattern, item)),
        (pattern @ Pattern::Text(_), Value::String(text)) => pattern.fits(text).then(|| pattern.shown()),
        (Pattern::Number(wanted), Value::Number(number)) => {
            (number.as_i64() == Some(*wanted)).then(|| number.to_string())
        }
        (Pattern::Flag(wanted), Value::Bool(flag)) => (wanted == flag).then(String::new),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::body::Body;
    use crate::grant::headers::Headers;

    fn ruled(rules: &str, status: u16, body: &str, fields: &[(&str, &str)]) -> Option<(String, String)> {
        let table: toml::Table = format!("rules = [{rules}]").parse().unwrap();
        let rules: Vec<Rule> = table["rules"].clone().try_into().unwrap();
        let headers: Headers = fields.iter().copied().collect();
        let at = crate::clock::Timestamp::UNIX_EPOCH;
        let source = Source {
            body: &Body::read(body.as_bytes()),
            headers: &headers,
            at,
            clock_ahead: chrono::TimeDelta::zero(),
        };
        let ruled = by_rule(&rules, status, source, body.as_bytes(), Some(Duration::from_secs(5)))?;
        let class = match &ruled.class {
            Class::Throttled(wait) => format!("throttled {}", wait.unwrap_or_default().as_secs()),
            class => class.word().to_owned(),
        };
        Some((class, ruled.code))
    }

    #[test]
    fn a_rule_says_whether_the_token_rests_alone_and_for_how_long() {
        let rests = |rule: &str, wait: Option<u64>| {
            let table: toml::Table = format!("rules = [{rule}]").parse().unwrap();
            let rules: Vec<Rule> = table["rules"].clone().try_into().unwrap();
            let headers = Headers::default();
            let at = crate::clock::Timestamp::UNIX_EPOCH;
            let source = Source {
                body: &Body::read(b"{}"),
                headers: &headers,
                at,
                clock_ahead: chrono::TimeDelta::zero(),
            };
            let ruled = by_rule(&rules, 400, source, b"{}", wait.map(Duration::from_secs)).unwrap();
            ruled.rests.map(|rest| rest.as_secs())
        };
        for (rule, wait, expected) in [
            ("{ status = 400, means = \"transient\" }", Some(5), None),
            ("{ status = 400, means = \"transient\", wait = \"10min\" }", Some(5), Some(600)),
            ("{ status = 400, means = \"throttled\", wait = \"10min\" }", None, None),
            ("{ status = 400, means = \"throttled\", wait = \"10min\", pause = \"host\" }", None, None),
            (
                "{ status = 400, means = \"throttled\", wait = \"10min\", pause = \"token\" }",
                Some(5),
                Some(600),
            ),
            ("{ status = 400, means = \"throttled\", pause = \"token\" }", Some(5), Some(5)),
            ("{ status = 400, means = \"throttled\", pause = \"token\" }", None, Some(0)),
        ] {
            assert_eq!(rests(rule, wait), expected, "{rule}");
        }
    }

    #[test]
    fn the_first_rule_of_which_everything_fits_decides() {
        let rules = r#"
            { status = 403, where = { "/message" = "Refresh token was expired*" }, means = "refused", code = "expired" },
            { where = { "/ok" = false, "/error" = ["invalid_refresh_token", "revoked"] }, means = "suspected" },
            { where = { "/error_codes" = [700082, 50173] }, means = "refused" },
            { where = { "/error" = "ratelimited" }, means = "throttled", wait = "1min" },
            { where = { "/error" = "slow" }, means = "throttled" },
            { status = "5xx", where = { body = "*JsonWebTokenError: *" }, means = "suspected", code = "jwt_rejected" },
            { where = { "header:x-error" = "dead" }, means = "client_rejected" },
            { where = { "/message" = "a free text*" }, means = "transient" },
            { where = { "/id" = "AB12*" }, means = "transient" },
            { status = 401, means = "unlisted" },
        "#;
        let fields = [("x-error", "dead")];
        for (status, body, fields, expected) in [
            (
                403,
                r#"{"message":"Refresh token was expired. Please"}"#,
                &[][..],
                Some(("refused", "expired")),
            ),
            (401, r#"{"message":"Refresh token was expired. Please"}"#, &[], Some(("unlisted", "rule_10"))),
            (200, r#"{"ok":false,"error":"revoked"}"#, &[], Some(("suspected", "revoked"))),
            (200, r#"{"ok":true,"error":"revoked"}"#, &[], None),
            (400, r#"{"error_codes":[1,50173]}"#, &[], Some(("refused", "50173"))),
            (400, r#"{"error_codes":["50173"]}"#, &[], None),
            (400, r#"{"error":"ratelimited"}"#, &[], Some(("throttled 60", "ratelimited"))),
            (400, r#"{"error":"slow"}"#, &[], Some(("throttled 5", "slow"))),
            (500, "<pre>JsonWebTokenError: jwt malformed</pre>", &[], Some(("suspected", "jwt_rejected"))),
            (502, "<pre>something else</pre>", &[], None),
            (400, "", &fields, Some(("client_rejected", "dead"))),
            (400, r#"{"message":"a free text with a name"}"#, &[], Some(("transient", "rule_8"))),
            (400, r#"{"id":"AB12-CD34-EF56"}"#, &[], Some(("transient", "rule_9"))),
            (429, r#"{"error":"ratelimited"}"#, &[], Some(("throttled 60", "ratelimited"))),
            (429, r#"{"error":"revoked","ok":false}"#, &[], None),
            // What had to be mended says nothing.
            (403, "{\"message\":\"Refresh token was expired\"} and more", &[], None),
        ] {
            let expected = expected.map(|(class, code)| (class.to_owned(), code.to_owned()));
            assert_eq!(ruled(rules, status, body, fields), expected, "{status} {body}");
        }
    }
}
