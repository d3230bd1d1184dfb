//! Secrets encrypted at rest: XChaCha20-Poly1305 over each of them, bound to the row that it stands in.
//!
//! What is sealed is a format byte, the key's id, a random nonce, and the ciphertext with its tag. Authenticated beside it is
//! everything that never changes in its row: a secret that is moved to another row, or whose row was changed, doesn't open.

use super::key::{JournalKey, KEY_ID_BYTES};
use chacha20poly1305::XNonce;
use chacha20poly1305::aead::{Aead as _, Payload};

/// The format that is written.
const FORMAT: u8 = 3;

/// The formats of journals up to version 3, which are read when such a journal is taken over: bound to document,
/// fingerprint and provider, from 2 on to the content coding.
const WITHOUT_CODING: u8 = 1;
const WITH_CODING: u8 = 2;

const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;
const TAG_BYTES: usize = 16;

/// What a sealed secret is longer than the secret.
pub(super) const SEAL_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// The row of a sealed secret: what never changes in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) id: i64,
    pub(super) provider: &'a [u8],
    pub(super) document: &'a [u8],
    pub(super) fingerprint: &'a [u8],
}

/// Which secret of its row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// The refresh token that was sent.
    Sent,
    /// The header fields of the answer.
    Headers(Head),
    /// The body of the answer, beside its header fields as they stand in the row.
    Body(Head, &'a [u8]),
}

/// What else is known of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) complete: bool,
    /// Milliseconds since 1970.
    pub(super) received_at: i64,
}

impl Place<'_> {
    /// What a secret is authenticated with. Every part has its length before it: no two rows have the same bytes.
    fn associated_data(self, part: Part<'_>) -> Vec<u8> {
        let (name, head, headers): (&[u8], _, &[u8]) = match part {
            Part::Sent => (b"sent", None, b""),
            Part::Headers(head) => (b"headers", Some(head), b""),
            Part::Body(head, headers) => (b"body", Some(head), headers),
        };
        let mut data = vec![FORMAT];
        data.extend(self.id.to_be_bytes());
        for text in [name, self.provider, self.document, self.fingerprint, headers] {
            with_length(&mut data, text);
        }
        if let Some(Head { status, complete, received_at }) = head {
            data.extend(status.to_be_bytes());
            data.push(u8::from(complete));
            data.extend(received_at.to_be_bytes());
        }
        data
    }

    /// The same for the body of an answer in a journal of version 3 or before; `None` when it can't stand there.
    fn associated_data_before(self, format: u8, content_encoding: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut data = vec![format];
        for text in [self.document, self.fingerprint, self.provider] {
            with_length(&mut data, text);
        }
        match (format, content_encoding) {
            (WITHOUT_CODING, None) => {}
            (WITH_CODING, None) => data.push(0),
            (WITH_CODING, Some(coding)) => {
                data.push(1);
                data.extend(coding);
            }
            _ => return None,
        }
        Some(data)
    }
}

fn with_length(data: &mut Vec<u8>, text: &[u8]) {
    data.extend((text.len() as u64).to_be_bytes());
    data.extend(text);
}

/// Why a secret doesn't open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// No key at all.
    NoKey,
    /// None of the keys is its key.
    UnknownKey,
    /// The key is there, and the secret or its row was changed.
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

    /// Encrypts a secret with the current key; as it is without one.
    pub(super) fn close(&self, secret: &[u8], place: Place<'_>, part: Part<'_>) -> Vec<u8> {
        let Some(key) = &self.current else { return secret.to_vec() };
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret, aad: &place.associated_data(part) };
        // It fails for texts of 256 GiB only.
        let text = key.cipher().encrypt(XNonce::from_slice(&nonce), payload).expect("a short text");
        [&[FORMAT][..], &key.id(), &nonce, &text].concat()
    }

    /// Decrypts a secret with whichever key is its key.
    pub(super) fn open(&self, sealed: &[u8], place: Place<'_>, part: Part<'_>) -> Result<Vec<u8>, Closed> {
        match sealed.first() {
            Some(&FORMAT) => self.decrypt(sealed, &place.associated_data(part)),
            _ => Err(Closed::Tampered),
        }
    }

    /// Decrypts the body of an answer in a journal of version 3 or before.
    pub(super) fn open_before(
        &self,
        sealed: &[u8],
        place: Place<'_>,
        content_encoding: Option<&[u8]>,
    ) -> Result<Vec<u8>, Closed> {
        let format = sealed.first().copied().unwrap_or_default();
        let data = place.associated_data_before(format, content_encoding).ok_or(Closed::Tampered)?;
        self.decrypt(sealed, &data)
    }

    fn decrypt(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Closed> {
        let (head, text) = sealed.split_at_checked(HEAD_BYTES).ok_or(Closed::Tampered)?;
        let (id, nonce) = head[1..].split_at(KEY_ID_BYTES);
        let mut keys = self.current.iter().chain(&self.old).peekable();
        if keys.peek().is_none() {
            return Err(Closed::NoKey);
        }
        let key = keys.find(|key| key.id() == id).ok_or(Closed::UnknownKey)?;
        let payload = Payload { msg: text, aad };
        key.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Closed::Tampered)
    }

    /// Tells the current key apart from others without giving it away; `none` without one.
    pub(super) fn key_name(&self) -> String {
        let hex = |id: [u8; KEY_ID_BYTES]| id.map(|byte| format!("{byte:02x}")).concat();
        self.current.as_ref().map_or_else(|| "none".to_owned(), |key| hex(key.id()))
    }

    /// Is this sealed in today's format, with the current key?
    pub(super) fn is_current(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(1..=KEY_ID_BYTES);
        let is_current = self.current.as_ref().is_some_and(|key| id == Some(&key.id()[..]));
        is_current && sealed.first() == Some(&FORMAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> JournalKey {
        JournalKey::parse(&format!("{first:02x}{}", "0".repeat(62))).unwrap()
    }

    fn place(document: &str) -> Place<'_> {
        Place { id: 7, provider: b"p", document: document.as_bytes(), fingerprint: b"f" }
    }

    const HEAD: Head = Head { status: 200, complete: true, received_at: 5 };
    const BODY: Part<'_> = Part::Body(HEAD, b"headers");

    #[test]
    fn a_secret_opens_with_its_key_in_its_place_only() {
        let seal = Seal::new(Some(key(1)), vec![]);
        let sealed = seal.close(b"pair", place("1"), BODY);
        assert!(!sealed.windows(4).any(|window| window == b"pair"));
        assert_eq!(seal.open(&sealed, place("1"), BODY).unwrap(), b"pair");
        assert_eq!(sealed.len(), SEAL_BYTES + 4);
        assert_ne!(seal.close(b"pair", place("1"), BODY), sealed, "a nonce of its own each time");
        let rotated = Seal::new(Some(key(2)), vec![key(1)]);
        assert_eq!(rotated.open(&sealed, place("1"), BODY).unwrap(), b"pair");
        assert!(seal.is_current(&sealed) && !rotated.is_current(&sealed));

        for other in [
            place("2"),
            Place { id: 8, ..place("1") },
            Place { fingerprint: b"g", ..place("1") },
            Place { provider: b"q", ..place("1") },
        ] {
            assert_eq!(seal.open(&sealed, other, BODY), Err(Closed::Tampered), "{other:?}");
        }
        for part in [
            Part::Sent,
            Part::Headers(HEAD),
            Part::Body(HEAD, b""),
            Part::Body(Head { status: 400, ..HEAD }, b"headers"),
            Part::Body(Head { complete: false, ..HEAD }, b"headers"),
            Part::Body(Head { received_at: 6, ..HEAD }, b"headers"),
        ] {
            assert_eq!(seal.open(&sealed, place("1"), part), Err(Closed::Tampered), "{part:?}");
        }
        assert_eq!(Seal::default().open(&sealed, place("1"), BODY), Err(Closed::NoKey));
        let unknown = Seal::new(Some(key(2)), vec![]);
        assert_eq!(unknown.open(&sealed, place("1"), BODY), Err(Closed::UnknownKey));
        for at in [0, HEAD_BYTES - 1, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open(&changed, place("1"), BODY), Err(Closed::Tampered), "byte {at}");
        }
        assert_eq!(seal.open(b"", place("1"), BODY), Err(Closed::Tampered));
        assert_eq!(Seal::default().close(b"pair", place("1"), BODY), b"pair", "without a key");
    }

    #[test]
    fn a_body_of_an_earlier_version_opens_beside_its_coding_only() {
        let (key, nonce) = (key(1), [7; NONCE_BYTES]);
        let seal = Seal::new(Some(key.clone()), vec![]);
        for (format, coding) in
            [(WITHOUT_CODING, None), (WITH_CODING, None), (WITH_CODING, Some(&b"gzip"[..]))]
        {
            let data = place("1").associated_data_before(format, coding).unwrap();
            let payload = Payload { msg: b"pair", aad: &data };
            let text = key.cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap();
            let sealed = [&[format][..], &key.id(), &nonce, &text].concat();
            assert_eq!(seal.open_before(&sealed, place("1"), coding).unwrap(), b"pair");
            assert_eq!(seal.open_before(&sealed, place("1"), Some(b"br")), Err(Closed::Tampered));
            assert_eq!(
                seal.open(&sealed, place("1"), BODY),
                Err(Closed::Tampered),
                "not in a journal of today"
            );
            let newer = [&[FORMAT + 1][..], &sealed[1..]].concat();
            assert_eq!(seal.open_before(&newer, place("1"), coding), Err(Closed::Tampered));
        }
    }
}
