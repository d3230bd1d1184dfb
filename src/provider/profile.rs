//! The profiles that are compiled in, and how a profile file is read.

use super::{Profile, file, rules};
use serde::Deserialize as _;
use std::time::Duration;

macro_rules! built_in {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("profiles/", $name, ".toml")))),*]
    };
}

/// Name and text of each compiled-in profile, sorted by name.
const BUILT_IN: &[(&str, &str)] = built_in![
    "airtable",
    "atlassian",
    "auth0",
    "autodesk",
    "bearer-session",
    "bitbucket",
    "box",
    "clover",
    "coinbase",
    "cookie-session",
    "cybersource",
    "docusign",
    "dropbox",
    "ebay",
    "entra",
    "exact-online",
    "express-jwt",
    "flask-jwt-extended",
    "generic",
    "github-app",
    "gitlab",
    "google",
    "hubspot",
    "intuit",
    "jwt-pair",
    "keycloak",
    "linkedin",
    "miro",
    "netsuite",
    "notion",
    "okta",
    "procore",
    "ringcentral",
    "salesforce",
    "sentry",
    "shopify",
    "simplejwt",
    "slack",
    "snowflake",
    "spotify",
    "square",
    "tiktok",
    "x",
    "xero",
    "zendesk",
    "zoho",
    "zoom",
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
    #[error("there is no provider profile `{name}`: `evergrant providers list` shows them")]
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
    /// A file with a key that no profile has.
    #[error("{path} line {line}: there is no key `{key}` in a profile")]
    UnknownKey {
        /// Its path.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The key, with its tables.
        key: String,
        /// The known one that it may have been meant for.
        nearest: Option<String>,
    },
    /// A file that lies over something that isn't there.
    #[error(
        "the provider profile {path} has `extends = {found}`, and there is none of that name: `evergrant providers list` shows them"
    )]
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

    #[test]
    fn every_built_in_profile_is_valid_and_names_its_sources() {
        for name in names() {
            let profile = load(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(crate::provider::conflict::conflict(&profile), None, "{name}");
            assert!(!profile.sources.is_empty(), "{name}");
            let by_rule = |rule: &rules::Rule| {
                matches!(rule.means, rules::Meaning::Refused | rules::Meaning::Suspected)
            };
            let answer = &profile.answer;
            let knows_the_dead = !answer.refused.is_empty()
                || !answer.suspected.is_empty()
                || answer.rules.iter().any(by_rule);
            assert!(knows_the_dead, "{name}");
            assert!(answer.error_code.iter().all(|pointer| pointer.starts_with('/')), "{name}");
        }
        assert!(names().is_sorted());
    }

    /// No source that was found shows what these answer to a dead token: none of them marks a user at once.
    const FAILURE_NOT_FOUND: [&str; 4] = ["clover", "coinbase", "cybersource", "miro"];

    #[test]
    fn each_vendor_has_a_day_of_its_facts_and_examples_with_their_sources() {
        for name in names().filter(|name| *name != "generic") {
            let profile = load(name).unwrap();
            assert!(profile.checked.is_some(), "{name}");
            let shows = |is_success| {
                profile.examples.iter().any(|example| (example.means == "granted") == is_success)
            };
            let not_found = FAILURE_NOT_FOUND.contains(&name);
            assert_eq!((shows(true), shows(false)), (true, !not_found), "{name}: a success and a failure");
            assert!(!not_found || profile.answer.refused.is_empty(), "{name}");
            let is_a_kind = ["bearer-session", "cookie-session", "express-jwt", "jwt-pair"].contains(&name);
            let has_source = profile.examples.iter().all(|example| example.source.is_some());
            assert!(is_a_kind || has_source, "{name}");
        }
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
