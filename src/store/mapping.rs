//! Which fields of the user's documents hold what: names as data, checked once.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

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
    /// The access token.
    pub access_token: FieldPath,
    /// How a person recognises the document: the first of these that is there (a string, a number or an `ObjectId`).
    pub subject: Vec<FieldPath>,
    /// Whose token it is, when more than one provider is configured.
    pub provider: Option<FieldPath>,
    /// Where the application wants to find the end of the access token, beside our own bookkeeping.
    pub access_expires_at: Option<FieldPath>,
    /// Where the application wants to find the end of the refresh token, beside our own bookkeeping.
    pub refresh_expires_at: Option<FieldPath>,
    /// How the two above are written.
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
            access_token: path("access_token"),
            subject: vec![path("email"), path("userId")],
            provider: None,
            access_expires_at: None,
            refresh_expires_at: None,
            expires_format: ExpiryFormat::default(),
            bookkeeping: path("evergrant"),
            filter: None,
        }
    }
}

impl Mapping {
    /// The fields of the application that a write-back writes, and our bookkeeping.
    pub fn written(&self) -> impl Iterator<Item = &FieldPath> {
        let expiries = [&self.access_expires_at, &self.refresh_expires_at];
        let tokens = [&self.refresh_token, &self.access_token, &self.bookkeeping];
        tokens.into_iter().chain(expiries.into_iter().flatten())
    }

    /// The sub-documents that we write into: the parents of each written field, and the bookkeeping itself. Sorted, so that the
    /// outer one comes first.
    #[must_use]
    pub fn parents(&self) -> Vec<FieldPath> {
        let written = self.written().flat_map(FieldPath::parents);
        let parents: BTreeSet<FieldPath> = written.chain([self.bookkeeping.clone()]).collect();
        parents.into_iter().collect()
    }

    /// Two written fields of which one would overwrite the other, with the name of each setting.
    #[must_use]
    pub fn overlap(&self) -> Option<[(&'static str, &FieldPath); 2]> {
        let written = [
            ("refresh_token", Some(&self.refresh_token)),
            ("access_token", Some(&self.access_token)),
            ("access_expires_at", self.access_expires_at.as_ref()),
            ("refresh_expires_at", self.refresh_expires_at.as_ref()),
            ("bookkeeping", Some(&self.bookkeeping)),
            ("provider", self.provider.as_ref()),
        ];
        let present: Vec<_> =
            written.into_iter().filter_map(|(name, path)| path.map(|path| (name, path))).collect();
        present.iter().enumerate().find_map(|(index, first)| {
            present[index + 1..]
                .iter()
                .find(|second| first.1.overlaps(second.1))
                .map(|second| [*first, *second])
        })
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
}
