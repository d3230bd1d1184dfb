//! A document as it came over the wire, read field by field: what isn't asked for can't make it unreadable.

use crate::store::document::{self, BOOKKEEPING_FIELDS, Fields, type_name};
use crate::store::mapping::FieldPath;
use crate::token::{Bookkeeping, FieldValue};
use bson::{Bson, Document, RawBsonRef, RawDocument};

/// A document of the collection.
pub(super) struct Raw<'a>(pub(super) &'a RawDocument);

enum Found<'a> {
    Missing,
    Unreadable,
    Value(RawBsonRef<'a>),
}

impl<'a> Raw<'a> {
    /// Its `_id`; `None` if that can't be read (a string that isn't UTF-8), and so can't be asked for either.
    pub(super) fn id(&self) -> Option<Bson> {
        Bson::try_from(self.0.get("_id").ok()??).ok()
    }

    /// What is at the path, for a page's position; `None` if that can't be read.
    pub(super) fn within(&self, path: &FieldPath, name: &str) -> Option<Bson> {
        match self.find(path) {
            Found::Value(RawBsonRef::Document(parent)) => match parent.get(name).ok()? {
                Some(value) => Bson::try_from(value).ok(),
                None => Some(Bson::Null),
            },
            Found::Value(_) | Found::Missing => Some(Bson::Null),
            Found::Unreadable => None,
        }
    }

    /// The bookkeeping at the path, the default when there is none.
    pub(super) fn bookkeeping(&self, path: &FieldPath) -> Bookkeeping {
        let Found::Value(RawBsonRef::Document(raw)) = self.find(path) else { return Bookkeeping::default() };
        let known = BOOKKEEPING_FIELDS.into_iter().filter_map(|name| {
            let value = Bson::try_from(raw.get(name).ok()??).ok()?;
            Some((name.to_owned(), value))
        });
        document::bookkeeping(&known.collect::<Document>())
    }

    fn find(&self, path: &FieldPath) -> Found<'a> {
        let mut found = Found::Value(RawBsonRef::Document(self.0));
        for name in path.segments() {
            let Found::Value(RawBsonRef::Document(parent)) = found else { return Found::Missing };
            found = match parent.get(name) {
                Ok(Some(value)) => Found::Value(value),
                Ok(None) => Found::Missing,
                Err(_) => Found::Unreadable,
            };
        }
        found
    }
}

impl Fields for Raw<'_> {
    fn value(&self, path: &FieldPath) -> FieldValue<'_> {
        match self.find(path) {
            Found::Missing => FieldValue::Missing,
            Found::Unreadable => FieldValue::Other("string that is not UTF-8"),
            Found::Value(RawBsonRef::Null) => FieldValue::Null,
            Found::Value(RawBsonRef::String(text)) => FieldValue::Text(text),
            Found::Value(other) => FieldValue::Other(type_name(other.element_type())),
        }
    }

    fn bson(&self, path: &FieldPath) -> Option<Bson> {
        match self.find(path) {
            Found::Value(value) => Bson::try_from(value).ok(),
            Found::Missing | Found::Unreadable => None,
        }
    }

    fn shown(&self, path: &FieldPath) -> Option<String> {
        match self.find(path) {
            Found::Value(RawBsonRef::String(text)) => Some(text.to_owned()),
            Found::Value(RawBsonRef::Int32(number)) => Some(number.to_string()),
            Found::Value(RawBsonRef::Int64(number)) => Some(number.to_string()),
            Found::Value(RawBsonRef::Double(number)) => Some(number.to_string()),
            Found::Value(RawBsonRef::Decimal128(number)) => Some(number.to_string()),
            Found::Value(RawBsonRef::ObjectId(id)) => Some(id.to_hex()),
            Found::Value(_) | Found::Missing | Found::Unreadable => None,
        }
    }
}
