//! The code in an answer that says why it holds no pair.

use super::Class;
use crate::provider::AnswerShape;
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// Longest error code that is shown; longer ones, and ones with other than code characters, are not.
///
/// The longest in RFC 6749 has 22 characters; a token put into the wrong field by mistake is longer.
const MAX_CODE_CHARS: usize = 32;

/// Longest run of letters and digits in a code that is shown, where a digit is among them.
///
/// Codes are words and numbers (`AADSTS700082`); a longer mixture is more likely a token in the wrong field.
const MAX_MIXED_RUN_CHARS: usize = 15;

/// The code that an answer holds, by the first of the profile's places where one stands.
pub(super) fn find_code<'body>(body: &'body Value, shape: &AnswerShape) -> Option<Cow<'body, str>> {
    shape.error_code.iter().find_map(|pointer| match body.pointer(pointer)? {
        Value::String(code) if !code.is_empty() => Some(Cow::Borrowed(code.as_str())),
        // A number is a code only where the profile knows it: `0` often stands beside a success.
        Value::Number(number) => {
            Some(Cow::Owned(number.to_string())).filter(|code| listed_class(code, shape, None).is_some())
        }
        _ => None,
    })
}

/// What a code means that the profile lists; a throttled one with the wait that stands beside it.
pub(super) fn listed_class(code: &str, shape: &AnswerShape, wait: Option<Duration>) -> Option<Class> {
    let lists = [
        (&shape.refused, Class::Refused),
        (&shape.suspected, Class::Suspected),
        (&shape.client_rejected, Class::ClientRejected),
        (&shape.throttled, Class::Throttled(wait)),
        (&shape.transient, Class::Transient),
    ];
    let mut lists = lists.into_iter();
    lists.find(|(codes, _)| codes.iter().any(|known| known == code)).map(|(_, class)| class)
}

/// An unknown code as it may be shown: a free text, or a token, in its place could hold anything.
pub(super) fn shown_code(code: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let token_like = |run: &str| run.len() > MAX_MIXED_RUN_CHARS && run.bytes().any(|b| b.is_ascii_digit());
    let shown = code.len() <= MAX_CODE_CHARS
        && code.chars().all(plain)
        && !code.split(|c: char| !c.is_ascii_alphanumeric()).any(token_like);
    if shown { code } else { "unlisted_code" }
}
