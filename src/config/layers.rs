//! The layers, one over the other: which value of a key holds, and where it came from.
//!
//! Each value is read and checked once, when it is laid down, and keeps its exact place, so that the winner can be named
//! with its line or variable.

use super::{
    error::ConfigError,
    keys::{self, DefaultValue, KEYS, Key, PROVIDERS},
};
use crate::schedule::RenewAfter;
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Table, Value};

/// Why a value that came out of the layers can be read.
const CHECKED: &str = "every value was checked by its kind when it was laid down";

/// A layer; a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// It isn't set.
    Default,
    /// `evergrant.toml`.
    File,
    /// `.env`.
    EnvFile,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
    /// A program that holds the engine itself.
    Program,
}

impl Layer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::EnvFile => ".env",
            Self::Environment => "environment",
            Self::Flag => "command line",
            Self::Program => "the program's settings",
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The layer.
    pub(super) layer: Layer,
    /// The exact place, for people: `evergrant.toml line 12`.
    pub(super) at: String,
}

/// The value of a key that holds.
struct Setting {
    value: Value,
    origin: Origin,
    /// Of a table, where each entry came from: tables lie over each other entry by entry.
    entries: BTreeMap<String, Origin>,
}

/// All layers, one over the other. Never shown: it holds secrets.
pub(super) struct Layers {
    /// By dotted name.
    settings: BTreeMap<String, Setting>,
    /// Where each named provider was named first.
    introduced: BTreeMap<String, String>,
    /// Where relative paths start that no file names.
    working_directory: PathBuf,
}

impl fmt::Debug for Layers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Layers(redacted)")
    }
}

impl Layers {
    /// The defaults alone.
    pub(super) fn of_defaults(working_directory: &Path) -> Result<Self, ConfigError> {
        let mut layers = Self {
            settings: BTreeMap::new(),
            introduced: BTreeMap::new(),
            working_directory: working_directory.to_owned(),
        };
        for key in KEYS {
            if let DefaultValue::Is(text) = key.default {
                layers.lay_text(key.name, key, text, Layer::Default, "default")?;
            }
        }
        Ok(layers)
    }

    /// Lays a text of the environment or the command line over what is there.
    pub(super) fn lay_text(
        &mut self,
        dotted: &str,
        key: &Key,
        text: &str,
        layer: Layer,
        at: &str,
    ) -> Result<(), ConfigError> {
        let base = self.working_directory.clone();
        self.lay(dotted, key, &key.kind.read(text), &base, layer, at)
    }

    /// Lays a value over what is there; a relative path starts at `base`.
    pub(super) fn lay(
        &mut self,
        dotted: &str,
        key: &Key,
        raw: &Value,
        base: &Path,
        layer: Layer,
        at: &str,
    ) -> Result<(), ConfigError> {
        let value = key.kind.check(raw, base).map_err(|misfit| ConfigError::Value {
            at: at.to_owned(),
            key: dotted.to_owned(),
            hint: (misfit.found == "empty").then(|| format!("leave `{dotted}` out where it has no value")),
            found: misfit.found,
            expected: misfit.expected,
        })?;
        if let Some((provider, _)) = keys::of_named_provider(dotted) {
            self.introduce(provider, at);
        }
        self.put(dotted, value, Origin { layer, at: at.to_owned() });
        Ok(())
    }

    fn put(&mut self, dotted: &str, value: Value, origin: Origin) {
        let names = value.as_table().into_iter().flat_map(Table::keys);
        let entries = names.map(|name| (name.clone(), origin.clone())).collect();
        let mut setting = Setting { value, origin, entries };
        if let Some(Setting { value: Value::Table(below), entries, .. }) = self.settings.remove(dotted)
            && let Value::Table(table) = &mut setting.value
        {
            for (name, value) in below {
                table.entry(name).or_insert(value);
            }
            for (name, origin) in entries {
                setting.entries.entry(name).or_insert(origin);
            }
        }
        self.settings.insert(dotted.to_owned(), setting);
    }

    /// Makes a named provider known, even where none of its keys is set.
    pub(super) fn introduce(&mut self, name: &str, at: &str) {
        self.introduced.entry(name.to_owned()).or_insert_with(|| at.to_owned());
    }

    /// The names of `[providers.NAME]`, sorted.
    pub(super) fn provider_names(&self) -> Vec<String> {
        self.introduced.keys().cloned().collect()
    }

    /// `[providers.NAME]` and where it was named first, for a message.
    pub(super) fn quoted_provider(&self, name: &str) -> String {
        let at = self.introduced.get(name).map(|at| format!(" ({at})")).unwrap_or_default();
        format!("`[{PROVIDERS}.{name}]`{at}")
    }

    /// The value that holds, `None` where none is set and there is no default.
    pub(super) fn value(&self, dotted: &str) -> Option<&Value> {
        self.settings.get(dotted).map(|setting| &setting.value)
    }

    /// Where the value that holds came from; of a key, or of an entry of a table.
    pub(super) fn origin(&self, dotted: &str) -> Option<&Origin> {
        // An entry's name may have dots in it.
        let entry = |(dot, _)| self.settings.get(&dotted[..dot])?.entries.get(&dotted[dot + 1..]);
        let key = self.settings.get(dotted).map(|setting| &setting.origin);
        key.or_else(|| dotted.match_indices('.').find_map(entry))
    }

    /// Where the value that holds came from, for a message; `default` where none is set.
    pub(super) fn at(&self, dotted: &str) -> String {
        self.origin(dotted).map_or_else(|| "default".to_owned(), |origin| origin.at.clone())
    }

    /// Is it set?
    pub(super) fn is_set(&self, dotted: &str) -> bool {
        self.origin(dotted).is_some_and(|origin| origin.layer > Layer::Default)
    }

    /// The text that holds.
    pub(super) fn text(&self, dotted: &str) -> Option<String> {
        self.value(dotted).and_then(Value::as_str).map(str::to_owned)
    }

    /// The path that holds.
    pub(super) fn path(&self, dotted: &str) -> Option<PathBuf> {
        self.text(dotted).map(PathBuf::from)
    }

    /// A key that has a default.
    pub(super) fn defaulted<T: DeserializeOwned>(&self, dotted: &str) -> T {
        self.read(dotted).expect(CHECKED)
    }

    /// The value that holds, as this type.
    pub(super) fn read<T: DeserializeOwned>(&self, dotted: &str) -> Option<T> {
        self.value(dotted).map(|value| value.clone().try_into().expect(CHECKED))
    }

    /// All keys below `prefix` that have a value, as one table.
    pub(super) fn below<T: DeserializeOwned>(&self, prefix: &str) -> T {
        let inner = |(dotted, setting): (&String, &Setting)| {
            let name = dotted.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((name.to_owned(), setting.value.clone()))
        };
        let table: Table = self.settings.iter().filter_map(inner).collect();
        table.try_into().expect(CHECKED)
    }

    /// A duration that has a default.
    pub(super) fn duration(&self, dotted: &str) -> Duration {
        humantime::parse_duration(&self.defaulted::<String>(dotted)).expect(CHECKED)
    }

    /// A share that has a default.
    pub(super) fn share(&self, dotted: &str) -> RenewAfter {
        self.defaulted::<String>(dotted).parse().expect(CHECKED)
    }

    /// `lease = "10min" (default)`, for a message that shows two settings.
    pub(super) fn quoted(&self, dotted: &str) -> String {
        let secret = keys::find(dotted).is_none_or(|key| key.kind.is_secret());
        match self.text(dotted) {
            Some(text) if !secret => format!("`{dotted} = \"{text}\"` ({})", self.at(dotted)),
            _ => format!("`{dotted}` ({})", self.at(dotted)),
        }
    }
}
