//! What the passes of one provider have done since the process began: counts that only grow.

use super::progress::Progress;
use super::{PassRecord, Report};
use crate::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::grant::answer::Class;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The result of a pass that could not begin; the others are the words of [`Exit`](crate::exit::Exit).
pub const NOT_BEGUN: &str = "not_begun";

/// What the passes of one provider have done since the process began; all of its passes count here.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<Counts>,
    running: Mutex<Option<Runs>>,
    /// Documents that were due when the pass that runs began. They are counted beside it, and may be known before it has begun.
    due: Mutex<Option<u64>>,
}

/// A pass that runs.
#[derive(Debug, Clone)]
struct Runs {
    started_at: Timestamp,
    report: Weak<Report>,
    /// How many documents had ended and how many answers had come when that was last looked at, and since when.
    stood: ((u64, u64), Instant),
}

/// Counts that only grow.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Where documents ended in passes that are over, by the word of the [`Outcome`](super::Outcome). Those that were known to be
    /// marked count in each pass. A pass that runs may still change its mind about a document, and counts when it is over.
    pub outcomes: BTreeMap<String, u64>,
    /// What requests came to: the words of [`Class`].
    pub classes: BTreeMap<&'static str, u64>,
    /// How long requests took.
    pub took: Durations,
    /// Token requests sent once more for a token.
    pub retries: u64,
    /// When a token was granted last.
    pub last_granted_at: Option<Timestamp>,
    /// How the last one ended, of this process or an earlier one.
    pub last: Option<PassRecord>,
    /// When one last came through everything that was due, of this process or an earlier one.
    pub last_complete_at: Option<Timestamp>,
    /// How passes ended: the words of [`Exit`](crate::exit::Exit), and [`NOT_BEGUN`].
    pub results: BTreeMap<String, u64>,
}

/// How long something took, in buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    /// How many took no longer than the bound at the same place, and longer than the one before; the last ones took longer than
    /// any bound.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    /// Upper bounds of the buckets, in seconds: from a quick answer to the longest time that a request may take by default.
    pub const BOUNDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = Self::BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(Self::BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum += took;
    }
}

impl Tally {
    /// What is counted by now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// A request came to this, at this time.
    pub(super) fn heard(&self, class: &Class, took: Duration, at: Timestamp) {
        let mut counts = self.lock();
        *counts.classes.entry(class.word()).or_default() += 1;
        counts.took.add(took);
        if matches!(class, Class::Granted(_)) {
            counts.last_granted_at = counts.last_granted_at.max(Some(at));
        }
    }

    /// A token goes back to wait at the gate.
    pub(super) fn retried(&self) {
        self.lock().retries += 1;
    }

    /// What an earlier process has left behind.
    pub fn recall(&self, last: Option<PassRecord>, complete_at: Option<Timestamp>) {
        let mut counts = self.lock();
        if counts.last.is_none() {
            counts.last = last;
        }
        counts.last_complete_at = counts.last_complete_at.or(complete_at);
    }

    /// A pass begins.
    pub fn pass_begins(&self, started_at: Timestamp, report: &Arc<Report>) {
        let runs = Runs {
            started_at,
            report: Arc::downgrade(report),
            stood: ((0, self.heard_by_now()), Instant::now()),
        };
        *self.runs() = Some(runs);
    }

    /// This number of documents was due when the pass that runs, or is about to, began.
    pub fn due(&self, documents: u64) {
        *self.counted_due() = Some(documents);
    }

    /// How far the pass is that runs, and for how long it has ended no document and heard no answer, as far as that was looked at.
    #[must_use]
    pub fn running(&self) -> Option<(Timestamp, Option<u64>, Progress, Duration)> {
        let heard = self.heard_by_now();
        let mut runs = self.runs();
        let runs = runs.as_mut()?;
        let progress = runs.report.upgrade()?.progress();
        let stands = (progress.done, heard);
        if runs.stood.0 != stands {
            runs.stood = (stands, Instant::now());
        }
        Some((runs.started_at, *self.counted_due(), progress, runs.stood.1.elapsed()))
    }

    /// A pass is over; without a record it could not begin.
    pub fn pass_ended(&self, record: Option<&PassRecord>) {
        *self.runs() = None;
        *self.counted_due() = None;
        let mut counts = self.lock();
        if let Some(record) = record {
            counts.last = Some(record.clone());
            // What a clock that was ahead has left would hide for as long that no pass comes through.
            let earlier = counts.last_complete_at.filter(|at| *at <= record.started_at + CLOCK_TOLERANCE);
            counts.last_complete_at = record.complete.then_some(record.ended_at).or(earlier);
        }
        let result = record.map_or(NOT_BEGUN, |record| &record.result);
        *counts.results.entry(result.to_owned()).or_default() += 1;
        for (outcome, count) in record.into_iter().flat_map(|record| &record.outcomes) {
            *counts.outcomes.entry(outcome.clone()).or_default() += count;
        }
    }

    fn heard_by_now(&self) -> u64 {
        self.lock().classes.values().sum()
    }

    fn runs(&self) -> MutexGuard<'_, Option<Runs>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted_due(&self) -> MutexGuard<'_, Option<u64>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every statement: a panic elsewhere leaves them so.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let tally = Tally::default();
        for millis in [10, 50, 51, 60_000, 60_001] {
            tally.heard(&Class::Transient, Duration::from_millis(millis), Timestamp::default());
        }
        let Counts { took, classes, last_granted_at, .. } = tally.counts();
        assert_eq!(took.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(took.sum, Duration::from_millis(120_112));
        assert_eq!((classes, last_granted_at), ([("transient", 5)].into(), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_stands_still_while_it_ends_no_document_and_hears_no_answer() {
        let (tally, report) = (Tally::default(), Arc::new(Report::default()));
        let stands = || tally.running().map(|(.., lasts)| lasts.as_secs());
        tally.heard(&Class::Transient, Duration::ZERO, Timestamp::default());
        tally.pass_begins(Timestamp::default(), &report);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(stands(), Some(7));
        // One user is asked for again and again: the provider asks to wait.
        tally.heard(&Class::Throttled(None), Duration::ZERO, Timestamp::default());
        assert_eq!(stands(), Some(0));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(stands(), Some(3));
    }

    #[test]
    fn a_complete_pass_under_a_clock_that_was_ahead_is_forgotten_by_the_next_one() {
        let at = |days| Timestamp::default() + chrono::TimeDelta::days(days);
        let ended = |tally: &Tally, day: i64, complete| {
            let record = PassRecord::of(&Report::default(), at(day), at(day), true);
            tally.pass_ended(Some(&PassRecord { complete, ..record }));
            tally.counts().last_complete_at
        };
        let tally = Tally::default();
        assert_eq!(ended(&tally, 1, true), Some(at(1)));
        assert_eq!(ended(&tally, 2, false), Some(at(1)));
        assert_eq!(ended(&tally, 1000, true), Some(at(1000)));
        assert_eq!(ended(&tally, 3, false), None);
        assert_eq!(ended(&tally, 1000, true), Some(at(1000)));
        assert_eq!(ended(&tally, 4, true), Some(at(4)));
    }

    #[test]
    fn what_was_due_is_known_from_the_count_that_was_faster_than_the_pass_until_that_ends() {
        let (tally, report) = (Tally::default(), Arc::new(Report::default()));
        let due = || tally.running().map(|(_, due, ..)| due);
        tally.due(7);
        assert_eq!(due(), None);
        tally.pass_begins(Timestamp::default(), &report);
        assert_eq!(due(), Some(Some(7)));
        tally.due(8);
        assert_eq!(due(), Some(Some(8)));
        tally.pass_ended(None);
        tally.pass_begins(Timestamp::default(), &report);
        assert_eq!(due(), Some(None));
    }
}
