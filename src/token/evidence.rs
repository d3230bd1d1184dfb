//! The evidence behind a grant that gave no pair, as the document's bookkeeping keeps it.

use super::{Code, Evidence, Word};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// The evidence behind the last grant that gave no pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What kind of answer it was.
    pub class: Word<Evidence>,
    /// The provider's own code, or ours: `invalid_grant`, `connect`, `missing`; never free text of an answer.
    pub code: Word<Code>,
    /// The answer's HTTP status, when there was an answer.
    pub http_status: Option<u16>,
    /// When it was seen.
    pub at: Timestamp,
    /// The sending of this token whose answer never came in full, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

/// A sending whose answer never came in full: what there is to look for in the provider's logs, and on the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What went wrong: `timeout`, `reset`, `cut_body`, `http_502`, `stopped`, `claim_ended`.
    pub cause: Word<Code>,
    /// When the request was sent, as far as this process knows.
    pub sent_at: Option<Timestamp>,
    /// The address that it was sent to, or those that the provider's name stood for.
    pub peer: Option<String>,
    /// Bytes of an answer's body that came.
    pub received_bytes: u64,
    /// Was the request turned away: by an answer that says so, and isn't the provider's own (a page with 503, 429 or 403)?
    ///
    /// Then the token is asked for again whatever `ask_again` says; only a refusal later on means that it was lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turned_away: bool,
}

/// Is the code made of the status alone (`http_403`), because the answer held none where the profile looks?
#[must_use]
pub fn is_status_alone(code: &str, http_status: Option<u16>) -> bool {
    http_status.is_some_and(|status| code.strip_prefix("http_").is_some_and(|of| of == status.to_string()))
}

impl LastError {
    /// The evidence that a token was sent, or may have been, and that no answer came.
    #[must_use]
    pub fn in_doubt(lost: Lost, at: Timestamp) -> Self {
        Self {
            class: Evidence::Ambiguous.into(),
            code: lost.cause.clone(),
            http_status: None,
            at,
            lost: Some(lost),
        }
    }
}
