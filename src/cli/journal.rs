//! The arguments of `evergrant journal`.

use crate::journal::EntryId;
use clap::Subcommand;

/// `evergrant journal …`.
#[derive(Debug, Clone, Subcommand)]
pub enum JournalCommand {
    /// List open entries: answers not yet written back, requests without an answer, parked pairs.
    #[command(after_help = "Example:\n  evergrant journal list --orphans")]
    List {
        /// Only parked pairs: why each is parked, and what to do with it.
        #[arg(long, visible_alias = "parked")]
        orphans: bool,
    },
    /// Write back what an earlier process left, and redeem nothing.
    #[command(after_help = "Example:\n  evergrant journal recover")]
    Recover {
        /// Make the journal's open entries those of this store, and write their pairs into it: after a move to another
        /// database, or after a restore.
        #[arg(long)]
        adopt_store: bool,
    },
    /// Write one parked pair into its document, in place of the token that stands there now.
    #[command(after_help = "Example:\n  evergrant journal apply 7")]
    Apply {
        /// The number that `journal list --orphans` shows.
        id: EntryId,
    },
    /// Allow a second request for a token whose answer could not be read, because the answer held no pair.
    #[command(after_help = "Example:\n  evergrant journal retry 7 8 9")]
    Retry {
        /// The numbers that `journal list` shows.
        #[arg(required = true)]
        ids: Vec<EntryId>,
    },
    /// Print an answer that the journal holds, without its tokens: for a ticket, and for `providers test --answer`.
    #[command(after_help = "Example:\n  evergrant journal capture 7 > answer.http")]
    Capture {
        /// The number that `journal list` shows.
        id: EntryId,
    },
    /// Delete one parked pair, or one answer that could not be read, for good.
    #[command(after_help = "Example:\n  evergrant journal discard 7 --yes")]
    Discard {
        /// The number that `journal list` shows.
        id: EntryId,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}
