//! The variables of a provider's request: each has a value, from the documents, the settings or the profile.

use super::error::ConfigError;
use super::keys;
use super::layers::Layers;
use super::providers::Scope;
use crate::provider::token_url::{TokenUrl, UrlTemplate, is_template};
use crate::provider::variable::Kind;
use crate::provider::{Profile, Provider, Values};
use crate::token::Facts;
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// The names of the variables that documents hold.
pub(super) fn mapped(layers: &Layers) -> BTreeSet<String> {
    let table: BTreeMap<String, String> = layers.read("documents.values").unwrap_or_default();
    let mut names: BTreeSet<String> = table.into_keys().collect();
    names.extend(layers.text("documents.client_id").map(|_| Facts::CLIENT_ID.to_owned()));
    names
}

/// The values that the settings give; each is of a variable that the profile has, and of its kind.
pub(super) fn values(layers: &Layers, scope: &Scope, profile: &Profile) -> Result<Values, ConfigError> {
    let key = scope.dotted("values");
    let values: BTreeMap<String, String> = layers.read(&key).unwrap_or_default();
    for (name, text) in &values {
        let refused = |found: &str, expected: String| ConfigError::Value {
            at: layers.at(&format!("{key}.{name}")),
            key: format!("{key}.{name}"),
            found: found.to_owned(),
            expected,
            hint: None,
        };
        match profile.variables.get(name) {
            None => return Err(refused("no variable of the profile", known(profile))),
            // It may be a secret: it is not shown.
            Some(variable) if variable.accept(text).is_none() => {
                return Err(refused("a text that the variable may not have", variable.expected()));
            }
            Some(_) => {}
        }
    }
    Ok(Values(values))
}

fn known(profile: &Profile) -> String {
    let names: Vec<_> = profile.variables.keys().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "no values: the profile has no variables".to_owned()
    } else {
        format!("one of {}", names.join(", "))
    }
}

/// The token endpoint, or the template of it.
pub(super) fn token_url(scope: &Scope, profile: &Profile) -> Result<TokenUrl, ConfigError> {
    let missing =
        || scope.missing("token endpoint", "token_url", "its URL, from the provider's documentation");
    let text = profile.token_url.as_deref().ok_or_else(missing)?;
    if !is_template(text) {
        return Url::parse(text).map(TokenUrl::Fixed).map_err(|_| missing());
    }
    let template = UrlTemplate::new(text, &profile.variables).map_err(|_| missing())?;
    Ok(TokenUrl::Of(template))
}

/// Refuses a variable of the request that has no value; fills the token URL where no document has a say in it.
pub(super) fn filled(
    mut provider: Provider,
    scope: &Scope,
    mapped: &BTreeSet<String>,
) -> Result<Provider, ConfigError> {
    let no_document = Facts::default();
    for name in provider.profile.used_variables() {
        let is_secret =
            provider.profile.variables.get(name).is_some_and(|variable| variable.kind == Kind::Secret);
        if mapped.contains(name) && !is_secret
            || provider.value(name, &no_document).is_none_or(|value| value.is_ok())
        {
            continue;
        }
        let key = scope.dotted(&format!("values.{name}"));
        let variable = keys::variable(&scope.dotted("values"));
        let more = if is_secret {
            String::new()
        } else {
            format!("; or set `documents.values.{name}` to the field that holds it")
        };
        return Err(ConfigError::Missing {
            problem: format!("the provider `{}` has no value for the variable `{name}`", scope.name),
            what: format!(
                "its value: `values = {{ {name} = \"VALUE\" }}`, in the environment `{variable}={name}=VALUE`{more}"
            ),
            variable,
            key,
        });
    }
    if let TokenUrl::Of(template) = &provider.token_url {
        // What the settings say stands as fixed text: only what documents say is looked at with distrust.
        let mut text = template.text().to_owned();
        for name in template.names().filter(|name| !mapped.contains(*name)) {
            if let Some(Ok(value)) = provider.value(name, &no_document) {
                text = text.replace(&format!("{{{name}}}"), &value);
            }
        }
        if let Ok(template) = UrlTemplate::new(&text, &provider.profile.variables) {
            provider.token_url = TokenUrl::Of(template);
        }
    }
    if let TokenUrl::Of(template) = &provider.token_url
        && !template.names().any(|name| mapped.contains(name))
        && let Ok(url) = provider.url_for(&no_document)
    {
        provider.token_url = TokenUrl::Fixed(url);
    }
    Ok(provider)
}

/// Refuses variables of documents that no profile has, and an old access token that is mapped nowhere.
pub(super) fn check_documents(layers: &Layers, scopes: &[(&Scope, &Profile)]) -> Result<(), ConfigError> {
    if layers.origin("documents.values.client_id").is_some() {
        return Err(ConfigError::Value {
            at: layers.at("documents.values.client_id"),
            key: "documents.values.client_id".to_owned(),
            found: "a variable with the name of the client id".to_owned(),
            expected: "`documents.client_id`, where each document has a client of its own".to_owned(),
            hint: None,
        });
    }
    for name in mapped(layers).iter().filter(|name| *name != Facts::CLIENT_ID) {
        let kinds: Vec<_> = scopes.iter().filter_map(|(_, profile)| profile.variables.get(name)).collect();
        let at = || layers.at(&format!("documents.values.{name}"));
        let refused = |found: &str, expected: String| ConfigError::Value {
            at: at(),
            key: format!("documents.values.{name}"),
            found: found.to_owned(),
            expected,
            hint: None,
        };
        let Some((_, first)) = scopes.first().filter(|_| kinds.is_empty()) else {
            if kinds.iter().any(|variable| variable.kind == Kind::Secret) {
                return Err(refused(
                    "a secret",
                    format!("`values.{name}`: a secret stands in the settings only"),
                ));
            }
            continue;
        };
        let hint = format!(
            "{} (a profile's file declares them: `variables = {{ {name} = \"label\" }}`)",
            known(first)
        );
        return Err(refused("no variable of a profile", hint));
    }
    for (scope, profile) in scopes {
        if profile.request.access_token.is_some()
            && layers.text("documents.access_token").as_deref() == Some("none")
        {
            let place = profile.request.access_token.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(ConfigError::Contradiction {
                first: scope.quoted(layers, "request.access_token", &place),
                second: layers.quoted("documents.access_token"),
                reason: "the server wants the old access token, and no field holds it".to_owned(),
                hint: "set `documents.access_token` to its field".to_owned(),
            });
        }
    }
    Ok(())
}
