//! Why a store can't write into one document, whatever is written.

use super::mapping::FieldPath;
use crate::failure::Advice;
use std::borrow::Cow;

/// Why a document can't be written; a person must act. No value of the document is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unwritable {
    /// Something stands where a sub-document belongs that we write into.
    #[error("its field `{0}` isn't a sub-document")]
    InTheWay(FieldPath),
    /// A write would make it longer than MongoDB allows.
    #[error("it is as long as a document may be")]
    TooLong,
    /// A field, ours or another one beside it, is there more than once: MongoDB doesn't update such a document reliably.
    #[error("the field `{0}` stands twice in it")]
    Twice(String),
    /// The collection's validator refuses it.
    #[error("DocumentValidationFailure (121)")]
    Validator,
    /// The server refuses it for another reason.
    #[error("{0}")]
    Refused(
        /// Its code as a person can look it up: `DuplicateKey (11000)`.
        String,
    ),
}

impl Advice for Unwritable {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::InTheWay(_) => {
                "remove that field or make it a sub-document, or map another field (`documents.…`)"
            }
            Self::TooLong => "make the document shorter: tokens and bookkeeping need a few KiB",
            Self::Twice(_) => {
                "MongoDB doesn't update such a document reliably: replace it by one that has the field once"
            }
            Self::Validator => {
                "the collection's validator refuses `evergrant`, or the field that `documents.bookkeeping` names: allow \
                 that field, or set `documents.bookkeeping`; `evergrant check` tries it"
            }
            Self::Refused(_) => "look up the code in the MongoDB manual, under \"Error Codes\"",
        };
        Some(hint.into())
    }
}
