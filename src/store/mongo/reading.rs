//! One `find`, as data.

use super::expression::and;
use crate::store::Mapping;
use crate::store::mapping::FieldPath;
use bson::{Bson, Document, doc};
use mongodb::options::{FindOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria};
use std::time::Duration;

/// One `find`.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) conditions: Vec<Document>,
    pub(super) projection: Document,
    pub(super) sort: Option<Document>,
    pub(super) hint: Option<Hint>,
    pub(super) min: Option<Document>,
    pub(super) max: Option<Document>,
    pub(super) limit: Option<usize>,
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

/// Only what we read: a large document costs no memory for the rest of it.
pub(super) fn projection(mapping: &Mapping) -> Document {
    let mut paths: Vec<&FieldPath> = vec![&mapping.refresh_token, &mapping.bookkeeping];
    let single = [&mapping.access_token, &mapping.provider, &mapping.login_ends_at, &mapping.logged_in_at];
    paths.extend(single.into_iter().flatten());
    paths.extend(mapping.variables().map(|(_, path)| path));
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
            access_token: Some(path("oauth.access")),
            subject: vec![path("_id.user"), path("oauth"), path("email"), path("email")],
            ..Mapping::default()
        };
        assert_eq!(projection(&mapping), doc! { "_id": 1, "evergrant": 1, "oauth": 1, "email": 1 });
    }
}
