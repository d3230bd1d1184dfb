//! The environment and `.env`. Nothing here writes to the process's environment.

use super::{
    error::ConfigError,
    keys::{self, KEYS, Key, PREFIX, PROVIDERS, Place, TEST_PREFIX},
    layers::{Layer, Layers},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

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
        if let Some((dotted, key)) = key_of(name, layers, Layer::Environment, &at)? {
            layers.lay_text(&dotted, key, value, Layer::Environment, &at)?;
        }
    }
    Ok(())
}

/// Lays `.env` over the layers; variables of others in it are left alone.
pub(super) fn lay_file(layers: &mut Layers, path: &Path, text: &str) -> Result<(), ConfigError> {
    let shown = path.file_name().map_or_else(|| ".env".into(), |name| name.to_string_lossy());
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = Lines { text, next: 0 };
    let mut seen: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for item in dotenvy::Iter::new(text.as_bytes()) {
        let (name, value) = item.map_err(|error| lines.syntax_error(&shown, &error))?;
        let line = lines.find(&name);
        if !name.starts_with(PREFIX) {
            continue;
        }
        let at = format!("{shown} line {line}");
        let Some((dotted, key)) = key_of(&name, layers, Layer::EnvFile, &at)? else { continue };
        if key.kind.is_secret() && lines.has_bare_dollar(line) {
            return Err(ConfigError::Syntax {
                at,
                problem: format!("`{name}` has a `$` that would be replaced by a variable's value"),
                hint: Some("put the value in single quotes: then it is taken as it stands".to_owned()),
            });
        }
        if let Some((_, earlier)) = seen.get(&name).filter(|(earlier, _)| *earlier != value) {
            return Err(ConfigError::Contradiction {
                first: format!("`{name}` ({shown} line {earlier})"),
                second: format!("`{name}` ({at})"),
                reason: "one variable has two values".to_owned(),
                hint: "remove one of the two lines".to_owned(),
            });
        }
        layers.lay_text(&dotted, key, &value, Layer::EnvFile, &at)?;
        seen.insert(name, (value, line));
    }
    Ok(())
}

/// The dotted name and the key that a variable stands for; `None` for one that isn't a setting.
fn key_of(
    name: &str,
    layers: &mut Layers,
    layer: Layer,
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
        let provider = existing.unwrap_or_else(|| {
            let introduced = provider.to_lowercase();
            layers.introduce(&introduced, layer, at);
            introduced
        });
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

/// The lines of `.env`, to find the one that a variable stands in: the library doesn't say.
struct Lines<'a> {
    text: &'a str,
    /// Index of the first line that wasn't passed yet.
    next: usize,
}

impl Lines<'_> {
    /// The line of the next assignment to `name`, from 1 on.
    fn find(&mut self, name: &str) -> usize {
        let assigns = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").map_or(line, str::trim_start);
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let found = self.text.lines().enumerate().skip(self.next).find(|(_, line)| assigns(line));
        if let Some((index, _)) = found {
            self.next = index + 1;
        }
        self.next
    }

    /// Has the value in this line a `$` that isn't in single quotes, isn't escaped and isn't a plain `${NAME}`?
    fn has_bare_dollar(&self, line: usize) -> bool {
        let text = self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let value = text.split_once('=').map_or("", |(_, value)| value.trim());
        !value.starts_with('\'')
            && value
                .match_indices('$')
                .any(|(index, _)| !value[..index].ends_with('\\') && !value[index + 1..].starts_with('{'))
    }

    /// The library's error without the text that it quotes.
    fn syntax_error(&self, shown: &str, error: &dotenvy::Error) -> ConfigError {
        let line = match error {
            dotenvy::Error::LineParse(quoted, _) => {
                let start = quoted.lines().next().unwrap_or_default();
                let mut rest = self.text.lines().enumerate().skip(self.next);
                rest.find(|(_, line)| line.trim_end().ends_with(start.trim_end())).map(|(index, _)| index + 1)
            }
            _ => None,
        };
        ConfigError::Syntax {
            at: line.map_or_else(|| shown.to_owned(), |line| format!("{shown} line {line}")),
            problem: "expected `NAME=value`".to_owned(),
            hint: Some("a value with spaces, `#` or quotes in it stands in single quotes".to_owned()),
        }
    }
}
