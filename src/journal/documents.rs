//! By which settings the documents were read and written when the last process began: others may hide what stands in them.

use super::owner::Reply;
use super::sqlite::{self, Rows};
use super::{FILE_NAME, Journal, JournalError, owner};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The settings that say which documents are ours, and where our bookkeeping stands in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentSettings {
    /// The path of the bookkeeping.
    pub bookkeeping: String,
    /// The condition that chooses the documents; `None` chooses all.
    pub filter: Option<String>,
}

/// What can be asked of them.
#[derive(Debug)]
pub(super) struct NoteDocuments {
    settings: DocumentSettings,
    reply: Reply<()>,
}

impl NoteDocuments {
    pub(super) fn perform(&mut self, rows: &mut Rows) -> Result<(), JournalError> {
        self.reply.set(rows.note_documents(&self.settings))
    }

    pub(super) fn deliver(self, committed: Result<(), &JournalError>) {
        self.reply.send(committed);
    }
}

impl Journal {
    /// By which settings the last process worked, by a journal that another process, or this one, may hold. `None` where there
    /// was none, or only one of an earlier version. Blocks on the disk.
    pub fn documents_before(directory: &Path) -> Result<Option<DocumentSettings>, JournalError> {
        sqlite::documents_before(&directory.join(FILE_NAME))
    }

    /// Notes by which settings this process works from now on.
    pub async fn note_documents(&self, settings: DocumentSettings) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::Documents(NoteDocuments { settings, reply })).await
    }
}
