//! The marks of a pass, kept on a list until the pass is judged: should doubt arise, they are taken back.

use super::owner::Reply;
use super::sqlite::Rows;
use super::{Journal, JournalError, owner};
use crate::clock::Timestamp;
use crate::token::{Fingerprint, LastError, Subject, TokenId};

/// A mark that a pass makes, and what its document said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeMark {
    /// In which document.
    pub document: TokenId,
    /// How people call it.
    pub subject: Subject,
    /// Of which refresh token.
    pub fingerprint: Fingerprint,
    /// When. A document that was marked at another time bears another mark.
    pub marked_at: Timestamp,
    /// The lease id of the pass.
    pub pass: String,
    /// Since when the login was live.
    pub since: Option<Timestamp>,
    /// Why the last request before brought no pair, where one did not.
    pub last_error: Option<LastError>,
}

/// Which marks of a provider leave the list.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Their pass was judged, and found as usual: they stay what they are. Those that are to be taken back stay listed.
    Good {
        /// The id of its leases.
        pass: String,
        /// Does this speak for passes as well that were killed before they were judged? One over a few documents doesn't.
        earlier: bool,
    },
    /// A person has looked at them, those that were to be taken back among them.
    Accepted,
    /// Those in these documents: each was taken back, or is another one by now.
    Settled(Vec<TokenId>),
}

/// A mark on the list of a provider that isn't configured any more, by this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMark {
    /// Under which name it is listed.
    pub provider: String,
    /// In which document it is.
    pub document: TokenId,
}

/// What can be asked of the list.
#[derive(Debug)]
pub(super) enum MarksRequest {
    List { provider: String, marks: Vec<MadeMark>, reply: Reply<()> },
    Doubt { provider: String, reply: Reply<()> },
    Page { provider: String, after: Option<TokenId>, reply: Reply<Vec<MadeMark>> },
    Judged { provider: String, judged: Judged, reply: Reply<()> },
    Left { configured: Vec<String>, after: Option<LeftMark>, reply: Reply<Vec<LeftMark>> },
    Adopt { provider: String, marks: Vec<LeftMark>, reply: Reply<()> },
}

impl MarksRequest {
    /// Must it survive a power cut? A mark that is in its document must not be missing on the list.
    pub(super) const fn is_durable(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Doubt { .. })
    }

    pub(super) fn perform(&mut self, rows: &mut Rows) -> Result<(), JournalError> {
        match self {
            Self::List { provider, marks, reply } => reply.set(rows.list_marks(provider, marks)),
            Self::Doubt { provider, reply } => reply.set(rows.doubt_marks(provider)),
            Self::Page { provider, after, reply } => reply.set(rows.doubted_marks(provider, after.as_ref())),
            Self::Judged { provider, judged, reply } => reply.set(rows.judge_marks(provider, judged)),
            Self::Left { configured, after, reply } => reply.set(rows.left_marks(configured, after.as_ref())),
            Self::Adopt { provider, marks, reply } => reply.set(rows.adopt_marks(provider, marks)),
        }
    }

    pub(super) fn deliver(self, committed: Result<(), &JournalError>) {
        match self {
            Self::List { reply, .. }
            | Self::Doubt { reply, .. }
            | Self::Judged { reply, .. }
            | Self::Adopt { reply, .. } => reply.send(committed),
            Self::Page { reply, .. } => reply.send(committed),
            Self::Left { reply, .. } => reply.send(committed),
        }
    }
}

impl Journal {
    /// Puts marks on the list, before they are made; when this returns, no crash and no power cut takes them off it.
    ///
    /// # Errors
    /// [`JournalError`]: then they must not be made.
    pub async fn list_marks(&self, provider: &str, marks: Vec<MadeMark>) -> Result<(), JournalError> {
        let provider = provider.to_owned();
        self.ask_for_marks(|reply| MarksRequest::List { provider, marks, reply }).await
    }

    /// Notes that all listed marks of a provider are to be taken back, whatever a later pass finds.
    pub async fn doubt_marks(&self, provider: &str) -> Result<(), JournalError> {
        let provider = provider.to_owned();
        self.ask_for_marks(|reply| MarksRequest::Doubt { provider, reply }).await
    }

    /// Those that are to be taken back, behind `after` and in the order of their documents; some hundreds at a time.
    pub async fn doubted_marks(
        &self,
        provider: &str,
        after: Option<TokenId>,
    ) -> Result<Vec<MadeMark>, JournalError> {
        let provider = provider.to_owned();
        self.ask_for_marks(|reply| MarksRequest::Page { provider, after, reply }).await
    }

    /// Takes marks off the list.
    pub async fn judge_marks(&self, provider: &str, judged: Judged) -> Result<(), JournalError> {
        let provider = provider.to_owned();
        self.ask_for_marks(|reply| MarksRequest::Judged { provider, judged, reply }).await
    }

    /// What is listed for providers that are not among these names, after `after`; some hundreds at a time.
    pub async fn left_marks(
        &self,
        configured: Vec<String>,
        after: Option<LeftMark>,
    ) -> Result<Vec<LeftMark>, JournalError> {
        self.ask_for_marks(|reply| MarksRequest::Left { configured, after, reply }).await
    }

    /// Moves marks to the list of this provider. Where it lists one in the same document, that one is newer, and stays.
    pub async fn adopt_marks(&self, provider: &str, marks: Vec<LeftMark>) -> Result<(), JournalError> {
        let provider = provider.to_owned();
        self.ask_for_marks(|reply| MarksRequest::Adopt { provider, marks, reply }).await
    }

    async fn ask_for_marks<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> MarksRequest,
    ) -> Result<T, JournalError> {
        self.ask(|reply| owner::Request::Marks(request(reply))).await
    }
}
