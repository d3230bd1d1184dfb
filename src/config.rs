//! The configuration: layered, typed, checked against itself before anything is touched.
//!
//! A value on the command line wins over the environment, that over `.env`, that over `evergrant.toml`, that over the
//! default. This module is the only reader of the environment.

mod chances;
mod checks;
mod env_file;
pub mod environment;
mod error;
mod file;
mod journal;
mod keep;
pub mod keys;
pub mod kind;
mod layers;
mod providers;
mod secret;
mod store;
mod variables;
mod warning;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use crate::duration::words;
pub use chances::Chances;
pub use checks::drain_warning;
pub use error::ConfigError;
pub(crate) use error::profile_hint;
pub use keep::Keeping;
pub(crate) use providers::check_file;
pub use warning::Warning;

use crate::{
    clock::Timestamp,
    journal::JournalSettings,
    provider::{Provider, Rotation},
    schedule::{RenewAfter, Schedule, ScheduleError},
    store::StoreSettings,
};
use environment::Variables;
use layers::{Layer, Layers};
use secrecy::ExposeSecret as _;
use secret::SettingsFile;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The file that is read from the working directory when none is named.
pub const FILE_NAME: &str = "evergrant.toml";

/// The file that is read when there is none in the working directory either.
pub const SYSTEM_FILE: &str = "/etc/evergrant/evergrant.toml";

/// The longest wait that doubling [`Config::retry_after_failure`] comes to.
pub const MAX_RETRY_AFTER_FAILURE: Duration = Duration::from_hours(24);

/// A configuration that was checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the documents are and how they look.
    pub store: StoreSettings,
    /// The providers, sorted by name; empty where the command needs none.
    pub providers: Vec<Arc<Provider>>,
    /// The names of all providers that are configured, also where the command needs none; they may lack credentials.
    pub provider_names: Vec<String>,
    /// What each of them does with a redeemed refresh token, where its profile can be read.
    pub rotations: BTreeMap<String, Rotation>,
    /// When passes start.
    pub schedule: Schedule,
    /// The directory of the journal and of the embedded store; it may not exist yet.
    pub state_dir: PathBuf,
    /// How the journal is kept: its room and its keys. The embedded store keeps the same room.
    pub journal: JournalSettings,
    /// The share of a refresh token's life after which it is due.
    pub renew_after: RenewAfter,
    /// How long a claim holds a document; longer than any provider's request timeout and
    /// [`LEASE_MARGIN`](crate::token::LEASE_MARGIN).
    pub lease: Duration,
    /// How long a stop waits for grants that were sent.
    pub stop_grace: Duration,
    /// The first wait after a failure; it doubles up to [`MAX_RETRY_AFTER_FAILURE`].
    pub retry_after_failure: Duration,
    /// How often one pass tries the same token again; 0 for never.
    pub max_retries_per_pass: u32,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What the process shows of itself.
    pub watch: crate::watch::WatchSettings,
    /// What a person should know before the first pass.
    pub warnings: Vec<Warning>,
    /// The files that were read, strongest first.
    pub sources: Vec<String>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, as `tracing_subscriber::EnvFilter` reads it.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a command can't work without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Documents or the journal only: no provider is built, and no client id or secret is read.
    Store,
    /// At least one provider with its credentials.
    Provider,
}

/// Everything that the configuration is made from.
#[derive(Clone)]
pub struct Inputs {
    /// `--set KEY=VALUE`, and flags that stand for a key; a later one wins.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub variables: Variables,
    /// Where `.env` and [`FILE_NAME`] are looked for, and where relative paths start.
    pub working_directory: PathBuf,
    /// `--config FILE`; it must be there.
    pub file: Option<PathBuf>,
    /// [`SYSTEM_FILE`], or a test's.
    pub system_file: PathBuf,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inputs").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Inputs {
    /// This process's environment and working directory.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn of_this_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Result<Self, ConfigError> {
        Ok(Self {
            flags,
            variables: environment::of_this_process(),
            working_directory: working_directory()?,
            file,
            system_file: PathBuf::from(SYSTEM_FILE),
        })
    }

    /// Where a test wants this process to be killed, as [`crate::kill_point::arm`] takes it.
    #[must_use]
    pub fn kill_at(&self) -> Option<&str> {
        environment::kill_at(&self.variables)
    }
}

impl Config {
    /// Reads all layers and checks them. Reads files, writes nothing, opens no connection.
    ///
    /// # Errors
    /// See [`ConfigError`]: usage, exit code 2.
    pub fn load(inputs: &Inputs, need: Need, now: Timestamp) -> Result<Self, ConfigError> {
        let mut files = Vec::new();
        let layers = gather(inputs, &mut files)?;
        let looked_for = looked_for(inputs, &files);
        Self::of_layers(&layers, &files, &inputs.variables, &looked_for, need, now)
    }

    /// The settings that a program gives, over the defaults; reads no file but those that a setting names, and no environment.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn of_settings(
        settings: &[(String, String)],
        need: Need,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let working_directory = working_directory()?;
        let mut layers = Layers::of_defaults(&working_directory)?;
        lay_given(&mut layers, settings, Layer::Program)?;
        Self::of_layers(&layers, &[], &Variables::new(), "it is not among the settings", need, now)
    }

    fn of_layers(
        layers: &Layers,
        files: &[SettingsFile],
        variables: &Variables,
        looked_for: &str,
        need: Need,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let credentials = environment::path(variables, "CREDENTIALS_DIRECTORY");
        let mut warnings = secret::open_file_warnings(layers, files);

        let state_dir = state_dir(layers, variables)?;
        let store = store::build(layers, &state_dir, credentials.as_deref(), &mut warnings)?;
        if crate::store::sqlite_path(store.url.expose_secret()).is_none() {
            warnings.extend(secret::command_line_warning(layers, "store.url"));
        }
        let journal = journal::build(layers, credentials.as_deref(), &mut warnings)?;
        let watch = watch::build(layers, credentials.as_deref(), &mut warnings)?;
        let schedule = schedule(layers, now)?;
        let config = Self {
            store,
            providers: Vec::new(),
            provider_names: providers::names(layers),
            rotations: providers::rotations(layers),
            schedule,
            state_dir,
            journal,
            renew_after: layers.share("renew_after"),
            lease: layers.duration("lease"),
            stop_grace: layers.duration("stop_grace"),
            retry_after_failure: layers.duration("retry_after_failure"),
            max_retries_per_pass: layers.defaulted("max_retries_per_pass"),
            log: LogSettings { format: layers.defaulted("log.format"), level: layers.defaulted("log.level") },
            watch,
            warnings,
            sources: files.iter().map(|file| file.shown.clone()).collect(),
        };
        checks::check_log_level(layers, &config.log.level)?;
        match need {
            Need::Store => Ok(config),
            Need::Provider => config.with_providers(layers, credentials.as_deref(), looked_for, now),
        }
    }

    fn with_providers(
        mut self,
        layers: &Layers,
        credentials: Option<&Path>,
        looked_for: &str,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let registrations = providers::build(layers, credentials, looked_for)?;
        for registration in &registrations {
            checks::check_lease(layers, self.lease, registration)?;
            let lifetime = registration.provider.profile.sliding_life();
            let chances = Chances::of(&self, &registration.provider, now);
            if let Some((chances, lifetime)) = chances.zip(lifetime) {
                checks::check_chances(layers, &chances, lifetime, registration)?;
                checks::check_min_age(layers, &self.schedule, lifetime, registration, now)?;
                self.warnings.extend(chances.warning());
            }
            keep::check(layers, &self.schedule, registration, now)?;
            self.warnings.extend(Chances::warning_of_a_fixed_login(&self, &registration.provider, now));
            self.warnings.extend(checks::stop_warning(layers, self.stop_grace, registration));
            self.warnings
                .extend(secret::command_line_warning(layers, &registration.scope.dotted("client_secret")));
        }
        self.providers = registrations.into_iter().map(|registration| registration.provider).collect();
        Ok(self)
    }
}

/// Where settings files were looked for, for a person who has put them somewhere else.
fn looked_for(inputs: &Inputs, files: &[SettingsFile]) -> String {
    let here = inputs.working_directory.display();
    let part = |layer: Layer, none: String| {
        let read = files.iter().find(|file| file.layer == layer);
        read.map_or(none, |file| format!("`{}` was read", file.shown))
    };
    let there = inputs.system_file.parent().unwrap_or(Path::new("/")).display();
    let env_file = part(Layer::EnvFile, format!("no `.env` in {here}"));
    let file = part(Layer::File, format!("no `{FILE_NAME}` in {here} or {there}"));
    format!("{env_file}, {file}")
}

/// Lays all layers over each other, weakest first, and notes which files were read, strongest first.
fn gather(inputs: &Inputs, files: &mut Vec<SettingsFile>) -> Result<Layers, ConfigError> {
    let mut layers = Layers::of_defaults(&inputs.working_directory)?;
    if let Some((path, text)) = read_file(inputs)? {
        let shown = shown(&path, inputs);
        file::lay(&mut layers, &path, &shown, &text)?;
        files.insert(0, SettingsFile { layer: Layer::File, path, shown });
    }
    let env_file = inputs.working_directory.join(".env");
    if let Some(text) = read_if_there(&env_file)? {
        env_file::lay(&mut layers, &env_file, &text, &inputs.variables)?;
        files.insert(0, SettingsFile { layer: Layer::EnvFile, path: env_file, shown: ".env".to_owned() });
    }
    environment::lay(&mut layers, &inputs.variables)?;
    lay_given(&mut layers, &inputs.flags, Layer::Flag)?;
    Ok(layers)
}

/// Lays pairs of key and text over the layers; a later pair wins.
fn lay_given(layers: &mut Layers, given: &[(String, String)], layer: Layer) -> Result<(), ConfigError> {
    for (name, value) in given {
        let at = layer.name().to_owned();
        let Some(key) = keys::find(name) else {
            let nearest = keys::nearest(name);
            return Err(ConfigError::UnknownKey { at, what: "key", name: name.clone(), nearest });
        };
        if let Some((provider, _)) = keys::of_named_provider(name) {
            file::check_provider_name(provider, &at)?;
        }
        layers.lay_text(name, key, value, layer, &at)?;
    }
    Ok(())
}

fn working_directory() -> Result<PathBuf, ConfigError> {
    std::env::current_dir().map_err(|source| ConfigError::Unreadable { path: PathBuf::from("."), source })
}

/// The configuration file: the named one, else the one here, else the machine's.
fn read_file(inputs: &Inputs) -> Result<Option<(PathBuf, String)>, ConfigError> {
    if let Some(named) = &inputs.file {
        let path = inputs.working_directory.join(named);
        let text = read_if_there(&path)?.ok_or_else(|| ConfigError::FileMissing { path: named.clone() })?;
        return Ok(Some((path, text)));
    }
    for path in [inputs.working_directory.join(FILE_NAME), inputs.system_file.clone()] {
        if let Some(text) = read_if_there(&path)? {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

fn read_if_there(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    }
}

/// A file's path as a person would type it here.
fn shown(path: &Path, inputs: &Inputs) -> String {
    let here = &inputs.working_directory;
    // A service stands in `/`, and everything is below that.
    let below = if here.parent().is_some() { path.strip_prefix(here).unwrap_or(path) } else { path };
    below.display().to_string()
}

fn state_dir(layers: &Layers, variables: &Variables) -> Result<PathBuf, ConfigError> {
    if let Some(set) = layers.path("state_dir") {
        return Ok(set);
    }
    let variable = |name: &str| environment::path(variables, name);
    // systemd joins several directories by colons; ours is the first.
    let by_systemd = variable("STATE_DIRECTORY")
        .and_then(|joined| joined.to_str().and_then(|joined| joined.split(':').next()).map(PathBuf::from));
    by_systemd
        .or_else(|| variable("XDG_STATE_HOME").map(|home| home.join("evergrant")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/evergrant")))
        .ok_or_else(|| ConfigError::Missing {
            problem: "there is no place for the journal, and no home directory".to_owned(),
            key: "state_dir".to_owned(),
            variable: keys::variable("state_dir"),
            what: "a directory that survives a restart".to_owned(),
        })
}

fn schedule(layers: &Layers, now: Timestamp) -> Result<Schedule, ConfigError> {
    let (text, zone) = (layers.defaulted::<String>("schedule"), layers.defaulted::<String>("timezone"));
    Schedule::parse(&text, &zone, now).map_err(|problem| {
        let (key, hint) = match &problem {
            ScheduleError::Zone { nearest, .. } => {
                ("timezone", nearest.map(|near| format!("did you mean `{near}`?")))
            }
            ScheduleError::Cron { .. } | ScheduleError::Interval { .. } => ("schedule", None),
            ScheduleError::Never { .. } => {
                ("schedule", Some("choose a day that the month has, like `0 3 1 * *`".to_owned()))
            }
        };
        ConfigError::Schedule { at: layers.at(key), key, hint, problem }
    })
}
