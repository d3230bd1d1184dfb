//! Every key of the configuration, once: name, kind, default and a line for people.
//!
//! The environment, `.env`, the file and `--set` are all read through [`KEYS`]; `.env.example` is tested against it.

mod nearest;
mod table;

use super::kind::Kind;

pub(super) use nearest::{nearest, nearest_variable};
pub use table::KEYS;

/// What every environment variable of ours starts with.
pub const PREFIX: &str = "EVERGRANT_";

/// Variables of our tests, which the configuration leaves alone.
pub const TEST_PREFIX: &str = "EVERGRANT_TEST_";

/// The table that holds the named providers.
pub(super) const PROVIDERS: &str = "providers";

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The dotted name in `evergrant.toml` and in `--set`: `store.url`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Its default.
    pub default: DefaultValue,
    /// Where it may stand.
    pub place: Place,
    /// One line for people.
    pub doc: &'static str,
}

/// The default of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, as one would write it in the environment.
    Is(&'static str),
    /// Something that follows from other things, in words.
    Follows(&'static str),
    /// The provider's profile says.
    Profile,
}

/// Where a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the top only.
    Top,
    /// At the top for the only provider, and in `[providers.NAME]`.
    Provider,
    /// In `[providers.NAME]` only.
    Named,
}

impl Key {
    /// The environment variable: `EVERGRANT_STORE_URL`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", upper(self.name))
    }
}

/// `store.url` or `my-app` as a part of a variable's name.
pub(super) fn upper(name: &str) -> String {
    name.replace(['.', '-'], "_").to_uppercase()
}

/// The environment variable of a dotted key, named providers' keys among them.
pub(super) fn variable(dotted: &str) -> String {
    format!("{PREFIX}{}", upper(dotted))
}

/// The name and the rest of `providers.NAME.client_id`.
pub(super) fn of_named_provider(dotted: &str) -> Option<(&str, &str)> {
    dotted.strip_prefix("providers.")?.split_once('.')
}

/// The key that a dotted name stands for: `store.url`, `client_id`, `providers.NAME.client_id`.
pub(super) fn find(dotted: &str) -> Option<&'static Key> {
    if let Some((_, key)) = of_named_provider(dotted) {
        return KEYS.iter().find(|known| known.name == key && known.place != Place::Top);
    }
    KEYS.iter().find(|known| known.name == dotted && known.place != Place::Named)
}

/// Does this dotted name hold a table of further keys?
pub(super) fn is_table(dotted: &str) -> bool {
    let inner = dotted.strip_prefix("providers.").map(|rest| rest.split_once('.').map_or("", |(_, key)| key));
    dotted == PROVIDERS
        || inner == Some("")
        || KEYS.iter().any(|key| {
            key.name.strip_prefix(inner.unwrap_or(dotted)).is_some_and(|rest| rest.starts_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!(variables.len(), KEYS.len());
        assert!(KEYS.iter().all(|key| key.doc.ends_with('.') && !key.doc.contains('\n')));
    }

    /// Then a variable of a named provider has one reading, even where the name isn't known yet.
    #[test]
    fn no_provider_key_ends_like_another() {
        let names: Vec<_> =
            KEYS.iter().filter(|key| key.place != Place::Top).map(|key| upper(key.name)).collect();
        for one in &names {
            let ending = format!("_{one}");
            assert_eq!(names.iter().find(|other| other.ends_with(&ending)), None, "{one}");
        }
    }
}
