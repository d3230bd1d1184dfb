//! How much is due: before a pass for the progress bar, after it for the report.

use super::{Line, Pass, PassRequest};
use crate::clock::Timestamp;
use crate::select::ClaimTerms;
use crate::store::{DueQuery, ProviderFilter};
use std::time::Duration;

/// Longest wait for the count at the end of a pass: a huge collection must not hold the end up.
const COUNT_PATIENCE: Duration = Duration::from_secs(5);

impl Pass {
    /// How many documents a pass would work on now; for the progress bar.
    pub async fn count_due(&self, request: &PassRequest) -> Option<u64> {
        let query = self.due_query(request, self.clock.now());
        let due = self.store.count_due(&query).await.ok()?;
        Some(request.limit.map_or(due, |limit| due.min(limit.get())))
    }

    /// Tells the report how many documents were due when the pass began and were not taken. Without an answer in time
    /// the report says that it isn't known.
    ///
    /// Whatever a pass has written is due later than its own `due_by`, so none of that is counted.
    pub(super) async fn count_untaken(&self, line: &Line, request: &PassRequest) {
        if line.report.is_store_away() {
            return;
        }
        let query = self.due_query(&PassRequest { force: false, ..request.clone() }, line.policy.due_by);
        let store = self.store.clone();
        // A task of its own, because a store's method must run to completion.
        let counting = tokio::spawn(async move { store.count_due(&query).await });
        let counted =
            line.stop.give_up.run_until_cancelled(tokio::time::timeout(COUNT_PATIENCE, counting)).await;
        match counted {
            Some(Ok(Ok(Ok(counted)))) => line.report.untaken(counted),
            Some(Ok(Ok(Err(error)))) => {
                tracing::debug!(error = %crate::failure::error_chain(&error), "what remains due can't be counted");
            }
            Some(Ok(Err(panic))) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
            // Too slow, or not waited for any more.
            Some(Ok(Err(_)) | Err(_)) | None => {}
        }
    }

    fn due_query(&self, request: &PassRequest, due_by: Timestamp) -> DueQuery {
        DueQuery {
            due_by,
            force: request.force,
            now: ClaimTerms::takes_over(self.settings.lease, self.clock.now()),
            limit: 1,
            after: None,
            providers: match &request.provider {
                Some(name) if self.settings.documents_name_provider => ProviderFilter::Named(name.clone()),
                Some(_) | None => ProviderFilter::Any,
            },
        }
    }
}
