//! `evergrant.toml`, with the line of each key.

use super::{
    error::ConfigError,
    keys::{self, PROVIDERS},
    kind::Raw,
    layers::{Layer, Layers},
};
use crate::provider::file::line_of;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Lays a file's text over the layers; `shown` is how messages name the file.
pub(super) fn lay(layers: &mut Layers, path: &Path, shown: &str, text: &str) -> Result<(), ConfigError> {
    let document = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        at: match error.span() {
            Some(span) => format!("{shown} line {}", line_of(text, span.start)),
            None => shown.to_owned(),
        },
        problem: error.message().to_owned(),
        hint: None,
    })?;
    let base = path.parent().unwrap_or(Path::new("."));
    File { base, shown, text }.lay_table(layers, "", document.get_ref())
}

struct File<'a> {
    base: &'a Path,
    shown: &'a str,
    text: &'a str,
}

impl File<'_> {
    fn lay_table(&self, layers: &mut Layers, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let dotted = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let at = format!("{} line {}", self.shown, line_of(self.text, name.span().start));
            let raw = raw(value.get_ref());
            if prefix == PROVIDERS {
                check_provider_name(name.get_ref(), &at)?;
            }
            if let Some(key) = keys::find(&dotted) {
                layers.lay(&dotted, key, &raw, self.base, Layer::File, &at)?;
            } else if !keys::is_table(&dotted) {
                let nearest = keys::nearest(&dotted);
                return Err(ConfigError::UnknownKey { at, what: "key", name: dotted, nearest });
            } else if let DeValue::Table(inner) = value.get_ref() {
                if prefix == PROVIDERS {
                    layers.introduce(name.get_ref(), Layer::File, &at);
                }
                self.lay_table(layers, &dotted, inner)?;
            } else {
                let expected = format!("a table of keys, like `[{dotted}]`");
                // What stands there may be a URL with a password.
                return Err(ConfigError::Value {
                    at,
                    key: dotted,
                    found: raw.describe(true),
                    expected,
                    hint: None,
                });
            }
        }
        Ok(())
    }
}

/// Can it be part of a variable's name and of a credential's file name?
pub(super) fn is_provider_name(name: &str) -> bool {
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    !name.is_empty() && name.chars().all(good)
}

/// Refuses other names.
pub(super) fn check_provider_name(name: &str, at: &str) -> Result<(), ConfigError> {
    if is_provider_name(name) {
        return Ok(());
    }
    Err(ConfigError::Value {
        at: at.to_owned(),
        key: PROVIDERS.to_owned(),
        found: format!("a table with the name `{name}` in it"),
        expected: "names of letters, digits, `-` and `_`".to_owned(),
        hint: None,
    })
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number that is too large"), Raw::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other("a number"), Raw::Float),
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Table(table) => Raw::Table(
            table.iter().map(|(name, value)| (name.get_ref().to_string(), raw(value.get_ref()))).collect(),
        ),
    }
}
