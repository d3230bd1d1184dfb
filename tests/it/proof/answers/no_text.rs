//! Bytes that are no text, and answers that were cut or never came.

use super::{DEAD, PAIR, check, now, raw, reading};
use evergrant::testing::grant::answer::read;
use evergrant::testing::grant::{RawAnswer, Sent};
use evergrant::testing::provider::profile;

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
            "ambiguous",
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
            "ambiguous",
            "invalid_grant",
        ),
        ("no text at all", 200, vec![0xff; 64], "unreadable", "not_utf8"),
        ("NULs", 200, vec![0; 64], "unreadable", "not_utf8"),
        ("compressed, and cut", 200, b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), "ambiguous", "cut_body"),
        ("1 MiB of letters", 200, megabyte("x").into(), "unreadable", "not_json"),
        ("1 MiB of spaces", 200, megabyte(" ").into(), "ambiguous", "empty_body"),
        ("1 MiB of `[`", 200, megabyte("[").into(), "unreadable", "not_json"),
        ("1 MiB of `{`", 400, megabyte("{").into(), "ambiguous", "http_400"),
        ("1 MiB of `{\"a\":`", 200, r#"{"a":"#.repeat(200_000).into(), "unreadable", "not_json"),
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
            "ambiguous",
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
        (Sent::Answered(cut(400, DEAD)), "ambiguous", "cut_body"),
        (Sent::Answered(cut(401, r#"{"error":"invalid_cl"#)), "client_rejected", "cut_body"),
        (Sent::Answered(cut(429, "")), "throttled", "http_429"),
        (Sent::Answered(cut(500, DEAD)), "ambiguous", "cut_body"),
        (Sent::Answered(cut(503, "")), "ambiguous", "cut_body"),
        (Sent::NotSent("dns"), "transient", "dns"),
        (Sent::NotSent("tls"), "transient", "tls"),
        (Sent::Lost("timeout"), "ambiguous", "timeout"),
        (Sent::Lost("reset"), "ambiguous", "reset"),
    ];
    let profile = profile::load("generic").unwrap();
    check(
        table
            .iter()
            .map(|(sent, class, code)| (format!("{sent:?}"), read(sent, &profile, now()), *class, *code)),
        12,
    );
}
