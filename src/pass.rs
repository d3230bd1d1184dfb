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
mod error;
mod held;
mod insist;
mod landed;
mod lane;
mod left;
mod look;
mod put_off;
mod recover;
mod redeem;
mod release;
mod retry;
mod sink;
mod stop;
mod strangers;

pub use apply::Applied;
pub use apply_error::ApplyError;
pub use retry::Retried;
pub use stop::{Stop, Unanswered};

use crate::chance::Chance;
use crate::clock::Clock;
use crate::failure::error_chain;
use crate::gate::Gate;
use crate::grant::Connect;
use crate::journal::{Begun, EntryId, Event, Journal, JournalError, process_name};
use crate::kill_point::{Point, reach};
use crate::provider::{AskAgain, Provider};
use crate::report::summary::Summary;
use crate::report::{Report, Trouble};
use crate::schedule::RenewAfter;
use crate::select::{ClaimTerms, Claims, Flow, page_limit};
use crate::store::{ProviderFilter, REFUSED_BY_VALIDATOR, Store, StoreError};
use crate::token::{Subject, TokenId};
use crate::verdict::change::DuePolicy;
use sink::Sink;
use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stop::OneUnanswered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
    /// Is a provider field mapped? Then each lane reads its own provider's documents, and strangers are named.
    pub documents_name_provider: bool,
}

/// What this pass is to do.
#[derive(Debug, Clone, Default)]
pub struct PassRequest {
    /// Redeem everything, due or not.
    pub force: bool,
    /// At most so many tokens.
    pub limit: Option<NonZeroU64>,
    /// Only this provider's documents.
    pub provider: Option<String>,
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

/// What the lanes, their tasks and the sink of one pass share.
#[derive(Debug)]
struct Line {
    store: Arc<dyn Store>,
    journal: Journal,
    clock: Clock,
    chance: Chance,
    settings: PassSettings,
    terms: ClaimTerms,
    policy: DuePolicy,
    report: Arc<Report>,
    stop: Stop,
    gates: Vec<(Arc<str>, Arc<Gate>)>,
    /// Tokens that may still be taken, for `--limit`.
    left: AtomicU64,
    /// Documents whose new pair is in the journal and couldn't be written: nothing to redeem in them.
    held: Mutex<HashSet<TokenId>>,
    /// Documents into which nothing can be written: for each reason how many, and one of them.
    no_room: Mutex<BTreeMap<String, (u64, Subject)>>,
    /// Has a document kept our claim, because the store couldn't be told otherwise?
    left_claimed: AtomicBool,
}

impl Line {
    /// Takes the right to one more token of this pass.
    fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// A claim couldn't be given back; the next pass does that, because this one is not noted as finished.
    fn left_claimed(&self) {
        self.left_claimed.store(true, Ordering::Relaxed);
    }

    /// The gate of a provider. One that this pass doesn't ask has none: whose is there says nothing about it.
    fn gate_of(&self, provider: &Provider) -> &Gate {
        let named = self.gates.iter().find(|(name, _)| *name == provider.name);
        &named.or(self.gates.first()).expect("a pass has at least one provider").1
    }

    /// A new pair stays in the journal.
    fn hold(&self, id: &TokenId) {
        self.held().insert(id.clone());
    }

    fn holds(&self, id: &TokenId) -> bool {
        self.held().contains(id)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<TokenId>> {
        // A set of ids is whole after every call: a panic elsewhere leaves none half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing can be written into this document, so its token isn't sent.
    fn no_room(&self, subject: &Subject, reason: &str) {
        let mut no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner);
        no_room.entry(reason.to_owned()).or_insert_with(|| (0, subject.clone())).0 += 1;
    }

    /// Says once for each reason into how many documents nothing can be written.
    fn tell_no_room(&self) {
        for (reason, (documents, example)) in &*self.no_room.lock().unwrap_or_else(PoisonError::into_inner) {
            let hint = if reason == REFUSED_BY_VALIDATOR {
                "the collection's validator refuses `evergrant`, or the field that `documents.bookkeeping` names: allow \
                 that field, or set `documents.bookkeeping`; `evergrant check` tries it"
            } else {
                "make what is in the way a sub-document, or map another field (`documents.…`)"
            };
            warn!(
                documents,
                %example,
                "nothing can be written into {documents} documents, such as that of `{example}`, so their tokens aren't sent: {reason}\nhint: {hint}"
            );
        }
    }

    /// The journal has failed: nothing more may be redeemed, by anybody.
    fn journal_failed(&self, error: &JournalError) {
        tracing::error!(error = %error_chain(error), "the journal can keep no more, so nothing more is redeemed");
        self.report.trouble(Trouble::Journal { message: error_chain(error) });
        self.cannot_keep();
    }

    /// Counts a grant that is sent now; it waits for its answer for as long as the guard lives.
    fn sent(&self) -> OneUnanswered {
        self.report.sent();
        self.stop.unanswered.one()
    }

    /// Ends or changes rows of the journal, in one commit.
    async fn end_rows(&self, rows: Vec<(EntryId, Event)>) -> Result<(), JournalError> {
        if rows.is_empty() {
            return Ok(());
        }
        reach(Point::BeforeEnd);
        self.journal.end(rows, self.clock.now()).await?;
        reach(Point::Ended);
        Ok(())
    }

    fn cannot_keep(&self) {
        self.gates.iter().for_each(|(_, gate)| gate.stop(crate::gate::Stopped::CannotKeep));
    }
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
        let endpoints: Vec<_> = providers
            .iter()
            .map(|provider| self.connect.connect(provider, &self.clock))
            .collect::<Result<_, _>>()?;
        let line = self.line(request, &providers, stop, report.clone(), started_at);
        let gates: Vec<_> = line.gates.iter().map(|(_, gate)| gate.clone()).collect();
        report.watch(&gates);
        let unfinished = self.begin(&line).await?;
        let clock_was_ahead = self.clock_was_ahead().await?;
        reach(Point::PassBegun);
        for (provider, gate) in &line.gates {
            gate.expect(self.journal.history(provider).await?, request.accept_refusals);
        }

        let (landed, sink_queue) = mpsc::channel(SINK_QUEUE);
        let mut sink = Sink::new(line.clone());
        match recover::recover(&line, &mut sink, &self.providers, &unfinished).await {
            // The store went away, and a stop ended the wait for it; the next start does the rest.
            Err(PassError::Store(StoreError::Unavailable { .. })) if stop.take_no_more.is_cancelled() => {
                report.trouble(Trouble::Interrupted { given_up: 0 });
                return Ok(summarized(Some(readiness.documents)));
            }
            recovered => recovered?,
        }
        let (providers, strangers) = match self.journal.standing().await?.shortage {
            None => (providers, self.settings.documents_name_provider && request.provider.is_none()),
            // What was left is written back; nothing is claimed that couldn't be kept.
            Some(shortage) => {
                line.journal_failed(&JournalError::Full(shortage));
                (Vec::new(), false)
            }
        };
        let lanes_ended = CancellationToken::new();
        let sink = tokio::spawn(sink.run(sink_queue, lanes_ended.clone()));

        let lanes = providers.iter().zip(endpoints).enumerate().map(|(index, (provider, endpoint))| {
            let claims = self.claims(&line, provider, self.filter(provider), clock_was_ahead);
            lane::Lane::new(
                line.clone(),
                provider.clone(),
                gates[index].clone(),
                endpoint,
                claims,
                landed.clone(),
            )
            .run()
        });
        let mut lanes: Vec<_> = lanes.map(|lane| tokio::spawn(lane)).collect();
        if strangers {
            let names = self.providers.iter().map(|provider| provider.name.to_string()).collect();
            let strangers = self.claims(&line, &providers[0], ProviderFilter::NoneOf(names), clock_was_ahead);
            lanes.push(tokio::spawn(lane::name_strangers(line.clone(), strangers, landed.clone())));
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
        self.note_gates(&line).await;
        if given_up > 0 || stop.take_no_more.is_cancelled() {
            report.trouble(Trouble::Interrupted { given_up });
        }
        self.stand(&line).await;
        reach(Point::PassEnds);
        if given_up == 0
            && !line.left_claimed.load(Ordering::Relaxed)
            && let Err(error) = self.journal.finish_pass(&line.terms.lease_id).await
        {
            line.journal_failed(&error);
        }
        reach(Point::PassFinished);
        self.name_put_off(&line).await;
        self.count_untaken(&line, request).await;
        let summary = summarized(Some(readiness.documents));
        if let Err(error) = self.note_clock(clock_was_ahead, request, &summary).await {
            line.journal_failed(&error);
            return Ok(summarized(Some(readiness.documents)));
        }
        Ok(summary)
    }

    /// Notes the pass in the journal; returns the lease ids of passes that never finished.
    async fn begin(&self, line: &Line) -> Result<Vec<String>, PassError> {
        let here = line.insist_at_the_start(|| self.store.identity()).await?;
        match self.journal.begin_pass(&line.terms.lease_id, &here).await? {
            Begun::Alone { unfinished } => Ok(unfinished),
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

    fn claims(&self, line: &Line, provider: &Provider, filter: ProviderFilter, all: bool) -> Claims {
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
        let all = all || line.terms.force;
        let terms = ClaimTerms { all, page, punishes_reuse, ..line.terms.clone() };
        Claims::new(self.store.clone(), terms, filter, self.clock.clone(), flow)
    }

    fn line(
        &self,
        request: &PassRequest,
        providers: &[Arc<Provider>],
        stop: &Stop,
        report: Arc<Report>,
        due_by: crate::clock::Timestamp,
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
                all: request.force,
                force: request.force,
                page: 1,
                punishes_reuse: false,
            },
            policy: DuePolicy {
                renew_after: settings.renew_after,
                first_backoff: settings.first_backoff,
                longest_backoff: settings.longest_backoff,
                due_by,
            },
            settings,
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
        })
    }
}
