//! The token endpoint's URL: a fixed one, or a template that each document fills. Pure.
//!
//! Whatever the values are, the URL that comes out has the scheme, the port, the query and the number of path segments of
//! its template, and its host ends as the template's does.

use super::template::{Part, parts};
use super::variable::{Kind, Variable};
use crate::token::Malformed;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// The variables of a profile, by name.
pub type Variables = BTreeMap<String, Variable>;

/// Where a token endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUrl {
    /// The same for all documents.
    Fixed(Url),
    /// Each document says.
    Of(UrlTemplate),
}

/// A URL with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    variables: Variables,
    /// Where the path begins.
    path_at: usize,
}

/// A template that could lead a request elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name in braces that is no variable.
    #[error(
        "`{{{0}}}` is no variable of the profile: declare it in the profile's file, as `variables = {{ {0} = \"label\" }}`"
    )]
    Unknown(String),
    /// A host that a document could choose.
    #[error(
        "`{{{0}}}` stands for a part of the host: it must be of the kind `label` with two literal labels behind it, `one_of`, or `hosts` as the whole host"
    )]
    Host(String),
    /// A kind that may stand for more than one segment.
    #[error(
        "`{{{0}}}` stands in the path or the query: it must be of the kind `segment`, `label` or `one_of`"
    )]
    Path(String),
    /// A part that no variable may stand for.
    #[error("a variable may stand in the host and in the path of `token_url` only")]
    Elsewhere,
    /// Not a URL, whatever the values are.
    #[error("it is no URL")]
    NoUrl,
}

impl UrlTemplate {
    /// Reads a template: each variable is declared, and of a kind that fits its place.
    ///
    /// # Errors
    /// [`TemplateError`]
    pub fn new(text: &str, variables: &Variables) -> Result<Self, TemplateError> {
        let host_at = text.find("://").ok_or(TemplateError::NoUrl)? + 3;
        let path_at = text[host_at..].find(['/', '?', '#']).map_or(text.len(), |at| host_at + at);
        if text[..host_at].contains('{') {
            return Err(TemplateError::Elsewhere);
        }
        let host = &text[host_at..path_at];
        let known = |name: &str| variables.contains_key(name);
        let all = names(&text[host_at..]);
        if let Some(unknown) = all.iter().find(|name| !known(name)) {
            return Err(TemplateError::Unknown((*unknown).to_owned()));
        }
        let in_host = parts(host, known);
        if in_host.iter().any(|part| matches!(part, Part::Variable(_))) && host.contains([':', '@']) {
            return Err(TemplateError::Elsewhere);
        }
        for (position, part) in in_host.iter().enumerate() {
            let Part::Variable(name) = part else { continue };
            let fits = match variables.get(*name).map(|variable| &variable.kind) {
                Some(Kind::OneOf(_)) => true,
                Some(Kind::Hosts(_)) => in_host.len() == 1,
                Some(Kind::Label) => match in_host.get(position + 1..) {
                    // Two fixed labels, which no document can choose: `.myshopify.com`.
                    Some([Part::Text(rest)]) => rest
                        .rsplit_once('.')
                        .is_some_and(|(before, last)| !last.is_empty() && before.contains('.')),
                    _ => false,
                },
                _ => false,
            };
            if !fits {
                return Err(TemplateError::Host((*name).to_owned()));
            }
        }
        let (path, rest) =
            text[path_at..].split_at(text[path_at..].find(['?', '#']).unwrap_or(text.len() - path_at));
        if !names(rest).is_empty() {
            return Err(TemplateError::Elsewhere);
        }
        for name in names(path) {
            let kind = variables.get(name).map(|variable| &variable.kind);
            if !matches!(kind, Some(Kind::Segment | Kind::Label | Kind::OneOf(_))) {
                return Err(TemplateError::Path(name.to_owned()));
            }
        }
        let template = Self { text: text.to_owned(), variables: variables.clone(), path_at };
        let example = template.example();
        template.built(&example).is_some().then_some(template).ok_or(TemplateError::NoUrl)
    }

    /// The template as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.text).into_iter()
    }

    /// Does a variable stand for a part of the host?
    #[must_use]
    pub fn names_the_host(&self) -> bool {
        self.text[..self.path_at].contains('{')
    }

    /// The URL with these values, each of which its variable accepts.
    ///
    /// # Errors
    /// The first value that is missing, or that its variable doesn't accept.
    pub fn filled<'a>(
        &self,
        value: impl Fn(&str) -> Result<Cow<'a, str>, Malformed>,
    ) -> Result<Url, Malformed> {
        let mut text = String::with_capacity(self.text.len() + 32);
        let mut last = "";
        for part in parts(&self.text, |name| self.variables.contains_key(name)) {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => {
                    text.push_str(&value(name)?);
                    last = name;
                }
            }
        }
        self.built(&text).ok_or_else(|| Malformed::BadValue(last.to_owned()))
    }

    /// The URL of a text that was made of the template; `None` where it isn't of the template's form.
    fn built(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let example = Url::parse(&self.example()).ok()?;
        let segments = |url: &Url| url.path_segments().map(Iterator::count);
        let host_end = self.text[..self.path_at].rsplit('}').next().unwrap_or_default();
        let host_end = host_end.rsplit_once("://").map_or(host_end, |(_, host)| host);
        let host = url.host_str()?;
        let alike = url.scheme() == example.scheme()
            && url.port() == example.port()
            && url.query() == example.query()
            && segments(&url) == segments(&example)
            && url.username().is_empty()
            && url.password().is_none()
            && (host_end.contains(':') || host.ends_with(host_end))
            && matches!(url.host(), Some(url::Host::Domain(_)))
                == matches!(example.host(), Some(url::Host::Domain(_)));
        alike.then_some(url)
    }

    /// The template with an example of each value.
    fn example(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for part in parts(&self.text, |name| self.variables.contains_key(name)) {
            text.push_str(match part {
                Part::Text(part) => part,
                Part::Variable(name) => match self.variables.get(name).map(|variable| &variable.kind) {
                    Some(Kind::OneOf(texts) | Kind::Hosts(texts)) => {
                        texts.first().map_or("x", String::as_str)
                    }
                    _ => "x",
                },
            });
        }
        text
    }
}

/// Everything in braces.
fn names(text: &str) -> Vec<&str> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['{', '/']);
    let variable = |part| if let Part::Variable(name) = part { Some(name) } else { None };
    parts(text, is_name).into_iter().filter_map(variable).collect()
}

/// Has a text of `token_url` a variable in it?
#[must_use]
pub fn is_template(text: &str) -> bool {
    !names(text).is_empty()
}

/// A text of `token_url` with a name that fits everywhere in the place of each variable: to check its form.
#[must_use]
pub fn placeheld(text: &str) -> String {
    let part = |part| if let Part::Text(text) = part { text } else { "x" };
    let is_name = |name: &str| !name.is_empty() && !name.contains(['{', '/']);
    parts(text, is_name).into_iter().map(part).collect()
}

impl TokenUrl {
    /// The URL, where it is the same for all documents.
    #[must_use]
    pub const fn fixed(&self) -> Option<&Url> {
        match self {
            Self::Fixed(url) => Some(url),
            Self::Of(_) => None,
        }
    }

    /// Does a document say which host is asked?
    #[must_use]
    pub fn is_a_documents_host(&self) -> bool {
        matches!(self, Self::Of(template) if template.names_the_host())
    }
}

impl From<Url> for TokenUrl {
    fn from(url: Url) -> Self {
        Self::Fixed(url)
    }
}

impl std::str::FromStr for TokenUrl {
    type Err = url::ParseError;

    /// A fixed one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Fixed)
    }
}

impl fmt::Display for TokenUrl {
    /// Scheme, host and path, or their template; never a query, which may hold a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Fixed(url) => url.as_str(),
            Self::Of(template) => &template.text,
        };
        formatter.write_str(text.split(['?', '#']).next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables() -> Variables {
        let text = "label = \"label\"\nsegment = \"segment\"\ndc = { one_of = [\"com\", \"co.uk\"] }\n\
                    host = { hosts = [\"clover.com\"] }\ntext = \"text\"\nsecret = \"secret\"";
        text.parse::<toml::Table>().unwrap().try_into().unwrap()
    }

    fn template(text: &str) -> Result<UrlTemplate, TemplateError> {
        UrlTemplate::new(text, &variables())
    }

    #[test]
    fn a_variable_stands_only_where_it_can_move_nothing() {
        for good in [
            "https://{label}.myshopify.com/admin/oauth/access_token",
            "https://api-{label}.example.com/{segment}/token",
            "https://accounts.zoho.{dc}/oauth/v2/token",
            "https://{host}/oauth/v2/refresh",
            "https://login.microsoftonline.com/{segment}/oauth2/v2.0/token?x=1",
            "https://example.com/{label}-{dc}/token",
            "http://127.0.0.1:8080/{segment}/token",
        ] {
            assert!(template(good).is_ok(), "{good}");
        }
        let bad = |name: &str| name.to_owned();
        for (text, expected) in [
            ("https://{other}.example.com/", TemplateError::Unknown(bad("other"))),
            ("https://{label}/token", TemplateError::Host(bad("label"))),
            ("https://{label}.com/token", TemplateError::Host(bad("label"))),
            ("https://{label}.{dc}/token", TemplateError::Host(bad("label"))),
            ("https://a.{host}/token", TemplateError::Host(bad("host"))),
            ("https://{segment}.example.com/", TemplateError::Host(bad("segment"))),
            ("https://{text}.example.com/", TemplateError::Host(bad("text"))),
            ("https://example.com/{text}", TemplateError::Path(bad("text"))),
            ("https://example.com/{secret}", TemplateError::Path(bad("secret"))),
            ("https://example.com/{host}", TemplateError::Path(bad("host"))),
            ("https://example.com/?a={segment}", TemplateError::Elsewhere),
            ("https://{label}.example.com:444/", TemplateError::Elsewhere),
            ("https://{label}@a.example.com/", TemplateError::Elsewhere),
            ("{label}://a.example.com/", TemplateError::Elsewhere),
            ("no url {label}", TemplateError::NoUrl),
        ] {
            assert_eq!(template(text), Err(expected), "{text}");
        }
    }

    proptest! {
        /// Any text in any value: the host ends as the template does, or the document is malformed.
        #[test]
        fn a_document_cannot_move_the_host(value in any::<String>(), more in "[a-z0-9.@:/?#%\\\\-]{0,20}") {
            for text in [
                "https://{label}.myshopify.com/a/token", "https://accounts.zoho.{dc}/oauth", "https://{host}/x/{segment}",
                "https://example.com/{segment}/token?q=1",
            ] {
                let template = template(text).unwrap();
                for value in [value.as_str(), more.as_str(), "com", "a"] {
                    let fill = |name: &str| {
                        let accepted = variables()[name].accept(value).map(|value| value.into_owned().into());
                        accepted.ok_or_else(|| Malformed::BadValue(name.to_owned()))
                    };
                    let Ok(url) = template.filled(fill) else { continue };
                    let host = url.host_str().unwrap();
                    let ends = [".myshopify.com", "accounts.zoho.com", "accounts.zoho.co.uk", "clover.com", "example.com"];
                    prop_assert!(ends.iter().any(|end| host.ends_with(end)), "{url}");
                    prop_assert_eq!((url.scheme(), url.port(), url.username()), ("https", None, ""));
                    let count = text.split('?').next().unwrap().matches('/').count() - 2;
                    prop_assert_eq!(url.path_segments().unwrap().count(), count);
                    prop_assert_eq!(url.query(), text.split_once('?').map(|(_, query)| query));
                    prop_assert_eq!(url.fragment(), None);
                }
            }
        }
    }
}
