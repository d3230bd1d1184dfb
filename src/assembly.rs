//! From settings to what works with them: the one place where store, journal, providers and engine are put together.

use crate::chance::Chance;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, MAX_RETRY_AFTER_FAILURE};
use crate::engine::Engine;
use crate::grant::Connect;
use crate::journal::{Journal, JournalError};
use crate::pass::{Base, LOOKS_AGAIN_EVERY, PassError, PassSettings};
use crate::provider::Rotation;
use crate::provider::keep::Keep;
use crate::report::ENDING_SOON;
use crate::schedule::{Schedule, Wakes};
use crate::store::import::{provider_of, refresh_token};
use crate::store::mapping::Mapping;
use crate::store::sqlite::{ImportTerms, SqliteStore, import_id};
use crate::store::{Store, StoreError, sqlite_path};
use crate::token::Fingerprint;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
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
    Engine::new(base(config, clock).await?, connect)
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

/// What is known of the refresh tokens in these documents, and of those that they would replace in the embedded store: what
/// an import is compared with.
///
/// # Errors
/// [`PassError`] when the store or the journal can't be read.
pub(crate) async fn import_terms(
    store: &SqliteStore,
    state_dir: PathBuf,
    mapping: &Mapping,
    documents: &[Map<String, Value>],
    rotations: &BTreeMap<String, Rotation>,
    now: Timestamp,
) -> Result<ImportTerms, PassError> {
    let ids: Vec<_> = documents.iter().filter_map(import_id).collect();
    let stored = store.read(&ids).await?;
    let stored = stored.iter().filter_map(|document| {
        Some((document.provider.as_deref(), document.refresh_token.as_ref().ok()?.fingerprint()))
    });
    let of_file = documents.iter().filter_map(|document| {
        Some((provider_of(document, mapping), refresh_token(document, mapping).ok()?.fingerprint()))
    });
    let (mut tokens, mut still_good) = (Vec::<Fingerprint>::new(), HashSet::new());
    for (provider, token) in stored.chain(of_file) {
        tokens.push(token);
        still_good.extend(stays_good(provider, mapping, rotations).then_some(token));
    }
    let known = on_a_thread(move || Journal::known(&state_dir, &tokens)).await?;
    Ok(ImportTerms {
        overwrite: false,
        // A token that stays good is as good as any other, however often it was redeemed.
        redeemed: known.redeemed.difference(&still_good).copied().collect(),
        on_their_way: known.on_their_way,
        now: Some(now),
    })
}

/// Does the provider that a document names, or the only one, take a redeemed token? In doubt it doesn't.
fn stays_good(provider: Option<&str>, mapping: &Mapping, rotations: &BTreeMap<String, Rotation>) -> bool {
    let only = || match (&mapping.provider, rotations.len()) {
        (None, 1) => rotations.values().next(),
        _ => None,
    };
    let rotation = provider.map_or_else(only, |name| rotations.get(name));
    rotation == Some(&Rotation::None)
}

/// Runs what blocks on the disk; a panic goes on here.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
