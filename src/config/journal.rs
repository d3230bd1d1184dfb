//! How the journal is kept: its room, and its keys.

use super::{
    error::ConfigError,
    kind,
    layers::Layers,
    secret::{self, Places, Secret},
    warning::Warning,
};
use crate::journal::{JournalKey, JournalSettings};
use std::path::Path;

/// The settings of the journal; `credentials` is systemd's directory.
pub(super) fn build(
    layers: &Layers,
    credentials: Option<&Path>,
    warnings: &mut Vec<Warning>,
) -> Result<JournalSettings, ConfigError> {
    let find = |key, file_key| {
        let credential = credentials.map(|directory| directory.join(key));
        secret::find(layers, &Places { key, file_key, credential })
    };
    let key = find("journal_key", "journal_key_file")?;
    let old_keys = find("journal_old_keys", "journal_old_keys_file")?;
    for key in ["journal_key", "journal_old_keys"] {
        warnings.extend(secret::command_line_warning(layers, key));
    }
    if let (None, Some(old)) = (&key, &old_keys) {
        return Err(ConfigError::Missing {
            problem: format!("there are old keys of the journal ({}), and none that holds now", old.at),
            key: "journal_key".to_owned(),
            variable: super::keys::variable("journal_key"),
            what: "the key that answers are encrypted with from now on".to_owned(),
        });
    }
    let parse = |secret: &Secret, name: &str, text: &str| {
        JournalKey::parse(text).ok_or_else(|| ConfigError::Value {
            at: secret.at.clone(),
            key: name.to_owned(),
            found: "no key".to_owned(),
            expected: "32 random bytes as 64 hexadecimal digits or as base64".to_owned(),
            hint: Some("`openssl rand -hex 32` makes one".to_owned()),
        })
    };
    let split = |old: &Secret| {
        let words = old.text.split(|separator: char| separator == ',' || separator.is_whitespace());
        let keys = words.filter(|word| !word.is_empty());
        keys.map(|word| parse(old, "journal_old_keys", word)).collect::<Result<Vec<_>, _>>()
    };
    Ok(JournalSettings {
        free_space_floor_bytes: kind::size(&layers.defaulted::<String>("free_space_floor")),
        key: key.as_ref().map(|key| parse(key, "journal_key", &key.text)).transpose()?,
        old_keys: old_keys.as_ref().map(split).transpose()?.unwrap_or_default(),
        keep_pairs: layers.duration("keep_pairs"),
    })
}
