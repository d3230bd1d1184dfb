//! How an answer is written, where it holds what, and what its codes mean: the `[answer]` of a profile.

use super::lifetime::LifetimePlaces;
use super::place::{AnswerPlace, AnswerPlaces};
use super::rules::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Codes of `OpenID` Connect that say: only a person at a browser can go on (`OpenID` Connect Core 1.0 §3.1.2.6).
///
/// They are refusals at every provider, unless its profile lists them otherwise.
pub const PERSON_MUST_COME: [&str; 4] =
    ["login_required", "interaction_required", "consent_required", "account_selection_required"];

/// How the body of an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// JSON (RFC 6749 §5.1).
    #[default]
    Json,
    /// A form, read as an object of texts; a body that begins as JSON is read as JSON.
    Form,
}

impl AnswerFormat {
    /// Is it the usual one?
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What an answer means that no rule and no list knows (401, 403, 5xx), for a token whose own end is past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PastEnd {
    /// What its status says, as for any other token: it is asked for again.
    #[default]
    Ask,
    /// The token may be dead: marked when that is so on two occasions.
    Suspected,
}

impl PastEnd {
    /// Is it the usual one?
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Where an answer holds what, and what its codes mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerShape {
    /// How the body is written.
    #[serde(default, skip_serializing_if = "AnswerFormat::is_usual")]
    pub format: AnswerFormat,
    /// The access token; any 2xx answer that holds one is a success.
    pub access_token: AnswerPlaces,
    /// The refresh token; absent in an answer means: keep the old one. An empty list says that none ever comes.
    pub refresh_token: AnswerPlaces,
    /// How long the access token lives, where the answer says so.
    pub expires_in: LifetimePlaces,
    /// How long the refresh token lives, where the answer says so.
    #[serde(default)]
    pub refresh_token_expires_in: LifetimePlaces,
    /// How long the login lasts, whatever is refreshed until then.
    #[serde(default, skip_serializing_if = "LifetimePlaces::is_empty")]
    pub login_expires_in: LifetimePlaces,
    /// Further values for the document, by the path of their field; `documents.also` says which.
    #[serde(skip)]
    pub also: BTreeMap<String, AnswerPlace>,
    /// What an answer means, the first that fits; asked before the lists of codes below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What an answer means that nothing here knows, where the token's own end is past.
    #[serde(default, skip_serializing_if = "PastEnd::is_usual")]
    pub past_end: PastEnd,
    /// Where an error code may stand, most telling first; JSON pointers (RFC 6901).
    #[serde(default)]
    pub error_code: Vec<String>,
    /// Codes that say: this refresh token is dead.
    #[serde(default)]
    pub refused: Vec<String>,
    /// Codes that may say that this refresh token is dead, and may not: a user is marked on two occasions.
    #[serde(default)]
    pub suspected: Vec<String>,
    /// Codes that say: the client registration or our request is wrong; never about one user.
    #[serde(default)]
    pub client_rejected: Vec<String>,
    /// Codes that say: too many requests.
    #[serde(default)]
    pub throttled: Vec<String>,
    /// Codes that say: not processed, try later.
    #[serde(default)]
    pub transient: Vec<String>,
}
