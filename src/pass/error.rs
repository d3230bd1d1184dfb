//! Why a pass couldn't begin, and how an error with its causes reads in one line.

use crate::exit::Exit;
use crate::grant::http::ClientError;
use crate::journal::JournalError;
use crate::store::StoreError;
use std::path::PathBuf;

/// A pass that couldn't begin; nothing was redeemed.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The store isn't ready.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal isn't ready.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No HTTPS client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The journal holds rows of other documents.
    #[error(
        "the journal in {} holds {open} open entries of another store ({store}), not of {here}\nhint: run once more with the settings of that store, or set `state_dir` (`EVERGRANT_STATE_DIR`) to a directory of its own for this one",
        directory.display()
    )]
    OtherStore {
        /// The state directory.
        directory: PathBuf,
        /// Whose rows they are.
        store: String,
        /// How many.
        open: u64,
        /// The store of this pass.
        here: String,
    },
    /// `--provider` names nobody.
    #[error("no provider `{0}` is configured\nhint: configured are: {1}")]
    NoSuchProvider(String, String),
}

impl PassError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::Journal(error) => error.exit(),
            Self::Client(_) => Exit::Internal,
            Self::OtherStore { .. } | Self::NoSuchProvider(..) => Exit::Usage,
        }
    }
}

/// An error with all its causes in one line; hints stay on lines of their own.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            match text.find("\nhint: ") {
                Some(hint) => text.insert_str(hint, &format!(": {cause_text}")),
                None => text.extend([": ", &cause_text]),
            }
        }
        source = cause.source();
    }
    text
}
