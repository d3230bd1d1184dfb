//! Which fields of the user's documents hold what: names as data, checked once.

use crate::provider::place::AnswerPlace;
use crate::token::Facts;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// A dotted path to a field: `refresh_token`, `oauth.tokens.refresh`. Not through arrays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath(String);

/// A text that isn't a field path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a field path: expected names joined by dots, none empty, none starting with `$`")]
pub struct FieldPathError(String);

impl FieldPath {
    /// The path as it is written: `oauth.refresh`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names, outermost first.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The paths that lead to it, outermost first: `oauth` and `oauth.google` of `oauth.google.refresh`.
    pub fn parents(&self) -> impl Iterator<Item = Self> {
        self.0.match_indices('.').map(|(end, _)| Self(self.0[..end].to_owned()))
    }

    /// Would writing one of the two overwrite the other?
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.segments().zip(other.segments()).all(|(ours, theirs)| ours == theirs)
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |name: &str| !name.is_empty() && !name.starts_with('$') && !name.contains('\0');
        if text.split('.').all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(FieldPathError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for FieldPath {
    type Error = FieldPathError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How an expiry is written into a mapped field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryFormat {
    /// A BSON date (`{"$date": …}` in extended JSON).
    #[default]
    Date,
    /// A number of seconds since 1970.
    UnixSeconds,
    /// A number of milliseconds since 1970.
    UnixMillis,
    /// A string: `2026-11-21T03:00:00Z`.
    Rfc3339,
}

/// Which fields of a token document hold what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The refresh token.
    pub refresh_token: FieldPath,
    /// The access token; `none` where it is written nowhere.
    #[serde(with = "or_none")]
    pub access_token: Option<FieldPath>,
    /// How a person recognises the document: the first of these that is there (a string, a number or an `ObjectId`).
    pub subject: Vec<FieldPath>,
    /// Whose token it is, when more than one provider is configured.
    pub provider: Option<FieldPath>,
    /// Where the application wants to find the end of the access token, beside our own bookkeeping.
    pub access_expires_at: Option<FieldPath>,
    /// Where the application wants to find the end of the refresh token, beside our own bookkeeping.
    pub refresh_expires_at: Option<FieldPath>,
    /// Where the application wants to find when the pair was written last, as a date.
    pub updated_at: Option<FieldPath>,
    /// Fields that take further values of an answer in the same update: field, and the value's place in the answer.
    pub also: BTreeMap<FieldPath, AnswerPlace>,
    /// Only read: when the login ends. A date, RFC 3339, or a number (from 10^11 on milliseconds, else seconds).
    pub login_ends_at: Option<FieldPath>,
    /// Only read: when the login began.
    pub logged_in_at: Option<FieldPath>,
    /// Only read: variables of the request, by name.
    pub values: BTreeMap<String, FieldPath>,
    /// Only read: the client id of the document, where each has its own.
    pub client_id: Option<FieldPath>,
    /// How the two ends are written.
    pub expires_format: ExpiryFormat,
    /// The sub-document that holds our bookkeeping.
    pub bookkeeping: FieldPath,
    /// Extended JSON: an extra condition on documents, for collections that hold other things too.
    pub filter: Option<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        let path = |name: &str| FieldPath(name.to_owned());
        Self {
            refresh_token: path("refresh_token"),
            access_token: Some(path("access_token")),
            subject: vec![path("email"), path("userId")],
            provider: None,
            access_expires_at: None,
            refresh_expires_at: None,
            updated_at: None,
            also: BTreeMap::new(),
            login_ends_at: None,
            logged_in_at: None,
            values: BTreeMap::new(),
            client_id: None,
            expires_format: ExpiryFormat::default(),
            bookkeeping: path("evergrant"),
            filter: None,
        }
    }
}

impl Mapping {
    /// The fields of the application that a write-back writes, and our bookkeeping.
    pub fn written(&self) -> impl Iterator<Item = &FieldPath> {
        [&self.refresh_token, &self.bookkeeping].into_iter().chain(self.beside_the_refresh_token())
    }

    /// The fields of the application that are written with a new refresh token.
    pub fn beside_the_refresh_token(&self) -> impl Iterator<Item = &FieldPath> {
        let fields =
            [&self.access_token, &self.access_expires_at, &self.refresh_expires_at, &self.updated_at];
        fields.into_iter().flatten().chain(self.also.keys())
    }

    /// Name and field of each variable that documents hold.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &FieldPath)> {
        let client_id = self.client_id.iter().map(|path| (Facts::CLIENT_ID, path));
        self.values.iter().map(|(name, path)| (name.as_str(), path)).chain(client_id)
    }

    /// The sub-documents that we write into: the parents of each written field, and the bookkeeping itself. Sorted, so that the
    /// outer one comes first.
    #[must_use]
    pub fn parents(&self) -> Vec<FieldPath> {
        let written = self.written().flat_map(FieldPath::parents);
        let parents: BTreeSet<FieldPath> = written.chain([self.bookkeeping.clone()]).collect();
        parents.into_iter().collect()
    }

    /// Those of them without which a pair can't be written: not those of further values alone, which a pair doesn't wait for.
    #[must_use]
    pub fn parents_of_the_pair(&self) -> Vec<FieldPath> {
        let parents =
            self.named_written().filter(|(name, _)| *name != "also").flat_map(|(_, path)| path.parents());
        let parents: BTreeSet<FieldPath> = parents.chain([self.bookkeeping.clone()]).collect();
        parents.into_iter().collect()
    }

    /// Two fields of which one would overwrite the other, with the name of each setting: both are written, or one of them is
    /// only read.
    #[must_use]
    pub fn overlap(&self) -> Option<[(&'static str, &FieldPath); 2]> {
        let written: Vec<_> = self.named_written().collect();
        let read = [
            self.provider.as_ref().map(|path| ("provider", path)),
            self.login_ends_at.as_ref().map(|path| ("login_ends_at", path)),
            self.logged_in_at.as_ref().map(|path| ("logged_in_at", path)),
            self.client_id.as_ref().map(|path| ("client_id", path)),
        ];
        let read = read.into_iter().flatten().chain(self.values.values().map(|path| ("values", path)));
        let read: Vec<_> = read.collect();
        // A value of an answer is no name of a person.
        let subject: Vec<_> = self.subject.iter().map(|path| ("subject", path)).collect();
        written.iter().enumerate().find_map(|(index, first)| {
            let subject = subject.iter().filter(|_| first.0 == "also");
            let mut others = written[index + 1..].iter().chain(&read).chain(subject);
            others.find(|second| first.1.overlaps(second.1)).map(|second| [*first, *second])
        })
    }

    /// The setting that would have `_id` written, which no store can: the first of the written fields.
    #[must_use]
    pub fn writes_the_id(&self) -> Option<(&'static str, &FieldPath)> {
        self.named_written().find(|(_, path)| path.segments().next() == Some("_id"))
    }

    /// Each field that is written, with the name of its setting.
    fn named_written(&self) -> impl Iterator<Item = (&'static str, &FieldPath)> {
        let named = [
            Some(("refresh_token", &self.refresh_token)),
            self.access_token.as_ref().map(|path| ("access_token", path)),
            self.access_expires_at.as_ref().map(|path| ("access_expires_at", path)),
            self.refresh_expires_at.as_ref().map(|path| ("refresh_expires_at", path)),
            self.updated_at.as_ref().map(|path| ("updated_at", path)),
            Some(("bookkeeping", &self.bookkeeping)),
        ];
        named.into_iter().flatten().chain(self.also.keys().map(|path| ("also", path)))
    }
}

/// Serde for a field, or the word `none`.
mod or_none {
    use super::FieldPath;
    use serde::{Deserialize as _, Deserializer, Serializer};

    const NONE: &str = "none";

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(
        path: &Option<FieldPath>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(path.as_ref().map_or(NONE, FieldPath::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<FieldPath>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == NONE { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_joined_by_dots() {
        for good in ["a", "a.b", "tokens.refresh-token", "é.ü"] {
            assert!(good.parse::<FieldPath>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "$set", "a.$b", "a\0b"] {
            assert!(bad.parse::<FieldPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_that_would_overwrite_each_other_are_named() {
        let mapping = Mapping { bookkeeping: "tokens".parse().unwrap(), ..Mapping::default() };
        assert_eq!(mapping.overlap(), None);
        let nested = Mapping { refresh_token: "tokens.refresh".parse().unwrap(), ..mapping };
        assert_eq!(nested.overlap().map(|[a, b]| (a.0, b.0)), Some(("refresh_token", "bookkeeping")));
    }

    #[test]
    fn a_field_that_is_read_is_never_one_that_is_written() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let found = |mapping: Mapping| mapping.overlap().map(|[a, b]| (a.0, b.0));
        let values = |name: &str, field: &str| BTreeMap::from([(name.to_owned(), path(field))]);
        for (mapping, expected) in [
            (
                Mapping { values: values("shop", "refresh_token"), ..Mapping::default() },
                ("refresh_token", "values"),
            ),
            (
                Mapping { login_ends_at: Some(path("evergrant.due_at")), ..Mapping::default() },
                ("bookkeeping", "login_ends_at"),
            ),
            (
                Mapping { client_id: Some(path("access_token")), ..Mapping::default() },
                ("access_token", "client_id"),
            ),
            (
                Mapping {
                    also: BTreeMap::from([(path("access_token.x"), "/x".parse().unwrap())]),
                    ..Mapping::default()
                },
                ("access_token", "also"),
            ),
            (
                Mapping {
                    updated_at: Some(path("at")),
                    logged_in_at: Some(path("at")),
                    ..Mapping::default()
                },
                ("updated_at", "logged_in_at"),
            ),
        ] {
            assert_eq!(found(mapping), Some(expected));
        }
        let both_read =
            Mapping { values: values("shop", "email"), provider: Some(path("email")), ..Mapping::default() };
        assert_eq!(found(both_read), None);
    }
}
