//! From settings to providers that can be asked: profile, overrides, credentials.

mod scope;

use super::{
    error::ConfigError,
    keys::{KEYS, Place},
    kind::Misfit,
    layers::Layers,
    secret::{self, Places},
    variables,
};
use crate::duration::words;
use crate::provider::{
    ClientAuth, ClientSecret, Profile, Provider, Rotation,
    conflict::{Conflict, conflict},
    file,
    profile::{self, ProfileError},
};
use crate::token::Facts;
use scope::{check_names, named_scope, only_scope};
use std::{collections::BTreeMap, path::Path, sync::Arc};

pub(super) use scope::Scope;

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

/// The names of all providers that are configured, with or without what they need.
pub(super) fn names(layers: &Layers) -> Vec<String> {
    let named = layers.provider_names();
    let own = |name: String| if file::is_file(&name) { file::stem(&name) } else { name };
    if named.is_empty() { layers.text("provider").into_iter().map(own).collect() } else { named }
}

/// What each provider does with a redeemed refresh token, by the provider's name; only of those whose profile can be read. No
/// credentials are read.
pub(super) fn rotations(layers: &Layers) -> BTreeMap<String, Rotation> {
    let names = layers.provider_names();
    let scopes: Vec<_> = if names.is_empty() {
        vec![only_scope(layers, "")]
    } else {
        names.iter().map(|name| named_scope(layers, name)).collect()
    };
    let rotation = |scope: Scope| Some((scope.name.clone(), overridden(layers, &scope).ok()?.rotation));
    scopes.into_iter().flatten().filter_map(rotation).collect()
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
        if let Err(Misfit { found, expected }) = key.kind.check(value, Path::new("")) {
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
    // Which further values the documents take.
    profile.answer.also = layers.read("documents.also").unwrap_or_default();
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

/// The compiled-in profile with the configuration's values laid over it.
fn overridden(layers: &Layers, scope: &Scope) -> Result<Profile, ProfileError> {
    let mut table = profile::table(&scope.profile_name)?;
    let overrides =
        KEYS.iter().filter(|key| key.place == Place::Provider && !CREDENTIALS.contains(&key.name));
    for key in overrides {
        let Some(value) = layers.value(&scope.dotted(key.name)).cloned() else { continue };
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
