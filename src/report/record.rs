//! How a pass of one provider ended, as the journal remembers it: counts and moments, and no name of a user.

use super::Report;
use super::summary::Summary;
use crate::clock::Timestamp;
use crate::token::{Code, Reason, State, Vocabulary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The reason under which those count that are no word of ours: a provider can put anything into its codes.
pub const PROVIDER_CODE: &str = "provider_code";

/// How a pass of one provider ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassRecord {
    /// Its id, as its log lines have it.
    pub pass: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended: a word of [`Exit`](crate::exit::Exit).
    pub result: String,
    /// Was it through everything that was due, without a trouble? Users who must log in again are none.
    pub complete: bool,
    /// Documents that were due; none when the store could not count them.
    pub due: Option<u64>,
    /// Of these: still due when it ended.
    pub remaining_due: Option<u64>,
    /// Where documents ended, by the word of the [`Outcome`](super::Outcome).
    pub outcomes: BTreeMap<String, u64>,
    /// Documents that it marked, and that were not marked before, by the word of their new state.
    pub newly_marked: BTreeMap<String, u64>,
    /// Why documents are still due: a word of ours, or [`PROVIDER_CODE`].
    pub still_due_reasons: BTreeMap<String, u64>,
    /// Token requests.
    pub grants: u64,
    /// What kept it from its work, a word each.
    pub troubles: Vec<String>,
}

impl PassRecord {
    /// What is to be remembered of the pass that this report tells of; `whole` says that it was about everything due.
    #[must_use]
    pub fn of(report: &Report, started_at: Timestamp, ended_at: Timestamp, whole: bool) -> Self {
        let took = (ended_at - started_at).to_std().unwrap_or_default();
        let summary = report.summary("", None, started_at, took);
        let is_through = summary.troubles.is_empty() && summary.adds_up() && !summary.limited;
        Self {
            pass: summary.passes.first().cloned().unwrap_or_default(),
            started_at,
            ended_at,
            result: summary.exit().word().to_owned(),
            complete: whole && is_through,
            due: summary.due,
            remaining_due: summary.remaining_due,
            newly_marked: newly_marked(&summary),
            still_due_reasons: in_our_words(&summary.still_due_reasons),
            outcomes: summary
                .outcomes
                .iter()
                .map(|(outcome, count)| (outcome.word().to_owned(), *count))
                .collect(),
            grants: summary.grants,
            troubles: summary.troubles.iter().map(|trouble| trouble.word().to_owned()).collect(),
        }
    }
}

fn newly_marked(summary: &Summary) -> BTreeMap<String, u64> {
    let needs_login = summary.newly_marked - summary.newly_lost_in_flight;
    let by_state = [
        (State::NeedsLogin, needs_login),
        (State::LostInFlight, summary.newly_lost_in_flight),
        (State::Malformed, summary.newly_malformed),
    ];
    by_state.map(|(state, count)| (state.word().to_owned(), count)).into()
}

/// The same counts by words of ours alone.
#[must_use]
pub fn in_our_words(reasons: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (reason, count) in reasons {
        let word = our_words().find(|word| word == reason).unwrap_or(PROVIDER_CODE);
        *counts.entry(word.to_owned()).or_default() += count;
    }
    counts
}

/// Every reason for which a document can be still due, but [`PROVIDER_CODE`].
pub fn our_words() -> impl Iterator<Item = &'static str> {
    let reasons = Reason::ALL.iter().map(|reason| reason.word());
    reasons.chain(Code::ALL.iter().map(|code| code.word()))
}
