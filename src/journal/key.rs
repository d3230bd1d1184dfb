//! A key of the journal: 32 bytes, as people write them.

use chacha20poly1305::{Key as CipherKey, KeyInit as _, XChaCha20Poly1305};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

pub(super) const KEY_ID_BYTES: usize = 8;

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
    pub(super) fn id(&self) -> [u8; KEY_ID_BYTES] {
        let digest =
            Sha256::new().chain_update(b"evergrant journal key id").chain_update(self.0.expose_secret());
        let digest = digest.finalize();
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest[..KEY_ID_BYTES]);
        id
    }

    pub(super) fn cipher(&self) -> XChaCha20Poly1305 {
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

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
}
