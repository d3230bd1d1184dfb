//! The commands: each takes its arguments and the surroundings, prints data to stdout, and ends with an exit code.

pub mod check;
mod completions;
#[cfg(feature = "rehearsal")]
pub mod demo;
mod forecast;
pub mod help;
pub mod journal;
pub mod providers;
mod remark;
pub mod run;
#[cfg(feature = "rehearsal")]
pub mod sandbox;
mod shown;
mod status;
pub mod tokens;

use crate::cli::{self, Cli, Command, Format, Global};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Inputs, Need, profile_hint};
use crate::daemon::DaemonError;
use crate::exit::Exit;
use crate::failure::{Advice, told};
use crate::journal::JournalError;
use crate::pass::{ApplyError, PassError};
use crate::provider::profile::ProfileError;
use crate::store::StoreError;
use crate::watch::admin::ListenError;
use crate::{silence, telemetry};
use clap::Parser as _;
use indicatif::MultiProgress;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// A command that couldn't do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A pass couldn't begin.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Passes on the schedule couldn't begin.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// An entry of the journal couldn't be dealt with by hand.
    #[error(transparent)]
    ByHand(#[from] ApplyError),
    /// A provider profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Metrics and health can't be shown where the settings say.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What was asked for can't be done.
    #[error("{message}")]
    Usage {
        /// What, and why not.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// Another process is at work, and this can't be done beside it.
    #[error("{message}")]
    InUse {
        /// What, and beside which one.
        message: String,
        /// What to do.
        hint: String,
    },
    /// Reading or writing something else than the store or the journal.
    #[error("can't {action}")]
    Io {
        /// In words: `read tokens.json`.
        action: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A result that JSON has no form for: an error of ours.
    #[error("{what} can't be written as JSON")]
    NoJson {
        /// In words: `the result`.
        what: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A thread of ours panicked.
    #[error("{what} panicked")]
    Panicked {
        /// In words: `reading the journal`.
        what: &'static str,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
    /// Another error of ours.
    #[error("{0}")]
    Internal(String),
}

impl CommandError {
    /// Wraps an I/O error with what was being done.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// What was asked for can't be done, and what to do instead.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::InUse { .. } => Exit::JournalHeld,
            Self::Config(_) | Self::Profile(_) | Self::Listen(_) | Self::Usage { .. } => Exit::Usage,
            Self::Store(error) => error.exit(),
            Self::Journal(error) => error.exit(),
            Self::Pass(error) => error.exit(),
            Self::Daemon(error) => error.exit(),
            Self::ByHand(error) => error.exit(),
            Self::Io { .. } | Self::NoJson { .. } | Self::Panicked { .. } | Self::Internal(_) => {
                Exit::Internal
            }
        }
    }
}

impl Advice for CommandError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Pass(error) => error.hint(),
            Self::Daemon(error) => error.hint(),
            Self::Listen(error) => error.hint(),
            Self::ByHand(error) => error.hint(),
            Self::Usage { hint, .. } => hint.as_deref().map(Cow::from),
            Self::InUse { hint, .. } => Some(hint.into()),
            Self::Profile(error) => profile_hint(error),
            Self::Io { .. } | Self::NoJson { .. } | Self::Panicked { .. } | Self::Internal(_) => None,
        }
    }
}

/// The binary: the command line → a command → an exit code.
///
/// Here and not in `main.rs`, so that the code of all commands is compiled once.
#[must_use]
pub fn main() -> ExitCode {
    silence::keep();
    run(Cli::parse_from(cli::settings_last(std::env::args_os()))).into()
}

/// Runs a command to its end on a runtime of its own; an error is told on stderr.
fn run(cli: Cli) -> Exit {
    let surroundings = Surroundings { global: cli.global, clock: Clock::system(), talk: telemetry::stderr() };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::io("start the runtime"))
        .and_then(|runtime| runtime.block_on(dispatch(cli.command, &surroundings)))
        .unwrap_or_else(|error| {
            surroundings.complain(&error);
            error.exit()
        })
}

async fn dispatch(command: Command, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => run::run(args, surroundings).await,
        Command::Check(args) => check::run(&args, surroundings).await,
        Command::Status(args) => status::run(&args, surroundings).await,
        Command::Tokens(command) => tokens::run(command, surroundings).await,
        Command::Journal(command) => journal::run(command, surroundings).await,
        Command::Providers(command) => providers::run(command, surroundings).await,
        #[cfg(feature = "rehearsal")]
        Command::Sandbox(args) => sandbox::run(args, surroundings).await,
        #[cfg(feature = "rehearsal")]
        Command::Demo(args) => demo::run(args, surroundings).await,
        Command::Help(args) => help::run(&args, surroundings),
        Command::Completions { shell } => completions::completions(shell, surroundings),
        Command::Man { directory } => completions::man(directory.as_deref(), surroundings),
    }
}

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The options of every command.
    pub global: Global,
    /// The wall clock.
    pub clock: Clock,
    /// Stderr, shared by log lines and the progress bar.
    pub talk: MultiProgress,
}

impl Surroundings {
    /// Reads the settings that the command needs, starts logging as they say, and says what they warn of.
    pub fn config(&self, need: Need) -> Result<Config, CommandError> {
        let config = self.config_in_silence(need)?;
        for warning in &config.warnings {
            tracing::warn!("{}", told(warning));
        }
        Ok(config)
    }

    /// Reads the settings that the command needs, and starts logging as they say; their warnings are the command's to
    /// tell.
    pub fn config_in_silence(&self, need: Need) -> Result<Config, CommandError> {
        let inputs = Inputs::of_this_process(self.global.config.clone(), self.global.set.clone())?;
        let config = Config::load(&inputs, need, self.clock.now())?;
        if let Some(plan) = inputs.kill_at() {
            crate::kill_point::arm(plan).map_err(|message| CommandError::Usage { message, hint: None })?;
        }
        telemetry::start(&self.global, Some(&config.log), &self.talk);
        Ok(config)
    }

    /// Starts logging for a command that has no settings.
    pub fn start_logging(&self) {
        telemetry::start(&self.global, None, &self.talk);
    }

    /// Tells a person on stderr why the command couldn't do its work.
    pub fn complain(&self, error: &CommandError) {
        let text = format!("evergrant: {}", told(error));
        // A closed stderr is no reason to fail twice.
        let _ = self.talk.suspend(|| writeln!(io::stderr().lock(), "{text}"));
    }

    /// Prints a command's result to stdout: `text` for people, or `data` as one JSON object.
    pub fn print(&self, text: &str, data: &impl Serialize) -> Result<(), CommandError> {
        match self.global.format {
            Format::Text => print(text),
            Format::Json => {
                let json = serde_json::to_string_pretty(data)
                    .map_err(|source| CommandError::NoJson { what: "the result", source })?;
                print(&json)
            }
        }
    }
}

/// Prints a line to stdout. A reader that has gone away (`| head`) isn't an error.
pub fn print(text: &str) -> Result<(), CommandError> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::io("write to stdout")(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[cfg(feature = "rehearsal")]
mod tests;
