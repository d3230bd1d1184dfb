//! The embedded store: one SQLite file, so that a small installation needs no server.
//!
//! WAL with `synchronous=FULL`: what [`Store::apply`] has acknowledged is on disk. Each call is one transaction on the
//! one connection, on a blocking thread; dropping its future midway doesn't stop it.

use super::{
    Applied, Change, Claim, Claimed, DuePage, DueQuery, Existence, Identity, IndexState, Mapping, Mark,
    Position, Readiness, Store, StoreError, Strangers, TtlIndex, Waiting, WhoWaits,
};
use crate::clock::Timestamp;
use crate::room::{FREE_SPACE_FLOOR_BYTES, Shortage, shortage};
use crate::survey::{SurveyQuery, Surveyed};
use crate::token::{Lease, TokenDocument, TokenId};
use async_trait::async_trait;
use file::File;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::collections::BTreeMap;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::Span;

mod file;
mod json;
mod look_up;
mod merge;
mod open;
mod place;
mod rows;
mod survey;
mod transfer;
mod waiting;

pub use merge::ImportTerms;
#[cfg(any(test, feature = "testing"))]
pub use merge::keeps_its_pair;
pub use transfer::{ImportSummary, import_id};

/// How long a statement waits for another process that holds the file's write lock.
///
/// Writers hold it for one transaction of milliseconds; a backup or a person's shell may hold it for seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A SQLite file of token documents.
#[derive(Clone)]
pub struct SqliteStore {
    path: PathBuf,
    mapping: Arc<Mapping>,
    floor_bytes: u64,
    file: Arc<Mutex<File>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file, and makes it (0600, in directories of 0700) and its tables when they aren't there.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the path is empty or the mapping has an extra filter; [`StoreError::Denied`] when
    /// the file can't be opened or holds something else.
    pub async fn open(path: &Path, mapping: Mapping) -> Result<Self, StoreError> {
        if path.as_os_str().is_empty() {
            return Err(StoreError::Settings(
                "the store's URL `sqlite:` names no file; write `sqlite:PATH`".to_owned(),
            ));
        }
        if mapping.filter.is_some() {
            return Err(StoreError::Settings(
                "`documents.filter` is a MongoDB condition, and a SQLite store has none; remove it"
                    .to_owned(),
            ));
        }
        let file = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || File::open(&file)).await;
        let file = match opened {
            Ok(opened) => opened.map_err(|error| failure(path, "open the file", error))?,
            Err(panic) => return Err(interrupted(&describe(path), "open the file", panic)),
        };
        Ok(Self {
            path: path.to_owned(),
            mapping: Arc::new(mapping),
            floor_bytes: FREE_SPACE_FLOOR_BYTES,
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// The same store, which claims nothing while less than this is free beside its file.
    #[must_use]
    pub fn with_floor(self, floor_bytes: u64) -> Self {
        Self { floor_bytes, ..self }
    }

    /// Does `work` with the file, on a blocking thread; it runs to the end even if the caller goes away.
    async fn with_file<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&mut File) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        let span = Span::current();
        let done = tokio::task::spawn_blocking(move || {
            // A panic below rolled its transaction back, so the connection behind a poisoned lock is whole.
            span.in_scope(|| work(&mut file.lock().unwrap_or_else(PoisonError::into_inner)))
        });
        match done.await {
            Ok(done) => done.map_err(|error| failure(&self.path, action, error)),
            Err(panic) => Err(interrupted(&self.describe(), action, panic)),
        }
    }

    /// Runs `work` in one transaction, committed when it succeeds; once more when the ballast made room for it.
    async fn transact<T: Send + 'static>(
        &self,
        action: &'static str,
        behavior: TransactionBehavior,
        work: impl Fn(&Connection, &Mapping) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mapping = Arc::clone(&self.mapping);
        self.with_file(action, move |file| file.transact(behavior, |connection| work(connection, &mapping)))
            .await
    }

    async fn reading<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl Fn(&Connection, &Mapping) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(action, TransactionBehavior::Deferred, work).await
    }

    async fn writing<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl Fn(&Connection, &Mapping) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.transact(action, TransactionBehavior::Immediate, work).await
    }
}

fn describe(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

fn interrupted(at: &str, action: &'static str, error: tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable { at: at.to_owned(), action, source: Box::new(error) }
}

/// What a person may do about a store that is not available, when its error is one of this kind of store.
pub(super) fn hint_of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<&'static str> {
    let is_ours = error.is::<rusqlite::Error>() || error.is::<tokio::task::JoinError>();
    is_ours.then_some("does another program hold the file, or is the disk full?")
}

/// Sorts an error of the library by what the caller does next. Its texts name tables and columns, never values.
fn failure(path: &Path, action: &'static str, error: rusqlite::Error) -> StoreError {
    let at = describe(path);
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "let this user read and write the file and its folder, and look whether the disk is mounted read-only"
        }
        Some(ErrorCode::NotADatabase) => "name a SQLite file, or one that isn't there yet",
        Some(ErrorCode::DatabaseCorrupt) => {
            "restore the file from a backup; `.recover` of `sqlite3` may save the rest"
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged,
        ) => return StoreError::Unavailable { at, action, source: Box::new(error) },
        Some(ErrorCode::SystemIoFailure) => {
            return StoreError::Failed { at, action, source: Box::new(error) };
        }
        Some(ErrorCode::DiskFull) => {
            let directory = file::directory(path);
            let free_bytes = crate::room::free_bytes(&directory).unwrap_or_default();
            let shortage = Shortage { directory, free_bytes, floor_bytes: FREE_SPACE_FLOOR_BYTES };
            return StoreError::Full { at, action, shortage };
        }
        _ => "this is no state that Evergrant makes; look at the cause",
    };
    StoreError::Denied { at, action, hint: hint.to_owned(), source: Box::new(error) }
}

/// Must run to completion, each of them: see [`Store`].
#[async_trait]
impl Store for SqliteStore {
    fn describe(&self) -> String {
        describe(&self.path)
    }

    async fn identity(&self) -> Result<Identity, StoreError> {
        let name = format!("sqlite {}", place::of(&self.path).display());
        let id = self.reading("read its id", |connection, _| place::id(connection)).await?;
        Ok(Identity { mark: Mark::Told(id), ..Identity::named(name) })
    }

    async fn prepare(&self) -> Result<Readiness, StoreError> {
        self.with_file("open the file", File::mend).await?;
        let write = |connection: &Connection, mapping: &Mapping| {
            survey::ensure_index(connection, mapping)?;
            rows::count(connection)
        };
        let documents = self.writing("write to the file", write).await?;
        Ok(Readiness {
            existence: Existence::There,
            documents,
            server: format!("SQLite {}", rusqlite::version()),
            index: IndexState::Ready,
            claims: IndexState::Ready,
            expiry: IndexState::Ready,
        })
    }

    async fn due_page(&self, query: &DueQuery) -> Result<DuePage, StoreError> {
        let query = query.clone();
        self.reading("read due documents", move |connection, mapping| {
            rows::due_page(connection, mapping, &query)
        })
        .await
    }

    async fn draw(&self, query: &DueQuery) -> Result<Vec<TokenDocument>, StoreError> {
        let query = query.clone();
        self.reading("draw due documents", move |connection, mapping| rows::draw(connection, mapping, &query))
            .await
    }

    async fn waiting(&self, who: &WhoWaits) -> Result<Waiting, StoreError> {
        let who = who.clone();
        self.reading("look for what is due", move |connection, mapping| {
            waiting::waiting(connection, mapping, &who)
        })
        .await
    }

    async fn latest_due(&self, providers: &[String]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let latest =
            self.reading("look for what is due", |connection, _| waiting::latest_due(connection)).await?;
        Ok(latest.map_or_else(BTreeMap::new, |latest| {
            providers.iter().map(|name| (name.clone(), latest)).collect()
        }))
    }

    async fn survey(&self, query: &SurveyQuery) -> Result<Surveyed, StoreError> {
        let (path, mapping, query) = (self.path.clone(), Arc::clone(&self.mapping), query.clone());
        // On a connection of its own: no write waits for it.
        let made = tokio::task::spawn_blocking(move || survey::make(&path, &mapping, &query)).await;
        let action = "count tokens by state and end";
        match made {
            Ok(made) => made.map_err(|error| failure(&self.path, action, error)),
            Err(panic) => Err(interrupted(&self.describe(), action, panic)),
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let action = "claim documents";
        let made = self.with_file(action, |file| Ok(file.make_ballast())).await?;
        let floor_bytes = if made { self.floor_bytes } else { u64::MAX };
        // A file system that doesn't say what is free is full when SQLite says so.
        if let Ok(Some(shortage)) = shortage(&file::directory(&self.path), floor_bytes) {
            let shortage = Shortage { floor_bytes: self.floor_bytes, ..shortage };
            return Err(StoreError::Full { at: self.describe(), action, shortage });
        }
        let claim = claim.clone();
        self.writing(action, move |connection, mapping| rows::claim(connection, mapping, &claim)).await
    }

    async fn claimed(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        let after = after.cloned();
        self.reading("read what is claimed", move |connection, mapping| {
            rows::claimed(connection, mapping, after.as_ref(), limit)
        })
        .await
    }

    async fn renew(&self, ids: &[TokenId], lease: &Lease) -> Result<Vec<TokenId>, StoreError> {
        let (ids, lease) = (ids.to_vec(), lease.clone());
        self.writing("renew leases", move |connection, _| rows::renew(connection, &ids, &lease)).await
    }

    async fn apply(&self, changes: &[Change]) -> Result<Applied, StoreError> {
        let changes = changes.to_vec();
        self.writing("update documents", move |connection, mapping| {
            rows::apply(connection, mapping, &changes)
        })
        .await
    }

    async fn read(&self, ids: &[TokenId]) -> Result<Vec<TokenDocument>, StoreError> {
        let ids = ids.to_vec();
        self.reading("read documents", move |connection, mapping| rows::read(connection, mapping, &ids)).await
    }

    async fn count_due(&self, query: &DueQuery) -> Result<u64, StoreError> {
        let query = query.clone();
        self.reading("count due documents", move |connection, mapping| {
            rows::count_due(connection, mapping, &query)
        })
        .await
    }

    async fn list(&self, after: Option<&Position>, limit: usize) -> Result<DuePage, StoreError> {
        let after = after.cloned();
        self.reading("list documents", move |connection, mapping| {
            rows::list(connection, mapping, after.as_ref(), limit)
        })
        .await
    }

    async fn of_subject(&self, subject: &str, limit: usize) -> Result<Vec<TokenDocument>, StoreError> {
        let subject = subject.to_owned();
        self.reading("look for a subject", move |connection, mapping| {
            look_up::of_subject(connection, mapping, &subject, limit)
        })
        .await
    }

    async fn left_out(&self, _ids: &[TokenId]) -> Result<Vec<TokenId>, StoreError> {
        // There is no filter here: `open` refuses one.
        Ok(Vec::new())
    }

    async fn strangers(&self, providers: &[String]) -> Result<Strangers, StoreError> {
        let providers = providers.to_vec();
        self.reading("count documents of other providers", move |connection, mapping| {
            look_up::strangers(connection, mapping, &providers)
        })
        .await
    }

    async fn ttl_indexes(&self) -> Result<Vec<TtlIndex>, StoreError> {
        Ok(Vec::new())
    }
}
