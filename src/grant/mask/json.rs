//! Masking of JSON, whole or cut, sign by sign: white space, numbers and members that come twice stay as they are.

use super::text::unescaped;
use super::{Masks, Named, plain};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

/// An object or an array that is open.
struct Level {
    is_object: bool,
    /// What its name says of everything in it.
    within: Named,
    /// What the last name says of the value behind it; `None` where a name is expected.
    next: Option<Named>,
}

impl Masks<'_> {
    /// Masks the texts, the names and the bare words of a JSON text.
    pub(super) fn json(&mut self, text: &str, within: Named, depth: usize) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut levels: Vec<Level> = Vec::new();
        let mut rest = text;
        while let Some(sign) = rest.chars().next() {
            let named = levels.last().map_or(within, |level| level.next.unwrap_or(Named::Nothing));
            match sign {
                '"' => {
                    let (literal, behind) = literal(rest);
                    let is_name = levels.last().is_some_and(|level| level.is_object && level.next.is_none());
                    let clear = Zeroizing::new(decoded(literal));
                    let value =
                        if is_name { self.text(&clear, depth) } else { self.value(named, &clear, depth) };
                    if value == *clear {
                        masked.push_str(literal);
                    } else {
                        let value = Value::String(value).to_string();
                        let is_closed = literal.len() > 1 && literal.ends_with('"');
                        masked.push_str(if is_closed { &value } else { &value[..value.len() - 1] });
                    }
                    if is_name && let Some(level) = levels.last_mut() {
                        let found = self.named(&clear);
                        level.next = Some(if found == Named::Token { found } else { level.within });
                    }
                    rest = behind;
                    continue;
                }
                '{' | '[' => {
                    let is_object = sign == '{';
                    let within = if is_object && named == Named::Token { Named::Within } else { named };
                    levels.push(Level { is_object, within, next: (!is_object).then_some(within) });
                }
                '}' | ']' => drop(levels.pop()),
                ',' => {
                    if let Some(level) = levels.last_mut() {
                        level.next = (!level.is_object).then_some(level.within);
                    }
                }
                _ if sign == ':' || sign.is_whitespace() => {}
                _ => {
                    let end = rest.find(['"', '{', '}', '[', ']', ',', ':', '\n', '\r', ' ', '\t']);
                    let (bare, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    masked.push_str(&self.bare(bare, named, depth));
                    rest = behind;
                    continue;
                }
            }
            masked.push(sign);
            rest = &rest[sign.len_utf8()..];
        }
        masked
    }

    /// A number or a word outside of quotes.
    fn bare(&mut self, bare: &str, named: Named, depth: usize) -> String {
        let is_word = matches!(bare, "true" | "false" | "null");
        if is_word || plain::is_number(bare) && named != Named::Token {
            return bare.to_owned();
        }
        if plain::is_number(bare) {
            return "0".to_owned();
        }
        let masked = self.value(named, bare, depth);
        if masked == bare || bare.bytes().any(|byte| !byte.is_ascii_digit()) {
            return masked;
        }
        // A number that is too long for one.
        format!("\"{masked}\"")
    }
}

/// The text in quotes at the beginning, with its quotes, and what stands behind it. The last one of a cut text has no end.
fn literal(text: &str) -> (&str, &str) {
    let mut is_escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return text.split_at(at + 1),
            _ => {}
        }
    }
    (text, "")
}

/// The text that a literal stands for. One that is cut or no JSON is read as far as possible.
fn decoded(literal: &str) -> String {
    serde_json::from_str(literal).unwrap_or_else(|_| {
        let inner = literal.strip_prefix('"').unwrap_or(literal);
        unescaped_json(inner.strip_suffix('"').filter(|_| literal.len() > 1).unwrap_or(inner))
    })
}

/// Without JSON's escapes, but percent signs stay.
fn unescaped_json(text: &str) -> String {
    if text.contains('\\') { unescaped(&text.replace('%', "%25")) } else { text.to_owned() }
}
