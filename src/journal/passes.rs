//! Which passes are this journal's, how they ended, and for which passes of other journals its reports have said that
//! documents wait.

use super::owner::Reply;
use super::sqlite::Rows;
use super::{EntryState, Journal, JournalError, owner, sqlite};
use crate::clock::{CLOCK_TOLERANCE, Timestamp};
use crate::token::Lease;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What can be asked of the passes.
#[derive(Debug)]
pub(super) enum PassesRequest {
    Known { leases: Vec<Lease>, reply: Reply<BTreeSet<String>> },
    WaitedFor { provider: String, reply: Reply<BTreeSet<String>> },
    SetWaitedFor { provider: String, leases: BTreeSet<String>, reply: Reply<()> },
    Ended(EndedPass, Reply<()>),
    Last { provider: String, reply: Reply<LastPasses> },
}

/// A pass that is over.
#[derive(Debug)]
pub struct EndedPass {
    /// What it claimed with.
    pub lease_id: String,
    /// Whose documents it was about.
    pub provider: Arc<str>,
    /// How it ended, as JSON: counts, and no name of a user.
    pub record: String,
    /// When it ended, if it came through everything that was due.
    pub complete_at: Option<Timestamp>,
}

/// The last passes of a provider, of this process or an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastPasses {
    /// How the last one ended, as it was noted.
    pub record: Option<String>,
    /// When one last came through everything that was due.
    pub complete_at: Option<Timestamp>,
}

impl LastPasses {
    /// Without what was noted under a clock that was ahead: it would hide that no pass comes through any more.
    #[must_use]
    pub fn known_at(self, now: Timestamp) -> Self {
        Self { complete_at: self.complete_at.filter(|at| *at <= now + CLOCK_TOLERANCE), ..self }
    }
}

/// What a journal says of its passes and its rows to those who look beside the process that holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Its id; empty where there is no journal.
    pub id: String,
    /// The last passes of each provider.
    pub passes: BTreeMap<String, LastPasses>,
    /// Its rows.
    pub census: Census,
}

/// What is in the journal, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Rows by their state.
    pub states: BTreeMap<EntryState, u64>,
    /// Rows whose state is no word of this version.
    pub unknown: u64,
    /// When the token of the oldest row was sent.
    pub oldest_sent_at: Option<Timestamp>,
}

impl PassesRequest {
    pub(super) fn perform(&mut self, rows: &mut Rows) -> Result<(), JournalError> {
        match self {
            Self::Known { leases, reply } => reply.set(rows.known_passes(leases)),
            Self::WaitedFor { provider, reply } => reply.set(rows.waited_for(provider)),
            Self::SetWaitedFor { provider, leases, reply } => {
                reply.set(rows.set_waited_for(provider, leases))
            }
            Self::Ended(ended, reply) => reply.set(rows.note_ended_pass(ended)),
            Self::Last { provider, reply } => reply.set(rows.last_passes(provider)),
        }
    }

    pub(super) fn deliver(self, committed: Result<(), &JournalError>) {
        match self {
            Self::Known { reply, .. } | Self::WaitedFor { reply, .. } => reply.send(committed),
            Self::SetWaitedFor { reply, .. } | Self::Ended(_, reply) => reply.send(committed),
            Self::Last { reply, .. } => reply.send(committed),
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

    /// Remembers how a pass ended; of each provider the last ones. It is about no token: what a power cut takes of it is a figure.
    pub async fn note_ended_pass(&self, ended: EndedPass) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::Passes(PassesRequest::Ended(ended, reply))).await
    }

    /// How the last passes of a provider ended.
    pub async fn last_passes(&self, provider: &str) -> Result<LastPasses, JournalError> {
        let provider = provider.to_owned();
        self.ask(|reply| owner::Request::Passes(PassesRequest::Last { provider, reply })).await
    }

    /// What is in the journal, counted.
    pub async fn census(&self) -> Result<Census, JournalError> {
        self.ask(owner::Request::Census).await
    }

    /// How its last passes ended, and what is in it, by a journal that another process may hold; nothing by an absent one. Needs
    /// no key. Blocks on the disk.
    pub fn look_at_passes(directory: &Path) -> Result<Looked, JournalError> {
        sqlite::looked(&directory.join(super::FILE_NAME))
    }
}
