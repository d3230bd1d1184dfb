//! What another program holds: settings → [`Engine`] → passes → [`Engine::close`].
//!
//! It is the engine of the binary behind a small face: what is documented here stays, and what isn't may change.

use crate::assembly;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, Inputs, Need};
use crate::engine;
use crate::exit::Exit;
use crate::failure::{Advice, told};
use crate::grant::http::Https;
use crate::pass::{PassError, PassRequest, Stop};
use crate::report::Reports;
use crate::report::summary::Summary;
use crate::store::StoreError;
use crate::store::import::{ImportError, ImportFormat, read_documents};
use crate::store::sqlite::SqliteStore;
use crate::token::{AccessToken, RefreshToken, State, TokenId};
use std::path::PathBuf;
use std::sync::Arc;

/// Settings that were read and checked.
#[derive(Debug, Clone)]
pub struct Settings(Config);

impl Settings {
    /// These settings over the defaults. No file and no environment variable is read, but for files that a setting names.
    ///
    /// The keys are those of `evergrant help settings`, as `store.url` or `providers.crm.token_url`; the values are written as
    /// after `--set`: `90s`, `400/min`, `email,userId`. A relative path starts at the working directory. `state_dir` and a
    /// provider with its credentials must be among them; of a key that comes twice the last value holds.
    ///
    /// # Errors
    /// An [`Error`] of [`Exit::Usage`] that names the key, what is wrong, and what to do. It shows no secret.
    pub fn new<K: Into<String>, V: Into<String>>(
        settings: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let settings: Vec<_> = settings.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Ok(Self(Config::of_settings(&settings, Need::Provider, Clock::system().now())?))
    }

    /// The settings that `evergrant run` has here: environment, then `.env`, then `file`, or `evergrant.toml`, or
    /// `/etc/evergrant/evergrant.toml`, then the defaults.
    ///
    /// # Errors
    /// An [`Error`] of [`Exit::Usage`] that names the place, the key, what is wrong, and what to do. It shows no secret.
    pub fn of_this_process(file: Option<PathBuf>) -> Result<Self, Error> {
        let inputs = Inputs::of_this_process(file, Vec::new())?;
        Ok(Self(Config::load(&inputs, Need::Provider, Clock::system().now())?))
    }

    /// What a person should know before the first pass, each a sentence with its hint.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings.iter().map(told).collect()
    }
}

/// Refreshes token documents, for as long as a program lives; cheap to clone.
///
/// It holds the journal in `state_dir` alone: while it is open, a second engine or `evergrant run` on that directory is
/// refused. All clones share one rate limit for each provider. It needs a tokio runtime with its time and I/O, and logs by
/// `tracing` under the target `evergrant`; no line of it holds a token or a secret.
///
#[cfg_attr(feature = "rehearsal", doc = "```")]
#[cfg_attr(not(feature = "rehearsal"), doc = "```ignore")]
/// use evergrant::sandbox::{Sandbox, SandboxConfig};
/// use evergrant::{Engine, Outcome, PassRequest, Settings, Stop, TokenId};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A provider on this machine, with one user. Yours is named by `provider`, or has a `token_url`.
/// let sandbox = Sandbox::start(SandboxConfig::default(), ([127, 0, 0, 1], 0).into()).await?;
/// let user = sandbox.users().remove(0);
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().display();
/// let settings = Settings::new([
///     ("state_dir", format!("{folder}/state")),
///     ("store.url", format!("sqlite:{folder}/tokens.db")),
///     ("provider", "generic".to_owned()),
///     ("token_url", sandbox.token_url()),
///     ("client_id", sandbox.config().client_id.clone()),
///     ("client_secret", sandbox.config().client_secret.clone()),
/// ])?;
/// let engine = Engine::open(&settings).await?;
/// engine.import(&format!(r#"{{"_id":"ann","refresh_token":"{}"}}"#, user.refresh_token)).await?;
///
/// let summary = engine.pass(&PassRequest::default(), &Stop::default()).await?;
/// assert_eq!(summary.count(Outcome::Refreshed), 1);
///
/// let ann = TokenId::from_extended_json(r#""ann""#);
/// let pair = engine.read(&ann).await?.expect("it was imported");
/// let refresh_token = pair.refresh_token.expect("it was refreshed");
/// assert_ne!(refresh_token.expose(), user.refresh_token);
/// engine.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    inner: engine::Engine,
    config: Arc<Config>,
}

impl Engine {
    /// Opens the journal and the store, and asks whether a pass could work: is the store there, and is it the one that the
    /// journal belongs to? It waits for a store that is away. An embedded store that isn't there is made; in a
    /// MongoDB the collection must exist, and the index of due documents is made.
    ///
    /// # Errors
    /// [`Error`]: [`Exit::JournalHeld`] while another process has the journal, [`Exit::Unavailable`] when the store can't be
    /// reached, [`Exit::Usage`] when a setting doesn't fit what is there.
    pub async fn open(settings: &Settings) -> Result<Self, Error> {
        let config = Arc::new(settings.0.clone());
        let inner = assembly::engine(&config, &Clock::system(), &Https).await?;
        if let Err(error) = inner.ready(&Stop::default(), false).await {
            inner.close().await;
            return Err(error.into());
        }
        Ok(Self { inner, config })
    }

    /// Runs one pass of each provider at the same time, over what is due, or over what `request` says.
    ///
    /// The first pass settles what an earlier process had left, before it sends anything. A second call waits for
    /// the first one's passes. What goes wrong with a document, a provider or the store is in the summary, and so is what to do
    /// about it: [`Summary::exit`] is [`Exit::Well`] when nothing new needs a person.
    ///
    /// **Must run to completion**: end it by `stop`. Where the future is dropped, or the process is killed, no received pair is
    /// lost; what is on its way is settled by the first pass of the next process.
    ///
    /// # Errors
    /// [`Error`] when no pass could begin; nothing was redeemed then.
    pub async fn pass(&self, request: &PassRequest, stop: &Stop) -> Result<Summary, Error> {
        Ok(self.inner.run(request, stop, Arc::new(Reports::new())).await?)
    }

    /// Reads one document by its `_id`; none where there is no such document.
    ///
    /// # Errors
    /// [`Error`] when the store can't be read.
    pub async fn read(&self, id: &TokenId) -> Result<Option<Pair>, Error> {
        let documents = self.inner.base.store.read(std::slice::from_ref(id)).await?;
        Ok(documents.into_iter().next().map(|document| Pair {
            refresh_token: document.refresh_token.ok(),
            access_token: document.access_token,
            access_expires_at: document.bookkeeping.access_expires_at,
            state: document.bookkeeping.state,
        }))
    }

    /// Puts documents into the embedded store, as `evergrant tokens import` does; gives back how many there were.
    ///
    /// `documents` is extended JSON: objects one after the other, or one array of them. All are written, or none. One
    /// that is there already, by `_id`, gets the new fields, and keeps its pair where that is newer.
    ///
    /// # Errors
    /// [`Error`] of [`Exit::Usage`] when the documents can't be read, or are to go into a MongoDB: a program writes there itself.
    pub async fn import(&self, documents: &str) -> Result<u64, Error> {
        let Some(file) = assembly::embedded_file(&self.config) else {
            return Err(Error(Cause::NotEmbedded));
        };
        let read = read_documents(documents.as_bytes(), Some(ImportFormat::Json));
        let documents = read.map(|located| Ok(located?.1)).collect::<Result<Vec<_>, ImportError>>()?;
        let (state_dir, rotations) = (self.config.state_dir.clone(), &self.config.rotations);
        let (mapping, now) = (&self.config.store.mapping, self.inner.base.clock.now());
        let store = SqliteStore::open(file, mapping.clone()).await?;
        let terms = assembly::import_terms(&store, state_dir, mapping, rotations, &documents, now).await?;
        let imported = store.import_as(documents, terms).await?;
        Ok(imported.inserted + imported.replaced + imported.kept)
    }

    /// Gives everything up. If this is the last clone, it waits until the journal is closed and its lock is free.
    pub async fn close(self) {
        self.inner.close().await;
    }
}

/// What a document holds. Its `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The refresh token; none where the document holds none that can be sent.
    pub refresh_token: Option<RefreshToken>,
    /// The access token; none where no field of documents is mapped for it, or it is empty.
    pub access_token: Option<AccessToken>,
    /// When the access token ends, as the provider said; none where it didn't, or nothing was refreshed yet.
    pub access_expires_at: Option<Timestamp>,
    /// How the user's login stands: must they log in again?
    pub state: State,
}

/// What couldn't be done, and why. Shows no token and no secret.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Pass(#[from] PassError),
    #[error("the documents can't be read")]
    Import(#[from] ImportError),
    #[error("documents are imported into the embedded store only, and `store.url` names a MongoDB")]
    NotEmbedded,
}

impl Error {
    /// What kind of error it is: the same words as the exit codes of `evergrant`.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match &self.0 {
            Cause::Config(_) | Cause::Import(_) | Cause::NotEmbedded => Exit::Usage,
            Cause::Pass(error) => error.exit(),
        }
    }

    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.0 {
            Cause::Config(error) => error.hint(),
            Cause::Pass(error) => error.hint(),
            Cause::Import(_) => None,
            Cause::NotEmbedded => Some("write them into that database by its own driver".into()),
        }
        .map(std::borrow::Cow::into_owned)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self(error.into())
    }
}

impl From<PassError> for Error {
    fn from(error: PassError) -> Self {
        Self(error.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self(PassError::from(error).into())
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        Self(error.into())
    }
}

#[cfg(test)]
#[cfg(feature = "rehearsal")]
mod tests;
