//! What became of every document: named outcomes, counts that add up, and the users who must log in again.

mod ending;
mod finished;
mod live_again;
mod named;
pub mod progress;
mod put_off;
mod record;
mod recovery;
mod rejected;
mod reports;
pub mod summary;
mod tally;
mod text;
mod trouble;
mod waits;

pub use ending::{ENDING_SOON, Ending};
pub use live_again::{LiveAgain, WhyLiveAgain};
pub use named::{Named, PutOff};
pub use record::PassRecord;
pub use recovery::Recovery;
pub use reports::{ProviderPart, Reports};
pub use tally::{Counts, Durations, NOT_BEGUN, Tally};
pub use trouble::{Trouble, if_these_logins_ended};
pub use waits::{LeftToOthers, WaitsFor};

use crate::clock::Timestamp;
use crate::gate::{Gate, Stopped, TooMany, WithoutRequest};
use crate::grant::answer::Class;
use crate::journal::Parked;
use crate::provider::Provider;
use crate::provider::learned::Learned;
use crate::token::{State, Subject, TokenId, vocabulary};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most users named in one report; the others are counted, and `evergrant tokens list` names them all.
///
/// Memory must not grow with the collection.
pub const MOST_NAMED: usize = 1000;

/// Most reasons that one report tells apart; further ones count as [`OTHER_REASONS`].
///
/// A provider can put anything into its codes, and a report must not grow with the collection.
const MOST_REASONS: usize = 50;

/// The reason under which those are counted that have no line of their own.
const OTHER_REASONS: &str = "others";

vocabulary! {
    /// Where a document ended in a pass; every one that a pass touched ends in exactly one of these.
    Outcome {
        Refreshed = "refreshed":
            "A new pair is in the document.",
            "Nothing to do.";
        Duplicate = "duplicate":
            "The document held the same refresh token as another document. One request was made, and this document got that document's new pair.",
            "Nothing to do. A unique index on the refresh token field avoids it.";
        Restored = "restored":
            "The document held a token again that was redeemed before (a restored backup, a stale save, a moved document). The newest pair that was received for it was put back. No request was made.",
            "Nothing to do. If your application writes whole documents, `evergrant help document` says how to write beside Evergrant.";
        Superseded = "superseded":
            "Another program wrote a newer token during the pass. The newer token was kept.",
            "Nothing to do.";
        Gone = "gone":
            "The document was deleted during the pass. \"Gone while refused\": a server of your own deletes the document of a token that it refuses.",
            "Nothing to do. A user whose document is gone while refused must log in again.";
        NeedsLogin = "needs_login":
            "The provider refuses the refresh token.",
            "The user must log in again. A new token in the document makes it live; nothing else has to be done.";
        LostInFlight = "lost_in_flight":
            "The provider refuses the refresh token, and the answer to an earlier request for it never arrived: the provider may have rotated the token in that answer.",
            "The user must log in again. `evergrant help lost-answers` explains why it can happen.";
        Malformed = "malformed":
            "The document holds no refresh token that can be sent, names a provider that is not configured, or cannot be written.",
            "The code says which. `evergrant help reasons` explains each code.";
        StillDue = "still_due":
            "Not refreshed in this pass.",
            "Nothing to do in most cases: the next pass tries again. The reason stands beside it (`evergrant help reasons`).";
        Held = "held":
            "A new pair was received. It is in the journal and could not be written into the document yet.",
            "Mend the store. The next pass writes the pair.";
        Lost = "lost":
            "A new pair was received and could be kept nowhere: the journal failed, and the store failed too or the document was gone.",
            "The user must log in again, unless a newer login works. Mend the disk of `state_dir` first.";
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Collects the outcomes of one pass while it runs; shared by all of its tasks.
#[derive(Debug)]
pub struct Report {
    inner: Mutex<Inner>,
    gate: Mutex<Option<Arc<Gate>>>,
    /// What its provider's passes have done since the process began.
    tally: Arc<Tally>,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    outcomes: BTreeMap<Outcome, u64>,
    newly_marked: u64,
    newly_lost_in_flight: u64,
    newly_malformed: u64,
    gone_while_refused: u64,
    named: Vec<Named>,
    /// Of those that are named: who was marked before, and wasn't asked.
    known: HashSet<TokenId>,
    reasons: BTreeMap<String, u64>,
    touched: u64,
    known_needs_login: u64,
    known_malformed: u64,
    set_aside: u64,
    untaken: Option<u64>,
    limited: bool,
    grants: u64,
    throttled: u64,
    /// Was it told that the client is rejected for some and not for others?
    rejection_told: bool,
    retries: u64,
    orphans: u64,
    parked: Parked,
    lost: Vec<Subject>,
    put_offs: put_off::PutOffs,
    endings: ending::Endings,
    waits: waits::Waits,
    left_to_others: LeftToOthers,
    live_again: Vec<LiveAgain>,
    live_again_count: u64,
    rejections: rejected::Rejections,
    warnings: Vec<summary::Warned>,
    troubles: Vec<Trouble>,
    recovery: Recovery,
    learned: Learned,
    passes: Vec<String>,
}

impl Inner {
    /// Touched documents besides those that were marked before and aren't asked.
    const fn worked_on(&self) -> u64 {
        self.touched - self.known_needs_login - self.known_malformed
    }

    fn name(&mut self, named: Named) {
        if named.state == State::Malformed {
            self.newly_malformed += u64::from(named.new);
        } else {
            self.newly_marked += u64::from(named.new);
            self.newly_lost_in_flight += u64::from(named.new && named.state == State::LostInFlight);
        }
        if self.named.len() < MOST_NAMED {
            self.named.push(named);
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    /// An empty one that counts for itself alone.
    #[must_use]
    pub fn new() -> Self {
        Self::counted_in(Arc::default())
    }

    /// An empty one; what it is told counts in `tally` as well.
    #[must_use]
    pub fn counted_in(tally: Arc<Tally>) -> Self {
        Self { inner: Mutex::default(), gate: Mutex::default(), tally }
    }

    /// The gate of the pass, whose pauses are shown.
    pub fn watch(&self, gate: &Arc<Gate>) {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate.clone());
    }

    /// A document was touched: claimed, or read and found to be marked already.
    pub fn touched(&self) {
        self.lock().touched += 1;
    }

    /// A document reached its end that was marked before and hasn't changed: it isn't asked.
    pub fn known(&self, outcome: Outcome, named: Named) {
        let mut inner = self.lock();
        inner.touched += 1;
        *inner.outcomes.entry(outcome).or_default() += 1;
        if outcome == Outcome::Malformed {
            inner.known_malformed += 1;
        } else {
            inner.known_needs_login += 1;
        }
        if inner.named.len() < MOST_NAMED && outcome != Outcome::Malformed {
            inner.known.insert(named.id.clone());
        }
        inner.name(named);
    }

    /// A document stays due in the store, and no pass takes it before a person or the journal has done something.
    pub fn set_aside(&self) {
        self.lock().set_aside += 1;
    }

    /// The store counted so many documents that were due when the pass began and are as they were then.
    pub fn untaken(&self, counted: u64) {
        let mut inner = self.lock();
        inner.untaken = Some(counted.saturating_sub(inner.set_aside));
    }

    /// The limit of the request was reached.
    pub fn limited(&self) {
        self.lock().limited = true;
    }

    /// Has the store failed in this pass?
    #[must_use]
    pub fn is_store_away(&self) -> bool {
        self.lock().troubles.iter().any(|trouble| matches!(trouble, Trouble::Store { .. }))
    }

    /// Has anything kept the pass from its work?
    #[must_use]
    pub fn has_trouble(&self) -> bool {
        !self.lock().troubles.is_empty()
    }

    /// Is something still due, as far as is known?
    #[must_use]
    pub fn leaves_something(&self) -> bool {
        let inner = self.lock();
        let still_due = inner.outcomes.get(&Outcome::StillDue).copied().unwrap_or_default();
        // No pass of this machine takes what waits for another one, before its time.
        inner.untaken != Some(0) || still_due > inner.waits.count
    }

    /// Is there nothing left for another pass, in the store and in the journal?
    #[must_use]
    pub fn is_through(&self) -> bool {
        let held = self.lock().outcomes.get(&Outcome::Held).copied().unwrap_or_default();
        held == 0 && !self.has_trouble() && !self.leaves_something()
    }

    /// A grant was sent.
    pub fn sent(&self) {
        self.lock().grants += 1;
    }

    /// A provider asked for a pause.
    pub fn throttled(&self) {
        self.lock().throttled += 1;
    }

    /// Is this the first time in the pass that the client is rejected while others are granted?
    pub fn is_first_rejection(&self) -> bool {
        !std::mem::replace(&mut self.lock().rejection_told, true)
    }

    /// A token goes back to wait at the gate.
    pub fn retried(&self) {
        self.tally.retried();
        self.lock().retries += 1;
    }

    /// A request came to this, at this time.
    pub fn heard(&self, class: &Class, took: Duration, at: Timestamp) {
        self.tally.heard(class, took, at);
    }

    /// A good pair was parked in the journal.
    pub fn orphaned(&self) {
        self.lock().orphans += 1;
    }

    /// How much is parked in the journal in all.
    pub fn parked(&self, parked: Parked) {
        self.lock().parked = parked;
    }

    /// A document that is gone held a token that the provider refuses.
    pub fn gone_while_refused(&self) {
        self.lock().gone_while_refused += 1;
    }

    /// A new pair could be kept nowhere; its document reached its end.
    pub fn lost(&self, subject: &Subject) {
        self.ended(Outcome::Lost, None);
        let mut inner = self.lock();
        if inner.lost.len() < MOST_NAMED {
            inner.lost.push(subject.clone());
        }
    }

    /// The id of the pass, by which its log lines are found.
    pub fn of_pass(&self, id: &str) {
        self.lock().passes.push(id.to_owned());
    }

    /// The ids of its passes, as their log lines have them.
    pub(super) fn passes(&self) -> Vec<String> {
        self.lock().passes.clone()
    }

    /// A document reached its end; `reason` says why it is still due, and counts by it.
    pub fn ended(&self, outcome: Outcome, reason: Option<&str>) {
        let mut inner = self.lock();
        *inner.outcomes.entry(outcome).or_default() += 1;
        if let Some(reason) = reason {
            let is_new = !inner.reasons.contains_key(reason) && inner.reasons.len() >= MOST_REASONS;
            let reason = if is_new { OTHER_REASONS } else { reason };
            *inner.reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// A user who must log in again, or a document that can't be worked on.
    pub fn named(&self, named: Named) {
        self.lock().name(named);
    }

    /// Something that keeps the pass from its work; each is kept once.
    pub fn trouble(&self, trouble: Trouble) {
        let mut inner = self.lock();
        if !inner.troubles.contains(&trouble) {
            inner.troubles.push(trouble);
        }
    }

    /// A provider's gate let nothing through any more.
    pub fn stopped(&self, provider: &Provider, why: &Stopped) {
        let name = || provider.name.to_string();
        match why {
            Stopped::ClientRejected { code, http_status } => self.trouble(Trouble::ClientRejected {
                provider: name(),
                code: code.clone(),
                http_status: *http_status,
                client_auth: provider.profile.client_auth,
            }),
            Stopped::Outage => self.trouble(Trouble::Outage { provider: name() }),
            // The pass says until when, and which refusals aren't believed; and the code that stopped the gate for it has told
            // what can't be kept.
            Stopped::Paused | Stopped::Refusals(_) | Stopped::CannotKeep => {}
        }
    }

    /// Too many users of a provider would be marked without a request; the state is in `directory`.
    pub fn too_many_unasked(&self, provider: &str, why: WithoutRequest, found: TooMany, directory: &Path) {
        let provider = provider.to_owned();
        self.trouble(match why {
            WithoutRequest::Redeemed => {
                let state_dir = directory.display().to_string();
                Trouble::RedeemedBefore { provider, found, state_dir }
            }
            WithoutRequest::MayBeSpent => Trouble::NotAskedAgain { provider, found },
        });
    }

    /// A success told these lives.
    pub fn learned(&self, lives: Learned) {
        let mut inner = self.lock();
        inner.learned = inner.learned.and(lives);
    }

    /// The shortest lives that the successes told.
    #[must_use]
    pub fn lives(&self) -> Learned {
        self.lock().learned
    }

    /// What recovery found, added to what it found so far.
    pub fn recovered(&self, add: impl FnOnce(&mut Recovery)) {
        add(&mut self.lock().recovery);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counts are whole after every statement: a panic elsewhere leaves none half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
