//! The table: a line for each key, grouped as `.env.example` groups them.

use super::DefaultValue::{self, Follows, Is, Profile};
use super::{Key, Kind, Place};

const fn top(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Top, doc }
}

const fn provider(name: &'static str, kind: Kind, default: DefaultValue, doc: &'static str) -> Key {
    Key { name, kind, default, place: Place::Provider, doc }
}

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
