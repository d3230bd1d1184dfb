//! What is read, pure: filters and index bounds.
//!
//! Query operators like `$gt` compare within one BSON type only; index bounds (`min`, `max`) and `$expr` compare across
//! all of them. `_id`s of several types and a `due_at` that isn't a date are therefore paged with the latter two.

use super::due_index::DueIndex;
use super::expression::{and, due_by, field, field_of, lease_is_free};
use super::position::{Place, Range};
use super::reading::{Reading, projection};
use crate::clock::Timestamp;
use crate::store::document::date;
use crate::store::mapping::FieldPath;
use crate::store::{DueAfter, DueQuery, Later, Mapping, ProviderFilter};
use crate::token::{Code, State};
use bson::{Bson, Document, doc};
use mongodb::options::Hint;

/// Documents of a range, soonest due first; `None` where the range is part of another one, or not asked for.
pub(super) fn due(
    mapping: &Mapping,
    extra: Option<&Document>,
    query: &DueQuery,
    range: Range,
    index: Option<DueIndex<'_>>,
    after: Option<&Place>,
    limit: usize,
) -> Option<Reading> {
    let path = &mapping.bookkeeping;
    let due_at = format!("{path}.due_at");
    let limit = limit + usize::from(after.is_some());
    let mut conditions = vec![lease_is_free(path, query.now)];
    conditions.extend(of_providers(mapping, &query.providers));
    conditions.extend(extra.cloned());
    if let Some(after) = query.due_after.filter(|_| !query.force) {
        if after.at >= query.due_by || matches!(range, Range::Late | Range::Arrays) {
            return None;
        }
        conditions.extend(due_since(path, after));
    }
    if range == Range::ById {
        if !query.force {
            conditions.push(doc! { "$expr": due_by(path, query.due_by) });
        }
        return Some(Reading { conditions, ..all(mapping, None, after, limit) });
    }
    conditions.push(if range == Range::Arrays { arrays(path) } else { arrays_left_out(path) });
    let mut reading = Reading { projection: projection(mapping), limit: Some(limit), ..Reading::default() };
    let provider = mapping.provider.as_ref().map(FieldPath::as_str);
    let (index, of) = match index {
        None => (None, None),
        Some(DueIndex::Plain(name)) => (Some(name), None),
        Some(DueIndex::ByProvider(name, of)) => (Some(name), provider.zip(Some(of))),
    };
    let with_provider = |rest: Document, value: Bson| {
        let mut whole: Document = of.map(|(path, _)| (path.to_owned(), value)).into_iter().collect();
        whole.extend(rest);
        whole
    };
    let bound = |due: Bson, id: Bson| {
        with_provider(doc! { &due_at: due, "_id": id }, of.map_or(Bson::Null, |(_, name)| name.into()))
    };
    if let Some(index) = index {
        let start = match range {
            Range::Late => Bson::Timestamp(bson::Timestamp { time: 0, increment: 0 }),
            Range::Early | Range::Arrays | Range::ById => {
                query.due_after.map_or(Bson::MinKey, |after| date(after.at))
            }
        };
        let after = after.filter(|_| range != Range::Arrays);
        reading.min = Some(after.map_or_else(
            || bound(start, Bson::MinKey),
            |place| bound(place.due_at.clone(), place.id.clone()),
        ));
        reading.max = match range {
            // The end of the index, or of this provider's part of it.
            Range::Late => of.map(|_| bound(Bson::MaxKey, Bson::MaxKey)),
            Range::Early | Range::Arrays | Range::ById => Some(bound(date(query.due_by), Bson::MaxKey)),
        };
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
        with_provider(doc! { due_at: 1, "_id": 1 }, 1.into())
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
        conditions.push(due_now(mapping, query.due_by));
        conditions
            .extend(query.due_after.into_iter().flat_map(|after| due_since(&mapping.bookkeeping, after)));
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

/// One of the documents that were found to be due, by these conditions and this index; only its `_id`.
pub(super) fn any_of(conditions: Vec<Document>, index: Option<&str>) -> Reading {
    Reading {
        conditions,
        projection: doc! { "_id": 1 },
        hint: index.map(|name| Hint::Name(name.to_owned())),
        limit: Some(1),
        ..Reading::default()
    }
}

/// What is due by now, as a condition that an index serves: all that has no date there, and no date that is to come.
pub(super) fn due_now(mapping: &Mapping, by: Timestamp) -> Document {
    doc! { format!("{}.due_at", mapping.bookkeeping): { "$not": { "$gt": date(by) } } }
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

/// Those of the documents that carry this lease (and, with `until`, already its new end).
pub(super) fn leased(mapping: &Mapping, ids: Vec<Bson>, lease: &str, until: Option<Bson>) -> Reading {
    let mut reading = by_ids(mapping, ids);
    reading.conditions.push(doc! { format!("{}.lease.id", mapping.bookkeeping): lease });
    reading
        .conditions
        .extend(until.map(|until| doc! { format!("{}.lease.until", mapping.bookkeeping): until }));
    reading
}

/// Leads the path to `due_at` through an array, or to one?
fn arrays(bookkeeping: &FieldPath) -> Document {
    let names: Vec<&str> = bookkeeping.segments().chain(["due_at"]).collect();
    let paths = (1..=names.len()).map(|depth| names[..depth].join("."));
    doc! { "$or": paths.map(|path| doc! { path: { "$type": "array" } }).collect::<Vec<_>>() }
}

/// What has a date there, and one after this; of these as [`DueAfter::admits`] says.
fn due_since(bookkeeping: &FieldPath, after: DueAfter) -> [Document; 3] {
    let ours = |name: &str| format!("{bookkeeping}.{name}");
    let only = match after.only {
        Later::PutOff => doc! { ours("last_error"): { "$exists": true } },
        Later::Unexplained { now } => {
            let ends_later = doc! { "$gte": [field_of(bookkeeping, "refresh_expires_at"), field_of(bookkeeping, "due_at")] };
            doc! { "$or": [
                { ours("refreshed_at"): { "$gt": date(now) } },
                { ours("last_error.at"): { "$gt": date(now) } },
                { "$expr": { "$not": [ends_later] } },
            ] }
        }
    };
    [arrays_left_out(bookkeeping), doc! { ours("due_at"): { "$gt": date(after.at) } }, only]
}

fn arrays_left_out(bookkeeping: &FieldPath) -> Document {
    doc! { "$nor": [arrays(bookkeeping)] }
}

pub(super) fn of_providers(mapping: &Mapping, providers: &ProviderFilter) -> Option<Document> {
    let path = mapping.provider.as_ref()?;
    let value = field(path);
    match providers {
        ProviderFilter::Any => None,
        ProviderFilter::Named(name) => {
            let is_exactly = doc! { "$eq": [value, { "$literal": name }] };
            // An expression uses no index. This does, and leaves out no document that meets the expression.
            Some(doc! { path.as_str(): name, "$expr": is_exactly })
        }
        ProviderFilter::NoneOf(names) => {
            let names: Vec<Document> = names.iter().map(|name| doc! { "$literal": name }).collect();
            Some(doc! { "$expr": { "$not": [{ "$in": [value, names] }] } })
        }
    }
}
