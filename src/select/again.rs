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

/// What a pass gives back unasked is due for the next one: so soon after its own begin.
const GIVEN_BACK_WITHIN: TimeDelta = TimeDelta::seconds(1);

/// When a lane looks for what has fallen due since its pass began.
#[derive(Debug, Clone)]
pub struct Again {
    /// Knows which documents the pass has put off.
    pub report: Arc<Report>,
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
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// By when what was put off has been looked for.
    until: Option<Timestamp>,
    from_the_start_at: Option<Timestamp>,
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
        let is_time =
            |since: Timestamp, every: Duration| (now - since).to_std().is_ok_and(|ago| ago >= every);
        if self.under_way.is_none() {
            let first = began + GIVEN_BACK_WITHIN;
            let until = self.until.unwrap_or(first);
            if let Some(due_by) = come_to
                && is_time(self.from_the_start_at.unwrap_or(began), again.from_the_start_every)
            {
                self.from_the_start_at = Some(now);
                self.under_way = Some(Look { due_after: None, due_by, after: None });
            } else if is_time(until, again.every) {
                // What was written while the last look read is found by this one.
                let overlap = TimeDelta::from_std(again.every).unwrap_or_default();
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
            // Who was marked before is counted where the pass comes to it, and who is marked by it was.
            && select(document, false, terms.profile()) == Selected::Claim
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
