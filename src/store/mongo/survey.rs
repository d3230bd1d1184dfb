//! The survey: range counts over the expiry index alone, without a look into a document.

use super::expiry_index::ExpiryIndex;
use super::expression::and;
use super::raw::Raw;
use super::reading::Reading;
use super::{COUNT_TIMEOUT, MongoStore, READ_TIMEOUT, failure, query};
use crate::clock::Timestamp;
use crate::store::document::date;
use crate::store::{DueQuery, ProviderFilter, StoreError, Waits, WhoWaits};
use crate::survey::{Group, Groups, NextPass, NotMade, SPANS, Survey, SurveyQuery, Surveyed, Tokens, span};
use bson::{Bson, Document, doc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::options::Hint;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mod conditions;

/// What the store is doing, in an error.
const ACTION: &str = "count tokens by state and end";

/// Counts that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Documents up to which each group is counted in the first round; in each further one four times as many.
///
/// A server counts about two million entries of an index in a second. Most collections have one large group, and its number is what
/// the others leave of the whole: it need not be counted.
const FIRST_ROUND: i64 = 50_000;

/// Longest time that one survey takes. It is of no use to a person who waits, and the server has other work.
const LONGEST: Duration = Duration::from_secs(30);

/// The server gave up a count that took too long.
const MAX_TIME_EXPIRED: i32 = 50;

/// What the questions of one survey have in common.
struct Asking<'a> {
    now: Timestamp,
    index: &'a str,
    /// Does no entry of the index say more, or less, than its document? With arrays in these fields it does.
    is_exact: bool,
    began: Instant,
}

/// The documents of one provider, or those that name none.
struct Row {
    name: Option<String>,
    filter: ProviderFilter,
    groups: Groups,
}

/// A survey can't be made, or a call failed.
enum Stopped {
    Failed(StoreError),
    NotMade(NotMade),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        if failure::is_code(&error, MAX_TIME_EXPIRED) {
            return Self::NotMade(NotMade { reason: too_slow(COUNT_TIMEOUT), hint: None });
        }
        Self::Failed(error)
    }
}

fn too_slow(bound: Duration) -> String {
    format!("the store needs more than {} s to count the tokens", bound.as_secs())
}

impl MongoStore {
    /// See [`crate::store::Store::survey`].
    pub(super) async fn make_survey(&self, asked: &SurveyQuery) -> Result<Surveyed, StoreError> {
        let not_made = |reason: String, hint: Option<String>| Surveyed::NotMade(NotMade { reason, hint });
        let index = match self.known_expiry_index().await? {
            ExpiryIndex::Named(index) => index,
            ExpiryIndex::Unknown => {
                return Ok(not_made("there is no expiry index yet; the next pass makes it".to_owned(), None));
            }
            ExpiryIndex::Missing { reason, command } => {
                let hint = format!("ask a person who may create indexes to run in `mongosh`: {command}");
                let reason = format!("the expiry index is missing ({reason})");
                return Ok(not_made(reason, Some(hint)));
            }
        };
        match self.count_all(asked, &index).await {
            Ok(survey) => Ok(Surveyed::Made(Box::new(survey))),
            Err(Stopped::NotMade(why)) => Ok(Surveyed::NotMade(why)),
            // The index was dropped since `prepare`: the hint is refused.
            Err(Stopped::Failed(error)) if failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_expiry_index(ExpiryIndex::Unknown);
                Ok(not_made("the expiry index was dropped; the next pass makes it again".to_owned(), None))
            }
            Err(Stopped::Failed(error)) => Err(error),
        }
    }

    async fn count_all(&self, asked: &SurveyQuery, index: &str) -> Result<Survey, Stopped> {
        let is_exact = !self.has_arrays(index).await?;
        let asking = Asking { now: asked.now, index, is_exact, began: Instant::now() };
        let mut rows = self.rows(asked);
        self.count_groups(&asking, &mut rows).await?;
        let due = self.who_has_something_due(asked).await?;
        let each = rows.into_iter().map(|row| {
            let due = due.as_ref().map(|due| due(&row));
            let next = asked.providers.iter().find(|next| Some(&next.provider) == row.name.as_ref());
            let asking = &asking;
            async move { self.tokens_of(asking, row, next, due).await }
        });
        let found: Vec<_> = stream::iter(each).buffered(AT_ONCE).try_collect().await?;
        let mut survey =
            Survey { made_at: asked.now, took: Duration::ZERO, providers: BTreeMap::new(), others: None };
        for (name, tokens) in found {
            match name {
                Some(name) => drop(survey.providers.insert(name, tokens)),
                None => survey.others = Some(tokens),
            }
        }
        survey.took = asking.began.elapsed();
        Ok(survey)
    }

    fn rows(&self, asked: &SurveyQuery) -> Vec<Row> {
        let row = |name, filter| Row { name, filter, groups: Groups::default() };
        let names = || asked.providers.iter().map(|next| next.provider.clone());
        if self.mapping.provider.is_none() {
            return names().take(1).map(|name| row(Some(name), ProviderFilter::Any)).collect();
        }
        let named = names().map(|name| row(Some(name.clone()), ProviderFilter::Named(name)));
        named.chain([row(None, ProviderFilter::NoneOf(names().collect()))]).collect()
    }

    /// Counts every group; the last one that is large is what the others leave of the collection.
    async fn count_groups(&self, asking: &Asking<'_>, rows: &mut [Row]) -> Result<(), Stopped> {
        let mut open: Vec<_> =
            (0..rows.len()).flat_map(|row| Group::all().map(move |group| (row, group))).collect();
        // What a filter leaves out is in no group, and its number isn't known.
        let whole = if self.filter.is_none() { Some(self.estimate().await?) } else { None };
        let mut limit = whole.map(|_| FIRST_ROUND);
        let mut counted = 0;
        while !open.is_empty() {
            let each = std::mem::take(&mut open).into_iter().map(|(row, group)| {
                let conditions = self.group_conditions(asking, &rows[row].filter, group);
                async move {
                    Ok::<_, Stopped>(((row, group), self.count_entries(asking, conditions, limit).await?))
                }
            });
            let found: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
            for ((row, group), count) in found {
                if limit.is_some_and(|limit| count >= limit.unsigned_abs()) {
                    open.push((row, group));
                } else {
                    rows[row].groups.add(group, count);
                    counted += count;
                }
            }
            if let ([(row, group)], Some(whole), Some(limit)) = (open.as_slice(), whole, limit) {
                rows[*row].groups.add(*group, whole.saturating_sub(counted).max(limit.unsigned_abs()));
                break;
            }
            limit = limit.map(|limit| limit.saturating_mul(4));
        }
        Ok(())
    }

    async fn tokens_of(
        &self,
        asking: &Asking<'_>,
        row: Row,
        next: Option<&NextPass>,
        has_due: Option<bool>,
    ) -> Result<(Option<String>, Tokens), Stopped> {
        let mut tokens = row.groups.tokens();
        if row.groups.ending_by_span(SPANS - 1) > 0 {
            tokens.forecast.first_end_at = self.first_end(asking, &row.filter).await?;
        }
        if let Some(next) = next {
            tokens.forecast.before_next_pass = self.too_late(asking, &row, next).await?;
        }
        tokens.due = has_due.map(|_| 0);
        if has_due == Some(true) {
            let due = due_query(asking.now, row.filter);
            tokens.due = Some(self.count_due_by_index(&due).await?);
            tokens.oldest_due_at = self.oldest_due(&due).await?;
        }
        Ok((row.name, tokens))
    }

    /// Live logins that end before a pass that is to come can refresh them.
    async fn too_late(&self, asking: &Asking<'_>, row: &Row, next: &NextPass) -> Result<u64, Stopped> {
        let mut question = next.too_late();
        loop {
            // Whole spans are counted already.
            let spans = (1..SPANS).take_while(|number| span(*number, asking.now).1 <= question.until);
            let whole = spans.last().unwrap_or_default();
            let from = span(whole, asking.now).1;
            let mut count = row.groups.ending_by_span(whole);
            if question.until > from {
                let conditions = self.ends_between(asking, &row.filter, from, question.until);
                count += self.count_entries(asking, conditions, None).await?;
            }
            if question.is_settled(count) {
                return Ok(count);
            }
        }
    }

    async fn first_end(
        &self,
        asking: &Asking<'_>,
        of: &ProviderFilter,
    ) -> Result<Option<Timestamp>, Stopped> {
        let path = format!("{}.refresh_expires_at", self.mapping.bookkeeping);
        let reading = Reading {
            conditions: self.ends_between(asking, of, asking.now, Timestamp::MAX_UTC),
            projection: doc! { &path: 1, "_id": 0 },
            sort: Some(doc! { &path: 1 }),
            hint: Some(Hint::Name(asking.index.to_owned())),
            limit: Some(1),
            ..Reading::default()
        };
        let found = self.find(ACTION, reading).await?;
        Ok(found.first().and_then(|raw| Raw(raw).bookkeeping(&self.mapping.bookkeeping).refresh_expires_at))
    }

    /// Who has something due, by provider; none without a due index, because that would be a scan.
    async fn who_has_something_due(
        &self,
        asked: &SurveyQuery,
    ) -> Result<Option<impl Fn(&Row) -> bool + use<>>, Stopped> {
        let indexes = self.due_indexes();
        let index = if self.mapping.provider.is_some() { &indexes.by_provider } else { &indexes.plain };
        if index.is_none() {
            return Ok(None);
        }
        let providers = asked.providers.iter().map(|next| next.provider.clone());
        let providers = if self.mapping.provider.is_some() { providers.collect() } else { Vec::new() };
        let who = WhoWaits { due_by: asked.now, now: asked.now, providers };
        let waiting = self.find_waiting(&who).await?;
        let is_mapped = self.mapping.provider.is_some();
        Ok(Some(move |row: &Row| match &row.name {
            Some(name) if is_mapped => waiting.providers.get(name) == Some(&Waits::Work),
            _ => waiting.others == Some(Waits::Work),
        }))
    }

    async fn oldest_due(&self, asked: &DueQuery) -> Result<Option<Timestamp>, Stopped> {
        let due_at = format!("{}.due_at", self.mapping.bookkeeping);
        let mut conditions = vec![
            query::due_conditions(&self.mapping, self.filter.as_ref(), asked),
            doc! { &due_at: { "$gte": date(Timestamp::MIN_UTC) } },
            doc! { "$expr": { "$eq": [{ "$type": format!("${due_at}") }, "date"] } },
        ];
        let indexes = self.due_indexes();
        let index = indexes.hint_for(&asked.providers);
        let mut sort = doc! { &due_at: 1 };
        if let (ProviderFilter::Named(name), Some(path)) = (&asked.providers, &self.mapping.provider) {
            conditions.push(doc! { path.as_str(): name });
            sort = doc! { path.as_str(): 1, &due_at: 1 };
        }
        let reading = Reading {
            conditions,
            projection: doc! { &due_at: 1, "_id": 0 },
            sort: Some(sort),
            hint: index.map(|index| Hint::Name(index.to_owned())),
            limit: Some(1),
            ..Reading::default()
        };
        let found = self.find(ACTION, reading).await?;
        Ok(found.first().and_then(|raw| Raw(raw).bookkeeping(&self.mapping.bookkeeping).due_at))
    }

    /// Are there arrays in the fields of the index? An entry of it then is no document.
    async fn has_arrays(&self, index: &str) -> Result<bool, StoreError> {
        let state = format!("{}.state", self.mapping.bookkeeping);
        let count = doc! { "count": &self.namespace.coll, "query": { state: { "$gte": "" } }, "hint": index };
        let command = doc! { "explain": count, "verbosity": "queryPlanner" };
        match self.command(ACTION, READ_TIMEOUT, command).await {
            Ok(plan) => Ok(says_multikey(&Bson::Document(plan)) != Some(false)),
            // Who can't know takes it that there are.
            Err(error) if failure::is_code(&error, failure::BAD_VALUE) => Err(error),
            Err(StoreError::Denied { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn count_entries(
        &self,
        asking: &Asking<'_>,
        conditions: Vec<Document>,
        limit: Option<i64>,
    ) -> Result<u64, Stopped> {
        if asking.began.elapsed() > LONGEST {
            return Err(Stopped::NotMade(NotMade { reason: too_slow(LONGEST), hint: None }));
        }
        let mut command = doc! {
            "count": &self.namespace.coll,
            "query": and(conditions),
            "hint": asking.index,
            "readConcern": { "level": "majority" },
            "maxTimeMS": i64::try_from(COUNT_TIMEOUT.as_millis()).unwrap_or(i64::MAX),
        };
        command.extend(limit.map(|limit| ("limit".to_owned(), Bson::from(limit))));
        let reply = self.command(ACTION, READ_TIMEOUT, command).await?;
        Ok(match reply.get("n") {
            Some(Bson::Int32(count)) => u64::from(count.unsigned_abs()),
            Some(Bson::Int64(count)) => count.unsigned_abs(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number of documents"
            )]
            Some(Bson::Double(count)) => *count as u64,
            _ => 0,
        })
    }
}

fn due_query(now: Timestamp, providers: ProviderFilter) -> DueQuery {
    DueQuery { due_by: now, due_after: None, force: false, now, limit: 1, after: None, providers }
}

/// What the plan says of its indexes; none where it says nothing.
fn says_multikey(plan: &Bson) -> Option<bool> {
    let inner: Vec<Option<bool>> = match plan {
        Bson::Document(plan) => {
            let own = plan.get_bool("isMultiKey").ok();
            plan.iter().map(|(_, value)| says_multikey(value)).chain([own]).collect()
        }
        Bson::Array(values) => values.iter().map(says_multikey).collect(),
        _ => return None,
    };
    inner.into_iter().flatten().reduce(|one, other| one || other)
}
