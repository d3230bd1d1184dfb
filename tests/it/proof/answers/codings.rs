//! Answers that come compressed although nobody asked for it, with a header that tells the truth, lies, or is gone; and
//! what no coding explains.

use super::{DEAD, PAIR, PORTAL, check, raw, reading};
use crate::support::codings::{brotli, deflate, gzip, zlib};
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::grant::answer::{Class, Reading, holds_a_token};

/// [`PAIR`] by the reference implementation.
const PAIR_IN_BROTLI: [u8; 61] = [
    0x1b, 0x3d, 0x00, 0xe8, 0x2c, 0x0e, 0xec, 0xc6, 0xd6, 0xe7, 0x15, 0x4c, 0xb7, 0xf5, 0x11, 0x5e, 0x51,
    0xb3, 0xb4, 0xe8, 0xec, 0xa9, 0x98, 0xb4, 0x0a, 0x93, 0x6b, 0x91, 0xaf, 0x9a, 0x99, 0x99, 0x53, 0xd6,
    0xe7, 0x18, 0x97, 0x0f, 0xca, 0x37, 0x4c, 0xd7, 0x42, 0x83, 0xe8, 0x8d, 0x08, 0xb9, 0x66, 0xba, 0x94,
    0x9b, 0x7c, 0x42, 0xb0, 0x0b, 0x19, 0x19, 0x48, 0xd9, 0xce,
];

/// The same in zstd.
const PAIR_IN_ZSTD: [u8; 70] = [
    0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0xcd, 0x01, 0x00, 0x04, 0x03, 0x7b, 0x22, 0x61, 0x63, 0x63, 0x65,
    0x73, 0x73, 0x5f, 0x74, 0x6f, 0x6b, 0x65, 0x6e, 0x22, 0x3a, 0x22, 0x61, 0x2d, 0x31, 0x22, 0x2c, 0x22,
    0x72, 0x65, 0x66, 0x72, 0x65, 0x73, 0x68, 0x72, 0x65, 0x78, 0x70, 0x69, 0x72, 0x65, 0x73, 0x5f, 0x69,
    0x6e, 0x22, 0x3a, 0x33, 0x35, 0x39, 0x39, 0x7d, 0x02, 0x00, 0x40, 0x08, 0xb3, 0x98, 0x4e, 0x39, 0x2e,
    0xa2, 0x44,
];

/// A body in its coding, as the header names it.
type Coded<'a> = (&'a str, Option<&'a str>, u16, Vec<u8>, &'a str, &'a str);

fn coded(codings: Option<&str>, status: u16, body: Vec<u8>) -> RawAnswer {
    let headers = codings.map(|codings| ("content-encoding", codings)).into_iter().collect();
    RawAnswer { headers, ..raw(status, body) }
}

fn check_coded(table: Vec<Coded<'_>>, at_least: usize) {
    let rows = table.into_iter().map(|(row, codings, status, body, class, code)| {
        let read = reading(&coded(codings, status, body), "generic");
        (format!("{row} ({codings:?}, HTTP {status})"), read, class, code)
    });
    check(rows, at_least);
}

#[test]
fn a_pair_is_found_in_each_coding_and_whatever_the_header_says() {
    let pair = PAIR.as_bytes();
    let utf_16: Vec<u8> =
        [0xfe, 0xff].into_iter().chain(PAIR.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let (front, behind) = pair.split_at(20);
    let table = vec![
        ("gzip", Some("gzip"), gzip(pair)),
        ("gzip by its old name", Some("x-gzip"), gzip(pair)),
        ("gzip in capitals", Some(" GZIP "), gzip(pair)),
        ("gzip with a parameter", Some("gzip;q=1"), gzip(pair)),
        ("gzip, and a word that means nothing", Some("identity, gzip"), gzip(pair)),
        ("gzip whose header a proxy took away", None, gzip(pair)),
        ("gzip said to be none", Some("identity"), gzip(pair)),
        ("gzip in two members", Some("gzip"), [gzip(front), gzip(behind)].concat()),
        ("gzip with padding behind it", Some("gzip"), [gzip(pair), vec![0; 12]].concat()),
        ("zlib", Some("deflate"), zlib(pair)),
        ("zlib without a header", None, zlib(pair)),
        ("a raw stream", Some("deflate"), deflate(pair)),
        ("brotli", Some("br"), PAIR_IN_BROTLI.to_vec()),
        ("brotli, stored", Some("br"), brotli(pair)),
        ("two, the last one first", Some("gzip, br"), brotli(&gzip(pair))),
        ("two, in one word each", Some("deflate,gzip"), gzip(&zlib(pair))),
        ("two, of which one is named", Some("br"), brotli(&gzip(pair))),
        ("two, of which none is named", None, gzip(&gzip(pair))),
        ("two named, and a proxy took one off", Some("gzip, br"), gzip(pair)),
        ("two named, and a proxy took both off", Some("gzip, br"), pair.to_vec()),
        ("none, said to be gzip", Some("gzip"), pair.to_vec()),
        ("none, said to be brotli", Some("br"), pair.to_vec()),
        ("none, said to be zstd", Some("zstd"), pair.to_vec()),
        ("gzip, said to be brotli", Some("br"), gzip(pair)),
        ("gzip, said to be zstd", Some("zstd"), gzip(pair)),
        ("gzip, said to be zlib", Some("deflate"), gzip(pair)),
        ("zlib, said to be gzip", Some("gzip"), zlib(pair)),
        ("UTF-16 in gzip", Some("gzip"), gzip(&utf_16)),
        ("UTF-16, said to be gzip", Some("gzip"), utf_16),
        ("Latin-1, said to be gzip", Some("gzip"), [&pair[..pair.len() - 1], b",\"n\":\"\xfc\"}"].concat()),
    ];
    let table = table.into_iter().map(|(row, codings, body)| (row, codings, 200, body, "granted", "granted"));
    check_coded(table.collect(), 30);
}

#[test]
fn what_is_in_a_coding_means_what_it_means_without_one() {
    let dead = DEAD.as_bytes();
    let padded = [dead, &vec![b' '; 2 << 20]].concat();
    check_coded(
        vec![
            ("a refusal", Some("gzip"), 400, gzip(dead), "refused", "invalid_grant"),
            ("a refusal", None, 400, gzip(dead), "refused", "invalid_grant"),
            ("a refusal", Some("br"), 400, brotli(dead), "refused", "invalid_grant"),
            ("a refusal with 200", Some("deflate"), 200, zlib(dead), "refused", "invalid_grant"),
            ("a refusal that goes on", Some("gzip"), 400, gzip(&padded), "ambiguous", "invalid_grant"),
            ("a refusal in zstd", Some("zstd"), 400, PAIR_IN_ZSTD.to_vec(), "ambiguous", "http_400"),
            ("a page", Some("gzip"), 503, gzip(PORTAL.as_bytes()), "ambiguous", "http_503"),
            ("a page", Some("gzip"), 200, gzip(PORTAL.as_bytes()), "ambiguous", "html"),
            ("a page", None, 200, zlib(PORTAL.as_bytes()), "ambiguous", "html"),
            ("nothing", Some("gzip"), 200, gzip(b""), "ambiguous", "empty_body"),
            ("nothing, not even compressed", Some("gzip"), 200, vec![], "ambiguous", "empty_body"),
            ("a word", Some("gzip"), 200, gzip(b"OK"), "ambiguous", "no_object"),
            (
                "an answer without a token",
                Some("br"),
                200,
                brotli(br#"{"status":"done"}"#),
                "ambiguous",
                "no_tokens",
            ),
            (
                "an answer with another token",
                Some("br"),
                200,
                brotli(br#"{"token":"a"}"#),
                "unreadable",
                "no_tokens",
            ),
            (
                "the beginning of JSON",
                Some("gzip"),
                200,
                gzip(br#"{"access_token":"a"#),
                "ambiguous",
                "cut_body",
            ),
        ],
        15,
    );
}

#[test]
fn what_came_in_full_and_cannot_be_read_is_named_and_kept() {
    let damaged = |at: usize| {
        let mut bytes = gzip(PAIR.as_bytes());
        bytes[at] ^= 0x55;
        bytes
    };
    let zstd = PAIR_IN_ZSTD.to_vec();
    let binary: Vec<u8> = (0..=255).rev().collect();
    let bomb = vec![b'x'; 8 << 20];
    let compress = [&[0x1f, 0x9d, 0x90][..], &binary].concat();
    let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGe";
    let table = vec![
        ("zstd", Some("zstd"), zstd.clone(), "content_coding_zstd"),
        ("zstd without a header", None, zstd.clone(), "content_coding_zstd"),
        ("zstd in gzip", Some("gzip"), gzip(&zstd), "content_coding_zstd"),
        ("zstd, said to be gzip", Some("gzip"), zstd, "content_coding_gzip"),
        ("compress", Some("x-compress"), compress.clone(), "content_coding_compress"),
        ("compress without a header", None, compress, "content_coding_compress"),
        ("a coding that nobody knows", Some("aes128gcm"), binary.clone(), "content_coding_unknown"),
        (
            "a token where the coding stands",
            Some("kf93Hd02-kd_Qm71"),
            binary.clone(),
            "content_coding_unknown",
        ),
        ("brotli without a header", None, brotli(PAIR.as_bytes()), "not_utf8"),
        ("a raw stream without a header", None, deflate(PAIR.as_bytes()), "not_utf8"),
        ("a damaged head", Some("gzip"), damaged(2), "content_coding_gzip"),
        ("a damaged middle", Some("gzip"), damaged(30), "content_coding_gzip"),
        ("a wrong checksum", None, damaged(gzip(PAIR.as_bytes()).len() - 6), "content_coding_gzip"),
        ("bytes", None, binary.clone(), "not_utf8"),
        ("bytes, said to be brotli", Some("br"), binary.clone(), "content_coding_br"),
        ("bytes, said to be zlib", Some("deflate"), binary.clone(), "content_coding_deflate"),
        ("bytes in gzip", Some("gzip"), gzip(&binary), "not_utf8"),
        ("NULs", None, vec![0; 64], "not_utf8"),
        ("a sentence in Latin-1", None, b"ferm\xe9 pour l'instant".to_vec(), "not_utf8"),
        ("an encrypted text", None, jwe.into(), "not_json"),
        ("an encrypted text in gzip", Some("gzip"), gzip(jwe.as_bytes()), "not_json"),
        (
            "XML",
            None,
            br#"<?xml version="1.0"?><OAuth><access_token>a</access_token></OAuth>"#.to_vec(),
            "not_json",
        ),
        ("a bomb", Some("gzip"), gzip(&bomb), "decoded_too_long"),
        ("a bomb without a header", None, zlib(&bomb), "decoded_too_long"),
        ("a bomb in a bomb", Some("gzip, gzip"), gzip(&gzip(&bomb)), "decoded_too_long"),
    ];
    let table =
        table.into_iter().map(|(row, codings, body, code)| (row, codings, 200, body, "unreadable", code));
    check_coded(table.collect(), 25);
}

#[test]
fn a_bomb_is_read_as_far_as_it_goes() {
    let spaces = vec![b' '; 8 << 20];
    let pair = coded(Some("gzip"), 200, gzip(&[PAIR.as_bytes(), &spaces].concat()));
    assert_eq!(reading(&pair, "generic").class.word(), "granted");
    let begun = [&PAIR.as_bytes()[..PAIR.len() - 1], b",\"more\":\"", &vec![b'x'; 8 << 20], b"\"}"].concat();
    assert_eq!(reading(&coded(None, 200, gzip(&begun)), "generic").class.word(), "granted");
    let page = [b"<html>", &spaces[..]].concat();
    assert_eq!(reading(&coded(Some("gzip"), 200, gzip(&page)), "generic").code, "html");
}

/// Granted with the right pair, or lost, or kept: never another pair.
fn holds_the_pair_or_none(read: &Reading) -> bool {
    match &read.class {
        Class::Granted(granted) => {
            assert_eq!(granted.access_token.expose(), "a-1");
            assert_eq!(granted.refresh_token.as_ref().unwrap().expose(), "r-1");
            true
        }
        class => {
            assert!(matches!(class, Class::Ambiguous | Class::Unreadable), "{read:?}");
            false
        }
    }
}

#[test]
fn a_compressed_answer_that_was_cut_is_read_as_far_as_it_came() {
    let pair = PAIR.as_bytes();
    for (coding, body) in
        [("gzip", gzip(pair)), ("deflate", zlib(pair)), ("deflate", deflate(pair)), ("br", brotli(pair))]
    {
        let mut granted = 0;
        for end in 0..body.len() {
            let cut = coded(Some(coding), 200, body[..end].to_vec());
            let cut = RawAnswer { complete: false, ..cut };
            let read = reading(&cut, "generic");
            let found = holds_the_pair_or_none(&read);
            assert!(
                found || (read.class.word(), &*read.code) == ("ambiguous", "cut_body"),
                "{end}: {read:?}"
            );
            assert!(!found || holds_a_token(&cut), "{coding} {end}");
            granted += usize::from(found);
            // Nobody noticed: the length wasn't said.
            let unnoticed = reading(&RawAnswer { complete: true, ..cut }, "generic");
            assert_eq!(holds_the_pair_or_none(&unnoticed), found, "{coding} {end}: {unnoticed:?}");
            if coding == "gzip" && end > 2 && !found {
                assert_eq!((unnoticed.class.word(), &*unnoticed.code), ("ambiguous", "cut_body"), "{end}");
            }
        }
        assert!(granted > 0, "{coding}: both tokens are there before the end");
    }
    let refusal = RawAnswer { complete: false, ..coded(Some("gzip"), 400, gzip(DEAD.as_bytes())) };
    assert_eq!(reading(&refusal, "generic").class, Class::Ambiguous, "only a whole answer marks a user");
    let early = gzip(DEAD.as_bytes());
    let early = coded(Some("gzip"), 400, early[..early.len() - 8].to_vec());
    assert_eq!(reading(&early, "generic").class, Class::Ambiguous);
}
