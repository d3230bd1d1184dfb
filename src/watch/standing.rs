//! What a status says to a person, and to a program that goes by an exit code: is there something to look at?

mod concern;
mod text;

use super::Status;
use crate::exit::Exit;
use serde::{Serialize, Serializer};

pub use concern::Concern;

/// Who tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "told_by", rename_all = "snake_case")]
pub enum Source {
    /// The process itself.
    Process,
    /// The journal in the state directory, and the store.
    Journal {
        /// Does a process hold it? What it holds may change at once.
        held: bool,
        /// Why no process tells it.
        reason: String,
    },
}

/// How it stands, and what a person should look at.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Who tells it.
    #[serde(flatten)]
    pub source: Source,
    /// What `evergrant status` ends with: 0, 4 or 7.
    #[serde(rename = "exit_code", serialize_with = "code")]
    pub exit: Exit,
    /// What a person should look at, the most urgent first.
    pub concerns: Vec<Concern>,
    /// All of it.
    #[serde(flatten)]
    pub status: Status,
}

impl Standing {
    /// Judges a status.
    #[must_use]
    pub fn of(status: Status, source: Source) -> Self {
        let concerns = concern::all(&status, &source);
        let exit = concerns.iter().map(|concern| concern.exit).fold(Exit::Well, Exit::or_more_urgent);
        Self { source, exit, concerns, status }
    }
}

fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    exit.code().serialize(serializer)
}

#[cfg(test)]
mod tests;
