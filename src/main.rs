//! The binary: parse → runtime → dispatch → exit code; no logic.

use clap::Parser as _;
use evergrant::cli::{self, Cli, Command};
use evergrant::clock::Clock;
use evergrant::commands::{self, CommandError, Surroundings};
use evergrant::exit::Exit;
use evergrant::{silence, telemetry};
use std::process::ExitCode;

fn main() -> ExitCode {
    silence::keep();
    let cli = Cli::parse_from(cli::settings_last(std::env::args_os()));
    let surroundings = Surroundings { global: cli.global, clock: Clock::system(), talk: telemetry::stderr() };
    let exit = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::io("start the runtime"))
        .and_then(|runtime| runtime.block_on(dispatch(cli.command, &surroundings)));
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            surroundings.complain(&error);
            error.exit().into()
        }
    }
}

async fn dispatch(command: Command, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    match command {
        Command::Run(args) => commands::run::run(args, surroundings).await,
        Command::Check(args) => commands::check::run(&args, surroundings).await,
        Command::Tokens(command) => commands::tokens::run(command, surroundings).await,
        Command::Journal(command) => commands::journal::run(command, surroundings).await,
        Command::Providers(command) => commands::providers::run(command, surroundings).await,
        #[cfg(feature = "rehearsal")]
        Command::Sandbox(args) => commands::sandbox::run(args, surroundings).await,
        #[cfg(feature = "rehearsal")]
        Command::Demo(args) => commands::demo::run(args, surroundings).await,
        Command::Help(args) => commands::help::run(&args, surroundings),
    }
}
