//! An answer without its tokens, for a ticket and for `providers test --answer`. Pure.
//!
//! What is masked is decided by what could be a token, not by the places that a profile knows alone: any text of 16 or
//! more characters that is no word, number or date; what stands under a name that speaks of a token or a secret, or at a
//! token's place, however short; each cookie; each value in a URL; and the tokens and secrets of the request, in whatever
//! spelling.
//! The same token gets the same mask everywhere.

mod json;
mod plain;
#[cfg(test)]
mod tests;
mod text;

use super::RawAnswer;
use super::answer::is_nothing;
use super::body::text_of;
use super::coding::{End, Plain};
use crate::clock::Timestamp;
use crate::provider::AnswerShape;
use crate::provider::place::{AnswerPlace, AnswerPlaces};
use crate::token::RefreshToken;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
use std::collections::HashSet;
use std::fmt::Write as _;
use url::form_urlencoded;

/// Deepest JSON within texts of JSON that is read; what lies deeper is masked as a text.
const DEEPEST: usize = 8;

/// Fewest characters of a piece of a known token that is masked by itself.
const SHORTEST_PIECE_CHARS: usize = 8;

/// Ends of names, in letters, under which a token or a secret stands.
const SENSITIVE: [&str; 22] = [
    "token",
    "tokens",
    "secret",
    "password",
    "passwd",
    "jwt",
    "sid",
    "sessionid",
    "session",
    "apikey",
    "credential",
    "credentials",
    "cookie",
    "cookies",
    "assertion",
    "authorization",
    "bearer",
    "refresh",
    "access",
    "ticket",
    "otp",
    "privatekey",
];

/// Header fields that speak of the body as it was sent, which the masked one isn't.
const OF_THE_OLD_BODY: [&str; 3] = ["content-length", "content-encoding", "transfer-encoding"];

/// What is known of an answer before it is masked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The token that was sent: an answer may repeat it.
    pub sent: Option<&'a RefreshToken>,
    /// What else must not be shown of the request: an answer may repeat it, too.
    pub secrets: &'a [Zeroizing<String>],
    /// Where tokens stand.
    pub shape: Option<&'a AnswerShape>,
}

/// An answer in which each token is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as a text.
    pub body: String,
    /// Did it come to its end?
    pub complete: bool,
    /// Was the body left out, because it is no text?
    pub without_body: bool,
    /// When it came.
    pub received_at: Timestamp,
}

impl MaskedAnswer {
    /// Masks an answer; `random` gives numbers that tell nothing of the tokens.
    pub fn of(answer: &RawAnswer, known: Known<'_>, random: &mut dyn FnMut() -> u64) -> Self {
        let plain = Plain::of(answer);
        let text = text_of(&plain.text);
        let without_body = text.is_none() && !plain.text.is_empty();
        let mut masks = Masks::new(known, random);
        // Before the text is taken apart at signs that the token may hold.
        let text = Zeroizing::new(masks.swept(text.unwrap_or_default().into_owned()));
        // The first time each token is learned, so that the second time each repetition of it is known.
        let _ = masks.headers(answer);
        let _ = masks.body(&text);
        let (headers, body) = (masks.headers(answer), masks.body(&text));
        let headers = headers.into_iter().map(|(name, value)| (name, masks.swept(value))).collect();
        Self {
            status: answer.status,
            headers,
            body: masks.swept(body),
            complete: answer.complete && plain.end == End::Whole,
            without_body,
            received_at: answer.received_at,
        }
    }

    /// The same as an answer that can be read.
    #[must_use]
    pub fn raw(&self) -> RawAnswer {
        RawAnswer {
            status: self.status,
            headers: self.headers.iter().map(|(name, value)| (name, value)).collect(),
            body: self.body.clone().into(),
            complete: self.complete,
            received_at: self.received_at,
        }
    }

    /// As `curl -i` prints it. A cut body is shorter than its `content-length`.
    #[must_use]
    pub fn http(&self) -> String {
        let mut text = format!("HTTP/1.1 {}\n", self.status);
        // Writing into a text can't fail.
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        let length = self.body.len() + usize::from(!self.complete);
        let _ = write!(text, "content-length: {length}\n\n{}", self.body);
        text
    }
}

/// How much the name of a value says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// It is a token or a secret.
    Token,
    /// It stands within something that is one.
    Within,
    /// Nothing.
    Nothing,
}

/// A token and what stands in its place.
struct Mask {
    token: Zeroizing<String>,
    shown: String,
    /// Masked also as a part of other texts.
    everywhere: bool,
}

struct Masks<'a> {
    random: &'a mut dyn FnMut() -> u64,
    tokens: Vec<Mask>,
    /// Names of members and header fields at which the profile expects a token.
    names: HashSet<String>,
}

impl<'a> Masks<'a> {
    fn new(known: Known<'_>, random: &'a mut dyn FnMut() -> u64) -> Self {
        let places = known.shape.iter().flat_map(|shape| {
            let places = |places: &AnswerPlaces| places.0.clone();
            [places(&shape.access_token), places(&shape.refresh_token)].concat()
        });
        let name = |place: AnswerPlace| match place {
            AnswerPlace::Pointer(pointer) => {
                pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
            }
            AnswerPlace::Header(name) | AnswerPlace::Cookie(name) => name,
        };
        let names = places.map(name).collect();
        let mut masks = Self { random, tokens: Vec::new(), names };
        if let Some(sent) = known.sent {
            masks.token(sent.expose(), true);
        }
        for secret in known.secrets {
            masks.token(secret, true);
        }
        masks
    }

    /// What stands in the place of a token.
    fn token(&mut self, token: &str, everywhere: bool) -> String {
        if let Some(known) = self.tokens.iter_mut().find(|known| *known.token == *token) {
            known.everywhere |= everywhere;
            return known.shown.clone();
        }
        if self.tokens.iter().any(|known| known.shown == token) {
            return token.to_owned();
        }
        let opaque = format!("masked-{:016x}", (self.random)());
        let mask = jwt_ends(token).map_or_else(|| opaque.clone(), |ends| format!("{ends}.{opaque}"));
        // A word in a token's place, `active`, isn't looked for in other texts.
        let everywhere = everywhere || token.len() >= SHORTEST_PIECE_CHARS && !plain::is_plain(token);
        self.tokens.push(Mask { token: Zeroizing::new(token.to_owned()), shown: mask.clone(), everywhere });
        mask
    }

    /// The value of a member, a parameter or a header field.
    fn value(&mut self, named: Named, value: &str, depth: usize) -> String {
        let trimmed = value.trim();
        if trimmed.is_empty() || is_nothing(trimmed) {
            return value.to_owned();
        }
        match named {
            Named::Token => {
                let scheme =
                    trimmed.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
                let (scheme, token) = scheme.map_or(("", trimmed), |(_, token)| ("Bearer ", token.trim()));
                format!("{scheme}{}", self.token(token, false))
            }
            Named::Within
                if !trimmed.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ')
                    && !plain::is_number(trimmed)
                    && !plain::is_date(trimmed) =>
            {
                self.token(trimmed, false)
            }
            Named::Within | Named::Nothing if depth < DEEPEST && trimmed.starts_with(['{', '[']) => {
                self.json(value, named, depth + 1)
            }
            Named::Within | Named::Nothing => self.text(value, depth),
        }
    }

    fn body(&mut self, text: &str) -> String {
        if text.trim_start().starts_with(['{', '[', '"']) {
            self.json(text, Named::Nothing, 0)
        } else {
            self.text(text, 0)
        }
    }

    fn headers(&mut self, answer: &RawAnswer) -> Vec<(String, String)> {
        let mut masked = Vec::new();
        for (name, value) in answer.headers.iter().filter(|(name, _)| !OF_THE_OLD_BODY.contains(name)) {
            let shown = self.text(name, 0);
            let value = match std::str::from_utf8(value) {
                Ok(value) => {
                    let value = Zeroizing::new(self.swept(value.to_owned()));
                    if name == "set-cookie" {
                        self.cookie(&value)
                    } else {
                        self.value(self.named(name), &value, 0)
                    }
                }
                Err(_) => self.token(&String::from_utf8_lossy(value), false),
            };
            masked.push((shown, value));
        }
        masked
    }

    /// A `Set-Cookie` field: its value is a token, unless it says that there is none.
    fn cookie(&mut self, field: &str) -> String {
        let (pair, attributes) =
            field.split_once(';').map_or((field, None), |(pair, rest)| (pair, Some(rest)));
        let pair = match pair.split_once('=') {
            Some((name, value)) => {
                let inner = value.trim().trim_matches('"');
                let keeps = inner.is_empty() || is_nothing(inner) || inner == "deleted";
                let quote = if value.trim().starts_with('"') { "\"" } else { "" };
                let clear = Zeroizing::new(text::unescaped(inner));
                let value = if keeps {
                    value.to_owned()
                } else {
                    format!("{quote}{}{quote}", self.token(&clear, false))
                };
                format!("{}={value}", self.text(name, 0))
            }
            None => self.value(Named::Token, pair, 0),
        };
        attributes.map_or(pair.clone(), |attributes| format!("{pair};{}", self.text(attributes, 0)))
    }

    fn named(&self, name: &str) -> Named {
        if self.names.contains(name) || is_sensitive(name) { Named::Token } else { Named::Nothing }
    }

    /// Is it a piece of a token that is known?
    fn is_piece(&self, text: &str) -> bool {
        text.len() >= SHORTEST_PIECE_CHARS
            && !plain::is_words(text)
            && self.tokens.iter().any(|known| known.token.contains(text))
    }

    /// The text without the known tokens, whatever they are a part of and however they are written.
    fn swept(&self, mut text: String) -> String {
        let mut known: Vec<_> =
            self.tokens.iter().filter(|known| known.everywhere && known.token.len() >= 4).collect();
        known.sort_by_key(|known| std::cmp::Reverse(known.token.len()));
        for Mask { token, shown, .. } in known {
            for spelling in spellings(token) {
                if text.contains(&*spelling) {
                    text = text.replace(&*spelling, shown);
                }
            }
        }
        text
    }
}

/// How a token may be written: as it is, in a form, in a URL, in JSON, in HTML.
fn spellings(token: &str) -> Vec<Zeroizing<String>> {
    let percent = utf8_percent_encode(token, NON_ALPHANUMERIC).to_string();
    let form = form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>();
    let json = Value::String(token.to_owned()).to_string();
    let html = token.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let all = [
        token.to_owned(),
        lower_hex(&percent),
        percent,
        lower_hex(&form),
        form,
        json[1..json.len() - 1].replace('/', "\\/"),
        json[1..json.len() - 1].to_owned(),
        html,
    ];
    all.into_iter().map(Zeroizing::new).collect()
}

/// `%2F` as `%2f`.
fn lower_hex(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        lower.extend(["%", &hex.to_ascii_lowercase(), rest]);
    }
    lower
}

/// Could the value of a parameter or a header field of this name be a token or a secret?
#[must_use]
pub fn could_be_secret(name: &str, value: &str) -> bool {
    is_sensitive(name) || plain::could_be_token(value)
}

/// Could a text be a token, under whatever name? A URL without parameters is none.
pub(super) fn could_be_token(text: &str) -> bool {
    let is_url = url::Url::parse(text).is_ok_and(|url| url.has_host() && url.query().is_none());
    plain::could_be_token(text) && !is_url && !text.contains(' ')
}

/// Could a text of this name be a secret that is to be masked wherever it stands? A short word isn't: it stands elsewhere with
/// another meaning.
pub(super) fn is_secret_text(name: &str, text: &str) -> bool {
    plain::could_be_token(text) || is_sensitive(name) && text.len() >= SHORTEST_PIECE_CHARS
}

fn is_sensitive(name: &str) -> bool {
    let letters: String =
        name.chars().filter(char::is_ascii_alphabetic).map(|sign| sign.to_ascii_lowercase()).collect();
    SENSITIVE.iter().any(|end| letters.ends_with(end))
}

/// A JWT (RFC 7519) without its signature, and with nothing but `exp` and `iat` in it; `None` for any other text.
fn jwt_ends(token: &str) -> Option<String> {
    let parts: Vec<_> = token.split('.').collect();
    let &[header, payload, _] = &*parts else { return None };
    let object = |part: &str| -> Option<serde_json::Map<String, Value>> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?);
        serde_json::from_slice(&bytes).ok()
    };
    object(header).filter(|header| header.contains_key("alg"))?;
    let claims = object(payload)?;
    let kept: serde_json::Map<_, _> = ["exp", "iat"]
        .into_iter()
        .filter_map(|name| {
            Some((name.to_owned(), claims.get(name).filter(|value| value.is_number())?.clone()))
        })
        .collect();
    let encoded = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    Some(format!("{}.{}", encoded("{\"alg\":\"none\"}".to_owned()), encoded(Value::Object(kept).to_string())))
}
