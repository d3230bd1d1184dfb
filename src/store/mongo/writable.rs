//! What must hold of a document before anything is written into it, pure: room, and no name twice.
//!
//! BSON doesn't forbid that a name stands twice in a document, and tools and people have made such documents. Nobody
//! knows which of the two a reader takes, and a server (MongoDB 6.0, measured) treats them badly: an update by a pipeline
//! that touches one of them ends the whole server with a failed invariant, and a `$set` of one writes the first on the
//! primary and both on the other members. So nothing is written where any name stands twice beside one that we write.

use super::expression::{ROOT, and_expressions, field, is_sub_document_or_absent};
use super::reading::Reading;
use crate::store::mapping::FieldPath;
use crate::store::{Mapping, Unwritable};
use bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use std::collections::HashSet;

/// What a document may have at most, in bytes: the server's own limit.
const MAX_DOCUMENT_BYTES: i32 = 16 * 1024 * 1024;

/// What must be left of that for a document to be claimed, in bytes: four tokens of the longest that are sent.
///
/// A pair for which there is no room must not be asked for.
const ROOM_BYTES: i32 = 64 * 1024;

/// Can a claim, a pair and the bookkeeping be written? An expression.
pub(super) fn is_writable(mapping: &Mapping) -> Document {
    let parents = mapping.parents();
    let in_place = parents.iter().map(|parent| is_sub_document_or_absent(&field(parent)));
    and_expressions(in_place.chain([is_short_enough(), every_name_once(mapping)]).collect())
}

/// Stands each name once, in the document and in each sub-document that is written into? An expression.
pub(super) fn every_name_once(mapping: &Mapping) -> Document {
    let parents = mapping.parents();
    let once = parents.iter().map(|parent| within(parent, &names_are_once(&field(parent)), &true.into()));
    and_expressions(once.chain([names_are_once(ROOT)]).collect())
}

/// Is there room in the document for a longer pair and the bookkeeping? An expression.
fn is_short_enough() -> Document {
    doc! { "$lte": [{ "$bsonSize": ROOT }, MAX_DOCUMENT_BYTES - ROOM_BYTES] }
}

/// Answers `then` where there is a sub-document, and `otherwise` where there is none.
fn within(parent: &FieldPath, then: &Document, otherwise: &Bson) -> Document {
    doc! { "$cond": [{ "$eq": [{ "$type": field(parent) }, "object"] }, then, otherwise] }
}

/// To merge a document with nothing leaves one of each name.
fn names_are_once(parent: &str) -> Document {
    doc! { "$eq": [{ "$bsonSize": parent }, { "$bsonSize": { "$mergeObjects": [parent] } }] }
}

/// The names in a document where one stands twice, and else null.
fn names_if_twice(parent: &str) -> Document {
    let names = doc! { "$map": { "input": { "$objectToArray": parent }, "in": "$$this.k" } };
    doc! { "$cond": [names_are_once(parent), Bson::Null, names] }
}

/// What is in the way of every write, as one look at the documents shows it.
pub(super) struct Obstacles {
    parents: Vec<FieldPath>,
}

/// Fields of the look.
const SHORT_ENOUGH: &str = "short_enough";
const ROOT_NAMES: &str = "names";

impl Obstacles {
    /// The look at these documents.
    pub(super) fn look(mapping: &Mapping, ids: Vec<Bson>) -> (Self, Reading) {
        let parents = mapping.parents();
        let mut projection =
            doc! { "_id": 1, SHORT_ENOUGH: is_short_enough(), ROOT_NAMES: names_if_twice(ROOT) };
        for (number, parent) in parents.iter().enumerate() {
            let path = field(parent);
            projection.insert(in_place(number), is_sub_document_or_absent(&path));
            projection.insert(names(number), within(parent, &names_if_twice(&path), &Bson::Null));
        }
        (Self { parents }, Reading::of(ids, projection))
    }

    /// What the look found in a document, the outermost first.
    pub(super) fn of(&self, raw: &RawDocument) -> Option<Unwritable> {
        let not = |name: &str| raw.get_bool(name).is_ok_and(|holds| !holds);
        let in_parent = |(number, parent): (usize, &FieldPath)| {
            if not(&in_place(number)) {
                return Some(Unwritable::InTheWay(parent.clone()));
            }
            twice(raw, &names(number)).map(|name| Unwritable::Twice(format!("{parent}.{name}")))
        };
        twice(raw, ROOT_NAMES)
            .map(Unwritable::Twice)
            .or_else(|| self.parents.iter().enumerate().find_map(in_parent))
            .or_else(|| not(SHORT_ENOUGH).then_some(Unwritable::TooLong))
    }
}

fn in_place(number: usize) -> String {
    format!("in_place_{number}")
}

fn names(number: usize) -> String {
    format!("names_{number}")
}

/// The first name that stands twice in a list, byte by byte: a collation may take two names for the same.
fn twice(raw: &RawDocument, list: &str) -> Option<String> {
    let mut known = HashSet::new();
    for name in raw.get_array(list).ok()? {
        let Ok(RawBsonRef::String(name)) = name else { break };
        if !known.insert(name) {
            return Some(name.to_owned());
        }
    }
    // One of them isn't UTF-8.
    Some("\u{fffd}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    #[test]
    fn the_outermost_obstacle_is_named() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let mapping = Mapping {
            refresh_token: path("oauth.refresh"),
            access_token: path("oauth.access"),
            bookkeeping: path("meta.evergrant"),
            ..Mapping::default()
        };
        let (obstacles, _) = Obstacles::look(&mapping, Vec::new());
        let names: Vec<_> = obstacles.parents.iter().map(FieldPath::as_str).collect();
        assert_eq!(names, ["meta", "meta.evergrant", "oauth"]);
        let found = |raw: bson::RawDocumentBuf| obstacles.of(&raw);
        assert_eq!(found(rawdoc! { "short_enough": true, "names": null, "in_place_0": true }), None);
        assert_eq!(found(rawdoc! { "short_enough": false, "names": null }), Some(Unwritable::TooLong));
        let in_the_way =
            rawdoc! { "short_enough": false, "in_place_0": true, "in_place_1": false, "names_2": ["a", "a"] };
        assert_eq!(found(in_the_way), Some(Unwritable::InTheWay(path("meta.evergrant"))));
        let twice = rawdoc! { "in_place_2": true, "names_2": ["a", "A", "b", "a"] };
        assert_eq!(found(twice), Some(Unwritable::Twice("oauth.a".to_owned())));
        let root = rawdoc! { "names": ["a", "a"], "in_place_0": false };
        assert_eq!(found(root), Some(Unwritable::Twice("a".to_owned())));
    }
}
