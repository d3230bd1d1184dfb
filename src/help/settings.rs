//! `evergrant help settings`: every key, from the one table of keys.

use super::page::Page;
use crate::config::keys::{DefaultValue, KEYS, Key, Place};
use serde_json::{Value, json};

pub(super) fn text() -> String {
    let mut page = Page::new("Settings");
    page.paragraph(
        "A setting is taken from the first of these places that has it: `--set KEY=VALUE`, the environment, `.env` in the \
         directory in which you start Evergrant, the settings file, the default.",
    );
    page.paragraph(
        "The settings file is `--config FILE`, else `evergrant.toml` in the directory in which you start Evergrant, else \
         `/etc/evergrant/evergrant.toml`. Settings are read at the start only. An unknown key is refused, and the nearest \
         known key is named. Settings that contradict each other are refused at the start.",
    );
    page.paragraph(
        "A secret can stand in a file: see the keys that end in `_file`. Under systemd the credentials `client_secret`, \
         `client_secret.NAME`, `store_url`, `journal_key` and `journal_old_keys` are read by themselves. A list that you set \
         takes the place of the profile's whole list.",
    );
    page.paragraph(
        "With more than one provider, the keys of a provider stand in a table of its own: `[providers.NAME]` in the file, \
         `EVERGRANT_PROVIDERS_NAME_CLIENT_ID` in the environment. `evergrant help providers` has an example.",
    );
    for key in KEYS {
        let default = format!("Default: {}.", default(key));
        page.entry(&format!("{}  ({})", name(key), variable(key)), &[key.doc, &default]);
    }
    page.end()
}

pub(super) fn data() -> Value {
    let settings: Vec<_> = KEYS
        .iter()
        .map(|key| {
            json!({
                "name": name(key),
                "variable": variable(key),
                "meaning": key.doc,
                "default": default(key),
                "per_provider": key.place != Place::Top,
            })
        })
        .collect();
    json!({ "settings": settings })
}

fn name(key: &Key) -> String {
    match key.place {
        Place::Top | Place::Provider => key.name.to_owned(),
        Place::Named => format!("providers.NAME.{}", key.name),
    }
}

fn variable(key: &Key) -> String {
    match key.place {
        Place::Top | Place::Provider => key.variable(),
        Place::Named => key.variable().replace("EVERGRANT_", "EVERGRANT_PROVIDERS_NAME_"),
    }
}

fn default(key: &Key) -> &'static str {
    match key.default {
        DefaultValue::Is(value) => value,
        DefaultValue::Follows(words) => words,
        DefaultValue::Profile => "from the provider's profile",
    }
}
