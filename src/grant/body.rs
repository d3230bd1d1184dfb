//! A body as JSON: as forgiving as keeping a pair needs, and as strict as marking a user needs.
//!
//! A success that is slightly broken still holds the only copy of a new pair; a refusal that is slightly broken may be
//! anybody's. So what had to be mended is told apart from what was well formed.

use super::form;
use crate::provider::AnswerFormat;
use secrecy::zeroize::Zeroize as _;
use serde_json::Value;
use std::borrow::Cow;

/// The mark that some servers write in front of UTF-8 (RFC 8259 §8.1 lets a reader skip it).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a body is.
#[derive(Debug)]
pub(super) enum Body {
    /// Well-formed JSON.
    Json(Value),
    /// A JSON object once broken bytes were replaced or what stands behind it was left out.
    Mended(Value),
    /// JSON that ends too early.
    Cut,
    /// Anything else.
    Other,
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Self::Json(value) | Self::Mended(value) = self {
            zeroise(value);
        }
    }
}

fn zeroise(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(zeroise),
        Value::Object(members) => members.values_mut().for_each(zeroise),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Body {
    /// Reads a body; an empty one is [`Body::Other`].
    pub(super) fn read(bytes: &[u8]) -> Self {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let error = match serde_json::from_slice(bytes) {
            Ok(value) => return Self::Json(value),
            Err(error) => error,
        };
        if let Some(mended) = mended(bytes) {
            return Self::Mended(mended);
        }
        let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if error.is_eof() && matches!(begins, Some(b'{' | b'[')) { Self::Cut } else { Self::Other }
    }

    /// Reads a body of an answer in this format. A form is read only where it `is_whole`: nothing else says that its last
    /// value came to its end.
    pub(super) fn of_format(bytes: &[u8], format: AnswerFormat, is_whole: bool) -> Self {
        match format {
            AnswerFormat::Json => Self::read(bytes),
            AnswerFormat::Form if is_whole => form::read(bytes),
            AnswerFormat::Form => match Self::read(bytes) {
                Self::Other => Self::Cut,
                json => json,
            },
        }
    }

    /// What it says, well formed or mended.
    pub(super) const fn value(&self) -> Option<&Value> {
        match self {
            Self::Json(value) | Self::Mended(value) => Some(value),
            Self::Cut | Self::Other => None,
        }
    }

    /// Is it as it should be, so that what it says of a user may be believed?
    pub(super) const fn is_well_formed(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Is every byte of this text of it as it came?
    pub(super) fn is_whole(&self, text: &str) -> bool {
        self.is_well_formed() || !text.contains(char::REPLACEMENT_CHARACTER)
    }
}

/// The object at the beginning of a text that isn't quite JSON: in UTF-16, with bytes of another encoding in it, or with
/// something behind it.
fn mended(bytes: &[u8]) -> Option<Value> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    };
    let first = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next()?;
    first.ok().filter(Value::is_object)
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'static, str> {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units).into()
}

/// The bytes as a text: UTF-8, or UTF-16 with its mark, without control characters but those of lines and columns. A last
/// character that was cut is left out. `None` for anything that isn't a text.
pub(super) fn text_of(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) if error.error_len().is_none() => {
                String::from_utf8_lossy(&bytes[..error.valid_up_to()])
            }
            Err(_) => return None,
        },
    };
    let is_mark = |bytes: &[u8]| matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    let is_foreign = |sign: char| {
        sign < ' ' && !sign.is_ascii_whitespace() || sign == char::REPLACEMENT_CHARACTER && is_mark(bytes)
    };
    (!text.contains(is_foreign)).then_some(text)
}

/// Fewest characters of a text that could be a token: shorter ones could be guessed (RFC 6749 §10.10).
pub(super) const SHORTEST_TOKEN_CHARS: usize = 16;

/// Could a token stand anywhere in it, under whatever name? A word or a sentence is none.
pub(super) fn could_hold_a_token(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let named = name.to_ascii_lowercase().contains("token") && !value.is_null();
            named || could_hold_a_token(value)
        }),
        Value::Array(items) => items.iter().any(could_hold_a_token),
        // Also JSON within JSON, and what stands behind `Bearer`.
        Value::String(text) => text_could_hold_a_token(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Could a token stand in a text that isn't JSON?
pub(super) fn text_could_hold_a_token(text: &str) -> bool {
    text.to_ascii_lowercase().contains("token")
        || text.split_ascii_whitespace().any(|word| word.len() >= SHORTEST_TOKEN_CHARS)
}

/// Does a refresh token stand anywhere in it, under whatever spelling of that name?
pub(super) fn holds_refresh_token(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let letters = name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase());
            let named = letters.eq("refreshtoken".chars());
            let filled = !matches!(value, Value::Null | Value::Bool(_)) && value.as_str() != Some("");
            named && filled || holds_refresh_token(value)
        }),
        Value::Array(items) => items.iter().any(holds_refresh_token),
        _ => false,
    }
}
