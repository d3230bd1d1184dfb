//! The layers, one over the other: which value of a key holds, and where it came from.
//!
//! Each value is laid down on its own, with its exact place as its metadata, so that the winner can be named with its
//! line or variable.

use super::{
    error::ConfigError,
    keys::{self, DefaultValue, KEYS, Key, PROVIDERS},
    kind::Raw,
};
use crate::schedule::RenewAfter;
use figment::{
    Figment, Metadata, Profile,
    error::Error,
    util::nest,
    value::{Dict, Map, Value},
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

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
    const ALL: [Self; 6] =
        [Self::Default, Self::File, Self::EnvFile, Self::Environment, Self::Flag, Self::Program];

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

    /// The layer that a value's metadata names.
    fn of(metadata: &Metadata) -> Self {
        let named = metadata.source.as_ref().and_then(|source| source.custom());
        Self::ALL.into_iter().find(|layer| Some(layer.name()) == named).unwrap_or(Self::Default)
    }
}

/// One value of one key from one place.
struct Setting<'a> {
    dotted: &'a str,
    value: Value,
    layer: Layer,
    at: &'a str,
}

impl figment::Provider for Setting<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.at.to_owned()).source(self.layer.name())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let dict = nest(self.dotted, self.value.clone()).into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
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

/// All layers, one over the other. Never shown: it holds secrets.
pub(super) struct Layers {
    figment: Figment,
    /// Where each named provider was named first; the layers would say where its last key stands.
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
            figment: Figment::new(),
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
        raw: &Raw,
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
        self.merge(&Setting { dotted, value, layer, at });
        Ok(())
    }

    /// Makes a named provider known although none of its keys is set yet.
    pub(super) fn introduce(&mut self, name: &str, layer: Layer, at: &str) {
        let dotted = format!("{PROVIDERS}.{name}");
        self.introduced.entry(name.to_owned()).or_insert_with(|| at.to_owned());
        self.merge(&Setting { dotted: &dotted, value: Dict::new().into(), layer, at });
    }

    fn merge(&mut self, setting: &Setting<'_>) {
        self.figment = std::mem::take(&mut self.figment).merge(setting);
    }

    /// The names of `[providers.NAME]`, sorted.
    pub(super) fn provider_names(&self) -> Vec<String> {
        let providers = self.figment.find_value(PROVIDERS).ok().and_then(Value::into_dict);
        providers.map_or_else(Vec::new, |providers| providers.into_keys().collect())
    }

    /// `[providers.NAME]` and where it was named first, for a message.
    pub(super) fn quoted_provider(&self, name: &str) -> String {
        let at = self.introduced.get(name).map_or("command line", String::as_str);
        format!("`[{PROVIDERS}.{name}]` ({at})")
    }

    /// The value that holds, `None` where none is set and there is no default.
    pub(super) fn value(&self, dotted: &str) -> Option<Value> {
        self.figment.find_value(dotted).ok()
    }

    /// Where the value that holds came from.
    pub(super) fn origin(&self, dotted: &str) -> Option<Origin> {
        let value = self.value(dotted)?;
        let metadata = self.figment.get_metadata(value.tag());
        Some(Origin {
            layer: metadata.map_or(Layer::Default, Layer::of),
            at: metadata.map_or_else(|| "default".to_owned(), |metadata| metadata.name.to_string()),
        })
    }

    /// Where the value that holds came from, for a message; `default` where none is set.
    pub(super) fn at(&self, dotted: &str) -> String {
        self.origin(dotted).map_or_else(|| "default".to_owned(), |origin| origin.at)
    }

    /// Is it set?
    pub(super) fn is_set(&self, dotted: &str) -> bool {
        self.origin(dotted).is_some_and(|origin| origin.layer > Layer::Default)
    }

    /// The text that holds.
    pub(super) fn text(&self, dotted: &str) -> Option<String> {
        self.value(dotted).and_then(Value::into_string)
    }

    /// The path that holds.
    pub(super) fn path(&self, dotted: &str) -> Option<PathBuf> {
        self.text(dotted).map(PathBuf::from)
    }

    /// A key that has a default.
    pub(super) fn defaulted<T: DeserializeOwned>(&self, dotted: &str) -> T {
        self.figment.extract_inner(dotted).expect(CHECKED)
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
