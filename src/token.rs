//! What walks through the house: a document's identity, its subject, its token pair and its bookkeeping.
//!
//! Tokens are newtypes that print a fixed word; [`RefreshToken::expose`] and [`AccessToken::expose`] are called at
//! the wire, the journal and the store and nowhere else.

mod bookkeeping;
mod evidence;
mod facts;
mod field;
mod fingerprint;
mod identity;
pub(crate) mod jwt;
mod reason;
mod secret;
mod spent;
mod word;

pub use bookkeeping::{Bookkeeping, ClaimedBy, FIELDS, LEASE_MARGIN, Lease, State, UNKNOWN_JOURNAL};
pub use evidence::{LastError, Lost, is_status_alone};
pub use facts::{Facts, Further};
pub use field::{FieldValue, MAX_TOKEN_BYTES, Malformed};
pub use fingerprint::Fingerprint;
pub use identity::{Subject, TokenId};
pub use reason::{Code, Evidence, ParkedWhy, Reason};
pub use secret::{AccessToken, RefreshToken};
pub use spent::SpentTokens;
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
    /// The access token, when one is mapped and there is a usable one.
    pub access_token: Option<AccessToken>,
    /// What else the document says.
    pub facts: Facts,
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
    /// The access token beside it, for a server that wants both.
    pub access_token: Option<AccessToken>,
    /// What else the document says.
    pub facts: Facts,
    /// The bookkeeping as it was read together with the token, the lease in it ours.
    pub bookkeeping: Bookkeeping,
}

impl TokenDocument {
    /// The document as one whose token can be sent.
    ///
    /// # Errors
    /// The document itself, where [`TokenDocument::refresh_token`] says why it can't.
    pub fn into_due_token(self) -> Result<DueToken, Box<Self>> {
        match self.refresh_token {
            Ok(refresh_token) => Ok(DueToken {
                id: self.id,
                subject: self.subject,
                refresh_token,
                access_token: self.access_token,
                facts: self.facts,
                bookkeeping: self.bookkeeping,
            }),
            Err(malformed) => Err(Box::new(Self { refresh_token: Err(malformed), ..self })),
        }
    }
}
