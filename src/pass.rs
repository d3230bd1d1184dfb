//! One pass over everything of a provider that is due: the only module that knows the whole way.
//!
//! ```text
//! recover ─▶ lane: pull ─▶ gate ─▶ intent ─▶ (a task each: grant ─▶ answer ─▶ read) ─▶ sink: write-back
//! ```
//!
//! Up to the gate tokens are pulled; at the gate a task is spawned for each grant; behind it a bounded channel leads to
//! the one owner of the write-back. Only waiting is raced with the stop signal: a grant that was sent is never cancelled.

mod after;
mod again;
mod apply;
mod apply_error;
mod base;
mod before;
mod claims;
mod ending;
mod error;
mod held;
mod insist;
mod keep_change;
mod landed;
mod lane;
mod learned;
mod left;
mod line;
mod look;
mod put_off;
mod question;
mod received;
mod recover;
mod redeem;
mod release;
mod retry;
mod sink;
mod span;
mod stop;
mod store_time;
mod strangers;
mod todo;
mod void_dates;
mod waits;
mod without_token;

pub use apply::Applied;
pub use apply_error::ApplyError;
pub use base::{Base, Counter, Whose};
pub use recover::Held;
pub use retry::Retried;
pub use stop::Stop;
pub use store_time::{go_by_its_time, wrong_clock};
pub use todo::Todo;

use crate::journal::{Begun, JournalError};
use crate::kill_point::{Point, reach};
use crate::report::{Report, Trouble};
use crate::schedule::{LateAccess, RenewAfter, Wakes};
use crate::select::{Again, ClaimTerms, Claims, Flow, page_limit};
use crate::store::{Identity, ProviderFilter, StoreError};
use crate::token::TokenId;
use line::Line;
use recover::Rows;
use sink::Sink;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use before::must_exist;
pub use error::PassError;
#[cfg(any(test, feature = "testing"))]
pub use landed::rules_met;

/// Outcomes that may wait for the sink. It takes up to [`sink::MAX_BATCH`] in one go; more would only be memory.
const SINK_QUEUE: usize = sink::MAX_BATCH;

/// How often a pass looks for documents that were put off and are due by now: it asks them again before its end, which may be
/// days away. A look that finds nothing is one read of the due index.
pub const LOOKS_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// What stays the same from pass to pass.
#[derive(Debug, Clone)]
pub struct PassSettings {
    /// How long a claim lasts.
    pub lease: Duration,
    /// Share of a refresh token's life after which it is due.
    pub renew_after: RenewAfter,
    /// First wait of a document after a failure; it doubles.
    pub first_backoff: Duration,
    /// Longest wait of a document after a failure.
    pub longest_backoff: Duration,
    /// How often a token is asked for in one pass after throttled or transient answers.
    pub attempts: u32,
    /// How often a pass looks for documents whose wait is over, see [`LOOKS_AGAIN_EVERY`].
    pub looks_again_every: Duration,
    /// The wakes, where a provider's access tokens are kept good.
    pub wakes: Option<Arc<Wakes>>,
    /// Is a provider field mapped? Then each lane reads its own provider's documents, and strangers are named.
    pub documents_name_provider: bool,
    /// The life that a refresh token is taken to have where its life isn't known; without one it is due at each wake.
    pub assumed_life: Option<Duration>,
    /// A login that ends within this time is named in the report.
    pub ending_within: Duration,
}

/// What this pass is to do.
#[derive(Debug, Clone, Default)]
pub struct PassRequest {
    /// Redeem everything, due or not.
    pub force: bool,
    /// Redeem at most this many tokens.
    pub limit: Option<NonZeroU64>,
    /// Only this provider's documents.
    pub provider: Option<String>,
    /// Only this document, due or not, marked or not; for `providers try`.
    pub only: Option<TokenId>,
    /// Believe the provider's refusals, however many they are: a person has looked at them.
    pub accept_refusals: bool,
    /// Ids of journals that are gone for good, as a person says: what waits for them is sent.
    pub take_over: Vec<String>,
}

/// What the passes of one request share.
#[derive(Debug, Clone)]
pub struct Round {
    request: PassRequest,
    stop: Stop,
    /// Documents in the collection.
    documents: u64,
    /// Tokens that may still be taken, for `--limit`.
    left: Arc<AtomicU64>,
    /// What could not be written when all that was left was settled right before; none where that was not just done.
    just_settled: Option<Held>,
}

impl Round {
    /// A round over a collection with this number of documents.
    #[must_use]
    pub fn new(request: PassRequest, stop: Stop, documents: u64) -> Self {
        let left = Arc::new(request.limit.map_or(u64::MAX, NonZeroU64::get).into());
        Self { request, stop, documents, left, just_settled: None }
    }

    /// Is it about everything that is due?
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.request.only.is_none() && self.request.limit.is_none()
    }

    /// All that was left was settled right before, but for this.
    #[must_use]
    pub fn just_settled(mut self, held: Option<Held>) -> Self {
        self.just_settled = held;
        self
    }
}

/// One pass over the documents of a provider, or over those of none.
///
/// What it does is told to `report`, which can be watched meanwhile. **Must run to completion**; stop it with `stop`.
///
/// # Errors
/// [`PassError`] when it couldn't begin. What goes wrong later is in the report.
pub async fn run(base: &Base, whose: Whose, round: &Round, report: Arc<Report>) -> Result<(), PassError> {
    let line = Arc::new(Line::new(base, whose, round, report));
    line.report.of_pass(&line.terms.lease_id);
    let span = line.span();
    walk(base, line, round).instrument(span).await
}

async fn walk(base: &Base, line: Arc<Line>, round: &Round) -> Result<(), PassError> {
    let unfinished = line.begin().await?;
    line.recall_waits().await?;
    reach(Point::PassBegun);
    let mut sink = Sink::new(line.clone());
    if let Some(counter) = line.whose.counter() {
        let provider = &counter.provider;
        let history = base.journal.history(&provider.name).await?;
        counter.recall(base).await?;
        counter.gate.begin_pass(history, round.request.accept_refusals);
        line.report.watch(&counter.gate);
        let recovered = match &round.just_settled {
            Some(held) => {
                line.held().extend(held.0.iter().cloned());
                Ok(())
            }
            None => recover::recover(&line, &mut sink, Rows::Of(provider), &unfinished).await,
        };
        match recovered {
            // The store went away, and a stop ended the wait for it; the next start does the rest.
            Err(PassError::Store(StoreError::Unavailable { .. }))
                if round.stop.take_no_more.is_cancelled() =>
            {
                line.report.trouble(Trouble::Interrupted { given_up: 0 });
                return Ok(());
            }
            recovered => recovered?,
        }
        sink.begin_judging().await;
    }
    if matches!(line.whose, Whose::Strangers) && !unfinished.is_empty() {
        recover::recover(&line, &mut sink, Rows::None, &unfinished).await?;
    }
    line.look_at_claims().await?;
    line.mend_void_dates().await;
    let looks = line.looks(&round.request).await?;
    let has_looked = looks.is_some();
    let given_up = line.refresh(sink, looks).await?;
    line.end(given_up).await;
    if let Err(error) = line.note_looks(has_looked, &round.request).await {
        line.journal_failed(&error);
    }
    Ok(())
}

impl Line {
    /// Runs the lane, and the sink; returns the grants whose answers were given up.
    async fn refresh(self: &Arc<Self>, sink: Sink, looks: Option<LateAccess>) -> Result<u64, PassError> {
        let (landed, sink_queue) = mpsc::channel(SINK_QUEUE);
        let shortage = self.base.journal.standing().await?.shortage;
        let keeps = shortage.is_none();
        // What was left is written back; nothing is claimed that couldn't be kept.
        if let Some(shortage) = shortage {
            self.journal_failed(&JournalError::Full(shortage));
        }
        let lane_ended = CancellationToken::new();
        let sink = tokio::spawn(sink.run(sink_queue, lane_ended.clone()).in_current_span());
        // Nothing is claimed that wouldn't be sent, either.
        let is_open = self.gate().is_none_or(|gate| gate.stopped().is_none());
        let claims = (keeps && is_open).then(|| self.claims(looks));
        let lane = match (&self.whose, claims) {
            (Whose::Provider(counter), Some(claims)) => {
                let lane = lane::Lane::new(self.clone(), counter, claims, landed.clone());
                Some(tokio::spawn(lane.run().in_current_span()))
            }
            (Whose::Strangers, Some(claims)) => {
                let naming = without_token::name_strangers(self.clone(), claims, landed.clone());
                Some(tokio::spawn(naming.in_current_span()))
            }
            (Whose::Rows, _) | (_, None) => None,
        };
        drop(landed);
        let mut given_up = 0;
        if let Some(lane) = lane {
            match lane.await {
                Ok(left_out) => given_up = left_out,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        self.tell_no_room();
        lane_ended.cancel();
        if let Err(panic) = sink.await {
            std::panic::resume_unwind(panic.into_panic());
        }
        Ok(given_up)
    }

    /// Notes how the pass ended, in the journal and in the report.
    async fn end(&self, given_up: u64) {
        self.note_gate().await;
        if given_up > 0 || self.stop.take_no_more.is_cancelled() {
            self.report.trouble(Trouble::Interrupted { given_up });
        }
        self.stand().await;
        reach(Point::PassEnds);
        if given_up == 0 && !self.left_claimed.load(Ordering::Relaxed) {
            let finished = self.base.journal.finish_pass(&self.terms.lease_id, self.base.clock.now()).await;
            if let Err(error) = finished {
                self.journal_failed(&error);
            }
        }
        reach(Point::PassFinished);
        self.name_put_off().await;
        self.note_waits().await;
        self.count_untaken().await;
        self.note_pause();
    }

    /// Notes in the journal that this process works over the store; returns the lease ids of passes that never finished.
    async fn begin_process(&self) -> Result<Vec<String>, PassError> {
        let here = self.insist_at_the_start(|| self.base.store.identity()).await?;
        self.unless_elsewhere(self.base.journal.begin_process(&here).await?, &here)
    }

    /// Notes the pass in the journal; returns the lease ids of this provider's passes that never finished.
    async fn begin(&self) -> Result<Vec<String>, PassError> {
        let here = self.insist_at_the_start(|| self.base.store.identity()).await?;
        let (lease_id, now) = (&self.terms.lease_id, self.base.clock.now());
        let begun = self.base.journal.begin_pass(lease_id, &here, self.whose.name(), now).await?;
        self.unless_elsewhere(begun, &here)
    }

    fn unless_elsewhere(&self, begun: Begun, here: &Identity) -> Result<Vec<String>, PassError> {
        match begun {
            Begun::Alone { unfinished } => {
                // A line begins once.
                let _ = self.earlier.set(unfinished.clone());
                Ok(unfinished)
            }
            Begun::OtherStore(other) => {
                Err(PassError::other_store(self.base.journal.directory(), other, here))
            }
        }
    }

    fn claims(&self, looks_for: Option<LateAccess>) -> Claims {
        let base = &self.base;
        let (filter, flow, page) = match self.whose.counter().map(|counter| &counter.provider) {
            Some(provider) => {
                let filter = base.filter(provider);
                let (rate, concurrency) = (provider.profile.rate, provider.profile.concurrency);
                let page = page_limit(rate, concurrency, base.settings.lease);
                (filter, Flow::new(rate, concurrency), page)
            }
            None => (
                ProviderFilter::NoneOf(base.provider_names()),
                Flow::without_gate(),
                page_limit(None, NonZeroUsize::MIN, base.settings.lease),
            ),
        };
        let most = usize::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let all = looks_for.is_some() || self.terms.all;
        // By force a document would be asked where it stands as well.
        let is_plain = self.gate().is_some() && !self.terms.force && self.terms.only.is_none();
        let again = is_plain.then(|| Again {
            report: self.report.clone(),
            since: Instant::now(),
            every: base.settings.looks_again_every,
            from_the_start_every: base.settings.longest_backoff,
        });
        let terms = ClaimTerms { all, looks_for, page: page.min(most), ..self.terms.clone() };
        Claims::new(base.store.clone(), terms, filter, base.clock.clone(), flow, again)
    }
}
