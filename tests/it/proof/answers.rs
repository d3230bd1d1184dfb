//! Bad answers, and the one class that each of them gets.

use super::shapes::shape;
use bytes::Bytes;
use evergrant::clock::Timestamp;
use evergrant::grant::answer::{Class, MAX_RETRY_AFTER, Reading, read, read_answer};
use evergrant::grant::{RawAnswer, Sent};
use proptest::prelude::*;
use std::time::Duration;

const PAIR: &str = r#"{"access_token":"a-1","refresh_token":"r-1","expires_in":3599}"#;
const DEAD: &str = r#"{"error":"invalid_grant"}"#;
const PORTAL: &str =
    "<!DOCTYPE html><html><title>Sign in to the Wi-Fi</title><script>access_token=1</script>";
const WAF: &str = "<html><h1>Request blocked</h1>invalid_grant</html>";

fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

fn raw(status: u16, body: impl Into<Bytes>) -> RawAnswer {
    RawAnswer { status, retry_after: None, body: body.into(), complete: true, received_at: now() }
}

fn reading(answer: &RawAnswer, profile: &str) -> Reading {
    read_answer(answer, &shape(profile), now())
}

/// Every row that isn't as it should be, in one failure.
fn check<'a>(rows: impl IntoIterator<Item = (String, Reading, &'a str, &'a str)>, at_least: usize) {
    let (mut rows_seen, mut wrong) = (0, Vec::new());
    for (row, reading, class, code) in rows {
        rows_seen += 1;
        if (reading.class.word(), reading.code.as_str()) != (class, code) {
            wrong.push(format!(
                "{row}\n  is {} ({}), not {class} ({code})",
                reading.class.word(),
                reading.code
            ));
        }
    }
    assert!(rows_seen >= at_least, "{rows_seen} rows");
    assert!(wrong.is_empty(), "{} of {rows_seen}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_bad_answer_has_one_class() {
    let table: &[(&str, u16, &str, &str, &str)] = &[
        // Refusals as RFC 6749 §5.2 spells them, and what only looks like one.
        ("generic", 400, DEAD, "refused", "invalid_grant"),
        ("generic", 401, DEAD, "refused", "invalid_grant"),
        ("generic", 403, DEAD, "refused", "invalid_grant"),
        ("generic", 200, DEAD, "refused", "invalid_grant"),
        ("generic", 400, r#"{"error":"INVALID_GRANT"}"#, "unlisted", "INVALID_GRANT"),
        ("generic", 400, r#"{"error":" invalid_grant"}"#, "unlisted", "unlisted_code"),
        ("generic", 400, r#"{"error":{"code":"invalid_grant"}}"#, "unlisted", "http_400"),
        ("generic", 400, r#"[{"error":"invalid_grant"}]"#, "unlisted", "http_400"),
        ("generic", 400, r#""invalid_grant""#, "unlisted", "http_400"),
        ("generic", 400, r#"{"error":"invalid_grant"}<!-- proxy -->"#, "unlisted", "invalid_grant"),
        (
            "generic",
            400,
            "{\"error\":\"invalid_grant\"}\n{\"error\":\"invalid_grant\"}",
            "unlisted",
            "invalid_grant",
        ),
        ("generic", 400, r#"{"error":"invalid_grant"#, "unlisted", "http_400"),
        (
            "generic",
            400,
            r#"{"error":"temporarily_unavailable","error":"invalid_grant"}"#,
            "refused",
            "invalid_grant",
        ),
        ("generic", 400, r#"{"error_description":"invalid_grant"}"#, "unlisted", "http_400"),
        ("generic", 400, "error=invalid_grant", "unlisted", "http_400"),
        ("generic", 400, "", "unlisted", "http_400"),
        ("generic", 422, DEAD, "refused", "invalid_grant"),
        ("generic", 500, DEAD, "ambiguous", "invalid_grant"),
        ("generic", 503, DEAD, "transient", "invalid_grant"),
        ("generic", 302, DEAD, "client_rejected", "invalid_grant"),
        ("generic", 429, DEAD, "throttled", "http_429"),
        ("generic", 400, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
        ("generic", 401, r#"{"error":"invalid_client"}"#, "client_rejected", "invalid_client"),
        (
            "generic",
            400,
            r#"{"error":"unsupported_grant_type"}"#,
            "client_rejected",
            "unsupported_grant_type",
        ),
        ("generic", 400, r#"{"error":"slow_down"}"#, "throttled", "slow_down"),
        ("generic", 400, r#"{"error":"temporarily_unavailable"}"#, "transient", "temporarily_unavailable"),
        ("generic", 400, r#"{"error":"AADSTS700082"}"#, "unlisted", "AADSTS700082"),
        ("generic", 400, r#"{"error":"Zm9vYmFyMTIzNDU2Nzg5MA"}"#, "unlisted", "unlisted_code"),
        ("generic", 400, r#"{"error":"\u001b[31mred"}"#, "unlisted", "unlisted_code"),
        // Autodesk's three envelopes.
        (
            "autodesk",
            400,
            r#"{"developerMessage":"The refresh token is invalid","errorCode":"AUTH-004"}"#,
            "unlisted",
            "AUTH-004",
        ),
        (
            "autodesk",
            401,
            r#"{"developerMessage":"x","userMessage":"","errorCode":"AUTH-003","more info":"u"}"#,
            "client_rejected",
            "AUTH-003",
        ),
        (
            "autodesk",
            400,
            r#"{"developerMessage":"x","errorCode":"AUTH-001","moreInfo":"u"}"#,
            "client_rejected",
            "AUTH-001",
        ),
        ("autodesk", 429, r#"{"developerMessage":"Quota limit exceeded."}"#, "throttled", "http_429"),
        ("autodesk", 403, r#"{"developerMessage":"no"}"#, "client_rejected", "http_403"),
        (
            "autodesk",
            400,
            r#"{"error":"invalid_grant","error_description":"x","errorCode":"AUTH-001"}"#,
            "refused",
            "invalid_grant",
        ),
        ("autodesk", 400, r#"{"error":"","errorCode":"AUTH-001"}"#, "client_rejected", "AUTH-001"),
        ("autodesk", 400, r#"{"error":null,"errorCode":"AUTH-001"}"#, "client_rejected", "AUTH-001"),
        // Providers with a way of their own.
        (
            "github",
            200,
            r#"{"error":"bad_refresh_token","error_description":"x"}"#,
            "refused",
            "bad_refresh_token",
        ),
        ("generic", 200, r#"{"error":"bad_refresh_token"}"#, "unlisted", "bad_refresh_token"),
        ("slack", 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, "refused", "invalid_refresh_token"),
        ("slack", 200, r#"{"ok":false,"error":"ratelimited"}"#, "throttled", "ratelimited"),
        ("slack", 200, r#"{"ok":false}"#, "unreadable", "no_tokens"),
        ("hubspot", 400, r#"{"status":"BAD_REFRESH_TOKEN","message":"x"}"#, "refused", "BAD_REFRESH_TOKEN"),
        ("generic", 400, r#"{"status":"BAD_REFRESH_TOKEN"}"#, "unlisted", "http_400"),
        ("sentry", 201, r#"{"token":"a","refreshToken":"r","expiresIn":3600}"#, "granted", "granted"),
        ("generic", 201, r#"{"token":"a","refreshToken":"r"}"#, "unreadable", "no_tokens"),
        (
            "tiktok",
            200,
            r#"{"data":{"access_token":"a","refresh_token":"r","error_code":0},"message":"success"}"#,
            "granted",
            "granted",
        ),
        (
            "tiktok",
            200,
            r#"{"data":{"error_code":10010,"description":"x"},"message":"error"}"#,
            "refused",
            "10010",
        ),
        ("tiktok", 200, r#"{"data":{"error_code":10011},"message":"error"}"#, "unlisted", "error"),
        ("tiktok", 200, r#"{"data":{"error_code":0},"data2":1}"#, "unreadable", "no_tokens"),
        ("tiktok", 200, PAIR, "unreadable", "no_tokens"),
        // Pages of whoever stands in between.
        ("generic", 200, PORTAL, "ambiguous", "html"),
        ("generic", 302, PORTAL, "client_rejected", "http_302"),
        ("generic", 307, "", "client_rejected", "http_307"),
        ("generic", 403, WAF, "client_rejected", "http_403"),
        ("generic", 406, WAF, "unlisted", "http_406"),
        ("generic", 407, WAF, "client_rejected", "http_407"),
        ("generic", 503, WAF, "transient", "http_503"),
        ("generic", 511, PORTAL, "ambiguous", "http_511"),
        ("generic", 200, "\n\t <html>", "ambiguous", "html"),
        ("generic", 200, "OK", "ambiguous", "no_object"),
        ("generic", 200, "", "ambiguous", "empty_body"),
        ("generic", 200, " \r\n", "ambiguous", "empty_body"),
        ("generic", 204, "", "ambiguous", "empty_body"),
        ("generic", 200, "null", "ambiguous", "no_object"),
        ("generic", 200, "[]", "ambiguous", "no_object"),
        ("generic", 200, "{}", "unreadable", "no_tokens"),
        // Statuses by themselves.
        ("generic", 100, "", "ambiguous", "http_100"),
        ("generic", 304, "", "client_rejected", "http_304"),
        ("generic", 402, "", "unlisted", "http_402"),
        ("generic", 404, "", "client_rejected", "http_404"),
        ("generic", 405, "", "client_rejected", "http_405"),
        ("generic", 408, "", "transient", "http_408"),
        ("generic", 409, "", "unlisted", "http_409"),
        ("generic", 413, "", "unlisted", "http_413"),
        ("generic", 414, "", "unlisted", "http_414"),
        ("generic", 415, "", "client_rejected", "http_415"),
        ("generic", 418, "", "unlisted", "http_418"),
        ("generic", 421, "", "transient", "http_421"),
        ("generic", 425, "", "transient", "http_425"),
        ("generic", 431, "", "unlisted", "http_431"),
        ("generic", 451, "", "unlisted", "http_451"),
        ("generic", 500, "", "ambiguous", "http_500"),
        ("generic", 501, "", "ambiguous", "http_501"),
        ("generic", 502, WAF, "ambiguous", "http_502"),
        ("generic", 503, "", "transient", "http_503"),
        ("generic", 504, "", "ambiguous", "http_504"),
        ("generic", 520, "", "ambiguous", "http_520"),
        ("generic", 522, "", "ambiguous", "http_522"),
        ("generic", 524, "", "ambiguous", "http_524"),
        ("generic", 525, "", "ambiguous", "http_525"),
        ("generic", 599, "", "ambiguous", "http_599"),
        ("generic", 999, "", "ambiguous", "http_999"),
        // Successes with something wrong in them.
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","error":"invalid_grant"}"#,
            "granted",
            "granted",
        ),
        ("slack", 200, r#"{"ok":false,"access_token":"a","refresh_token":"r"}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":7,"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":["a"],"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":["r"]}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":{"value":"r"}}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":7}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":""}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":null}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"","refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":null,"refresh_token":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"error":"odd","refresh_token":"r"}"#, "unreadable", "no_tokens"),
        // A refresh token that isn't where the profile says: to keep the old one would be to lose the new one.
        ("generic", 200, r#"{"access_token":"a","refreshToken":"r"}"#, "unreadable", "no_tokens"),
        ("generic", 200, r#"{"access_token":"a","data":{"refresh_token":"r"}}"#, "unreadable", "no_tokens"),
        (
            "generic",
            200,
            r#"{"access_token":"a","tokens":[{"REFRESH-TOKEN":"r"}]}"#,
            "unreadable",
            "no_tokens",
        ),
        ("generic", 200, r#"{"access_token":"a","data":{"refresh_token":null}}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token_expires_in":5}"#, "granted", "granted"),
        // Members that aren't what they should be, beside a good pair.
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":"soon"}"#,
            "granted",
            "granted",
        ),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r","expires_in":-1}"#, "granted", "granted"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r","expires_in":{}}"#, "granted", "granted"),
        (
            "generic",
            200,
            r#"{"access_token":"old","access_token":"a","refresh_token":"r"}"#,
            "granted",
            "granted",
        ),
        // A pair in what isn't quite JSON: the provider's own success, so it is kept and never asked for again.
        ("generic", 200, "\u{feff}{\"access_token\":\"a\",\"refresh_token\":\"r\"}", "granted", "granted"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r"}<!-- served by edge-7 -->"#,
            "granted",
            "granted",
        ),
        (
            "generic",
            200,
            "{\"access_token\":\"a\",\"refresh_token\":\"r\"}\n{\"status\":\"ok\"}",
            "granted",
            "granted",
        ),
        ("generic", 200, "access_token=a&refresh_token=r&expires_in=5", "unreadable", "not_json"),
        ("generic", 200, r#")]}',{"access_token":"a","refresh_token":"r"}"#, "unreadable", "not_json"),
        ("generic", 200, r#"{'access_token':'a','refresh_token':'r'}"#, "unreadable", "not_json"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":1e999}"#,
            "unreadable",
            "not_json",
        ),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"\ud800"}"#, "unreadable", "not_json"),
        (
            "generic",
            200,
            r#"{"access_token":"a","refresh_token":"r","expires_in":NaN}"#,
            "unreadable",
            "not_json",
        ),
        // Cut where nobody noticed: the body ends, and its end is missing.
        ("generic", 200, "{", "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token"#, "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token":"a"#, "ambiguous", "cut_body"),
        ("generic", 200, r#"{"access_token":"a","refresh_token":"r-"#, "ambiguous", "cut_body"),
    ];
    check(
        table.iter().map(|(profile, status, body, class, code)| {
            let read = reading(&raw(*status, *body), profile);
            (format!("{profile} {status} {body}"), read, *class, *code)
        }),
        60,
    );
}

#[test]
fn bytes_that_are_no_text_have_one_class_too() {
    let utf_16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2], text: &str| {
        let units = text.encode_utf16().flat_map(unit);
        mark.into_iter().chain(units).collect::<Vec<u8>>()
    };
    let deep = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let megabyte = |c: &str| c.repeat(1 << 20);
    let with =
        |member: &[u8]| [br#"{"access_token":"a","refresh_token":"r","name":""#, member, br#""}"#].concat();
    let token = |token: &[u8]| [br#"{"access_token":"a","refresh_token":""#, token, br#""}"#].concat();
    let table: Vec<(&str, u16, Vec<u8>, &str, &str)> = vec![
        ("UTF-16, little end first", 200, utf_16([0xff, 0xfe], u16::to_le_bytes, PAIR), "granted", "granted"),
        ("UTF-16, big end first", 200, utf_16([0xfe, 0xff], u16::to_be_bytes, PAIR), "granted", "granted"),
        (
            "a refusal in UTF-16",
            400,
            utf_16([0xff, 0xfe], u16::to_le_bytes, DEAD),
            "unlisted",
            "invalid_grant",
        ),
        (
            "a refusal behind a mark",
            400,
            [b"\xef\xbb\xbf", DEAD.as_bytes()].concat(),
            "refused",
            "invalid_grant",
        ),
        ("Latin-1 beside the pair", 200, with(b"M\xfcller"), "granted", "granted"),
        ("Latin-1 in the refresh token", 200, token(b"r\xfc"), "unreadable", "no_tokens"),
        ("a pair that nobody can write", 200, token(b"r\xff\xfe"), "unreadable", "no_tokens"),
        (
            "a refusal with Latin-1 in it",
            400,
            b"{\"error\":\"invalid_grant\",\"d\":\"\xe9\"}".to_vec(),
            "unlisted",
            "invalid_grant",
        ),
        ("no text at all", 200, vec![0xff; 64], "ambiguous", "no_object"),
        ("NULs", 200, vec![0; 64], "ambiguous", "no_object"),
        ("compressed", 200, b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), "ambiguous", "no_object"),
        ("1 MiB of letters", 200, megabyte("x").into(), "ambiguous", "no_object"),
        ("1 MiB of spaces", 200, megabyte(" ").into(), "ambiguous", "empty_body"),
        ("1 MiB of `[`", 200, megabyte("[").into(), "ambiguous", "no_object"),
        ("1 MiB of `{`", 400, megabyte("{").into(), "unlisted", "http_400"),
        ("1 MiB of `{\"a\":`", 200, r#"{"a":"#.repeat(200_000).into(), "ambiguous", "no_object"),
        (
            "deep beside the pair",
            200,
            format!(r#"{{"access_token":"a","refresh_token":"r","x":{}}}"#, deep(5000, "1")).into(),
            "unreadable",
            "not_json",
        ),
        (
            "deep in a refusal",
            400,
            format!(r#"{{"error":"invalid_grant","x":{}}}"#, deep(5000, "1")).into(),
            "unlisted",
            "http_400",
        ),
        ("a refresh token of 900 KB", 200, token(&vec![b'r'; 900_000]), "granted", "granted"),
        (
            "a code of 900 KB",
            400,
            format!(r#"{{"error":"{}"}}"#, "x".repeat(900_000)).into(),
            "unlisted",
            "unlisted_code",
        ),
    ];
    let rows = table.into_iter().map(|(row, status, body, class, code)| {
        (row.to_owned(), reading(&raw(status, body), "generic"), class, code)
    });
    check(rows, 20);
}

#[test]
fn an_answer_that_was_cut_or_never_came_has_one_class_too() {
    let cut = |status, body: &'static str| RawAnswer { complete: false, ..raw(status, body) };
    let table: Vec<(Sent, &str, &str)> = vec![
        (Sent::Answered(cut(200, PAIR)), "granted", "granted"),
        (Sent::Answered(cut(200, "")), "ambiguous", "cut_body"),
        (Sent::Answered(cut(200, r#"{"access_token":"a"}"#)), "granted", "granted"),
        (Sent::Answered(cut(200, r#"{"access_token":"a","#)), "ambiguous", "cut_body"),
        (Sent::Answered(cut(400, DEAD)), "unlisted", "cut_body"),
        (Sent::Answered(cut(401, r#"{"error":"invalid_cl"#)), "client_rejected", "cut_body"),
        (Sent::Answered(cut(429, "")), "throttled", "http_429"),
        (Sent::Answered(cut(500, DEAD)), "ambiguous", "cut_body"),
        (Sent::Answered(cut(503, "")), "transient", "cut_body"),
        (Sent::NotSent("dns"), "transient", "dns"),
        (Sent::NotSent("tls"), "transient", "tls"),
        (Sent::Lost("timeout"), "ambiguous", "timeout"),
        (Sent::Lost("reset"), "ambiguous", "reset"),
    ];
    let shape = shape("generic");
    check(
        table
            .iter()
            .map(|(sent, class, code)| (format!("{sent:?}"), read(sent, &shape, now()), *class, *code)),
        12,
    );
}

#[test]
fn a_lifetime_is_believed_or_unknown_and_never_a_panic() {
    let table = [
        ("3600", Some(3600.0)),
        ("\"3600\"", Some(3600.0)),
        ("\" 3600 \"", Some(3600.0)),
        ("3599.5", Some(3599.5)),
        ("\"1e3\"", Some(1000.0)),
        ("3153600000", Some(3_153_600_000.0)),
        ("0", None),
        ("-0.0", None),
        ("-3600", None),
        ("1e300", None),
        ("9223372036854775807", None),
        ("18446744073709551615", None),
        ("123456789012345678901234567890", None),
        ("\"NaN\"", None),
        ("\"inf\"", None),
        ("\"-inf\"", None),
        ("\"\"", None),
        ("\"one hour\"", None),
        ("\"0x10\"", None),
        ("null", None),
        ("true", None),
        ("[3600]", None),
        ("{\"s\":3600}", None),
    ];
    for (value, expected) in table {
        let body = format!(
            r#"{{"access_token":"a","refresh_token":"r","expires_in":{value},"refresh_token_expires_in":{value}}}"#
        );
        let Class::Granted(granted) = reading(&raw(200, body), "generic").class else { panic!("{value}") };
        let expected = expected.map(Duration::from_secs_f64);
        assert_eq!((granted.expires_in, granted.refresh_expires_in), (expected, expected), "{value}");
    }
}

#[test]
fn retry_after_of_any_kind_pauses_for_a_while_or_not_at_all() {
    let table: [(&str, Option<u64>); 24] = [
        ("0", Some(0)),
        ("00007", Some(7)),
        ("\t7 ", Some(7)),
        ("600", Some(600)),
        ("601", Some(600)),
        ("4294967296", Some(600)),
        ("18446744073709551616", Some(600)),
        ("-1", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("5s", None),
        ("5, 60", None),
        ("٥", None),
        ("NaN", None),
        ("null", None),
        ("Sat, 21 Nov 2026 03:00:30 GMT", Some(30)),
        ("Saturday, 21-Nov-26 03:00:30 GMT", Some(30)),
        ("Sat Nov 21 03:00:30 2026", Some(30)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(600)),
        ("Sat, 21 Nov 2026 03:00:30 PST", None),
        ("2026-11-21T03:00:30Z", None),
        ("Sat, 32 Nov 2026 03:00:30 GMT", None),
    ];
    for (field, seconds) in table {
        let wait = seconds.map(Duration::from_secs);
        for (status, class) in [
            (429, Class::Throttled(wait)),
            // A 503 is about one request unless it says for how long.
            (503, wait.map_or(Class::Transient, |wait| Class::Throttled(Some(wait)))),
            (500, Class::Ambiguous),
            (400, Class::Unlisted),
        ] {
            let answer = RawAnswer { retry_after: Some(field.to_owned()), ..raw(status, "") };
            assert_eq!(reading(&answer, "generic").class, class, "{status} {field:?}");
        }
    }
}

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
        profile in profiles(),
    ) {
        let answer = RawAnswer { status, retry_after, body: body.clone().into(), complete, received_at: now() };
        let read = reading(&answer, profile);
        match &read.class {
            Class::Refused => {
                let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
                let json: Result<serde_json::Value, _> = serde_json::from_slice(text);
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
