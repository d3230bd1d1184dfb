//! What can go wrong with the journal.

use super::{EntryId, EntryState, Holder};
use crate::exit::Exit;
use crate::failure::Advice;
use crate::room::Shortage;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// The journal can't do its work. None of these is retried: without a journal nothing is redeemed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("the journal in {} is in use by {holder}", directory.display())]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// The state directory can't be used.
    #[error("the state directory {} can't be used: can't {action}", directory.display())]
    Directory {
        /// The state directory.
        directory: PathBuf,
        /// In words: `create it`.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The state directory, or the link that leads to it, belongs to another user.
    #[error(
        "the state directory {} {} the user {owner}, and this process runs as {us}",
        directory.display(), if *is_link { "is a link of" } else { "belongs to" }
    )]
    Foreign {
        /// The state directory.
        directory: PathBuf,
        /// Whose it is, as a number.
        owner: u32,
        /// As whom we run.
        us: u32,
        /// Is it the link that is theirs?
        is_link: bool,
    },
    /// The state directory, or a file in it, isn't any more what this process has opened.
    #[error(
        "{} was {} while Evergrant used it; nothing more is redeemed",
        path.display(), if *replaced { "replaced by another one" } else { "moved or deleted" }
    )]
    Moved {
        /// What isn't there.
        path: PathBuf,
        /// Is something else there now?
        replaced: bool,
    },
    /// Not enough free space to keep what would be redeemed. Answers that are on their way are kept as long as they fit.
    #[error(
        "the state directory {} has {} bytes free, less than the {} that are kept for answers",
        .0.directory.display(), .0.free_bytes, .0.floor_bytes
    )]
    Full(Shortage),
    /// SQLite failed: the disk, or a damaged file. The process takes nothing into it any more.
    #[error("the journal {} failed to {action}", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
        /// In words: `commit`.
        action: &'static str,
        /// SQLite's reason.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The file isn't a journal, or not a whole one.
    #[error("the journal {} can't be read: the file is damaged, or it is not a journal", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// SQLite's reason.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A newer version has changed its format.
    #[error(
        "the journal {} was written by Evergrant {} in format {format}; this is Evergrant {}, which reads formats up to {readable}",
        file.display(), written_by.as_deref().unwrap_or("of a newer version"), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: i64,
        /// The newest format that this version reads.
        readable: i64,
        /// The version that wrote it, where it says so.
        written_by: Option<String>,
    },
    /// Answers in it are encrypted, and can't be read with the keys that are set.
    #[error("the journal {} holds {problem}; nothing in it was changed", file.display())]
    Sealed {
        /// The file.
        file: PathBuf,
        /// Why not.
        problem: KeyProblem,
    },
    /// The row that an answer belongs to isn't there.
    #[error("the journal has no entry {0} to keep an answer in")]
    NoEntry(EntryId),
    /// An event that can't follow the state of its row: a fault of ours.
    #[error("the journal's entry {entry} is `{}`, and can't become what follows `{event}`", state.word())]
    OutOfOrder {
        /// The row, which stays as it is.
        entry: EntryId,
        /// Its state.
        state: EntryState,
        /// The event.
        event: &'static str,
    },
    /// It failed before, and takes no more.
    #[error("the journal has stopped after an earlier failure")]
    Stopped,
}

/// Why encrypted answers can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// There is no key.
    #[error("{0} encrypted answers, and no key is set")]
    NoKey(u64),
    /// None of the keys is theirs.
    #[error("{0} answers that were encrypted with another key")]
    WrongKey(u64),
}

impl Advice for JournalError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Held { .. } => {
                "one process at a time may use a journal; to run a pass now, stop the service, run `evergrant run --once`, and start the service again"
            }
            Self::Directory { .. } => {
                "it must be a directory that this user may write to; set `state_dir` (`EVERGRANT_STATE_DIR`) to one"
            }
            Self::Foreign { is_link: true, .. } => {
                "set `state_dir` (`EVERGRANT_STATE_DIR`) to the directory itself, or let its owner or `root` make the link"
            }
            Self::Foreign { is_link: false, .. } => {
                "run Evergrant as that user; or give the directory and the files in it to this one (`chown -R`), or set `state_dir` \
                 (`EVERGRANT_STATE_DIR`) to another one"
            }
            Self::Moved { .. } => {
                "stop Evergrant, put the state directory back as it was, and start it again: pairs that came meanwhile are in the one \
                 that was moved"
            }
            Self::Full(_) => {
                "free some space there; until then nothing is redeemed (`free_space_floor` says how much is kept)"
            }
            Self::Failed { .. } => "look at the disk; answers that it holds are recovered at the next start",
            Self::Unreadable { .. } => {
                "keep the file, and put an earlier copy in its place; nothing in it was changed"
            }
            Self::Newer { .. } => "start the newer version again; nothing in the journal was changed",
            Self::Sealed { problem: KeyProblem::NoKey(_), .. } => {
                "set `journal_key` or `journal_key_file` (`EVERGRANT_JOURNAL_KEY_FILE`) to the key that they were encrypted with"
            }
            Self::Sealed { problem: KeyProblem::WrongKey(_), .. } => {
                "set `journal_old_keys` or `journal_old_keys_file` to that key, and keep the present `journal_key`; remove the old key after one start"
            }
            Self::NoEntry(_) => {
                "was `journal.db` replaced or changed while Evergrant ran? Stop it, and start it again"
            }
            Self::OutOfOrder { .. } => {
                "this is a fault of Evergrant: please report it, with the log; the entry is kept as it is"
            }
            Self::Stopped => "the log says which; mend it, and start again",
        };
        Some(hint.into())
    }
}

impl JournalError {
    /// The exit code of a command that ends with it: a disk or a file that a restart doesn't repair has its own.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Held { .. } => Exit::JournalHeld,
            Self::Directory { .. } => Exit::Unavailable,
            Self::Newer { .. } | Self::Sealed { .. } | Self::Foreign { .. } => Exit::Usage,
            Self::Moved { .. }
            | Self::Full(_)
            | Self::Failed { .. }
            | Self::Unreadable { .. }
            | Self::NoEntry(_)
            | Self::OutOfOrder { .. }
            | Self::Stopped => Exit::JournalFailed,
        }
    }

    /// The same failure for everybody whose request was in the failed commit.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Failed { file, action, source } => {
                Self::Failed { file: file.clone(), action, source: source.clone() }
            }
            Self::Full(shortage) => Self::Full(shortage.clone()),
            Self::NoEntry(entry) => Self::NoEntry(*entry),
            Self::OutOfOrder { entry, state, event } => {
                Self::OutOfOrder { entry: *entry, state: *state, event }
            }
            Self::Unreadable { file, source } => {
                Self::Unreadable { file: file.clone(), source: source.clone() }
            }
            Self::Held { .. }
            | Self::Directory { .. }
            | Self::Foreign { .. }
            | Self::Moved { .. }
            | Self::Newer { .. }
            | Self::Sealed { .. }
            | Self::Stopped => Self::Stopped,
        }
    }
}
