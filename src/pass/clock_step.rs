//! A clock that was ahead: what was written under it falls due far too late, and would not be looked at.

use super::{Pass, PassRequest};
use crate::journal::{JournalError, Moment};
use crate::report::summary::Summary;
use crate::select::CLOCK_TOLERANCE;
use tracing::warn;

impl Pass {
    /// Has an earlier pass seen a clock that was ahead of this one? Then this one looks through the whole collection for
    /// what falls due too late, and so do the next ones until one is through.
    pub(super) async fn clock_was_ahead(&self) -> Result<bool, JournalError> {
        let now = self.clock.now();
        let latest = self.journal.remembered(Moment::LatestPass).await?;
        let ahead = latest.filter(|latest| *latest > now + CLOCK_TOLERANCE);
        if let Some(latest) = ahead {
            warn!(%latest, %now, "the clock was ahead: an earlier pass saw {latest}, and it is {now} now. The whole collection is searched for documents that would fall due too late");
        }
        self.journal.remember(Moment::LatestPass, latest.max(Some(now))).await?;
        Ok(ahead.is_some())
    }

    /// Notes how late it was at the end of a pass; one over the whole collection that met no trouble has made good what
    /// was written under a clock that was ahead.
    pub(super) async fn note_clock(
        &self,
        was_ahead: bool,
        request: &PassRequest,
        summary: &Summary,
    ) -> Result<(), JournalError> {
        let now = self.clock.now();
        let is_limited = request.limit.is_some() || request.provider.is_some() || request.only.is_some();
        let is_whole = summary.troubles.is_empty() && !is_limited;
        // A journal that has failed has told so, and remembers nothing more.
        if self.journal.is_broken() || was_ahead && !is_whole {
            return Ok(());
        }
        let latest = self.journal.remembered(Moment::LatestPass).await?.filter(|_| !was_ahead);
        self.journal.remember(Moment::LatestPass, latest.max(Some(now))).await
    }
}
