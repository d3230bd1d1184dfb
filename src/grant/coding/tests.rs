//! Streams made here, cut everywhere, and any bytes at all.

use super::*;
use crate::clock::Timestamp;
use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

const PAIR: &[u8] = br#"{"access_token":"a-1","refresh_token":"r-1","expires_in":3599}"#;

fn all(mut stream: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    all(GzEncoder::new(bytes, Compression::best()))
}

/// A brotli stream that stores its text as it is (RFC 7932 §9.2), for at most 64 KiB.
fn brotlied(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len() - 1).unwrap() << 7;
    let head = (0x0b | length | 0x80_0000).to_le_bytes();
    [&head[..3], text, &[0x03]].concat()
}

fn plain(codings: Option<&str>, body: Vec<u8>, complete: bool) -> Plain {
    Plain::of(&RawAnswer {
        status: 200,
        headers: codings.map(|codings| ("content-encoding", codings)).into_iter().collect(),
        body: body.into(),
        complete,
        received_at: Timestamp::UNIX_EPOCH,
    })
}

#[test]
fn each_coding_is_taken_off_by_its_name_and_gzip_and_zlib_without_one() {
    let (zlib, raw) = (
        all(ZlibEncoder::new(PAIR, Compression::best())),
        all(DeflateEncoder::new(PAIR, Compression::best())),
    );
    for (codings, body) in [
        (None, PAIR.to_vec()),
        (Some("gzip"), gzipped(PAIR)),
        (None, gzipped(PAIR)),
        (Some("deflate"), zlib.clone()),
        (Some("deflate"), raw.clone()),
        (None, zlib.clone()),
        (Some("br"), brotlied(PAIR)),
        (Some("gzip, br"), brotlied(&gzipped(PAIR))),
        (Some("br"), brotlied(&gzipped(PAIR))),
        (Some("br,x-gzip,, identity"), gzipped(&brotlied(PAIR))),
        (Some("zstd"), gzipped(PAIR)),
        (Some("gzip"), gzipped(&gzipped(&zlib))),
        (Some("deflate, deflate"), all(DeflateEncoder::new(&*raw, Compression::best()))),
    ] {
        let plain = plain(codings, body, true);
        assert_eq!((&*plain.text, plain.end), (PAIR, End::Whole), "{codings:?}");
    }
}

#[test]
fn a_stream_that_ends_early_gives_the_beginning_of_its_text() {
    for (coding, body) in [
        ("gzip", gzipped(PAIR)),
        ("deflate", all(ZlibEncoder::new(PAIR, Compression::best()))),
        ("br", brotlied(PAIR)),
    ] {
        let mut longest = 0;
        for end in 3..body.len() {
            for complete in [true, false] {
                let plain = plain(Some(coding), body[..end].to_vec(), complete);
                // What gave no text yet stays as it came.
                let begun = PAIR.starts_with(&plain.text);
                assert!(begun || plain.text == body[..end], "{coding} {end}: {:?}", plain.text);
                assert!(plain.end == End::Cut || complete && !begun, "{coding} {end}");
                longest = longest.max(if begun { plain.text.len() } else { 0 });
            }
        }
        assert_eq!(longest, PAIR.len(), "{coding}: all of the text is there before the last byte");
    }
}

#[test]
fn no_stream_fills_the_memory() {
    let bomb = vec![b' '; 64 * MAX_TEXT_BYTES];
    // 8 MiB of spaces.
    let brotli = vec![0x9b, 0xff, 0xff, 0x7f, 0xf8, 0x25, 0x40, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x0f];
    for (codings, body) in [
        ("gzip", gzipped(&bomb)),
        ("deflate", all(ZlibEncoder::new(&*bomb, Compression::best()))),
        ("deflate", all(DeflateEncoder::new(&*bomb, Compression::best()))),
        ("gzip, gzip", gzipped(&gzipped(&bomb))),
        ("br", brotli),
    ] {
        let plain = plain(Some(codings), body, true);
        assert_eq!((plain.text.len(), plain.end), (MAX_TEXT_BYTES, End::TooLong), "{codings}");
    }
    let exact = plain(Some("gzip"), gzipped(&bomb[..MAX_TEXT_BYTES]), true);
    assert_eq!((exact.text.len(), exact.end), (MAX_TEXT_BYTES, End::Whole));
}

#[test]
fn a_damaged_stream_gives_nothing() {
    let whole = gzipped(PAIR);
    for at in [12, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        let plain = plain(None, damaged.clone(), true);
        assert_eq!(plain.text, damaged, "{at}");
        assert_eq!((plain.is_text(), plain.code()), (false, "content_coding_gzip"), "{at}");
    }
}

proptest! {
    /// Whatever the bytes and the names are: never more than the longest text, and never a panic.
    #[test]
    fn any_bytes_under_any_name_are_taken_as_they_are_or_decoded(
        body in prop::collection::vec(any::<u8>(), 0..300),
        codings in prop::option::of("(gzip|deflate|br|zstd|x-gzip|identity|,| ){0,8}"),
        complete: bool,
    ) {
        let plain = plain(codings.as_deref(), body, complete);
        prop_assert!(plain.text.len() <= MAX_TEXT_BYTES);
        prop_assert!(complete || plain.end != End::Whole);
    }

    /// A text is itself, whatever the header says.
    #[test]
    fn a_text_stays_as_it_is(text in "[ -~\n\té]{0,200}", codings in "(gzip|deflate|br|zstd|,){0,4}") {
        let plain = plain(Some(&codings), text.clone().into_bytes(), true);
        prop_assert_eq!((&*plain.text, plain.end), (text.as_bytes(), End::Whole));
    }

    /// What was compressed comes back, whole, in whichever order.
    #[test]
    fn what_was_compressed_comes_back(text in "\\PC{1,200}", order in prop::collection::vec(0..3_usize, 0..4)) {
        let names = ["gzip", "deflate", "br"];
        let body = order.iter().fold(text.clone().into_bytes(), |bytes, coding| match coding {
            0 => gzipped(&bytes),
            1 => all(ZlibEncoder::new(&*bytes, Compression::fast())),
            _ => brotlied(&bytes),
        });
        let list: Vec<_> = order.iter().map(|coding| names[*coding]).collect();
        let plain = plain(Some(&list.join(", ")), body, true);
        prop_assert_eq!((&*plain.text, plain.end), (text.as_bytes(), End::Whole));
    }
}
