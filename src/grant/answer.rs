//! What an answer means. Pure: a raw answer and a profile in, one of seven classes out.

use super::body::{Body, holds_refresh_token};
use super::partial::complete_part;
use super::{RawAnswer, Sent};
use crate::clock::Timestamp;
use crate::provider::AnswerShape;
use crate::token::{AccessToken, RefreshToken};
use serde_json::Value;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Longest wait a provider can impose through `Retry-After` (RFC 9110 §10.2.3).
///
/// Longer requests are clamped: a token due in an hour must not sleep for a day.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// Longest error code that is shown; longer ones, and ones with other than code characters, are not.
///
/// The longest in RFC 6749 has 22 characters; a token put into the wrong field by mistake is longer.
const MAX_CODE_CHARS: usize = 32;

/// Longest run of letters and digits in a code that is shown, where a digit is among them.
///
/// Codes are words and numbers (`AADSTS700082`); a longer mixture is more likely a token in the wrong field.
const MAX_MIXED_RUN_CHARS: usize = 15;

/// Longest lifetime believed, in seconds: 100 years. What is beyond is a unit mistaken, and would overflow a date.
const MAX_LIFETIME_SECONDS: f64 = 100.0 * 365.0 * 86_400.0;

/// The new pair, read from an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The new access token.
    pub access_token: AccessToken,
    /// The new refresh token; `None` means: keep the old one (RFC 6749 §6).
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives, if the answer says.
    pub expires_in: Option<Duration>,
    /// How long the refresh token lives, if the answer says.
    pub refresh_expires_in: Option<Duration>,
}

/// What an answer means; the word for each is [`Class::word`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// A new pair.
    Granted(Granted),
    /// Too many requests: pause the whole provider, for so long if it said (clamped to [`MAX_RETRY_AFTER`]).
    Throttled(Option<Duration>),
    /// Not processed: the same token later.
    Transient,
    /// It may have been processed, and the answer is lost.
    Ambiguous,
    /// The provider says that this refresh token is dead.
    Refused,
    /// The client registration or our request is wrong: our fault, never one user's.
    ClientRejected,
    /// The provider answered, neither with a pair nor with a code that the profile lists: asked again in a later pass.
    Unlisted,
    /// The provider's own success, in which no pair can be found: very likely rotated, so not sent again; the body is
    /// kept until the profile can read it.
    Unreadable,
}

impl Class {
    /// The word in logs, metrics and documents.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Granted(_) => "granted",
            Self::Throttled(_) => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Refused => "refused",
            Self::ClientRejected => "client_rejected",
            Self::Unlisted => "unlisted",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A class with the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it means.
    pub class: Class,
    /// The provider's code (`invalid_grant`), else ours (`http_502`, `timeout`, `html`).
    pub code: String,
    /// The HTTP status, when there was one.
    pub http_status: Option<u16>,
}

/// Reads what one POST brought.
///
/// An unknown error is never [`Class::Refused`]: only a code that the profile lists marks a user.
#[must_use]
pub fn read(sent: &Sent, shape: &AnswerShape, now: Timestamp) -> Reading {
    match sent {
        Sent::NotSent(cause) => {
            Reading { class: Class::Transient, code: (*cause).to_owned(), http_status: None }
        }
        Sent::Lost(cause) => {
            Reading { class: Class::Ambiguous, code: (*cause).to_owned(), http_status: None }
        }
        Sent::Answered(answer) => read_answer(answer, shape, now),
    }
}

/// Reads a raw answer, fresh or out of the journal.
#[must_use]
pub fn read_answer(answer: &RawAnswer, shape: &AnswerShape, now: Timestamp) -> Reading {
    let reading =
        |class, code: &str| Reading { class, code: code.to_owned(), http_status: Some(answer.status) };
    let body = Body::read(&answer.body);
    let success = (200..300).contains(&answer.status);
    if success && let Some(granted) = read_pair(&body, shape) {
        return reading(Class::Granted(granted), "granted");
    }
    // The line was cut (or the body ends like one that was, where nothing says how long it is). Both tokens before the
    // cut are a grant; a refresh token alone is none: the row keeps the body for a person, whatever comes of the token.
    if success
        && body.value().is_none()
        && let Some(granted) = read_partial_pair(&answer.body, shape)
    {
        return reading(Class::Granted(granted), "granted");
    }
    let retry_after = || answer.retry_after.as_deref().and_then(|field| retry_after(field, now));
    if answer.status == 429 {
        return reading(Class::Throttled(retry_after()), "http_429");
    }
    if !answer.complete {
        return reading(
            if success { Class::Ambiguous } else { by_status(answer.status, None).0 },
            "cut_body",
        );
    }
    let found = body.value().and_then(|body| find_code(body, shape));
    let found = found.as_deref();
    // A code speaks for itself in a 4xx (RFC 6749 §5.2), and in a 2xx (GitHub and Slack answer errors with 200).
    // A 5xx is a server in trouble, whatever its body says: it marks nobody, and neither does what had to be mended.
    let speaks = body.is_well_formed() && (success || (400..500).contains(&answer.status));
    if let Some(code) = found.filter(|_| speaks) {
        let listed = |codes: &[String]| codes.iter().any(|known| known == code);
        let class = if listed(&shape.refused) {
            Some(Class::Refused)
        } else if listed(&shape.client_rejected) {
            Some(Class::ClientRejected)
        } else if listed(&shape.throttled) {
            Some(Class::Throttled(retry_after()))
        } else if listed(&shape.transient) {
            Some(Class::Transient)
        } else {
            None
        };
        if let Some(class) = class {
            return reading(class, code);
        }
    }
    if success {
        return match (found, body.value()) {
            (_, Some(value)) if holds_refresh_token(value) => reading(Class::Unreadable, "no_tokens"),
            // An error in the clothes of a success: nothing was rotated.
            (Some(code), _) => reading(Class::Unlisted, shown_code(code)),
            (None, Some(Value::Object(_))) => reading(Class::Unreadable, "no_tokens"),
            (None, None) if matches!(body, Body::Cut) => reading(Class::Ambiguous, "cut_body"),
            (None, None) if names_access_token(answer, shape) => reading(Class::Unreadable, "not_json"),
            // A page of somebody in between, or nothing: nobody knows what the provider did.
            (None, _) => reading(Class::Ambiguous, unreadable_code(answer)),
        };
    }
    let (class, code) = by_status(answer.status, retry_after());
    match found {
        Some(found) => reading(class, shown_code(found)),
        None => reading(class, &code),
    }
}

/// What a status alone says, when no known code stands beside it.
fn by_status(status: u16, retry_after: Option<Duration>) -> (Class, String) {
    let class = match status {
        // Nobody at this address redeems tokens, or not for us: the URL or the credentials are wrong.
        300..400 | 401 | 403 | 404 | 405 | 407 | 410 | 411 | 415 => Class::ClientRejected,
        503 => match retry_after {
            Some(wait) => Class::Throttled(Some(wait)),
            None => Class::Transient,
        },
        408 | 421 | 425 => Class::Transient,
        400..500 => Class::Unlisted,
        // 500, 502, 504, a CDN's 52x, and what no RFC knows: it may have been processed.
        _ => Class::Ambiguous,
    };
    (class, format!("http_{status}"))
}

fn read_pair(body: &Body, shape: &AnswerShape) -> Option<Granted> {
    let access_token = AccessToken::new(body.text(&shape.access_token)?.to_owned());
    let value = body.value()?;
    let refresh_token = match value.pointer(&shape.refresh_token) {
        // Not where the profile says, but there: to keep the old one would be to lose the new one.
        None | Some(Value::Null) if holds_refresh_token(value) => return None,
        None | Some(Value::Null) => None,
        Some(Value::String(token)) if token.is_empty() => None,
        Some(Value::String(token)) if body.is_whole(token) => Some(RefreshToken::new(token.clone())),
        // A refresh token is there and can't be read.
        Some(_) => return None,
    };
    Some(Granted {
        access_token,
        refresh_token,
        expires_in: value.pointer(&shape.expires_in).and_then(seconds),
        refresh_expires_in: value.pointer(&shape.refresh_token_expires_in).and_then(seconds),
    })
}

/// Does an answer without a pair hold a refresh token all the same, whole? Then a person may want it.
#[must_use]
pub fn holds_a_token(answer: &RawAnswer) -> bool {
    let part = Body::read(&answer.body).value().cloned().or_else(|| complete_part(&answer.body));
    part.is_some_and(|part| holds_refresh_token(&part))
}

/// A pair of which both strings came to their end in a body that didn't; without a whole refresh token nobody knows
/// whether the rest would have held one.
fn read_partial_pair(body: &[u8], shape: &AnswerShape) -> Option<Granted> {
    let granted = read_pair(&Body::Json(complete_part(body)?), shape)?;
    granted.refresh_token.is_some().then_some(granted)
}

/// A lifetime in seconds, as a number or as text; none that is negative, zero or absurd.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (seconds > 0.0 && seconds <= MAX_LIFETIME_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

fn find_code<'body>(body: &'body Value, shape: &AnswerShape) -> Option<Cow<'body, str>> {
    shape.error_code.iter().find_map(|pointer| match body.pointer(pointer)? {
        Value::String(code) if !code.is_empty() => Some(Cow::Borrowed(code.as_str())),
        // A number is a code only where the profile knows it: `0` often stands beside a success.
        Value::Number(number) => Some(Cow::Owned(number.to_string())).filter(|code| is_listed(code, shape)),
        _ => None,
    })
}

fn is_listed(code: &str, shape: &AnswerShape) -> bool {
    let lists = [&shape.refused, &shape.client_rejected, &shape.throttled, &shape.transient];
    lists.iter().any(|codes| codes.iter().any(|known| known == code))
}

/// An unknown code as it may be shown: a free text, or a token, in its place could hold anything.
fn shown_code(code: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let token_like = |run: &str| run.len() > MAX_MIXED_RUN_CHARS && run.bytes().any(|b| b.is_ascii_digit());
    let shown = code.len() <= MAX_CODE_CHARS
        && code.chars().all(plain)
        && !code.split(|c: char| !c.is_ascii_alphanumeric()).any(token_like);
    if shown { code } else { "unlisted_code" }
}

/// Does a success that isn't JSON speak of an access token all the same? Then it is the provider's own, and very likely
/// rotated: a page of somebody in between doesn't, or is a page.
fn names_access_token(answer: &RawAnswer, shape: &AnswerShape) -> bool {
    let name = shape.access_token.rsplit('/').next().unwrap_or_default().as_bytes();
    let is_page = answer.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<');
    !is_page && !name.is_empty() && answer.body.windows(name.len()).any(|window| window == name)
}

/// Why a success couldn't be read, in a word.
fn unreadable_code(answer: &RawAnswer) -> &'static str {
    match answer.body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => "empty_body",
        Some(b'<') => "html",
        Some(_) => "no_object",
    }
}

/// Reads `Retry-After`: seconds or an HTTP date (RFC 9110 §10.2.3), clamped to [`MAX_RETRY_AFTER`].
#[must_use]
pub fn retry_after(field: &str, now: Timestamp) -> Option<Duration> {
    let field = field.trim();
    let wait = if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds is longer than any clamp.
        Duration::from_secs(field.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(field).ok()?;
        date.duration_since(SystemTime::from(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn answer(status: u16, body: &str) -> RawAnswer {
        RawAnswer {
            status,
            retry_after: None,
            body: Bytes::copy_from_slice(body.as_bytes()),
            complete: true,
            received_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn class_of(status: u16, body: &str) -> (&'static str, String) {
        let shape = profile::load("autodesk").unwrap().answer;
        let reading = read_answer(&answer(status, body), &shape, Timestamp::UNIX_EPOCH);
        (reading.class.word(), reading.code)
    }

    #[test]
    fn every_answer_has_one_class() {
        let pair = r#"{"access_token":"a","refresh_token":"r","expires_in":3599}"#;
        let table: [(u16, &str, &str, &str); 34] = [
            (200, pair, "granted", "granted"),
            (201, pair, "granted", "granted"),
            (200, r#"{"access_token":"a"}"#, "granted", "granted"),
            (200, r#"{"access_token":"a","refresh_token":null}"#, "granted", "granted"),
            (200, r#"{"access_token":"a","refresh_token":7}"#, "unreadable", "no_tokens"),
            (200, r#"{"access_token":""}"#, "unreadable", "no_tokens"),
            (200, r#"{"refresh_token":"r"}"#, "unreadable", "no_tokens"),
            (200, "<html>Sign in to the Wi-Fi</html>", "ambiguous", "html"),
            (200, "", "ambiguous", "empty_body"),
            (204, "", "ambiguous", "empty_body"),
            (200, "OK", "ambiguous", "no_object"),
            (200, "[1]", "ambiguous", "no_object"),
            (200, r#"{"error":"invalid_grant"}"#, "refused", "invalid_grant"),
            (200, r#"{"error":"odd"}"#, "unlisted", "odd"),
            (400, r#"{"error":"invalid_grant","error_description":"dead"}"#, "refused", "invalid_grant"),
            (403, r#"{"error":"invalid_grant"}"#, "refused", "invalid_grant"),
            (401, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
            (400, r#"{"error":"unauthorized_client"}"#, "client_rejected", "unauthorized_client"),
            (401, r#"{"developerMessage":"x","errorCode":"AUTH-003"}"#, "client_rejected", "AUTH-003"),
            (403, "<html>blocked by the firewall</html>", "client_rejected", "http_403"),
            (302, "", "client_rejected", "http_302"),
            (404, "<html>", "client_rejected", "http_404"),
            (400, r#"{"error":"brand_new_error"}"#, "unlisted", "brand_new_error"),
            (400, r#"{"error":"a sentence with a secret in it"}"#, "unlisted", "unlisted_code"),
            (400, r#"{"error":["invalid_grant"]}"#, "unlisted", "http_400"),
            (400, r#"{"developerMessage":"invalid_grant"}"#, "unlisted", "http_400"),
            (400, "invalid_grant", "unlisted", "http_400"),
            (429, r#"{"developerMessage":"Quota limit exceeded."}"#, "throttled", "http_429"),
            (429, r#"{"error":"invalid_grant"}"#, "throttled", "http_429"),
            (500, "", "ambiguous", "http_500"),
            (500, r#"{"error":"invalid_grant"}"#, "ambiguous", "invalid_grant"),
            (502, "<html>", "ambiguous", "http_502"),
            (503, "", "transient", "http_503"),
            (504, "", "ambiguous", "http_504"),
        ];
        for (status, body, class, code) in table {
            assert_eq!(class_of(status, body), (class, code.to_owned()), "{status} {body}");
        }
    }

    #[test]
    fn a_pair_is_read_whole() {
        let shape = profile::load("generic").unwrap().answer;
        let body = r#"{"access_token":"a","refresh_token":"r","expires_in":"3600","refresh_token_expires_in":8726400}"#;
        let Class::Granted(granted) = read_answer(&answer(200, body), &shape, Timestamp::UNIX_EPOCH).class
        else {
            panic!("granted")
        };
        assert_eq!(granted.access_token.expose(), "a");
        assert_eq!(granted.refresh_token.unwrap().expose(), "r");
        assert_eq!(granted.expires_in, Some(Duration::from_hours(1)));
        assert_eq!(granted.refresh_expires_in, Some(Duration::from_hours(101 * 24)));
    }

    #[test]
    fn a_cut_success_is_ambiguous_unless_the_pair_is_whole() {
        let shape = profile::load("generic").unwrap().answer;
        let mut cut = answer(200, r#"{"access_token":"a","refresh_tok"#);
        cut.complete = false;
        assert_eq!(read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class, Class::Ambiguous);
        for short in [
            r#"{"access_token":"a","expires_in":3599}"#,
            r#"{"access_token":"a","expires_in":3599,"refresh_token":null"#,
            r#"{"refresh_token":"r","access_token":"a"#,
            r#"{"refresh_token":"r","access_token":""#,
        ] {
            cut.body = Bytes::from_static(short.as_bytes());
            let class = read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class;
            // What parses as a whole says of itself that nothing is missing.
            assert_eq!(class.word(), if short.ends_with('}') { "granted" } else { "ambiguous" }, "{short}");
        }
        for enough in [
            r#"{"access_token":"a","refresh_token":"r""#,
            r#"{"refresh_token":"r","expires_in":36,"access_token":"a","expires_in_more":36"#,
        ] {
            cut.body = Bytes::from_static(enough.as_bytes());
            for complete in [false, true] {
                cut.complete = complete;
                let Class::Granted(granted) = read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class else {
                    panic!("{enough}")
                };
                assert_eq!(granted.refresh_token.unwrap().expose(), "r");
                assert_eq!(granted.access_token.expose(), "a");
            }
        }
        cut.complete = false;
        cut.body = Bytes::from_static(br#"{"access_token":"a","refresh_token":"r"}"#);
        assert_eq!(read_answer(&cut, &shape, Timestamp::UNIX_EPOCH).class.word(), "granted");
        let refusal = RawAnswer { complete: false, ..answer(400, r#"{"error":"invalid_grant"}"#) };
        assert_eq!(read_answer(&refusal, &shape, Timestamp::UNIX_EPOCH).class, Class::Unlisted);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_clamped() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        for (field, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("86400", Some(600)),
            ("99999999999999999999999", Some(600)),
            ("Sat, 21 Nov 2026 03:00:30 GMT", Some(30)),
            ("Sat, 21 Nov 2026 02:00:00 GMT", Some(0)),
            ("Sun, 22 Nov 2026 03:00:00 GMT", Some(600)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(field, now), expected.map(Duration::from_secs), "{field:?}");
        }
        let throttled = RawAnswer { retry_after: Some("7".into()), ..answer(503, "") };
        let shape = profile::load("generic").unwrap().answer;
        assert_eq!(
            read_answer(&throttled, &shape, now).class,
            Class::Throttled(Some(Duration::from_secs(7)))
        );
    }

    proptest! {
        /// Whatever comes, it is classified, nobody panics, and a user is marked only by a listed code.
        #[test]
        fn any_bytes_are_classified(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200), complete: bool) {
            let raw = RawAnswer { status, retry_after: None, body: body.into(), complete, received_at: Timestamp::UNIX_EPOCH };
            let shape = profile::load("autodesk").unwrap().answer;
            let reading = read_answer(&raw, &shape, Timestamp::UNIX_EPOCH);
            prop_assert!(reading.class != Class::Refused || reading.code == "invalid_grant");
        }
    }
}
