//! A clock that was ahead: what was written under it falls due far too late, and would not be looked at.

use super::{Line, PassRequest};
use crate::clock::Timestamp;
use crate::journal::{JournalError, Moment};
use crate::select::CLOCK_TOLERANCE;
use tracing::warn;

impl Line {
    /// Has an earlier pass seen a clock that was ahead of this one? Then the next pass of each provider looks through all
    /// of its documents for what falls due too late, and so do those that follow until one is through.
    pub(super) async fn clock_was_ahead(&self) -> Result<bool, JournalError> {
        let (journal, now) = (&self.base.journal, self.base.clock.now());
        let latest = journal.remembered(Moment::LatestPass).await?;
        if let Some(latest) = latest.filter(|latest| *latest > now + CLOCK_TOLERANCE) {
            warn!(%latest, %now, "the clock was ahead: an earlier pass saw {latest}, and it is {now} now. The whole collection is searched for documents that would fall due too late");
            for provider in &*self.base.providers {
                let moment = Moment::ClockAhead(provider.name.clone());
                let before = journal.remembered(moment.clone()).await?;
                journal.remember(moment, before.max(Some(latest))).await?;
            }
            journal.remember(Moment::LatestPass, Some(now)).await?;
        } else {
            journal.remember(Moment::LatestPass, latest.max(Some(now))).await?;
        }
        Ok(journal.remembered(Moment::ClockAhead(self.whose.name())).await?.is_some())
    }

    /// The latest that any pass may have seen the clock at.
    pub(super) async fn latest_clock(&self) -> Result<Timestamp, JournalError> {
        let journal = &self.base.journal;
        let mut latest = journal.remembered(Moment::LatestPass).await?.unwrap_or_default();
        for provider in &*self.base.providers {
            let ahead = journal.remembered(Moment::ClockAhead(provider.name.clone())).await?;
            latest = latest.max(ahead.unwrap_or_default());
        }
        Ok(latest.max(self.base.clock.now()))
    }

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
            journal.remember(Moment::ClockAhead(self.whose.name()), None).await?;
        }
        let latest = journal.remembered(Moment::LatestPass).await?;
        journal.remember(Moment::LatestPass, latest.max(Some(now))).await
    }
}
