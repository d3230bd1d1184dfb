//! Where the keys of each provider stand, and which profile they lie over.

use crate::config::{
    error::ConfigError,
    file::is_provider_name,
    keys::{self, KEYS, PROVIDERS, Place},
    layers::Layers,
};
use crate::provider::{file, profile};

/// Where a person sees which profiles there are.
const PROFILES: &str = "`evergrant providers list` shows them; or a file, like `./own.toml`";

/// Where one provider's keys stand: at the top, or in `[providers.NAME]`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Scope {
    /// The provider's name.
    pub(in crate::config) name: String,
    /// Empty, or `providers.NAME.`.
    pub(super) prefix: String,
    /// The name of its profile.
    pub(super) profile_name: String,
}

impl Scope {
    /// The dotted name of one of its keys.
    pub(in crate::config) fn dotted(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A setting with its value and its place, which may be the profile.
    pub(in crate::config) fn quoted(&self, layers: &Layers, key: &str, value: &str) -> String {
        let dotted = self.dotted(key);
        let at = layers.origin(&dotted).map(|origin| origin.at.clone());
        let at = at.unwrap_or_else(|| format!("the profile `{}`", self.profile_name));
        format!("`{dotted} = \"{value}\"` ({at})")
    }

    pub(in crate::config) fn missing(&self, problem: &str, key: &str, what: &str) -> ConfigError {
        let dotted = self.dotted(key);
        ConfigError::Missing {
            problem: format!("the provider `{}` has no {problem}", self.name),
            variable: keys::variable(&dotted),
            key: dotted,
            what: what.to_owned(),
        }
    }
}

/// The only provider, from the keys at the top.
pub(super) fn only_scope(layers: &Layers, looked_for: &str) -> Result<Scope, ConfigError> {
    let name = layers.text("provider").ok_or_else(|| ConfigError::Missing {
        problem: format!("no provider is configured ({looked_for})"),
        key: "provider".to_owned(),
        variable: keys::variable("provider"),
        what: format!("a profile ({PROFILES})"),
    })?;
    check_profile_name(layers, "provider", &name)?;
    let own = if file::is_file(&name) { file::stem(&name) } else { name.clone() };
    if !is_provider_name(&own) {
        return Err(ConfigError::Value {
            at: layers.at("provider"),
            key: "provider".to_owned(),
            found: format!("a file with the name {own:?}"),
            expected: "a file whose name is letters, digits, `-` and `_`: it is the provider's name, too"
                .to_owned(),
            hint: None,
        });
    }
    Ok(Scope { prefix: String::new(), profile_name: name, name: own })
}

/// A provider of `[providers.NAME]`; its profile is the one of its own name where it sets none.
pub(super) fn named_scope(layers: &Layers, name: &str) -> Result<Scope, ConfigError> {
    let prefix = format!("{PROVIDERS}.{name}.");
    let key = format!("{prefix}profile");
    let profile_name = match layers.text(&key) {
        Some(profile_name) => {
            check_profile_name(layers, &key, &profile_name)?;
            profile_name
        }
        None if profile::names().any(|known| known == name) => name.to_owned(),
        None => {
            return Err(ConfigError::Missing {
                problem: format!("{} has no profile, and its name isn't one", layers.quoted_provider(name)),
                variable: keys::variable(&key),
                key,
                what: format!("a profile ({PROFILES})"),
            });
        }
    };
    Ok(Scope { name: name.to_owned(), prefix, profile_name })
}

fn check_profile_name(layers: &Layers, key: &str, name: &str) -> Result<(), ConfigError> {
    if profile::names().any(|known| known == name) || file::is_file(name) {
        return Ok(());
    }
    let nearest = crate::nearest::nearest_of(name, profile::names());
    Err(ConfigError::Value {
        at: layers.at(key),
        key: key.to_owned(),
        found: format!("the text `{name}`"),
        expected: format!("a profile ({PROFILES})"),
        hint: Some(nearest.map_or_else(
            || "a provider of your own takes the profile `generic` and a `token_url`, or a file like `./own.toml`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        )),
    })
}

/// Refuses keys at the top beside named providers, names that share a variable, and documents that can't choose.
pub(super) fn check_names(layers: &Layers, names: &[String]) -> Result<(), ConfigError> {
    let table = |name: &String| layers.quoted_provider(name);
    let of_only_one = KEYS.iter().filter(|key| key.place == Place::Provider || key.name == "provider");
    let at_top: Vec<_> = of_only_one.map(|key| key.name).filter(|key| layers.is_set(key)).collect();
    if let Some(first) = at_top.first() {
        return Err(ConfigError::Contradiction {
            first: layers.quoted(first),
            second: table(&names[0]),
            reason: "a key at the top is about the only provider".to_owned(),
            hint: into_tables(layers, &at_top, names),
        });
    }
    for (index, name) in names.iter().enumerate() {
        if let Some(other) = names[index + 1..].iter().find(|other| keys::upper(other) == keys::upper(name)) {
            return Err(ConfigError::Contradiction {
                first: table(name),
                second: table(other),
                reason: format!("both would be `{}` in the environment", keys::upper(name)),
                hint: "rename one of them".to_owned(),
            });
        }
    }
    if names.len() > 1 && layers.text("documents.provider").is_none() {
        return Err(ConfigError::Missing {
            problem: format!(
                "there are {} providers ({}), and documents can't choose",
                names.len(),
                names.join(", ")
            ),
            key: "documents.provider".to_owned(),
            variable: keys::variable("documents.provider"),
            what: "the field that holds a provider's name".to_owned(),
        });
    }
    Ok(())
}

/// Where the keys at the top belong, once there are named providers: to the provider that `provider` names at the top.
fn into_tables(layers: &Layers, at_top: &[&str], names: &[String]) -> String {
    let moved: Vec<_> = at_top.iter().copied().filter(|key| *key != "provider").collect();
    let own = layers.text("provider");
    let owners: Vec<&str> =
        own.as_deref().map_or_else(|| names.iter().map(String::as_str).collect(), |own| vec![own]);
    let joined = |words: Vec<String>, by: &str| words.join(by);
    let tables = joined(owners.iter().map(|name| format!("`[{PROVIDERS}.{name}]`")).collect(), " or ");
    let remove = if own.is_some() { "remove `provider`" } else { "" };
    let Some(first) = moved.first() else {
        return format!("{remove}, and set its keys in {tables}");
    };
    let keys = joined(moved.iter().map(|key| format!("`{key}`")).collect(), ", ");
    let variable = |name: &&str| format!("`{}`", keys::variable(&format!("{PROVIDERS}.{name}.{first}")));
    let variables = joined(owners.iter().map(variable).collect(), " or ");
    let whose = if own.is_none() && owners.len() > 1 { ", whichever they are about" } else { "" };
    let and = if remove.is_empty() { String::new() } else { format!(", and {remove}") };
    format!("move {keys} from the top into {tables}{whose} (in the environment {variables}){and}")
}
