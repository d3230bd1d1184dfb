//! What a value may look like: one check for the file, the environment and the command line.

use crate::{
    provider::{
        file,
        lifetime::LifetimePlace,
        place::{AnswerPlace, RequestPlace},
        rate::Rate,
        token_url::placeheld,
    },
    schedule::RenewAfter,
    store::mapping::FieldPath,
};
use std::{path::Path, time::Duration};
use toml::{Table, Value};
use url::{Host, Url};

/// Longest duration that a setting may have; longer ones are slips, and arithmetic with them would overflow.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// What a key's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text but an empty one.
    Text,
    /// A text that is never shown.
    Secret,
    /// A path; a relative one starts at the file that names it, else at the working directory.
    Path,
    /// A profile: the name of a built-in one, or a path, as [`Kind::Path`].
    Profile,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number, 0 allowed.
    Count,
    /// A whole number above 0.
    Positive,
    /// `64MiB`.
    Size,
    /// `90s`, `60min`, `14d`.
    Duration,
    /// The same, or `0`: not at all.
    DurationOrZero,
    /// A duration, or `unknown`.
    Lifetime,
    /// `400/min`, or `none`.
    Rate,
    /// `1/3`, `0.33` or `33%`.
    Share,
    /// The URL of a token endpoint.
    TokenUrl,
    /// `true` or `false`.
    Flag,
    /// A place in a request: `body:NAME`, `bearer`, …
    RequestPlace,
    /// A dotted path into a document.
    FieldPath,
    /// A dotted path into a document, or `none`.
    FieldPathOrNone,
    /// A list of those.
    FieldPaths,
    /// A table of fields, each with a place in an answer.
    AnswerFields,
    /// A table of names, each with a field.
    FieldTable,
    /// A JSON pointer (RFC 6901).
    Pointer,
    /// A list of those.
    Pointers,
    /// A place in an answer.
    AnswerPlace,
    /// A list of those; may be empty.
    AnswerPlaces,
    /// A place of a lifetime in an answer: `PLACE [as FORM]`.
    LifetimePlace,
    /// A list of those; may be empty.
    LifetimePlaces,
    /// A list of texts.
    Texts,
    /// A table of texts.
    Parameters,
    /// A table of texts, numbers and flags.
    Fields,
    /// A place in a request, or `none`.
    RequestPlaceOrNone,
}

/// A value that doesn't fit its key; never holds a secret.
#[derive(Debug)]
pub(super) struct Misfit {
    /// What it is, in words: ``the text `many` ``.
    pub(super) found: String,
    /// What it should be, in words.
    pub(super) expected: String,
}

/// What a value is, in words; the text itself only where it is no secret.
pub(super) fn describe(value: &Value, secret: bool) -> String {
    match value {
        Value::String(text) if text.trim().is_empty() => "empty".to_owned(),
        Value::String(_) if secret => "a text".to_owned(),
        Value::String(text) => format!("the text `{text}`"),
        Value::Integer(_) | Value::Float(_) if secret => "a number".to_owned(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("`{flag}`"),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

impl Kind {
    /// What is expected, in words.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Text | Self::Secret => "a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Profile => "the name of a profile, or a path like `./own.toml`".to_owned(),
            Self::OneOf(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Count => "a whole number".to_owned(),
            Self::Positive => "a whole number above 0".to_owned(),
            Self::Size => "a size above 0: a whole number and a unit, like `64MiB` or `1GiB`".to_owned(),
            Self::Duration => "a duration above 0: a number and a unit, like `90s`, `60min` or `14d`".to_owned(),
            Self::DurationOrZero => "a duration: a number and a unit, like `90s`, `60min` or `14d`; or `0`".to_owned(),
            Self::Lifetime => "a duration like `60min` or `14d`, or `unknown`".to_owned(),
            Self::Rate => {
                "a whole number above 0 and a unit, like `400/min`, `50/s` or `1000/h`, or `none`".to_owned()
            }
            Self::Share => "more than 0 and less than 1, like `1/3`, `0.33` or `33%`".to_owned(),
            Self::TokenUrl => "a URL that starts with `https://`, like `https://login.example.com/oauth/token`".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::RequestPlace => RequestPlace::EXPECTED.to_owned(),
            Self::FieldPath => "a field: names joined by dots, none empty, none starting with `$`".to_owned(),
            Self::FieldPathOrNone => "a field: names joined by dots, none empty, none starting with `$`; or `none`".to_owned(),
            Self::AnswerFields => format!("a table of fields, each with {}, or `field=/pointer` in the environment", AnswerPlace::EXPECTED),
            Self::FieldTable => "a table of names, each with a field, like `{ shop = \"shop_domain\" }`, or `shop=shop_domain` in the environment".to_owned(),
            Self::FieldPaths => "a list of fields, like `[\"email\", \"userId\"]`, or `email,userId` in the environment".to_owned(),
            Self::Pointer => "a JSON pointer, like `/data/access_token`".to_owned(),
            Self::Pointers => "a list of JSON pointers, like `[\"/error\", \"/code\"]`, or `/error,/code` in the environment".to_owned(),
            Self::AnswerPlace => AnswerPlace::EXPECTED.to_owned(),
            Self::AnswerPlaces => format!("{}, or a list of those, `a,b` in the environment", AnswerPlace::EXPECTED),
            Self::LifetimePlace => LifetimePlace::EXPECTED.to_owned(),
            Self::LifetimePlaces => format!("{}; or a list of those, `a,b` in the environment", LifetimePlace::EXPECTED),
            Self::Texts => "a list of texts, like `[\"one\", \"two\"]`, or `one,two` in the environment".to_owned(),
            Self::Fields => "a table of texts, numbers and flags, like `{ audience = \"api\" }`, or `audience=api` in the environment".to_owned(),
            Self::RequestPlaceOrNone => format!("{}; or `none`", RequestPlace::EXPECTED),
            Self::Parameters => "a table of texts, like `{ audience = \"api\" }`, or `audience=api` in the environment".to_owned(),
        }
    }

    /// Is its value never to be shown?
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret)
    }

    /// May its value hold a secret, so that an error doesn't show it? A header may be the key of an API.
    const fn may_be_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Parameters | Self::Fields)
    }

    /// Reads a text of the environment or the command line; what can't be read stays a text for [`Kind::check`].
    pub(super) fn read(self, text: &str) -> Value {
        let list = || text.split(',').map(|item| Value::from(item.trim())).collect();
        let untouched = || Value::from(text);
        match self {
            _ if text.trim().is_empty() => untouched(),
            Self::Count | Self::Positive => text.trim().parse().map_or_else(|_| untouched(), Value::Integer),
            Self::Flag => text.trim().parse().map_or_else(|_| untouched(), Value::Boolean),
            Self::FieldPaths | Self::Pointers | Self::AnswerPlaces | Self::LifetimePlaces | Self::Texts => {
                Value::Array(list())
            }
            Self::Parameters | Self::Fields | Self::AnswerFields | Self::FieldTable => {
                let pair = |item: &str| {
                    let (name, value) = item.split_once('=')?;
                    Some((name.trim().to_owned(), Value::from(value.trim())))
                };
                text.split(',').map(pair).collect::<Option<_>>().map_or_else(untouched, Value::Table)
            }
            _ => untouched(),
        }
    }

    /// Checks a value, and gives the form in which the layers keep it. A relative path starts at `base`.
    pub(super) fn check(self, raw: &Value, base: &Path) -> Result<Value, Misfit> {
        let misfit = || Misfit { found: describe(raw, self.may_be_secret()), expected: self.expected() };
        match (self, raw) {
            (_, Value::String(text)) if text.trim().is_empty() => Err(misfit()),
            (Self::Count | Self::Positive, Value::Integer(number)) => {
                let least = u32::from(self == Self::Positive);
                u32::try_from(*number)
                    .ok()
                    .filter(|number| *number >= least)
                    .map(Value::from)
                    .ok_or_else(misfit)
            }
            (Self::Flag, Value::Boolean(_)) => Ok(raw.clone()),
            (Self::Share, Value::Float(share)) => self.check(&Value::from(share.to_string()), base),
            (Self::FieldPaths, Value::Array(items)) => Self::FieldPath.check_each(items, base),
            (Self::Pointers, Value::Array(items)) => Self::Pointer.check_each(items, base),
            (Self::AnswerPlaces, Value::Array(items)) => Self::AnswerPlace.check_each(items, base),
            (Self::LifetimePlaces, Value::Array(items)) => Self::LifetimePlace.check_each(items, base),
            (Self::Texts, Value::Array(items)) => Self::Text.check_each(items, base),
            // A text where a list is expected is a list of one.
            (
                Self::FieldPaths | Self::Pointers | Self::AnswerPlaces | Self::LifetimePlaces | Self::Texts,
                Value::String(_),
            ) => self.check(&Value::Array(vec![raw.clone()]), base).map_err(|_| misfit()),
            (Self::Fields, Value::Table(entries)) => {
                let plain = |value: &Value| match value {
                    Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.clone()),
                    other => Self::Text.check(other, base),
                };
                let entry = |(name, value): (&String, &Value)| Ok((name.clone(), plain(value)?));
                entries.iter().map(entry).collect::<Result<Table, _>>().map(Value::from)
            }
            (Self::Parameters, Value::Table(entries)) => Self::Text.check_table(entries, base),
            (Self::AnswerFields, Value::Table(entries))
                if entries.keys().all(|field| Self::FieldPath.takes(field)) =>
            {
                Self::AnswerPlace.check_table(entries, base)
            }
            (Self::FieldTable, Value::Table(entries)) => Self::FieldPath.check_table(entries, base),
            (Self::Path, Value::String(text)) => Ok(base.join(text).to_string_lossy().into_owned().into()),
            (Self::Profile, Value::String(text)) if file::is_file(text.trim()) => {
                let text = text.trim();
                let path = base.join(text.strip_prefix("./").unwrap_or(text));
                // Still a path, and not a name, where the base is the working directory.
                let path = if path.components().count() == 1 { Path::new(".").join(path) } else { path };
                Ok(path.to_string_lossy().into_owned().into())
            }
            (Self::TokenUrl, Value::String(text)) => check_token_url(text.trim()),
            (_, Value::String(text)) if self.takes(text.trim()) => {
                let kept = if self.is_secret() { text } else { text.trim() };
                Ok(kept.to_owned().into())
            }
            _ => Err(misfit()),
        }
    }

    fn check_each(self, items: &[Value], base: &Path) -> Result<Value, Misfit> {
        let checked: Vec<Value> =
            items.iter().map(|item| self.check(item, base)).collect::<Result<_, _>>()?;
        Ok(checked.into())
    }

    fn check_table(self, entries: &Table, base: &Path) -> Result<Value, Misfit> {
        let entry = |(name, value): (&String, &Value)| Ok((name.clone(), self.check(value, base)?));
        entries.iter().map(entry).collect::<Result<Table, _>>().map(Value::from)
    }

    /// Is this text one of its values?
    fn takes(self, text: &str) -> bool {
        let duration = || {
            humantime::parse_duration(text).is_ok_and(|duration| !duration.is_zero() && duration <= LONGEST)
        };
        match self {
            Self::Text | Self::Secret | Self::Path | Self::Profile => true,
            Self::OneOf(words) => words.contains(&text),
            Self::Size => parse_size(text).is_some(),
            Self::Duration => duration(),
            Self::DurationOrZero => humantime::parse_duration(text).is_ok_and(|duration| duration <= LONGEST),
            Self::Lifetime => text == "unknown" || duration(),
            Self::Rate => text == "none" || text.parse::<Rate>().is_ok(),
            Self::Share => text.parse::<RenewAfter>().is_ok(),
            Self::FieldPathOrNone => text == "none" || text.parse::<FieldPath>().is_ok(),
            Self::FieldPath => text.parse::<FieldPath>().is_ok(),
            Self::Pointer => text.starts_with('/'),
            Self::RequestPlaceOrNone => text == "none" || text.parse::<RequestPlace>().is_ok(),
            Self::RequestPlace => text.parse::<RequestPlace>().is_ok(),
            Self::AnswerPlace => text.parse::<AnswerPlace>().is_ok(),
            Self::LifetimePlace => text.parse::<LifetimePlace>().is_ok(),
            Self::TokenUrl
            | Self::AnswerPlaces
            | Self::LifetimePlaces
            | Self::Flag
            | Self::Count
            | Self::Positive
            | Self::FieldPaths
            | Self::AnswerFields
            | Self::FieldTable
            | Self::Pointers
            | Self::Texts
            | Self::Fields
            | Self::Parameters => false,
        }
    }
}

/// The bytes of a size that was checked.
pub(super) fn size(text: &str) -> u64 {
    parse_size(text).expect("every value was checked by its kind when it was laid down")
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(1 << shift)
}

/// Takes `https`, and `http` to this machine only; no credentials and no fragment (RFC 6749 §3.2).
fn check_token_url(text: &str) -> Result<Value, Misfit> {
    // An `@` may stand behind a password, in what is no URL too: then nothing of it is shown.
    let shown = if text.contains('@') { "a text with an `@`".to_owned() } else { format!("`{text}`") };
    let misfit = |expected: &str| Err(Misfit { found: shown.clone(), expected: expected.to_owned() });
    // What stands in the places of variables is checked with the profile that declares them.
    let Ok(url) = Url::parse(&placeheld(text)) else { return misfit(&Kind::TokenUrl.expected()) };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Misfit {
            found: "a URL with a user name or password in it".to_owned(),
            expected: "a URL without: `client_id` and `client_secret` are keys of their own".to_owned(),
        });
    }
    match url.scheme() {
        _ if url.fragment().is_some() => misfit("a URL without `#` (RFC 6749 §3.2)"),
        "https" => Ok(text.to_owned().into()),
        "http" if is_loopback(&url) => Ok(text.to_owned().into()),
        "http" => misfit(
            "`https://`: tokens would cross the network in the clear; `http://` is for this machine only \
             (localhost, 127.0.0.0/8, [::1])",
        ),
        _ => misfit(&Kind::TokenUrl.expected()),
    }
}

/// Does this URL never leave the machine?
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
