//! The local durable record of what was sent and what came back.
//!
//! One row for each refresh token that is on its way: `intent` before the POST, `answer` with the raw body before
//! anybody reads it, gone once the document holds the pair. Rows that are left after a crash are what recovery reads.
//! The fingerprints of redeemed tokens stay, so that none is ever sent again.

mod begin;
mod documents;
mod entry;
mod error;
mod forget;
mod journaled;
mod key;
mod lock;
mod marks;
mod moment;
mod owner;
mod passes;
mod place;
mod room;
mod row;
mod seal;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
mod sqlite;
mod step;

use crate::clock::{Clock, Timestamp};
use crate::grant::RawAnswer;
use crate::provider::history::History;
use crate::provider::memory::Memory;
use crate::token::{Fingerprint, RefreshToken, TokenId};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub use documents::DocumentSettings;
pub use entry::{
    Adoption, Damaged, Entry, EntryId, EntryState, KeptPair, KeptPairs, KnownTokens, Listed, OtherStore,
    Page, Parked, Standing,
};
pub use error::{JournalError, KeyProblem};
pub use forget::Spent;
#[cfg(test)]
pub use journaled::Rescued;
pub use journaled::{Journaled, Received, Unjournaled};
pub use key::JournalKey;
pub(crate) use lock::process_name;
pub use lock::{Holder, Lock};
pub use marks::{Judged, LeftMark, MadeMark};
pub use moment::Moment;
pub use passes::{Census, EndedPass, LastPasses, Looked};
pub use room::check_free_space;
pub use step::{AccessThen, Begun, Doubts, Event, IfRedeemed, Intent, Permission, StaleDocument};

/// Requests that may wait for the owner thread. More than a commit takes in one go would only add memory.
const QUEUE: usize = owner::MAX_BATCH;

/// The journal's file in the state directory.
const FILE_NAME: &str = "journal.db";

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Free space in the state directory below which no token is redeemed, in bytes.
    pub free_space_floor_bytes: u64,
    /// Encrypts the answers; `None` keeps them in the clear.
    pub key: Option<JournalKey>,
    /// Keys that answers and kept pairs may still be encrypted with; none is needed after one start.
    pub old_keys: Vec<JournalKey>,
    /// How long a pair stays after its document took it; zero: it doesn't.
    pub keep_pairs: Duration,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            free_space_floor_bytes: crate::room::FREE_SPACE_FLOOR_BYTES,
            key: None,
            old_keys: Vec::new(),
            keep_pairs: sqlite::KEEP_PAIRS,
        }
    }
}

/// A handle to the journal's owner thread; cheap to clone. The lock is given up when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Journal {
    requests: mpsc::Sender<owner::Request>,
    directory: Arc<Path>,
    id: Arc<str>,
    owner: Arc<owner::Owner>,
    /// What must stay where it was; empty without a file.
    places: Arc<place::Places>,
}

impl Journal {
    /// Opens, or makes, the journal in `directory`, alone, with default settings.
    #[cfg(any(test, feature = "testing"))]
    pub fn open(directory: &Path, clock: &Clock) -> Result<Self, JournalError> {
        Self::open_with(directory, clock, JournalSettings::default())
    }

    /// Opens, or makes, the journal in `directory`, alone.
    ///
    /// Directories are made 0700 and files 0600. Rows that a crash left as `intent` become `unsettled` here: nothing
    /// waits for their answer any more. A full disk is no error: what is there can still be written back, and nothing
    /// is redeemed. Blocks on the disk.
    pub fn open_with(
        directory: &Path,
        clock: &Clock,
        settings: JournalSettings,
    ) -> Result<Self, JournalError> {
        let JournalSettings { free_space_floor_bytes, key, old_keys, keep_pairs } = settings;
        lock::make_directory(directory)?;
        let mut lock = lock::acquire(directory, clock.now())?;
        let mut room = room::Room::in_directory(directory, free_space_floor_bytes);
        let seal = seal::Seal::new(key, old_keys);
        let open = || sqlite::Rows::open(&directory.join(FILE_NAME), seal.clone(), clock.now());
        let rows = match open() {
            Err(JournalError::Full(_)) if room.ran_out() => open(),
            opened => opened,
        };
        let rows = rows.map_err(|error| room.measured(error))?.keeping_pairs(keep_pairs);
        let (requests, queue) = mpsc::channel(QUEUE);
        let id = rows.id().into();
        let failed = |action| {
            move |source| JournalError::Directory { directory: directory.to_owned(), action, source }
        };
        let file = directory.join(FILE_NAME);
        File::open(&file)
            .and_then(|open| lock.places.note(&file, &open))
            .map_err(failed("look at the journal in it"))?;
        let places = Arc::new(lock.places.clone());
        let owner = owner::Owner::spawn(rows, room, queue, lock)
            .map_err(failed("start the journal's thread for it"))?;
        Ok(Self { requests, directory: directory.into(), id, owner: Arc::new(owner), places })
    }

    /// Reads the open rows of a journal that another process may hold; an absent one has none. Blocks on the disk.
    ///
    /// Without their answers, and without the rows that can't be read: [`Journal::look`] names these.
    #[cfg(any(test, feature = "testing"))]
    pub fn peek(directory: &Path) -> Result<Vec<Entry>, JournalError> {
        Ok(Self::look(directory)?.entries)
    }

    /// Reads the open rows of a journal that another process may hold, and which of them can't be read. Needs no key.
    /// Blocks on the disk.
    pub fn look(directory: &Path) -> Result<Listed, JournalError> {
        sqlite::peek(&directory.join(FILE_NAME))
    }

    /// Reads one row with its answer and the token that was sent, of a journal that another process may hold; an absent
    /// one has none. Takes nothing, and changes nothing. Blocks on the disk.
    pub fn look_at(
        directory: &Path,
        id: EntryId,
        settings: JournalSettings,
    ) -> Result<Option<Result<Entry, Damaged>>, JournalError> {
        let seal = seal::Seal::new(settings.key, settings.old_keys);
        sqlite::peek_one(&directory.join(FILE_NAME), id, &seal)
    }

    /// Which of these refresh tokens the journal in `directory` knows; an absent one knows none. Needs no key, and no
    /// lock. Blocks on the disk.
    pub fn known(directory: &Path, tokens: &[Fingerprint]) -> Result<KnownTokens, JournalError> {
        sqlite::known(&directory.join(FILE_NAME), tokens)
    }

    /// How a provider stood when it was last asked, by a journal that another process may hold; none where nothing is noted. Needs
    /// no key. Blocks on the disk.
    pub fn look_at_standing(directory: &Path, provider: &str) -> Result<Option<Memory>, JournalError> {
        sqlite::standing_of(&directory.join(FILE_NAME), provider)
    }

    /// Takes the lock of the journal in `directory` and opens nothing; `None` where there is no journal. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// [`JournalError::Held`] while another process has it.
    pub fn lock(directory: &Path, clock: &Clock) -> Result<Option<Lock>, JournalError> {
        if !Self::exists(directory) {
            return Ok(None);
        }
        lock::acquire(directory, clock.now()).map(Some)
    }

    /// Is there a journal in `directory`?
    #[must_use]
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE_NAME).exists()
    }

    /// Who holds the journal in `directory` now, if anybody; takes nothing, and changes nothing. Blocks on the disk.
    pub fn holder(directory: &Path) -> Result<Option<Holder>, JournalError> {
        lock::holder(directory)
    }

    /// Has it failed, so that it takes nothing any more?
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.requests.is_closed()
    }

    /// The state directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives up this handle; when it was the last, waits until the file is closed and its lock is free.
    pub async fn close(self) {
        // Behind whatever others have asked: an answer that is on its way to the disk gets there, even when the task
        // that brought it isn't waited for. A journal that has failed has nothing to wait for.
        let _ = self.standing().await;
        drop(self.requests);
        if let Some(owner) = Arc::into_inner(self.owner) {
            // A panic of the thread was shown when it happened, and every request since then got `Stopped`.
            let _ = tokio::task::spawn_blocking(move || owner.join()).await;
        }
    }

    /// Asks whether a token may be sent, and records that it is going to be. Cancel-safe.
    ///
    /// The row survives a crash of the process; a power cut may take it, which costs only the label of a loss.
    pub async fn intent(
        &self,
        intent: Intent,
        refresh_token: RefreshToken,
    ) -> Result<Permission, JournalError> {
        self.ask(|reply| owner::Request::Intent(intent, refresh_token, IfRedeemed::Refuse, reply)).await
    }

    /// The same for a token whose provider takes it although it was redeemed. Cancel-safe.
    pub async fn intent_although_redeemed(
        &self,
        intent: Intent,
        refresh_token: RefreshToken,
    ) -> Result<Permission, JournalError> {
        self.ask(|reply| owner::Request::Intent(intent, refresh_token, IfRedeemed::Send, reply)).await
    }

    /// Makes an answer durable; when this returns, no crash or power cut takes it any more.
    ///
    /// **Must run to completion.**
    ///
    /// # Errors
    /// [`Unjournaled`] carries the answer: write it back at once, and stop.
    pub async fn answer(
        &self,
        entry: EntryId,
        answer: RawAnswer,
    ) -> Result<Journaled<RawAnswer>, Unjournaled> {
        let kept = self.ask(|reply| owner::Request::Answer(entry, answer.clone(), reply)).await;
        match kept {
            Ok(()) => Ok(Journaled { entry, value: answer }),
            Err(error) => Err(Unjournaled::new(error, entry, answer)),
        }
    }

    /// Ends or changes rows, in one commit. Repeating it after a crash is harmless.
    ///
    /// # Errors
    /// [`JournalError::OutOfOrder`] when an event can't follow the state of its row: that row stays as it is, and the others
    /// are changed.
    pub async fn end(&self, endings: Vec<(EntryId, Event)>, at: Timestamp) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::End(endings, at, reply)).await
    }

    /// The newest refresh token that is known to have come out of a redeemed one.
    pub async fn successor(&self, redeemed: Fingerprint) -> Result<Option<Fingerprint>, JournalError> {
        let newest = self.ask(|reply| owner::Request::Newest(redeemed, reply)).await?;
        Ok(newest.and_then(|(_, successor)| successor))
    }

    /// When a token was redeemed, or given up by a person; none when it may still be sent.
    pub async fn redeemed_at(&self, token: Fingerprint) -> Result<Option<Timestamp>, JournalError> {
        self.ask(|reply| owner::Request::RedeemedAt(token, reply)).await
    }

    /// The document for which a token was redeemed, or given up by a person; none when it may still be sent.
    pub async fn redeemed_for(&self, token: Fingerprint) -> Result<Option<TokenId>, JournalError> {
        let newest = self.ask(|reply| owner::Request::Newest(token, reply)).await?;
        Ok(newest.map(|(document, _)| document))
    }

    /// The pair that belongs in a document which holds a redeemed token again: one that is kept, or a parked one.
    pub async fn pair_for(&self, stale: StaleDocument) -> Result<Option<KeptPair>, JournalError> {
        self.ask(|reply| owner::Request::PairFor(stale, reply)).await
    }

    /// All open rows that can be read, oldest first; all in memory, so for tests and counts.
    pub async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(after).await?;
            entries.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return Ok(entries);
            }
        }
    }

    /// The open rows behind `after`, oldest first, as many as fit into a page.
    pub async fn page(&self, after: Option<EntryId>) -> Result<Page, JournalError> {
        self.ask(|reply| owner::Request::Page(after, reply)).await
    }

    /// One open row, which may be one that can't be read.
    pub async fn entry(&self, id: EntryId) -> Result<Option<Result<Entry, Damaged>>, JournalError> {
        self.ask(|reply| owner::Request::Entry(id, reply)).await
    }

    /// What waits for a person, and is there room?
    pub async fn standing(&self) -> Result<Standing, JournalError> {
        self.ask(owner::Request::Standing).await
    }

    /// The documents whose users the last pass of a provider put off.
    pub async fn put_off(&self, provider: &str) -> Result<Vec<TokenId>, JournalError> {
        self.ask(|reply| owner::Request::PutOff(provider.to_owned(), reply)).await
    }

    /// Remembers the documents whose users a pass of a provider put off, so that the next report names them.
    pub async fn set_put_off(&self, provider: &str, documents: Vec<TokenId>) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::SetPutOff(provider.to_owned(), documents, reply)).await
    }

    /// A moment that was remembered, if there is one.
    pub async fn remembered(&self, moment: Moment) -> Result<Option<Timestamp>, JournalError> {
        self.ask(|reply| owner::Request::Remembered(moment, reply)).await
    }

    /// The earliest such moment that is remembered of any provider: for one that has none, because it is new here or has
    /// another name now.
    pub async fn earliest(&self, moment: Moment) -> Result<Option<Timestamp>, JournalError> {
        self.ask(|reply| owner::Request::Earliest(moment, reply)).await
    }

    /// Remembers a moment over restarts, or forgets it.
    pub async fn remember(&self, moment: Moment, at: Option<Timestamp>) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::Remember(moment, at, reply)).await
    }

    /// What a provider has answered in earlier passes.
    pub async fn history(&self, provider: &str) -> Result<History, JournalError> {
        self.ask(|reply| owner::Request::History(provider.to_owned(), reply)).await
    }

    /// Remembers what a provider has answered.
    pub async fn set_history(&self, provider: &str, history: History) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::SetHistory(provider.to_owned(), history, reply)).await
    }

    /// By which settings all documents of a provider fall due in time, as [`Journal::set_keeping`] was told; none where no
    /// pass has been through all of them yet.
    pub async fn keeping(&self, provider: &str) -> Result<Option<String>, JournalError> {
        self.ask(|reply| owner::Request::Keeping(provider.to_owned(), reply)).await
    }

    /// Remembers by which settings all documents of a provider fall due in time.
    pub async fn set_keeping(&self, provider: &str, keeping: String) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::SetKeeping(provider.to_owned(), keeping, reply)).await
    }

    /// How a provider stood when it was last asked, where there is something to go on with.
    pub async fn standing_of(&self, provider: &str) -> Result<Option<Memory>, JournalError> {
        self.ask(|reply| owner::Request::StandingOf(provider.to_owned(), reply)).await
    }

    /// Remembers how a provider stands, or that there is nothing to go on with.
    pub async fn set_standing_of(&self, provider: &str, memory: Option<Memory>) -> Result<(), JournalError> {
        self.ask(|reply| owner::Request::SetStandingOf(provider.to_owned(), memory, reply)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(owner::Reply<T>) -> owner::Request,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(owner::Reply::new(reply))).await.map_err(|_| JournalError::Stopped)?;
        answer.await.map_err(|_| JournalError::Stopped)?
    }
}

#[cfg(test)]
mod tests;
