//! A clock that was ahead: what was written under it falls due far too late, and would not be looked at.

use super::{Line, PassRequest};
use crate::journal::{JournalError, Moment};
use crate::select::CLOCK_TOLERANCE;
use tracing::warn;

impl Line {
    /// Has an earlier pass seen a clock that was ahead of this one? Then the next pass of each provider looks through all
    /// of its documents for what falls due too late, and so do those that follow until one is through.
    pub(super) async fn clock_was_ahead(&self) -> Result<bool, JournalError> {
        let (journal, now) = (&self.base.journal, self.base.clock.now());
        let latest = journal.remembered(Moment::LatestPass).await?;
        let mut ahead = journal.remembered(Moment::ClockAhead).await?;
        if let Some(latest) = latest.filter(|latest| *latest > now + CLOCK_TOLERANCE) {
            warn!(%latest, %now, "the clock was ahead: an earlier pass saw {latest}, and it is {now} now. The whole collection is searched for documents that would fall due too late");
            // Another moment each time, so that those who have looked before look again.
            ahead = ahead.map(|before| before + Self::ONE_MORE).max(Some(latest));
            journal.remember(Moment::ClockAhead, ahead).await?;
            journal.remember(Moment::LatestPass, Some(now)).await?;
        } else {
            journal.remember(Moment::LatestPass, latest.max(Some(now))).await?;
        }
        let looked = journal.remembered(Moment::ClockLooked(self.whose.name())).await?;
        Ok(ahead.is_some() && looked != ahead)
    }

    const ONE_MORE: chrono::TimeDelta = chrono::TimeDelta::milliseconds(1);

    /// Notes how late it was at the end of a pass; one over all documents of its provider that met no trouble has made good
    /// what was written under a clock that was ahead.
    pub(super) async fn note_clock(
        &self,
        was_ahead: bool,
        request: &PassRequest,
    ) -> Result<(), JournalError> {
        let (journal, now) = (&self.base.journal, self.base.clock.now());
        // A journal that has failed has told so, and remembers nothing more.
        if journal.is_broken() {
            return Ok(());
        }
        let is_whole = request.limit.is_none() && request.only.is_none() && !self.report.has_trouble();
        if was_ahead && is_whole {
            let ahead = journal.remembered(Moment::ClockAhead).await?;
            journal.remember(Moment::ClockLooked(self.whose.name()), ahead).await?;
        }
        let latest = journal.remembered(Moment::LatestPass).await?;
        journal.remember(Moment::LatestPass, latest.max(Some(now))).await
    }
}
