//! Secrets, from where people keep them: a value, a file, or systemd's credentials directory.

use super::{
    error::ConfigError,
    keys::PROVIDERS,
    layers::{Layer, Layers},
    warning::Warning,
};
use std::{
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A secret and where it came from. Never shown.
pub(super) struct Secret {
    /// The secret itself.
    pub(super) text: String,
    /// The key or file that it came from, for people.
    pub(super) at: String,
}

/// The permission bit of a file that all users may read.
const READ_BY_OTHERS: u32 = 0o004;

/// A settings file that was read.
pub(super) struct SettingsFile {
    /// What its values are laid down as.
    pub(super) layer: Layer,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path as a person would type it here.
    pub(super) shown: String,
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

/// The secret, `None` where none is given.
///
/// Of value and file the higher layer's holds; the credentials directory is asked last, for a key that is set is meant
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
        check_file(&text, places.key, &at)?;
        return checked(&text, places.key, &at).map(|text| Some(Secret { text, at }));
    }
    let Some(path) = &places.credential else { return Ok(None) };
    match read(path) {
        Ok(text) => {
            let at = format!("credential `{}`", path.display());
            check_file(&text, places.key, &at)?;
            checked(&text, places.key, &at).map(|text| Some(Secret { text, at }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path: path.clone(), source }),
    }
}

/// Says that a secret stands on the command line, where it can be seen.
pub(super) fn command_line_warning(layers: &Layers, key: &str) -> Option<Warning> {
    let on_command_line = layers.origin(key).is_some_and(|origin| origin.layer == Layer::Flag);
    on_command_line.then(|| Warning::OnCommandLine { key: key.to_owned() })
}

/// Says which settings files hold a secret and can be read by every user of this machine.
pub(super) fn open_file_warnings(layers: &Layers, files: &[SettingsFile]) -> Vec<Warning> {
    let mut secrets =
        vec!["client_secret".to_owned(), "journal_key".to_owned(), "journal_old_keys".to_owned()];
    // A URL without a password may be read by all.
    if layers.text("store.url").is_some_and(|url| url.contains('@')) {
        secrets.push("store.url".to_owned());
    }
    secrets.extend(layers.provider_names().iter().map(|name| format!("{PROVIDERS}.{name}.client_secret")));
    let warning = |file: &SettingsFile| {
        let is_here = |key: &&String| layers.origin(key).is_some_and(|origin| origin.layer == file.layer);
        let keys: Vec<_> = secrets.iter().filter(is_here).cloned().collect();
        let mode = std::fs::metadata(&file.path).ok()?.permissions().mode();
        (!keys.is_empty() && mode & READ_BY_OTHERS != 0)
            .then(|| Warning::OpenFile { file: file.path.clone(), keys })
    };
    files.iter().filter_map(warning).collect()
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Refuses what an editor puts around a secret, unseen: the provider would only say that it is wrong.
fn check_file(text: &str, key: &str, at: &str) -> Result<(), ConfigError> {
    let text = text.trim_end_matches(['\n', '\r']);
    // A store's URL and the journal's keys are read without blanks.
    let blank_counts = key.ends_with("client_secret");
    let around = if text.starts_with('\u{feff}') {
        "a text that begins with a byte order mark (U+FEFF)"
    } else if blank_counts && text.starts_with(char::is_whitespace) && !text.trim().is_empty() {
        "a text that begins with a blank"
    } else if blank_counts && text.ends_with(char::is_whitespace) && !text.trim().is_empty() {
        "a text that ends with a blank"
    } else {
        return Ok(());
    };
    Err(ConfigError::Value {
        at: at.to_owned(),
        key: key.to_owned(),
        found: around.to_owned(),
        expected: "the secret alone; one line end after it is fine".to_owned(),
        hint: Some("write the file again, with `printf %s 'the-secret' > FILE`".to_owned()),
    })
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
