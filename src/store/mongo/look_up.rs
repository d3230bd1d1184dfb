//! What a person asks the collection: one subject's documents, strange providers, indexes that delete documents.

use super::expression::{and, field};
use super::prepare::first_batch;
use super::raw::Raw;
use super::reading::Reading;
use super::{MongoStore, READ_TIMEOUT, query};
use crate::store::document::token_id;
use crate::store::{MOST_STRANGE_NAMES, ProviderFilter, StoreError, Strangers, TtlIndex};
use crate::token::{TokenDocument, TokenId};
use bson::{Bson, Decimal128, Document, doc, oid::ObjectId};

/// Documents of which the different provider names are counted: more than a person mends by hand.
const MOST_GROUPED: i64 = 10_000;

impl MongoStore {
    /// See [`crate::store::Store::of_subject`].
    pub(super) async fn find_subject(
        &self,
        subject: &str,
        limit: usize,
    ) -> Result<Vec<TokenDocument>, StoreError> {
        let values = values(subject);
        let paths = self.mapping.subject.iter();
        let any: Vec<Document> = paths
            .flat_map(|path| values.iter().map(move |value| doc! { path.as_str(): { "$eq": value } }))
            .collect();
        let reading = Reading::matching(&self.mapping, vec![doc! { "$or": any }], limit);
        let found = self.find("look for a subject", reading).await?;
        Ok(found.iter().filter_map(|raw| self.decode(raw)).collect())
    }

    /// See [`crate::store::Store::left_out`].
    pub(super) async fn find_left_out(&self, ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError> {
        let Some(filter) = self.filter.clone().filter(|_| !ids.is_empty()) else { return Ok(Vec::new()) };
        let conditions = vec![doc! { "_id": { "$in": self.ids(ids)? } }, doc! { "$nor": [filter] }];
        let reading = Reading::matching(&self.mapping, conditions, ids.len());
        let found = self.find("look for documents outside of the filter", reading).await?;
        Ok(found.iter().filter_map(|raw| Raw(raw).id()).map(token_id).collect())
    }

    /// See [`crate::store::Store::strangers`].
    pub(super) async fn count_strangers(&self, providers: &[String]) -> Result<Strangers, StoreError> {
        let Some(path) = &self.mapping.provider else { return Ok(Strangers::default()) };
        let names = ProviderFilter::NoneOf(providers.to_vec());
        let mut conditions: Vec<Document> = query::of_providers(&self.mapping, &names).into_iter().collect();
        conditions.extend(self.filter.clone());
        let strangers = doc! { "$match": and(conditions) };
        let value = field(path);
        let named = doc! { "$and": [{ "$eq": [{ "$type": &value }, "string"] }, { "$ne": [&value, ""] }] };
        let count = doc! { "$sum": 1_i64 };
        let both = vec![strangers.clone(), doc! { "$group": { "_id": &named, "count": &count } }];
        let mut counted = Strangers::default();
        for group in self.aggregate(both).await? {
            let count = count_of(&group);
            if group.get_bool("_id").unwrap_or_default() {
                counted.other = count;
            } else {
                counted.without = count;
            }
        }
        if counted.other > 0 {
            let by_name = vec![
                strangers,
                doc! { "$match": { "$expr": named } },
                doc! { "$limit": MOST_GROUPED },
                doc! { "$group": { "_id": value, "count": count } },
                doc! { "$sort": { "count": -1, "_id": 1 } },
                doc! { "$limit": i64::try_from(MOST_STRANGE_NAMES).unwrap_or(i64::MAX) },
            ];
            let groups = self.aggregate(by_name).await?;
            let name = |group: &Document| Some((group.get_str("_id").ok()?.to_owned(), count_of(group)));
            counted.names = groups.iter().filter_map(name).collect();
        }
        Ok(counted)
    }

    /// See [`crate::store::Store::ttl_indexes`].
    pub(super) async fn find_ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError> {
        let command = doc! { "listIndexes": &self.namespace.coll };
        let reply = match self.command("list the indexes", READ_TIMEOUT, command).await {
            Ok(reply) => reply,
            // A user who may not list them can still refresh tokens.
            Err(StoreError::Denied { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let indexes = first_batch(&reply).iter().filter_map(Bson::as_document);
        Ok(indexes.filter_map(ttl_index).collect())
    }

    async fn aggregate(&self, pipeline: Vec<Document>) -> Result<Vec<Document>, StoreError> {
        let patience = READ_TIMEOUT * 9 / 10;
        let command = doc! {
            "aggregate": &self.namespace.coll,
            "pipeline": pipeline,
            // At most as many groups as names are told apart: they fit into one batch.
            "cursor": {},
            "maxTimeMS": i64::try_from(patience.as_millis()).unwrap_or(i64::MAX),
        };
        let reply = self.command("count documents of other providers", READ_TIMEOUT, command).await?;
        Ok(first_batch(&reply).iter().filter_map(Bson::as_document).cloned().collect())
    }
}

fn ttl_index(index: &Document) -> Option<TtlIndex> {
    let after_seconds = whole(index.get("expireAfterSeconds")?)?;
    let name = index.get_str("name").ok()?;
    let field = index.get_document("key").ok()?.keys().next()?.clone();
    Some(TtlIndex { name: name.to_owned(), field, after_seconds })
}

/// The values that are shown as this text: itself, a number, an `ObjectId`. MongoDB finds a number of any type by any
/// other of the same value.
fn values(text: &str) -> Vec<Bson> {
    let number = text.parse::<i64>().map(Bson::Int64);
    let fraction = text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Bson::Double);
    let decimal = text.parse::<Decimal128>().map(Bson::Decimal128);
    let object_id = ObjectId::parse_str(text).map(Bson::ObjectId);
    let others = [number.ok(), fraction, decimal.ok(), object_id.ok()];
    std::iter::once(Bson::from(text)).chain(others.into_iter().flatten()).collect()
}

fn count_of(group: &Document) -> u64 {
    group.get("count").and_then(whole).and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "seconds and counts are far below 2^53")]
fn whole(number: &Bson) -> Option<i64> {
    match number {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) if number.is_finite() => Some(number.trunc() as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_as_everything_that_is_shown_so() {
        assert_eq!(values("ann@example.com"), [Bson::from("ann@example.com")]);
        assert!(values("7").contains(&Bson::Int64(7)));
        let id = "507f1f77bcf86cd799439011";
        assert!(values(id).contains(&Bson::ObjectId(ObjectId::parse_str(id).unwrap())));
        assert!(!values("nan").iter().any(|value| matches!(value, Bson::Double(_))));
    }
}
