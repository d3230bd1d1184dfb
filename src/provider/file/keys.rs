//! Keys of a profile file that no profile has: each with its line, and the key that was meant. Pure.

use super::line_of;
use crate::nearest::nearest_of;
use crate::provider::example::Example;
use crate::provider::request::RequestShape;
use crate::provider::rules::Rule;
use crate::provider::{AnswerShape, Profile};
use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::de::{DeTable, DeValue};

/// The key of a file alone: which profile it lies over.
pub(super) const EXTENDS: &str = "extends";

/// A key that no profile has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// Its name with those of its tables: `answer.acess_token`.
    pub(super) key: String,
    /// Its line, from 1.
    pub(super) line: usize,
    /// The key that it may have been meant for.
    pub(super) nearest: Option<String>,
}

/// The first key that no profile has.
pub(super) fn unknown(text: &str, table: &DeTable<'_>) -> Option<Unknown> {
    let top = [fields::<Profile>(), &[EXTENDS]].concat();
    in_table(text, "", table, &top).or_else(|| {
        table.iter().find_map(|(name, value)| match (name.get_ref().as_ref(), value.get_ref()) {
            ("request", DeValue::Table(inner)) => in_table(text, "request.", inner, fields::<RequestShape>()),
            ("answer", DeValue::Table(inner)) => {
                let rules = inner.iter().find(|(name, _)| name.get_ref() == "rules");
                in_table(text, "answer.", inner, fields::<AnswerShape>())
                    .or_else(|| in_each(text, "answer.rules.", rules?.1.get_ref(), fields::<Rule>()))
            }
            ("example", tables) => in_each(text, "example.", tables, fields::<Example>()),
            _ => None,
        })
    })
}

fn in_each(text: &str, prefix: &str, tables: &DeValue<'_>, known: &[&str]) -> Option<Unknown> {
    let DeValue::Array(tables) = tables else { return None };
    tables.iter().find_map(|table| match table.get_ref() {
        DeValue::Table(table) => in_table(text, prefix, table, known),
        _ => None,
    })
}

fn in_table(text: &str, prefix: &str, table: &DeTable<'_>, known: &[&str]) -> Option<Unknown> {
    let (name, _) = table.iter().find(|(name, _)| !known.contains(&name.get_ref().as_ref()))?;
    let key = format!("{prefix}{}", name.get_ref());
    let here = nearest_of(name.get_ref(), known.iter().copied()).map(|near| format!("{prefix}{near}"));
    let nearest = here.or_else(|| {
        let all = all();
        nearest_of(&key, all.iter().map(String::as_str)).map(str::to_owned)
    });
    Some(Unknown { key, line: line_of(text, name.span().start), nearest })
}

/// The keys of all tables that stand once.
fn all() -> Vec<String> {
    let tables = [
        ("", fields::<Profile>()),
        ("request.", fields::<RequestShape>()),
        ("answer.", fields::<AnswerShape>()),
    ];
    tables
        .iter()
        .flat_map(|(prefix, names)| names.iter().map(move |name| format!("{prefix}{name}")))
        .collect()
}

/// The names of a type's fields, as files write them: those that its own reader knows.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It fails in any case: nothing is read.
    let _ = T::deserialize(Names(&mut names));
    names
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only the names of fields are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_profile_has_is_told_with_its_line_and_the_key_that_was_meant() {
        let found = |text: &str| {
            let table = DeTable::parse(text).unwrap();
            unknown(text, table.get_ref()).map(|found| (found.key, found.line, found.nearest))
        };
        for (text, key, line, nearest) in [
            ("\n\ntokenurl = \"x\"", "tokenurl", 3, Some("token_url")),
            ("colour = \"red\"", "colour", 1, None),
            ("[answer]\nacess_token = \"/a\"", "answer.acess_token", 2, Some("answer.access_token")),
            ("[answer]\n\nexpiresIn = \"/a\"", "answer.expiresIn", 3, Some("answer.expires_in")),
            ("request = { refreshToken = \"x\" }", "request.refreshToken", 1, Some("request.refresh_token")),
            ("encoding = \"json\"", "encoding", 1, Some("request.encoding")),
            ("answer.rules = [\n{ staus = 401 }]", "answer.rules.staus", 2, Some("answer.rules.status")),
            (
                "[[example]]\nname = \"a\"\n[[example]]\nmean = \"b\"",
                "example.mean",
                4,
                Some("example.means"),
            ),
        ] {
            let expected = (key.to_owned(), line, nearest.map(str::to_owned));
            assert_eq!(found(text), Some(expected), "{text}");
        }
        for text in [
            "extends = \"box\"\nconcurrency = 2",
            "[answer]\nrules = 5",
            "[variables]\nany = \"label\"",
            "answer = 5",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn every_key_of_every_built_in_profile_is_known() {
        for name in crate::provider::profile::names() {
            let text = crate::provider::profile::text(name).unwrap();
            let table = DeTable::parse(text).unwrap();
            assert_eq!(unknown(text, table.get_ref()), None, "{name}");
        }
    }
}
