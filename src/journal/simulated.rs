//! A journal without a thread and without a file, for simulations: the real rows in memory, on a disk whose mishaps the
//! caller chooses.
//!
//! The same requests, the same SQL and the same commit as in production; only the thread, the lock and the fsync are
//! the caller's.

use super::owner::{self, Owner, Request};
use super::room::Room;
use super::sqlite::{Image, Rows};
use super::{Journal, JournalError, KnownTokens, QUEUE};
use crate::clock::Timestamp;
use crate::token::Fingerprint;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the disk of one machine holds, from one process to the next.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// What is there after a power cut: the last is what is there after a crash of the process alone. Never empty once
    /// it was opened; all but the first may be lost with the power.
    images: Vec<Image>,
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is done, as far as an fsync that tells the truth goes.
    Done,
    /// It says that it is done, and a power cut takes it: an fsync that lies.
    Pretended,
    /// It fails, and nothing of it is on the disk.
    Failed,
    /// It fails, and all of it is on the disk: the fsync failed after the write.
    FailedButWritten,
}

/// A deliberate bug: in the begin of a provider's pass while passes of other providers are at work, or in what is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// All rows count as left by ended passes of this provider.
    RowsOfOthers,
    /// All that is claimed counts as claimed by ended passes of this provider.
    ClaimsOfOthers,
    /// With each commit all tokens are forgotten that were redeemed before.
    RedeemedAtOnce,
}

/// The owner of an open journal's rows; the caller drives it.
#[derive(Debug)]
pub struct Desk {
    rows: Rows,
    mistake: Option<Mistake>,
    queue: mpsc::Receiver<Request>,
    waiting: Vec<Request>,
}

impl Disk {
    /// Starts a process over what the disk holds.
    pub fn open(&mut self, directory: &Path, now: Timestamp) -> Result<(Journal, Desk), JournalError> {
        let mut rows = Rows::in_memory(self.images.last(), now)?;
        self.images = vec![rows.image()?];
        let (requests, queue) = mpsc::channel(QUEUE);
        let owner = Arc::new(Owner::nobody());
        let places = Arc::default();
        let journal = Journal { requests, directory: directory.into(), id: rows.id().into(), owner, places };
        Ok((journal, Desk { rows, mistake: None, queue, waiting: Vec::new() }))
    }

    /// The power fails: of the commits that nobody synced, as many survive as `kept` says; in the order of their writing.
    pub fn power_cut(&mut self, kept: usize) {
        self.images.truncate(kept.max(1));
    }

    /// Is this text in an answer of an open row?
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        self.images.last().is_some_and(|image| image.holds(text))
    }

    /// The open rows, as a crash of the process leaves them: the document and the state of each.
    #[must_use]
    pub fn open_rows(&self) -> Vec<(String, String)> {
        self.images.last().map(Image::open_rows).unwrap_or_default()
    }

    /// A person empties a table: `entries`, `redeemed`, `marks` or `meta`.
    ///
    /// # Panics
    /// There is no such table.
    #[expect(clippy::expect_used, reason = "the simulation names it")]
    pub fn empty(&mut self, table: &str) {
        self.images.iter_mut().for_each(|image| image.empty(table).expect("a table of the journal"));
    }

    /// Does it belong to one store, because of open rows or kept pairs?
    #[must_use]
    pub fn binds(&self) -> bool {
        self.images.last().is_some_and(Image::binds)
    }

    /// Which of these tokens a journal on it knows, read beside a process that may be writing it.
    pub fn known(&self, tokens: &[Fingerprint]) -> Result<KnownTokens, JournalError> {
        Rows::in_memory(self.images.last(), Timestamp::default())?.known(tokens)
    }

    /// Commits that a power cut may take now.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.images.len().saturating_sub(1)
    }
}

impl Desk {
    /// Makes this mistake from now on.
    pub fn make(&mut self, mistake: Option<Mistake>) {
        self.mistake = mistake;
    }

    /// Waits until something is asked; `false` when nobody can ask any more. Cancel-safe.
    pub async fn wait(&mut self) -> bool {
        self.queue.recv_many(&mut self.waiting, owner::MAX_BATCH).await > 0
    }

    /// Takes what else waits, and writes it in one commit. `false` when the journal is broken: it takes no more.
    pub fn commit(&mut self, disk: &mut Disk, becomes: Commit) -> bool {
        while let Ok(request) = self.queue.try_recv() {
            self.waiting.push(request);
        }
        for request in &self.waiting {
            if let (Request::BeginPass { provider, .. }, Some(mistake)) = (request, self.mistake) {
                self.rows.mistake(mistake, provider);
            }
        }
        if self.mistake == Some(Mistake::RedeemedAtOnce) {
            self.rows.forget_redeemed();
        }
        let mut synced = false;
        let intact =
            owner::commit(&mut self.rows, &mut Room::endless(), self.waiting.drain(..), |rows, durable| {
                synced = durable && becomes == Commit::Done;
                if becomes == Commit::Failed {
                    rows.roll_back()?;
                } else {
                    rows.commit()?;
                }
                match becomes {
                    Commit::Done | Commit::Pretended => Ok(()),
                    Commit::Failed | Commit::FailedButWritten => Err(rows.disk_failed()),
                }
            });
        // An image that can't be taken is a commit that isn't there: the simulation finds out.
        disk.images.extend(self.rows.image());
        if synced {
            disk.images.drain(..disk.images.len() - 1);
        }
        intact
    }
}
