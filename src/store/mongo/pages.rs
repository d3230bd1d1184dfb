//! Pages of documents: those that are due, and all of them.

use super::position::{Page, Place, Range};
use super::{MongoStore, failure, query};
use crate::store::{DuePage, DueQuery, Position, StoreError};
use bson::RawDocumentBuf;

impl MongoStore {
    pub(super) async fn read_due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        let limit = query.limit.max(1);
        let start = self.position(query.after.as_ref())?;
        let first = start.as_ref().map_or_else(|| Range::first(query.force), |place| place.range);
        let mut page = Page::new(limit);
        for range in first.rest() {
            let after = start.as_ref().filter(|place| place.range == range);
            // One more than is missing tells whether there is another page.
            let wanted = page.missing() + 1;
            let found = self.find_due(query, range, after, wanted).await?;
            for raw in &found {
                let Some(document) = self.decode(raw) else { continue };
                if after.is_some_and(|place| place.is_at(&document.id)) {
                    continue;
                }
                page.push(document, || Place::of(range, raw, &self.mapping.bookkeeping));
            }
            if found.len() >= wanted + usize::from(after.is_some()) {
                page.cut_short();
            }
            if page.is_full() {
                break;
            }
        }
        Ok(page.finish())
    }

    pub(super) async fn list_page(
        &self,
        after: Option<&Position>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let limit = limit.max(1);
        let start = self.position(after)?;
        let found =
            self.find("list documents", query::all(&self.mapping, None, start.as_ref(), limit + 1)).await?;
        let mut page = Page::new(limit);
        for raw in &found {
            let Some(document) = self.decode(raw) else { continue };
            if !start.as_ref().is_some_and(|place| place.is_at(&document.id)) {
                page.push(document, || Place::of(Range::ById, raw, &self.mapping.bookkeeping));
            }
        }
        if found.len() > limit + usize::from(start.is_some()) {
            page.cut_short();
        }
        Ok(page.finish())
    }

    /// Reads up to `limit` documents of one range, and falls back to a scan when the index has gone.
    async fn find_due(
        &self,
        query: &DueQuery,
        range: Range,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let index = self.due_index.read().ok().and_then(|name| name.clone());
        let plan = |index: Option<&str>| {
            query::due(&self.mapping, self.filter.as_ref(), query, range, index, after, limit)
        };
        let Some(index) = index.filter(|_| !query.force) else {
            return match plan(None) {
                Some(reading) => self.find("read due documents", reading).await,
                None => Ok(Vec::new()),
            };
        };
        let Some(reading) = plan(Some(&index)) else { return Ok(Vec::new()) };
        match self.find("read due documents", reading).await {
            // The index was dropped since `prepare`: the hint is refused, the scan is not.
            Err(error) if failure::is_code(&error, failure::BAD_VALUE) => {
                self.remember_index(None);
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
