//! The profiles that are compiled in, and how a profile file is read.

use super::{Profile, file, rules};
use serde::Deserialize as _;
use std::time::Duration;

/// Name and text of each compiled-in profile, sorted by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("autodesk", include_str!("profiles/autodesk.toml")),
    ("bearer-session", include_str!("profiles/bearer-session.toml")),
    ("cookie-session", include_str!("profiles/cookie-session.toml")),
    ("express-jwt", include_str!("profiles/express-jwt.toml")),
    ("generic", include_str!("profiles/generic.toml")),
    ("jwt-pair", include_str!("profiles/jwt-pair.toml")),
];

/// How long a token whose answer was lost rests, in a profile that doesn't say: longer than a token endpoint works on
/// one grant, and short beside everything that a person waits for.
pub(super) const fn settle_after() -> Duration {
    Duration::from_secs(2)
}

/// The usual names of two fields (RFC 6749 §2.3.1).
pub(super) fn client_id_name() -> String {
    "client_id".to_owned()
}

pub(super) fn client_secret_name() -> String {
    "client_secret".to_owned()
}

/// A profile that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No such compiled-in profile.
    #[error("there is no provider profile `{name}`; there are: {}", names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// A file that can't be read.
    #[error("the provider profile {path} can't be read")]
    Unread {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that isn't TOML.
    #[error("{path} line {line}: {problem}")]
    Syntax {
        /// Its path.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there; never the line itself, which may hold a secret.
        problem: String,
    },
    /// A file that lies over something that isn't there.
    #[error("the provider profile {path} has `extends = {found}`; there are: {}", names().collect::<Vec<_>>().join(", "))]
    Extends {
        /// Its path.
        path: String,
        /// What it names.
        found: String,
    },
    /// A rule that may not stand.
    #[error("the provider profile `{name}` can't be used")]
    Rule {
        /// The profile's name.
        name: String,
        /// Which rule, and why.
        #[source]
        source: rules::RuleError,
    },
    /// A value of the wrong type or an unknown key.
    #[error("the provider profile `{name}` can't be read")]
    Invalid {
        /// The profile's name.
        name: String,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
}

/// Names of the compiled-in profiles, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The TOML text of a compiled-in profile, with its comments.
pub fn text(name: &str) -> Result<&'static str, ProfileError> {
    BUILT_IN
        .iter()
        .find(|(built_in, _)| *built_in == name)
        .map(|(_, text)| *text)
        .ok_or_else(|| ProfileError::Unknown { name: name.to_owned() })
}

/// A profile as a table, so that the configuration's overrides can be laid over it: a compiled-in one, or a file.
pub fn table(name: &str) -> Result<toml::Table, ProfileError> {
    if file::is_file(name) {
        return file::table(name);
    }
    text(name)?
        .parse()
        .map_err(|source| ProfileError::Invalid { name: name.to_owned(), source: Box::new(source) })
}

/// The profile of that name, from its table; each rule by itself may stand.
pub fn read(name: &str, table: toml::Table) -> Result<Profile, ProfileError> {
    let profile = Profile::deserialize(table)
        .map_err(|source| ProfileError::Invalid { name: name.to_owned(), source: Box::new(source) })?;
    rules::check(&profile.answer.rules, profile.rotation)
        .map_err(|source| ProfileError::Rule { name: name.to_owned(), source })?;
    Ok(profile)
}

/// A profile: a compiled-in one, or a file.
pub fn load(name: &str) -> Result<Profile, ProfileError> {
    read(name, table(name)?)
}

/// Serde for a duration as people write it: `14d`, `60min`, `90s`.
pub mod duration {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `14days`.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads `14d`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            serde::de::Error::custom(format!(
                "`{text}` is not a duration ({error}): expected a number and a unit, like `90s`, `60min` or `14d`"
            ))
        })
    }
}

/// Serde for a duration that may be absent or `unknown`.
pub mod optional_duration {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `14days` or `unknown`.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_str("unknown"),
        }
    }

    /// Reads `14d` or `unknown`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim() == "unknown" {
            return Ok(None);
        }
        super::duration::deserialize(serde::de::value::StringDeserializer::new(text)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::rules::Meaning;

    #[test]
    fn every_built_in_profile_is_valid_and_names_its_sources() {
        for name in names() {
            let profile = load(name).unwrap();
            assert!(!profile.sources.is_empty(), "{name}");
            let answer = &profile.answer;
            let by_rule = |rule: &rules::Rule| matches!(rule.means, Meaning::Refused | Meaning::Suspected);
            let by_list = !answer.refused.is_empty() || !answer.suspected.is_empty();
            assert!(by_list || answer.rules.iter().any(by_rule), "{name} knows no dead token");
            assert!(profile.answer.error_code.iter().all(|pointer| pointer.starts_with('/')), "{name}");
        }
        assert!(names().is_sorted());
    }

    #[test]
    fn autodesk_is_as_its_reference_says() {
        let profile = load("autodesk").unwrap();
        assert_eq!(profile.refresh_token_lifetime, Some(Duration::from_hours(14 * 24)));
        assert_eq!(profile.access_token_lifetime, Some(Duration::from_hours(1)));
        assert_eq!(profile.rate.map(|rate| rate.to_string()).as_deref(), Some("400/min"));
        assert_eq!(profile.rotation, crate::provider::Rotation::SingleUse);
    }
}
