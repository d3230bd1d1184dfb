//! The real thing: a MongoDB collection, on servers 4.4 and newer, standalone, replica set or sharded.
//!
//! Every driver future is spawned, and only the wait for it is bounded: dropping one midway can leave the driver's
//! connection in an undefined state. One that isn't waited for any more is left together with its client. Writes say
//! `w: majority, j: true` themselves, because the implicit default isn't one on every topology, and go through
//! `run_command`, because the driver's own bulk write needs a server 8.0.

use super::document::{id_value, token_document, token_id};
use super::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Existence, Identity, IndexState, Mapping, Position,
    Readiness, Store, StoreError, StoreSettings, Strangers, Trial, TtlIndex, Waiting, WhoWaits,
};
use crate::clock::Timestamp;
use crate::survey::{SurveyQuery, Surveyed};
use crate::token::{Lease, TokenDocument, TokenId};
use async_trait::async_trait;
use bson::{Bson, Document, RawDocumentBuf, doc};
use chrono::TimeDelta;
use due_index::DueIndexes;
use expiry_index::ExpiryIndex;
use failure::Cause;
use futures::TryStreamExt;
use mongodb::{
    Client, Collection, Database, Namespace,
    options::{ClientOptions, FindOptions},
};
use raw::Raw;
use reading::Reading;
use std::collections::BTreeMap;
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};
use tracing::Instrument as _;

pub(super) use failure::hint_of;

mod claim;
mod claims_index;
mod connect;
mod draw;
mod due_index;
mod expiry_index;
mod expression;
mod failure;
mod identity;
mod look_up;
mod pages;
mod position;
mod prepare;
mod query;
mod raw;
mod reading;
mod survey;
mod trial;
mod unreachable;
mod update;
mod waiting;
mod writable;
mod write;

/// Longest wait for an answer to a read.
///
/// Without the due index a page is a scan of the collection; the server is told to give up a little earlier.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// Longest time that the server counts: a number that comes later is of no use to the report.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for an answer to a write; longer than [`update::MAJORITY_TIMEOUT`], so that the server answers first.
const WRITE_TIMEOUT: Duration = Duration::from_secs(40);

/// A MongoDB collection of token documents.
pub struct MongoStore {
    at: String,
    namespace: Namespace,
    /// What the driver's client is made of.
    options: ClientOptions,
    /// The client in use, replaced when one of its connections went silent.
    link: RwLock<Link>,
    mapping: Arc<Mapping>,
    /// The extra filter, read from its extended JSON.
    filter: Option<Document>,
    /// The due indexes, once [`Store::prepare`] has found them; without them pages are sorted scans.
    due_indexes: RwLock<DueIndexes>,
    /// The name of the index of claims, once [`Store::prepare`] has found it; without it they are found by a scan.
    claims_index: RwLock<Option<String>>,
    /// The index of states and ends, once [`Store::prepare`] has looked for it; without it there is no survey.
    expiry_index: RwLock<ExpiryIndex>,
    /// Does [`Store::prepare`] know that the collection compares texts byte by byte?
    plain_texts: AtomicBool,
    /// Longest wait for any answer, if the URL says so.
    longest_wait: Option<Duration>,
}

/// A client of the driver, with a pool of connections of its own.
#[derive(Clone)]
struct Link {
    /// How many there were before it.
    number: u64,
    database: Database,
    collection: Collection<RawDocumentBuf>,
}

impl Link {
    fn new(
        number: u64,
        options: ClientOptions,
        namespace: &Namespace,
    ) -> Result<Self, mongodb::error::Error> {
        let database = Client::with_options(options)?.database(&namespace.db);
        let collection = database.collection(&namespace.coll);
        Ok(Self { number, database, collection })
    }
}

impl std::fmt::Debug for MongoStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MongoStore").field("at", &self.at).finish_non_exhaustive()
    }
}

impl MongoStore {
    /// Opens a pool of connections; the first is made by the first call. Must run to completion.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the URL, the database or the extra filter can't be used.
    pub async fn connect(settings: &StoreSettings, concurrency: usize) -> Result<Self, StoreError> {
        let filter = settings.mapping.filter.as_deref().map(connect::extra_filter).transpose()?;
        let connect::Options { driver, hosts, longest_wait } =
            connect::options(settings, concurrency).await?;
        let name = settings.database.clone().or_else(|| driver.default_database.clone());
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(StoreError::Settings(
                "neither the store's URL nor `store.database` names a database; set `store.database` or \
                 `EVERGRANT_STORE_DATABASE`"
                    .to_owned(),
            ));
        };
        let at = format!("{name}.{} at {hosts}", settings.collection);
        let namespace = Namespace::new(name, &settings.collection);
        let link = Link::new(0, driver.clone(), &namespace);
        let link = link.map_err(|error| failure::sort(&at, "connect", &error, None))?;
        Ok(Self {
            at,
            namespace,
            options: driver,
            link: RwLock::new(link),
            mapping: Arc::new(settings.mapping.clone()),
            filter,
            due_indexes: RwLock::default(),
            claims_index: RwLock::default(),
            expiry_index: RwLock::new(ExpiryIndex::Unknown),
            plain_texts: AtomicBool::new(false),
            longest_wait,
        })
    }

    fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves a link on which no answer came, with all its connections.
    ///
    /// The driver waits for an answer for as long as the connection stands, and counts such a connection as in use: a
    /// pool of them would let no call through any more, long after the server is back.
    fn leave(&self, silent: &Link) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        // Another call may have left it already; calls that still wait on it are not disturbed.
        if link.number == silent.number
            && let Ok(new) = Link::new(silent.number + 1, self.options.clone(), &self.namespace)
        {
            *link = new;
        }
    }

    /// Spawns a driver future and waits for it within `bound`; when the wait ends first, the future and the link that it
    /// used are left for good.
    async fn call<T: Send + 'static, F>(
        &self,
        action: &'static str,
        bound: Duration,
        call: impl FnOnce(Link) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    {
        let unavailable = |cause: String| StoreError::Unavailable {
            at: self.at.clone(),
            action,
            source: Box::new(Cause::new(cause)),
        };
        // An index takes as long as it takes to build.
        let longest = self.longest_wait.filter(|_| bound <= READ_TIMEOUT);
        let bound = longest.map_or(bound, |longest| longest.min(bound));
        let link = self.link();
        let began = Instant::now();
        let mut running = tokio::spawn(call(link.clone()).in_current_span());
        match tokio::time::timeout(bound, &mut running).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(failure::sort(&self.at, action, &error, Some(began.elapsed()))),
            Ok(Err(_)) => Err(unavailable("the driver's task ended without an answer".to_owned())),
            Err(_) => {
                self.leave(&link);
                // Whatever it leaves behind in the driver, that client isn't used again.
                running.abort();
                Err(unavailable(format!("no answer within {} s", bound.as_secs_f64())))
            }
        }
    }

    async fn command(
        &self,
        action: &'static str,
        bound: Duration,
        command: Document,
    ) -> Result<Document, StoreError> {
        self.call(action, bound, |link| async move { link.database.run_command(command).await }).await
    }

    /// Runs update statements, each on its own; fails when any of them may be repeated with a better end.
    async fn update(
        &self,
        action: &'static str,
        statements: Vec<Document>,
    ) -> Result<update::Reply, StoreError> {
        let command = update::command(&self.namespace.coll, statements);
        let reply = self.command(action, WRITE_TIMEOUT, command).await?;
        failure::read_update(&self.at, action, &reply)
    }

    async fn find(&self, action: &'static str, reading: Reading) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let (filter, options): (Document, FindOptions) = reading.into_options(READ_TIMEOUT);
        self.call(action, READ_TIMEOUT, |link| async move {
            link.collection.find(filter).with_options(options).await?.try_collect().await
        })
        .await
    }

    fn decode(&self, raw: &RawDocumentBuf) -> Option<TokenDocument> {
        let fields = Raw(raw);
        let id = fields.id()?;
        Some(token_document(
            token_id(id),
            &fields,
            fields.bookkeeping(&self.mapping.bookkeeping),
            &self.mapping,
        ))
    }

    fn ids(&self, ids: &[TokenId]) -> Result<Vec<Bson>, StoreError> {
        let value = |id: &TokenId| {
            id_value(id).ok_or_else(|| {
                StoreError::Settings(format!(
                    "`{id}` is no `_id` of {}: expected canonical extended JSON",
                    self.at
                ))
            })
        };
        ids.iter().map(value).collect()
    }
}

/// Must run to completion, each of them: see [`Store`].
#[async_trait]
impl Store for MongoStore {
    fn describe(&self) -> String {
        self.at.clone()
    }

    fn in_mongosh(&self) -> Option<String> {
        Some(self.shell_name())
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        self.known_by().await
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        let server = self.server().await?;
        let existence = self.find_existence().await?;
        let documents = self.estimate().await?;
        self.probe_write().await?;
        let (index, claims, expiry) = match existence {
            Existence::Absent { .. } => (IndexState::Ready, IndexState::Ready, IndexState::Ready),
            Existence::There | Existence::Unknown(_) => {
                let there = self.indexes().await?;
                let (index, claims) =
                    (self.ensure_index(&there).await?, self.ensure_claims_index(&there).await?);
                (index, claims, self.ensure_expiry_index(&there).await?)
            }
        };
        Ok(Readiness { existence, documents, server, index, claims, expiry })
    }

    async fn existence(&self) -> Result<Existence, StoreError> {
        self.find_existence().await
    }

    async fn trial(&self, now: Timestamp) -> Result<Trial, StoreError> {
        self.try_writes(now).await
    }

    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        self.read_due_page(query).await
    }

    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        self.draw_due(query).await
    }

    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        self.find_waiting(who).await
    }

    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.find_latest_due(providers).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let ids = self.ids(&claim.ids)?;
        if ids.is_empty() {
            return Ok(Claimed::default());
        }
        self.lease(claim, ids).await
    }

    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        self.read_claimed(after, limit).await
    }

    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        let ids = self.ids(ids)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        for ids in ids.chunks(update::MAX_STATEMENTS) {
            let one = |id: &Bson| update::renew(&self.mapping, id, lease);
            self.update("renew leases", ids.iter().map(one).collect()).await?;
        }
        self.carrying(ids, lease).await
    }

    async fn cut(&self, id: &TokenId, lease: &Lease, far: TimeDelta) -> Result<bool, StoreError> {
        let ids = self.ids(std::slice::from_ref(id))?;
        let one = |id: &Bson| update::cut(&self.mapping, id, lease, far);
        self.update("cut a lease", ids.iter().map(one).collect()).await?;
        Ok(!self.carrying(ids, lease).await?.is_empty())
    }

    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        self.write_changes(changes).await
    }

    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // The same `_id` as a text and as another number type is one document, and is read once.
        let wanted: HashSet<&TokenId> = ids.iter().collect();
        let wanted: Vec<TokenId> = wanted.into_iter().cloned().collect();
        // What a damaged journal made of one names no document: it stops no other one.
        let wanted = wanted.iter().filter_map(id_value).collect();
        let reading = query::by_ids(&self.mapping, wanted);
        let found = self.find("read documents", reading).await?;
        Ok(found.iter().filter_map(|raw| self.decode(raw)).collect())
    }

    async fn count_due(&self, query: &DueQuery) -> Result<u64, StoreError> {
        self.count_due_by_index(query).await
    }

    async fn survey(&self, query: &SurveyQuery) -> Result<Surveyed, StoreError> {
        self.make_survey(query).await
    }

    async fn list(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        self.list_page(after, limit).await
    }

    async fn of_subject(&self, subject: &str, limit: usize) -> Result<Vec<TokenDocument>, StoreError> {
        self.find_subject(subject, limit).await
    }

    async fn left_out(&self, ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError> {
        self.find_left_out(ids).await
    }

    async fn strangers(&self, providers: &[String]) -> Result<Strangers, StoreError> {
        self.count_strangers(providers).await
    }

    async fn ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError> {
        self.find_ttl_indexes().await
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.server_time().await
    }
}
