//! What is read, pure: filters, index bounds and keyset positions.
//!
//! Query operators like `$gt` compare within one BSON type only; index bounds (`min`, `max`) and `$expr` compare across
//! all of them. `_id`s of several types and a `due_at` that isn't a date are therefore paged with the latter two.

use super::raw::Raw;
use super::writable::Names;
use crate::clock::Timestamp;
use crate::store::document::{date, token_id};
use crate::store::mapping::FieldPath;
use crate::store::{DuePage, DueQuery, Mapping, Position, ProviderFilter};
use crate::token::{Code, State, TokenDocument, TokenId};
use bson::{Bson, Document, RawDocument, doc};
use mongodb::options::{FindOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria};
use serde::{Deserialize, Serialize};
use std::time::Duration;

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
    due_at: Bson,
    id: Bson,
}

#[derive(Serialize, Deserialize)]
struct WrittenPlace {
    range: Range,
    due_at: serde_json::Value,
    id: serde_json::Value,
}

impl Place {
    /// The place of a document that was just read; `None` if it has no `_id` that can be asked for.
    pub(super) fn of(range: Range, raw: &RawDocument, bookkeeping: &FieldPath) -> Option<Self> {
        Some(Self { range, due_at: Raw(raw).bson(bookkeeping, "due_at"), id: Raw(raw).id()? })
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

    /// Takes a document, or only notes that there is one more.
    pub(super) fn push(&mut self, document: TokenDocument, place: impl FnOnce() -> Option<Place>) {
        if self.missing() == 0 {
            self.more = true;
        } else {
            self.documents.push(document);
            self.last = place().or(self.last.take());
        }
    }

    pub(super) fn finish(self) -> DuePage {
        let next = self.last.filter(|_| self.more).map(Place::write);
        DuePage { documents: self.documents, next }
    }
}

/// One `find`.
#[derive(Debug, Default)]
pub(super) struct Reading {
    conditions: Vec<Document>,
    projection: Document,
    sort: Option<Document>,
    hint: Option<Hint>,
    min: Option<Document>,
    max: Option<Document>,
    limit: Option<usize>,
}

impl Reading {
    /// These documents, and of them what the projection says.
    pub(super) fn of(ids: Vec<Bson>, projection: Document) -> Self {
        Self { conditions: vec![doc! { "_id": { "$in": ids } }], projection, ..Self::default() }
    }

    /// Up to `limit` documents that meet all conditions, with the fields that we read elsewhere.
    pub(super) fn matching(mapping: &Mapping, conditions: Vec<Document>, limit: usize) -> Self {
        Self { conditions, projection: projection(mapping), limit: Some(limit), ..Self::default() }
    }

    /// The filter and the options; the server gives up a little before `bound`, so that nothing is left running there.
    pub(super) fn into_options(self, bound: Duration) -> (Document, FindOptions) {
        let options = FindOptions::builder()
            .projection(self.projection)
            .sort(self.sort)
            .hint(self.hint)
            .min(self.min)
            .max(self.max)
            .limit(self.limit.and_then(|limit| i64::try_from(limit).ok()))
            .batch_size(self.limit.and_then(|limit| u32::try_from(limit).ok()))
            .max_time(bound * 9 / 10)
            .allow_disk_use(true)
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        (and(self.conditions), options)
    }
}

/// Documents of a range, soonest due first; `None` where the range is part of another one.
pub(super) fn due(
    mapping: &Mapping,
    extra: Option<&Document>,
    query: &DueQuery,
    range: Range,
    index: Option<&str>,
    after: Option<&Place>,
    limit: usize,
) -> Option<Reading> {
    let path = &mapping.bookkeeping;
    let due_at = format!("{path}.due_at");
    let limit = limit + usize::from(after.is_some());
    let mut conditions = vec![lease_is_free(path, query.now)];
    conditions.extend(of_providers(mapping, &query.providers));
    conditions.extend(extra.cloned());
    if range == Range::ById {
        return Some(Reading { conditions, ..all(mapping, None, after, limit) });
    }
    let arrays = arrays(path);
    conditions.push(if range == Range::Arrays {
        arrays
    } else {
        doc! { "$nor": [arrays] }
    });
    let mut reading = Reading { projection: projection(mapping), limit: Some(limit), ..Reading::default() };
    let bound = |due: Bson, id: Bson| doc! { &due_at: due, "_id": id };
    if let Some(index) = index {
        let start = match range {
            Range::Late => Bson::Timestamp(bson::Timestamp { time: 0, increment: 0 }),
            Range::Early | Range::Arrays | Range::ById => Bson::MinKey,
        };
        let after = after.filter(|_| range != Range::Arrays);
        reading.min = Some(after.map_or_else(
            || bound(start, Bson::MinKey),
            |place| bound(place.due_at.clone(), place.id.clone()),
        ));
        reading.max = (range != Range::Late).then(|| bound(date(query.due_by), Bson::MaxKey));
        reading.hint = Some(Hint::Name(index.to_owned()));
    } else {
        if range == Range::Late {
            return None;
        }
        conditions.push(doc! { "$expr": due_by(path, query.due_by) });
        if let (Some(place), Range::Early) = (after, range) {
            let key = doc! { "$ifNull": [field_of(path, "due_at"), Bson::Null] };
            let (due, id) = (doc! { "$literal": &place.due_at }, doc! { "$literal": &place.id });
            conditions.push(doc! { "$expr": { "$or": [
                { "$gt": [&key, &due] },
                { "$and": [{ "$eq": [&key, &due] }, { "$gt": ["$_id", id] }] },
            ] } });
        }
    }
    reading.sort = Some(if range == Range::Arrays {
        doc! { "_id": 1 }
    } else {
        doc! { due_at: 1, "_id": 1 }
    });
    if let (Some(place), Range::Arrays) = (after, range) {
        conditions.push(doc! { "$expr": { "$gt": ["$_id", { "$literal": &place.id }] } });
    }
    reading.conditions = conditions;
    Some(reading)
}

/// What is due and not marked (with `force` everything), as conditions alone.
pub(super) fn due_conditions(mapping: &Mapping, extra: Option<&Document>, query: &DueQuery) -> Document {
    let mut conditions = vec![lease_is_free(&mapping.bookkeeping, query.now)];
    conditions.extend(of_providers(mapping, &query.providers));
    conditions.extend(extra.cloned());
    if !query.force {
        conditions.push(doc! { "$expr": due_by(&mapping.bookkeeping, query.due_by) });
        // An expression uses no index. This does, and leaves out no date that has come, nor an absent one.
        let later = doc! { "$gt": date(query.due_by) };
        conditions.push(doc! { format!("{}.due_at", mapping.bookkeeping): { "$not": later } });
        let marked = [State::NeedsLogin, State::LostInFlight, State::Malformed].map(State::word);
        let state = format!("{}.state", mapping.bookkeeping);
        // A document that had no token, and has one now, is due like any other.
        let had_none = [Code::Missing, Code::Null, Code::Empty, Code::NotText].map(Code::word);
        let mended = doc! {
            &state: State::Malformed.word(),
            format!("{}.last_error.code", mapping.bookkeeping): { "$in": had_none.to_vec() },
            mapping.refresh_token.as_str(): { "$type": "string", "$gt": "" },
        };
        conditions.push(doc! { "$or": [{ &state: { "$nin": marked.to_vec() } }, mended] });
    }
    and(conditions)
}

/// Documents in `_id` order. Bounds end before `MaxKey`: a document whose `_id` that is (there is none) is only read
/// when it is on the first page.
pub(super) fn all(
    mapping: &Mapping,
    extra: Option<&Document>,
    after: Option<&Place>,
    limit: usize,
) -> Reading {
    Reading {
        conditions: extra.cloned().into_iter().collect(),
        projection: projection(mapping),
        sort: Some(doc! { "_id": 1 }),
        hint: after.map(|_| Hint::Keys(doc! { "_id": 1 })),
        min: after.map(|place| doc! { "_id": place.id.clone() }),
        max: None,
        limit: Some(limit + usize::from(after.is_some())),
    }
}

/// Documents by `_id`.
pub(super) fn by_ids(mapping: &Mapping, ids: Vec<Bson>) -> Reading {
    Reading::of(ids, projection(mapping))
}

/// Those of the documents in which some name stands twice where a pair is written: none of [`update::apply`]'s first
/// try, nor of [`update::renewals`], finds them.
///
/// [`update::apply`]: super::update::apply
/// [`update::renewals`]: super::update::renewals
pub(super) fn names_twice(mapping: &Mapping, ids: Vec<Bson>) -> Reading {
    let mut reading = Reading::of(ids, doc! { "_id": 1 });
    reading.conditions.push(doc! { "$expr": { "$not": [Names::of_claims(mapping).all_once()] } });
    reading
}

/// Those of the documents that carry this lease (and, with `until`, already its new end).
pub(super) fn leased(mapping: &Mapping, ids: Vec<Bson>, lease: &str, until: Option<Bson>) -> Reading {
    let mut reading = by_ids(mapping, ids);
    reading.conditions.push(doc! { format!("{}.lease.id", mapping.bookkeeping): lease });
    reading
        .conditions
        .extend(until.map(|until| doc! { format!("{}.lease.until", mapping.bookkeeping): until }));
    reading
}

/// Joins conditions.
pub(super) fn and(mut conditions: Vec<Document>) -> Document {
    match conditions.len() {
        0 => Document::new(),
        1 => conditions.remove(0),
        _ => doc! { "$and": conditions },
    }
}

/// Joins expressions.
pub(super) fn and_expressions(mut expressions: Vec<Document>) -> Document {
    if expressions.len() == 1 {
        expressions.remove(0)
    } else {
        doc! { "$and": expressions }
    }
}

/// No lease, or one that has ended; one whose end isn't a date is none.
pub(super) fn lease_is_free(bookkeeping: &FieldPath, now: Timestamp) -> Document {
    doc! { format!("{bookkeeping}.lease.until"): { "$not": { "$gt": date(now) } } }
}

/// Has the document's `due_at` come, or isn't it a date? An expression.
pub(super) fn due_by(bookkeeping: &FieldPath, at: Timestamp) -> Document {
    let due_at = field_of(bookkeeping, "due_at");
    doc! { "$or": [{ "$ne": [{ "$type": &due_at }, "date"] }, { "$lte": [due_at, date(at)] }] }
}

/// A field in an expression: `$oauth.refresh`.
pub(super) fn field(path: &FieldPath) -> String {
    format!("${path}")
}

fn field_of(path: &FieldPath, name: &str) -> String {
    format!("${path}.{name}")
}

/// Leads the path to `due_at` through an array, or to one?
fn arrays(bookkeeping: &FieldPath) -> Document {
    let names: Vec<&str> = bookkeeping.segments().chain(["due_at"]).collect();
    let paths = (1..=names.len()).map(|depth| names[..depth].join("."));
    doc! { "$or": paths.map(|path| doc! { path: { "$type": "array" } }).collect::<Vec<_>>() }
}

pub(super) fn of_providers(mapping: &Mapping, providers: &ProviderFilter) -> Option<Document> {
    let value = field(mapping.provider.as_ref()?);
    match providers {
        ProviderFilter::Any => None,
        ProviderFilter::Named(name) => Some(doc! { "$expr": { "$eq": [value, { "$literal": name }] } }),
        ProviderFilter::NoneOf(names) => {
            let names: Vec<Document> = names.iter().map(|name| doc! { "$literal": name }).collect();
            Some(doc! { "$expr": { "$not": [{ "$in": [value, names] }] } })
        }
    }
}

/// Only what we read: a large document costs no memory for the rest of it.
fn projection(mapping: &Mapping) -> Document {
    let mut paths: Vec<&FieldPath> =
        vec![&mapping.refresh_token, &mapping.access_token, &mapping.bookkeeping];
    paths.extend(&mapping.provider);
    paths.extend(&mapping.subject);
    // The server refuses a path together with one that leads through it.
    let covered =
        |path: &FieldPath, by: &FieldPath| by.overlaps(path) && by.as_str().len() < path.as_str().len();
    let mut projection = doc! { "_id": 1 };
    for path in &paths {
        if path.segments().next() != Some("_id") && !paths.iter().any(|other| covered(path, other)) {
            projection.insert(path.as_str(), 1);
        }
    }
    projection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_is_asked_for_and_no_path_leads_through_another() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        let mapping = Mapping {
            refresh_token: path("oauth.refresh"),
            access_token: path("oauth.access"),
            subject: vec![path("_id.user"), path("oauth"), path("email"), path("email")],
            ..Mapping::default()
        };
        assert_eq!(projection(&mapping), doc! { "_id": 1, "evergrant": 1, "oauth": 1, "email": 1 });
    }

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
