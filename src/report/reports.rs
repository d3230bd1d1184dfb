//! The reports of passes that run at the same time, one for each provider, and their sum.

use super::progress::Progress;
use super::summary::Summary;
use super::{MOST_NAMED, Outcome, Report, Tally, Trouble};
use crate::clock::Timestamp;
use crate::provider::learned::Learned;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{Span, error_span};

/// The reports of passes that run at the same time; can be watched meanwhile.
#[derive(Debug, Default)]
pub struct Reports(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    begun: Vec<Part>,
    idle: u64,
}

#[derive(Debug)]
struct Part {
    /// None: what belongs to no provider alone.
    provider: Option<Arc<str>>,
    report: Arc<Report>,
}

impl Reports {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the report of one more pass: of a provider, or of what belongs to none. What it is told counts in `tally` as well.
    pub fn begin(&self, provider: Option<Arc<str>>, tally: Arc<Tally>) -> Arc<Report> {
        let report = Arc::new(Report::counted_in(tally));
        self.lock().begun.push(Part { provider, report: report.clone() });
        report
    }

    /// So many providers have nothing due, and get no pass.
    pub fn idle(&self, providers: u64) {
        self.lock().idle += providers;
    }

    /// The counts of all so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lock().begun.iter().map(|part| part.report.progress()).fold(Progress::default(), Progress::and)
    }

    /// All of them in one, with a part for each provider.
    #[must_use]
    pub fn summary(
        &self,
        collection: &str,
        documents: Option<u64>,
        started_at: Timestamp,
        took: Duration,
    ) -> Summary {
        let nothing = Report::new();
        nothing.untaken(0);
        let mut whole = nothing.summary(collection, documents, started_at, took);
        let parts = self.lock();
        whole.idle_providers = parts.idle;
        for part in &parts.begun {
            let summary = part.report.summary(collection, documents, started_at, took);
            if let Some(provider) = &part.provider {
                let part = ProviderPart::of(&summary, part.report.lives());
                whole.providers.insert(provider.to_string(), part);
            }
            whole.add(summary);
        }
        whole.ending.sort_by(|one, other| (one.ends_at, &one.id).cmp(&(other.ends_at, &other.id)));
        whole.ending.truncate(MOST_NAMED);
        whole
    }

    /// Of each line about these passes together.
    #[must_use]
    pub fn span(&self) -> Span {
        let parts = self.lock();
        let passes: Vec<_> = parts.begun.iter().flat_map(|part| part.report.passes()).collect();
        span_of(&passes, parts.begun.iter().filter_map(|part| part.provider.as_deref()))
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // A list is whole after every statement: a panic elsewhere leaves it so.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fields that each line of a pass has, for a line about passes that run at the same time.
fn span_of<'a>(passes: &[String], providers: impl Iterator<Item = &'a str>) -> Span {
    let listed = |all: String| Some(all).filter(|all| !all.is_empty());
    let providers: Vec<_> = providers.collect();
    error_span!("pass", pass = listed(passes.join(", ")), provider = listed(providers.join(", ")))
}

/// What one provider's pass did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderPart {
    /// Documents that were due; `null` when the store could not count them.
    pub due: Option<u64>,
    /// Of these: taken.
    pub taken: u64,
    /// Of these: not taken, or given back, so that they are due now; `null` when the store could not count them.
    pub remaining_due: Option<u64>,
    /// Users who were known to need a login, and were not asked.
    pub known_needs_login: u64,
    /// Users marked in this pass, and not before.
    pub newly_marked: u64,
    /// Where the documents ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Why documents are still due: class or code, and how many.
    pub still_due_reasons: BTreeMap<String, u64>,
    /// Grants sent, retries among them.
    pub grants: u64,
    /// Answers that asked for a pause.
    pub throttled: u64,
    /// The shortest life of a refresh token that its answers told, where a success extends it.
    pub refresh_token_lives_seconds: Option<u64>,
    /// The shortest life of an access token that its answers told.
    pub access_token_lives_seconds: Option<u64>,
}

impl ProviderPart {
    fn of(summary: &Summary, lives: Learned) -> Self {
        let seconds = |life: Option<Duration>| life.map(|life| life.as_secs());
        Self {
            refresh_token_lives_seconds: seconds(lives.refresh),
            access_token_lives_seconds: seconds(lives.access),
            due: summary.due,
            taken: summary.taken,
            remaining_due: summary.remaining_due,
            known_needs_login: summary.known_needs_login,
            newly_marked: summary.newly_marked,
            outcomes: summary.outcomes.clone(),
            still_due_reasons: summary.still_due_reasons.clone(),
            grants: summary.grants,
            throttled: summary.throttled,
        }
    }
}

impl Summary {
    /// Of each line about these passes.
    #[must_use]
    pub fn span(&self) -> Span {
        span_of(&self.passes, self.providers.keys().map(String::as_str))
    }

    /// Adds what another pass did that ran at the same time.
    fn add(&mut self, other: Self) {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        self.due = sum(self.due, other.due);
        self.remaining_due = sum(self.remaining_due, other.remaining_due);
        self.taken += other.taken;
        self.limited |= other.limited;
        self.known_needs_login += other.known_needs_login;
        self.known_malformed += other.known_malformed;
        self.touched += other.touched;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.newly_marked += other.newly_marked;
        self.newly_lost_in_flight += other.newly_lost_in_flight;
        self.newly_malformed += other.newly_malformed;
        self.gone_while_refused += other.gone_while_refused;
        for (reason, count) in other.still_due_reasons {
            *self.still_due_reasons.entry(reason).or_default() += count;
        }
        self.grants += other.grants;
        self.throttled += other.throttled;
        self.retries += other.retries;
        self.orphans += other.orphans;
        add_named(&mut self.named, other.named);
        add_named(&mut self.lost, other.lost);
        add_named(&mut self.put_off, other.put_off);
        self.put_off_count += other.put_off_count;
        self.put_off_until = self.put_off_until.max(other.put_off_until);
        add_named(&mut self.waits_for, other.waits_for);
        self.left_to_others = self.left_to_others.and(other.left_to_others);
        self.waits_for_count += other.waits_for_count;
        self.waits_for_new += other.waits_for_new;
        self.ending.extend(other.ending);
        self.ending_count += other.ending_count;
        self.warnings.extend(other.warnings);
        add_named(&mut self.live_again, other.live_again);
        self.live_again_count += other.live_again_count;
        self.recovery = self.recovery.and(other.recovery);
        self.passes.extend(other.passes);
        for trouble in other.troubles {
            self.add_trouble(trouble);
        }
    }

    fn add_trouble(&mut self, trouble: Trouble) {
        if let Trouble::Interrupted { given_up: more } = trouble
            && let Some(Trouble::Interrupted { given_up }) =
                self.troubles.iter_mut().find(|known| matches!(known, Trouble::Interrupted { .. }))
        {
            *given_up += more;
        } else if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }
}

/// Memory must not grow with the collection, nor with the providers.
fn add_named<T>(named: &mut Vec<T>, more: Vec<T>) {
    let room = MOST_NAMED.saturating_sub(named.len());
    named.extend(more.into_iter().take(room));
}
