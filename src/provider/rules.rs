//! Rules: what an answer means, by its status and by what stands at its places. As data; nothing here reads an answer.

mod check;

use super::place::AnswerPlace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use check::{RuleError, check};

/// Fewest characters between the stars of a text that may mark a user: fewer could stand in anybody's answer.
const FEWEST_CHARS_OF_A_REFUSAL: usize = 12;

/// Texts that stand in anybody's error, of a wrong client and of a firewall too.
const GENERIC: [&str; 14] = [
    "error",
    "fail",
    "failed",
    "failure",
    "false",
    "unauthorized",
    "forbidden",
    "bad request",
    "not found",
    "access denied",
    "invalid request",
    "internal server error",
    "unauthenticated",
    "authentication failed",
];

/// What an answer means, if it has this status and these values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Statuses; empty is any 2xx or 4xx.
    #[serde(default, skip_serializing_if = "Statuses::is_empty")]
    pub status: Statuses,
    /// What stands at each of these places.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<RulePlace, Wanted>,
    /// What follows.
    pub means: Meaning,
    /// The word for reports and documents, of letters, digits and `_-.:`; else the text that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For `throttled` and `transient`: wait at least so long. A `transient` with a wait goes to a later pass and is no
    /// failure: the token was asked for too early.
    #[serde(default, with = "super::profile::optional_duration", skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// For `throttled`: what waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

/// What waits after a throttled answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// All requests to the provider.
    #[default]
    Provider,
    /// All requests to the host. A provider has one host, so it is the same as [`Pause::Provider`].
    Host,
    /// This token alone, until a later pass. The provider's pace doesn't change.
    Token,
}

/// What a rule says of an answer without a pair. That it holds a pair is no rule's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// This refresh token is dead.
    Refused,
    /// It may be dead: marked when it is refused so on two occasions.
    Suspected,
    /// The client registration or our request is wrong: it says nothing of the token.
    ClientRejected,
    /// Too many requests.
    Throttled,
    /// Not processed: the same token later.
    Transient,
    /// It may have been processed.
    Ambiguous,
    /// Not now: the next pass asks again.
    Unlisted,
}

/// Where a rule looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RulePlace {
    /// `/a/b`, `cookie:NAME`, `header:NAME`.
    Place(AnswerPlace),
    /// `body`: the first 64 KiB of the body as a text.
    Body,
}

impl TryFrom<String> for RulePlace {
    type Error = super::place::PlaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "body" { Ok(Self::Body) } else { text.parse().map(Self::Place) }
    }
}

impl From<RulePlace> for String {
    fn from(place: RulePlace) -> Self {
        match place {
            RulePlace::Body => "body".to_owned(),
            RulePlace::Place(place) => place.to_string(),
        }
    }
}

/// Statuses of a rule: `401`, `"4xx"`, or a list of such. Empty is any 2xx or 4xx.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Statuses(#[serde(with = "super::one_or_many")] pub Vec<Status>);

impl Statuses {
    /// Does it say nothing?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is this status one of them?
    #[must_use]
    pub fn hold(&self, status: u16) -> bool {
        if self.is_empty() {
            return matches!(status, 200..300 | 400..500);
        }
        self.0.iter().any(|known| match known {
            Status::Exactly(known) => *known == status,
            Status::Hundred(hundred) => *hundred == status / 100,
        })
    }

    /// Is a success among them?
    fn hold_a_2xx(&self) -> bool {
        self.is_empty()
            || self.0.iter().any(|known| match known {
                Status::Exactly(known) => (200..300).contains(known),
                Status::Hundred(hundred) => *hundred == 2,
            })
    }

    /// Is a status of a server in trouble (5xx) among them?
    #[must_use]
    pub fn hold_a_5xx(&self) -> bool {
        self.0.iter().any(|known| match known {
            Status::Exactly(known) => *known >= 500,
            Status::Hundred(hundred) => *hundred >= 5,
        })
    }
}

/// One status, or a hundred of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StatusText", into = "StatusText")]
pub enum Status {
    /// `401`.
    Exactly(u16),
    /// `"4xx"`, as 4.
    Hundred(u16),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StatusText {
    Number(u16),
    Text(String),
}

impl TryFrom<StatusText> for Status {
    type Error = String;

    fn try_from(text: StatusText) -> Result<Self, String> {
        let expected = |found: &dyn fmt::Display| {
            format!(
                "`{found}` is no HTTP status: expected a number from 200 to 599, or `\"2xx\"` to `\"5xx\"`"
            )
        };
        match text {
            StatusText::Number(status @ 200..=599) => Ok(Self::Exactly(status)),
            StatusText::Number(other) => Err(expected(&other)),
            StatusText::Text(text) => match text.as_bytes() {
                [hundred @ b'2'..=b'5', b'x', b'x'] => Ok(Self::Hundred((hundred - b'0').into())),
                _ => Err(expected(&text)),
            },
        }
    }
}

impl From<Status> for StatusText {
    fn from(status: Status) -> Self {
        match status {
            Status::Exactly(status) => Self::Number(status),
            Status::Hundred(hundred) => Self::Text(format!("{hundred}xx")),
        }
    }
}

/// What must stand at a place: one of these. In a profile a text, a number, `true` or `false`, or a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wanted(#[serde(with = "super::one_or_many")] pub Vec<Pattern>);

/// One value that a rule looks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Pattern {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text, whole and with the case of its letters; a `*` at its beginning or end stands for anything.
    Text(String),
}

impl Pattern {
    /// Is this text the one?
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let Self::Text(pattern) = self else { return false };
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
            (Some(end), None) => text.ends_with(end),
            (None, Some(beginning)) => text.starts_with(beginning),
            (None, None) => text == pattern,
        }
    }

    /// The text as it may be shown: all of it stands in the profile. Empty where a star stands for what came.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) if !text.starts_with('*') && !text.ends_with('*') => text.clone(),
            Self::Text(_) | Self::Number(_) | Self::Flag(_) => String::new(),
        }
    }

    /// Does it say enough to decide about a token, where it stands?
    fn is_evidence(&self, place: &RulePlace) -> bool {
        let at_a_pointer = matches!(place, RulePlace::Place(AnswerPlace::Pointer(_)));
        match self {
            Self::Flag(_) => false,
            // A status within the body says no more than the status.
            Self::Number(number) => at_a_pointer && !(100..600).contains(number),
            Self::Text(text) => {
                let literal = text.trim_matches('*');
                let is_whole = literal.len() == text.len() && at_a_pointer && !literal.is_empty();
                let is_generic = GENERIC.iter().any(|word| literal.eq_ignore_ascii_case(word));
                let in_the_head = !at_a_pointer && *place != RulePlace::Body;
                let is_challenge = matches!(place, RulePlace::Place(AnswerPlace::Header(name)) if name == "www-authenticate");
                let is_long = literal.chars().count() >= FEWEST_CHARS_OF_A_REFUSAL;
                !is_generic && (is_whole || is_long) && (!in_the_head || is_challenge)
            }
        }
    }
}

impl Wanted {
    /// Does each of its values say enough to decide about a token, at that place?
    #[must_use]
    pub fn says_enough(&self, place: &RulePlace) -> bool {
        !self.0.is_empty() && self.0.iter().all(|one| one.is_evidence(place))
    }
}

impl Meaning {
    /// The word in a profile.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Suspected => "suspected",
            Self::ClientRejected => "client_rejected",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Unlisted => "unlisted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn rules(text: &str) -> Result<Vec<Rule>, String> {
        let table: toml::Table =
            format!("rules = [{text}]").parse().map_err(|error: toml::de::Error| error.to_string())?;
        table["rules"].clone().try_into().map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_is_expected() {
        for (text, words) in [
            (r#"{ status = 999, means = "transient" }"#, "no HTTP status"),
            (r#"{ status = "40x", means = "transient" }"#, "no HTTP status"),
            (r#"{ status = 401, means = "granted" }"#, "unknown variant `granted`"),
            (r#"{ where = { message = "a" }, means = "transient" }"#, "is not a place in an answer"),
            (r#"{ status = 401, meens = "transient" }"#, "unknown field `meens`"),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_anything_at_an_end_and_for_itself_within() {
        let fits = |pattern: &str, text: &str| Pattern::Text(pattern.to_owned()).fits(text);
        for (pattern, text, expected) in [
            ("expired", "expired", true),
            ("expired", "Expired", false),
            ("expired", "expired ", false),
            ("Token was*", "Token was expired", true),
            ("*was expired", "Token was expired", true),
            ("*was*", "Token was expired", true),
            ("*", "anything", true),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!Pattern::Number(1).fits("1") && !Pattern::Flag(true).fits("true"));
    }

    #[test]
    fn a_rule_without_a_status_is_about_2xx_and_4xx() {
        let statuses =
            |text: &str| rules(&format!("{{ {text} means = \"transient\" }}")).unwrap().remove(0).status;
        for (text, holds, not) in [
            ("", vec![200, 204, 400, 403, 499], vec![302, 500, 503]),
            ("status = 403,", vec![403], vec![400, 404, 200]),
            ("status = \"5xx\",", vec![500, 599], vec![499]),
            ("status = [401, \"2xx\"],", vec![401, 200], vec![400]),
        ] {
            assert!(holds.iter().all(|status| statuses(text).hold(*status)), "{text}");
            assert!(not.iter().all(|status| !statuses(text).hold(*status)), "{text}");
        }
    }
}
