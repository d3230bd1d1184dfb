//! From settings to providers that can be asked: profile, overrides, credentials.

use super::{
    error::ConfigError,
    file::is_provider_name,
    keys::{self, KEYS, PROVIDERS, Place},
    kind::{Misfit, Raw},
    layers::Layers,
    secret::{self, Places},
    variables,
};
use crate::duration::words;
use crate::provider::{
    ClientAuth, ClientSecret, Profile, Provider, Rotation,
    conflict::{Conflict, conflict},
    file,
    place::AnswerPlace,
    profile::{self, ProfileError},
};
use crate::token::Facts;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Where a person sees which profiles there are.
const PROFILES: &str = "`evergrant providers list` shows them; or a file, like `./own.toml`";

/// Keys of a provider that aren't part of its profile.
const CREDENTIALS: [&str; 4] = ["client_id", "client_secret", "client_secret_file", "values"];

/// Form fields of a grant that have a setting of their own, or none (RFC 6749 §6, §2.3.1).
const RESERVED_PARAMETERS: [&str; 5] = ["grant_type", "refresh_token", "client_id", "client_secret", "scope"];

/// One provider's settings: where they stand, and what came of them.
pub(super) struct Registration {
    /// The provider, ready to be asked.
    pub(super) provider: Arc<Provider>,
    /// Where its keys stand.
    pub(super) scope: Scope,
}

/// Where one provider's keys stand: at the top, or in `[providers.NAME]`.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The provider's name.
    pub(super) name: String,
    /// Empty, or `providers.NAME.`.
    prefix: String,
    /// The name of its profile.
    profile_name: String,
}

impl Scope {
    /// The dotted name of one of its keys.
    pub(super) fn dotted(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A setting with its value and its place, which may be the profile.
    pub(super) fn quoted(&self, layers: &Layers, key: &str, value: &str) -> String {
        let dotted = self.dotted(key);
        let at = layers.origin(&dotted).map(|origin| origin.at);
        let at = at.unwrap_or_else(|| format!("the profile `{}`", self.profile_name));
        format!("`{dotted} = \"{value}\"` ({at})")
    }

    pub(super) fn missing(&self, problem: &str, key: &str, what: &str) -> ConfigError {
        let dotted = self.dotted(key);
        ConfigError::Missing {
            problem: format!("the provider `{}` has no {problem}", self.name),
            variable: keys::variable(&dotted),
            key: dotted,
            what: what.to_owned(),
        }
    }
}

/// The names of all providers that are configured, with or without what they need.
pub(super) fn names(layers: &Layers) -> Vec<String> {
    let named = layers.provider_names();
    let own = |name: String| if file::is_file(&name) { file::stem(&name) } else { name };
    if named.is_empty() { layers.text("provider").into_iter().map(own).collect() } else { named }
}

/// Every provider of the configuration; `credentials` is systemd's directory, `looked_for` which settings files there
/// were, in words.
pub(super) fn build(
    layers: &Layers,
    credentials: Option<&Path>,
    looked_for: &str,
) -> Result<Vec<Registration>, ConfigError> {
    let names = layers.provider_names();
    if names.is_empty() {
        let only = build_one(layers, only_scope(layers, looked_for)?, credentials)?;
        return with_documents(layers, vec![only]);
    }
    check_names(layers, &names)?;
    let all = names.iter().map(|name| build_one(layers, named_scope(layers, name)?, credentials));
    with_documents(layers, all.collect::<Result<_, _>>()?)
}

/// The providers, once what documents say of their requests is checked.
fn with_documents(layers: &Layers, all: Vec<Registration>) -> Result<Vec<Registration>, ConfigError> {
    let scopes: Vec<_> = all.iter().map(|one| (&one.scope, &one.provider.profile)).collect();
    variables::check_documents(layers, &scopes)?;
    Ok(all)
}

/// The only provider, from the keys at the top.
fn only_scope(layers: &Layers, looked_for: &str) -> Result<Scope, ConfigError> {
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
fn named_scope(layers: &Layers, name: &str) -> Result<Scope, ConfigError> {
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
fn check_names(layers: &Layers, names: &[String]) -> Result<(), ConfigError> {
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

/// Checks each value of a profile file as one of the settings: a URL that isn't https, a place that is none.
///
/// # Errors
/// [`ConfigError::Value`] with the file and the key.
pub(crate) fn check_file(path: &str, table: &toml::Table) -> Result<(), ConfigError> {
    for key in KEYS.iter().filter(|key| key.place == Place::Provider && !CREDENTIALS.contains(&key.name)) {
        let value = match key.name.split_once('.') {
            Some((outer, inner)) => table.get(outer).and_then(|outer| outer.get(inner)),
            None => table.get(key.name),
        };
        let Some(value) = value else { continue };
        if let Err(Misfit { found, expected }) = key.kind.check(&Raw::from(value), Path::new("")) {
            return Err(ConfigError::Value {
                at: path.to_owned(),
                key: key.name.to_owned(),
                found,
                expected,
                hint: None,
            });
        }
    }
    Ok(())
}

fn build_one(layers: &Layers, scope: Scope, credentials: Option<&Path>) -> Result<Registration, ConfigError> {
    if file::is_file(&scope.profile_name)
        && let Ok(table) = profile::table(&scope.profile_name)
    {
        check_file(&scope.profile_name, &table)?;
    }
    let mut profile = overridden(layers, &scope)
        .map_err(|source| ConfigError::Profile { provider: scope.name.clone(), source })?;
    profile.answer.also = also(layers);
    check_profile(layers, &scope, &profile)?;
    let token_url = variables::token_url(&scope, &profile)?;
    let values = variables::values(layers, &scope, &profile)?;
    let mapped = variables::mapped(layers);
    let client_id = match client_id(layers, &scope, profile.client_auth) {
        // Each document has its own.
        Err(ConfigError::Missing { .. }) if mapped.contains(Facts::CLIENT_ID) => String::new(),
        found => found?,
    };
    let client_secret = client_secret(layers, &scope, &profile, credentials)?;
    let provider = Provider {
        name: scope.name.as_str().into(),
        profile_name: scope.profile_name.clone(),
        profile,
        token_url,
        values,
        client_id,
        client_secret,
    };
    let provider = variables::filled(provider, &scope, &mapped)?;
    Ok(Registration { provider: Arc::new(provider), scope })
}

/// Which further values of an answer the documents take; each value was checked when it was laid down.
fn also(layers: &Layers) -> BTreeMap<String, AnswerPlace> {
    layers.value("documents.also").and_then(|value| value.deserialize().ok()).unwrap_or_default()
}

/// The compiled-in profile with the configuration's values laid over it.
fn overridden(layers: &Layers, scope: &Scope) -> Result<Profile, ProfileError> {
    let mut table = profile::table(&scope.profile_name)?;
    let overrides =
        KEYS.iter().filter(|key| key.place == Place::Provider && !CREDENTIALS.contains(&key.name));
    for key in overrides {
        let Some(value) = layers.value(&scope.dotted(key.name)) else { continue };
        let value: toml::Value =
            value.deserialize().expect("a checked value is a text, a number, a list or a table");
        match key.name.split_once('.') {
            Some((outer, inner)) => {
                let shape = table.entry(outer).or_insert_with(|| toml::Value::Table(toml::Table::new()));
                if let toml::Value::Table(shape) = shape {
                    shape.insert(inner.to_owned(), value);
                }
            }
            None => {
                table.insert(key.name.to_owned(), value);
            }
        }
    }
    profile::read(&scope.profile_name, table)
}

/// Refuses a grace without rotation of that kind, the other way round, and a request that can't be sent as the keys say.
fn check_profile(layers: &Layers, scope: &Scope, profile: &Profile) -> Result<(), ConfigError> {
    let rotation = match profile.rotation {
        Rotation::SingleUse => "single_use",
        Rotation::Grace => "grace",
        Rotation::None => "none",
    };
    let grace = words(profile.grace);
    if (profile.rotation == Rotation::Grace) == profile.grace.is_zero() {
        return Err(ConfigError::Contradiction {
            first: scope.quoted(layers, "rotation", rotation),
            second: scope.quoted(layers, "grace", &grace),
            reason:
                "a grace is how long a redeemed refresh token works again, with `rotation = \"grace\"` only"
                    .to_owned(),
            hint: format!(
                "set both `{}` and `{}`, or neither",
                scope.dotted("rotation"),
                scope.dotted("grace")
            ),
        });
    }
    if let Some(name) =
        profile.extra_parameters.keys().find(|name| RESERVED_PARAMETERS.contains(&name.as_str()))
    {
        let key = scope.dotted("extra_parameters");
        return Err(ConfigError::Contradiction {
            first: format!("`{key}.{name}` ({})", layers.at(&format!("{key}.{name}"))),
            second: format!("the form field `{name}` of every grant"),
            reason: "a field is sent once".to_owned(),
            hint: format!(
                "remove it from `{key}`; `client_id`, `client_secret` and `scope` are keys of their own"
            ),
        });
    }
    if let Some(Conflict { first, second, reason, hint }) = conflict(profile) {
        return Err(ConfigError::Contradiction {
            first: scope.quoted(layers, first.0, &first.1),
            second: scope.quoted(layers, second.0, &second.1),
            reason: reason.to_owned(),
            hint,
        });
    }
    Ok(())
}

/// The client id, if the profile's client authentication sends one.
fn client_id(layers: &Layers, scope: &Scope, auth: ClientAuth) -> Result<String, ConfigError> {
    let key = scope.dotted("client_id");
    match (layers.text(&key), auth.takes_id()) {
        (Some(id), true) => Ok(id),
        (None, false) => Ok(String::new()),
        (None, true) => Err(scope.missing("client id", "client_id", "the id of your client registration")),
        (Some(_), false) => Err(ConfigError::Contradiction {
            first: scope.quoted(layers, "client_auth", auth.word()),
            second: layers.quoted(&key),
            reason: "no client id is sent".to_owned(),
            hint: format!(
                "remove `{key}`, or set `{}` to `body`, `basic` or `none`",
                scope.dotted("client_auth")
            ),
        }),
    }
}

/// The secret that the profile's client authentication asks for.
fn client_secret(
    layers: &Layers,
    scope: &Scope,
    profile: &Profile,
    credentials: Option<&Path>,
) -> Result<Option<ClientSecret>, ConfigError> {
    let (key, file_key) = (scope.dotted("client_secret"), scope.dotted("client_secret_file"));
    let file = if scope.prefix.is_empty() {
        "client_secret".to_owned()
    } else {
        format!("client_secret.{}", scope.name)
    };
    let places = Places {
        key: &key,
        file_key: &file_key,
        credential: credentials.map(|directory| directory.join(file)),
    };
    let auth = profile.client_auth;
    match (secret::find(layers, &places)?, auth.takes_secret()) {
        (Some(secret), false) => Err(ConfigError::Contradiction {
            first: scope.quoted(layers, "client_auth", auth.word()),
            second: format!("`{key}` ({})", secret.at),
            reason: "such a client has no secret, and a secret that is given must be used".to_owned(),
            hint: format!("remove the secret, or set `{}` to `basic` or `body`", scope.dotted("client_auth")),
        }),
        (None, true) => Err(scope.missing(
            "client secret",
            "client_secret",
            &format!("the secret of your client registration (or name a file with `{file_key}`)"),
        )),
        (secret, _) => Ok(secret.map(|secret| ClientSecret::new(secret.text))),
    }
}
