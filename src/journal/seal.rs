//! Answers encrypted at rest: XChaCha20-Poly1305 over the body, bound to the row that it stands in.
//!
//! A sealed body is a version byte, the key's id, a random nonce, and the ciphertext with its tag. Document, fingerprint,
//! provider and content coding stay readable, and are authenticated: a body that is moved to another row doesn't open.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key as CipherKey, KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The version that is written: the content coding belongs to the place.
const VERSION: u8 = 2;

/// The first version, which is still opened: before content codings were kept.
const WITHOUT_CODING: u8 = 1;

const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// What a sealed body is longer than the body.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// A key of the journal; never shown, and zeroised when it is dropped.
pub struct JournalKey(SecretBox<[u8; KEY_BYTES]>);

impl Clone for JournalKey {
    fn clone(&self) -> Self {
        Self(SecretBox::new(Box::new(*self.0.expose_secret())))
    }
}

impl std::fmt::Debug for JournalKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JournalKey(redacted)")
    }
}

impl JournalKey {
    /// Reads a key: 64 hexadecimal digits, or base64 (either alphabet, with or without padding) of 32 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { from_hex(text) } else { from_base64(text) };
        let key: [u8; KEY_BYTES] = bytes?.try_into().ok()?;
        Some(Self(SecretBox::new(Box::new(key))))
    }

    /// Tells keys apart without giving one away.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest =
            Sha256::new().chain_update(b"evergrant journal key id").chain_update(self.0.expose_secret());
        let digest = digest.finalize();
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest[..KEY_ID_BYTES]);
        id
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(CipherKey::from_slice(self.0.expose_secret()))
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// RFC 4648 §4 and §5. A key is short: this is simpler than one more dependency.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(KEY_BYTES), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // What is left over must be padding, or the text was cut.
    (bits == 0 && held < 6).then_some(bytes)
}

/// What a sealed body belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) document: &'a [u8],
    pub(super) fingerprint: &'a [u8],
    pub(super) provider: &'a [u8],
    pub(super) content_encoding: Option<&'a [u8]>,
}

impl Place<'_> {
    /// What a body of this version is authenticated with; `None` when it can't stand in such a place.
    fn associated_data(self, version: u8) -> Option<Vec<u8>> {
        let mut data = vec![version];
        for part in [self.document, self.fingerprint, self.provider] {
            // With their lengths: no two places have the same bytes.
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(part);
        }
        match (version, self.content_encoding) {
            (WITHOUT_CODING, None) => {}
            (VERSION, None) => data.push(0),
            (VERSION, Some(coding)) => {
                data.push(1);
                data.extend(coding);
            }
            _ => return None,
        }
        Some(data)
    }
}

/// Why a body doesn't open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// No key at all.
    NoKey,
    /// None of the keys is its key.
    UnknownKey,
    /// The key is there, and the body or its place was changed.
    Tampered,
}

/// The keys of a journal.
#[derive(Debug, Clone, Default)]
pub(super) struct Seal {
    current: Option<JournalKey>,
    old: Vec<JournalKey>,
}

impl Seal {
    pub(super) const fn new(current: Option<JournalKey>, old: Vec<JournalKey>) -> Self {
        Self { current, old }
    }

    pub(super) const fn encrypts(&self) -> bool {
        self.current.is_some()
    }

    /// Encrypts a body with the current key; `None` without one.
    pub(super) fn close(&self, body: &[u8], place: Place<'_>) -> Option<Vec<u8>> {
        let key = self.current.as_ref()?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: body, aad: &place.associated_data(VERSION)? };
        let text = key.cipher().encrypt(XNonce::from_slice(&nonce), payload).ok()?;
        Some([&[VERSION][..], &key.id(), &nonce, &text].concat())
    }

    /// Decrypts a sealed body with whichever key is its key.
    pub(super) fn open(&self, sealed: &[u8], place: Place<'_>) -> Result<Vec<u8>, Closed> {
        if sealed.len() < HEAD_BYTES {
            return Err(Closed::Tampered);
        }
        let place = place.associated_data(sealed[0]).ok_or(Closed::Tampered)?;
        let (head, text) = sealed.split_at(HEAD_BYTES);
        let (id, nonce) = head[1..].split_at(KEY_ID_BYTES);
        let mut keys = self.current.iter().chain(&self.old).peekable();
        if keys.peek().is_none() {
            return Err(Closed::NoKey);
        }
        let key = keys.find(|key| key.id() == id).ok_or(Closed::UnknownKey)?;
        let payload = Payload { msg: text, aad: &place };
        key.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Closed::Tampered)
    }

    /// Is this body sealed with the current key?
    pub(super) fn is_current(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(1..=KEY_ID_BYTES);
        self.current.as_ref().is_some_and(|key| id == Some(&key.id()[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn key(first: u8) -> JournalKey {
        JournalKey::parse(&format!("{first:02x}{}", &HEX[2..])).unwrap()
    }

    fn place(document: &str) -> Place<'_> {
        Place { document: document.as_bytes(), fingerprint: b"f", provider: b"p", content_encoding: None }
    }

    #[test]
    fn a_key_is_hex_or_base64_of_32_bytes_and_nothing_else() {
        let hex = JournalKey::parse(HEX).unwrap();
        for same in [
            &HEX.to_uppercase(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        ] {
            assert_eq!(JournalKey::parse(same).unwrap().0.expose_secret(), hex.0.expose_secret(), "{same}");
        }
        let other = JournalKey::parse(&"_-".repeat(21)).map(drop);
        for no_key in
            ["", "secret", &HEX[2..], &HEX.replace('0', "g"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="]
        {
            assert!(JournalKey::parse(no_key).is_none(), "{no_key}");
        }
        assert!(other.is_none(), "31 bytes and a half");
        assert_eq!(format!("{hex:?}"), "JournalKey(redacted)");
    }

    #[test]
    fn a_body_opens_with_its_key_in_its_place_only() {
        let seal = Seal::new(Some(key(1)), vec![]);
        let sealed = seal.close(b"pair", place("1")).unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"pair"));
        assert_eq!(seal.open(&sealed, place("1")).unwrap(), b"pair");
        assert_eq!(sealed.len(), SEAL_BYTES + 4);
        assert_ne!(seal.close(b"pair", place("1")).unwrap(), sealed, "a nonce of its own each time");
        let rotated = Seal::new(Some(key(2)), vec![key(1)]);
        assert_eq!(rotated.open(&sealed, place("1")).unwrap(), b"pair");
        assert!(seal.is_current(&sealed) && !rotated.is_current(&sealed));

        assert_eq!(seal.open(&sealed, place("2")), Err(Closed::Tampered));
        for other in [
            Place { fingerprint: b"g", ..place("1") },
            Place { provider: b"q", ..place("1") },
            Place { content_encoding: Some(b""), ..place("1") },
            Place { content_encoding: Some(b"br"), ..place("1") },
        ] {
            assert_eq!(seal.open(&sealed, other), Err(Closed::Tampered), "{other:?}");
        }
        assert_eq!(Seal::default().open(&sealed, place("1")), Err(Closed::NoKey));
        assert_eq!(Seal::new(Some(key(2)), vec![]).open(&sealed, place("1")), Err(Closed::UnknownKey));
        for at in [0, HEAD_BYTES - 1, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(&changed, place("1")), Err(Closed::Tampered), "byte {at}");
        }
        assert_eq!(seal.open(b"", place("1")), Err(Closed::Tampered));
    }

    #[test]
    fn a_body_of_the_version_before_opens_where_no_coding_stands() {
        let (key, nonce) = (key(1), [7; NONCE_BYTES]);
        let data = place("1").associated_data(WITHOUT_CODING).unwrap();
        let payload = Payload { msg: b"pair", aad: &data };
        let text = key.cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap();
        let sealed = [&[WITHOUT_CODING][..], &key.id(), &nonce, &text].concat();
        let seal = Seal::new(Some(key), vec![]);
        assert_eq!(seal.open(&sealed, place("1")).unwrap(), b"pair");
        let coded = Place { content_encoding: Some(b"gzip"), ..place("1") };
        assert_eq!(seal.open(&sealed, coded), Err(Closed::Tampered));
        let newer = [&[VERSION + 1][..], &sealed[1..]].concat();
        assert_eq!(seal.open(&newer, place("1")), Err(Closed::Tampered));
    }
}
