//! A profile that the sandbox plays: the request that it expects, and the answers that it gives.
//!
//! What it knows of a profile is data: names of places, words, and examples. It reads requests and writes answers by
//! itself, and shares no code of them with the client, so that one misreading of the data cannot hide another.

mod answers;
mod expected;
mod path;
mod pattern;
mod seen;
mod template;
#[cfg(test)]
mod tests;

use super::reply::Answer;
use super::request::Rejection;
use super::{FaultScript, Rotation, SandboxConfig};
use crate::provider::{Profile, Rotation as ProfileRotation};
use answers::Answers;
use axum::http::StatusCode;
use axum::http::request::Parts;
use expected::{Expected, Wrong};
use path::Path;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(super) use expected::Asked;

/// A profile that a sandbox plays. `Debug` shows its name only: a header of a profile may be a key.
pub struct Role {
    name: String,
    path: Path,
    expected: Expected,
    answers: Answers,
    rotation: ProfileRotation,
    grace: Duration,
    refresh_token_lifetime: Option<Duration>,
}

/// Why a profile can't be played, or not with these faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A success without an access token.
    #[error("the example `{example}` is a success, and has no access token where `answer.access_token` says")]
    NoAccessToken {
        /// The example's name.
        example: String,
    },
    /// A success with a refresh token in a place that the profile doesn't name.
    #[error(
        "the example `{example}` has a refresh token at `{place}`, which `answer.refresh_token` does not name"
    )]
    Stray {
        /// The example's name.
        example: String,
        /// Where it is.
        place: String,
    },
    /// A profile that names no place for a token that its answers must hold.
    #[error("the profile names no place in the answer for a token that comes")]
    NoPlace,
    /// An example that is no HTTP answer.
    #[error("the example `{example}` can't be answered: HTTP has no {what}")]
    Unanswerable {
        /// The example's name.
        example: String,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing says what a dead token is answered.
    #[error("the profile `{name}` does not say what a dead token is answered")]
    NoDeadAnswer {
        /// The profile's name.
        name: String,
    },
    /// Nothing says what a wrong client is answered.
    #[error("the profile `{name}` does not say what a wrong client is answered")]
    NoClientAnswer {
        /// The profile's name.
        name: String,
    },
}

impl Role {
    /// Reads a profile of this name.
    ///
    /// # Errors
    /// [`RoleError`] where its examples and its places contradict each other.
    pub fn new(name: &str, profile: &Profile) -> Result<Self, RoleError> {
        Ok(Self {
            name: name.to_owned(),
            path: Path::new(profile.token_url.as_deref(), &profile.variables),
            expected: Expected::new(profile),
            answers: Answers::new(profile)?,
            rotation: profile.rotation,
            grace: profile.grace,
            refresh_token_lifetime: profile.refresh_token_lifetime,
        })
    }

    /// A sandbox that plays it: rotation, grace and life of a refresh token are the profile's.
    #[must_use]
    pub fn played_by(self, config: SandboxConfig) -> SandboxConfig {
        let rotation = match self.rotation {
            ProfileRotation::SingleUse | ProfileRotation::Grace => Rotation::Rotate,
            ProfileRotation::None if self.answers.omit_the_refresh_token() => Rotation::KeepAndOmit,
            ProfileRotation::None => Rotation::Keep,
        };
        let grace = if self.rotation == ProfileRotation::Grace { self.grace } else { Duration::ZERO };
        SandboxConfig {
            rotation,
            grace,
            refresh_token_lifetime: self.refresh_token_lifetime.unwrap_or(config.refresh_token_lifetime),
            role: Some(Arc::new(self)),
            ..config
        }
    }

    /// Can it answer as these faults, and this number of dead users, ask for?
    ///
    /// # Errors
    /// [`RoleError::NoDeadAnswer`], [`RoleError::NoClientAnswer`]
    pub fn can_play(&self, faults: &FaultScript, dead_users: usize) -> Result<(), RoleError> {
        let name = || self.name.clone();
        if self.answers.dead().is_none() && (dead_users > 0 || faults.has("refuse")) {
            return Err(RoleError::NoDeadAnswer { name: name() });
        }
        if self.answers.client().is_none() && faults.has("reject-client") {
            return Err(RoleError::NoClientAnswer { name: name() });
        }
        Ok(())
    }

    /// The path of the token endpoint, with the variables in it: `/{shop}/admin/oauth/access_token`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.text()
    }

    /// The method of a token request, and its path.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{} {}", self.expected.method(), self.path())
    }

    /// The profile's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Is a path that of the token endpoint?
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.path.fits(path)
    }

    /// Reads the tokens out of a request that is the profile's; else what it is answered.
    pub(super) fn read(
        &self,
        config: &SandboxConfig,
        head: &Parts,
        body: &[u8],
    ) -> Result<Asked, (Rejection, Answer)> {
        self.expected.read(config, &self.path, head, body).map_err(|wrong| self.rejected(wrong))
    }

    /// The answer to an access token that never came with the refresh token beside it.
    pub(super) fn another_access_token(&self) -> (Rejection, Answer) {
        let (expected, saw) = ("the access token that came with the refresh token", "another one");
        self.rejected(Wrong::Request { expected: expected.to_owned(), saw: saw.to_owned() })
    }

    fn rejected(&self, wrong: Wrong) -> (Rejection, Answer) {
        const CLIENT: Rejection = Rejection::InvalidClient { challenge: false };
        let words = |expected, saw| {
            format!("the sandbox plays the profile `{}`: it expected {expected}, and saw {saw}", self.name)
        };
        match wrong {
            Wrong::Credentials => (CLIENT, self.client()),
            Wrong::Client { expected, saw } => {
                (CLIENT, Answer::error(StatusCode::UNAUTHORIZED, "invalid_client", &words(expected, saw)))
            }
            Wrong::Request { expected, saw } => (
                Rejection::InvalidRequest(""),
                Answer::error(StatusCode::BAD_REQUEST, "invalid_request", &words(expected, saw)),
            ),
        }
    }

    /// The answer with new tokens to request `number`.
    pub(super) fn granted(&self, number: u64, access_token: &str, refresh_token: Option<&str>) -> Answer {
        self.answers.granted(number).granted(access_token, refresh_token)
    }

    /// The answer to a dead token.
    pub(super) fn dead(&self) -> Answer {
        self.answers.dead().cloned().unwrap_or_else(Answer::refused)
    }

    /// The answer to one request too many.
    pub(super) fn throttled(&self, retry_after_seconds: u64) -> Answer {
        self.answers.throttled(retry_after_seconds)
    }

    /// The answer to a client that isn't known.
    pub(super) fn client(&self) -> Answer {
        let usual = || Answer::rejection(Rejection::InvalidClient { challenge: false });
        self.answers.client().cloned().unwrap_or_else(usual)
    }

    /// The answer to a request to another path.
    pub(super) fn elsewhere(&self) -> String {
        format!("the sandbox plays the profile `{}`: its token endpoint is {}\n", self.name, self.endpoint())
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Role").field("name", &self.name).finish_non_exhaustive()
    }
}
