//! From settings to what works with them: the one place where store, journal, providers and engine are put together.

mod import;

pub(crate) use import::import_terms;

use crate::chance::Chance;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, MAX_RETRY_AFTER_FAILURE};
use crate::engine::{Engine, Places};
use crate::grant::Connect;
use crate::journal::{Journal, JournalError};
use crate::pass::{Base, LOOKS_AGAIN_EVERY, PassError, PassSettings};
use crate::provider::keep::Keep;
use crate::report::ENDING_SOON;
use crate::schedule::{ASSUMED_LIFE, Schedule, Wakes};
use crate::store::{Store, StoreError, sqlite_path};
use secrecy::ExposeSecret as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Connects to the store with as many connections as the providers may want. Makes an embedded store that isn't there.
///
/// # Errors
/// [`StoreError::Settings`] when its URL or its mapping can't be used. Whether a server is there is found out later.
pub(crate) async fn store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let concurrency =
        config.providers.iter().map(|provider| provider.profile.concurrency.get()).sum::<usize>();
    let floor_bytes = config.journal.free_space_floor_bytes;
    crate::store::connect_with_room(&config.store, concurrency.max(1), floor_bytes).await
}

/// The embedded store's file; `None` when the documents are in a MongoDB.
pub(crate) fn embedded_file(config: &Config) -> Option<&Path> {
    sqlite_path(config.store.url.expose_secret()).map(Path::new)
}

/// Refuses an embedded store that isn't there yet: to open it would be to make it.
///
/// # Errors
/// [`PassError::NoEmbeddedStore`].
pub(crate) fn must_be_there(config: &Config) -> Result<(), PassError> {
    match embedded_file(config) {
        Some(file) if !file.exists() => Err(PassError::NoEmbeddedStore(file.to_owned())),
        Some(_) | None => Ok(()),
    }
}

/// Opens the journal, alone: a second process is told so.
///
/// # Errors
/// [`JournalError`].
pub(crate) async fn journal(config: &Config, clock: &Clock) -> Result<Journal, JournalError> {
    let (directory, clock, settings) = (config.state_dir.clone(), clock.clone(), config.journal.clone());
    on_a_thread(move || Journal::open_with(&directory, &clock, settings)).await
}

/// Opens everything that a pass works with; the journal first, so that a second process is told so at once.
///
/// # Errors
/// [`PassError`] when the journal or the store can't be opened.
pub(crate) async fn base(config: &Config, clock: &Clock) -> Result<Base, PassError> {
    let journal = journal(config, clock).await?;
    let settings = pass_settings(config, clock.now());
    let (store, providers) = (store(config).await?, config.providers.clone());
    Ok(Base::new(store, journal, providers, settings, clock.clone(), Chance::system()))
}

/// The same beside a pass: the store must be there already.
///
/// # Errors
/// [`PassError`], and [`PassError::NoEmbeddedStore`].
pub(crate) async fn base_over_what_is_there(config: &Config, clock: &Clock) -> Result<Base, PassError> {
    must_be_there(config)?;
    base(config, clock).await
}

/// Opens everything that passes go through; asks neither a server nor a provider yet.
///
/// # Errors
/// [`PassError`] when the journal, the store or an HTTPS client can't be opened.
pub(crate) async fn engine(
    config: &Config,
    clock: &Clock,
    connect: &dyn Connect,
) -> Result<Engine, PassError> {
    let folder = |file: &Path| file.parent().unwrap_or(file).to_owned();
    let places = Places {
        floor_bytes: config.journal.free_space_floor_bytes,
        store: embedded_file(config).map(folder),
    };
    Ok(Engine::new(base(config, clock).await?, connect)?.showing(places))
}

fn pass_settings(config: &Config, now: Timestamp) -> PassSettings {
    PassSettings {
        lease: config.lease,
        renew_after: config.renew_after,
        first_backoff: config.retry_after_failure,
        longest_backoff: MAX_RETRY_AFTER_FAILURE,
        attempts: config.max_retries_per_pass.saturating_add(1),
        looks_again_every: LOOKS_AGAIN_EVERY,
        wakes: wakes(config, now),
        documents_name_provider: config.store.mapping.provider.is_some(),
        assumed_life: config.schedule.is_continuous().then_some(ASSUMED_LIFE),
        ending_within: ending_within(&config.schedule, now),
    }
}

/// The wakes, where a provider's access tokens are kept good.
fn wakes(config: &Config, now: Timestamp) -> Option<Arc<Wakes>> {
    let is_needed = config.providers.iter().any(|provider| provider.profile.keep == Keep::Access);
    is_needed.then(|| Arc::new(Wakes::new(config.schedule.clone(), now)))
}

/// How long before its end a login is named: long enough for two reports that name it.
fn ending_within(schedule: &Schedule, now: Timestamp) -> Duration {
    let gap = schedule.longest_gap(now).to_std().unwrap_or(Duration::MAX);
    gap.saturating_mul(2).max(ENDING_SOON)
}

/// Runs what blocks on the disk; a panic goes on here.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
