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
        "When to wake: a cron expression (five fields, or six with seconds first), or `every 29min`: at even distances.",
    ),
    top(
        "timezone",
        Kind::Text,
        Is("UTC"),
        "Time zone of a cron schedule, like Europe/Berlin. With `every` it only shows the wakes.",
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
        "How long a pass may hold a document. Must be longer than request_timeout plus 30s.",
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
    // The documents.
    top(
        "documents.refresh_token",
        Kind::FieldPath,
        Is("refresh_token"),
        "Field of the refresh token. Dots lead into sub-documents.",
    ),
    top(
        "documents.access_token",
        Kind::FieldPathOrNone,
        Is("access_token"),
        "Field of the access token. With none it is written nowhere.",
    ),
    top(
        "documents.subject",
        Kind::FieldPaths,
        Is("email,userId"),
        "Fields that name a user in reports and logs. The first one that is there is used.",
    ),
    top(
        "documents.provider",
        Kind::FieldPath,
        Follows("none"),
        "Field that names the document's provider. Required with more than one provider.",
    ),
    top(
        "documents.access_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the end of the access token.",
    ),
    top(
        "documents.refresh_expires_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the end of the refresh token.",
    ),
    top(
        "documents.updated_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of your own that receives the time of each new pair, as a date.",
    ),
    top(
        "documents.also",
        Kind::AnswerFields,
        Follows("none"),
        "Fields that receive further values of an answer, each with the value's place: instance_url=/instance_url.",
    ),
    top(
        "documents.login_ends_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of yours that says when the login ends. Only read: a date, RFC 3339 or a number.",
    ),
    top(
        "documents.logged_in_at",
        Kind::FieldPath,
        Follows("none"),
        "Field of yours that says when the user logged in. Only read.",
    ),
    top(
        "documents.values",
        Kind::FieldTable,
        Follows("none"),
        "Fields that hold the variables of the token URL and of headers: shop=shop_domain. Only read.",
    ),
    top(
        "documents.client_id",
        Kind::FieldPath,
        Follows("none"),
        "Field of the client id, where each document has its own. Only read.",
    ),
    top(
        "documents.expires_format",
        Kind::OneOf(&["date", "unix_seconds", "unix_millis", "rfc3339"]),
        Is("date"),
        "Format of the two ends: date, unix_seconds, unix_millis or rfc3339.",
    ),
    top(
        "documents.bookkeeping",
        Kind::FieldPath,
        Is("evergrant"),
        "Sub-document in which Evergrant keeps its own fields.",
    ),
    top(
        "documents.filter",
        Kind::Text,
        Follows("none"),
        "Further condition on the documents, in extended JSON.",
    ),
    // What the profile says about the provider.
    provider("token_url", Kind::TokenUrl, Profile, "Token endpoint: https, or http on this machine."),
    provider(
        "client_auth",
        Kind::OneOf(&["basic", "basic_raw", "secret_as_user", "body", "none", "no_client"]),
        Profile,
        "How the client authenticates: basic, basic_raw, secret_as_user, body, none (public client) or no_client.",
    ),
    provider("client_id_name", Kind::Text, Profile, "Name of the field that holds the client id."),
    provider("client_secret_name", Kind::Text, Profile, "Name of the field that holds the client secret."),
    provider(
        "url_holds_secrets",
        Kind::Flag,
        Profile,
        "May the URL hold a token or a secret? Servers write URLs into their logs.",
    ),
    provider("request.method", Kind::OneOf(&["POST", "GET", "PUT"]), Profile, "Method of the request."),
    provider(
        "request.encoding",
        Kind::OneOf(&["form", "json", "query", "none"]),
        Profile,
        "How the fields are sent: form, json, query (in the URL) or none (no fields, empty body).",
    ),
    provider(
        "request.grant_type",
        Kind::Text,
        Profile,
        "Value of the field `grant_type`. With none the field is left out.",
    ),
    provider(
        "request.refresh_token",
        Kind::RequestPlace,
        Profile,
        "Where the refresh token is sent: body:NAME, body:/json/pointer, bearer, header:NAME, cookie:NAME or query:NAME.",
    ),
    provider(
        "request.access_token",
        Kind::RequestPlaceOrNone,
        Profile,
        "Where the document's old access token is sent, for a server that wants both; or none.",
    ),
    provider("request.headers", Kind::Parameters, Profile, "Further header fields of each request: a=b,c=d."),
    provider(
        "scope",
        Kind::Text,
        Profile,
        "Scope to ask for. Without it the provider grants the scope that it granted before.",
    ),
    provider("extra_parameters", Kind::Fields, Profile, "Further fields of each request: a=b,c=d."),
    provider(
        "values",
        Kind::Parameters,
        Follows("none"),
        "Values of the profile's variables, for all documents: shop=acme. `documents.values` goes before them.",
    ),
    provider(
        "access_token_lifetime",
        Kind::Lifetime,
        Profile,
        "Life of an access token where the answer does not say, or unknown.",
    ),
    provider(
        "refresh_token_lifetime",
        Kind::Lifetime,
        Profile,
        "Life of a refresh token, or unknown. With unknown, every wake refreshes every token.",
    ),
    provider(
        "login_lifetime",
        Kind::Lifetime,
        Profile,
        "Life of a login from the login on, which no refresh extends, or unknown.",
    ),
    provider(
        "min_age",
        Kind::Duration,
        Profile,
        "A token is not sent sooner than this after its issue, with --force either.",
    ),
    provider(
        "keep",
        Kind::OneOf(&["refresh", "access"]),
        Profile,
        "What is kept good: refresh (the login), or access (each access token is replaced before it ends, too).",
    ),
    provider(
        "rotation",
        Kind::OneOf(&["single_use", "grace", "none"]),
        Profile,
        "What happens to a redeemed refresh token: single_use, grace or none.",
    ),
    provider(
        "grace",
        Kind::Duration,
        Profile,
        "With `rotation` = grace: how long the old refresh token works again.",
    ),
    provider(
        "settle_after",
        Kind::Duration,
        Profile,
        "After a lost answer: how long to wait before the old token is sent again.",
    ),
    provider(
        "ask_again",
        Kind::OneOf(&["once", "never"]),
        Profile,
        "After a lost answer: once = send the old token again, never = do not (for providers that revoke on reuse).",
    ),
    provider(
        "answer.format",
        Kind::OneOf(&["json", "form"]),
        Profile,
        "How the body of an answer is written: json, or form (read as an object of texts).",
    ),
    provider(
        "answer.access_token",
        Kind::AnswerPlaces,
        Profile,
        "Where an answer holds the access token: /json/pointer, cookie:NAME or header:NAME. The first one found counts.",
    ),
    provider(
        "answer.refresh_token",
        Kind::AnswerPlaces,
        Profile,
        "Where an answer holds the refresh token. The first one found counts.",
    ),
    provider(
        "answer.expires_in",
        Kind::LifetimePlaces,
        Profile,
        "Where an answer says how long the access token lives: PLACE or PLACE as FORM, like /expiresAt as date.",
    ),
    provider(
        "answer.refresh_token_expires_in",
        Kind::LifetimePlaces,
        Profile,
        "Where an answer says how long the refresh token lives.",
    ),
    provider(
        "answer.login_expires_in",
        Kind::LifetimePlaces,
        Profile,
        "Where an answer says how long the login lasts, whatever is refreshed until then.",
    ),
    provider(
        "answer.past_end",
        Kind::OneOf(&["ask", "suspected"]),
        Profile,
        "What an unknown 401, 403 or 5xx means when the token's own end is past: ask again, or suspected.",
    ),
    provider(
        "answer.error_code",
        Kind::Pointers,
        Profile,
        "Where an answer may hold an error code. The first one found counts.",
    ),
    provider("answer.refused", Kind::Texts, Profile, "Codes that mean: this refresh token is dead."),
    provider(
        "answer.suspected",
        Kind::Texts,
        Profile,
        "Codes that may mean so. The second refusal, in a later pass, marks the user.",
    ),
    provider(
        "answer.client_rejected",
        Kind::Texts,
        Profile,
        "Codes that mean: the client registration or the request is wrong.",
    ),
    provider("answer.throttled", Kind::Texts, Profile, "Codes that mean: too many requests."),
    provider("answer.transient", Kind::Texts, Profile, "Codes that mean: not processed, try later."),
];
