//! Variables of a profile: what differs from document to document, or from installation to installation. Pure.
//!
//! A document is trusted less than the settings: what a variable may hold is typed, so that no value moves a request to
//! another owner's host, or adds a header, a field or a path segment to it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use url::Url;

/// Longest path segment, in characters.
const MAX_SEGMENT: usize = 128;

/// Longest name of a host, in characters (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;

/// Longest text, in characters.
const MAX_TEXT: usize = 1024;

/// A variable: what it may hold, and what it holds where neither a document nor the settings say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Variable {
    /// What it may hold.
    pub kind: Kind,
    /// What it holds where nothing else says.
    pub default: Option<String>,
}

/// What a variable may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One label of a host's name: `[a-z0-9-]`.
    Label,
    /// One segment of a path: 1 to 128 of `[A-Za-z0-9._~-]`, not `.` or `..`.
    Segment,
    /// One of these texts.
    OneOf(Vec<String>),
    /// A host that is one of these domains, or under one of them; a URL with https counts as its host.
    Hosts(Vec<String>),
    /// Printable ASCII, for headers and fields.
    Text,
    /// The same, from the settings only, and never shown.
    Secret,
}

/// A variable as profiles write it: a word, or a table.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Table(Table),
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    one_of: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

/// A table that is no variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// Neither kind, list nor hosts, or more than one of them.
    #[error(
        "a variable is one of `label`, `segment`, `text`, `secret`, `{{ one_of = [\"…\"] }}` and `{{ hosts = [\"example.com\"] }}`"
    )]
    Kind,
    /// Its default is none of its values.
    #[error("the default of a variable must be one of its own values")]
    Default,
}

impl TryFrom<Written> for Variable {
    type Error = VariableError;

    fn try_from(written: Written) -> Result<Self, VariableError> {
        let table = match written {
            Written::Word(kind) => Table { kind: Some(kind), ..Table::default() },
            Written::Table(table) => table,
        };
        let kind = match (table.kind.as_deref(), table.one_of, table.hosts) {
            (Some("label"), None, None) => Kind::Label,
            (Some("segment"), None, None) => Kind::Segment,
            (Some("text"), None, None) => Kind::Text,
            (Some("secret"), None, None) => Kind::Secret,
            (None | Some("one_of"), Some(texts), None) if !texts.is_empty() => Kind::OneOf(texts),
            (None | Some("hosts"), None, Some(hosts))
                if !hosts.is_empty() && hosts.iter().all(|host| is_domain(host)) =>
            {
                Kind::Hosts(hosts)
            }
            _ => return Err(VariableError::Kind),
        };
        let variable = Self { kind, default: table.default };
        let fits = variable.default.as_deref().is_none_or(|text| variable.accept(text).is_some());
        if fits { Ok(variable) } else { Err(VariableError::Default) }
    }
}

impl From<Variable> for Written {
    fn from(Variable { kind, default }: Variable) -> Self {
        let word = |word: &str| Table { kind: Some(word.to_owned()), ..Table::default() };
        let table = match kind {
            Kind::Label => word("label"),
            Kind::Segment => word("segment"),
            Kind::Text => word("text"),
            Kind::Secret => word("secret"),
            Kind::OneOf(texts) => Table { one_of: Some(texts), ..Table::default() },
            Kind::Hosts(hosts) => Table { hosts: Some(hosts), ..Table::default() },
        };
        Self::Table(Table { default, ..table })
    }
}

impl Variable {
    /// The value as it is put into the request; `None` where the variable may not hold it.
    #[must_use]
    pub fn accept<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let printable = |byte: u8| (0x20..=0x7e).contains(&byte);
        let fits = match &self.kind {
            Kind::Label => is_label(text),
            Kind::Segment => is_segment(text),
            Kind::OneOf(texts) => texts.iter().any(|known| known == text),
            Kind::Hosts(domains) => return host(text, domains),
            Kind::Text | Kind::Secret => {
                let trimmed = text == text.trim();
                trimmed && (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(printable)
            }
        };
        fits.then_some(Cow::Borrowed(text))
    }

    /// A value that it may hold, for a request that is only shown; `name` is the variable's own.
    #[must_use]
    pub fn example(&self, name: &str) -> String {
        let of_name = |allowed: fn(char) -> bool| {
            name.to_lowercase().chars().filter(|sign| allowed(*sign)).collect::<String>()
        };
        match &self.kind {
            Kind::OneOf(texts) | Kind::Hosts(texts) => texts.first().cloned().unwrap_or_default(),
            Kind::Label => format!("x{}", of_name(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit())),
            Kind::Segment | Kind::Text | Kind::Secret => of_name(|sign| sign.is_ascii_alphanumeric()),
        }
    }

    /// What it may hold, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Label => "one label of a host's name: `a` to `z`, digits and `-`".to_owned(),
            Kind::Segment => "one segment of a path: letters, digits, `-`, `.`, `_` and `~`".to_owned(),
            Kind::OneOf(texts) => format!("one of {}", quoted(texts)),
            Kind::Hosts(domains) => format!("a host that is, or is under, {}", quoted(domains)),
            Kind::Text | Kind::Secret => "printable ASCII, without spaces around it".to_owned(),
        }
    }
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(super) fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=MAX_SEGMENT).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

/// At least two labels, and none of them a number at the end: that would be an address.
fn is_domain(text: &str) -> bool {
    let last_is_a_name =
        text.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= MAX_HOST && text.contains('.') && text.split('.').all(is_label) && last_is_a_name
}

fn host<'a>(text: &'a str, domains: &[String]) -> Option<Cow<'a, str>> {
    let host: Cow<'a, str> = if text.contains("://") {
        let url = Url::parse(text).ok()?;
        let plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        Cow::Owned(url.host_str().filter(|_| plain)?.to_owned())
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    };
    let under = |domain: &String| {
        let before = host.strip_suffix(domain.as_str());
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    (is_domain(&host) && domains.iter().any(under)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Variable {
        let table: toml::Table = format!("x = {text}").parse().unwrap();
        table["x"].clone().try_into().unwrap()
    }

    #[test]
    fn each_kind_takes_what_it_may_hold_and_nothing_else() {
        for (kind, good, bad) in [
            (
                "\"label\"",
                &["a", "acme-shop", "9"][..],
                &["", "-a", "a-", "a.b", "A", "a/b", "a@b", "é", "a b"][..],
            ),
            (
                "\"segment\"",
                &["a", "550e8400-e29b-41d4-a716-446655440000", "a.b_c~d", "..."],
                &["", ".", "..", "a/b", "%2e", "a?b", "a#b", "a b", "ä"],
            ),
            ("{ one_of = [\"com\", \"co.uk\"] }", &["com", "co.uk"], &["", "COM", "net", "com/"]),
            (
                "{ hosts = [\"salesforce.com\"] }",
                &[
                    "salesforce.com",
                    "acme.my.salesforce.com",
                    "ACME.salesforce.com",
                    "https://acme.salesforce.com/x?y",
                ],
                &[
                    "",
                    "evilsalesforce.com",
                    "salesforce.com.evil.com",
                    "salesforce.com:444",
                    "a@salesforce.com",
                    "http://acme.salesforce.com",
                    "https://a@acme.salesforce.com",
                    "https://acme.salesforce.com:444",
                    "salesforce.com/",
                    "a..salesforce.com",
                    ".salesforce.com",
                    "salesforce.com.",
                    "127.0.0.1",
                    "https://evil.com/salesforce.com",
                    "https://evil.com#salesforce.com",
                ],
            ),
            ("\"text\"", &["a b", "x: y"], &["", " a", "a ", "a\nb", "a\r\nX: y", "ü", "\u{7f}"]),
            ("\"secret\"", &["s3cret"], &["", "a\nb"]),
        ] {
            let variable = variable(kind);
            for text in good {
                assert!(variable.accept(text).is_some(), "{kind}: {text}");
            }
            for text in bad {
                assert_eq!(variable.accept(text), None, "{kind}: {text}");
            }
        }
        let hosts = variable("{ hosts = [\"salesforce.com\"] }");
        assert_eq!(hosts.accept("https://Acme.Salesforce.com/a").as_deref(), Some("acme.salesforce.com"));
    }

    #[test]
    fn a_variable_is_read_as_it_is_written() {
        for text in [
            "\"label\"",
            "{ kind = \"segment\", default = \"common\" }",
            "{ one_of = [\"a\", \"b\"], default = \"a\" }",
            "{ hosts = [\"a.com\"] }",
        ] {
            let read = variable(text);
            let written = toml::Value::try_from(&read).unwrap();
            assert_eq!(written.try_into::<Variable>().unwrap(), read, "{text}");
        }
        for bad in [
            "\"word\"",
            "{ default = \"a\" }",
            "{ one_of = [] }",
            "{ hosts = [\"com\"] }",
            "{ hosts = [\"10.0.0.1\"] }",
            "{ kind = \"label\", one_of = [\"a\"] }",
            "{ kind = \"label\", default = \"a.b\" }",
            "{ kind = \"label\", more = 1 }",
        ] {
            let table: toml::Table = format!("x = {bad}").parse().unwrap();
            assert!(table["x"].clone().try_into::<Variable>().is_err(), "{bad}");
        }
    }
}
