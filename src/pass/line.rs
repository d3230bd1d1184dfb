//! What the lanes, their tasks and the sink of one pass share.

use super::stop::OneUnanswered;
use super::{PassSettings, Stop};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::failure::{error_chain, told};
use crate::gate::Gate;
use crate::journal::{EntryId, Event, Journal, JournalError};
use crate::kill_point::{Point, reach};
use crate::provider::Provider;
use crate::report::{Report, Trouble};
use crate::select::ClaimTerms;
use crate::store::{Store, Unwritable};
use crate::token::{Subject, TokenId};
use crate::verdict::change::DuePolicy;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tracing::warn;

/// What the lanes, their tasks and the sink of one pass share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) store: Arc<dyn Store>,
    pub(super) journal: Journal,
    pub(super) clock: Clock,
    pub(super) chance: Chance,
    pub(super) settings: PassSettings,
    pub(super) terms: ClaimTerms,
    /// The claims of this machine's earlier passes that never finished; known once the pass has begun.
    pub(super) earlier: OnceLock<Vec<String>>,
    pub(super) policy: DuePolicy,
    pub(super) report: Arc<Report>,
    pub(super) stop: Stop,
    pub(super) gates: Vec<(Arc<str>, Arc<Gate>)>,
    /// Tokens that may still be taken, for `--limit`.
    pub(super) left: AtomicU64,
    /// Documents whose new pair is in the journal and couldn't be written: nothing to redeem in them.
    pub(super) held: Mutex<HashSet<TokenId>>,
    /// Documents into which nothing can be written: for each reason how many, and one of them.
    pub(super) no_room: Mutex<BTreeMap<Unwritable, (u64, Subject)>>,
    /// Has a document kept our claim, because the store couldn't be told otherwise?
    pub(super) left_claimed: AtomicBool,
    /// Was it said that the store is away? Every call that waits for it finds out by itself.
    pub(super) store_is_away: AtomicBool,
}

impl Line {
    /// Takes the right to one more token of this pass.
    pub(super) fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// A claim couldn't be given back; the next pass does that, because this one is not noted as finished.
    pub(super) fn left_claimed(&self) {
        self.left_claimed.store(true, Ordering::Relaxed);
    }

    /// The gate of a provider. One that this pass doesn't ask has none: whose is there says nothing about it.
    pub(super) fn gate_of(&self, provider: &Provider) -> &Arc<Gate> {
        let named = self.gates.iter().find(|(name, _)| *name == provider.name);
        &named.or(self.gates.first()).expect("a pass has at least one provider").1
    }

    /// A new pair stays in the journal.
    pub(super) fn hold(&self, id: &TokenId) {
        self.held().insert(id.clone());
    }

    pub(super) fn holds(&self, id: &TokenId) -> bool {
        self.held().contains(id)
    }

    pub(super) fn held(&self) -> MutexGuard<'_, HashSet<TokenId>> {
        // A set of ids is whole after every call: a panic elsewhere leaves none half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing can be written into this document, so its token isn't sent.
    pub(super) fn no_room(&self, subject: &Subject, reason: &Unwritable) {
        let mut no_room = self.no_room.lock().unwrap_or_else(PoisonError::into_inner);
        no_room.entry(reason.clone()).or_insert_with(|| (0, subject.clone())).0 += 1;
    }

    /// Says once for each reason into how many documents nothing can be written.
    pub(super) fn tell_no_room(&self) {
        for (reason, (documents, example)) in &*self.no_room.lock().unwrap_or_else(PoisonError::into_inner) {
            warn!(
                documents,
                %example,
                "nothing can be written into {documents} documents, such as that of `{example}`, so their tokens aren't sent: {}",
                told(reason)
            );
        }
    }

    /// The journal has failed: nothing more may be redeemed, by anybody.
    pub(super) fn journal_failed(&self, error: &JournalError) {
        tracing::error!(error = %error_chain(error), "the journal can keep no more, so nothing more is redeemed");
        self.report.trouble(Trouble::journal(error));
        self.cannot_keep();
    }

    /// Counts a grant that is sent now; it waits for its answer for as long as the guard lives.
    pub(super) fn sent(&self) -> OneUnanswered {
        self.report.sent();
        self.stop.unanswered.one()
    }

    /// Ends or changes rows of the journal, in one commit.
    pub(super) async fn end_rows(&self, rows: Vec<(EntryId, Event)>) -> Result<(), JournalError> {
        if rows.is_empty() {
            return Ok(());
        }
        reach(Point::BeforeEnd);
        match self.journal.end(rows, self.clock.now()).await {
            // A fault of ours, of one row: it stays as it is, and no pass stops for it.
            Err(error @ JournalError::OutOfOrder { .. }) => {
                debug_assert!(false, "{error}");
                tracing::error!(error = %error_chain(&error), "a journal entry stays as it is: {error}");
            }
            ended => ended?,
        }
        reach(Point::Ended);
        Ok(())
    }

    pub(super) fn cannot_keep(&self) {
        self.gates.iter().for_each(|(_, gate)| gate.stop(crate::gate::Stopped::CannotKeep));
    }
}
