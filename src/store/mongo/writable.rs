//! What must hold of a document before anything is written into it, pure: room, and no name of ours twice.
//!
//! BSON doesn't forbid that a name stands twice in a document, and tools and people have made such documents. Nobody
//! knows which of the two a reader takes, and a server (MongoDB 6.0, measured) treats them badly: an update by a pipeline
//! that touches one of them ends the whole server with a failed invariant, and a `$set` of one writes the first on the
//! primary and both on the other members. So nothing is written where a name that we write stands twice.

use super::query::{Reading, and_expressions, field};
use super::update::is_exactly;
use crate::store::Mapping;
use crate::store::Unwritable;
use crate::store::mapping::FieldPath;
use bson::{Bson, Document, doc};
use std::collections::{BTreeMap, BTreeSet};

/// What a document may have at most, in bytes: the server's own limit.
const MAX_DOCUMENT_BYTES: i32 = 16 * 1024 * 1024;

/// What must be left of that for a document to be claimed, in bytes: four tokens of the longest that are sent.
///
/// A pair for which there is no room must not be asked for.
const ROOM_BYTES: i32 = 64 * 1024;

/// What a claim writes in the bookkeeping.
const CLAIMED: [&str; 2] = ["due_at", "lease"];

/// The whole document, in an expression.
const ROOT: &str = "$$ROOT";

/// Is there room in the document for a longer pair and the bookkeeping? An expression.
pub(super) fn is_short_enough() -> Document {
    doc! { "$lte": [{ "$bsonSize": ROOT }, MAX_DOCUMENT_BYTES - ROOM_BYTES] }
}

/// Can something be written at the path? Every parent must be a sub-document or absent. An expression; `None` at the top.
pub(super) fn has_room(path: &FieldPath) -> Option<Document> {
    let names: Vec<&str> = path.segments().collect();
    let parents = (1..names.len()).map(|depth| names[..depth].join("."));
    let parents: Vec<_> = parents.map(|parent| is_sub_document_or_absent(&format!("${parent}"))).collect();
    (!parents.is_empty()).then(|| and_expressions(parents))
}

/// Is there a sub-document, or nothing? An expression, as is the field.
pub(super) fn is_sub_document_or_absent(field: &str) -> Document {
    doc! { "$in": [{ "$type": field }, ["object", "missing"]] }
}

/// Names that are written, by the sub-document in which they stand (`""` is the document itself).
pub(super) struct Names<'a>(BTreeMap<String, BTreeSet<&'a str>>);

impl<'a> Names<'a> {
    /// Those on the way to a pair and to the bookkeeping as a whole.
    pub(super) fn of_pairs(mapping: &'a Mapping) -> Self {
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for path in mapping.written() {
            let mut parent = String::new();
            for name in path.segments() {
                names.entry(parent.clone()).or_default().insert(name);
                parent = joined(&parent, name);
            }
        }
        Self(names)
    }

    /// Those, and what a claim sets within the bookkeeping.
    pub(super) fn of_claims(mapping: &'a Mapping) -> Self {
        let mut names = Self::of_pairs(mapping);
        names.0.entry(mapping.bookkeeping.as_str().to_owned()).or_default().extend(CLAIMED);
        names
    }

    /// Stands each name of these sub-documents once, whether or not it is ours? An expression, and a quick one.
    pub(super) fn all_once(&self) -> Document {
        let parents = self.0.keys().map(|parent| within(parent, every_name_once));
        and_expressions(parents.collect())
    }

    /// Stands each of these names once? An expression, slow where another name stands twice.
    pub(super) fn ours_once(&self) -> Document {
        let once = |(parent, names): (&String, &BTreeSet<&str>)| {
            within(parent, |parent| {
                doc! { "$or": [every_name_once(parent), these_names_once(parent, names)] }
            })
        };
        and_expressions(self.0.iter().map(once).collect())
    }

    /// Each of them, with the question whether it stands once.
    fn each(&self) -> impl Iterator<Item = (String, Document)> {
        self.0.iter().flat_map(|(parent, names)| {
            names.iter().map(move |name| {
                let once = within(parent, |parent| these_names_once(parent, &BTreeSet::from([*name])));
                (joined(parent, name), once)
            })
        })
    }
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// Asks about a sub-document where there is one.
fn within(parent: &str, question: impl FnOnce(&str) -> Document) -> Document {
    if parent.is_empty() {
        return question(ROOT);
    }
    let parent = format!("${parent}");
    doc! { "$cond": [{ "$eq": [{ "$type": &parent }, "object"] }, question(&parent), true] }
}

/// To merge a document with nothing leaves one of each name.
fn every_name_once(parent: &str) -> Document {
    doc! { "$eq": [{ "$bsonSize": parent }, { "$bsonSize": { "$mergeObjects": [parent] } }] }
}

fn these_names_once(parent: &str, names: &BTreeSet<&str>) -> Document {
    // Byte by byte, because names that a collation takes for the same are two.
    let named = |name: &&str| {
        let named = is_exactly("$$this.k", name);
        doc! { "$filter": { "input": { "$objectToArray": parent }, "cond": named } }
    };
    let once = names.iter().map(|name| doc! { "$lte": [{ "$size": named(name) }, 1] });
    and_expressions(once.collect())
}

/// Why a pass can't write into a document, each reason with the expression that is true where it doesn't hold.
fn reasons(mapping: &Mapping) -> Vec<(Unwritable, Document)> {
    let in_the_way =
        mapping.written().filter_map(|path| Some((Unwritable::InTheWay(path.clone()), has_room(path)?)));
    let too_long = (Unwritable::TooLong, is_short_enough());
    let names = Names::of_claims(mapping);
    let twice = names.each().map(|(path, once)| (Unwritable::Twice(path), once));
    in_the_way.chain([too_long]).chain(twice).collect()
}

/// What is in the way of a claim, as one look at the documents shows it.
pub(super) struct Obstacles {
    reasons: Vec<Unwritable>,
}

/// The field that says that bookkeeping isn't a sub-document.
const ODD: &str = "odd";

impl Obstacles {
    /// The look at these documents.
    pub(super) fn look(mapping: &Mapping, ids: Vec<Bson>) -> (Self, Reading) {
        let (reasons, fine): (Vec<_>, Vec<_>) = reasons(mapping).into_iter().unzip();
        let mut projection = doc! { "_id": 1 };
        projection
            .extend(fine.into_iter().enumerate().map(|(number, fine)| (fine_name(number), fine.into())));
        let usual = is_sub_document_or_absent(&field(&mapping.bookkeeping));
        projection.insert(ODD, doc! { "$not": [usual] });
        (Self { reasons }, Reading::of(ids, projection))
    }

    /// What the look found in a document: what is in the way of every write, if anything.
    pub(super) fn of(&self, raw: &bson::RawDocument) -> Option<&Unwritable> {
        let mut numbered = self.reasons.iter().enumerate();
        let stands = |number: usize| raw.get_bool(fine_name(number)).is_ok_and(|fine| !fine);
        numbered.find(|(number, _)| stands(*number)).map(|(_, reason)| reason)
    }

    /// Is the bookkeeping there, and no sub-document?
    pub(super) fn is_odd(raw: &bson::RawDocument) -> bool {
        raw.get_bool(ODD).unwrap_or_default()
    }
}

fn fine_name(number: usize) -> String {
    format!("fine_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_where_they_stand() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let mapping = Mapping {
            refresh_token: path("oauth.refresh"),
            access_token: path("oauth.access"),
            access_expires_at: Some(path("ends")),
            ..Mapping::default()
        };
        let paths = |names: &Names<'_>| names.each().map(|(path, _)| path).collect::<Vec<_>>();
        assert_eq!(
            paths(&Names::of_pairs(&mapping)),
            ["ends", "evergrant", "oauth", "oauth.access", "oauth.refresh"]
        );
        assert_eq!(
            paths(&Names::of_claims(&mapping)),
            [
                "ends",
                "evergrant",
                "oauth",
                "evergrant.due_at",
                "evergrant.lease",
                "oauth.access",
                "oauth.refresh"
            ]
        );
    }
}
