//! What can be wrong with a configuration, in words for the person who wrote it.

use super::keys;
use crate::failure::Advice;
use crate::provider::profile::ProfileError;
use std::borrow::Cow;
use std::path::PathBuf;

/// A configuration that can't be used; the process ends before it touches anything.
///
/// Each message says what is wrong, which key, where it came from and what to do. None holds a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--config` names a file that isn't there.
    #[error("there is no configuration file `{}`", .path.display())]
    FileMissing {
        /// The path that was given.
        path: PathBuf,
    },
    /// A file is there and can't be read.
    #[error("`{}` can't be read", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file isn't TOML, or `.env` isn't made of `NAME=value` lines.
    #[error("{at}: {problem}")]
    Syntax {
        /// File and line.
        at: String,
        /// What is wrong there; never the line itself, which may hold a secret.
        problem: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A key or variable that we don't know.
    #[error("{at}: there is no {what} `{name}`")]
    UnknownKey {
        /// Where it stands.
        at: String,
        /// `key` or `variable`.
        what: &'static str,
        /// The key or variable.
        name: String,
        /// The known one that it may have been meant for.
        nearest: Option<String>,
    },
    /// A value of the wrong type, or outside of what its key takes.
    #[error("{at}: `{key}` is {found}; expected {expected}")]
    Value {
        /// Where it stands.
        at: String,
        /// The key.
        key: String,
        /// What it is; of a secret, only its type.
        found: String,
        /// What it should be.
        expected: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A schedule or a zone that can't be used.
    #[error("{at}: `{key}`: {problem}")]
    Schedule {
        /// Where it stands.
        at: String,
        /// `schedule` or `timezone`.
        key: &'static str,
        /// What to do.
        hint: Option<String>,
        /// What is wrong with it.
        problem: crate::schedule::ScheduleError,
    },
    /// A profile with the configuration's overrides in it can't be used.
    #[error("the profile of the provider `{provider}` can't be used")]
    Profile {
        /// The provider's name.
        provider: String,
        /// What is wrong with it.
        #[source]
        source: ProfileError,
    },
    /// Something without which the command can't work is set nowhere.
    #[error("{problem}: `{key}` is not set")]
    Missing {
        /// What is missing, in words.
        problem: String,
        /// The key.
        key: String,
        /// Its environment variable.
        variable: String,
        /// What to set it to, in words.
        what: String,
    },
    /// Two settings that can't both hold.
    #[error("{first} contradicts {second}: {reason}")]
    Contradiction {
        /// One of them: key, value and where it stands.
        first: String,
        /// The other.
        second: String,
        /// Why not both.
        reason: String,
        /// What to do.
        hint: String,
    },
}

/// Is this the name of a key, or of its variable, that only profile files have?
fn is_of_profile_files(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', ".");
    ["answer.rules", "example", "extends", "variables"]
        .iter()
        .any(|key| name == *key || name.ends_with(&format!(".{key}")))
}

/// What to do about a profile that can't be used.
pub(crate) fn profile_hint(error: &ProfileError) -> Option<Cow<'_, str>> {
    let ProfileError::UnknownKey { key, nearest, .. } = error else { return None };
    if keys::find(key).is_some() || keys::is_table(key) {
        return Some(
            format!("`{key}` is a setting: it stands in evergrant.toml or in the environment, and not in a profile")
                .into(),
        );
    }
    nearest.as_ref().map(|near| format!("did you mean `{near}`?").into())
}

impl Advice for ConfigError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::FileMissing { .. } => {
                Some("check the path after `--config`, or leave it out to use the environment alone".into())
            }
            Self::Unreadable { .. } => None,
            Self::Profile { source, .. } => profile_hint(source),
            Self::Syntax { hint, .. } | Self::Value { hint, .. } | Self::Schedule { hint, .. } => {
                hint.as_deref().map(Cow::from)
            }
            Self::UnknownKey { name, .. } if is_of_profile_files(name) => Some(
                "it stands in a profile of your own, a file that `provider` names: `evergrant help own-server`".into(),
            ),
            Self::UnknownKey { nearest, .. } => {
                nearest.as_ref().map(|near| format!("did you mean `{near}`?").into())
            }
            Self::Missing { key, variable, what, .. } => Some(
                format!("set `{key}` in evergrant.toml, or the environment variable `{variable}`, to {what}")
                    .into(),
            ),
            Self::Contradiction { hint, .. } => Some(hint.into()),
        }
    }
}
