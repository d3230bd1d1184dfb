//! Where the documents are: the URL, and the mapping of fields.

use super::{
    error::ConfigError,
    keys,
    layers::Layers,
    secret::{self, Places},
    warning::Warning,
};
use crate::store::mapping::{FieldPath, Mapping};
use crate::store::{StoreSettings, hosts_and_path, sqlite_path};
use std::path::Path;

/// The file of the embedded store, in the state directory.
const EMBEDDED: &str = "tokens.db";

/// The settings of the store; `credentials` is systemd's directory.
pub(super) fn build(
    layers: &Layers,
    state_dir: &Path,
    credentials: Option<&Path>,
    warnings: &mut Vec<Warning>,
) -> Result<StoreSettings, ConfigError> {
    let credential = credentials.map(|directory| directory.join("store_url"));
    let places = Places { key: "store.url", file_key: "store.url_file", credential };
    let (url, at) = match secret::find(layers, &places)? {
        Some(secret) => (secret.text.trim().to_owned(), secret.at),
        None => (format!("sqlite:{}", state_dir.join(EMBEDDED).display()), "default".to_owned()),
    };
    let database = layers.text("store.database");
    let mapping = mapping(layers)?;
    if let Some(path) = sqlite_path(&url) {
        check_sqlite(layers, path, &at, &mapping)?;
        if database.is_some() {
            warnings.push(Warning::NoDatabases { setting: layers.quoted("store.database") });
        }
    } else {
        check_mongodb(&url, &at, database.as_deref())?;
    }
    Ok(StoreSettings { url: url.into(), database, collection: layers.defaulted("store.collection"), mapping })
}

fn check_sqlite(layers: &Layers, path: &str, at: &str, mapping: &Mapping) -> Result<(), ConfigError> {
    if path.is_empty() {
        return Err(refused_url(at, "`sqlite:` without a path"));
    }
    if mapping.filter.is_some() {
        return Err(ConfigError::Contradiction {
            first: layers.quoted("documents.filter"),
            second: format!("`store.url` ({at}), a SQLite file"),
            reason: "the filter is a MongoDB condition".to_owned(),
            hint: "remove the filter".to_owned(),
        });
    }
    Ok(())
}

/// Takes a URL with a known scheme and a host, and asks for a database. The rest is the driver's to read.
fn check_mongodb(url: &str, at: &str, database: Option<&str>) -> Result<(), ConfigError> {
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(refused_url(at, "a text without a scheme"));
    };
    if !matches!(scheme, "mongodb" | "mongodb+srv") {
        let plain =
            scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
        let found = if plain { format!("a URL that starts with `{scheme}://`") } else { "no URL".to_owned() };
        return Err(refused_url(at, &found));
    }
    let (hosts, path) = hosts_and_path(url);
    if hosts.is_empty() {
        return Err(refused_url(at, &format!("`{scheme}://` without a host")));
    }
    if database.is_none() && path.trim_start_matches('/').is_empty() {
        return Err(ConfigError::Missing {
            problem: format!("the store's URL ({at}) names no database"),
            key: "store.database".to_owned(),
            variable: keys::variable("store.database"),
            what: "the database that holds the collection".to_owned(),
        });
    }
    Ok(())
}

/// The URL itself is never shown: it may hold a password.
fn refused_url(at: &str, found: &str) -> ConfigError {
    ConfigError::Value {
        at: at.to_owned(),
        key: "store.url".to_owned(),
        found: found.to_owned(),
        expected: "`mongodb://…`, `mongodb+srv://…` or `sqlite:PATH`".to_owned(),
        hint: None,
    }
}

fn mapping(layers: &Layers) -> Result<Mapping, ConfigError> {
    let mapping: Mapping = layers.below("documents");
    // A table holds many fields: which one is it?
    let quoted = |(name, field): (&str, &FieldPath)| match name {
        "also" => format!("`documents.also.{field}` ({})", layers.at("documents.also")),
        _ => layers.quoted(&format!("documents.{name}")),
    };
    if let Some(written) = mapping.writes_the_id() {
        return Err(ConfigError::Contradiction {
            first: quoted(written),
            second: "`_id`, the name of the document".to_owned(),
            reason: "a write that changes `_id` is refused by the store, and the new pair with it".to_owned(),
            hint: "name another field".to_owned(),
        });
    }
    if let Some([first, second]) = mapping.overlap() {
        return Err(ConfigError::Contradiction {
            first: quoted(first),
            second: quoted(second),
            reason: "writing one of the two fields would overwrite the other".to_owned(),
            hint: "name two separate fields".to_owned(),
        });
    }
    if mapping.subject.is_empty() {
        return Err(ConfigError::Value {
            at: layers.at("documents.subject"),
            key: "documents.subject".to_owned(),
            found: "an empty list".to_owned(),
            expected: "at least one field".to_owned(),
            hint: None,
        });
    }
    let filter = mapping.filter.as_deref().map(serde_json::from_str::<serde_json::Value>);
    if let Some(filter) = filter.filter(|filter| !filter.as_ref().is_ok_and(serde_json::Value::is_object)) {
        let problem = filter.err().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(ConfigError::Value {
            at: layers.at("documents.filter"),
            key: "documents.filter".to_owned(),
            found: format!("no JSON object{problem}"),
            expected: "a condition in extended JSON, like `{\"active\": true}`".to_owned(),
            hint: None,
        });
    }
    Ok(mapping)
}
