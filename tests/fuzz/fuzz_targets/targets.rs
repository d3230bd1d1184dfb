//! What is fuzzed: each target takes any bytes and panics where a promise is broken.
//!
//! The same functions are run by `cargo fuzz` (`run.sh`) and, over the corpus that is kept, by `cargo test`.

use bytes::Bytes;
use chrono::DateTime;
use evergrant::testing::clock::Timestamp;
use evergrant::testing::config::{Config, Inputs, Need};
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::answer::{Class, Granted, MAX_RETRY_AFTER, Reading};
use evergrant::testing::provider::{AnswerShape, Profile, profile};
use evergrant::testing::store::import::{ImportFormat, malformed, read_documents};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::{AccessToken, RefreshToken};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::LazyLock;

#[path = "targets/journal.rs"]
mod journal_file;

/// Longest code that is shown of what the profile doesn't list.
const MAX_CODE_CHARS: usize = 32;

/// Documents of one input that are looked at.
const MOST_DOCUMENTS: usize = 1000;

fn now() -> Timestamp {
    DateTime::from_timestamp(1_795_000_000, 0).expect("a date")
}

/// The first line, and what comes after it.
fn first_line(data: &[u8]) -> (String, &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(at);
    (String::from_utf8_lossy(line).into_owned(), rest.get(1..).unwrap_or_default())
}

/// What an answer means by a profile that differs from `generic` in its answers only.
fn read_answer(raw: &RawAnswer, shape: &AnswerShape, now: Timestamp) -> Reading {
    let profile = Profile { answer: shape.clone(), ..profile::load("generic").unwrap() };
    evergrant::testing::grant::answer::read_answer(raw, &profile, now)
}

/// A shape by name: the built-in profiles, and those that other providers need.
fn shape(name: &str) -> AnswerShape {
    let built_in = |name| profile::load(name).expect("a built-in profile").answer;
    let generic = built_in("generic");
    match name {
        "autodesk" => built_in("autodesk"),
        "nested" => AnswerShape {
            access_token: "/data/access_token".parse().unwrap(),
            refresh_token: "/data/refresh_token".parse().unwrap(),
            error_code: vec!["/data/error_code".into(), "/error".into()],
            ..generic
        },
        "camel" => AnswerShape {
            access_token: "/token".parse().unwrap(),
            refresh_token: "/refreshToken".parse().unwrap(),
            expires_in: "/expiresIn".parse().unwrap(),
            ..generic
        },
        "status" => AnswerShape {
            error_code: vec!["/error".into(), "/status".into()],
            refused: vec!["BAD_REFRESH_TOKEN".into(), "bad_refresh_token".into(), "invalid_grant".into()],
            ..generic
        },
        _ => generic,
    }
}

/// An answer: a line `STATUS whole|cut SHAPE RETRY-AFTER`, then the body. A shape `NAME/CODINGS` names content codings.
pub(crate) fn answer(data: &[u8]) {
    let (line, body) = first_line(data);
    let mut words = line.splitn(4, ' ');
    let status = words.next().and_then(|status| status.parse().ok()).unwrap_or(200);
    let complete = words.next() != Some("cut");
    let (name, codings) = words.next().map_or(("", None), |word| match word.split_once('/') {
        Some((name, codings)) => (name, Some(codings)),
        None => (word, None),
    });
    let fields = [("content-encoding", codings), ("retry-after", words.next())];
    let headers = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let shape = shape(name);
    let body = Bytes::copy_from_slice(body);
    let raw = RawAnswer { status, headers, body, complete, received_at: now() };
    let reading = read_answer(&raw, &shape, now());
    assert_eq!(reading, read_answer(&raw, &shape, now()), "the same answer means the same");
    let success = (200..300).contains(&status);
    // By its header, or by the first byte of gzip or of zlib.
    let coded = raw.content_encoding().is_some()
        || raw.body.first().is_some_and(|byte| *byte == 0x1f || byte & 0x0f == 8);
    let listed = [&shape.refused, &shape.client_rejected, &shape.throttled, &shape.transient];
    match &reading.class {
        Class::Granted(granted) => {
            assert!(success, "no other status is a grant");
            assert!(!granted.access_token.expose().is_empty(), "a grant has an access token");
            assert!(granted.refresh_token.as_ref().is_none_or(|token| !token.expose().is_empty()));
            // One that stands in the body is what the provider said; one that we put there is a broken token.
            let said = raw.body.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
            let said = said || coded;
            let put = |token: &RefreshToken| !said && token.expose().contains('\u{fffd}');
            assert!(!granted.refresh_token.as_ref().is_some_and(put));
            assert_eq!(reading.code, "granted");
        }
        Class::Refused => {
            assert!(complete && (success || (400..500).contains(&status)) && status != 429);
            assert!(shape.refused.contains(&reading.code), "only a listed code marks a user");
            let text = raw.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&raw.body);
            // What came compressed was well formed before.
            let well_formed = coded || std::str::from_utf8(text).is_ok();
            assert!(well_formed, "only a well-formed answer marks a user");
        }
        Class::Throttled(wait) => assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER)),
        Class::Unreadable => assert!(success, "only a success may have rotated a token for sure"),
        _ => {}
    }
    no_token_is_shown(&reading);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let shown = reading.code.len() <= MAX_CODE_CHARS && reading.code.chars().all(plain);
    assert!(shown || listed.iter().any(|codes| codes.contains(&reading.code)), "a free text is never a code");
}

/// A profile's file, the head of an answer (its status, then a header field a line) and its body, with a line `---` between.
///
/// Whatever the file says: a pair wins over every rule, a status alone refuses no token, and no token is shown.
pub(crate) fn own_profile(data: &[u8]) {
    let mut parts = split(data, b"\n---\n");
    let (text, head, body) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.toml");
    std::fs::write(&path, text).expect("the file");
    let Ok(profile) = profile::load(&path.to_string_lossy()) else { return };
    let _ = evergrant::testing::provider::conflict::conflict(&profile);
    let raw = with_head(head, body);
    let reading = evergrant::testing::grant::answer::read_answer(&raw, &profile, now());
    let without_rules = AnswerShape { rules: Vec::new(), ..profile.answer.clone() };
    let plain = Profile { answer: without_rules, ..profile.clone() };
    let plain = evergrant::testing::grant::answer::read_answer(&raw, &plain, now());
    let is_pair = |reading: &Reading| matches!(reading.class, Class::Granted(_));
    assert_eq!(is_pair(&reading), is_pair(&plain), "no rule makes a pair, nor unmakes one");
    if reading.class == Class::Refused && plain.class != Class::Refused {
        assert!(profile.answer.rules.iter().any(|rule| !rule.conditions.is_empty()), "by a status alone");
    }
    no_token_is_shown(&reading);
}

/// Cookies of an answer, a line each: what is found in them is a token, and is shown nowhere.
pub(crate) fn cookies(data: &[u8]) {
    static PROFILE: LazyLock<Profile> = LazyLock::new(|| {
        let mut profile = profile::load("generic").expect("a built-in profile");
        profile.answer.access_token = "cookie:at".parse().expect("a place");
        profile.answer.refresh_token = "cookie:rt".parse().expect("a place");
        profile.answer.expires_in = "cookie:at as max_age".parse().expect("a place");
        profile
    });
    let head = [b"200\n".as_slice(), data].concat();
    let raw = with_head(&head, b"{}");
    let reading = evergrant::testing::grant::answer::read_answer(&raw, &PROFILE, now());
    assert_eq!(reading, evergrant::testing::grant::answer::read_answer(&raw, &PROFILE, now()));
    if let Class::Granted(granted) = &reading.class {
        let tokens =
            [Some(granted.access_token.expose()), granted.refresh_token.as_ref().map(RefreshToken::expose)];
        for token in tokens.into_iter().flatten() {
            assert!(
                !["", "undefined", "null", "None", "nil", "NaN", "[object Object]", "deleted"]
                    .contains(&token)
            );
        }
    }
    no_token_is_shown(&reading);
}

/// An answer whose head is a status, then a header field a line; a line without a colon is a cookie.
fn with_head(head: &[u8], body: &[u8]) -> RawAnswer {
    let mut lines = head.split(|byte| *byte == b'\n');
    let status =
        lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse().ok()).unwrap_or(200);
    let fields: Vec<(String, Vec<u8>)> = lines
        .map(|line| match line.iter().position(|byte| *byte == b':') {
            Some(at)
                if at > 0 && line[..at].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') =>
            {
                (String::from_utf8_lossy(&line[..at]).to_ascii_lowercase(), line[at + 1..].to_vec())
            }
            _ => ("set-cookie".to_owned(), line.to_vec()),
        })
        .collect();
    let headers = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    RawAnswer { status, headers, body: Bytes::copy_from_slice(body), complete: true, received_at: now() }
}

/// Two readings that differ in their tokens alone look the same.
fn no_token_is_shown(reading: &Reading) {
    let Class::Granted(granted) = &reading.class else { return };
    let other = Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("another".into()),
        refresh_token: granted.refresh_token.as_ref().map(|_| RefreshToken::new("another".into())),
        ..granted.clone()
    };
    let other = Reading { class: Class::Granted(other), ..reading.clone() };
    assert_eq!(format!("{reading:?}"), format!("{other:?}"), "a token is shown");
}

/// The text of a `Retry-After` field.
pub(crate) fn retry_after(data: &[u8]) {
    let field = String::from_utf8_lossy(data);
    for at in [Timestamp::UNIX_EPOCH, now(), Timestamp::MAX_UTC, Timestamp::MIN_UTC] {
        // `SystemTime` holds less than a date of chrono: only what a clock can say is asked.
        if at.timestamp().unsigned_abs() < 1 << 40 {
            let wait = evergrant::testing::grant::answer::retry_after(&field, at);
            assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER), "{wait:?}");
        }
    }
}

/// Settings: a file, `.env`, lines of the environment and lines of `--set`, with a line `---` between.
pub(crate) fn settings(data: &[u8]) {
    const CANARY: &str = "canary-4f7a91c2";
    let text = String::from_utf8_lossy(data);
    // Files that never end, or that somebody would have to write into.
    if text.contains("/dev") || text.contains("/proc") || text.contains("..") {
        return;
    }
    let parts: Vec<&[u8]> = split(data, b"\n---\n").take(4).collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("evergrant.toml"), part(0)).expect("the file");
    std::fs::write(folder.path().join(".env"), part(1)).expect("the file");
    let pair = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((line[..at].to_vec(), line[at + 1..].to_vec()))
    };
    let lines = |at: usize| part(at).split(|byte| *byte == b'\n').filter_map(pair);
    let os = |(name, value)| (OsString::from_vec(name), OsString::from_vec(value));
    let mut variables: Vec<_> = vec![
        ("HOME".into(), folder.path().into()),
        ("EVERGRANT_CLIENT_SECRET".into(), CANARY.into()),
        ("EVERGRANT_STORE_URL".into(), format!("mongodb://u:{CANARY}@db-1/app").into()),
    ];
    variables.extend(lines(2).map(os).filter(|(name, _)| name.to_string_lossy() != "CREDENTIALS_DIRECTORY"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let inputs = Inputs {
        flags: lines(3).map(|(name, value)| (text(name), text(value))).collect(),
        variables,
        working_directory: folder.path().to_owned(),
        file: None,
        system_file: folder.path().join("system.toml"),
    };
    for need in [Need::Store, Need::Provider] {
        let said = match Config::load(&inputs, need, now()) {
            Ok(config) => format!("{config:?}"),
            Err(error) => format!("{error} {error:?} {}", evergrant::testing::failure::told(&error)),
        };
        let given = data.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(given || !said.contains(CANARY), "a secret is shown: {said}");
    }
}

fn split<'a>(data: &'a [u8], by: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let here = rest?;
        match here.windows(by.len()).position(|window| window == by) {
            Some(at) => {
                rest = Some(&here[at + by.len()..]);
                Some(&here[..at])
            }
            None => rest.take(),
        }
    })
}

/// A journal: the bytes of its file, or its rows, a value a line and an empty line between two rows.
///
/// A value is `n` (null), `i7`, `r1.5`, `t…` or `b…`; where the file is strict a wrong type is put in all the same.
pub(crate) fn journal(data: &[u8]) {
    journal_file::look(data);
}

/// A file for `tokens import`: a line `json`, `csv` or anything else (then the text tells), then the text.
pub(crate) fn import(data: &[u8]) {
    let (format, text) = first_line(data);
    let format = match format.as_str() {
        "json" => Some(ImportFormat::Json),
        "csv" => Some(ImportFormat::Csv),
        _ => None,
    };
    let mapping = Mapping { refresh_token: "oauth.refresh".parse().expect("a path"), ..Mapping::default() };
    // A small buffer: every boundary lies between two reads.
    let reader = std::io::BufReader::with_capacity(7, text);
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    for read in read_documents(reader, format).take(MOST_DOCUMENTS) {
        match read {
            Ok((line, document)) => {
                assert!(line <= lines, "line {line} of {lines}");
                let _ = malformed(&document, &mapping);
                let _ = malformed(&document, &Mapping::default());
            }
            Err(error) => assert!(!format!("{error}").contains('\u{1b}'), "an error quotes nothing"),
        }
    }
}
