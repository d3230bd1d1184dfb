//! Pages, pure: the ranges of the collection in their order, the place in one of them, and a page in the making.

use super::raw::Raw;
use crate::store::document::token_id;
use crate::store::mapping::FieldPath;
use crate::store::{DuePage, Position};
use crate::token::{TokenDocument, TokenId};
use bson::{Bson, RawDocument, RawDocumentBuf};
use serde::{Deserialize, Serialize};

/// A part of the collection that one cursor reads in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Range {
    /// A `due_at` up to the limit, and all that sorts before dates: absent, null, a number, a string, …
    Early,
    /// A `due_at` of a type that sorts after dates: a timestamp, a regular expression, …
    Late,
    /// A `due_at` that is or is in an array, of which the index has several keys.
    Arrays,
    /// The whole collection by `_id`.
    ById,
}

impl Range {
    /// Where a query begins.
    pub(super) const fn first(force: bool) -> Self {
        if force { Self::ById } else { Self::Early }
    }

    /// This one and those that are read behind it.
    pub(super) fn rest(self) -> impl Iterator<Item = Self> {
        let ranges: &[Self] = match self {
            Self::Early => &[Self::Early, Self::Late, Self::Arrays],
            Self::Late => &[Self::Late, Self::Arrays],
            Self::Arrays => &[Self::Arrays],
            Self::ById => &[Self::ById],
        };
        ranges.iter().copied()
    }
}

/// What a [`Position`] of this store holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The range that was being read.
    pub(super) range: Range,
    pub(super) due_at: Bson,
    pub(super) id: Bson,
}

#[derive(Serialize, Deserialize)]
struct WrittenPlace {
    range: Range,
    due_at: serde_json::Value,
    id: serde_json::Value,
}

impl Place {
    /// The place of a document that was just read; `None` if its `due_at` can't be read, or its `_id` asked for.
    pub(super) fn of(range: Range, raw: &RawDocument, bookkeeping: &FieldPath) -> Option<Self> {
        Some(Self { range, due_at: Raw(raw).within(bookkeeping, "due_at")?, id: Raw(raw).id()? })
    }

    /// Reads a position; `None` if another store made it.
    pub(super) fn read(position: &Position) -> Option<Self> {
        let WrittenPlace { range, due_at, id } = serde_json::from_value(position.0.clone()).ok()?;
        Some(Self { range, due_at: Bson::try_from(due_at).ok()?, id: Bson::try_from(id).ok()? })
    }

    /// Is this the document that was read last? Index bounds include it.
    pub(super) fn is_at(&self, id: &TokenId) -> bool {
        token_id(self.id.clone()) == *id
    }

    fn write(self) -> Position {
        Position(serde_json::json!({
            "range": self.range,
            "due_at": self.due_at.into_canonical_extjson(),
            "id": self.id.into_canonical_extjson(),
        }))
    }
}

/// What one query has found.
pub(super) struct Found {
    pub(super) documents: Vec<(TokenDocument, RawDocumentBuf)>,
    /// Is it all that there is?
    pub(super) all: bool,
}

/// A page in the making.
pub(super) struct Page {
    limit: usize,
    documents: Vec<TokenDocument>,
    last: Option<Place>,
    more: bool,
}

impl Page {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, documents: Vec::new(), last: None, more: false }
    }

    /// How many documents it can still take.
    pub(super) fn missing(&self) -> usize {
        self.limit - self.documents.len()
    }

    /// Is it known that there is another page?
    pub(super) const fn is_full(&self) -> bool {
        self.more
    }

    /// Takes what was found, as far as there is room.
    pub(super) fn take(&mut self, found: Found, place: impl Fn(&RawDocument) -> Option<Place>) {
        let room = self.missing();
        self.more = !found.all || found.documents.len() > room;
        for (document, raw) in found.documents.into_iter().take(room) {
            self.documents.push(document);
            self.last = place(&raw).or(self.last.take());
        }
    }

    pub(super) fn finish(self) -> DuePage {
        let next = self.last.filter(|_| self.more).map(Place::write);
        DuePage { documents: self.documents, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::document::date;
    use bson::doc;

    #[test]
    fn a_place_survives_its_position() {
        for value in
            [Bson::Null, date(chrono::DateTime::UNIX_EPOCH), Bson::Document(doc! { "a": 1_i64 }), 5.into()]
        {
            let place = Place { range: Range::Late, due_at: value.clone(), id: value };
            assert_eq!(Place::read(&place.clone().write()), Some(place));
        }
        assert_eq!(Place::read(&Position(serde_json::json!([1, "a"]))), None);
    }
}
