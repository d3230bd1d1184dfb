//! `evergrant completions` and `evergrant man`: what a package installs beside the binary, made from the command line's own table.

use super::{CommandError, Surroundings, print};
use crate::cli::Cli;
use crate::exit::Exit;
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;

/// Prints the script of this shell.
pub fn completions(shell: Shell, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "evergrant", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Well)
}

/// Prints the manual page, or writes the pages of all commands into this folder.
pub fn man(directory: Option<&Path>, surroundings: &Surroundings) -> Result<Exit, CommandError> {
    surroundings.start_logging();
    let Some(directory) = directory else {
        let mut page = Vec::new();
        self::page(Cli::command()).render(&mut page).map_err(CommandError::io("make the manual page"))?;
        print(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(Exit::Well);
    };
    let cannot = || CommandError::io(format!("write the manual pages into {}", directory.display()));
    std::fs::create_dir_all(directory).map_err(cannot())?;
    let mut all = vec![Cli::command()];
    all[0].build();
    while let Some(command) = all.pop() {
        all.extend(command.get_subcommands().cloned());
        page(command).generate_to(directory).map_err(cannot())?;
    }
    Ok(Exit::Well)
}

/// The page of a command; clap names the program at its foot only for the first one.
fn page(command: clap::Command) -> Man {
    Man::new(command).source(concat!("evergrant ", env!("CARGO_PKG_VERSION")))
}
