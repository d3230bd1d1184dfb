//! The arguments of `evergrant run`.

use crate::exit::Exit;
use clap::{Args, ValueEnum};
use std::num::NonZeroU64;

/// `evergrant run`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RunArgs {
    /// One pass over what is due, then end.
    #[arg(long)]
    pub once: bool,
    /// Only the documents of this provider (with --once).
    #[arg(long, value_name = "NAME", requires = "once")]
    pub provider: Option<String>,
    /// Take at most N tokens (with --once).
    #[arg(long, value_name = "N", requires = "once")]
    pub limit: Option<NonZeroU64>,
    /// Take every token: also those that are not due, and those of marked users. Not those that another process holds (with --once).
    #[arg(long, requires = "once")]
    pub force: bool,
    /// Mark every user whom the provider refuses, however many they are. Use it after exit code 5, when you have looked (with --once).
    #[arg(long, requires = "once")]
    pub accept_refusals: bool,
    /// Send what waits for the journal with this id: its machine is gone for good. `unknown` for claims of earlier versions.
    /// May be repeated (with --once).
    #[arg(long, value_name = "JOURNAL", requires = "once")]
    pub take_over: Vec<String>,
    /// Make the journal's open entries those of this store, and write their pairs into it: after a move to another
    /// database, or after a restore (with --once).
    #[arg(long, requires = "once")]
    pub adopt_store: bool,
    /// Say whom a pass would ask now, in which order, and how long that takes. Nothing is claimed, asked or written, also beside a
    /// service. It lists the first 100 of each provider, or the first N with `--limit N` (with --once).
    #[arg(long, requires = "once", conflicts_with_all = ["adopt_store", "accept_refusals", "succeed_on", "allow_empty"])]
    pub dry_run: bool,
    /// End with exit code 0 where only these reasons speak against it: for a Kubernetes Job, which has failed with any other
    /// code (with --once).
    #[arg(long, value_name = "REASON,…", value_enum, value_delimiter = ',', requires = "once")]
    pub succeed_on: Vec<SucceedOn>,
    /// Go on when the collection, or the store's file, isn't there: it is made later.
    #[arg(long)]
    pub allow_empty: bool,
}

/// Exit codes of a pass that went well for the program that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum SucceedOn {
    /// Exit code 3: users must log in again.
    NeedsLogin,
    /// Exit code 4: something is unfinished, and the next pass tries again.
    Unfinished,
}

impl SucceedOn {
    /// The exit code that it speaks of.
    #[must_use]
    pub const fn exit(self) -> Exit {
        match self {
            Self::NeedsLogin => Exit::NeedsLogin,
            Self::Unfinished => Exit::StillDue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_exit_codes() {
        for reason in SucceedOn::value_variants() {
            assert_eq!(reason.to_possible_value().unwrap().get_name(), reason.exit().word());
        }
    }
}
