//! What stands in an answer beside the places of the profile and may be meant for one of its keys: an error code, a
//! lifetime. For a person who writes a profile; no pass reads it. Pure.

use super::code::{find_code, shown_code};
use super::explain::Decided;
use super::found::{Found, Source};
use super::{Class, Granted, Reading};
use crate::provider::AnswerShape;
use crate::provider::lifetime::{Form, LifetimePlace, LifetimeSource};
use crate::provider::place::AnswerPlace;
use crate::token::{is_status_alone, jwt};
use serde_json::Value;

/// From here on a number is a point in time in seconds since 1970, and no life: 30 years.
const EARLIEST_UNIX: f64 = 1e9;

/// From here on it is one in milliseconds.
const EARLIEST_UNIX_MILLIS: f64 = 1e11;

/// Parts of names under which servers say how long a token lives, or when it ends.
const LIFETIME_NAMES: [&str; 6] = ["expir", "ttl", "lifetime", "maxage", "validuntil", "validfor"];

/// Parts of names that speak of something else than a token of the pair.
const OF_OTHERS: [&str; 5] = ["idtoken", "login", "session", "subscription", "password"];

/// A text that looks like an error code, at a place that the profile doesn't name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeElsewhere {
    /// A JSON pointer.
    pub place: String,
    /// The code, as it may be shown.
    pub code: String,
}

/// What looks like a lifetime, at a place or in a form that the profile doesn't name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifetimeElsewhere {
    /// The key that it may be meant for.
    pub key: &'static str,
    /// The place and the form.
    pub place: LifetimePlace,
}

/// The text that looks most like the code of an error whose status alone was read.
pub(super) fn code(
    source: Source<'_>,
    reading: &Reading,
    decided: Decided,
    shape: &AnswerShape,
) -> Option<CodeElsewhere> {
    let is_unknown = match decided {
        // One within an object is shown, and means nothing where it stands.
        Decided::Status => source.body.value().is_some_and(|body| find_code(body, shape).is_none()),
        Decided::TooMany => is_status_alone(&reading.code, reading.http_status),
        Decided::Body => true,
        Decided::Pair
        | Decided::CutPair
        | Decided::Rule(_)
        | Decided::List
        | Decided::RefreshToken
        | Decided::Cut => false,
    };
    let mut found = Vec::new();
    leaves(source.body.value().filter(|_| is_unknown)?, String::new(), &mut found);
    let code = |(pointer, value): (String, &Value)| {
        let code = value.as_str().filter(|text| !text.is_empty() && shown_code(text) == *text)?;
        let is_word = code.bytes().any(|byte| byte.is_ascii_alphabetic());
        let rank = rank(&pointer).filter(|_| is_word && !shape.error_code.contains(&pointer))?;
        Some((rank, CodeElsewhere { place: pointer, code: code.to_owned() }))
    };
    found.into_iter().filter_map(code).min_by_key(|(rank, _)| *rank).map(|(_, code)| code)
}

/// How little the name of a place says that a code stands there; `None` for one that says nothing.
fn rank(pointer: &str) -> Option<usize> {
    let name = plain_name(pointer.rsplit('/').next().unwrap_or_default());
    ["code", "err", "reason", "type"].iter().position(|part| name.contains(part))
}

/// What looks like the life of a token of which nothing was said at the places of the profile.
pub(super) fn lifetimes(source: Source<'_>, class: &Class, shape: &AnswerShape) -> Vec<LifetimeElsewhere> {
    let Class::Granted(Granted { expires_in, refresh_expires_in, .. }) = class else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(body) = source.body.value() {
        leaves(body, String::new(), &mut found);
    }
    let said = |of_refresh: bool| {
        let place = |(pointer, value): &(String, &Value)| {
            let is_meant = is_lifetime(pointer) && plain_name(pointer).contains("refresh") == of_refresh;
            let form = form_of(pointer, value).filter(|_| is_meant)?;
            Some(LifetimePlace { source: LifetimeSource::Place(AnswerPlace::Pointer(pointer.clone())), form })
        };
        found.iter().filter_map(place).collect::<Vec<_>>()
    };
    let of_a_jwt = || match source.token(&shape.access_token) {
        Found::Token(token) if jwt::ends_at(&token).is_some() => "jwt:exp".parse().ok(),
        Found::Token(_) | Found::Nothing | Found::Unreadable => None,
    };
    let mut all = Vec::new();
    if expires_in.is_none() {
        let said = said(false);
        let said = if said.is_empty() { of_a_jwt().into_iter().collect() } else { said };
        all.extend(said.into_iter().map(|place| ("answer.expires_in", place, &shape.expires_in)));
    }
    if refresh_expires_in.is_none() {
        let places = &shape.refresh_token_expires_in;
        all.extend(said(true).into_iter().map(|place| ("answer.refresh_token_expires_in", place, places)));
    }
    // What the profile names already, and what can't be believed, is no place to name.
    all.retain(|(_, place, named)| !named.0.contains(place));
    all.into_iter().map(|(key, place, _)| LifetimeElsewhere { key, place }).collect()
}

fn is_lifetime(pointer: &str) -> bool {
    let name = plain_name(pointer.rsplit('/').next().unwrap_or_default());
    let path = plain_name(pointer);
    (name == "exp" || LIFETIME_NAMES.iter().any(|part| name.contains(part)))
        && !OF_OTHERS.iter().any(|part| path.contains(part))
}

/// The unit that the name of a place ends with: `expiresInDays`.
fn unit_of(pointer: &str) -> Form {
    let name = plain_name(pointer);
    let units = [
        (Form::Days, &["day", "days"][..]),
        (Form::Hours, &["hour", "hours"]),
        (Form::Minutes, &["minute", "minutes", "mins"]),
        (Form::Millis, &["millis", "milliseconds", "ms"]),
    ];
    let named = units.into_iter().find(|(_, ends)| ends.iter().any(|end| name.ends_with(end)));
    named.map_or(Form::Seconds, |(form, _)| form)
}

/// The form in which a value reads as a life, as far as it shows.
fn form_of(pointer: &str, value: &Value) -> Option<Form> {
    let of_number = |number: f64| match number {
        _ if number >= EARLIEST_UNIX_MILLIS => Some(Form::UnixMillis),
        _ if number >= EARLIEST_UNIX => Some(Form::Unix),
        _ if number > 0.0 => Some(unit_of(pointer)),
        _ => None,
    };
    match value {
        Value::Number(number) => of_number(number.as_f64()?),
        Value::String(text) => match text.trim().parse() {
            Ok(number) => of_number(number),
            Err(_) => [Form::Date, Form::Duration].into_iter().find(|form| form.text(text).is_some()),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Letters and digits alone, in lower case: `expires_in`, `expiresIn` and `Expires-In` are one name.
fn plain_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|sign| sign.to_ascii_lowercase()).collect()
}

/// Each text and number of a body, with its JSON pointer (RFC 6901).
fn leaves<'a>(value: &'a Value, pointer: String, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::String(_) | Value::Number(_) => found.push((pointer, value)),
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                leaves(value, format!("{pointer}/{number}"), found);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain;
    use crate::clock::Timestamp;
    use crate::grant::RawAnswer;
    use crate::provider::{Profile, profile};
    use crate::token::jwt::tests::jwt;
    use bytes::Bytes;

    fn explained(status: u16, body: &str, profile: &Profile) -> super::super::Explained {
        let received_at: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let headers = std::iter::empty::<(&str, &str)>().collect();
        let body = Bytes::from(body.to_owned());
        explain(&RawAnswer { status, headers, body, complete: true, received_at }, profile, received_at)
    }

    #[test]
    fn a_code_at_a_place_that_no_key_names_is_found() {
        let profile = profile::load("generic").unwrap();
        for (status, body, expected) in [
            (403, r#"{"err":{"type":"auth","code":"bad_key"}}"#, Some(("/err/code", "bad_key"))),
            (401, r#"{"errors":[{"reason":"TOKEN_EXPIRED"}]}"#, Some(("/errors/0/reason", "TOKEN_EXPIRED"))),
            (500, r#"{"errorCode":"E_DOWN"}"#, Some(("/errorCode", "E_DOWN"))),
            (200, r#"{"ok":false,"errCode":"bad_key"}"#, Some(("/errCode", "bad_key"))),
            // The profile's own place says more, and so do its lists.
            (403, r#"{"error":"odd_one","err":{"code":"bad_key"}}"#, None),
            (400, r#"{"error":"invalid_grant","code":"bad_key"}"#, None),
            // Free texts, and what could be a token, are no codes.
            (403, r#"{"error_message":"a text with spaces"}"#, None),
            (403, r#"{"code":"8f14e45fceea167a5a36dedd4bea2543"}"#, None),
            (403, r#"{"message":"bad_key"}"#, None),
            (403, r#"{"code":403}"#, None),
        ] {
            let found = explained(status, body, &profile).code_elsewhere;
            let found = found.as_ref().map(|found| (found.place.as_str(), found.code.as_str()));
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn a_lifetime_at_a_place_or_in_a_form_that_no_key_names_is_found() {
        let profile = profile::load("generic").unwrap();
        let token = jwt(r#"{"exp":1795230000}"#);
        for (more, expected) in [
            (r#""expires_in":3600"#, &[][..]),
            (r#""expiresIn":3600"#, &["answer.expires_in /expiresIn"]),
            (r#""expires_at":"2026-11-21T04:00:00Z""#, &["answer.expires_in /expires_at as date"]),
            (
                r#""data":{"accessTokenExpiry":"1795230000"}"#,
                &["answer.expires_in /data/accessTokenExpiry as unix"],
            ),
            (r#""validForDays":30"#, &["answer.expires_in /validForDays as days"]),
            (r#""lifetime_ms":"60000""#, &["answer.expires_in /lifetime_ms as millis"]),
            (r#""ttl":"1h30m""#, &["answer.expires_in /ttl as duration"]),
            (
                r#""expires_in":60,"refreshExpires":1795230000000"#,
                &["answer.refresh_token_expires_in /refreshExpires as unix_millis"],
            ),
            // In a form that isn't the one of the profile.
            (r#""expires_in":"2026-11-21T04:00:00Z""#, &["answer.expires_in /expires_in as date"]),
            // Named, and not to be believed.
            (r#""expires_in":0"#, &[]),
            (r#""session_expires_in":3600"#, &[]),
            (r#""id":3600"#, &[]),
        ] {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r",{more}}}"#);
            let found = explained(200, &body, &profile).lifetimes_elsewhere;
            let found: Vec<_> = found.iter().map(|found| format!("{} {}", found.key, found.place)).collect();
            assert_eq!(found, expected, "{body}");
        }
        let body = format!(r#"{{"access_token":"{token}","refresh_token":"r"}}"#);
        let found = explained(200, &body, &profile).lifetimes_elsewhere;
        assert_eq!(found[0].place.to_string(), "jwt:exp");
        assert!(explained(400, r#"{"error":"x","expiresIn":5}"#, &profile).lifetimes_elsewhere.is_empty());
    }
}
