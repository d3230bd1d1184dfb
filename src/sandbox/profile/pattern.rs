//! Texts of a profile with variables in them, as they are looked for in a request.

use crate::provider::variable::{Kind, Variable};
use std::collections::BTreeMap;

/// The name that stands for a random id, new with each request.
const UUID: &str = "uuid";

/// A text of which parts may differ from request to request.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Variable(Kind),
    Uuid,
}

impl Pattern {
    /// Reads a text: `{NAME}` stands for a variable of the profile, `{uuid}` for a random id; other braces for themselves.
    pub(super) fn new(text: &str, variables: &BTreeMap<String, Variable>) -> Self {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(sign) = rest.chars().next() {
            let named = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let part = named.and_then(|(name, _)| match variables.get(name) {
                Some(variable) => Some(Part::Variable(variable.kind.clone())),
                None => (name == UUID).then_some(Part::Uuid),
            });
            let Some((part, (_, after))) = part.zip(named) else {
                plain.push(sign);
                rest = &rest[sign.len_utf8()..];
                continue;
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part);
            rest = after;
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// Is it the same in all requests?
    pub(super) fn is_literal(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Is the whole text of this form?
    pub(super) fn fits(&self, text: &str) -> bool {
        fits(&self.0, text)
    }
}

fn fits(parts: &[Part], text: &str) -> bool {
    let Some((first, rest)) = parts.split_first() else { return text.is_empty() };
    match first {
        Part::Text(literal) => text.strip_prefix(literal.as_str()).is_some_and(|after| fits(rest, after)),
        Part::Uuid => text.split_at_checked(36).is_some_and(|(id, after)| is_uuid(id) && fits(rest, after)),
        Part::Variable(kind) => {
            let ends = text.char_indices().map(|(at, sign)| at + sign.len_utf8());
            ends.map(|end| text.split_at(end)).any(|(value, after)| holds(kind, value) && fits(rest, after))
        }
    }
}

/// May a variable of this kind hold the text?
fn holds(kind: &Kind, text: &str) -> bool {
    let all = |known: fn(u8) -> bool| text.bytes().all(known);
    match kind {
        Kind::Label => all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
        Kind::Segment => all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)),
        Kind::OneOf(texts) => texts.iter().any(|known| known == text),
        Kind::Hosts(domains) => domains.iter().any(|domain| {
            let before = text.strip_suffix(domain.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        }),
        Kind::Text | Kind::Secret => all(|byte| matches!(byte, b' '..=b'~')),
    }
}

/// RFC 9562 §4: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn is_uuid(text: &str) -> bool {
    let is_form = |(at, byte): (usize, u8)| {
        if [8, 13, 18, 23].contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.bytes().enumerate().all(is_form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let table: toml::Table =
            "[v]\nshop = \"label\"\nid = \"segment\"\ndc = { one_of = [\"eu\", \"com.au\"] }\nhost = { hosts = [\"a.com\"] }\nkey = \"secret\""
                .parse()
                .unwrap();
        Pattern::new(text, &table["v"].clone().try_into().unwrap())
    }

    #[test]
    fn a_variable_stands_for_what_its_kind_may_hold() {
        for (text, good, bad) in [
            ("plain", &["plain"][..], &["", "plain ", "Plain"][..]),
            ("{shop}", &["acme-1"], &["", "Acme", "a.b"]),
            ("v{id}.json", &["v1.json", "v.json.json"], &["v.json", "v/.json", "v1.jso"]),
            ("{dc}", &["eu", "com.au"], &["us", "com", ""]),
            ("{host}", &["a.com", "x.a.com"], &["b.com", "xa.com", ""]),
            ("Key {key}!", &["Key s3 cret!"], &["Key !", "s3cret!"]),
            (
                "{uuid}",
                &["0a1b2c3d-0000-4000-8000-0123456789ab"],
                &["", "0a1b2c3d00004000-8000-0123456789abcd--"],
            ),
            ("{other}", &["{other}"], &["x"]),
            ("{{shop}", &["{acme"], &["acme"]),
        ] {
            for value in good {
                assert!(pattern(text).fits(value), "{text}: {value}");
            }
            for value in bad {
                assert!(!pattern(text).fits(value), "{text}: {value}");
            }
        }
        assert!(pattern("{other}").is_literal() && !pattern("a{id}").is_literal());
    }
}
