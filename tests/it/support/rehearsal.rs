//! A whole line in a test: the sandbox as provider, a store that holds its users, a state directory, and passes.
//!
//! The oracle is the sandbox's ledger and what the store holds, never our own counters.

use super::in_step::InStep;
use super::meddler::Meddler;
use crate::store::backend::{Backend, both, id};
use chrono::TimeDelta;
use evergrant::sandbox::{Audit, Sandbox, SandboxConfig, SeededUser};
use evergrant::testing::chance::Chance;
use evergrant::testing::clock::Clock;
use evergrant::testing::engine::Engine;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::Connect;
use evergrant::testing::grant::http::Https;
use evergrant::testing::journal::{Entry, Journal, JournalError, JournalSettings};
use evergrant::testing::pass::{Base, LOOKS_AGAIN_EVERY, PassRequest, PassSettings, Stop};
use evergrant::testing::provider::token_url::TokenUrl;
use evergrant::testing::provider::{ClientSecret, Profile, Provider, profile};
use evergrant::testing::report::Reports;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::schedule::RenewAfter;
use evergrant::testing::store::Store;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::{Bookkeeping, State, TokenId};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No pass of a test takes so long; one that does hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A refresh token's life in most tests, so that a second pass finds nothing due.
pub(crate) const LIFETIME: Duration = Duration::from_hours(14 * 24);

/// Whatever is due or not.
pub(crate) const FORCED: PassRequest = request(true, false);

/// A person takes the provider's refusals for true.
pub(crate) const ACCEPTED: PassRequest = request(false, true);

/// [`PassRequest::default`] with these, for constants.
const fn request(force: bool, accept_refusals: bool) -> PassRequest {
    PassRequest { force, limit: None, provider: None, only: None, accept_refusals, take_over: Vec::new() }
}

/// What a rehearsal is made of.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) sandbox: SandboxConfig,
    pub(crate) mapping: Mapping,
    pub(crate) profile: Profile,
    pub(crate) clock: Clock,
}

impl Plan {
    /// So many users at a strict provider without a limit.
    pub(crate) fn users(users: usize) -> Self {
        let mut profile = profile::load("generic").unwrap();
        profile.refresh_token_lifetime = Some(LIFETIME);
        profile.request_timeout = Duration::from_secs(20);
        profile.concurrency = 8.try_into().unwrap();
        Self {
            sandbox: SandboxConfig { users, ..SandboxConfig::default() },
            mapping: Mapping::default(),
            profile,
            clock: Clock::system(),
        }
    }

    /// The same with this fault script.
    pub(crate) fn faults(mut self, script: &str) -> Self {
        self.sandbox.faults = script.parse().unwrap();
        self
    }
}

/// A rehearsal over one store.
pub(crate) struct Rehearsal {
    pub(crate) sandbox: Sandbox,
    pub(crate) backend: Arc<Backend>,
    pub(crate) meddler: Arc<Meddler>,
    pub(crate) providers: Vec<Arc<Provider>>,
    pub(crate) settings: PassSettings,
    pub(crate) clock: Clock,
    /// How long the journal keeps a pair that was written.
    pub(crate) keep_pairs: Duration,
    /// The users as they were seeded.
    pub(crate) users: Vec<SeededUser>,
    state: tempfile::TempDir,
}

/// Runs one fact over each store at the same time.
pub(crate) async fn on_both(test: &str, plan: Plan, fact: impl AsyncFn(Rehearsal)) {
    let mut rehearsals = Vec::new();
    for backend in both(test, plan.mapping.clone()).await {
        rehearsals.push(Rehearsal::over(backend, &plan).await);
    }
    let fact = &fact;
    futures::future::join_all(rehearsals.into_iter().map(|rehearsal| async move { fact(rehearsal).await }))
        .await;
}

/// The `_id` of the document of user number `position`.
pub(crate) fn document_id(position: usize) -> TokenId {
    id(&json!({ "$oid": format!("{position:024x}") }))
}

/// The document of a user, as somebody wrote it who never heard of us.
pub(crate) fn document(position: usize, user: &SeededUser) -> Value {
    json!({
        "_id": { "$oid": format!("{position:024x}") },
        "userId": user.user,
        "email": user.email,
        "access_token": user.access_token,
        "refresh_token": user.refresh_token,
    })
}

/// The provider that a sandbox plays.
pub(crate) fn provider_of(sandbox: &Sandbox, name: &str, profile: Profile) -> Provider {
    Provider {
        name: name.into(),
        profile_name: "generic".into(),
        profile,
        token_url: sandbox.token_url().parse().unwrap(),
        values: evergrant::testing::provider::Values::default(),
        client_id: sandbox.config().client_id.clone(),
        client_secret: Some(ClientSecret::new(sandbox.config().client_secret.clone())),
    }
}

/// Opens a journal; the process that had it may still be on its way out.
pub(crate) async fn open_journal(directory: &Path, clock: &Clock) -> Journal {
    open_journal_with(directory, clock, JournalSettings::default()).await
}

/// The same with these settings.
async fn open_journal_with(directory: &Path, clock: &Clock, settings: JournalSettings) -> Journal {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Journal::open_with(directory, clock, settings.clone()) {
            Err(JournalError::Held { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Rehearsal {
    pub(crate) async fn over(backend: Backend, plan: &Plan) -> Self {
        let sandbox = Sandbox::start(plan.sandbox.clone(), ([127, 0, 0, 1], 0).into()).await.unwrap();
        let users = sandbox.users();
        if !users.is_empty() {
            backend.insert(users.iter().enumerate().map(|(position, user)| document(position, user))).await;
        }
        Self {
            meddler: Meddler::new(backend.store.clone()),
            providers: vec![Arc::new(provider_of(&sandbox, "sandbox", plan.profile.clone()))],
            settings: PassSettings {
                lease: Duration::from_mins(10),
                renew_after: RenewAfter::THIRD,
                first_backoff: Duration::from_millis(1),
                longest_backoff: Duration::from_hours(24),
                attempts: 4,
                looks_again_every: LOOKS_AGAIN_EVERY,
                wakes: None,
                documents_name_provider: false,
                assumed_life: None,
                ending_within: evergrant::testing::report::ENDING_SOON,
            },
            clock: plan.clock.clone(),
            keep_pairs: JournalSettings::default().keep_pairs,
            state: tempfile::tempdir().unwrap(),
            backend: Arc::new(backend),
            sandbox,
            users,
        }
    }

    /// Changes the one provider.
    pub(crate) fn change_provider(&mut self, change: impl FnOnce(&mut Provider)) {
        change(Arc::make_mut(&mut self.providers[0]));
    }

    /// The state directory.
    pub(crate) fn state(&self) -> &Path {
        self.state.path()
    }

    /// A process of its own: another state directory, another connection to the store.
    pub(crate) async fn another_process(&self, state: &Path) -> Engine {
        self.process(self.backend.open_again().await, state).await
    }

    /// A process with this store and this state directory.
    pub(crate) async fn process(&self, store: Arc<dyn Store>, state: &Path) -> Engine {
        self.process_over(store, state, &Https).await
    }

    /// The same over another wire. The store's clock goes with ours.
    pub(crate) async fn process_over(
        &self,
        store: Arc<dyn Store>,
        state: &Path,
        connect: &dyn Connect,
    ) -> Engine {
        self.process_as(InStep::with(store, self.clock.clone()), state, connect).await
    }

    /// The same over just this store, with its own clock.
    pub(crate) async fn process_as(
        &self,
        store: Arc<dyn Store>,
        state: &Path,
        connect: &dyn Connect,
    ) -> Engine {
        let keeping = JournalSettings { keep_pairs: self.keep_pairs, ..JournalSettings::default() };
        let journal = open_journal_with(state, &self.clock, keeping).await;
        let (providers, settings) = (self.providers.clone(), self.settings.clone());
        let base = Base::new(store, journal, providers, settings, self.clock.clone(), Chance::system());
        Engine::new(base, connect).unwrap()
    }

    /// Starts a process, runs a pass over what is due, and ends the process.
    pub(crate) async fn run(&self) -> Summary {
        self.run_with(&PassRequest::default(), &Stop::default()).await
    }

    /// The same for a request, to its end or as `stop` says.
    pub(crate) async fn run_with(&self, request: &PassRequest, stop: &Stop) -> Summary {
        let pass = self.process(self.meddler.clone(), self.state()).await;
        let summary = run(&pass, request, stop).await;
        pass.close().await;
        summary
    }

    /// What the journal holds, while no process runs.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        let journal = open_journal(self.state(), &self.clock).await;
        let entries = journal.entries().await.unwrap();
        journal.close().await;
        entries
    }

    /// The whole document of user number `position`.
    pub(crate) async fn document(&self, position: usize) -> Value {
        self.backend.whole(&document_id(position)).await.unwrap()
    }

    /// The refresh token that this user's document holds.
    pub(crate) async fn token(&self, position: usize) -> String {
        self.document(position).await["refresh_token"].as_str().unwrap().to_owned()
    }

    /// The bookkeeping in this user's document.
    pub(crate) async fn bookkeeping(&self, position: usize) -> Bookkeeping {
        self.backend.read(&document_id(position)).await.bookkeeping
    }

    /// How each user's login stands, as the bookkeeping says.
    /// How many documents are due again within this time.
    pub(crate) async fn due_within(&self, time: TimeDelta) -> u64 {
        let by = self.clock.now() + time;
        let mut due = 0;
        for position in 0..self.users.len() {
            due += u64::from(self.bookkeeping(position).await.due_at.is_none_or(|at| at <= by));
        }
        due
    }

    pub(crate) async fn states(&self) -> Vec<State> {
        let read =
            (0..self.users.len()).map(|position| async move { self.bookkeeping(position).await.state });
        futures::future::join_all(read).await
    }

    /// Writes the pair of a login into this user's document, as the application does.
    pub(crate) async fn write_login(&self, position: usize, login: &SeededUser) {
        write_login(&self.backend, position, login).await;
    }

    /// What the refresh tokens in the store are worth to the provider that handed them out.
    pub(crate) async fn audit(&self) -> Audit {
        let held: Vec<(String, String)> = self
            .backend
            .all()
            .await
            .into_iter()
            .filter_map(|document| {
                let text = |name: &str| document[name].as_str().map(str::to_owned);
                Some((text("email")?, text("refresh_token")?))
            })
            .collect();
        self.sandbox.audit(held)
    }

    /// Everybody alive is held by their newest token, and both of each pair come from one answer.
    pub(crate) async fn assert_kept(&self, kept: usize) {
        let audit = self.audit().await;
        assert!(audit.is_clean(), "{audit:#?}");
        assert_eq!(audit.kept, kept as u64, "{audit:#?}");
        assert_eq!(audit.held_stale, 0, "{audit:#?}");
        self.assert_whole().await;
    }

    /// Every pair in the store comes from one answer (invariant 3).
    pub(crate) async fn assert_whole(&self) {
        for document in self.backend.all().await {
            let Some(token) = document["refresh_token"].as_str() else { continue };
            let Some(record) = self.sandbox.token_history(token) else { continue };
            assert_eq!(document["access_token"], record.access_token, "of another answer: {document}");
        }
    }

    /// Nobody is claimed any more.
    pub(crate) async fn assert_nothing_claimed(&self) {
        for document in self.backend.all().await {
            assert!(document.pointer("/evergrant/lease").is_none(), "still claimed: {document}");
        }
    }
}

/// Writes the pair of a login into a document, as the application does.
pub(crate) async fn write_login(backend: &Backend, position: usize, login: &SeededUser) {
    let pair = json!({ "refresh_token": login.refresh_token, "access_token": login.access_token });
    backend.set(&document_id(position), pair).await;
}

/// Runs a pass of a process that lives on; its outcomes add up, unless it was told to give up.
pub(crate) async fn run(pass: &Engine, request: &PassRequest, stop: &Stop) -> Summary {
    let running = pass.run(request, stop, Arc::new(Reports::new()));
    let summary = tokio::time::timeout(PATIENCE, running).await.expect("the pass hangs").unwrap();
    if !stop.give_up.is_cancelled() {
        assert!(summary.adds_up(), "{summary:#?}");
        assert_ne!(summary.exit(), Exit::Internal);
    }
    summary
}

/// The URL of a provider whose documents have no say in it.
pub(crate) fn fixed_url(provider: &mut Provider) -> &mut url::Url {
    match &mut provider.token_url {
        TokenUrl::Fixed(url) => url,
        TokenUrl::Of(_) => panic!("a template"),
    }
}
