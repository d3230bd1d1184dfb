//! The arguments of `evergrant tokens`.

use clap::{Args, Subcommand, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// `evergrant tokens …`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokensCommand {
    /// Import documents into the embedded store: JSON lines of mongoexport, a JSON array, or CSV.
    ///
    /// A document that is there already, by `_id`, gets the file's fields. Its pair stays where it was refreshed since, or
    /// where the journal knows that the file's refresh token was redeemed: it is counted as "kept, newer".
    #[command(
        after_help = "Example:\n  mongoexport --uri \"$URI\" --collection tokens | evergrant tokens import -"
    )]
    Import {
        /// The file, or `-` for stdin.
        file: PathBuf,
        /// Format of the file [default: by its ending, else by its first character].
        #[arg(long, value_enum)]
        input: Option<InputFormat>,
        /// Replace newer pairs, too: tokens of the file that were redeemed already end as `needs_login`.
        #[arg(long)]
        overwrite: bool,
    },
    /// Export the embedded store's documents as JSON lines. The output holds tokens.
    #[command(after_help = "Example:\n  evergrant tokens export > tokens.json")]
    Export,
    /// List documents with their state, and count them by state; never their tokens.
    #[command(
        after_help = "Examples:\n  evergrant tokens list --state needs_login,lost_in_flight\n  evergrant tokens list --ending-within 14d"
    )]
    List(ListArgs),
    /// Show why one user is refreshed or not: state, last error, claim, journal, and what to do next; never a token.
    #[command(after_help = "Example:\n  evergrant tokens show ann@example.com")]
    Show {
        /// The subject as logs and reports show it (an email, a user id), or the `_id` of a document.
        user: String,
    },
}

/// `evergrant tokens list`.
#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    /// Only documents in one of these states: `needs_login,lost_in_flight`; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub state: Vec<StateArg>,
    /// Only documents whose provider field holds this name.
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Only users whose login ends within this time, however often it is refreshed; the soonest end first.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub ending_within: Option<Duration>,
    /// Stop after this many documents. Without `--ending-within` no totals are shown then.
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroU64>,
}

/// What an imported file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// JSON lines, or a JSON array.
    Json,
    /// CSV with a header row.
    Csv,
}

/// A document's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum StateArg {
    /// Evergrant never asked for this token yet.
    New,
    /// The login works, as far as we know.
    Live,
    /// The user must log in again.
    NeedsLogin,
    /// The user must log in again: an answer was lost.
    LostInFlight,
    /// No refresh token that can be sent, or no configured provider.
    Malformed,
}
