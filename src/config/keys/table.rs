//! The table: a line for each key, grouped as `.env.example` groups them.

mod documents;
mod profile;
mod watch;

use super::DefaultValue::{self, Follows, Is, Profile};
use super::{Key, Kind, Place};

const fn top(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Top, doc }
}

const fn provider(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Provider, doc }
}

/// Every key, grouped as `.env.example` groups them.
pub const KEYS: &[Key] = &{
    const GROUPS: [&[Key]; 4] = [OWN, watch::KEYS, documents::KEYS, profile::KEYS];
    joined::<{ GROUPS[0].len() + GROUPS[1].len() + GROUPS[2].len() + GROUPS[3].len() }>(GROUPS)
};

/// The keys of all groups, in their order.
const fn joined<const ALL: usize>(groups: [&[Key]; 4]) -> [Key; ALL] {
    let mut all = [groups[0][0]; ALL];
    let (mut group, mut filled) = (0, 0);
    while group < groups.len() {
        let mut at = 0;
        while at < groups[group].len() {
            all[filled] = groups[group][at];
            (at, filled) = (at + 1, filled + 1);
        }
        group += 1;
    }
    all
}

/// What is about neither the documents nor a provider's profile.
const OWN: &[Key] = &[
    // The provider and the client registration.
    top(
        "provider",
        Kind::Profile,
        Follows("none"),
        "The provider's profile: a built-in one (`evergrant providers list`) or a file, like ./own.toml.",
    ),
    Key {
        name: "profile",
        kind: Kind::Profile,
        default: Follows("the provider's own name"),
        place: Place::Named,
        doc: "The profile of a named provider: a built-in one or a file.",
    },
    provider("client_id", Kind::Text, Follows("none"), "The client id of your registration."),
    provider("client_secret", Kind::Secret, Follows("none"), "The client secret of your registration."),
    provider(
        "client_secret_file",
        Kind::Path,
        Follows("none"),
        "File that holds the client secret, in place of `client_secret`.",
    ),
    // The store.
    top(
        "store.url",
        Kind::Secret,
        Follows("sqlite:tokens.db in the state directory"),
        "Where the token documents are: mongodb://…, mongodb+srv://… or sqlite:PATH.",
    ),
    top(
        "store.url_file",
        Kind::Path,
        Follows("none"),
        "File that holds the store's URL, in place of `store.url`.",
    ),
    top("store.database", Kind::Text, Follows("the one that the URL names"), "The MongoDB database."),
    top("store.collection", Kind::Text, Is("tokens"), "The MongoDB collection."),
    // When.
    top(
        "schedule",
        Kind::Text,
        Is("0 3 * * SUN"),
        "When to wake: a cron expression (five fields, or six with seconds first), `every 29min`: at even distances, or `continuous`: when a document falls due.",
    ),
    top(
        "timezone",
        Kind::Text,
        Is("UTC"),
        "Time zone of a cron schedule, like Europe/Berlin. Otherwise it only shows the wakes.",
    ),
    top(
        "renew_after",
        Kind::Share,
        Is("1/3"),
        "A refresh token is due after this share of its life: 1/3, 0.33 or 33%.",
    ),
    // How fast.
    provider(
        "rate",
        Kind::Rate,
        Profile,
        "Most token requests in any window of this length: 400/min, 50/s or none.",
    ),
    provider("concurrency", Kind::Positive, Profile, "Most token requests in flight at the same time."),
    provider(
        "request_timeout",
        Kind::Duration,
        Profile,
        "Timeout of one token request. Too short a value turns slow answers into lost ones.",
    ),
    top(
        "lease",
        Kind::Duration,
        Is("10min"),
        "How long a pass may hold a document. Must be longer than request_timeout plus 30s, and not longer than 12h.",
    ),
    top(
        "stop_grace",
        Kind::Duration,
        Is("75s"),
        "How long a stop waits for the answers to requests that were sent.",
    ),
    top(
        "retry_after_failure",
        Kind::Duration,
        Is("15min"),
        "When a token is due again after a failure. Doubles with each failure, up to one day.",
    ),
    top(
        "max_retries_per_pass",
        Kind::Count,
        Is("3"),
        "How often one pass tries a token again that was throttled or not processed.",
    ),
    // Where things are kept and said.
    top(
        "state_dir",
        Kind::Path,
        Follows("$STATE_DIRECTORY, $XDG_STATE_HOME/evergrant or ~/.local/state/evergrant"),
        "Directory of the journal and of the embedded store.",
    ),
    top(
        "free_space_floor",
        Kind::Size,
        Is("64MiB"),
        "Least free disk space where the journal and the embedded store are. Below it nothing is redeemed.",
    ),
    top(
        "keep_pairs",
        Kind::DurationOrZero,
        Is("7d"),
        "How long a received pair stays in the journal after it was written, should the document lose it. `0`: not at all.",
    ),
    top(
        "journal_key",
        Kind::Secret,
        Follows("none"),
        "Key that encrypts the tokens in the journal (answers, and what was sent): 32 random bytes as hex or base64.",
    ),
    top(
        "journal_key_file",
        Kind::Path,
        Follows("none"),
        "File that holds the journal's key, in place of `journal_key`.",
    ),
    top(
        "journal_old_keys",
        Kind::Secret,
        Follows("none"),
        "Former journal keys. Needed for one start, which encrypts everything with the new key.",
    ),
    top(
        "journal_old_keys_file",
        Kind::Path,
        Follows("none"),
        "File that holds the former journal keys, in place of `journal_old_keys`.",
    ),
    top("log.format", Kind::OneOf(&["text", "json"]), Is("text"), "Format of log lines: text or json."),
    top("log.level", Kind::Text, Is("info"), "What is logged: error, warn, info, debug, trace, or a filter."),
];
