//! What must hold of a document before anything is written into it, pure: room, and no name twice.
//!
//! BSON doesn't forbid that a name stands twice in a document, and tools and people have made such documents. Which
//! of the two a reader takes is not defined, and a server (MongoDB 6.0, measured) treats them badly: an update by a pipeline
//! that touches one of them ends the whole server with a failed invariant, and a `$set` of one writes the first on the
//! primary and both on the other members. So nothing is written where any name stands twice beside one that we write.

use super::expression::{ROOT, and_expressions, field, is_sub_document_or_absent};
use super::reading::Reading;
use crate::store::document::BOOKKEEPING_FIELDS;
use crate::store::mapping::FieldPath;
use crate::store::{Mapping, Unwritable};
use bson::{Bson, Document, RawDocument, doc};
use std::collections::BTreeSet;

/// What a document may have at most, in bytes: the server's own limit.
const MAX_DOCUMENT_BYTES: i32 = 16 * 1024 * 1024;

/// What must be left of that for a document to be claimed, in bytes: four tokens of the longest that are sent.
///
/// A pair for which there is no room must not be asked for.
const ROOM_BYTES: i32 = 64 * 1024;

/// And for each further value of an answer, in bytes.
const FURTHER_BYTES: i32 = 8 * 1024;

/// Can a claim, a pair and the bookkeeping be written? An expression.
pub(super) fn is_writable(mapping: &Mapping) -> Document {
    let parents = mapping.parents_of_the_pair();
    let in_place = parents.iter().map(|parent| is_sub_document_or_absent(&field(parent)));
    and_expressions(in_place.chain([is_short_enough(mapping), every_name_once(mapping)]).collect())
}

/// Stands each name once, in the document and in each sub-document that is written into? An expression.
pub(super) fn every_name_once(mapping: &Mapping) -> Document {
    let parents = mapping.parents();
    let once = parents.iter().map(|parent| within(parent, &names_are_once(&field(parent)), &true.into()));
    and_expressions(once.chain([names_are_once(ROOT)]).collect())
}

/// Is there room in the document for a longer pair and the bookkeeping? An expression.
fn is_short_enough(mapping: &Mapping) -> Document {
    let further = i32::try_from(mapping.also.len()).unwrap_or(i32::MAX).saturating_mul(FURTHER_BYTES);
    let most = (MAX_DOCUMENT_BYTES - ROOM_BYTES).saturating_sub(further);
    doc! { "$lte": [{ "$bsonSize": ROOT }, most] }
}

/// Answers `then` where there is a sub-document, and `otherwise` where there is none.
fn within(parent: &FieldPath, then: &Document, otherwise: &Bson) -> Document {
    doc! { "$cond": [{ "$eq": [{ "$type": field(parent) }, "object"] }, then, otherwise] }
}

/// To merge a document with nothing leaves one of each name.
///
/// To compare the sizes takes half the time, and mistakes an array whose elements have other names than `0`, `1`, … (some
/// programs write such) for a name that stands twice: then the names are counted.
fn names_are_once(document: &str) -> Document {
    let merged = doc! { "$mergeObjects": [document] };
    let size = |document: Bson| doc! { "$bsonSize": document };
    let names = |document: Bson| doc! { "$size": { "$objectToArray": document } };
    doc! { "$or": [
        { "$eq": [size(document.into()), size(merged.clone().into())] },
        { "$eq": [names(document.into()), names(merged.into())] },
    ] }
}

/// What is in the way of every write, as one look at the documents shows it.
pub(super) struct Obstacles<'a> {
    mapping: &'a Mapping,
    parents: Vec<FieldPath>,
}

/// Field of the look: is there room?
const SHORT_ENOUGH: &str = "short_enough";

impl<'a> Obstacles<'a> {
    /// The look at these documents.
    pub(super) fn look(mapping: &'a Mapping, ids: Vec<Bson>) -> (Self, Reading) {
        let obstacles = Self { mapping, parents: mapping.parents() };
        let mut projection = doc! {
            "_id": 1,
            SHORT_ENOUGH: is_short_enough(mapping),
            names(0): obstacles.names_if_twice(None),
        };
        let needed = mapping.parents_of_the_pair();
        for (number, parent) in (1..).zip(&obstacles.parents) {
            if needed.contains(parent) {
                projection.insert(in_place(number), is_sub_document_or_absent(&field(parent)));
            }
            let names_if_twice = obstacles.names_if_twice(Some(parent));
            projection.insert(names(number), within(parent, &names_if_twice, &Bson::Null));
        }
        (obstacles, Reading::of(ids, projection))
    }

    /// Those names in a document that we write, one by one, if any name stands twice in it; else null.
    fn names_if_twice(&self, parent: Option<&FieldPath>) -> Document {
        let document = parent.map_or_else(|| ROOT.to_owned(), field);
        let names = doc! { "$map": { "input": { "$objectToArray": &document }, "in": "$$this.k" } };
        let ours = doc! { "$literal": self.written(parent) };
        let names = doc! { "$filter": { "input": names, "cond": { "$in": ["$$this", ours] } } };
        doc! { "$cond": [names_are_once(&document), Bson::Null, names] }
    }

    /// The names that we write in a document, or on the way to it.
    fn written(&self, parent: Option<&FieldPath>) -> Vec<String> {
        let of = |path: &FieldPath| Some(path.segments().map(str::to_owned).collect::<Vec<_>>());
        let above = parent.and_then(of).unwrap_or_default();
        let mut names = BTreeSet::new();
        for path in self.mapping.written().filter_map(of) {
            if let Some([name, ..]) = path.strip_prefix(above.as_slice()) {
                names.insert(name.clone());
            }
        }
        if parent == Some(&self.mapping.bookkeeping) {
            names.extend(BOOKKEEPING_FIELDS.map(str::to_owned));
        }
        names.into_iter().collect()
    }

    /// What the look found in a document, the outermost first.
    pub(super) fn of(&self, raw: &RawDocument) -> Option<Unwritable> {
        let not = |name: &str| raw.get_bool(name).is_ok_and(|holds| !holds);
        let in_parent = |(number, parent): (usize, &FieldPath)| {
            if !not(&in_place(number)) {
                return self.twice(raw, number, Some(parent));
            }
            Some(if *parent == self.mapping.bookkeeping {
                Unwritable::BookkeepingInTheWay(parent.clone())
            } else {
                Unwritable::InTheWay(parent.clone())
            })
        };
        self.twice(raw, 0, None)
            .or_else(|| (1..).zip(&self.parents).find_map(in_parent))
            .or_else(|| not(SHORT_ENOUGH).then_some(Unwritable::TooLong))
    }

    fn twice(&self, raw: &RawDocument, number: usize, parent: Option<&FieldPath>) -> Option<Unwritable> {
        let list = raw.get_array(names(number)).ok()?;
        let known: Vec<_> = list.into_iter().filter_map(|name| name.ok()?.as_str()).collect();
        // Byte by byte: a collation may take two names for the same.
        let twice = self
            .written(parent)
            .into_iter()
            .find(|name| known.iter().filter(|known| **known == *name).count() > 1);
        Some(match (twice, parent) {
            (Some(name), Some(parent)) => Unwritable::Twice(format!("{parent}.{name}")),
            (Some(name), None) => Unwritable::Twice(name),
            (None, parent) => Unwritable::TwiceBeside(parent.cloned()),
        })
    }
}

fn in_place(number: usize) -> String {
    format!("in_place_{number}")
}

fn names(number: usize) -> String {
    format!("names_{number}")
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
            access_token: Some(path("oauth.access")),
            bookkeeping: path("meta.evergrant"),
            ..Mapping::default()
        };
        let (obstacles, _) = Obstacles::look(&mapping, Vec::new());
        let names: Vec<_> = obstacles.parents.iter().map(FieldPath::as_str).collect();
        assert_eq!(names, ["meta", "meta.evergrant", "oauth"]);
        assert_eq!(obstacles.written(None), ["meta", "oauth"]);
        assert_eq!(obstacles.written(Some(&path("oauth"))), ["access", "refresh"]);
        assert!(obstacles.written(Some(&path("meta.evergrant"))).contains(&"due_at".to_owned()));
        let found = |raw: bson::RawDocumentBuf| obstacles.of(&raw);
        assert_eq!(found(rawdoc! { "short_enough": true, "names_0": null, "in_place_1": true }), None);
        assert_eq!(found(rawdoc! { "short_enough": false, "names_0": null }), Some(Unwritable::TooLong));
        let in_the_way = rawdoc! { "in_place_1": true, "in_place_2": true, "in_place_3": false };
        assert_eq!(found(in_the_way), Some(Unwritable::InTheWay(path("oauth"))));
        let in_the_way =
            rawdoc! { "short_enough": false, "in_place_1": true, "in_place_2": false, "names_3": [] };
        assert_eq!(found(in_the_way), Some(Unwritable::BookkeepingInTheWay(path("meta.evergrant"))));
        let twice = rawdoc! { "in_place_3": true, "names_3": ["access", "ACCESS", "refresh", "access"] };
        assert_eq!(found(twice), Some(Unwritable::Twice("oauth.access".to_owned())));
        let beside = rawdoc! { "in_place_3": true, "names_3": ["access", "ACCESS"] };
        assert_eq!(found(beside), Some(Unwritable::TwiceBeside(Some(path("oauth")))));
        let root = rawdoc! { "names_0": ["oauth", "oauth"], "in_place_1": false };
        assert_eq!(found(root), Some(Unwritable::Twice("oauth".to_owned())));
    }
}
