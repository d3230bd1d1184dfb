//! Every key of the configuration, once: name, kind, default and a line for people.
//!
//! The environment, `.env`, the file and `--set` are all read through [`KEYS`]; `.env.example` is tested against it.

use super::kind::Kind;

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
    /// What holds when nobody sets it.
    pub default: DefaultValue,
    /// Where it may stand.
    pub place: Place,
    /// One line for people.
    pub doc: &'static str,
}

/// What holds when nobody sets a key.
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

/// The key that a dotted name stands for: `store.url`, `client_id`, `providers.NAME.client_id`.
pub(super) fn find(dotted: &str) -> Option<&'static Key> {
    if let Some((_, key)) = dotted.strip_prefix("providers.").and_then(|rest| rest.split_once('.')) {
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

/// The known key nearest to an unknown one, in the same form: a key of `[providers.NAME]` for a key from there.
pub(super) fn nearest(dotted: &str) -> Option<String> {
    if let Some((name, key)) = dotted.strip_prefix("providers.").and_then(|rest| rest.split_once('.')) {
        let names = KEYS.iter().filter(|known| known.place != Place::Top).map(|known| known.name);
        return nearest_of(key, names).map(|near| format!("providers.{name}.{near}"));
    }
    let names = KEYS.iter().filter(|known| known.place != Place::Named).map(|known| known.name);
    nearest_of(dotted, names).map(ToOwned::to_owned)
}

/// The known variable nearest to an unknown one.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let known: Vec<_> = KEYS.iter().filter(|key| key.place != Place::Named).map(Key::variable).collect();
    let nearest =
        nearest_of(name.strip_prefix(PREFIX).unwrap_or(name), known.iter().map(|name| &name[PREFIX.len()..]));
    nearest.map(|near| format!("{PREFIX}{near}"))
}

/// The candidate that is so like `given` that a slip of the keyboard explains it.
pub(crate) fn nearest_of<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Two names of which this share is alike are taken for one name and a slip.
    const ALIKE: f64 = 0.6;
    let likeness = |candidate: &str| {
        let last = |name: &str| name.rsplit(['.']).next().unwrap_or(name).to_owned();
        let whole = strsim::normalized_damerau_levenshtein(given, candidate);
        // `uri` for `store.url`; a little less than the whole name, so that `token_url` wins over `store.url`.
        let ends = strsim::normalized_damerau_levenshtein(&last(given), &last(candidate));
        whole.max(ends * 0.95)
    };
    candidates
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

const fn top(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Top, doc }
}

const fn provider(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Provider, doc }
}

use DefaultValue::{Follows, Is, Profile};

/// Every key, grouped as `.env.example` groups them.
pub const KEYS: &[Key] = &[
    // The provider and the client registration.
    top(
        "provider",
        Kind::Text,
        Follows("none"),
        "The provider's profile; `evergrant providers list` names them.",
    ),
    Key {
        name: "profile",
        kind: Kind::Text,
        default: Follows("the provider's own name"),
        place: Place::Named,
        doc: "The profile of a named provider.",
    },
    provider("client_id", Kind::Text, Follows("none"), "The client id of your registration."),
    provider("client_secret", Kind::Secret, Follows("none"), "The client secret of your registration."),
    provider(
        "client_secret_file",
        Kind::Path,
        Follows("none"),
        "A file that holds the client secret instead.",
    ),
    // The store.
    top(
        "store.url",
        Kind::Secret,
        Follows("sqlite:tokens.db in the state directory"),
        "Where the documents are: mongodb://…, mongodb+srv://… or sqlite:PATH.",
    ),
    top("store.url_file", Kind::Path, Follows("none"), "A file that holds the store's URL instead."),
    top("store.database", Kind::Text, Follows("the one that the URL names"), "The MongoDB database."),
    top("store.collection", Kind::Text, Is("tokens"), "The MongoDB collection."),
    // When.
    top(
        "schedule",
        Kind::Text,
        Is("0 3 * * SUN"),
        "When to wake: cron, five fields, or six with seconds first.",
    ),
    top("timezone", Kind::Text, Is("UTC"), "The zone that the schedule is read in, like Europe/Berlin."),
    top(
        "renew_after",
        Kind::Share,
        Is("1/3"),
        "The share of a refresh token's life after which it is due: 1/3, 0.33 or 33%.",
    ),
    // How fast.
    provider("rate", Kind::Rate, Profile, "Grants in every sliding window: 400/min, 50/s or none."),
    provider("concurrency", Kind::Positive, Profile, "Grants in flight at once, at most."),
    provider(
        "request_timeout",
        Kind::Duration,
        Profile,
        "Longest wait for an answer; a short one makes doubt.",
    ),
    top(
        "lease",
        Kind::Duration,
        Is("10min"),
        "How long a pass may hold a document; more than request_timeout and 30s.",
    ),
    top("stop_grace", Kind::Duration, Is("75s"), "How long a stop waits for grants that were sent."),
    top(
        "retry_after_failure",
        Kind::Duration,
        Is("15min"),
        "When a token is due again after a failure; doubles each time, up to a day.",
    ),
    top("max_retries_per_pass", Kind::Count, Is("3"), "How often one pass tries the same token again."),
    // Where things are kept and said.
    top(
        "state_dir",
        Kind::Path,
        Follows("$STATE_DIRECTORY, $XDG_STATE_HOME/evergrant or ~/.local/state/evergrant"),
        "The directory of the journal, and of the embedded store.",
    ),
    top(
        "free_space_floor",
        Kind::Size,
        Is("64MiB"),
        "Free space below which nothing is redeemed, where the journal and the embedded store are.",
    ),
    top(
        "journal_key",
        Kind::Secret,
        Follows("none"),
        "Encrypts the answers in the journal: 32 random bytes as hex or base64.",
    ),
    top("journal_key_file", Kind::Path, Follows("none"), "A file that holds the journal's key instead."),
    top(
        "journal_old_keys",
        Kind::Secret,
        Follows("none"),
        "Keys that held before, for one start: then all is encrypted with the new one.",
    ),
    top(
        "journal_old_keys_file",
        Kind::Path,
        Follows("none"),
        "A file that holds the journal's old keys instead.",
    ),
    top("log.format", Kind::OneOf(&["text", "json"]), Is("text"), "How log lines look: text or json."),
    top("log.level", Kind::Text, Is("info"), "What is logged: error, warn, info, debug, trace, or a filter."),
    // The documents.
    top(
        "documents.refresh_token",
        Kind::FieldPath,
        Is("refresh_token"),
        "The field of the refresh token; dots go deeper.",
    ),
    top("documents.access_token", Kind::FieldPath, Is("access_token"), "The field of the access token."),
    top(
        "documents.subject",
        Kind::FieldPaths,
        Is("email,userId"),
        "How a person recognises a document: the first of these fields that is there.",
    ),
    top(
        "documents.provider",
        Kind::FieldPath,
        Follows("none"),
        "The field that names the provider; required with more than one.",
    ),
    top(
        "documents.access_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "A field of yours to write the access token's end into.",
    ),
    top(
        "documents.refresh_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "A field of yours to write the refresh token's end into.",
    ),
    top(
        "documents.expires_format",
        Kind::OneOf(&["date", "unix_seconds", "unix_millis", "rfc3339"]),
        Is("date"),
        "How those two are written: date, unix_seconds, unix_millis or rfc3339.",
    ),
    top(
        "documents.bookkeeping",
        Kind::FieldPath,
        Is("evergrant"),
        "The sub-document that holds our bookkeeping.",
    ),
    top(
        "documents.filter",
        Kind::Text,
        Follows("none"),
        "A further condition on documents, in extended JSON.",
    ),
    // What the profile says about the provider.
    provider("token_url", Kind::TokenUrl, Profile, "The token endpoint; https, or http on this machine."),
    provider(
        "client_auth",
        Kind::OneOf(&["basic", "body", "none"]),
        Profile,
        "How the client proves who it is: basic, body or none.",
    ),
    provider(
        "scope",
        Kind::Text,
        Profile,
        "The scope to ask for; without it the one that was granted before.",
    ),
    provider("extra_parameters", Kind::Parameters, Profile, "More form fields for each grant: a=b,c=d."),
    provider(
        "access_token_lifetime",
        Kind::Lifetime,
        Profile,
        "How long an access token lives where the answer doesn't say, or unknown.",
    ),
    provider(
        "refresh_token_lifetime",
        Kind::Lifetime,
        Profile,
        "How long a refresh token lives, or unknown: then every wake refreshes every token.",
    ),
    provider(
        "rotation",
        Kind::OneOf(&["single_use", "grace", "none"]),
        Profile,
        "What becomes of a redeemed refresh token: single_use, grace or none.",
    ),
    provider("grace", Kind::Duration, Profile, "With rotation grace: how long the old one works again."),
    provider(
        "settle_after",
        Kind::Duration,
        Profile,
        "How long a token whose answer was lost rests before it is asked for again.",
    ),
    provider(
        "ask_again",
        Kind::OneOf(&["once", "never"]),
        Profile,
        "Is a token whose answer was lost asked for again: once, or never (providers that punish reuse).",
    ),
    provider(
        "answer.access_token",
        Kind::Pointer,
        Profile,
        "Where an answer holds the access token (JSON pointer).",
    ),
    provider("answer.refresh_token", Kind::Pointer, Profile, "Where an answer holds the refresh token."),
    provider(
        "answer.expires_in",
        Kind::Pointer,
        Profile,
        "Where an answer says how long the access token lives.",
    ),
    provider(
        "answer.refresh_token_expires_in",
        Kind::Pointer,
        Profile,
        "Where an answer says how long the refresh token lives.",
    ),
    provider(
        "answer.error_code",
        Kind::Pointers,
        Profile,
        "Where an answer may hold an error code, most telling first.",
    ),
    provider("answer.refused", Kind::Texts, Profile, "Codes that say: this refresh token is dead."),
    provider(
        "answer.suspected",
        Kind::Texts,
        Profile,
        "Codes that may say so: a user is marked when refused so on two occasions.",
    ),
    provider(
        "answer.client_rejected",
        Kind::Texts,
        Profile,
        "Codes that say: the registration or the request is wrong.",
    ),
    provider("answer.throttled", Kind::Texts, Profile, "Codes that say: too many requests."),
    provider("answer.transient", Kind::Texts, Profile, "Codes that say: not processed, try later."),
];

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
        ] {
            assert_eq!(nearest(given).as_deref(), meant, "{given}");
        }
        assert_eq!(nearest_variable("EVERGRANT_STORE_URI").as_deref(), Some("EVERGRANT_STORE_URL"));
        assert_eq!(nearest_variable("EVERGRANT_CLIENTID").as_deref(), Some("EVERGRANT_CLIENT_ID"));
        assert_eq!(nearest_variable("EVERGRANT_HTTP_PROXY"), None);
    }
}
