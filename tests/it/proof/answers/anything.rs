//! What must hold whatever comes.

use super::super::shapes::shape;
use super::{DEAD, PAIR, WAF, raw, reading};
use evergrant::testing::grant::answer::{Class, MAX_RETRY_AFTER};
use evergrant::testing::grant::{RawAnswer, Sent};
use proptest::prelude::*;

fn profiles() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["generic", "autodesk", "github", "slack", "hubspot", "sentry", "tiktok"])
}

/// Bytes that are nearly an answer: one of the good bodies with a few bytes changed, cut or put in.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let bodies = prop::sample::select(vec![
        PAIR,
        DEAD,
        WAF,
        r#"{"data":{"access_token":"a","refresh_token":"r","error_code":10010}}"#,
        r#"{"ok":false,"error":"invalid_refresh_token","status":"BAD_REFRESH_TOKEN"}"#,
    ]);
    (bodies, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..4)).prop_map(
        |(body, changes)| {
            let mut bytes = body.as_bytes().to_vec();
            for (at, byte, how) in changes {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever comes, it is classified; a user is marked only by a listed code in well-formed JSON.
    #[test]
    fn only_a_listed_code_in_well_formed_json_marks_anybody(
        status in 100_u16..1000,
        body in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), nearly()],
        complete: bool,
        retry_after in prop::option::of(".{0,40}"),
        content_encoding in prop::option::of("(gzip|deflate|br|zstd|x-gzip|identity|,| |.){0,4}"),
        profile in profiles(),
    ) {
        let headers = [("retry-after", retry_after), ("content-encoding", content_encoding)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let answer = RawAnswer { complete, headers, ..raw(status, body.clone()) };
        let read = reading(&answer, profile);
        match &read.class {
            Class::Refused => {
                let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
                let json: Result<serde_json::Value, _> = serde_json::from_slice(text);
                // Bytes of that kind are compressed once in a lifetime; the tables have them.
                prop_assert!(json.is_ok() && complete);
                prop_assert!(shape(profile).refused.contains(&read.code));
                prop_assert!(status != 429 && ((200..300).contains(&status) || (400..500).contains(&status)));
            }
            Class::Granted(granted) => {
                prop_assert!((200..300).contains(&status));
                prop_assert!(!granted.access_token.expose().is_empty());
            }
            Class::Throttled(wait) => prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER)),
            _ => {}
        }
        let shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        prop_assert!(read.code.len() <= 32 && read.code.chars().all(shown), "{}", read.code);
    }

    /// Wherever a token stands in an answer, no word of ours repeats it.
    #[test]
    fn no_token_is_in_what_is_said_of_an_answer(
        token in "[A-Za-z0-9]{16,64}".prop_filter("a mixture", |token| token.bytes().any(|b| b.is_ascii_digit())),
        member in prop::sample::select(vec!["access_token", "refresh_token", "error", "errorCode", "status", "token", "message"]),
        status in prop::sample::select(vec![200_u16, 201, 400, 401, 403, 429, 500, 503]),
        profile in profiles(),
    ) {
        let body = format!(r#"{{"{member}":"{token}","data":{{"{member}":"{token}"}},"refresh_token":"{token}"}}"#);
        let answer = raw(status, body);
        let said = format!("{:?} {answer:?} {:?}", reading(&answer, profile), Sent::Answered(answer.clone()));
        prop_assert!(!said.contains(&token), "{said}");
    }
}
