//! Content codings (RFC 9110 §8.4): the text of an answer that came compressed. Pure.
//!
//! Each request asks for none (`Accept-Encoding: identity`). Some servers compress all the same, and some proxies take
//! the header away and leave the body. So the header is a hint and the bytes decide: what is a text already stays as it
//! is, what the header names is tried, and gzip and zlib are known by their first bytes.

mod decoders;

use super::RawAnswer;
use super::body::text_of;
use super::http::MAX_BODY_BYTES;
use bytes::Bytes;
use decoders::{Decoded, brotli, gzip, raw_deflate, zlib};

/// Most codings that are taken off one answer. Real ones have one, rarely two.
const MOST_LAYERS: usize = 4;

/// Longest decoded text, in bytes: what is longer is no pair, and may be made to fill the memory.
pub(super) const MAX_TEXT_BYTES: usize = MAX_BODY_BYTES;

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Where it should.
    Whole,
    /// Too early: the line was cut, or the compressed stream ends before its end.
    Cut,
    /// At [`MAX_TEXT_BYTES`]; more would have come.
    TooLong,
}

/// The text of an answer, as far as it could be decoded; holds tokens.
pub(super) struct Plain {
    /// The text, or the bytes as they came where no coding fits.
    pub(super) text: Bytes,
    pub(super) end: End,
    /// The coding that the answer has, or claims to have, and that couldn't be taken off.
    misfit: Option<&'static str>,
}

/// One content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// By RFC 9110 a zlib stream; some servers send the raw stream.
    Deflate,
    Brotli,
    /// One that can't be decoded here, by the code that names it.
    Closed(&'static str),
}

impl Coding {
    /// Reads one name of a `Content-Encoding` field; `None` for `identity` and for nothing.
    fn named(name: &str) -> Option<Self> {
        let name = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "" | "identity" => return None,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Closed("content_coding_zstd"),
            "compress" | "x-compress" => Self::Closed("content_coding_compress"),
            // Whatever stands there, a token perhaps, isn't shown.
            _ => Self::Closed("content_coding_unknown"),
        })
    }

    /// Knows a coding by the first bytes of its stream.
    fn by_magic_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Closed("content_coding_zstd")),
            [0x1f, 0x9d, ..] => Some(Self::Closed("content_coding_compress")),
            _ if begins_as_zlib(bytes) => Some(Self::Deflate),
            _ => None,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Gzip => "content_coding_gzip",
            Self::Deflate => "content_coding_deflate",
            Self::Brotli => "content_coding_br",
            Self::Closed(code) => code,
        }
    }

    fn decode(self, bytes: &[u8]) -> Decoded {
        match self {
            Self::Gzip => gzip(bytes),
            Self::Deflate => match zlib(bytes) {
                Decoded::Misfit => raw_deflate(bytes),
                decoded => decoded,
            },
            Self::Brotli => brotli(bytes),
            Self::Closed(_) => Decoded::Misfit,
        }
    }
}

/// Is this the head of a zlib stream without a dictionary (RFC 1950 §2.2)?
fn begins_as_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = bytes else { return false };
    let is_deflate = method & 0x0f == 8 && method >> 4 <= 7;
    is_deflate && flags & 0x20 == 0 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
}

impl Plain {
    /// Decodes an answer; one without a coding costs a look at its bytes.
    pub(super) fn of(answer: &RawAnswer) -> Self {
        let end = if answer.complete { End::Whole } else { End::Cut };
        let mut plain = Self { text: answer.body.clone(), end, misfit: None };
        let field = answer.content_encoding().unwrap_or_default();
        // The last one was applied last.
        for coding in field.rsplit(',').filter_map(Coding::named).take(MOST_LAYERS) {
            plain.take_off(coding);
        }
        for _ in 0..MOST_LAYERS {
            match Coding::by_magic_bytes(&plain.text) {
                Some(coding) if plain.take_off(coding) => {}
                Some(_) | None => break,
            }
        }
        plain
    }

    /// Takes one coding off, where it is on; tells whether it was.
    fn take_off(&mut self, coding: Coding) -> bool {
        // A proxy has done so, and left the header.
        if self.is_text() {
            return false;
        }
        let (text, end) = match coding.decode(&self.text) {
            Decoded::Whole(text) => (text, End::Whole),
            Decoded::TooLong(text) => (text, End::TooLong),
            Decoded::Cut(text) => (text, End::Cut),
            Decoded::Misfit => {
                self.misfit.get_or_insert(coding.code());
                return false;
            }
        };
        self.text = text;
        self.end = self.end.max(end);
        true
    }

    /// Is it a text, and no bytes that must be decoded first?
    pub(super) fn is_text(&self) -> bool {
        text_of(&self.text).is_some()
    }

    /// Why it is no text, in a word.
    pub(super) fn code(&self) -> &'static str {
        self.misfit.unwrap_or("not_utf8")
    }
}

#[cfg(test)]
mod tests;
