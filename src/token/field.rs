//! A document's refresh token field: a token that can be sent, or what is wrong with it.

use super::{RefreshToken, Subject};

/// Longest refresh token we send, in bytes.
///
/// The longest real ones (JWTs of Microsoft Entra) are about 2 KiB; a form body beyond this is refused by common
/// servers before it is read.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A document's field, as far as reading a token needs it.
#[derive(Clone, Copy)]
pub enum FieldValue<'a> {
    /// No such field, or its path leads through something that isn't a document.
    Missing,
    /// An explicit null.
    Null,
    /// A string.
    Text(&'a str),
    /// Any other type, by its BSON name: `int`, `array`, `object`, …
    Other(&'static str),
}

impl RefreshToken {
    /// Checks what a document holds in its refresh token field.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with the field; the document is marked with it and nothing is sent.
    pub fn from_field(value: FieldValue<'_>) -> Result<Self, Malformed> {
        match value {
            FieldValue::Missing => Err(Malformed::Missing),
            FieldValue::Null => Err(Malformed::Null),
            FieldValue::Other(kind) => Err(Malformed::NotText(kind)),
            FieldValue::Text("") => Err(Malformed::Empty),
            FieldValue::Text(text) if text.len() > MAX_TOKEN_BYTES => Err(Malformed::TooLong(text.len())),
            // RFC 6749 §A.17: refresh-token = 1*VSCHAR, and VSCHAR is %x20-7E.
            FieldValue::Text(text) if !text.bytes().all(|b| (0x20..=0x7e).contains(&b)) => {
                Err(Malformed::ForbiddenCharacter)
            }
            FieldValue::Text(text) => Ok(Self::new(text.to_owned())),
        }
    }

    /// Why this token, which came in an answer, can never be sent; `None` for any usual one.
    ///
    /// It is the provider's, and kept all the same.
    #[must_use]
    pub fn unsendable(&self) -> Option<Malformed> {
        Self::from_field(FieldValue::Text(self.expose())).err()
    }
}

/// Why a document's refresh token can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The field isn't there.
    #[error("the refresh token field is missing")]
    Missing,
    /// The field is null.
    #[error("the refresh token is null")]
    Null,
    /// The field is an empty string.
    #[error("the refresh token is empty")]
    Empty,
    /// The field has another type.
    #[error("the refresh token is of type `{0}`, expected a string")]
    NotText(&'static str),
    /// The token is longer than [`MAX_TOKEN_BYTES`]; its length in bytes.
    #[error("the refresh token has {0} bytes, more than the {MAX_TOKEN_BYTES} that can be sent")]
    TooLong(usize),
    /// A byte outside of printable ASCII (RFC 6749 §A.17).
    #[error("the refresh token holds a character outside of printable ASCII (RFC 6749 §A.17)")]
    ForbiddenCharacter,
    /// The provider takes the token in a header field, where it can't stand: it holds a space, or is too long.
    #[error("the refresh token can't be sent in a header field: it holds a space, or is too long (7 KiB)")]
    NotForHeader,
    /// The server wants the old access token too.
    #[error(
        "the document has no access token that can be sent, and the server wants it beside the refresh token"
    )]
    NoAccessToken,
    /// A variable of the request that neither the document nor the settings hold; its name.
    #[error("neither the document nor the settings have a value for the variable `{0}`")]
    NoValue(String),
    /// A variable of the request whose value it may not hold; its name.
    #[error("the value of the variable `{0}` is not of the kind that the profile allows")]
    BadValue(String),
    /// The document's provider field names none of the configured providers.
    #[error("the document's provider `{0}` is not configured")]
    UnknownProvider(Subject),
    /// A provider field is mapped, and the document has none.
    #[error("the document has no provider field, and more than one provider is configured")]
    NoProvider,
}

impl Malformed {
    /// Is the token itself good, so that the document may be sent once what is beside it is mended?
    #[must_use]
    pub const fn leaves_the_token_good(&self) -> bool {
        match self {
            Self::NotForHeader
            | Self::NoAccessToken
            | Self::NoValue(_)
            | Self::BadValue(_)
            | Self::UnknownProvider(_)
            | Self::NoProvider => true,
            Self::Missing
            | Self::Null
            | Self::Empty
            | Self::NotText(_)
            | Self::TooLong(_)
            | Self::ForbiddenCharacter => false,
        }
    }

    /// The reason as a word for `last_error.code` and for counting.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Null => "null",
            Self::Empty => "empty",
            Self::NotText(_) => "not_text",
            Self::TooLong(_) => "too_long",
            Self::ForbiddenCharacter => "forbidden_character",
            Self::NotForHeader => "not_for_header",
            Self::NoAccessToken => "no_access_token",
            Self::NoValue(_) => "no_value",
            Self::BadValue(_) => "bad_value",
            Self::UnknownProvider(_) => "unknown_provider",
            Self::NoProvider => "no_provider",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_field_is_sent_or_named_as_malformed() {
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        let table: [(FieldValue<'_>, Result<(), Malformed>); 9] = [
            (FieldValue::Text("abc-._~+/="), Ok(())),
            (FieldValue::Text("with space"), Ok(())),
            (FieldValue::Missing, Err(Malformed::Missing)),
            (FieldValue::Null, Err(Malformed::Null)),
            (FieldValue::Text(""), Err(Malformed::Empty)),
            (FieldValue::Other("array"), Err(Malformed::NotText("array"))),
            (FieldValue::Text(&long), Err(Malformed::TooLong(MAX_TOKEN_BYTES + 1))),
            (FieldValue::Text("a\nb"), Err(Malformed::ForbiddenCharacter)),
            (FieldValue::Text("tökén"), Err(Malformed::ForbiddenCharacter)),
        ];
        for (field, expected) in table {
            assert_eq!(RefreshToken::from_field(field).map(|_| ()), expected);
        }
    }
}
