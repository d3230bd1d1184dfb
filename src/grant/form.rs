//! A body as a form (`application/x-www-form-urlencoded`), read as an object of texts. Pure.

use super::body::{Body, holds_refresh_token};
use percent_encoding::percent_decode;
use secrecy::zeroize::Zeroizing;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Reads a body that came whole. One that begins as JSON is JSON: many servers choose by the request, or answer an error
/// so; and a page is no form.
pub(super) fn read(bytes: &[u8]) -> Body {
    let text = bytes.trim_ascii();
    match text.first() {
        None | Some(b'<') => Body::Other,
        Some(b'{' | b'[') => Body::read(bytes),
        Some(_) => match object(text) {
            Some((members, true)) => Body::Json(members),
            Some((members, false)) => Body::Mended(members),
            None => Body::Other,
        },
    }
}

/// What stands complete in a form that was cut: nothing says of the last value that it came to its end.
pub(super) fn complete_part(bytes: &[u8]) -> Option<Value> {
    let text = bytes.trim_ascii_start();
    if matches!(text.first(), None | Some(b'<' | b'{' | b'[')) {
        return None;
    }
    let end = text.iter().rposition(|byte| *byte == b'&')?;
    let (members, _) = object(&text[..end])?;
    let last = &text[end + 1..];
    let name = &last[..last.iter().position(|byte| *byte == b'=').unwrap_or(0)];
    // Even one that was cut: it would have been another value.
    members.get(&decoded(name).0).is_none().then_some(members)
}

/// Does a refresh token stand in a form, whole? Also where two of a name do, of which none is believed; the last value of
/// one that was cut is not whole.
pub(super) fn names_a_refresh_token(bytes: &[u8], complete: bool) -> bool {
    let text = bytes.trim_ascii();
    if matches!(text.first(), None | Some(b'<' | b'{' | b'[')) {
        return false;
    }
    let fields: Vec<_> = text.split(|byte| *byte == b'&').collect();
    let whole = fields.len() - usize::from(!complete);
    fields[..whole].iter().filter_map(|field| object(field)).any(|(member, _)| holds_refresh_token(&member))
}

/// The fields, and whether every byte of them is as it should be. `None` where there are none, and where a name has two
/// values: it isn't known which one counts.
fn object(text: &[u8]) -> Option<(Value, bool)> {
    let mut members = Map::new();
    let mut is_well_formed = true;
    for field in text.split(|byte| *byte == b'&').filter(|field| !field.is_empty()) {
        let Some(equals) = field.iter().position(|byte| *byte == b'=') else {
            is_well_formed = false;
            continue;
        };
        let (name, named_well) = decoded(&field[..equals]);
        let (value, valued_well) = decoded(&field[equals + 1..]);
        is_well_formed &= named_well && valued_well && !name.is_empty();
        let value = Value::String(value);
        match members.get(&name) {
            Some(earlier) if *earlier == value => {}
            Some(_) => return None,
            None => drop(members.insert(name, value)),
        }
    }
    (!members.is_empty()).then_some((Value::Object(members), is_well_formed))
}

/// A name or a value, and whether it was written as it should be: visible ASCII, and whole escapes of UTF-8.
fn decoded(text: &[u8]) -> (String, bool) {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let escaped = |at: usize| hex(text.get(at + 1)) && hex(text.get(at + 2));
    let plain = (0..text.len()).all(|at| match text[at] {
        b'%' => escaped(at),
        byte => byte.is_ascii_graphic(),
    });
    let spaced = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    let spaced = Zeroizing::new(spaced.collect::<Vec<u8>>());
    let bytes = Zeroizing::new(percent_decode(&spaced).collect::<Vec<u8>>());
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(text) => (text.to_owned(), plain),
        Cow::Owned(text) => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_is_an_object_of_texts() {
        for (text, expected, well) in [
            ("a=b&c=d", json!({ "a": "b", "c": "d" }), true),
            ("a=b%2Fc+d&n=5\r\n", json!({ "a": "b/c d", "n": "5" }), true),
            ("a=b==&c=", json!({ "a": "b==", "c": "" }), true),
            ("a=b&a=b&", json!({ "a": "b" }), true),
            ("a=%c3%a9", json!({ "a": "é" }), true),
            // As forgiving as a pair needs, and told apart.
            ("a=b&c", json!({ "a": "b" }), false),
            ("a=100%", json!({ "a": "100%" }), false),
            ("a=%ff", json!({ "a": "\u{fffd}" }), false),
            ("a=b c", json!({ "a": "b c" }), false),
            ("a=é", json!({ "a": "é" }), false),
        ] {
            let body = read(text.as_bytes());
            assert_eq!((body.value(), body.is_well_formed()), (Some(&expected), well), "{text}");
        }
        for text in ["", " ", "OK", "a=b&a=c", "<a href=b>"] {
            assert!(matches!(read(text.as_bytes()), Body::Other), "{text}");
        }
        assert!(read(br#"{"a":"b"}"#).is_well_formed(), "JSON all the same");
        assert!(matches!(read(br#"{"a":"b"#), Body::Cut));
    }

    #[test]
    fn the_last_value_of_a_cut_form_is_not_believed() {
        for (text, expected) in [
            ("a=b&c=d", Some(json!({ "a": "b" }))),
            ("a=b&c=d&", Some(json!({ "a": "b", "c": "d" }))),
            ("a=b", None),
            ("", None),
            ("a=b&a=c&d", None),
            ("a=b&c=d&a=", None),
            ("<a&b=c&", None),
            (r#"{"a":"&"#, None),
        ] {
            assert_eq!(complete_part(text.as_bytes()), expected, "{text}");
        }
    }
}
