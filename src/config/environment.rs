//! The environment. Nothing here writes to the process's environment.

use super::{
    error::ConfigError,
    keys::{self, KEYS, Key, PREFIX, PROVIDERS, Place, TEST_PREFIX},
    layers::{Layer, Layers},
};
use std::{ffi::OsString, path::PathBuf};

/// The variable that names a point of [`crate::kill_point`], and how many times it is reached: `AnswerReceived:3`.
const KILL_AT: &str = "EVERGRANT_TEST_KILL_AT";

/// The variables of a process, as it was started.
pub type Variables = Vec<(OsString, OsString)>;

/// This process's variables.
#[must_use]
pub fn of_this_process() -> Variables {
    // `vars_os`, for `vars` panics when any variable of the machine isn't UTF-8.
    std::env::vars_os().collect()
}

/// One variable's value as a path; an empty one counts as absent, as the XDG base directory specification asks.
pub(super) fn path(variables: &Variables, name: &str) -> Option<PathBuf> {
    let (_, value) = variables.iter().find(|(variable, _)| variable == name)?;
    (!value.is_empty()).then(|| PathBuf::from(value))
}

/// Where a test wants this process to be killed; see [`crate::kill_point`].
pub(super) fn kill_at(variables: &Variables) -> Option<&str> {
    let (_, value) = variables.iter().find(|(variable, _)| variable == KILL_AT)?;
    value.to_str()
}

/// Lays the environment over the layers.
pub(super) fn lay(layers: &mut Layers, variables: &Variables) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let at = format!("environment variable `{name}`");
        let Some(value) = value.to_str() else {
            let problem = "the value is not UTF-8".to_owned();
            return Err(ConfigError::Syntax { at, problem, hint: None });
        };
        if let Some((dotted, key)) = key_of(name, layers, &at)? {
            if has_outer_quotes(value) {
                return Err(ConfigError::Syntax {
                    at,
                    problem: format!("the value of `{name}` begins and ends with a quote"),
                    hint: Some(
                        "`docker run --env-file` keeps quotes, and so does a Kubernetes Secret: remove them; a secret \
                         that really has them can come from a file (`…_FILE`)"
                            .to_owned(),
                    ),
                });
            }
            layers.lay_text(&dotted, key, value, Layer::Environment, &at)?;
        }
    }
    Ok(())
}

/// Does the value stand in quotes that were meant as syntax?
fn has_outer_quotes(value: &str) -> bool {
    let inner = |quote: char| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    inner('\'') || inner('"')
}

/// The dotted name and the key that a variable stands for; `None` for one that isn't a setting.
pub(super) fn key_of(
    name: &str,
    layers: &Layers,
    at: &str,
) -> Result<Option<(String, &'static Key)>, ConfigError> {
    if name.starts_with(TEST_PREFIX) {
        return Ok(None);
    }
    let known = |key: &&Key| key.place != Place::Named && key.variable() == name;
    if let Some(key) = KEYS.iter().find(known) {
        return Ok(Some((key.name.to_owned(), key)));
    }
    if let Some((provider, key)) = named_provider_key(name) {
        // `A_B` is `a-b` where the file has a provider of that name; otherwise it introduces `a_b`.
        let existing = layers.provider_names().into_iter().find(|known| keys::upper(known) == provider);
        let provider = existing.unwrap_or_else(|| provider.to_lowercase());
        return Ok(Some((format!("{PROVIDERS}.{provider}.{}", key.name), key)));
    }
    if is_service_link(name) {
        return Ok(None);
    }
    Err(ConfigError::UnknownKey {
        at: at.to_owned(),
        what: "variable",
        name: name.to_owned(),
        nearest: keys::nearest_variable(name),
    })
}

/// Splits `EVERGRANT_PROVIDERS_<NAME>_<KEY>`. No key ends like another, so there is one way to do it.
fn named_provider_key(variable: &str) -> Option<(&str, &'static Key)> {
    let rest = variable.strip_prefix("EVERGRANT_PROVIDERS_")?;
    KEYS.iter().filter(|key| key.place != Place::Top).find_map(|key| {
        let name = rest.strip_suffix(&keys::upper(key.name))?.strip_suffix('_')?;
        (!name.is_empty()).then_some((name, key))
    })
}

/// Did Kubernetes make this variable? It does for each Service of the namespace, and ours may be called `evergrant`.
fn is_service_link(name: &str) -> bool {
    let behind_port = name.rsplit_once("_PORT").map(|(_, rest)| rest);
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || behind_port.is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
}
