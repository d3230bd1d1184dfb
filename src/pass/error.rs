//! Why a pass couldn't begin.

use crate::exit::Exit;
use crate::failure::Advice;
use crate::grant::http::ClientError;
use crate::journal::{JournalError, OtherStore};
use crate::store::{Identity, StoreError};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

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
    #[error("{}", refusal(directory, other, how))]
    OtherStore {
        /// The state directory.
        directory: PathBuf,
        /// Whose rows they are, and how many.
        other: OtherStore,
        /// How the store of this pass stands to it.
        how: String,
    },
    /// The collection isn't there.
    #[error("{}", absent(collection, database, others))]
    NoCollection {
        /// The name that was looked for.
        collection: String,
        /// In which database.
        database: String,
        /// The collections that it has, the nearest names first.
        others: Vec<String>,
    },
    /// The file of the embedded store isn't there.
    #[error("there is no store at `sqlite:{}` yet", .0.display())]
    NoEmbeddedStore(PathBuf),
    /// `--provider` names no configured provider.
    #[error("no provider `{0}` is configured")]
    NoSuchProvider(String, String),
}

impl Advice for PassError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::Client(error) => error.hint(),
            Self::OtherStore { other, .. } => Some(
                format!(
                    "if its tokens live in this store now, `evergrant journal adopt` makes the entries and the kept pairs \
                     those of this store; if not, set `store.url` back to {}, or, for a rehearsal, `state_dir` \
                     (`EVERGRANT_STATE_DIR`) to a directory of its own",
                    other.store
                )
                .into(),
            ),
            Self::NoCollection { others, .. } => {
                let set = if others.is_empty() {
                    "set `store.database` and `store.collection`"
                } else {
                    "set `store.collection`"
                };
                Some(format!(
                        "{set}, or, if the collection is made later, use `--allow-empty` with `run` or `check`"
                    ).into())
            }
            Self::NoEmbeddedStore(_) => Some(
                "`evergrant tokens import FILE` makes it; for a MongoDB set `store.url` (`EVERGRANT_STORE_URL`)"
                    .into(),
            ),
            Self::NoSuchProvider(_, configured) => Some(format!("configured are: {configured}").into()),
        }
    }
}

impl PassError {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::Journal(error) => error.exit(),
            Self::Client(_) => Exit::Internal,
            Self::OtherStore { .. }
            | Self::NoCollection { .. }
            | Self::NoEmbeddedStore(_)
            | Self::NoSuchProvider(..) => Exit::Usage,
        }
    }

    /// The refusal of a pass over `here`, while the rows of the journal in `directory` belong to another store.
    #[must_use]
    pub fn other_store(directory: &Path, other: OtherStore, here: &Identity) -> Self {
        let how = here.how(other.relation);
        Self::OtherStore { directory: directory.to_owned(), other, how }
    }
}

/// Collections that are named where the wanted one isn't there.
const MOST_NAMED: usize = 10;

fn absent(collection: &str, database: &str, others: &[String]) -> String {
    let shown = others.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let has = match others.len() {
        0 => "has no collections that this user may see".to_owned(),
        many if many > MOST_NAMED => format!("has: {shown}, and {} more", many - MOST_NAMED),
        _ => format!("has: {shown}"),
    };
    format!("`{database}.{collection}` doesn't exist; the database `{database}` {has}")
}

/// Why a pass doesn't go over another store than the one that the journal's rows belong to.
fn refusal(directory: &Path, other: &OtherStore, how: &str) -> String {
    let OtherStore { store, open, answers, kept, .. } = other;
    let kept = match kept {
        0 => String::new(),
        1 => ", and 1 kept pair".to_owned(),
        kept => format!(", and {kept} kept pairs"),
    };
    let entries = if *open == 1 { "1 open entry".to_owned() } else { format!("{open} open entries") };
    format!(
        "the journal in {directory} holds {entries}, {answers} of them with a received answer{kept}, of the store {store}; {how}",
        directory = directory.display()
    )
}
