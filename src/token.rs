//! What walks through the house: a document's identity, its subject, its token pair and its bookkeeping.
//!
//! Tokens are newtypes that print a fixed word; [`RefreshToken::expose`] and [`AccessToken::expose`] are called at
//! the wire, the journal and the store and nowhere else.

mod bookkeeping;
mod evidence;
mod field;
mod fingerprint;
mod identity;
pub(crate) mod jwt;
mod reason;
mod secret;
mod word;

use crate::clock::Timestamp;

pub use bookkeeping::{Bookkeeping, FIELDS, LEASE_MARGIN, Lease, State};
pub use evidence::{LastError, Lost};
pub use field::{FieldValue, MAX_TOKEN_BYTES, Malformed};
pub use fingerprint::Fingerprint;
pub use identity::{Subject, TokenId};
pub use reason::{Code, Evidence, ParkedWhy, Reason};
pub use secret::{AccessToken, RefreshToken};
pub(crate) use word::vocabulary;
pub use word::{Vocabulary, Word};

/// A token document as a store reads it: decoded one by one, a bad one is a value and not an error.
#[derive(Debug, Clone)]
pub struct TokenDocument {
    /// Its `_id`.
    pub id: TokenId,
    /// How a person recognises it.
    pub subject: Subject,
    /// The value of the mapped provider field, when one is mapped and there.
    pub provider: Option<String>,
    /// The refresh token, or what is wrong with it.
    pub refresh_token: Result<RefreshToken, Malformed>,
    /// The access token, when there is a usable one; only handed on, never needed.
    pub access_token: Option<AccessToken>,
    /// Our sub-document; the default when there is none or it can't be read.
    pub bookkeeping: Bookkeeping,
}

/// A claimed document whose refresh token can be sent.
#[derive(Debug, Clone)]
pub struct DueToken {
    /// Its `_id`.
    pub id: TokenId,
    /// How a person recognises it.
    pub subject: Subject,
    /// What to redeem.
    pub refresh_token: RefreshToken,
    /// The bookkeeping as it was read together with the token, the lease in it ours.
    pub bookkeeping: Bookkeeping,
    /// When the login ends, where a field of the document says so.
    pub login_ends_at: Option<Timestamp>,
    /// When the login began, where a field of the document says so.
    pub logged_in_at: Option<Timestamp>,
}
