//! The arguments of `evergrant journal`.

use crate::clock::Timestamp;
use crate::journal::EntryId;
use chrono::{NaiveDate, NaiveTime};
use clap::{Args, Subcommand};

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
    /// Make what the journal holds of another store this store's: open entries, kept and parked pairs. After a restore, a
    /// move to another database, or a renamed collection. Shows first what it found.
    #[command(after_help = "Example:\n  evergrant journal adopt")]
    Adopt {
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Write one parked pair into its document, in place of the token that stands there now.
    #[command(after_help = "Examples:\n  evergrant journal apply 7\n  \
                      evergrant journal apply 7 --to 65f0c1d2e3a4b5c6d7e8f901")]
    Apply {
        /// The number that `journal list --orphans` shows.
        id: EntryId,
        /// Into this document, by its `_id`, if it holds the token for which the pair came: after a move of the document.
        #[arg(long, value_name = "DOCUMENT-ID")]
        to: Option<String>,
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
    /// Forget that tokens which documents hold now were redeemed, so that they are sent again. Entries and answers stay.
    #[command(after_help = "Examples:\n  evergrant journal forget --id 65f0c1d2e3a4b5c6d7e8f901\n  \
                      evergrant journal forget --provider google --since 2026-11-21T03:00:00Z")]
    Forget(ForgetArgs),
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

/// `evergrant journal forget`.
#[derive(Debug, Clone, Args)]
pub struct ForgetArgs {
    /// The token of this document: its `_id`, as `tokens list` shows it.
    #[arg(long, value_name = "ID", conflicts_with_all = ["provider", "all", "since", "before"])]
    pub id: Option<String>,
    /// The tokens of all documents of this provider; with --all, --since or --before.
    #[arg(long, value_name = "NAME", required_unless_present = "id")]
    pub provider: Option<String>,
    /// All of them, whenever they were redeemed.
    #[arg(long, conflicts_with_all = ["since", "before"])]
    pub all: bool,
    /// Only those that were redeemed at this time or later, like `2026-11-21T03:00:00Z` or `2026-11-21` (UTC): for a
    /// restored backup, the time at which it was made.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Timestamp>,
    /// Only those that were redeemed before this time.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub before: Option<Timestamp>,
}

/// Reads an instant, or a day as its begin in UTC.
fn instant(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    text.parse::<Timestamp>()
        .or_else(|_| day())
        .map_err(|_| "expected a time like `2026-11-21T03:00:00Z`, or a day like `2026-11-21`".to_owned())
}
