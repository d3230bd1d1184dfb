//! `evergrant.toml`, with the line of each key.

use super::{
    error::ConfigError,
    keys::{self, PROVIDERS},
    kind::describe,
    layers::{Layer, Layers},
};
use crate::provider::file::line_of;
use std::{borrow::Cow, path::Path};
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

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
            let found = |found: String, expected| ConfigError::Value {
                at: at.clone(),
                key: dotted.clone(),
                found,
                expected,
                hint: None,
            };
            if prefix == PROVIDERS {
                check_provider_name(name.get_ref(), &at)?;
            }
            if let Some(key) = keys::find(&dotted) {
                let value = read(value.get_ref());
                let value = value.map_err(|words| found(words.to_owned(), key.kind.expected()))?;
                layers.lay(&dotted, key, &value, self.base, Layer::File, &at)?;
            } else if !keys::is_table(&dotted) {
                let nearest = keys::nearest(&dotted);
                return Err(ConfigError::UnknownKey { at, what: "key", name: dotted, nearest });
            } else if let DeValue::Table(inner) = value.get_ref() {
                if prefix == PROVIDERS {
                    layers.introduce(name.get_ref(), &at);
                }
                self.lay_table(layers, &dotted, inner)?;
            } else {
                // What stands there may be a URL with a password.
                let shown = read(value.get_ref()).map_or_else(str::to_owned, |value| describe(&value, true));
                return Err(found(shown, format!("a table of keys, like `[{dotted}]`")));
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

/// The value; in words what it is where none of ours can hold it.
fn read(value: &DeValue<'_>) -> Result<Value, &'static str> {
    Ok(match value {
        DeValue::String(text) => Value::from(&**text),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Value::Integer)
            .map_err(|_| "a number that is too large")?,
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| "a number")?),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(date) => Value::Datetime(*date),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| read(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entry = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                Ok((name.get_ref().to_string(), read(value.get_ref())?))
            };
            Value::Table(table.iter().map(entry).collect::<Result<_, &str>>()?)
        }
    })
}
