//! The key that a slip of the keyboard was meant for.

use super::{KEYS, Key, PREFIX, Place};
use crate::nearest::nearest_of;

/// The known key nearest to an unknown one, in the same form: a key of `[providers.NAME]` for a key from there.
pub(in crate::config) fn nearest(dotted: &str) -> Option<String> {
    if let Some((name, key)) = dotted.strip_prefix("providers.").and_then(|rest| rest.split_once('.')) {
        let names = KEYS.iter().filter(|known| known.place != Place::Top).map(|known| known.name);
        return nearest_of(key, names).map(|near| format!("providers.{name}.{near}"));
    }
    let names = KEYS.iter().filter(|known| known.place != Place::Named).map(|known| known.name);
    nearest_of(dotted, names).map(ToOwned::to_owned)
}

/// The known variable nearest to an unknown one.
pub(in crate::config) fn nearest_variable(name: &str) -> Option<String> {
    let known: Vec<_> = KEYS.iter().filter(|key| key.place != Place::Named).map(Key::variable).collect();
    let nearest =
        nearest_of(name.strip_prefix(PREFIX).unwrap_or(name), known.iter().map(|name| &name[PREFIX.len()..]));
    nearest.map(|near| format!("{PREFIX}{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_key_that_was_meant() {
        for (given, meant) in [
            ("store.uri", Some("store.url")),
            ("url", Some("store.url")),
            ("clientid", Some("client_id")),
            ("client-secret", Some("client_secret")),
            ("cron_schedule", Some("schedule")),
            ("time_zone", Some("timezone")),
            ("documents.refreshtoken", Some("documents.refresh_token")),
            ("providers.box.client_ident", Some("providers.box.client_id")),
            ("colour", None),
            ("CLIENT_ID", Some("client_id")),
        ] {
            assert_eq!(nearest(given).as_deref(), meant, "{given}");
        }
        assert_eq!(nearest_variable("EVERGRANT_STORE_URI").as_deref(), Some("EVERGRANT_STORE_URL"));
        assert_eq!(nearest_variable("EVERGRANT_CLIENTID").as_deref(), Some("EVERGRANT_CLIENT_ID"));
        assert_eq!(nearest_variable("EVERGRANT_HTTP_PROXY"), None);
    }
}
