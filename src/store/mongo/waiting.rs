//! Which providers have something due, one question for all of them and one more for each that has; and how late they fall due.
//!
//! The index begins with the provider, so the server jumps from one provider to the next (a distinct scan).

use super::due_index::DueIndexes;
use super::expression::and;
use super::prepare::first_batch;
use super::{MongoStore, READ_TIMEOUT, failure, query};
use crate::clock::Timestamp;
use crate::store::{DueQuery, ProviderFilter, StoreError, Waiting, Waits, WhoWaits};
use bson::{Bson, Document, doc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::BTreeMap;

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

    /// See [`crate::store::Store::latest_due`]. One entry of the index is read for each provider.
    pub(super) async fn find_latest_due(
        &self,
        providers: &[String],
    ) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        match self.look_for_latest_due(providers).await {
            Err(error) if failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_indexes(DueIndexes::default());
                self.look_for_latest_due(providers).await
            }
            found => found,
        }
    }

    async fn look_for_latest_due(
        &self,
        providers: &[String],
    ) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let indexes = self.due_indexes();
        let (provider, due_at) =
            (self.mapping.provider.as_ref(), format!("{}.due_at", self.mapping.bookkeeping));
        let index = if provider.is_some() { &indexes.by_provider } else { &indexes.plain };
        let Some(index) = index else {
            return Ok(providers.iter().map(|name| (name.clone(), Timestamp::MAX_UTC)).collect());
        };
        let named = provider.map(|path| doc! { "$match": { path.as_str(): { "$in": providers } } });
        let mut order: Document =
            provider.map(|path| (path.to_string(), Bson::Int32(-1))).into_iter().collect();
        order.insert(&due_at, -1);
        let whose = provider.map_or(Bson::Null, |path| format!("${path}").into());
        let last = doc! { "_id": whose, "last": { "$first": format!("${due_at}") } };
        let of_all = provider.is_none().then(|| doc! { "$limit": 1 });
        let stages =
            named.into_iter().chain([doc! { "$sort": order }]).chain(of_all).chain([doc! { "$group": last }]);
        let command = doc! {
            "aggregate": &self.namespace.coll,
            "pipeline": stages.collect::<Vec<_>>(),
            "cursor": { "batchSize": i32::try_from(providers.len() + 1).unwrap_or(i32::MAX) },
            "maxTimeMS": i64::try_from((READ_TIMEOUT * 9 / 10).as_millis()).unwrap_or(i64::MAX),
            "hint": &**index,
        };
        let reply = self.command(ACTION, READ_TIMEOUT, command).await?;
        // An array of names, or of dates, isn't told apart here.
        let is_odd = |group: &Document| matches!(group.get("_id"), Some(Bson::Array(_)));
        let groups = || first_batch(&reply).iter().filter_map(Bson::as_document);
        if groups().any(is_odd) {
            return Ok(providers.iter().map(|name| (name.clone(), Timestamp::MAX_UTC)).collect());
        }
        let mut latest = BTreeMap::new();
        for group in groups() {
            let last = match group.get("last") {
                None | Some(Bson::Null) => continue,
                Some(Bson::DateTime(last)) => {
                    Timestamp::from_timestamp_millis(last.timestamp_millis()).unwrap_or(Timestamp::MAX_UTC)
                }
                Some(_) => Timestamp::MAX_UTC,
            };
            match group.get_str("_id") {
                Ok(name) => drop(latest.insert(name.to_owned(), last)),
                Err(_) => latest.extend(providers.iter().map(|name| (name.clone(), last))),
            }
        }
        Ok(latest)
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
