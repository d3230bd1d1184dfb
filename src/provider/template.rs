//! Texts with variables in them: `{shop}` stands for the value of the variable `shop`. No functions, no expressions. Pure.

use std::borrow::Cow;

/// The name that stands for a new random id with each request.
pub const UUID: &str = "uuid";

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it stands there.
    Text(&'a str),
    /// A variable, by its name.
    Variable(&'a str),
}

/// Longest text in braces that reads as the name of a variable, in characters.
///
/// A GUID in braces has 36, and is no name.
const LONGEST_NAME_CHARS: usize = 32;

/// What stands in braces and reads as the name of a variable: letters, digits, `_` and `-`, a letter or `_` first.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &str| {
        let first = name.starts_with(|sign: char| sign.is_ascii_alphabetic() || sign == '_');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        first && name.len() <= LONGEST_NAME_CHARS && name.bytes().all(plain)
    };
    parts(text, is_name).into_iter().filter_map(|part| match part {
        Part::Variable(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// The parts of a text. Braces around anything but a name that `is_variable` stay as they are.
pub fn parts(text: &str, is_variable: impl Fn(&str) -> bool) -> Vec<Part<'_>> {
    let (mut parts, mut rest, mut from) = (Vec::new(), text, 0);
    while let Some(open) = rest[from..].find('{').map(|at| from + at) {
        let inside = &rest[open + 1..];
        match inside.find('}').map(|end| &inside[..end]).filter(|name| is_variable(name)) {
            Some(name) => {
                parts.extend((open > 0).then_some(Part::Text(&rest[..open])));
                parts.push(Part::Variable(name));
                rest = &inside[name.len() + 1..];
                from = 0;
            }
            None => from = open + 1,
        }
    }
    parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
    parts
}

/// The text with the value of each variable in its place; `None` of `value` means that the name is none.
///
/// # Errors
/// That of the first value that can't be had.
pub fn filled<'a, 'v, E>(
    text: &'a str,
    value: impl Fn(&str) -> Option<Result<Cow<'v, str>, E>>,
) -> Result<Cow<'a, str>, E> {
    if !text.contains('{') {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::with_capacity(text.len() + 32);
    for part in parts(text, |name| value(name).is_some()) {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Variable(name) => filled.push_str(&value(name).transpose()?.unwrap_or_default()),
        }
    }
    Ok(Cow::Owned(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_in_braces_are_variables() {
        let known = |name: &str| name == "a" || name == "b";
        for (text, expected) in [
            ("", &[][..]),
            ("x", &[Part::Text("x")]),
            ("{a}", &[Part::Variable("a")]),
            ("x{a}y{b}", &[Part::Text("x"), Part::Variable("a"), Part::Text("y"), Part::Variable("b")]),
            ("{c}", &[Part::Text("{c}")]),
            ("{{a}}", &[Part::Text("{"), Part::Variable("a"), Part::Text("}")]),
            ("{\"x\":\"{a}\"}", &[Part::Text("{\"x\":\""), Part::Variable("a"), Part::Text("\"}")]),
            ("{a", &[Part::Text("{a")]),
            ("é{a}", &[Part::Text("é"), Part::Variable("a")]),
        ] {
            assert_eq!(parts(text, known), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_filled_or_the_first_missing_value_is_told() {
        let value = |name: &str| match name {
            "a" => Some(Ok("1".into())),
            "b" => Some(Err("no b")),
            _ => None,
        };
        assert_eq!(filled("x{a}{c}", value), Ok("x1{c}".into()));
        assert_eq!(filled("{a}{b}", value), Err("no b"));
        assert!(matches!(filled("plain", value), Ok(Cow::Borrowed("plain"))));
    }
}
