//! One pass over everything that is due: the only module that knows the whole way.
//!
//! ```text
//! recover ─▶ a lane for each provider: pull ─▶ gate ─▶ intent ─▶ (a task each: grant ─▶ answer ─▶ read) ─▶ sink: write-back
//! ```
//!
//! Up to the gate tokens are pulled; at the gate a task is spawned for each grant; behind it a bounded channel leads to
//! the one owner of the write-back. Only waiting is raced with the stop signal: a grant that was sent is never cancelled.

mod after;
mod apply;
mod apply_error;
mod before;
mod clock_step;
mod ending;
mod error;
mod held;
mod insist;
mod keep_change;
mod landed;
mod lane;
mod left;
mod line;
mod look;
mod put_off;
mod recover;
mod redeem;
mod release;
mod retry;
mod sink;
mod stop;
mod strangers;
mod without_token;

pub use apply::Applied;
pub use apply_error::ApplyError;
pub use retry::Retried;
pub use stop::{Stop, Unanswered};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::gate::Gate;
use crate::grant::{Connect, Wire};
use crate::journal::{Begun, Journal, JournalError, process_name};
use crate::kill_point::{Point, reach};
use crate::provider::{AskAgain, Provider};
use crate::report::summary::Summary;
use crate::report::{Report, Trouble};
use crate::schedule::{RenewAfter, Wakes};
use crate::select::{ClaimTerms, Claims, Flow, LooksFor, page_limit};
use crate::store::{ProviderFilter, Store, StoreError};
use crate::token::TokenId;
use crate::verdict::change::DuePolicy;
use keep_change::Looks;
use line::Line;
use sink::Sink;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use before::must_exist;
pub use error::PassError;
pub use landed::rules_met;

/// Outcomes that may wait for the sink. It takes up to [`sink::MAX_BATCH`] in one go; more would only be memory.
const SINK_QUEUE: usize = sink::MAX_BATCH;

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
    /// The wakes, where a provider's access tokens are kept good.
    pub wakes: Option<Arc<Wakes>>,
    /// Is a provider field mapped? Then each lane reads its own provider's documents, and strangers are named.
    pub documents_name_provider: bool,
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
}

/// Everything that a pass works with.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Where the documents are.
    pub store: Arc<dyn Store>,
    /// Where answers are kept until they are written back.
    pub journal: Journal,
    /// Who is asked; at least one.
    pub providers: Vec<Arc<Provider>>,
    /// Settings.
    pub settings: PassSettings,
    /// The wall clock.
    pub clock: Clock,
    /// How providers are reached.
    pub connect: Arc<dyn Connect>,
    /// Jitter and lease ids.
    pub chance: Chance,
}

/// Where one provider is asked: by which gate, over which wire.
#[derive(Debug)]
struct Counter {
    provider: Arc<Provider>,
    gate: Arc<Gate>,
    wire: Arc<dyn Wire>,
}

impl Pass {
    /// Runs one pass to its end, or to the end that `stop` asks for. `report` can be watched meanwhile.
    ///
    /// **Must run to completion**; stop it with `stop`.
    ///
    /// # Errors
    /// [`PassError`] when it couldn't begin. What goes wrong later is in the summary.
    pub async fn run(
        &self,
        request: &PassRequest,
        stop: &Stop,
        report: Arc<Report>,
    ) -> Result<Summary, PassError> {
        let (started_at, began) = (self.clock.now(), Instant::now());
        let providers = self.chosen(request)?;
        let collection = self.store.describe();
        let summarized = |documents| report.summary(&collection, documents, started_at, began.elapsed());
        let Some(readiness) = self.prepare_unless(stop).await? else {
            report.trouble(Trouble::Interrupted { given_up: 0 });
            return Ok(summarized(None));
        };
        let wires: Vec<_> = providers
            .iter()
            .map(|provider| self.connect.connect(provider, &self.clock))
            .collect::<Result<_, _>>()?;
        let documents = readiness.documents;
        let line = self.line(request, &providers, stop, report.clone(), started_at, documents);
        let counters: Vec<_> = providers
            .into_iter()
            .zip(wires)
            .map(|(provider, wire)| Counter { gate: line.gate_of(&provider).clone(), provider, wire })
            .collect();
        report.watch(&counters.iter().map(|counter| counter.gate.clone()).collect::<Vec<_>>());
        let unfinished = self.begin(&line).await?;
        let clock_was_ahead = self.clock_was_ahead().await?;
        let asked: Vec<_> = counters.iter().map(|counter| counter.provider.clone()).collect();
        reach(Point::PassBegun);
        let mut known = HashMap::new();
        for (provider, gate) in &line.gates {
            // At once, so that they share a commit.
            let (history, keeping) =
                tokio::join!(self.journal.history(provider), self.journal.keeping(provider));
            gate.expect(history?, request.accept_refusals);
            known.insert(provider.clone(), keeping?);
        }
        let looks = self.looks(&line, &asked, request, clock_was_ahead, &known).await?;

        let mut sink = Sink::new(line.clone());
        match recover::recover(&line, &mut sink, &self.providers, &unfinished).await {
            // The store went away, and a stop ended the wait for it; the next start does the rest.
            Err(PassError::Store(StoreError::Unavailable { .. })) if stop.take_no_more.is_cancelled() => {
                report.trouble(Trouble::Interrupted { given_up: 0 });
                return Ok(summarized(Some(readiness.documents)));
            }
            recovered => recovered?,
        }
        let given_up = self.refresh(request, &line, counters, sink, &looks).await?;
        self.end(&line, request, given_up).await;
        let summary = summarized(Some(readiness.documents));
        let noted = match self.note_clock(clock_was_ahead, request, &summary).await {
            Ok(()) => self.note_looks(&line, &looks, request, &summary).await,
            failed => failed,
        };
        if let Err(error) = noted {
            line.journal_failed(&error);
            return Ok(summarized(Some(readiness.documents)));
        }
        Ok(summary)
    }

    /// Runs a lane for each provider, and the sink; returns the grants whose answers were given up.
    async fn refresh(
        &self,
        request: &PassRequest,
        line: &Arc<Line>,
        counters: Vec<Counter>,
        sink: Sink,
        looks: &Looks,
    ) -> Result<u64, PassError> {
        let (landed, sink_queue) = mpsc::channel(SINK_QUEUE);
        let shortage = self.journal.standing().await?.shortage;
        let keeps = shortage.is_none();
        // What was left is written back; nothing is claimed that couldn't be kept.
        if let Some(shortage) = shortage {
            line.journal_failed(&JournalError::Full(shortage));
        }
        let lanes_ended = CancellationToken::new();
        let sink = tokio::spawn(sink.run(sink_queue, lanes_ended.clone()));
        let mut lanes = Vec::new();
        for counter in counters.into_iter().filter(|_| keeps) {
            let provider = &counter.provider;
            let claims = self.claims(line, provider, self.filter(provider), looks.of(provider));
            let lane = lane::Lane::new(line.clone(), counter, claims, landed.clone());
            lanes.push(tokio::spawn(lane.run()));
        }
        let names_strangers = request.provider.is_none() && request.only.is_none();
        if keeps && self.settings.documents_name_provider && names_strangers {
            let names = self.providers.iter().map(|provider| provider.name.to_string()).collect();
            let none = ProviderFilter::NoneOf(names);
            let strangers = self.claims(line, &self.providers[0], none, looks.of_none());
            let naming = without_token::name_strangers(line.clone(), strangers, landed.clone());
            lanes.push(tokio::spawn(naming));
        }
        drop(landed);
        let mut given_up = 0;
        for lane in lanes {
            match lane.await {
                Ok(left_out) => given_up += left_out,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        line.tell_no_room();
        lanes_ended.cancel();
        if let Err(panic) = sink.await {
            std::panic::resume_unwind(panic.into_panic());
        }
        Ok(given_up)
    }

    /// Notes how the pass ended, in the journal and in the report.
    async fn end(&self, line: &Line, request: &PassRequest, given_up: u64) {
        self.note_gates(line).await;
        if given_up > 0 || line.stop.take_no_more.is_cancelled() {
            line.report.trouble(Trouble::Interrupted { given_up });
        }
        self.stand(line).await;
        reach(Point::PassEnds);
        if given_up == 0
            && !line.left_claimed.load(Ordering::Relaxed)
            && let Err(error) = self.journal.finish_pass(&line.terms.lease_id, self.clock.now()).await
        {
            line.journal_failed(&error);
        }
        reach(Point::PassFinished);
        self.name_put_off(line).await;
        self.count_untaken(line, request).await;
    }

    /// Notes the pass in the journal; returns the lease ids of passes that never finished.
    async fn begin(&self, line: &Line) -> Result<Vec<String>, PassError> {
        let here = line.insist_at_the_start(|| self.store.identity()).await?;
        let providers = self.providers.iter().map(|provider| provider.name.clone()).collect();
        match self.journal.begin_pass(&line.terms.lease_id, &here, providers, self.clock.now()).await? {
            Begun::Alone { unfinished } => {
                // A pass begins once.
                let _ = line.earlier.set(unfinished.clone());
                Ok(unfinished)
            }
            Begun::OtherStore(other) => Err(PassError::other_store(self.journal.directory(), other, &here)),
        }
    }

    fn chosen(&self, request: &PassRequest) -> Result<Vec<Arc<Provider>>, PassError> {
        let Some(name) = &request.provider else { return Ok(self.providers.clone()) };
        let chosen: Vec<_> =
            self.providers.iter().filter(|provider| &*provider.name == name).cloned().collect();
        if chosen.is_empty() {
            let names: Vec<_> = self.providers.iter().map(|provider| &*provider.name).collect();
            return Err(PassError::NoSuchProvider(name.clone(), names.join(", ")));
        }
        Ok(chosen)
    }

    fn filter(&self, provider: &Provider) -> ProviderFilter {
        if self.settings.documents_name_provider {
            ProviderFilter::Named(provider.name.to_string())
        } else {
            ProviderFilter::Any
        }
    }

    fn claims(
        &self,
        line: &Line,
        provider: &Arc<Provider>,
        filter: ProviderFilter,
        looks_for: LooksFor,
    ) -> Claims {
        let flow = match &filter {
            ProviderFilter::NoneOf(_) => Flow::without_gate(),
            ProviderFilter::Any | ProviderFilter::Named(_) => {
                Flow::new(provider.profile.rate, provider.profile.concurrency)
            }
        };
        let page = page_limit(provider.profile.rate, provider.profile.concurrency, self.settings.lease);
        let most = usize::try_from(line.left.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let page = page.min(most);
        let punishes_reuse = provider.profile.ask_again == AskAgain::Never;
        let all = looks_for.is_anything() || line.terms.all;
        let owner = Some(provider.clone());
        let terms =
            ClaimTerms { all, looks_for, page, provider: owner, punishes_reuse, ..line.terms.clone() };
        Claims::new(self.store.clone(), terms, filter, self.clock.clone(), flow)
    }

    fn line(
        &self,
        request: &PassRequest,
        providers: &[Arc<Provider>],
        stop: &Stop,
        report: Arc<Report>,
        due_by: crate::clock::Timestamp,
        documents: u64,
    ) -> Arc<Line> {
        let settings = self.settings.clone();
        Arc::new(Line {
            store: self.store.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
            terms: ClaimTerms {
                lease_id: format!("{:032x}", self.chance.unique()),
                owner: process_name(),
                lease: settings.lease,
                due_by,
                all: request.force || request.only.is_some(),
                looks_for: LooksFor::default(),
                only: request.only.clone(),
                force: request.force,
                page: 1,
                provider: None,
                punishes_reuse: false,
            },
            policy: DuePolicy {
                renew_after: settings.renew_after,
                first_backoff: settings.first_backoff,
                longest_backoff: settings.longest_backoff,
                wakes: settings.wakes.clone(),
                documents,
                due_by,
            },
            settings,
            earlier: OnceLock::new(),
            report,
            stop: stop.clone(),
            gates: providers
                .iter()
                .map(|p| (p.name.clone(), Gate::new(p.profile.rate, p.profile.concurrency)))
                .collect(),
            left: AtomicU64::new(request.limit.map_or(u64::MAX, NonZeroU64::get)),
            held: Mutex::default(),
            no_room: Mutex::default(),
            left_claimed: AtomicBool::new(false),
            store_is_away: AtomicBool::new(false),
        })
    }
}
