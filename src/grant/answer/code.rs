//! The code in an answer that says why it holds no pair.

use super::Class;
use crate::provider::{AnswerShape, PERSON_MUST_COME};
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

/// Where servers put objects with a code in them, whatever the profile says.
const USUAL_PLACES: [&str; 2] = ["/error", "/errors"];

/// Names of the code within such an object, most telling first.
const CODE_NAMES: [&str; 6] = ["code", "error_code", "errorCode", "error", "reason", "type"];

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

/// The code within an object or a list, where the profile expects a text, or under `errors`, as it may be shown. Only the
/// code that stands where the profile says means something: this one tells a person what to list.
pub(super) fn nested_code<'body>(body: &'body Value, shape: &AnswerShape) -> Option<&'body str> {
    let named = shape.error_code.iter().filter_map(|pointer| body.pointer(pointer));
    let usual = USUAL_PLACES.iter().filter_map(|pointer| body.pointer(pointer));
    named.chain(usual).find_map(within)
}

/// The first text within an object that looks like a code, under the usual names for one.
fn within(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => within(items.first()?),
        Value::Object(fields) => CODE_NAMES.iter().find_map(|name| {
            let code = fields.get(*name)?.as_str()?;
            (!code.is_empty() && shown_code(code) == code).then_some(code)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// What a code means that the profile lists; a throttled one with the wait that stands beside it. `OpenID` Connect's codes
/// mean the same everywhere, unless the profile lists them otherwise.
pub(super) fn listed_class(code: &str, shape: &AnswerShape, wait: Option<Duration>) -> Option<Class> {
    let lists = [
        (&shape.refused, Class::Refused),
        (&shape.suspected, Class::Suspected),
        (&shape.client_rejected, Class::ClientRejected),
        (&shape.throttled, Class::Throttled(wait)),
        (&shape.transient, Class::Transient),
    ];
    let mut lists = lists.into_iter();
    let listed = lists.find(|(codes, _)| codes.iter().any(|known| known == code)).map(|(_, class)| class);
    listed.or_else(|| PERSON_MUST_COME.contains(&code).then_some(Class::Refused))
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
