//! Settings that work and are risky, in words for the person who wrote them. None holds a secret's value.

use super::chances::Chances;
use super::keep::{Keeping, WholePass};
use crate::duration::words;
use crate::failure::Advice;
use crate::provider::rate::Rate;
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// What a person should know before the first pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// One failed pass can cost logins although the service tries again.
    #[error(
        "each refresh token of `{}` meets only {} scheduled pass before it expires, and when that pass fails, only {} are \
         left to try again, so one failed pass can cost logins: {}",
        .0.provider, .0.wakes, words(.0.time_left()), .0.arithmetic()
    )]
    FewPasses(Chances),
    /// One failed pass can cost logins because `run --once` does not try again.
    #[error(
        "each refresh token of `{}` meets only {} scheduled pass before it expires, and `run --once` does not try again by \
         itself, so one failed pass can cost logins: {}",
        .0.provider, .0.wakes, .0.arithmetic()
    )]
    FewPassesOfOnce(Chances),
    /// A login that no refresh extends may end before any pass meets it.
    #[error(
        "a login of `{provider}` ends {} after it began, and no refresh extends it; scheduled passes start up to {} apart, so \
         a login can end before a pass refreshes its access token",
        words(*lifetime), words(*gap)
    )]
    FixedLogin {
        /// The provider's name.
        provider: String,
        /// The life of a login.
        lifetime: Duration,
        /// The longest wait for a scheduled pass.
        gap: Duration,
    },
    /// A stop may give up grants that may still be answered.
    #[error(
        "{stop_grace} is short beside {request_timeout}: a stop may give up a request that was sent, and that answer may be lost"
    )]
    ShortStop {
        /// Key, value and where it stands.
        stop_grace: String,
        /// The same of the timeout.
        request_timeout: String,
        /// The shortest grace that isn't.
        least: Duration,
    },
    /// The rate can't refresh the whole collection within a token's life.
    #[error(
        "a pass over all {documents} documents at {rate} takes {}, but a refresh token of `{provider}` can have only {} left \
         when the pass starts: it lives {}, is due {} after it was issued, and waits up to {} for a scheduled pass",
        words(*needed), words(*bound), words(*lifetime), words(*due_after), words(*gap)
    )]
    SlowRate {
        /// How many there are.
        documents: u64,
        /// The provider's.
        rate: Rate,
        /// Its name.
        provider: String,
        /// How long such a pass takes.
        needed: Duration,
        /// The time that there is.
        bound: Duration,
        /// The life of a refresh token.
        lifetime: Duration,
        /// When it is due.
        due_after: Duration,
        /// The longest wait for a scheduled pass.
        gap: Duration,
    },
    /// An access token may end before its turn comes, though it is to be kept good.
    #[error("{}", .1.told(.0))]
    LateAccess(Keeping, WholePass),
    /// A SQLite file has no databases.
    #[error("{setting} has no meaning: the store is a SQLite file")]
    NoDatabases {
        /// Key, value and where it stands.
        setting: String,
    },
    /// A secret can be seen.
    #[error("`{key}` was given on the command line, where every user of this machine can read it")]
    OnCommandLine {
        /// Which.
        key: String,
    },
    /// A file with secrets can be read by all.
    #[error(
        "every user of this machine can read `{}`, which holds {}",
        file.display(), keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and ")
    )]
    OpenFile {
        /// Which.
        file: PathBuf,
        /// The secrets.
        keys: Vec<String>,
    },
}

impl Advice for Warning {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::FewPasses(_) => Some(
                "wake more often, for example `schedule = \"0 3 * * *\"`; a token that is not due is not sent".into(),
            ),
            Self::FewPassesOfOnce(_) => Some(
                "start `run --once` more often, for example every day, and set `schedule` to the same times \
                 (`schedule = \"0 3 * * *\"`); a token that is not due is not sent"
                    .into(),
            ),
            Self::FixedLogin { .. } => Some(
                "each user must log in again by then in any case; wake more often to keep the access tokens fresh until then"
                    .into(),
            ),
            Self::ShortStop { least, .. } => {
                Some(format!("set `stop_grace` to {} or more", words(*least)).into())
            }
            Self::SlowRate { .. } => {
                Some("raise `rate` if the provider allows it, or wake more often".into())
            }
            Self::LateAccess(keeping, pass) => Some(pass.advice(keeping).into()),
            Self::NoDatabases { .. } => None,
            Self::OnCommandLine { .. } => Some("use the environment, `.env` or a file".into()),
            Self::OpenFile { file, .. } => Some(format!("chmod 600 {}", file.display()).into()),
        }
    }
}
