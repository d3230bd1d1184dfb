//! What the lane, its tasks and the sink of one pass share.

use super::stop::OneUnanswered;
use super::{Base, PassRequest, Round, Stop, Whose};
use crate::clock::Timestamp;
use crate::failure::{error_chain, told};
use crate::gate::{Gate, Stopped};
use crate::journal::{EntryId, Event, JournalError, process_name};
use crate::kill_point::{Point, reach};
use crate::report::{Report, Trouble};
use crate::select::{ClaimTerms, Others, new_login_at, next_look};
use crate::store::Unwritable;
use crate::token::{Bookkeeping, Subject, TokenDocument, TokenId};
use crate::verdict::change::DuePolicy;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tracing::warn;

/// What the lane, its tasks and the sink of one pass share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) base: Base,
    pub(super) whose: Whose,
    pub(super) terms: ClaimTerms,
    /// The claims of this machine's earlier passes that never finished; known once the pass has begun.
    pub(super) earlier: OnceLock<Vec<String>>,
    /// The passes of other journals of which an earlier report said that documents wait for them; known as above.
    pub(super) waited_for: OnceLock<BTreeSet<String>>,
    pub(super) policy: DuePolicy,
    pub(super) report: Arc<Report>,
    pub(super) stop: Stop,
    /// Is it over everything that is due?
    pub(super) whole: bool,
    /// Tokens that may still be taken, for `--limit`.
    pub(super) left: Arc<AtomicU64>,
    /// Documents whose new pair is in the journal and couldn't be written: nothing to redeem in them.
    pub(super) held: Mutex<HashSet<TokenId>>,
    /// Documents into which nothing can be written: for each reason how many, and one of them.
    pub(super) no_room: Mutex<BTreeMap<Unwritable, (u64, Subject)>>,
    /// Has a document kept our claim, because the store couldn't be told otherwise?
    pub(super) left_claimed: AtomicBool,
}

impl Line {
    pub(super) fn new(base: &Base, whose: Whose, round: &Round, report: Arc<Report>) -> Self {
        let Round { request, stop, documents, left, just_settled: _ } = round;
        let (settings, due_by) = (&base.settings, base.clock.now());
        let provider = whose.counter().map(|counter| counter.provider.clone());
        Self {
            terms: ClaimTerms {
                lease_id: format!("{:032x}", base.chance.unique()),
                owner: process_name(),
                others: Others {
                    journal: base.journal.clone(),
                    given_up: Arc::new(request.take_over.iter().cloned().collect()),
                    learned_life: whose.counter().and_then(|counter| counter.learned().refresh),
                },
                lease: settings.lease,
                due_by,
                all: request.force || request.only.is_some(),
                looks_for: None,
                only: request.only.clone(),
                force: request.force,
                second_looks: request.only.is_none() && request.limit.is_none() && !request.force,
                page: 1,
                provider,
            },
            policy: DuePolicy {
                renew_after: settings.renew_after,
                first_backoff: settings.first_backoff,
                longest_backoff: settings.longest_backoff,
                wakes: settings.wakes.clone(),
                journal: base.journal.id().into(),
                documents: *documents,
                assumed_life: settings
                    .assumed_life
                    .or_else(|| whose.counter().and_then(|counter| counter.assumed_life())),
                due_by,
            },
            base: base.clone(),
            whose,
            earlier: OnceLock::new(),
            waited_for: OnceLock::new(),
            report,
            stop: stop.clone(),
            whole: round.is_whole(),
            left: left.clone(),
            held: Mutex::default(),
            no_room: Mutex::default(),
            left_claimed: AtomicBool::new(false),
        }
    }

    /// A line for what is in the journal: it asks no provider, and claims nothing.
    pub(super) fn of_rows(base: &Base, stop: &Stop, report: Arc<Report>) -> Self {
        Self::new(base, Whose::Rows, &Round::new(PassRequest::default(), stop.clone(), 0), report)
    }

    /// The gate of the provider that is asked, if one is.
    pub(super) fn gate(&self) -> Option<&Arc<Gate>> {
        self.whose.counter().map(|counter| &counter.gate)
    }

    /// When the token of a marked document is sent again by itself.
    pub(super) fn next_look(&self, bookkeeping: &Bookkeeping) -> Option<Timestamp> {
        next_look(bookkeeping, self.terms.profile()?)
    }

    /// The same, for a document that may hold a new login.
    pub(super) fn asked_again_at(&self, document: &TokenDocument) -> Option<Timestamp> {
        let new_login = self.terms.profile().and_then(|profile| new_login_at(document, profile));
        self.next_look(&document.bookkeeping).into_iter().chain(new_login).min()
    }

    /// Takes the right to one more token of this pass.
    pub(super) fn take_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// A claim couldn't be given back; the next pass does that, because this one is not noted as finished.
    pub(super) fn left_claimed(&self) {
        self.left_claimed.store(true, Ordering::Relaxed);
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

    /// The journal has failed: nothing more may be redeemed in this pass. Others find out by their next intent.
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
        match self.base.journal.end(rows, self.base.clock.now()).await {
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
        if let Some(gate) = self.gate() {
            gate.stop(Stopped::CannotKeep);
        }
    }
}
