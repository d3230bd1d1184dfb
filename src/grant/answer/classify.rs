//! From a raw answer to its class: by the pair in it, else by its code, else by its status.

use super::code::{find_code, listed_class, nested_code, shown_code};
use super::explain::Decided;
use super::found::Source;
use super::pair::{read_pair, read_partial_pair};
use super::rule::{Ruled, by_rule};
use super::{Class, NO_TOKENS, Reading, retry_after};
use crate::clock::Timestamp;
use crate::grant::RawAnswer;
use crate::grant::body::{Body, could_hold_a_token, holds_refresh_token, text_could_hold_a_token, text_of};
use crate::grant::coding::{End, Plain};
use crate::provider::place::AnswerPlace;
use crate::provider::{AnswerShape, ClientAuth, PastEnd, Profile, Rotation};
use serde_json::Value;
use std::time::Duration;

/// Reads a raw answer, fresh or out of the journal.
#[must_use]
pub fn read_answer(answer: &RawAnswer, profile: &Profile, now: Timestamp) -> Reading {
    decide(answer, profile, now).0
}

/// The same, with what decided.
pub(super) fn decide(answer: &RawAnswer, profile: &Profile, now: Timestamp) -> (Reading, Decided) {
    let shape = &profile.answer;
    let plain = Plain::of(answer);
    let is_whole = answer.complete && plain.end == End::Whole;
    let body = Body::of_format(&plain.text, shape.format, is_whole);
    let success = (200..300).contains(&answer.status);
    let found = body.value().and_then(|body| find_code(body, shape));
    let found = found.as_deref();
    let settles = is_whole && is_the_providers(answer.status, &body, found);
    let reading = |class, code: &str| Reading::new(class, code, Some(answer.status), settles);
    let source = Source::of(answer, &body);
    if success && let Some(granted) = read_pair(source, profile) {
        return (reading(Class::Granted(granted), "granted"), Decided::Pair);
    }
    // The line was cut (or the body ends like one that was, where nothing says how long it is). Both tokens before the
    // cut are a grant; a refresh token alone is none: the row keeps the body for a person, whatever comes of the token.
    if success
        && body.value().is_none()
        && let Some(granted) = read_partial_pair(&plain.text, answer, profile)
    {
        return (reading(Class::Granted(granted), "granted"), Decided::CutPair);
    }
    let wait = answer.retry_after().and_then(|field| retry_after(field, answer.date().unwrap_or(now)));
    let ruled = by_rule(&shape.rules, answer.status, source, &plain.text, wait).filter(|_| is_whole);
    if answer.status == 429 {
        let decided = ruled.as_ref().map_or(Decided::TooMany, |ruled| Decided::Rule(ruled.number));
        let rests = ruled.as_ref().and_then(|ruled| ruled.rests);
        let class = ruled.map_or(Class::Throttled(wait), |ruled| ruled.class);
        return (Reading { rests, ..reading(class, "http_429") }, decided);
    }
    // It stands whole in the head, whatever the body is: very likely the only copy.
    if success && source.head_holds_a_refresh_token(&shape.refresh_token) {
        return (reading(Class::Unreadable, NO_TOKENS), Decided::RefreshToken);
    }
    let by_status = || by_status(answer.status, wait, settles);
    let is_cut = plain.end == End::Cut || !answer.complete;
    if is_cut {
        let class = if success { Class::Ambiguous } else { by_status().0 };
        return (as_its_status_is(reading(class, "cut_body")), Decided::Cut);
    }
    // Not where a refresh token stands all the same: it may be the only copy.
    let is_unnamed = || profile.rotation != Rotation::None && source.could_hold_another_token(shape);
    let holds_one = success && (source.holds_a_refresh_token(&shape.refresh_token) || is_unnamed());
    if let Some(ruled) = ruled.filter(|_| !holds_one) {
        let Ruled { number, class, code, by_content, rests } = ruled;
        let reading = Reading { settles: settles || by_content, rests, ..reading(class, &code) };
        return (reading, Decided::Rule(number));
    }
    // A code speaks for itself in a 4xx (RFC 6749 §5.2), and in a 2xx (GitHub and Slack answer errors with 200).
    // A 5xx is a server in trouble, whatever its body says: it marks no user, and neither does what had to be mended.
    let speaks = body.is_well_formed() && is_whole && (success || (400..500).contains(&answer.status));
    if let Some(code) = found.filter(|_| speaks && !holds_one)
        && let Some(class) = listed_class(code, shape, wait)
    {
        return (reading(class, code), Decided::List);
    }
    if success {
        // Whatever code stands beside it.
        if holds_one {
            return (reading(Class::Unreadable, NO_TOKENS), Decided::Body);
        }
        let (class, code) = success_without_pair(&plain, &body, found, shape);
        return (reading(class, code), Decided::Body);
    }
    let (class, code) = match answer.status {
        // There is no client that could be wrong: dead users whose answer isn't listed must not stop the others.
        401 | 403 if profile.client_auth == ClientAuth::NoClient && wait.is_none() => {
            (Class::Unlisted, format!("http_{}", answer.status))
        }
        _ => by_status(),
    };
    let is_listed = found.is_some_and(|code| listed_class(code, shape, None).is_some());
    let may_be_past_its_end = shape.past_end == PastEnd::Suspected
        && match answer.status {
            // Of the server itself, and not a page before it.
            401 | 403 => settles,
            // A lost answer first, where a token is replaced.
            500 => profile.rotation == Rotation::None,
            _ => false,
        }
        && !is_listed
        && wait.is_none();
    let unknown_at = may_be_past_its_end.then(|| answer.date().unwrap_or(answer.received_at));
    let shown = found.map(shown_code).or_else(|| body.value().and_then(|body| nested_code(body, shape)));
    let reading = Reading { unknown_at, ..reading(class, shown.unwrap_or(&code)) };
    (as_its_status_is(reading), Decided::Status)
}

/// Is an answer the provider's own, and not one of a proxy, a firewall or a gateway before it? These seldom send an object
/// with a 4xx; where a server is in trouble (5xx), only a code that stands where the profile says tells them apart. And
/// an error in the clothes of a success has its code there, too.
fn is_the_providers(status: u16, body: &Body, found: Option<&str>) -> bool {
    let is_object = body.is_well_formed() && body.value().is_some_and(Value::is_object);
    match status {
        200..300 => found.is_some(),
        500.. => is_object && found.is_some(),
        _ => is_object,
    }
}

/// What a success says that holds neither a pair nor a code that is listed.
///
/// It came in full, and what stands in it may be the only copy of a pair. So it is kept, and the token isn't sent again,
/// unless it is a page, or so plain that no token can be in it.
fn success_without_pair<'a>(
    plain: &Plain,
    body: &Body,
    found: Option<&'a str>,
    shape: &AnswerShape,
) -> (Class, &'a str) {
    match (found, body.value()) {
        (_, Some(value)) if holds_refresh_token(value) => (Class::Unreadable, NO_TOKENS),
        // An error in the clothes of a success: nothing was rotated.
        (Some(code), _) => (Class::Unlisted, shown_code(code)),
        (None, Some(value)) if could_hold_a_token(value) => (Class::Unreadable, NO_TOKENS),
        // `{"status":"maintenance"}`: whatever was done, there is nothing in it to be kept.
        (None, Some(Value::Object(_))) => (Class::Ambiguous, NO_TOKENS),
        (None, Some(_)) => (Class::Ambiguous, "no_object"),
        (None, None) if matches!(body, Body::Cut) && plain.end == End::Whole => {
            (Class::Ambiguous, "cut_body")
        }
        (None, None) => success_without_json(plain, shape),
    }
}

/// What a success says that isn't JSON, not even the beginning of it.
fn success_without_json(plain: &Plain, shape: &AnswerShape) -> (Class, &'static str) {
    let bytes = &plain.text;
    let Some(text) = text_of(bytes) else {
        // Pages come in older charsets, too.
        let is_page = matches!(bytes.trim_ascii_start(), [b'<', next, ..] if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?'));
        return if is_page { (Class::Ambiguous, "html") } else { (Class::Unreadable, plain.code()) };
    };
    let text = text.trim();
    let names_access_token = shape.access_token.0.iter().any(|place| match place {
        AnswerPlace::Pointer(pointer) => {
            pointer.rsplit('/').next().is_some_and(|name| !name.is_empty() && text.contains(name))
        }
        AnswerPlace::Cookie(_) | AnswerPlace::Header(_) => false,
    });
    if text.is_empty() && plain.end == End::Whole {
        return (Class::Ambiguous, "empty_body");
    }
    // A proxy's page: what the provider did isn't known. An answer in XML is no page.
    if text.starts_with('<') && (!names_access_token || text.to_ascii_lowercase().contains("html")) {
        return (Class::Ambiguous, "html");
    }
    if plain.end == End::TooLong {
        return (Class::Unreadable, "decoded_too_long");
    }
    if names_access_token || text_could_hold_a_token(text) {
        return (Class::Unreadable, "not_json");
    }
    // `OK`: a word or a sentence of a proxy.
    (Class::Ambiguous, "no_object")
}

/// What a status alone says, when no known code stands beside it.
fn by_status(status: u16, wait: Option<Duration>, settles: bool) -> (Class, String) {
    let class = match status {
        // It says how long to wait: too many requests, in other clothes (RFC 9110 §10.2.3).
        400..500 | 503 if wait.is_some() => Class::Throttled(wait),
        // No token endpoint answers at this address, or not for us: the URL or the credentials are wrong.
        300..400 | 401 | 403 | 404 | 405 | 407 | 410 | 411 | 415 => Class::ClientRejected,
        // The provider itself says so; a gateway also says it of a request that its server has processed.
        408 | 421 | 425 | 503 if settles => Class::Transient,
        408 | 421 | 425 => Class::Ambiguous,
        // A page, where the provider would have sent JSON.
        400 | 409 | 422 if !settles => Class::Ambiguous,
        400..500 => Class::Unlisted,
        // 500, 502, 503, 504, a CDN's 52x, and what no RFC knows: it may have been processed.
        _ => Class::Ambiguous,
    };
    (class, format!("http_{status}"))
}

/// What the status says of the circumstances, where nothing else decided.
///
/// A provider that is away has its gateway answer with 502, 503 or 504. A firewall that lets nothing through has pages for
/// it, and most of their statuses are classes of their own.
fn as_its_status_is(reading: Reading) -> Reading {
    let status = reading.http_status.unwrap_or_default();
    let is_ambiguous = reading.class == Class::Ambiguous;
    let may_be_outage =
        is_ambiguous && matches!(status, 502..=504 | 400..500 if !matches!(status, 408 | 421 | 425));
    let may_be_alone = matches!(reading.class, Class::Throttled(_)) && (400..500).contains(&status);
    Reading { may_be_outage, may_be_alone, ..reading }
}
