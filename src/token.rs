//! What walks through the house: a document's identity, its subject, its token pair and its bookkeeping.
//!
//! Tokens are newtypes that print a fixed word; [`RefreshToken::expose`] and [`AccessToken::expose`] are called at
//! the wire, the journal and the store and nowhere else.

use crate::clock::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// Longest refresh token we send, in bytes.
///
/// The longest real ones (JWTs of Microsoft Entra) are about 2 KiB; a form body beyond this is refused by common
/// servers before it is read.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest subject shown, in characters; the rest is cut, because a log line is read by a person.
const MAX_SUBJECT_CHARS: usize = 120;

/// The identity of a token document: its `_id` as canonical extended JSON (`{"$oid":"…"}`, `"abc"`, `{"$numberInt":"7"}`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// Wraps the canonical extended JSON of an `_id`.
    #[must_use]
    pub fn from_extended_json(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    /// The `_id` as canonical extended JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How a person recognises a document in a log line: its email, its user id, else its `_id`; never a token.
///
/// Control characters are replaced and the length is cut when it is made, so that a document can't forge log lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Subject(Arc<str>);

impl Subject {
    /// Makes a subject of any text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut shown: String = text
            .chars()
            .take(MAX_SUBJECT_CHARS)
            .map(|c| if c.is_control() || is_bidi_control(c) { '\u{fffd}' } else { c })
            .collect();
        if text.chars().nth(MAX_SUBJECT_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown.into())
    }

    /// The subject of a document that has none of the configured fields: its `_id`.
    #[must_use]
    pub fn from_id(id: &TokenId) -> Self {
        Self::new(&format!("_id {id}"))
    }

    /// The text to show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Marks that reorder the text around them (Unicode Annex 9) and so could make one subject look like another.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

impl From<String> for TokenId {
    fn from(json: String) -> Self {
        Self(json.into())
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.as_ref().to_owned()
    }
}

macro_rules! secret_token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Wraps a token; the memory is zeroised when it is dropped.
            #[must_use]
            pub fn new(token: String) -> Self {
                Self(token.into())
            }

            /// The token itself: for the wire, the journal and the store only.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose() == other.expose()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret_token! {
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken
}
secret_token! {
    /// An access token (RFC 6749 §1.4).
    AccessToken
}

impl RefreshToken {
    /// Tells this token apart from others without keeping it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.expose().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Fingerprint(short)
    }

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
}

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
    /// The document's provider field names none of the configured providers.
    #[error("the document's provider `{0}` is not configured")]
    UnknownProvider(Subject),
    /// A provider field is mapped, and the document has none.
    #[error("the document has no provider field, and more than one provider is configured")]
    NoProvider,
}

impl Malformed {
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
            Self::UnknownProvider(_) => "unknown_provider",
            Self::NoProvider => "no_provider",
        }
    }
}

/// The first 16 bytes of a refresh token's SHA-256, shown and stored as 32 hexadecimal digits.
///
/// Refresh tokens are unguessable (RFC 6749 §10.10), so a digest gives nothing away and two tokens never share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Reads 32 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("a fingerprint has 32 hexadecimal digits"))
    }
}

/// What the document's bookkeeping says of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The login works, as far as we know; also a document that we never saw.
    #[default]
    Live,
    /// The provider refused the refresh token: the person must log in again.
    NeedsLogin,
    /// The provider may have rotated the token in an answer that never reached us, and refuses the old one.
    LostInFlight,
    /// The document holds no refresh token that can be sent.
    Malformed,
}

impl State {
    /// The word in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NeedsLogin => "needs_login",
            Self::LostInFlight => "lost_in_flight",
            Self::Malformed => "malformed",
        }
    }

    /// Reads the word in the document; `None` for a word that isn't ours.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Live, Self::NeedsLogin, Self::LostInFlight, Self::Malformed]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

/// The evidence behind the last grant that gave no pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// The class of the answer: `refused`, `transient`, `ambiguous`, … (`design.md`, "What an answer means").
    pub class: String,
    /// The provider's own code, or ours: `invalid_grant`, `connect`, `missing`; never free text of an answer.
    pub code: String,
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
    /// What went wrong, in a word: `timeout`, `reset`, `cut_body`, `http_502`; `stopped` when our process ended before
    /// the answer came, `claim_ended` when another process held the token until its claim ran out.
    pub cause: String,
    /// When the request was sent, as far as this process knows.
    pub sent_at: Option<Timestamp>,
    /// The address that it was sent to, or those that the provider's name stood for.
    pub peer: Option<String>,
    /// Bytes of an answer's body that came.
    pub received_bytes: u64,
}

/// A pass's time-limited right to redeem a document's refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique to one pass of one process: the fence.
    pub id: String,
    /// `host:pid`, for the person who looks into the document.
    pub owner: String,
    /// From then on the claim is void and the document is due again.
    pub until: Timestamp,
}

/// Everything Evergrant keeps in a token document, in one sub-document (default name `evergrant`).
///
/// It is always written whole, so a field that is `None` here is absent there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bookkeeping {
    /// What we know of the login.
    #[serde(default)]
    pub state: State,
    /// When the state last changed: "must log in again since …".
    pub since: Option<Timestamp>,
    /// The refresh token of which `state` and `failures` speak; another one in the document means a new login.
    pub fingerprint: Option<Fingerprint>,
    /// Schedule, retry and visibility in one; absent means due now.
    pub due_at: Option<Timestamp>,
    /// When we last wrote a pair.
    pub refreshed_at: Option<Timestamp>,
    /// When the access token in the document ends, if the provider said.
    pub access_expires_at: Option<Timestamp>,
    /// When the refresh token in the document ends, if the provider or its profile says.
    pub refresh_expires_at: Option<Timestamp>,
    /// Grants in a row that gave no pair.
    #[serde(default)]
    pub failures: u32,
    /// Why the last one gave none; absent after a success.
    pub last_error: Option<LastError>,
    /// Only while claimed.
    pub lease: Option<Lease>,
}

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
    /// Was it claimed by another process until that claim ran out? That process may have sent the token, and may hold
    /// its answer: then a refusal means lost, not revoked.
    pub taken_over: bool,
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

    #[test]
    fn a_subject_cannot_forge_a_log_line() {
        assert_eq!(Subject::new("a@b\nERROR x\u{202e}").as_str(), "a@b\u{fffd}ERROR x\u{fffd}");
        assert_eq!(Subject::new(&"é".repeat(500)).as_str().chars().count(), MAX_SUBJECT_CHARS + 1);
    }

    #[test]
    fn a_fingerprint_survives_its_text() {
        let fingerprint = RefreshToken::new("0123".into()).fingerprint();
        assert_eq!(Fingerprint::from_hex(&fingerprint.to_string()), Some(fingerprint));
        assert_ne!(fingerprint, RefreshToken::new("0124".into()).fingerprint());
        assert_eq!(Fingerprint::from_hex("zz"), None);
        assert_eq!(Fingerprint::from_hex("+0000000000000000000000000000000"), None);
    }

    #[test]
    fn tokens_print_a_fixed_word() {
        let shown =
            format!("{:?} {:?}", RefreshToken::new("s3cret".into()), AccessToken::new("s3cret".into()));
        assert_eq!(shown, "RefreshToken(redacted) AccessToken(redacted)");
    }
}
