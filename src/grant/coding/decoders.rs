//! One stream in, its text out, never more than the longest: gzip, zlib, raw deflate and brotli.

use super::{Coding, MAX_TEXT_BYTES};
use crate::grant::append;
use crate::grant::body::text_of;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use secrecy::zeroize::Zeroizing;
use std::io::{ErrorKind, Read};

/// What is decoded at once, in bytes: a token answer has a few KiB.
const PIECE_BYTES: usize = 8 * 1024;

/// What came of decoding a stream.
pub(super) enum Decoded {
    /// All of it; where the coding has a checksum, it is right.
    Whole(Bytes),
    /// What came out before the stream ended, too early.
    Cut(Bytes),
    /// The first [`MAX_TEXT_BYTES`].
    TooLong(Bytes),
    /// It isn't such a stream, or a damaged one: nothing that came out of it is to be believed.
    Misfit,
}

/// The text so far; zeroised when it is dropped.
#[derive(Default)]
struct Text(Zeroizing<Vec<u8>>);

impl Text {
    /// Takes a piece; `false` when that is more than is taken.
    fn push(&mut self, piece: &[u8]) -> bool {
        let room = MAX_TEXT_BYTES - self.0.len();
        append(&mut self.0, &piece[..piece.len().min(room)]);
        piece.len() <= room
    }

    fn bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

/// How one stream ended.
enum Ended {
    Whole,
    Cut,
    TooLong,
    Misfit,
}

/// Reads a stream to its end.
fn read(mut stream: impl Read, text: &mut Text) -> Ended {
    let mut piece = Zeroizing::new([0; PIECE_BYTES]);
    loop {
        match stream.read(&mut *piece) {
            Ok(0) => return Ended::Whole,
            Ok(length) if text.push(&piece[..length]) => {}
            Ok(_) => return Ended::TooLong,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ended::Cut,
            Err(_) => return Ended::Misfit,
        }
    }
}

fn decoded(ended: &Ended, text: Text) -> Decoded {
    match ended {
        Ended::Whole => Decoded::Whole(text.bytes()),
        Ended::Cut => Decoded::Cut(text.bytes()),
        Ended::TooLong => Decoded::TooLong(text.bytes()),
        Ended::Misfit => Decoded::Misfit,
    }
}

/// RFC 1952: one member, or several behind each other; what else stands behind the last one is left out.
pub(super) fn gzip(bytes: &[u8]) -> Decoded {
    let (mut text, mut rest) = (Text::default(), bytes);
    loop {
        let mut stream = GzDecoder::new(rest);
        let ended = read(&mut stream, &mut text);
        rest = stream.into_inner();
        let another = matches!(ended, Ended::Whole) && rest.starts_with(&[0x1f, 0x8b]);
        if !another {
            return decoded(&ended, text);
        }
    }
}

/// RFC 1950; what stands behind the checksum is left out.
pub(super) fn zlib(bytes: &[u8]) -> Decoded {
    let mut text = Text::default();
    let ended = read(ZlibDecoder::new(bytes), &mut text);
    decoded(&ended, text)
}

/// RFC 1951. It has no head and no checksum: only a stream that takes every byte is one.
pub(super) fn raw_deflate(bytes: &[u8]) -> Decoded {
    let mut text = Text::default();
    let mut stream = DeflateDecoder::new(bytes);
    let ended = read(&mut stream, &mut text);
    let rest = stream.into_inner();
    believed(&ended, text, rest)
}

/// RFC 7932. It has no head and no checksum either.
pub(super) fn brotli(bytes: &[u8]) -> Decoded {
    let mut text = Text::default();
    let alloc = StandardAlloc::default;
    // Strict: windows of RFC 7932 only, 16 MiB at most.
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut piece = Zeroizing::new([0; PIECE_BYTES]);
    let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
    let ended = loop {
        let (mut room, mut filled) = (PIECE_BYTES, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut at,
            bytes,
            &mut room,
            &mut filled,
            &mut *piece,
            &mut total,
            &mut state,
        );
        if !text.push(&piece[..filled]) {
            break Ended::TooLong;
        }
        match result {
            BrotliResult::ResultSuccess => break Ended::Whole,
            BrotliResult::NeedsMoreInput => break Ended::Cut,
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => break Ended::Misfit,
        }
    };
    believed(&ended, text, &bytes[at..])
}

/// What came out of a stream that nothing proves: it is believed whole where it took every byte there is, and cut where
/// what came of it is the beginning of a text or of another stream.
fn believed(ended: &Ended, text: Text, rest: &[u8]) -> Decoded {
    let is_known =
        || !text.0.is_empty() && (text_of(&text.0).is_some() || Coding::by_magic_bytes(&text.0).is_some());
    let is_believed = match ended {
        Ended::Whole => rest.is_empty(),
        Ended::Cut | Ended::TooLong => is_known(),
        Ended::Misfit => false,
    };
    if is_believed { decoded(ended, text) } else { Decoded::Misfit }
}
