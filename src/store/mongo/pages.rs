//! Pages of documents: those that are due, and all of them.

use super::due_index::{DueIndex, DueIndexes};
use super::position::{Found, Page, Place, Range};
use super::{MongoStore, failure, query};
use crate::store::{DuePage, DueQuery, Position, ProviderFilter, StoreError};
use bson::RawDocumentBuf;
use tracing::warn;

/// What is paged.
#[derive(Clone, Copy)]
enum What<'a> {
    /// A range of what is due.
    Due(&'a DueQuery, Range),
    /// The whole collection.
    All,
}

impl MongoStore {
    pub(super) async fn read_due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        let limit = query.limit.max(1);
        let start = self.position(query.after.as_ref())?;
        let first = start.as_ref().map_or_else(|| self.first_range(query), |place| place.range);
        let mut page = Page::new(limit);
        for range in first.rest() {
            let after = start.as_ref().filter(|place| place.range == range);
            // One more than is missing tells whether there is another page.
            let found = self.readable(What::Due(query, range), after, page.missing() + 1).await?;
            page.take(found, |raw| Place::of(range, raw, &self.mapping.bookkeeping));
            if page.is_full() {
                break;
            }
        }
        Ok(page.finish())
    }

    /// What belongs to no provider stands all over an index that begins with the provider: it is read in `_id` order, once.
    fn first_range(&self, query: &DueQuery) -> Range {
        let DueIndexes { plain, by_provider } = self.due_indexes();
        let is_scattered = matches!(query.providers, ProviderFilter::NoneOf(_));
        Range::first(query.force || is_scattered && plain.is_none() && by_provider.is_some())
    }

    pub(super) async fn list_page(
        &self,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let limit = limit.max(1);
        let start = self.position(after)?;
        let mut page = Page::new(limit);
        let found = self.readable(What::All, start.as_ref(), limit + 1).await?;
        page.take(found, |raw| Place::of(Range::ById, raw, &self.mapping.bookkeeping));
        Ok(page.finish())
    }

    /// What is found behind `after`, `limit` documents or more, without those whose `_id` can't be read.
    ///
    /// Where nothing else is found, more is asked for: a page must have a document, so that the next one begins behind it.
    async fn readable(
        &self,
        what: What<'_>,
        after: Option<&Place>,
        mut limit: usize,
    ) -> Result<Found, StoreError> {
        loop {
            let found = match what {
                What::Due(query, range) => self.find_due(query, range, after, limit).await?,
                What::All => {
                    self.find("list documents", query::all(&self.mapping, None, after, limit)).await?
                }
            };
            let all = found.len() < limit + usize::from(after.is_some());
            let count = found.len();
            let documents = found.into_iter().filter_map(|raw| Some((self.decode(&raw)?, raw)));
            let mut documents: Vec<_> = documents.collect();
            let unreadable = count - documents.len();
            documents.retain(|(document, _)| !after.is_some_and(|place| place.is_at(&document.id)));
            if all || !documents.is_empty() {
                if unreadable > 0 {
                    let at = &self.at;
                    warn!(
                        documents = unreadable,
                        "{unreadable} documents in {at} have an `_id` that isn't UTF-8: nothing can be done for them"
                    );
                }
                return Ok(Found { documents, all });
            }
            limit *= 2;
        }
    }

    /// Reads up to `limit` documents of one range, and falls back to a scan when the index has gone.
    async fn find_due(
        &self,
        query: &DueQuery,
        range: Range,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let indexes = self.due_indexes();
        let plan = |index: Option<DueIndex<'_>>| {
            query::due(&self.mapping, self.filter.as_ref(), query, range, index, after, limit)
        };
        let Some(index) = indexes.of(&query.providers).filter(|_| !query.force) else {
            return match plan(None) {
                Some(reading) => self.find("read due documents", reading).await,
                None => Ok(Vec::new()),
            };
        };
        let Some(reading) = plan(Some(index)) else { return Ok(Vec::new()) };
        match self.find("read due documents", reading).await {
            // The index was dropped since `prepare`: the hint is refused, the scan is not.
            Err(error) if failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_indexes(DueIndexes::default());
                match plan(None) {
                    Some(reading) => self.find("read due documents", reading).await,
                    None => Ok(Vec::new()),
                }
            }
            found => found,
        }
    }

    fn position(&self, position: Option<&Position>) -> Result<Option<Place>, StoreError> {
        let place = position.map(|position| Place::read(position).ok_or(()));
        place.transpose().map_err(|()| {
            StoreError::Settings(format!(
                "a page position of another store was handed to {}; start over",
                self.at
            ))
        })
    }
}
