//! Content codings, from the side that compresses.

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Read;

fn all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    all(GzEncoder::new(bytes, Compression::default()))
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    all(ZlibEncoder::new(bytes, Compression::default()))
}

/// A raw stream, without zlib's head.
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    all(DeflateEncoder::new(bytes, Compression::default()))
}

/// A stream that stores its text as it is (RFC 7932 §9.2), at most 64 KiB.
pub(crate) fn brotli(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - 1).unwrap() << 7;
    let head = (0x0b | length | 0x80_0000).to_le_bytes();
    [&head[..3], bytes, &[0x03]].concat()
}
