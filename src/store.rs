//! Where token documents live. One trait, two stores, the same conformance tests over both.
//!
//! A store knows documents, leases and compare-and-swap; it knows nothing of providers, grants or outcomes.

use crate::clock::Timestamp;
use crate::survey::{SurveyQuery, Surveyed};
use crate::token::{Bookkeeping, Lease, TokenDocument, TokenId};
use async_trait::async_trait;
use chrono::TimeDelta;
use mapping::Mapping;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, path::Path, sync::Arc};

mod change;
mod document;
mod error;
mod found;
mod identity;
pub mod import;
pub mod mapping;
pub mod mongo;
pub mod sqlite;
mod surveyed;
mod unwritable;
mod waiting;
mod watched;

pub use change::{Change, Fence, PairChange, Replaces};
pub use document::ids_shown_as;
pub use error::StoreError;
pub use found::{
    Existence, IndexState, MOST_STRANGE_NAMES, Readiness, Strangers, Trial, TrialPart, TrialRefusal, TtlIndex,
};
pub use identity::{Deployment, Identity, Mark, Relation};
pub use surveyed::surveyed;
pub use unwritable::Unwritable;
pub use waiting::{Waiting, Waits, WhoWaits};
pub use watched::{Health, Pulse, Watched};

/// Where the documents are and how they look.
#[derive(Clone)]
pub struct StoreSettings {
    /// `mongodb://…`, `mongodb+srv://…` or `sqlite:PATH`; it may hold credentials.
    pub url: SecretString,
    /// The MongoDB database; `None` takes the one that the URL names. SQLite has none.
    pub database: Option<String>,
    /// The MongoDB collection. A SQLite file has one table of documents, whatever this says.
    pub collection: String,
    /// Which fields hold what.
    pub mapping: Mapping,
}

impl std::fmt::Debug for StoreSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StoreSettings")
            .field("url", &"redacted")
            .field("database", &self.database)
            .field("collection", &self.collection)
            .field("mapping", &self.mapping)
            .finish()
    }
}

/// Opens the store that the URL names; `concurrency` is how many grants may be in flight, and sizes the pool.
///
/// MongoDB is not contacted yet (but the DNS of a `mongodb+srv` URL is): [`Store::prepare`] does that. A SQLite file
/// is created when it isn't there.
///
/// # Errors
/// [`StoreError::Settings`] when the URL, the database, a field path or the extra filter can't be used.
#[cfg(any(test, feature = "testing"))]
pub async fn connect(settings: &StoreSettings, concurrency: usize) -> Result<Arc<dyn Store>, StoreError> {
    connect_with_room(settings, concurrency, crate::room::FREE_SPACE_FLOOR_BYTES).await
}

/// The same, with the free space in bytes below which a SQLite file claims nothing.
pub async fn connect_with_room(
    settings: &StoreSettings,
    concurrency: usize,
    free_space_floor_bytes: u64,
) -> Result<Arc<dyn Store>, StoreError> {
    if let Some([first, second]) = settings.mapping.overlap() {
        return Err(StoreError::Settings(format!(
            "the mapped fields {} = `{}` and {} = `{}` would overwrite each other; name two separate fields",
            first.0, first.1, second.0, second.1
        )));
    }
    let url = settings.url.expose_secret();
    if let Some(path) = sqlite_path(url) {
        let (path, mapping) = (path.to_owned(), settings.mapping.clone());
        let store = sqlite::SqliteStore::open(Path::new(&path), mapping).await?;
        return Ok(Arc::new(store.with_floor(free_space_floor_bytes)));
    }
    if url.starts_with("mongodb://") || url.starts_with("mongodb+srv://") {
        return Ok(Arc::new(mongo::MongoStore::connect(settings, concurrency).await?));
    }
    Err(StoreError::Settings(
        "the store's URL starts with none of `mongodb://`, `mongodb+srv://` and `sqlite:`; set `store.url` or \
         `EVERGRANT_STORE_URL`"
            .to_owned(),
    ))
}

/// The file that a `sqlite:PATH` URL names (`sqlite://PATH` is the same); `None` for any other URL.
#[must_use]
pub fn sqlite_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// The hosts of a MongoDB URL, `db1:27017,db2`, and what follows them up to the options: `/logins`, `/` or nothing.
///
/// Cut as the driver cuts it: the options begin at the first `?`, and only the `@` before them ends the password.
/// Cosmos DB has `@` in an option (`appName=@account@`).
pub(crate) fn hosts_and_path(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let before_options = rest.split('?').next().unwrap_or_default();
    let after_password = before_options.rsplit_once('@').map_or(before_options, |(_, hosts)| hosts);
    after_password.split_at(after_password.find('/').unwrap_or(after_password.len()))
}

/// A collection of token documents.
///
/// Every method must run to completion once polled; a caller that wants a bound spawns it and bounds the handle.
/// A write whose acknowledgement was lost may be repeated: each is idempotent under its own `expect`.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Where this is, for people: `logins.tokens at db1:27017`; never credentials.
    fn describe(&self) -> String;

    /// The collection as `mongosh` names it, to make a line to paste of it; `None` where the store has no such shell.
    fn in_mongosh(&self) -> Option<String> {
        None
    }

    /// Which documents these are, whatever they are called and wherever the server stands: the journal's rows belong to
    /// them.
    async fn identity(&self) -> Result<Identity, StoreError>;

    /// Finds out before the first grant whether a pass can work: reachable, readable, writable, indexed.
    ///
    /// Creates the due index when it isn't there; a refusal to create it is a value in [`Readiness`], not an error.
    async fn prepare(&self) -> Result<Readiness, StoreError>;

    /// Is the collection there? Changes nothing; a store that makes its own place always has one.
    async fn existence(&self) -> Result<Existence, StoreError> {
        Ok(Existence::There)
    }

    /// Tries on some documents what a pass writes, and writes nothing: what would the collection's own rules refuse?
    ///
    /// A store without such rules refuses nothing.
    async fn trial(&self, now: Timestamp) -> Result<Trial, StoreError> {
        let _ = now;
        Ok(Trial::default())
    }

    /// Reads up to `query.limit` documents, soonest due first (with `force`: in `_id` order), from `query.after` on.
    ///
    /// A document that is leased and not yet due is not read. Nothing is changed.
    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError>;

    /// Draws up to `query.limit` of the documents that [`Store::count_due`] counts, at random from all over; fewer, where the
    /// wanted ones are few among the others.
    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError>;

    /// How many of the documents that [`Store::due_page`] would read in all its pages a pass would work on: without
    /// `force` those that are marked already are left out.
    async fn count_due(&self, query: &DueQuery) -> Result<u64, StoreError>;

    /// Counts the documents by state, and the live ones by the end of their login, for each provider, without a look into the
    /// documents. The numbers come one after the other: what is written meanwhile may be in two of them, or in none.
    ///
    /// Where there are more than fifty thousand of a kind, the largest number may be off by as much as the store's estimate of
    /// the whole. A store that would have to read every document says so instead.
    async fn survey(&self, query: &SurveyQuery) -> Result<Surveyed, StoreError>;

    /// Which providers have something due, without a question for each document or for each provider that has nothing.
    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError>;

    /// By provider, a moment later than which no document of it falls due; who isn't here has none with a due date. One question,
    /// however many providers there are. A store that can't tell quickly says the end of time.
    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError>;

    /// Leases those of `ids` that are still unclaimed, and with `due_by` still due, and reads them back.
    ///
    /// Sets `lease`, and `due_at = lease.until`, so that a claim whose owner died falls due again. Two processes never
    /// get one document. The documents come back as they are after the lease was set, in no particular order.
    ///
    /// A document into which a pair or the bookkeeping couldn't be written is refused: nothing may be redeemed for it.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Reads up to `limit` documents that are claimed, the soonest end first, from `after` on; claims that have ended among
    /// them. With the index of claims it takes as long as there are claims.
    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError>;

    /// Moves the end of our lease on those of `ids` that still carry `lease.id`, and returns which these are.
    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError>;

    /// Moves the end of another process' lease, which carries `lease.id`, nearer, where it is `far` from now on, or further; says
    /// whether it is so now. A store on a machine of its own judges that by its own clock.
    async fn cut(&self, id: &TokenId, lease: &Lease, far: TimeDelta) -> Result<bool, StoreError> {
        // Our clock is the store's.
        let _ = far;
        Ok(!self.renew(std::slice::from_ref(id), lease).await?.is_empty())
    }

    /// Applies each change whose document still is as the change expects, each in one atomic update, in no order,
    /// with majority and on-disk acknowledgement.
    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError>;

    /// Reads documents by id, in no particular order; one that isn't there is left out.
    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError>;

    /// Reads documents in `_id` order, whatever their state; for `tokens list` and `check`.
    async fn list(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError>;

    /// Reads up to `limit` documents of which any mapped subject field shows exactly this text, in no particular order.
    async fn of_subject(&self, subject: &str, limit: usize) -> Result<Vec<TokenDocument>, StoreError>;

    /// Which of these documents `documents.filter` leaves out, so that no pass reads them.
    async fn left_out(&self, ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError>;

    /// Counts the documents whose provider field holds none of these names; none where no field is mapped.
    async fn strangers(&self, providers: &[String]) -> Result<Strangers, StoreError>;

    /// The TTL indexes of the collection. Empty where the store has none, and where it may not list them.
    async fn ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError>;

    /// The time on the store's own machine; none where that is ours.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}

/// Which documents [`Store::due_page`] reads.
#[derive(Debug, Clone)]
pub struct DueQuery {
    /// Due is what has no `due_at` (or one that isn't a date), or one up to and including this. Where there is an
    /// array of dates, MongoDB goes by the earliest of them.
    pub due_by: Timestamp,
    /// Only what is due later than this. Not heeded with `force`.
    pub due_after: Option<DueAfter>,
    /// Every document, due or not; still none that is leased until after `now`.
    pub force: bool,
    /// Documents leased beyond this are not read.
    pub now: Timestamp,
    /// The most documents to return, at least 1.
    pub limit: usize,
    /// Go on after this position of the same query.
    pub after: Option<Position>,
    /// Which providers' documents.
    pub providers: ProviderFilter,
}

/// Some of what is due later than a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueAfter {
    /// Not due at this moment, nor before.
    pub at: Timestamp,
    /// Which of them.
    pub only: Later,
}

/// Which of the documents that are due later than a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// What was put off: a document that says what went wrong last. A pass refreshes documents that may be due at once again, and
    /// they are none of it.
    PutOff,
    /// What its own bookkeeping doesn't explain: written later than `now`, or without an end of the token that comes after the due
    /// date.
    Unexplained {
        /// The time now, and what a clock may be off by.
        now: Timestamp,
    },
}

impl DueAfter {
    /// What was put off until later than this.
    #[must_use]
    pub const fn put_off(at: Timestamp) -> Self {
        Self { at, only: Later::PutOff }
    }

    /// Is a document with this bookkeeping one of these, whenever it is due?
    #[must_use]
    pub fn admits(&self, bookkeeping: &Bookkeeping) -> bool {
        let Bookkeeping { due_at, refreshed_at, refresh_expires_at, last_error, .. } = bookkeeping;
        match self.only {
            Later::PutOff => last_error.is_some(),
            Later::Unexplained { now } => {
                let is_later = |at: Option<Timestamp>| at.is_some_and(|at| at > now);
                is_later(*refreshed_at)
                    || is_later(last_error.as_ref().map(|error| error.at))
                    || refresh_expires_at.is_none_or(|end| Some(end) < *due_at)
            }
        }
    }
}

/// Which documents belong to a pass, by the value of the mapped provider field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderFilter {
    /// All: one provider is configured, and no field is mapped.
    Any,
    /// Those whose provider field has this text.
    Named(String),
    /// Those whose provider field is absent or has any other value: so that they can be named.
    NoneOf(Vec<String>),
}

/// One page of documents.
#[derive(Debug, Clone)]
pub struct DuePage {
    /// Decoded one by one; malformed ones among them.
    pub documents: Vec<TokenDocument>,
    /// Where to go on; `None` when this was the last page.
    pub next: Option<Position>,
}

/// A place in a keyset-paged query; only the store that made it can read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Position(pub serde_json::Value);

/// What [`Store::claim`] asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which documents.
    pub ids: Vec<TokenId>,
    /// The lease to set; one that is `taken_over` only where a lease still stands.
    pub lease: Lease,
    /// Only if still due by then; `None` claims what isn't due too (`--force`).
    pub due_by: Option<Timestamp>,
    /// Another pass' lease that ends later than this is respected.
    pub now: Timestamp,
    /// With a lease that is `taken_over`: only what carries one of these lease ids. Empty: whichever it carries.
    pub over: Vec<String>,
    /// With a lease that is `taken_over`: for how long the other lease must have ended by the clock of the store's own machine,
    /// where that isn't ours: no wrong clock of ours takes a living claim.
    pub ended_for: TimeDelta,
}

/// What [`Store::claim`] gave.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// Ours now; what is in neither list is another process', not due any more, or gone.
    pub documents: Vec<TokenDocument>,
    /// What can't be written: which document, and why, without a value of it.
    pub refused: Vec<(TokenId, Unwritable)>,
}

/// What became of the changes of one [`Store::apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Did every change find its document as expected? Otherwise read again to see which did.
    pub every_matched: bool,
    /// Changes that the store refused for good (schema validation, document too large): index, and its reason, which
    /// never holds a value of the document.
    pub refused: Vec<(usize, Unwritable)>,
}
