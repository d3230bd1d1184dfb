//! Masking of a text that is no JSON: a page, a form, a sentence, a header field, a URL.

use super::{Masks, Named, is_sensitive, plain};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::zeroize::Zeroizing;

/// Signs that end a run: what can't be in a token, or stands between things.
const BETWEEN: [char; 14] = ['"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', ',', ';', '\u{7f}'];

/// Signs at the ends of a run that belong to the sentence.
const OF_THE_SENTENCE: [char; 5] = ['.', ':', '!', '?', '\\'];

/// Longest entity of HTML that may stand within a token (`&quot;`).
const LONGEST_ENTITY_CHARS: usize = 8;

/// Fewest characters of a parameter without a name that is masked where it is no word.
const SHORTEST_NAMELESS_CHARS: usize = 4;

/// Fewest characters of a part of a URL's path that is masked where it is no word.
const SHORTEST_PART_CHARS: usize = 8;

/// Longest name of a parameter that need be no word.
const LONGEST_SHORT_NAME_CHARS: usize = 4;

/// What is encoded again of a text that was percent-encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Deepest nesting of pairs, URLs and encodings that is taken apart; what lies deeper is masked whole.
const DEEPEST: usize = 16;

impl Masks<'_> {
    /// Masks what could be a token in a text.
    pub(super) fn text(&mut self, text: &str, depth: usize) -> String {
        // Also where the escapes of JSON hid it until now.
        let text = Zeroizing::new(self.swept(text.to_owned()));
        let mut masked = String::with_capacity(text.len());
        let mut rest = text.as_str();
        // `token: abc1` and `'token' : 'abc1'`: a name, and a sign that assigns.
        let (mut is_named, mut is_assigned) = (false, false);
        while let Some(sign) = rest.chars().next() {
            let end = run_end(rest);
            if end == 0 {
                is_assigned |= is_named && matches!(sign, ':' | '=');
                is_named &= sign.is_ascii_whitespace() || matches!(sign, '"' | '\'' | ':' | '=');
                masked.push(sign);
                rest = &rest[sign.len_utf8()..];
                continue;
            }
            let (run, behind) = rest.split_at(end);
            let core = run.trim_matches(OF_THE_SENTENCE);
            let start = run.find(|sign| !OF_THE_SENTENCE.contains(&sign)).unwrap_or(run.len());
            let (before, after) = (&run[..start], &run[start + core.len()..]);
            masked.push_str(before);
            let is_assigned_now = is_named && (is_assigned || before.contains(':'));
            let is_word = core.bytes().all(|byte| byte.is_ascii_alphabetic());
            if core == "=" {
                masked.push_str(core);
                is_assigned |= is_named;
            } else {
                masked.push_str(&if is_assigned_now && !core.is_empty() && !is_word {
                    self.value(Named::Token, core, depth)
                } else {
                    self.run(core, depth)
                });
                if !core.is_empty() {
                    is_named = is_sensitive(core.trim_end_matches('=')) && core.len() < 64;
                    is_assigned = after.contains(':') || core.ends_with('=');
                } else if before.contains(':') {
                    is_assigned |= is_named;
                }
            }
            masked.push_str(after);
            rest = behind;
        }
        masked
    }

    /// A run of signs without white space.
    fn run(&mut self, run: &str, depth: usize) -> String {
        let clear = Zeroizing::new(unescaped(run));
        if self.is_piece(&clear) || depth >= DEEPEST && plain::could_be_token(&clear) {
            return self.token(&clear, true);
        }
        if super::jwt_ends(&clear).is_some() {
            return self.token(&clear, false);
        }
        // Taken apart at the signs of its escapes, it would be many short texts.
        if run.contains("&#") && plain::could_be_token(&clear) {
            return self.token(&clear, false);
        }
        if let Some(masked) = self.url(run, depth).or_else(|| self.pairs(run, depth)) {
            return masked;
        }
        if *clear != run && clear.trim_start().starts_with(['{', '[']) && run.contains('%') && depth < DEEPEST
        {
            let masked = self.json(&clear, Named::Nothing, depth + 1);
            return utf8_percent_encode(&masked, ENCODED).to_string();
        }
        if plain::could_be_token(&clear) { self.token(&clear, false) } else { run.to_owned() }
    }

    /// A URL, or a path with parameters: `https://api.example.com/callback?code=…`.
    fn url(&mut self, run: &str, depth: usize) -> Option<String> {
        let (scheme, rest) = match run.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            None if run.starts_with('/') && run.contains(['?', '#']) => (None, run),
            Some(_) | None => return None,
        };
        if depth >= DEEPEST {
            return None;
        }
        let (path, parameters) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        let mut masked = scheme.map_or_else(String::new, |scheme| format!("{scheme}://"));
        for (number, part) in path.split('/').enumerate() {
            if number > 0 {
                masked.push('/');
            }
            match part.rsplit_once('@') {
                Some((user, host)) => {
                    masked.extend([&*self.token(user, false), "@"]);
                    masked.push_str(&self.host(host));
                }
                None if number == 0 && scheme.is_some() => masked.push_str(&self.host(part)),
                // A token that holds slashes is several parts.
                None if part.len() >= SHORTEST_PART_CHARS && !plain::is_plain(&unescaped(part)) => {
                    let clear = Zeroizing::new(unescaped(part));
                    masked.push_str(&self.token(&clear, false));
                }
                None => masked.push_str(&self.run(part, depth + 1)),
            }
        }
        for part in parameters.split_inclusive(['?', '#', '&']) {
            let (part, sign) = match part.strip_suffix(['?', '#', '&']) {
                Some(inner) => (inner, &part[inner.len()..]),
                None => (part, ""),
            };
            match part.split_once('=') {
                Some((name, value)) => {
                    let name = self.run(name, depth + 1);
                    let clear = Zeroizing::new(unescaped(value));
                    let keeps = !is_sensitive(&name) && name != "code" && plain::is_plain(&clear);
                    let value = if keeps || value.is_empty() {
                        self.run(value, depth + 1)
                    } else {
                        self.token(&clear, false)
                    };
                    masked.extend([&*name, "=", &value]);
                }
                None if plain::is_plain(part) || part.len() < SHORTEST_NAMELESS_CHARS => {
                    masked.push_str(part);
                }
                None => {
                    let clear = Zeroizing::new(unescaped(part));
                    masked.push_str(&self.token(&clear, false));
                }
            }
            masked.push_str(sign);
        }
        Some(masked)
    }

    fn host(&mut self, host: &str) -> String {
        let labels: Vec<_> = host
            .split('.')
            .map(
                |label| {
                    if plain::could_be_token(label) { self.token(label, false) } else { label.to_owned() }
                },
            )
            .collect();
        labels.join(".")
    }

    /// `name=value`, or several with `&` between them; `None` where something else stands there.
    fn pairs(&mut self, run: &str, depth: usize) -> Option<String> {
        if depth >= DEEPEST {
            return None;
        }
        let mut masked = Vec::new();
        for part in run.split('&') {
            let by_colon = part.split_once(':').filter(|(name, _)| is_sensitive(name) && is_name(name));
            let (name, sign, value) = match (by_colon, part.split_once('=')) {
                (Some((name, value)), _) => (name, ":", value),
                (None, Some((name, value))) => (name, "=", value),
                (None, None) => return None,
            };
            let name_alone = name.strip_prefix("amp;").unwrap_or(name);
            let is_padding =
                value.bytes().all(|byte| byte == b'=') && run.len() >= plain::SHORTEST_TOKEN_CHARS;
            if !is_name(name_alone) || is_padding && !value.is_empty() {
                return None;
            }
            masked.push((name, sign, value));
        }
        if let [(name, _, "")] = &*masked
            && plain::could_be_token(name)
        {
            return None;
        }
        let masked: Vec<_> = masked
            .into_iter()
            .map(|(name, sign, value)| {
                let clear = Zeroizing::new(unescaped(value));
                let value = match self.named(name) {
                    Named::Token if !clear.is_empty() => self.value(Named::Token, &clear, depth + 1),
                    _ => self.run(value, depth + 1),
                };
                format!("{name}{sign}{value}")
            })
            .collect();
        Some(masked.join("&"))
    }
}

/// Is it the scheme of a URL (RFC 3986 §3.1)?
fn is_scheme(text: &str) -> bool {
    let signs = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (1..plain::SHORTEST_TOKEN_CHARS).contains(&text.len()) && text.bytes().all(signs)
}

/// Is it the name of a parameter: words with few other signs?
fn is_name(text: &str) -> bool {
    let signs = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    // `x`, `rt`, `sid`.
    let is_short = (1..=LONGEST_SHORT_NAME_CHARS).contains(&text.len());
    text.len() <= 64 && text.bytes().all(signs) && (plain::is_words(text) || is_short)
}

/// Where the run at the beginning of a text ends; 0 where there is none.
fn run_end(text: &str) -> usize {
    for (at, sign) in text.char_indices() {
        // `&#x2B;` within a token.
        let tail = || {
            let from = at.saturating_sub(LONGEST_ENTITY_CHARS);
            text.as_bytes()[from..at]
                .iter()
                .rposition(|byte| *byte == b'&')
                .map(|start| &text[from + start + 1..at])
        };
        let ends_entity = sign == ';'
            && tail().is_some_and(|name| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#')
            });
        if !sign.is_ascii_graphic() || BETWEEN.contains(&sign) && !ends_entity {
            return at;
        }
    }
    text.len()
}

/// The text without the escapes of JSON, HTML and URLs: a token has one mask in all its spellings.
pub(super) fn unescaped(text: &str) -> String {
    let text = without_backslashes(text);
    let text = without_entities(&text);
    percent_decode_str(&text).decode_utf8().map_or_else(|_| text.clone(), Into::into)
}

fn without_backslashes(text: &str) -> String {
    let mut clear = String::with_capacity(text.len());
    let mut signs = text.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            clear.push(sign);
            continue;
        }
        let mut ahead = signs.clone();
        match ahead.next() {
            Some('u') => {
                let hex: String = ahead.by_ref().take(4).collect();
                let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 4);
                if let Some(decoded) = code.and_then(char::from_u32) {
                    clear.push(decoded);
                    signs = ahead;
                }
            }
            Some(escaped @ ('/' | '"' | '\\')) => {
                clear.push(escaped);
                signs = ahead;
            }
            // One that stands for itself, or the beginning of one that is cut.
            _ => clear.push(sign),
        }
    }
    clear
}

fn without_entities(text: &str) -> String {
    let mut parts = text.split('&');
    let mut clear = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let entity = part.split_once(';').and_then(|(name, rest)| Some((entity(name)?, rest)));
        match entity {
            Some((sign, rest)) => {
                clear.push(sign);
                clear.push_str(rest);
            }
            None => clear.extend(["&", part]),
        }
    }
    clear
}

fn entity(name: &str) -> Option<char> {
    let number = |text: &str, base| u32::from_str_radix(text, base).ok().and_then(char::from_u32);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let code = name.strip_prefix('#')?;
            code.strip_prefix(['x', 'X']).map_or_else(|| number(code, 10), |hex| number(hex, 16))
        }
    }
}
