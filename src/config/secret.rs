//! Secrets, from where people keep them: a value, a file, or systemd's credentials directory.

use super::{
    error::ConfigError,
    layers::{Layer, Layers},
};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A secret and where it came from. Never shown.
pub(super) struct Secret {
    /// The secret itself.
    pub(super) text: String,
    /// The key or file that it came from, for people.
    pub(super) at: String,
}

/// The places that a secret may come from.
pub(super) struct Places<'a> {
    /// The key that holds it: `client_secret`.
    pub(super) key: &'a str,
    /// The key that names a file with it: `client_secret_file`.
    pub(super) file_key: &'a str,
    /// Its file in the credentials directory.
    pub(super) credential: Option<PathBuf>,
}

/// The secret, `None` where nobody gives one.
///
/// Of value and file the higher layer's holds; the credentials directory is asked last, for whoever sets a key means
/// it.
pub(super) fn find(layers: &Layers, places: &Places<'_>) -> Result<Option<Secret>, ConfigError> {
    let layer_of = |key: &str| layers.origin(key).map(|origin| origin.layer);
    let (value, file) = (layer_of(places.key), layer_of(places.file_key));
    if value.is_some() && value == file {
        return Err(ConfigError::Contradiction {
            first: layers.quoted(places.key),
            second: layers.quoted(places.file_key),
            reason: "a secret has one source".to_owned(),
            hint: "remove one of the two".to_owned(),
        });
    }
    if value > file {
        let text = layers.text(places.key).unwrap_or_default();
        let at = layers.at(places.key);
        return checked(&text, places.key, &at).map(|text| Some(Secret { text, at }));
    }
    if let Some(path) = layers.path(places.file_key) {
        let text = read(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let at = format!("`{}`, named by {}", path.display(), layers.at(places.file_key));
        return checked(&text, places.key, &at).map(|text| Some(Secret { text, at }));
    }
    let Some(path) = &places.credential else { return Ok(None) };
    match read(path) {
        Ok(text) => {
            let at = format!("credential `{}`", path.display());
            checked(&text, places.key, &at).map(|text| Some(Secret { text, at }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path: path.clone(), source }),
    }
}

/// Says that a secret stands on the command line, where it can be seen.
pub(super) fn command_line_warning(layers: &Layers, key: &str) -> Option<String> {
    let on_command_line = layers.origin(key).is_some_and(|origin| origin.layer == Layer::Flag);
    on_command_line.then(|| {
        format!(
            "`{key}` was given on the command line, where every user of this machine can read it\n\
             hint: use the environment, `.env` or a file"
        )
    })
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Takes off the line ends that an editor leaves, and refuses what is empty then.
fn checked(text: &str, key: &str, at: &str) -> Result<String, ConfigError> {
    let text = text.trim_end_matches(['\n', '\r']);
    if !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err(ConfigError::Value {
        at: at.to_owned(),
        key: key.to_owned(),
        found: "empty".to_owned(),
        expected: "a secret".to_owned(),
        hint: None,
    })
}
