//! Which providers have something due: one question for all of them, and one more for each that has.
//!
//! The index begins with the provider, so the server jumps from one provider to the next (a distinct scan).

use super::due_index::DueIndexes;
use super::expression::and;
use super::prepare::first_batch;
use super::{MongoStore, READ_TIMEOUT, failure, query};
use crate::store::{DueQuery, ProviderFilter, StoreError, Waiting, Waits, WhoWaits};
use bson::{Bson, Document, doc};
use futures::{StreamExt as _, TryStreamExt as _, stream};

/// What the store is doing, in an error.
const ACTION: &str = "look for what is due";

/// Providers that are asked for at the same time.
const AT_ONCE: usize = 8;

/// What is due by the index alone.
struct SomethingDue {
    /// Of these providers.
    names: Vec<String>,
    /// Documents whose provider field is an array with a name in it.
    arrays: bool,
}

impl MongoStore {
    /// See [`crate::store::Store::waiting`].
    pub(super) async fn find_waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        match self.look_for_waiting(who, &self.due_indexes()).await {
            // The index was dropped since `prepare`: the hint is refused, the scan is not.
            Err(error) if failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_indexes(DueIndexes::default());
                self.look_for_waiting(who, &DueIndexes::default()).await
            }
            found => found,
        }
    }

    async fn look_for_waiting(&self, who: &WhoWaits, indexes: &DueIndexes) -> Result<Waiting, StoreError> {
        let Some(path) = self.mapping.provider.as_ref().filter(|_| !who.providers.is_empty()) else {
            let others = self.waits(who, ProviderFilter::Any, None, indexes.plain.as_deref()).await?;
            return Ok(Waiting { others, ..Waiting::default() });
        };
        let index = indexes.by_provider.as_deref();
        let due = self.with_something_due(who, path.as_str(), index).await?;
        let each = due.names.into_iter().map(|name| async move {
            let waits = self.waits(who, ProviderFilter::Named(name.clone()), None, index).await?;
            Ok::<_, StoreError>(waits.map(|waits| (name, waits)))
        });
        let found: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
        let strangers = || ProviderFilter::NoneOf(who.providers.clone());
        let unnamed = doc! { path.as_str(): { "$nin": &who.providers } };
        let mut others = self.waits(who, strangers(), Some(unnamed), index).await?;
        if due.arrays && others < Some(Waits::Work) {
            // In the index these stand beside the documents of the provider that they hold.
            let named = doc! { path.as_str(): { "$in": &who.providers } };
            others = others.max(self.waits(who, strangers(), Some(named), index).await?);
        }
        Ok(Waiting { providers: found.into_iter().flatten().collect(), others })
    }

    /// What the documents hold which are due by the index alone.
    async fn with_something_due(
        &self,
        who: &WhoWaits,
        path: &str,
        index: Option<&str>,
    ) -> Result<SomethingDue, StoreError> {
        let due = query::due_now(&self.mapping, who.due_by);
        let named = doc! { path: { "$in": &who.providers } };
        let mut command = doc! {
            "aggregate": &self.namespace.coll,
            "pipeline": [
                { "$match": and(vec![named, due]) },
                { "$group": { "_id": format!("${path}") } },
                // An array that holds a name is found, too, and there may be any number of them.
                { "$group": { "_id": { "$cond": [{ "$isArray": "$_id" }, Bson::Null, "$_id"] } } },
            ],
            // All of them in one batch: a name is short.
            "cursor": { "batchSize": i32::try_from(who.providers.len() + 1).unwrap_or(i32::MAX) },
            "maxTimeMS": i64::try_from((READ_TIMEOUT * 9 / 10).as_millis()).unwrap_or(i64::MAX),
        };
        command.extend(index.map(|name| ("hint".to_owned(), Bson::from(name))));
        let reply = self.command(ACTION, READ_TIMEOUT, command).await?;
        let mut due = SomethingDue { names: Vec::new(), arrays: false };
        for group in first_batch(&reply).iter().filter_map(Bson::as_document) {
            match group.get_str("_id") {
                Ok(name) => due.names.push(name.to_owned()),
                Err(_) => due.arrays = true,
            }
        }
        Ok(due)
    }

    /// What waits of these documents; `narrower` is met by all of them that an index may find.
    async fn waits(
        &self,
        who: &WhoWaits,
        providers: ProviderFilter,
        narrower: Option<Document>,
        index: Option<&str>,
    ) -> Result<Option<Waits>, StoreError> {
        let due = query::due_now(&self.mapping, who.due_by);
        let of_these = query::of_providers(&self.mapping, &providers);
        let idle = [Some(due), narrower.clone(), of_these, self.filter.clone()];
        if !self.is_there(idle.into_iter().flatten().collect(), index).await? {
            return Ok(None);
        }
        let asked = DueQuery {
            due_by: who.due_by,
            due_after: None,
            force: false,
            now: who.now,
            limit: 1,
            after: None,
            providers,
        };
        let work = query::due_conditions(&self.mapping, self.filter.as_ref(), &asked);
        let work = [Some(work), narrower].into_iter().flatten().collect();
        Ok(Some(if self.is_there(work, index).await? { Waits::Work } else { Waits::Idle }))
    }

    async fn is_there(&self, conditions: Vec<Document>, index: Option<&str>) -> Result<bool, StoreError> {
        Ok(!self.find(ACTION, query::any_of(conditions, index)).await?.is_empty())
    }
}
