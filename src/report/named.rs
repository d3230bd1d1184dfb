//! Users and documents that a report names: who must log in again, what can't be worked on, who is put off.

use crate::clock::Timestamp;
use crate::token::{LastError, State, Subject, TokenId};
use serde::Serialize;

/// A user who must log in again, or a document that can't be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The `_id` of the document, as extended JSON.
    pub id: TokenId,
    /// Who.
    pub subject: Subject,
    /// At which provider; `null` where the document names none.
    pub provider: Option<String>,
    /// `needs_login`, `lost_in_flight` or `malformed`.
    pub state: State,
    /// The provider's code, or ours.
    pub code: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Was it found in this pass, or known before?
    pub new: bool,
    /// When its token is sent again by itself, if ever.
    pub asked_again_at: Option<Timestamp>,
}

impl Named {
    /// A new one, with the code of its evidence.
    #[must_use]
    pub fn new(id: &TokenId, subject: &Subject, state: State, evidence: Option<&LastError>) -> Self {
        Self {
            id: id.clone(),
            subject: subject.clone(),
            provider: None,
            state,
            code: evidence.map_or_else(String::new, |evidence| evidence.code.to_string()),
            since: None,
            new: true,
            asked_again_at: None,
        }
    }
}

/// A user who is still due, and whom no pass asks for before `due_at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutOff {
    /// The `_id` of the document, as extended JSON.
    pub id: TokenId,
    /// Who.
    pub subject: Subject,
    /// At which provider; `null` where the document names none.
    pub provider: Option<String>,
    /// Why: the provider's code, or ours.
    pub code: String,
    /// When the token is due again.
    pub due_at: Timestamp,
    /// Was this pass the one that put it off? Otherwise an earlier one did.
    pub new: bool,
}
