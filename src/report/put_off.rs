//! Documents that are still due, and when each is due again. A pass that goes on for hours asks them again before it ends, and
//! counts each of them once.

use super::{Inner, MOST_NAMED, OTHER_REASONS, Outcome, PutOff, Report};
use crate::clock::Timestamp;
use crate::token::{State, TokenDocument, TokenId};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Most documents that a pass remembers as put off, so that it can ask them again: a few MiB. Beyond it they wait for the next
/// pass.
///
/// Memory must not grow with the collection.
const MOST_REMEMBERED: usize = 10_000;

/// What is put off, by this pass and by earlier ones.
#[derive(Debug, Default, Clone)]
pub(super) struct PutOffs {
    named: Vec<PutOff>,
    /// Those that are due later, named or not.
    count: u64,
    /// Those that this pass left due at once.
    at_once: u64,
    /// When the last of those that aren't named is due again.
    unnamed_until: Option<Timestamp>,
    /// Documents that this pass left still due.
    left: HashMap<TokenId, Left>,
    /// Were there more of these?
    is_full: bool,
    /// Those of them that nothing but this remembers, and when each is due: their documents say nothing of a request.
    silent: BTreeSet<(Timestamp, TokenId)>,
}

/// How this pass left a document.
#[derive(Debug, Clone)]
struct Left {
    /// The reason under which it is counted.
    code: String,
    /// Is it due at once? Then it is for the next pass.
    at_once: bool,
}

impl PutOffs {
    /// Leaves a document to the next pass that this one hasn't counted.
    pub(super) fn leave_to_the_next_pass(&mut self, put_off: PutOff) {
        self.remember(put_off.id, Left { code: put_off.code, at_once: true });
    }

    fn remember(&mut self, id: TokenId, left: Left) {
        if self.left.len() < MOST_REMEMBERED {
            self.left.insert(id, left);
        } else {
            self.is_full = true;
        }
    }

    fn name(&mut self, put_off: PutOff) {
        self.count += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(put_off);
        } else {
            self.unnamed_until = self.unnamed_until.max(Some(put_off.due_at));
        }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn at_once(&self) -> u64 {
        self.at_once
    }

    pub(super) fn until(&self) -> Option<Timestamp> {
        self.named.iter().map(|put_off| put_off.due_at).max().max(self.unnamed_until)
    }

    pub(super) fn into_named(self) -> Vec<PutOff> {
        self.named
    }
}

impl Inner {
    fn count_no_longer(&mut self, left: &Left) {
        let less = |count: Option<&mut u64>| {
            if let Some(count) = count {
                *count = count.saturating_sub(1);
            }
        };
        less(self.outcomes.get_mut(&Outcome::StillDue));
        let reason = if self.reasons.contains_key(&left.code) { &*left.code } else { OTHER_REASONS };
        less(self.reasons.get_mut(reason));
        less(Some(&mut self.put_offs.count));
    }
}

impl Report {
    /// A document that ended as still due is due again at a moment: it is named, unless that has come `now`.
    pub fn put_off(&self, put_off: PutOff, now: Timestamp) {
        if put_off.due_at <= now {
            return self.leave_at_once(put_off);
        }
        let put_offs = &mut self.lock().put_offs;
        put_offs.remember(put_off.id.clone(), Left { code: put_off.code.clone(), at_once: false });
        put_offs.name(put_off);
    }

    /// The same for one whose document says nothing of a request: without this, the pass would not find it again.
    pub fn put_off_silently(&self, put_off: PutOff, now: Timestamp) {
        let (due_at, id) = (put_off.due_at, put_off.id.clone());
        self.put_off(put_off, now);
        let put_offs = &mut self.lock().put_offs;
        if due_at > now && put_offs.left.contains_key(&id) {
            put_offs.silent.insert((due_at, id));
        }
    }

    /// A document that ended as still due is due at once: it is for the next pass.
    pub(super) fn leave_at_once(&self, put_off: PutOff) {
        let put_offs = &mut self.lock().put_offs;
        put_offs.at_once += 1;
        put_offs.unnamed_until = put_offs.unnamed_until.max(Some(put_off.due_at));
        put_offs.leave_to_the_next_pass(put_off);
    }

    /// Documents that were put off silently and are due by then, soonest first, at most `limit`.
    #[must_use]
    pub fn silent(&self, due_by: Timestamp, limit: usize) -> Vec<TokenId> {
        let put_offs = &self.lock().put_offs;
        let due = put_offs.silent.iter().take_while(|(due_at, _)| *due_at <= due_by);
        due.take(limit).map(|(_, id)| id.clone()).collect()
    }

    /// These were looked at: each is looked at once for each time that it was put off.
    pub fn looked_at(&self, ids: &[TokenId]) {
        let ids: HashSet<_> = ids.iter().collect();
        self.lock().put_offs.silent.retain(|(_, id)| !ids.contains(id));
    }

    /// A user whom an earlier pass put off still waits.
    pub fn put_off_before(&self, put_off: PutOff) {
        self.lock().put_offs.name(put_off);
    }

    /// The documents of those who are put off, as far as they are named.
    #[must_use]
    pub fn put_off_ids(&self) -> Vec<TokenId> {
        self.lock().put_offs.named.iter().map(|put_off| put_off.id.clone()).collect()
    }

    /// May the pass, which `began` then, ask this document before its end? It was put off, by this pass or before it, and
    /// wasn't left due at once. The caller knows that it is due.
    #[must_use]
    pub fn may_ask_again(&self, document: &TokenDocument, began: Timestamp) -> bool {
        let put_offs = &self.lock().put_offs;
        if let Some(left) = put_offs.left.get(&document.id) {
            return !left.at_once;
        }
        // What another process puts off meanwhile is that one's to ask, and what isn't remembered the next pass'.
        let books = &document.bookkeeping;
        let is_earlier = books.last_error.as_ref().is_some_and(|error| error.at < began);
        !put_offs.is_full && books.state == State::Live && is_earlier
    }

    /// The pass works again on a document that it had put off: it is counted as it ends then. False where it hadn't.
    pub fn asks_again(&self, id: &TokenId) -> bool {
        let mut inner = self.lock();
        if inner.put_offs.left.get(id).is_none_or(|left| left.at_once) {
            return false;
        }
        let Some(left) = inner.put_offs.left.remove(id) else { return false };
        inner.count_no_longer(&left);
        inner.put_offs.named.retain(|put_off| !put_off.new || put_off.id != *id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::Summary;
    use crate::token::{Bookkeeping, Facts, LastError, RefreshToken, Subject};
    use chrono::TimeDelta;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn put_off(number: usize, minutes: i64) -> PutOff {
        PutOff {
            id: TokenId::from_extended_json(number.to_string()),
            subject: Subject::new("a"),
            provider: None,
            code: "slow_down".into(),
            due_at: NOW + TimeDelta::minutes(minutes),
            new: true,
        }
    }

    fn leave(report: &Report, put_off: PutOff) {
        report.touched();
        report.ended(Outcome::StillDue, Some(&put_off.code));
        report.put_off(put_off, NOW);
    }

    fn summary(report: &Report) -> Summary {
        report.untaken(0);
        report.summary("c", Some(1), NOW, Duration::ZERO)
    }

    #[test]
    fn a_document_that_is_asked_again_counts_once_as_it_ends_then() {
        let report = Report::new();
        leave(&report, put_off(1, 15));
        leave(&report, put_off(2, 30));
        for end in [Outcome::StillDue, Outcome::Refreshed] {
            assert!(report.asks_again(&put_off(2, 0).id), "{end:?}");
            assert!(!report.asks_again(&put_off(2, 0).id), "once for each time that it was put off");
            report.ended(end, (end == Outcome::StillDue).then_some("slow_down"));
            if end == Outcome::StillDue {
                report.put_off(put_off(2, 90), NOW);
                assert_eq!(summary(&report).put_off_until, Some(put_off(2, 90).due_at));
            }
        }
        let summary = summary(&report);
        assert!(summary.adds_up(), "{summary:?}");
        assert_eq!((summary.due, summary.taken, summary.remaining_due), (Some(2), 2, Some(0)));
        assert_eq!((summary.count(Outcome::Refreshed), summary.count(Outcome::StillDue)), (1, 1));
        assert_eq!(summary.still_due_reasons, [("slow_down".to_owned(), 1)].into());
        assert_eq!((summary.put_off, summary.put_off_count), (vec![put_off(1, 15)], 1));
        assert_eq!(summary.put_off_until, Some(put_off(1, 15).due_at));
    }

    #[test]
    fn what_was_put_off_silently_is_handed_out_once_when_its_wait_is_over() {
        let report = Report::new();
        for (number, minutes) in [(1, 15), (2, 30), (3, 0), (4, 15)] {
            report.put_off_silently(put_off(number, minutes), NOW);
        }
        leave(&report, put_off(5, 15));
        let id = |number| put_off(number, 0).id;
        let due = |minutes, limit| report.silent(NOW + TimeDelta::minutes(minutes), limit);
        assert_eq!(due(14, 9), [], "it waits, and the third is the next pass'");
        assert_eq!((due(15, 9), due(15, 1)), (vec![id(1), id(4)], vec![id(1)]));
        report.looked_at(&[id(1), id(4)]);
        assert_eq!((due(15, 9), due(30, 9)), (vec![], vec![id(2)]));
        report.put_off_silently(put_off(1, 45), NOW);
        assert_eq!(due(45, 9), [id(2), id(1)], "put off anew");
    }

    #[test]
    fn a_reason_that_no_document_has_any_more_is_not_named() {
        let report = Report::new();
        leave(&report, put_off(1, 15));
        assert!(report.asks_again(&put_off(1, 0).id));
        report.ended(Outcome::Refreshed, None);
        assert_eq!(summary(&report).still_due_reasons, [].into());
    }

    #[test]
    fn what_was_left_due_at_once_or_is_not_remembered_is_for_the_next_pass() {
        let document = |number: usize, state, error_at| TokenDocument {
            id: put_off(number, 0).id,
            subject: Subject::new("a"),
            provider: None,
            refresh_token: Ok(RefreshToken::new("t".into())),
            access_token: None,
            facts: Facts::default(),
            bookkeeping: Bookkeeping {
                state,
                last_error: Some(LastError {
                    class: "c".into(),
                    code: "c".into(),
                    http_status: None,
                    at: error_at,
                    lost: None,
                }),
                ..Bookkeeping::default()
            },
        };
        let (before, after) = (NOW - TimeDelta::minutes(1), NOW + TimeDelta::minutes(1));
        let report = Report::new();
        leave(&report, put_off(1, 15));
        leave(&report, put_off(2, 0));
        let may = |number, state, at| report.may_ask_again(&document(number, state, at), NOW);
        assert!(may(1, State::Live, after), "this pass put it off");
        assert!(!may(2, State::Live, before) && !report.asks_again(&put_off(2, 0).id), "due at once");
        assert!(may(3, State::Live, before), "an earlier pass put it off");
        assert!(!may(3, State::NeedsLogin, before));
        assert!(!may(3, State::Live, after), "another process put it off");
        for number in 4..MOST_REMEMBERED + 4 {
            leave(&report, put_off(number, 15));
        }
        assert!(may(1, State::Live, after));
        assert!(!may(MOST_REMEMBERED + 3, State::Live, before), "it can't tell any more what it counted");
        assert_eq!(summary(&report).put_off_count, MOST_REMEMBERED as u64 + 1);
    }
}
