//! The binary: the command line → [`evergrant::commands::run`] → an exit code; no logic.

use clap::Parser as _;
use evergrant::cli::{self, Cli};
use evergrant::{commands, silence};
use std::process::ExitCode;

fn main() -> ExitCode {
    silence::keep();
    commands::run(Cli::parse_from(cli::settings_last(std::env::args_os()))).into()
}
