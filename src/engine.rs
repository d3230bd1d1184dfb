//! What lives as long as the process: store and journal, and the counters at which providers are asked.
//!
//! A pass, a command of a person and a loop of passes go through it. What earlier processes left is settled once, before
//! the first grant; after that each provider has at most one pass at a time, and passes of several providers run at the same
//! time.

mod survey;
mod watched;

use crate::failure::error_chain;
use crate::grant::Connect;
use crate::journal::EndedPass;
use crate::pass::{self, Base, Counter, Held, PassError, PassRequest, Round, Stop, Todo, Whose, wrong_clock};
use crate::provider::Provider;
use crate::report::summary::Summary;
use crate::report::{PassRecord, Report, Reports, Tally, Trouble};
use crate::schedule::{Schedule, TooShort};
use crate::store::{Readiness, StoreError};
use crate::watch::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug};
use watched::Shown;

pub use watched::Places;

/// What lives as long as the process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    /// What all passes work with.
    pub base: Base,
    counters: Arc<[Arc<Counter>]>,
    /// Was it settled what earlier processes left?
    opened: Arc<Mutex<bool>>,
    strangers_at_work: Arc<Mutex<()>>,
    /// What passes over documents of no configured provider have done.
    others: Arc<Tally>,
    shown: Arc<Shown>,
}

impl Engine {
    /// Puts it together; asks neither store nor provider yet.
    ///
    /// # Errors
    /// [`PassError`] when there can be no HTTPS client.
    pub fn new(base: Base, connect: &dyn Connect) -> Result<Self, PassError> {
        let open =
            |provider: &Arc<Provider>| Counter::open(provider.clone(), connect, &base.clock).map(Arc::new);
        let counters =
            base.providers.iter().map(open).collect::<Result<_, crate::grant::http::ClientError>>()?;
        let shown = Arc::new(Shown::new(base.clock.now()));
        let (opened, strangers_at_work, others) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { base, counters, opened, strangers_at_work, others, shown })
    }

    /// Settles what earlier processes left, if that wasn't done yet: pairs go into their documents or are parked, claims are
    /// given back. Nothing is redeemed.
    ///
    /// **Must run to completion**; killed midway, the next start does the rest.
    ///
    /// # Errors
    /// [`PassError`] when store or journal aren't ready; the next call tries again.
    pub async fn open(&self, stop: &Stop, reports: &Reports) -> Result<Opened, PassError> {
        let mut opened = self.opened.lock().await;
        if *opened {
            return Ok(Opened::Before);
        }
        let report = reports.begin(None, Arc::default());
        let held = match self.base.recover(stop, report.clone()).await {
            Err(PassError::Store(StoreError::Unavailable { .. })) if stop.take_no_more.is_cancelled() => {
                report.trouble(Trouble::Interrupted { given_up: 0 });
                return Ok(Opened::Stopped);
            }
            recovered => recovered?,
        };
        // What was left is not what is due.
        report.untaken(0);
        *opened = true;
        // What the store refused is tried again by each pass, before it sends anything.
        Ok(if report.is_store_away() { Opened::InPart } else { Opened::Now(held) })
    }

    /// Who has something to do, of all.
    ///
    /// # Errors
    /// [`PassError`] when store or journal can't be asked.
    pub async fn todo(&self) -> Result<Todo, PassError> {
        self.base.todo(&self.all_work()).await
    }

    /// The providers whose answers told lives that are too short for this schedule.
    ///
    /// # Errors
    /// [`PassError`] when the journal can't be read.
    pub async fn too_short(&self, schedule: &Schedule) -> Result<Vec<(Arc<str>, TooShort)>, PassError> {
        let mut found = Vec::new();
        for counter in &*self.counters {
            counter.recall(&self.base).await?;
            let why = counter.too_short(&self.base, schedule);
            found.extend(why.map(|why| (counter.provider.name.clone(), why)));
        }
        Ok(found)
    }

    /// Keeps the work that has something to do, and counts the providers that have nothing.
    ///
    /// A provider whose users wait for a later try is not left out: each report names them.
    async fn pick(&self, work: &mut Vec<Whose>, reports: &Reports) -> Result<(), PassError> {
        let todo = match self.todo().await {
            Ok(todo) => todo,
            // The passes wait for the store, and tell of it.
            Err(PassError::Store(StoreError::Unavailable { .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (mut picked, mut idle) = (Vec::new(), 0);
        for whose in work.drain(..) {
            let left = whose.counter().is_some_and(|counter| counter.left_something.load(Ordering::Relaxed));
            if left
                || todo.of(&whose).is_some()
                || !self.base.journal.put_off(&whose.name()).await?.is_empty()
            {
                picked.push(whose);
            } else {
                idle += u64::from(whose.counter().is_some());
            }
        }
        *work = picked;
        reports.idle(idle);
        Ok(())
    }

    /// Runs one pass of each provider that has something due, or of the one that is asked for, at the same time, to their ends
    /// or to the end that `stop` asks for. `reports` can be watched meanwhile; providers without a pass are counted there.
    ///
    /// **Must run to completion**; stop it with `stop`.
    ///
    /// # Errors
    /// [`PassError`] when no pass could begin. What goes wrong later is in the summary.
    pub async fn run(
        &self,
        request: &PassRequest,
        stop: &Stop,
        reports: Arc<Reports>,
    ) -> Result<Summary, PassError> {
        let work = self.work(request)?;
        let picks = work.len() > 1 && !request.force;
        self.run_or_pick(work, picks, request, stop, reports).await
    }

    /// Prepares the store, and asks what would keep a pass from beginning: see [`Base::ready`]. From then on surveys can be made.
    ///
    /// # Errors
    /// [`PassError`]. Nothing is claimed or redeemed by then.
    pub async fn ready(&self, stop: &Stop, allow_empty: bool) -> Result<Option<Readiness>, PassError> {
        let readiness = self.base.ready(stop, allow_empty).await?;
        if let Some(readiness) = &readiness {
            self.shown.prepared(readiness);
        }
        Ok(readiness)
    }

    /// The same for this work, which is of [`Engine::all_work`], whether anything of it is due or not.
    ///
    /// # Errors
    /// [`PassError`] when no pass could begin. What goes wrong later is in the summary.
    pub async fn run_over(
        &self,
        work: Vec<Whose>,
        request: &PassRequest,
        stop: &Stop,
        reports: Arc<Reports>,
    ) -> Result<Summary, PassError> {
        self.run_or_pick(work, false, request, stop, reports).await
    }

    async fn run_or_pick(
        &self,
        mut work: Vec<Whose>,
        picks: bool,
        request: &PassRequest,
        stop: &Stop,
        reports: Arc<Reports>,
    ) -> Result<Summary, PassError> {
        let (started_at, began) = (self.base.clock.now(), Instant::now());
        let collection = self.base.store.describe();
        let summarized = |documents| reports.summary(&collection, documents, started_at, began.elapsed());
        let Some(readiness) = self.base.prepare_unless(stop).await? else {
            reports.begin(None, Arc::default()).trouble(Trouble::Interrupted { given_up: 0 });
            return Ok(summarized(None));
        };
        self.shown.prepared(&readiness);
        let documents = readiness.documents;
        let just_settled = match self.open(stop, &reports).await? {
            Opened::Stopped => return Ok(summarized(Some(documents))),
            Opened::Now(held) => Some(held),
            Opened::Before => None,
            Opened::InPart => {
                self.counters
                    .iter()
                    .for_each(|counter| counter.left_something.store(true, Ordering::Relaxed));
                None
            }
        };
        if picks {
            self.pick(&mut work, &reports).await?;
        }
        let round = Round::new(request.clone(), stop.clone(), documents).just_settled(just_settled);
        let ended = CancellationToken::new();
        // Also where this isn't run to its end.
        let _ends = ended.clone().drop_guard();
        let time = tokio::spawn(self.base.clone().keep_time(ended.clone()).in_current_span());
        let passes = self.passes(work, &round, &reports).await;
        ended.cancel();
        if let Err(panic) = time.await {
            std::panic::resume_unwind(panic.into_panic());
        }
        passes?;
        let mut summary = self.with_parked(summarized(Some(documents))).await;
        summary.warnings.extend(wrong_clock(&self.base.clock, &collection));
        Ok(summary)
    }

    /// Settles what earlier processes left, as [`Engine::open`], and says what came of it.
    ///
    /// # Errors
    /// [`PassError`] when store or journal aren't ready.
    pub async fn recover(&self) -> Result<Summary, PassError> {
        let (started_at, began) = (self.base.clock.now(), Instant::now());
        let (stop, reports) = (Stop::default(), Reports::new());
        let documents = self.base.prepare_unless(&stop).await?.map(|readiness| readiness.documents);
        self.open(&stop, &reports).await?;
        let summary = reports.summary(&self.base.store.describe(), documents, started_at, began.elapsed());
        Ok(self.with_parked(summary).await)
    }

    /// With all that is parked in the journal by now.
    async fn with_parked(&self, summary: Summary) -> Summary {
        // A journal that has failed has told so.
        match self.base.journal.standing().await {
            Ok(standing) => Summary { parked: standing.parked, ..summary },
            Err(_) => summary,
        }
    }

    /// Gives everything up; waits until the journal is closed and its lock is free, if this was the last handle.
    pub async fn close(self) {
        let journal = self.base.journal.clone();
        drop(self);
        journal.close().await;
    }

    /// All that passes work on: the documents of each provider, and those of providers that aren't configured, where documents
    /// name their provider.
    #[must_use]
    pub fn all_work(&self) -> Vec<Whose> {
        let providers = self.counters.iter().cloned().map(Whose::Provider);
        let strangers = self.base.settings.documents_name_provider.then_some(Whose::Strangers);
        providers.chain(strangers).collect()
    }

    /// Whose documents this request is about.
    fn work(&self, request: &PassRequest) -> Result<Vec<Whose>, PassError> {
        let is_asked_for = |whose: &Whose| match (whose, &request.provider) {
            (Whose::Provider(counter), Some(name)) => *counter.provider.name == **name,
            (Whose::Provider(_), None) => true,
            (Whose::Strangers | Whose::Rows, name) => name.is_none() && request.only.is_none(),
        };
        let mut work = self.all_work();
        work.retain(is_asked_for);
        if let (true, Some(name)) = (work.is_empty(), &request.provider) {
            let names: Vec<_> = self.base.providers.iter().map(|provider| &*provider.name).collect();
            return Err(PassError::NoSuchProvider(name.clone(), names.join(", ")));
        }
        Ok(work)
    }

    async fn passes(&self, work: Vec<Whose>, round: &Round, reports: &Reports) -> Result<(), PassError> {
        let all = work.len();
        let mut passes = Vec::with_capacity(all);
        for whose in work {
            let provider = whose.counter().map(|counter| counter.provider.name.clone());
            let report = reports.begin(provider, self.tally(&whose));
            let (engine, round, told) = (self.clone(), round.clone(), report.clone());
            passes.push((report, tokio::spawn(async move { engine.pass(whose, &round, told).await })));
        }
        let mut failed = Vec::new();
        for (report, pass) in passes {
            match pass.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push((report, error)),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        if failed.len() == all
            && let Some((_, error)) = failed.pop()
        {
            return Err(error);
        }
        for (report, error) in failed {
            report.trouble(trouble_of(&error));
        }
        Ok(())
    }

    async fn pass(&self, whose: Whose, round: &Round, report: Arc<Report>) -> Result<(), PassError> {
        let at_work = match whose.counter() {
            Some(counter) => counter.at_work.lock().await,
            None => self.strangers_at_work.lock().await,
        };
        let started_at = self.base.clock.now();
        let provider = whose
            .counter()
            .map_or_else(|| crate::watch::OTHER.into(), |counter| counter.provider.name.clone());
        self.tally(&whose).pass_begins(started_at, &report);
        self.shown.happened(Event::Begun { provider: provider.clone(), started_at });
        let ended = pass::run(&self.base, whose.clone(), round, report.clone()).await;
        if let Some(counter) = whose.counter() {
            counter.left_something.store(ended.is_err() || !report.is_through(), Ordering::Relaxed);
        }
        let record = ended
            .is_ok()
            .then(|| PassRecord::of(&report, started_at, self.base.clock.now(), round.is_whole()));
        self.tally(&whose).pass_ended(record.as_ref());
        if let Some(record) = &record {
            self.remember(&whose, record).await;
        }
        self.shown.happened(Event::Ended { provider, started_at, record: record.map(Arc::new) });
        drop(at_work);
        ended
    }

    /// Where what the passes over this work do is counted.
    fn tally(&self, whose: &Whose) -> Arc<Tally> {
        whose.counter().map_or_else(|| self.others.clone(), |counter| counter.tally.clone())
    }

    /// Remembers how a pass ended. A journal that can't has told so where it mattered.
    async fn remember(&self, whose: &Whose, record: &PassRecord) {
        let ended = EndedPass {
            lease_id: record.pass.clone(),
            provider: whose.name(),
            complete_at: record.complete.then_some(record.ended_at),
            record: serde_json::to_string(record).unwrap_or_default(),
        };
        if let Err(error) = self.base.journal.note_ended_pass(ended).await {
            debug!(error = %error_chain(&error), "how the pass ended can't be remembered");
        }
    }
}

/// What [`Engine::open`] did.
#[derive(Debug)]
pub enum Opened {
    /// What earlier processes left is settled now, but for this.
    Now(Held),
    /// It was settled before.
    Before,
    /// Not all of it: the store refused something, or was away. The passes try again.
    InPart,
    /// A stop came first.
    Stopped,
}

/// What is said of a pass that couldn't begin while another one did.
fn trouble_of(error: &PassError) -> Trouble {
    match error {
        PassError::Journal(_) => Trouble::journal(error),
        _ => Trouble::store(error),
    }
}
