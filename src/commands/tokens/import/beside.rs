//! The journal beside an import: what it knows of the tokens, and the process that may hold it.

use crate::assembly::import_terms;
use crate::clock::Clock;
use crate::commands::{CommandError, Surroundings};
use crate::config::Config;
use crate::journal::{Journal, JournalError, Lock};
use crate::provider::Rotation;
use crate::store::mapping::Mapping;
use crate::store::sqlite::{ImportTerms, SqliteStore};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tracing::info;

/// What an import is compared with, beside the store.
///
/// An import doesn't need the journal's lock: each document is compared and written in one transaction, and a pass writes
/// its pairs by compare-and-swap. To overwrite is another matter: the stored pair may be on its way.
pub(super) struct Beside {
    state_dir: PathBuf,
    mapping: Mapping,
    clock: Clock,
    overwrite: bool,
    /// What each provider does with a redeemed token.
    rotations: BTreeMap<String, Rotation>,
    _lock: Option<Lock>,
}

impl Beside {
    /// Takes the journal's lock where the import is to overwrite; otherwise says who holds it.
    pub(super) async fn new(
        config: &Config,
        overwrite: bool,
        surroundings: &Surroundings,
    ) -> Result<Self, CommandError> {
        let (state_dir, clock) = (config.state_dir.clone(), surroundings.clock.clone());
        let looked = in_the_background(move || {
            if overwrite {
                return Ok((Journal::lock(&state_dir, &clock)?, None));
            }
            Ok((None, Journal::holder(&state_dir)?))
        });
        let (lock, holder) = looked.await.map_err(in_use)?;
        if let Some(holder) = holder {
            info!(
                "{holder} uses this state directory and may go on: a pair that it writes meanwhile is kept"
            );
        }
        Ok(Self {
            state_dir: config.state_dir.clone(),
            mapping: config.store.mapping.clone(),
            clock: surroundings.clock.clone(),
            overwrite,
            rotations: config.rotations.clone(),
            _lock: lock,
        })
    }

    /// No journal, and no process at work.
    #[cfg(test)]
    pub(super) fn nothing(state_dir: &std::path::Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            mapping: Mapping::default(),
            clock: Clock::system(),
            overwrite: false,
            rotations: BTreeMap::new(),
            _lock: None,
        }
    }

    /// What is known of the refresh tokens in these documents, and of those that they would replace.
    pub(super) async fn terms(
        &self,
        store: &SqliteStore,
        documents: &[Map<String, Value>],
    ) -> Result<ImportTerms, CommandError> {
        let now = self.clock.now();
        let (state_dir, rotations) = (self.state_dir.clone(), &self.rotations);
        let terms = import_terms(store, state_dir, &self.mapping, rotations, documents, now).await?;
        Ok(ImportTerms { overwrite: self.overwrite, ..terms })
    }
}

async fn in_the_background<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|source| CommandError::Panicked { what: "reading the journal", source })?
}

fn in_use(error: CommandError) -> CommandError {
    match error {
        CommandError::Journal(JournalError::Held { directory, holder }) => CommandError::InUse {
            message: format!(
                "`--overwrite` replaces pairs, and {holder} may have newer ones on their way: it uses the state directory {}",
                directory.display()
            ),
            hint: "stop that process, import, and start it again; or import without `--overwrite`".to_owned(),
        },
        error => error,
    }
}
