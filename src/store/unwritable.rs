//! Why a store can't write into one document, whatever is written.

use super::mapping::FieldPath;
use crate::failure::Advice;
use std::borrow::Cow;

/// Why a document can't be written; a person must act. Neither a value of the document is in it, nor a name that isn't in the
/// settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unwritable {
    /// Something stands where a sub-document belongs in which a mapped field is.
    #[error("its field `{0}` isn't a sub-document")]
    InTheWay(FieldPath),
    /// Something stands where our bookkeeping belongs.
    #[error("its field `{0}`, the place of Evergrant's bookkeeping, isn't a sub-document")]
    BookkeepingInTheWay(FieldPath),
    /// A write would make it longer than MongoDB allows.
    #[error("it is as long as a document may be")]
    TooLong,
    /// A field that we write, or one on the way to it, is there more than once.
    #[error("the field `{0}` stands twice in it")]
    Twice(String),
    /// Another field is there more than once, beside those that we write: at the top (`None`), or in this sub-document.
    #[error("a field stands twice {}", .0.as_ref().map_or("at its top".to_owned(), |parent| format!("in its field `{parent}`")))]
    TwiceBeside(Option<FieldPath>),
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
                "what stands there may hold the tokens: move it into a sub-document, or map another field (`documents.…`)"
            }
            Self::BookkeepingInTheWay(_) => {
                "remove that field, or set `documents.bookkeeping` to a name that is free"
            }
            Self::TooLong => "make the document shorter: tokens and bookkeeping need a few KiB",
            Self::Twice(_) | Self::TwiceBeside(_) => {
                "MongoDB doesn't update such a document reliably. Save it with `mongodump` first: a shell shows one of the \
                 two only, and of two refresh tokens the newer one counts. Then replace it by one that has each field once"
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
