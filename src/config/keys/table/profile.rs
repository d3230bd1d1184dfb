//! Keys over a provider's profile: what it says of requests, lives and answers.

use super::super::DefaultValue::{Follows, Profile};
use super::{Key, Kind, provider};

/// What the profile says about the provider.
pub(super) const KEYS: &[Key] = &[
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
