//! Which passes are this journal's, and for which passes of other journals its reports have said that documents wait.

use super::owner::Reply;
use super::sqlite::Rows;
use super::{Journal, JournalError, owner};
use crate::token::Lease;
use std::collections::{BTreeMap, BTreeSet};

/// What can be asked of the passes.
#[derive(Debug)]
pub(super) enum PassesRequest {
    Known { leases: Vec<Lease>, reply: Reply<BTreeSet<String>> },
    WaitedFor { provider: String, reply: Reply<BTreeSet<String>> },
    SetWaitedFor { provider: String, leases: BTreeSet<String>, reply: Reply<()> },
}

impl PassesRequest {
    pub(super) fn perform(&mut self, rows: &mut Rows) -> Result<(), JournalError> {
        match self {
            Self::Known { leases, reply } => reply.set(rows.known_passes(leases)),
            Self::WaitedFor { provider, reply } => reply.set(rows.waited_for(provider)),
            Self::SetWaitedFor { provider, leases, reply } => {
                reply.set(rows.set_waited_for(provider, leases))
            }
        }
    }

    pub(super) fn deliver(self, committed: Result<(), &JournalError>) {
        match self {
            Self::Known { reply, .. } | Self::WaitedFor { reply, .. } => reply.send(committed),
            Self::SetWaitedFor { reply, .. } => reply.send(committed),
        }
    }
}

impl Journal {
    /// Its id: the same over restarts, and in each copy of the state directory. Claims bear it, so that a person finds the
    /// journal that holds their answers.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The ids of those leases that are of passes which this journal knows, or has forgotten since because they were over. A
    /// restored copy of a journal knows fewer.
    pub async fn known_passes(
        &self,
        leases: impl Iterator<Item = &Lease>,
    ) -> Result<BTreeSet<String>, JournalError> {
        let passes: BTreeMap<_, _> = leases.map(|lease| (&lease.id, lease)).collect();
        let leases: Vec<_> = passes.into_values().cloned().collect();
        if leases.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.ask(|reply| owner::Request::Passes(PassesRequest::Known { leases, reply })).await
    }

    /// The lease ids of other journals' passes for which documents of this provider wait, as its last report said.
    pub async fn waited_for(&self, provider: &str) -> Result<BTreeSet<String>, JournalError> {
        let provider = provider.to_owned();
        self.ask(|reply| owner::Request::Passes(PassesRequest::WaitedFor { provider, reply })).await
    }

    /// Remembers for which passes a report has said that documents of this provider wait: the next one says it as no news.
    pub async fn set_waited_for(&self, provider: &str, leases: BTreeSet<String>) -> Result<(), JournalError> {
        let provider = provider.to_owned();
        let request = |reply| PassesRequest::SetWaitedFor { provider, leases, reply };
        self.ask(|reply| owner::Request::Passes(request(reply))).await
    }
}
