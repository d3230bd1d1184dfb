//! What an answer means. Pure: a raw answer and a profile in, one class out.

mod classify;
mod code;
mod elsewhere;
mod explain;
mod found;
mod lifetime;
mod other_name;
mod pair;
mod provider_time;
mod retry_after;
mod rule;
#[cfg(test)]
mod tests;

use super::Sent;
use crate::clock::Timestamp;
use crate::provider::Profile;
use crate::token::{AccessToken, Further, RefreshToken};
use chrono::TimeDelta;
use std::time::Duration;

pub use classify::read_answer;
pub use elsewhere::{CodeElsewhere, LifetimeElsewhere};
pub use explain::{Explained, FoundToken, explain};
pub(super) use found::is_nothing;
pub use pair::holds_a_token;
#[cfg(any(test, feature = "testing"))]
pub use retry_after::MAX_RETRY_AFTER;
pub use retry_after::retry_after;

/// The code of a success in which no pair can be found.
pub const NO_TOKENS: &str = "no_tokens";

/// The new pair, read from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The new access token.
    pub access_token: AccessToken,
    /// The new refresh token; `None` means: keep the old one (RFC 6749 §6).
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives, if the answer says.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives, if the answer says.
    pub refresh_expires_in: Option<Duration>,
    /// How long the login lasts, whatever is refreshed until then, if the answer says.
    pub login_expires_in: Option<Duration>,
    /// How far our clock was ahead of the provider's when the answer came, where they don't agree: an end that stands in a token
    /// means the provider's.
    pub clock_ahead: TimeDelta,
    /// Further values for the document, by the path of their field.
    pub also: Vec<(String, Further)>,
}

/// What an answer means; the word for each is [`Class::word`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// A new pair.
    Granted(Granted),
    /// Too many requests: pause the whole provider, for so long if it said (clamped to [`MAX_RETRY_AFTER`]).
    Throttled(Option<Duration>),
    /// Not processed: the same token later.
    Transient,
    /// It may have been processed, and the answer is lost.
    Ambiguous,
    /// The provider says that this refresh token is dead.
    Refused,
    /// The provider says something that may mean that this refresh token is dead, or something else.
    Suspected,
    /// The client registration or our request is wrong: our fault, never one user's.
    ClientRejected,
    /// The provider answered, neither with a pair nor with a code that the profile lists: asked again in a later pass.
    Unlisted,
    /// A success that came in full, in which no pair can be found and in which there could be one: other JSON, a coding
    /// that can't be taken off, bytes that are no text. Very likely rotated, so not sent again; the answer is kept until a
    /// profile, or a later version, can read it.
    Unreadable,
}

impl Class {
    /// All words.
    pub const WORDS: [&str; 9] = [
        "granted",
        "refused",
        "suspected",
        "client_rejected",
        "throttled",
        "transient",
        "ambiguous",
        "unlisted",
        "unreadable",
    ];

    /// The word in logs, reports and documents.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Throttled(_) => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::Suspected => "suspected",
            Self::ClientRejected => "client_rejected",
            Self::Unlisted => "unlisted",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A class with the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it means.
    pub class: Class,
    /// The provider's code (`invalid_grant`), else ours (`http_502`, `timeout`, `html`).
    pub code: String,
    /// The HTTP status, when there was one.
    pub http_status: Option<u16>,
    /// Does it settle what became of the request? Only the provider's own well-formed JSON does, and that nothing was
    /// sent; a proxy's page may come after the provider has done its work.
    pub settles: bool,
    /// May it be an outage that speaks, and not an answer to this request? Where no user is granted, such a request
    /// counts as not processed.
    pub may_be_outage: bool,
    /// May a [`Class::Throttled`] be about this token alone, while others are granted?
    pub may_be_alone: bool,
    /// Does this token alone rest, for at least so long, while others are asked for? A rule says so of an answer that is
    /// [`Class::Throttled`] or [`Class::Transient`].
    pub rests: Option<Duration>,
    /// When it was sent, by the provider's own clock where it says so; of an answer that nothing in the profile knows, and
    /// only where that asks for the token's own end ([`PastEnd::Suspected`](crate::provider::PastEnd::Suspected)).
    pub unknown_at: Option<Timestamp>,
}

impl Reading {
    /// A reading of which no rule says more.
    #[must_use]
    pub fn new(class: Class, code: &str, http_status: Option<u16>, settles: bool) -> Self {
        let code = code.to_owned();
        let (may_be_outage, may_be_alone) = (false, false);
        Self { class, code, http_status, settles, may_be_outage, may_be_alone, rests: None, unknown_at: None }
    }
}

/// Reads what one POST brought.
///
/// An unknown error is never [`Class::Refused`]: only a code that the profile lists marks a user.
#[must_use]
pub fn read(sent: &Sent, profile: &Profile, now: Timestamp) -> Reading {
    match sent {
        Sent::NotSent(cause) => Reading::new(Class::Transient, cause, None, true),
        Sent::Lost(cause) => Reading::new(Class::Ambiguous, cause, None, false),
        Sent::Answered(answer) => read_answer(answer, profile, now),
    }
}
