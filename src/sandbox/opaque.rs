//! Tokens as text: 32 random bytes as 43 URL-safe characters, and the Base64 of Basic client authentication.

/// Bytes of randomness in a token.
pub(super) const TOKEN_BYTES: usize = 32;

/// Characters of a token: [`TOKEN_BYTES`] at six bits each.
const TOKEN_CHARACTERS: usize = 43;

const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a token says: 32 bytes that mean nothing to anybody.
pub(super) type TokenBytes = [u8; TOKEN_BYTES];

/// Writes a token as it travels (RFC 4648 §5, without padding).
pub(super) fn encode(token: &TokenBytes) -> String {
    let mut text = String::with_capacity(TOKEN_CHARACTERS);
    for chunk in token.chunks(3) {
        let mut bits = 0_u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(position).copied().unwrap_or(0));
        }
        for position in 0..=chunk.len() {
            text.push(char::from(URL_SAFE[(bits >> (18 - 6 * position)) as usize & 63]));
        }
    }
    text
}

/// Reads a token that could be one of ours; anything else was never handed out.
pub(super) fn decode(text: &str) -> Option<TokenBytes> {
    let token: TokenBytes = sextets(text)?.try_into().ok()?;
    (text.len() == TOKEN_CHARACTERS && encode(&token) == text).then_some(token)
}

/// Reads the credentials of `Authorization: Basic` (RFC 7617 §2), before their form decoding.
pub(super) fn basic_credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = encoded.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    let pair = String::from_utf8(sextets(&text)?).ok()?;
    let (client_id, client_secret) = pair.split_once(':')?;
    Some((client_id.into(), client_secret.into()))
}

fn sextets(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}
