//! A refresh token under a name that no key gives. Pure.
//!
//! A success that replaces the refresh token holds the only copy of the new one. Where it doesn't stand at its place and
//! another text could be it, the answer is kept for a person, and the old token isn't taken for one that is still good.

use super::found::{Found, Source};
use crate::grant::body::SHORTEST_TOKEN_CHARS;
use crate::grant::mask::could_be_token;
use crate::provider::AnswerShape;
use crate::provider::lifetime::{Form, Said};
use crate::provider::place::AnswerPlace;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

/// Ends of names, in letters, of what is no refresh token however long it is: what OIDC servers and users'
/// own data have beside one.
const OTHERS: [&str; 41] = [
    "accesstoken",
    "idtoken",
    "devicetoken",
    "csrf",
    "csrftoken",
    "xsrf",
    "xsrftoken",
    "tokentype",
    "scope",
    "scopes",
    "signature",
    "state",
    "nonce",
    "hash",
    "password",
    "jti",
    "sub",
    "iss",
    "issuer",
    "aud",
    "azp",
    "id",
    "ids",
    "uuid",
    "guid",
    "email",
    "name",
    "url",
    "uri",
    "avatar",
    "picture",
    "photo",
    "image",
    "publickey",
    "fingerprint",
    "etag",
    "version",
    "message",
    "description",
    "address",
    "locale",
];

/// The `…id` that is a credential.
const SESSION_IDS: [&str; 2] = ["sessionid", "sid"];

impl Source<'_> {
    /// Could a refresh token stand in it under another name than those of its places?
    ///
    /// Beside an access token, each text of the body that could be a token could be it, but for what is known as something
    /// else. Cookies and header fields, and a text without an access token, must be called one.
    pub(super) fn could_hold_another_token(&self, shape: &AnswerShape) -> bool {
        if self.body.value().is_some_and(could_be_a_refresh_token) {
            return true;
        }
        let Found::Token(access_token) = self.token(&shape.access_token) else { return false };
        let access_token = Zeroizing::new(access_token);
        let is_another = |place: &AnswerPlace| match self.at_place(place) {
            Found::Token(text) => *Zeroizing::new(text) != *access_token,
            Found::Nothing | Found::Unreadable => false,
        };
        self.unnamed(shape).iter().any(|place| {
            let could_be_it = match place {
                AnswerPlace::Pointer(pointer) => !is_known_as_another(last_name(pointer)),
                AnswerPlace::Cookie(name) | AnswerPlace::Header(name) => is_called_a_token(name),
            };
            could_be_it && is_another(place)
        })
    }

    /// Where something stands that could be a token, and that no key of the profile names.
    pub(super) fn unnamed(&self, shape: &AnswerShape) -> Vec<AnswerPlace> {
        let mut found = Vec::new();
        if let Some(value) = self.body.value() {
            pointers(value, String::new(), &mut found);
        }
        found.extend(self.token_cookies().map(AnswerPlace::Cookie));
        let fields = self.headers.iter().filter(|(name, value)| {
            is_called_a_token(name) && std::str::from_utf8(value).is_ok_and(could_be_token)
        });
        found.extend(fields.map(|(name, _)| AnswerPlace::Header(name.to_owned())));
        let is_named = |place: &AnswerPlace| {
            let tokens = shape.access_token.0.iter().chain(&shape.refresh_token.0);
            tokens.chain(shape.also.values()).any(|named| named == place)
        };
        found.retain(|place| !is_named(place));
        found
    }
}

/// Where texts stand that could be tokens; a date or the end of a token isn't one.
fn pointers(value: &Value, pointer: String, found: &mut Vec<AnswerPlace>) {
    match value {
        Value::String(text) if could_be_token(text) => found.push(AnswerPlace::Pointer(pointer)),
        Value::Object(members) => {
            for (name, value) in
                members.iter().filter(|(name, _)| !name.to_ascii_lowercase().contains("expir"))
            {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                pointers(value, format!("{pointer}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// Could a refresh token stand in it that is called one in other words, such as `refresh` or `renewalToken`? A long text, and no
/// date, no URL and no life.
pub(super) fn could_be_a_refresh_token(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let name = letters(name);
            let named = speaks_of_renewal(&name) && !name.contains("expir");
            let long = value.as_str().is_some_and(|text| {
                let is_date = matches!(Form::Date.text(text), Some(Said::Ends(_)));
                text.len() >= SHORTEST_TOKEN_CHARS && !is_date && !text.contains("://") && !text.contains(' ')
            });
            named && long || could_be_a_refresh_token(value)
        }),
        Value::Array(items) => items.iter().any(could_be_a_refresh_token),
        _ => false,
    }
}

/// The name of a member; of what stands in an array that of the array.
fn last_name(pointer: &str) -> &str {
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    pointer.rsplit('/').find(|part| !is_number(part)).unwrap_or_default()
}

fn is_called_a_token(name: &str) -> bool {
    let name = letters(name);
    speaks_of_renewal(&name) || name.ends_with("token") && !ends_as_another(&name)
}

fn is_known_as_another(name: &str) -> bool {
    let name = letters(name);
    !speaks_of_renewal(&name) && ends_as_another(&name)
}

fn ends_as_another(letters: &str) -> bool {
    let ends_with = |ends: &[&str]| ends.iter().any(|end| letters.ends_with(end));
    ends_with(&OTHERS) && !ends_with(&SESSION_IDS)
}

fn speaks_of_renewal(letters: &str) -> bool {
    letters.contains("refresh") || letters.contains("renew")
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|sign| sign.to_ascii_lowercase()).collect()
}
