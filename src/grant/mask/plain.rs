//! Could a text be a token? A word, a number and a date are none; in doubt it could. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Fewest characters of a text that could be a token under any name: shorter ones could be guessed (RFC 6749 §10.10).
pub(super) const SHORTEST_TOKEN_CHARS: usize = 16;

/// Longest word: one of the longest in error codes is `internationalization`, with 20 letters, and it is masked.
const LONGEST_WORD_CHARS: usize = 15;

/// Longest run of consonants in a word.
const MOST_CONSONANTS: usize = 4;

/// Longest abbreviation without a vowel (`HTTP`, `jwt`).
const LONGEST_ABBREVIATION_CHARS: usize = 4;

/// Longest number among words (a Unix time has 10 digits).
const LONGEST_NUMBER_AMONG_WORDS_CHARS: usize = 10;

/// Longest number that is believed to be one: it fits into 64 bits.
const LONGEST_NUMBER_CHARS: usize = 19;

/// Could this text be a token, under whatever name it stands?
pub(super) fn could_be_token(text: &str) -> bool {
    text.chars().count() >= SHORTEST_TOKEN_CHARS && !is_plain(text)
}

/// Is it a number, a date, or made of words?
pub(super) fn is_plain(text: &str) -> bool {
    is_number(text) || is_date(text) || is_words(text)
}

pub(super) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_short = digits.len() <= LONGEST_NUMBER_CHARS && !digits.is_empty();
    is_short
        && digits.split('.').count() <= 2
        && digits.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn is_date(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
        || DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
}

/// Is it made of words, with few digits: `invalid_grant`, `RefreshTokenExpired`, `application/json`, `AADSTS700082`?
///
/// Each part must look like a word, be short, or be a short number; and most of it must be words.
pub(super) fn is_words(text: &str) -> bool {
    let (mut words, mut all) = (0, 0);
    for atom in text.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|atom| !atom.is_empty()) {
        all += atom.len();
        let letters = atom.trim_end_matches(|sign: char| sign.is_ascii_digit());
        let digits = atom.len() - letters.len();
        if digits > LONGEST_NUMBER_AMONG_WORDS_CHARS || letters.bytes().any(|byte| byte.is_ascii_digit()) {
            return false;
        }
        if letters.is_empty() {
            continue;
        }
        // A letter or two between signs say nothing.
        match camel_words(letters) {
            Some(true) => words += letters.len(),
            Some(false) => {}
            None => return false,
        }
    }
    text.is_ascii() && all > 0 && words * 10 >= all * 6
}

/// Are these letters words, written one after the other with a capital letter each? `Some(false)` for an abbreviation,
/// which says little; `None` for what looks like no word.
fn camel_words(letters: &str) -> Option<bool> {
    let bytes = letters.as_bytes();
    let mut starts = vec![0];
    for at in 1..bytes.len() {
        let is_capital = bytes[at].is_ascii_uppercase();
        let after_small = bytes[at - 1].is_ascii_lowercase();
        let before_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        if is_capital && (after_small || before_small) {
            starts.push(at);
        }
    }
    // Letters in any order change their case too often for words.
    if letters.len() + 3 < 5 * starts.len() {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let (mut real, mut abbreviations, mut capitals) = (0, 0, 0);
    for (start, end) in starts.iter().copied().zip(ends) {
        let word = &letters[start..end];
        capitals += usize::from(word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase()));
        let vowels = word.bytes().filter(|byte| is_vowel(*byte)).count();
        if vowels == 0 && word.len() <= LONGEST_ABBREVIATION_CHARS {
            abbreviations += 1;
            continue;
        }
        let longest_run =
            word.split(|sign: char| is_vowel(sign as u8)).map(str::len).max().unwrap_or_default();
        let fits = word.len() <= 5 * vowels || word.len() <= 6;
        if word.len() > LONGEST_WORD_CHARS || vowels == 0 || longest_run > MOST_CONSONANTS || !fits {
            return None;
        }
        real += word.len();
    }
    if abbreviations > 1 || capitals > 1 {
        return None;
    }
    Some(4 * real >= 3 * letters.len() && letters.len() > 1)
}

fn is_vowel(byte: u8) -> bool {
    matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_numbers_and_dates_are_no_tokens() {
        for text in [
            "invalid_grant_because_of_expiry",
            "RefreshTokenExpiredException",
            "application/json",
            "AADSTS700082_token_expired",
            "refresh.token.expired",
            "JsonWebTokenError",
            "connect-timeout-in-gateway-2",
            "1234567890123456789",
            "2026-11-21T03:00:00Z",
            "2026-11-21T03:00:00.000+0000",
            "2026-11-21T03:00:00.123456",
            "too short",
        ] {
            assert!(!could_be_token(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_word_could_be_a_token() {
        for text in [
            "0c7d9a52-6f1e-4a7b-9a51-0d1c2b3a4e5f",
            "a8f3c9e1b2d4f6a7",
            "AbCdEfGhIjKlMnOpQr",
            "qwkjzxvbnmasdfghjklq",
            "JBSWY3DPEHPK3PXPJBSW",
            "12345678901234567890",
            "1234567890-1234567890",
            "4/0AX4XfWh9abcdefghij",
            "ya29.a0AfH6SMBx-long_one",
            "12|aB3dE5fG7hJ9kL1mN3",
            "internationalizations",
            "QmFzZTY0dGV4dCBpcw==",
            "xK9-pL2_qR7.sT4~uV1",
        ] {
            assert!(could_be_token(text), "{text}");
        }
    }
}
