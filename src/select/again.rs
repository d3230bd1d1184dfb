//! What falls due while a pass runs. A pass reads what was due when it began, in that order, and that may take days: meanwhile
//! it looks for documents whose wait is over, and lets them go between the others.
//!
//! What falls due for another reason comes after all that was due before it: it is for the next pass.

use super::page::Wanted;
use super::{ClaimTerms, Selected, select};
use crate::clock::Timestamp;
use crate::report::Report;
use crate::store::Position;
use crate::token::TokenDocument;
use chrono::TimeDelta;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a pass gives back unasked is due for the next one: so soon after its own begin.
pub(super) const GIVEN_BACK_WITHIN: TimeDelta = TimeDelta::seconds(1);

/// When a lane looks for what has fallen due since its pass began.
#[derive(Debug, Clone)]
pub struct Again {
    /// Knows which documents the pass has put off.
    pub report: Arc<Report>,
    /// When the pass began to read.
    pub since: Instant,
    /// Time from one look for documents that were put off to the next.
    pub every: Duration,
    /// Time from one look at everything that is due before the place that the pass has come to, to the next: new logins, and
    /// claims of processes that are gone.
    pub from_the_start_every: Duration,
}

/// Documents that one look reads, a page at a time.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// None: from the start.
    pub(super) due_after: Option<Timestamp>,
    pub(super) due_by: Timestamp,
    pub(super) after: Option<Position>,
}

/// How far the looks of one lane have come.
///
/// When it is time for one says the steady clock, what is due says the wall clock. So a step of the wall clock keeps no look
/// from being made, and makes none too many.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// By when what was put off has been looked for.
    until: Option<Timestamp>,
    at: Option<Instant>,
    from_the_start_at: Option<Instant>,
    under_way: Option<Look>,
    /// What they find is due by then.
    pub(super) due_by: Option<Timestamp>,
}

impl Looked {
    /// The look that is under way, or begins now; `began` is when the pass did, and the due time that it has `come_to` tells
    /// where it reads.
    pub(super) fn next(
        &mut self,
        again: &Again,
        began: Timestamp,
        come_to: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Look> {
        let is_time = |since: Option<Instant>, every| since.unwrap_or(again.since).elapsed() >= every;
        if self.under_way.is_none() {
            let first = began + GIVEN_BACK_WITHIN;
            if let Some(due_by) = come_to
                && is_time(self.from_the_start_at, again.from_the_start_every)
            {
                self.from_the_start_at = Some(Instant::now());
                self.under_way = Some(Look { due_after: None, due_by, after: None });
            } else if is_time(self.at, again.every) {
                self.at = Some(Instant::now());
                // What was written while the last look read is found by this one. Under a clock that was set back since then,
                // that look says nothing.
                let overlap = TimeDelta::from_std(again.every).unwrap_or_default();
                let until = self.until.filter(|until| *until <= now).unwrap_or(first);
                let due_after = Some(first.max(until - overlap));
                self.under_way = Some(Look { due_after, due_by: now, after: None });
            }
        }
        self.under_way.clone()
    }

    /// A page of the look was read; it goes on there, or has ended.
    pub(super) fn read(&mut self, look: &Look, next: Option<Position>) {
        self.due_by = self.due_by.max(Some(look.due_by));
        if next.is_none() && look.due_after.is_some() {
            self.until = Some(look.due_by);
        }
        self.under_way = next.map(|after| Look { after: Some(after), ..look.clone() });
    }
}

impl Again {
    /// Is a document that this look has read one for the pass that claims on these terms?
    pub(super) fn wants(&self, look: &Look, document: &TokenDocument, terms: &ClaimTerms) -> bool {
        // Ours has waited for longer than its claim lasts: it is in the lane.
        let is_ours = document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.id == terms.lease_id);
        !is_ours
            // Who was marked before is counted where the pass comes to it, and who is marked by it was: a new access token beside
            // such a token is for the next pass.
            && select(document, false, terms.profile(), Timestamp::MIN_UTC) == Selected::Claim
            && (look.due_after.is_none() || self.report.may_ask_again(document, terms.due_by))
    }
}

/// Puts what a look has found between those that wait, one and one: however much it is, what has been due for longest goes on.
pub(super) fn between(found: Vec<Wanted>, waiting: &mut VecDeque<Wanted>) {
    let mut others = std::mem::take(waiting).into_iter();
    let mut found = found.into_iter();
    loop {
        match (found.next(), others.next()) {
            (None, None) => return,
            (first, second) => waiting.extend(first.into_iter().chain(second)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn again() -> Again {
        let (report, since) = (Arc::new(Report::new()), Instant::now());
        Again { report, since, every: EVERY, from_the_start_every: EVERY * 10 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_skips_no_look_and_repeats_none() {
        let (again, began) = (again(), Timestamp::default());
        let hour = TimeDelta::hours(1);
        let mut looked = Looked::default();
        for (now, due_after) in [
            (began + hour, began + GIVEN_BACK_WITHIN),
            (began + hour + TimeDelta::seconds(10), began + hour - TimeDelta::seconds(10)),
            // Ahead by ten hours, and back.
            (began + hour * 11, began + hour),
            (began + hour * 2, began + GIVEN_BACK_WITHIN),
            (began + hour * 2, began + hour * 2 - TimeDelta::seconds(10)),
            // Before the pass began: nothing is due that the pass has put off.
            (began - hour, began + GIVEN_BACK_WITHIN),
        ] {
            assert!(looked.next(&again, began, None, now).is_none(), "not before its time, at {now}");
            tokio::time::advance(EVERY).await;
            let look = looked.next(&again, began, None, now).expect("it is time");
            assert_eq!((look.due_after, look.due_by), (Some(due_after), now), "at {now}");
            looked.read(&look, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_keeps_no_look_from_the_start_and_makes_none_too_many() {
        let (again, began) = (again(), Timestamp::default());
        let mut looked = Looked::default();
        let mut from_the_start = |now| {
            let look = looked.next(&again, began, Some(began), now)?;
            looked.read(&look, None);
            look.due_after.is_none().then_some(())
        };
        for step in [0, 10, -10] {
            let now = began + TimeDelta::hours(step);
            assert!(from_the_start(now).is_none(), "{step}");
            tokio::time::advance(EVERY * 10).await;
            assert!(from_the_start(now).is_some(), "{step}");
        }
    }
}
