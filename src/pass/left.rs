//! How much is due: before a pass for the progress bar, after it for the report.

use super::{Base, Line, PassRequest, Whose};
use crate::clock::Timestamp;
use crate::select::ClaimTerms;
use crate::store::{DueQuery, ProviderFilter};
use std::time::Duration;
use tracing::Instrument as _;

/// Longest wait for the count at the end of a pass: a huge collection must not hold the end up.
const COUNT_PATIENCE: Duration = Duration::from_secs(5);

impl Base {
    /// How many documents a pass would work on now; for the progress bar.
    pub async fn count_due(&self, request: &PassRequest) -> Option<u64> {
        let named =
            self.providers.iter().find(|provider| Some(&*provider.name) == request.provider.as_deref());
        let filter = named.map_or(ProviderFilter::Any, |provider| self.filter(provider));
        let query = self.due_query(request.force, self.clock.now(), filter);
        let due = self.store.count_due(&query).await.ok()?;
        Some(request.limit.map_or(due, |limit| due.min(limit.get())))
    }

    /// How many documents of this work are due now; for the progress of its pass.
    pub async fn count_due_of(&self, whose: &Whose) -> Option<u64> {
        let query = self.due_query(false, self.clock.now(), self.filter_of(whose));
        self.store.count_due(&query).await.ok()
    }

    fn filter_of(&self, whose: &Whose) -> ProviderFilter {
        match whose {
            Whose::Provider(counter) => self.filter(&counter.provider),
            Whose::Strangers | Whose::Rows => ProviderFilter::NoneOf(self.provider_names()),
        }
    }

    fn due_query(&self, force: bool, due_by: Timestamp, providers: ProviderFilter) -> DueQuery {
        let now = ClaimTerms::takes_over(self.settings.lease, &self.clock);
        DueQuery { due_by, due_after: None, force, now, limit: 1, after: None, providers }
    }
}

impl Line {
    /// Tells the report how many documents were due when the pass began and were not taken. Without an answer in time
    /// the report says that it isn't known.
    ///
    /// Whatever a pass has written is due later than its own `due_by`, so none of that is counted.
    pub(super) async fn count_untaken(&self) {
        if self.report.is_store_away() {
            return;
        }
        let query = self.base.due_query(false, self.policy.due_by, self.base.filter_of(&self.whose));
        let store = self.base.store.clone();
        // A task of its own, because a store's method must run to completion.
        let counting = tokio::spawn(async move { store.count_due(&query).await }.in_current_span());
        let counted =
            self.stop.give_up.run_until_cancelled(tokio::time::timeout(COUNT_PATIENCE, counting)).await;
        match counted {
            Some(Ok(Ok(Ok(counted)))) => self.report.untaken(counted),
            Some(Ok(Ok(Err(error)))) => {
                tracing::debug!(error = %crate::failure::error_chain(&error), "what remains due can't be counted");
            }
            Some(Ok(Err(panic))) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            // Too slow, or not waited for any more.
            Some(Ok(Err(_)) | Err(_)) | None => {}
        }
    }
}
