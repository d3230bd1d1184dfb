//! The sink: the one owner of the write-back. It takes what has landed, writes it in bulk, and ends the journal's rows.
//!
//! A pair that can't be written stays in the journal, and nothing more is redeemed.

use super::held::HeldRefusals;
use super::plan::{Landed, Next, Planned, Planner, overtaken, plan};
use super::{Line, error_chain};
use crate::journal::{Ending, EntryId};
use crate::kill_point::{Point, reach};
use crate::report::{Named, Outcome, PutOff, Trouble};
use crate::store::StoreError;
use crate::token::{Fingerprint, ParkedWhy, Reason, TokenDocument, TokenId};
use crate::write_back::{Found, settle};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Most outcomes in one bulk write: the store's own limits are far above, and a page is not larger.
pub(super) const MAX_BATCH: usize = 500;

/// How often a change that found its document as expected, and yet didn't match, is tried again.
const TRIES: usize = 3;

/// Wait before it is tried again: what is read may be a moment behind what is written.
const WAIT_BEFORE_TRY: Duration = Duration::from_millis(20);

/// The owner of the write-back in one pass.
pub(super) struct Sink {
    line: Arc<Line>,
    /// The store refused, or stayed away for too long: what comes now stays in the journal.
    broken: bool,
    /// Marks that aren't judged yet.
    held: HeldRefusals,
}

impl Sink {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line, broken: false, held: HeldRefusals::default() }
    }

    /// Takes what lands until the last sender is gone, or until the lanes have ended, waiting for no answer any more:
    /// what lands later is in the journal.
    ///
    /// **Must run to completion**; `give_up` ends its waiting for the store.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Landed>, lanes_ended: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let overdue = self.held.deadline(self.line.settings.lease);
            let taken = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, MAX_BATCH) => taken,
                () = lanes_ended.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                () = tokio::time::sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    self.judge(false).await;
                    continue;
                }
            };
            if taken == 0 {
                self.judge(true).await;
                return;
            }
            let batch = self.hold_refusals(std::mem::take(&mut batch)).await;
            self.settle(batch).await;
            self.judge(false).await;
        }
    }

    /// Takes the refusals out of a batch: they wait for their judgement.
    async fn hold_refusals(&mut self, batch: Vec<Landed>) -> Vec<Landed> {
        let (mut others, mut rows) = (Vec::with_capacity(batch.len()), Vec::new());
        for landed in batch {
            match landed {
                Landed::Token { token, provider, next: Next::Refused(refusal) } => {
                    let gate = self.line.gate_of(&provider);
                    rows.push(self.held.take(token, provider, refusal, gate));
                }
                Landed::Token { .. } | Landed::Malformed { .. } | Landed::Stray(_) => others.push(landed),
            }
        }
        self.end_rows(rows).await;
        others
    }

    /// Takes out of a batch whose token was redeemed before and whose pair is in no document: a mark without a request
    /// waits for its judgement as well.
    async fn hold_redeemed(&mut self, batch: Vec<Landed>, planner: &Planner<'_>) -> Vec<Landed> {
        let mut others = Vec::with_capacity(batch.len());
        for landed in batch {
            match landed {
                Landed::Token { token, provider, next: Next::Copy { first, judged: false } }
                    if planner.is_news(&token, &first) =>
                {
                    let gate = self.line.gate_of(&provider);
                    let redeemed = self.line.journal.redeemed_at(token.refresh_token.fingerprint()).await;
                    if let Err(error) = &redeemed {
                        self.line.journal_failed(error);
                    }
                    gate.found_redeemed(redeemed.ok().flatten());
                    self.held.take_redeemed(token, provider, first, gate);
                }
                Landed::Token { .. } | Landed::Malformed { .. } | Landed::Stray(_) => others.push(landed),
            }
        }
        others
    }

    /// Writes what was judged by now, at the `end` of the pass all that is left.
    async fn judge(&mut self, end: bool) {
        let line = self.line.clone();
        let mut ripe = self.held.ripe(|provider| line.gate_of(provider), line.settings.lease, end);
        while !ripe.is_empty() {
            let rest = ripe.split_off(ripe.len().min(MAX_BATCH));
            self.settle(ripe).await;
            ripe = rest;
        }
    }

    /// Writes one batch and brings every document in it to its end.
    pub(super) async fn settle(&mut self, batch: Vec<Landed>) {
        let read = self.read_again(&batch).await;
        // After the documents: whatever this sink has written into them by then, the journal knows.
        let successors = self.successors(&batch).await;
        let line = self.line.clone();
        let planner = Planner { line: &line, read: read.as_ref(), successors: &successors };
        let batch = self.hold_redeemed(batch, &planner).await;
        let mut planned: Vec<_> = batch.into_iter().map(|landed| planner.plan(landed)).collect();
        let mut endings = Vec::new();
        for tried in 0..TRIES {
            if planned.is_empty() {
                break;
            }
            if tried > 0 {
                tokio::time::sleep(WAIT_BEFORE_TRY).await;
            }
            planned = self.write(planned, &mut endings).await;
        }
        // Still as expected, and still not matching: somebody else holds the claim now, or the store says one thing and
        // does another. A pair stays in the journal; a mark is theirs to make.
        for left in planned {
            self.keep(&left, Reason::ClaimLost);
        }
        self.end_rows(endings).await;
    }

    async fn end_rows(&self, endings: Vec<(EntryId, Ending)>) {
        if endings.is_empty() {
            return;
        }
        reach(Point::BeforeEnd);
        if let Err(error) = self.line.journal.end(endings, self.line.clock.now()).await {
            self.line.journal_failed(&error);
        }
        reach(Point::Ended);
    }

    /// Reads the documents whose mark depends on how they are now; `None` when the store can't be read.
    async fn read_again(&mut self, batch: &[Landed]) -> Option<HashMap<TokenId, TokenDocument>> {
        let ids: Vec<_> = batch
            .iter()
            .flat_map(|landed| match landed {
                Landed::Token { token, next: Next::Retire { .. } | Next::Overtaken, .. } => {
                    vec![token.id.clone()]
                }
                Landed::Token { next: Next::Copy { first, .. }, .. } => vec![first.clone()],
                Landed::Token { .. } | Landed::Malformed { .. } | Landed::Stray(_) => Vec::new(),
            })
            .collect();
        self.read(&ids).await
    }

    async fn read(&mut self, ids: &[TokenId]) -> Option<HashMap<TokenId, TokenDocument>> {
        if ids.is_empty() {
            return Some(HashMap::new());
        }
        if self.broken {
            return None;
        }
        match self.line.insist(|| self.line.store.read(ids)).await {
            Ok(documents) => {
                Some(documents.into_iter().map(|document| (document.id.clone(), document)).collect())
            }
            Err(error) => {
                self.store_failed(&error);
                None
            }
        }
    }

    /// What has become of the tokens that were redeemed for another document.
    async fn successors(&self, batch: &[Landed]) -> HashMap<Fingerprint, Fingerprint> {
        let mut successors = HashMap::new();
        for landed in batch {
            let Landed::Token { token, next: Next::Copy { .. }, .. } = landed else { continue };
            let redeemed = token.refresh_token.fingerprint();
            match self.line.journal.successor(redeemed).await {
                Ok(successor) => successors.extend(successor.map(|successor| (redeemed, successor))),
                Err(error) => self.line.journal_failed(&error),
            }
        }
        successors
    }

    /// Applies the changes; ends what is through, and returns what must be tried again.
    async fn write(&mut self, planned: Vec<Planned>, endings: &mut Vec<(EntryId, Ending)>) -> Vec<Planned> {
        let (changes, with_change): (Vec<_>, Vec<_>) =
            planned.iter().enumerate().filter_map(|(at, plan)| Some((plan.change.clone()?, at))).unzip();
        let applied = if self.broken || changes.is_empty() {
            None
        } else {
            reach(Point::BeforeApply);
            match self.line.insist(|| self.line.store.apply(&changes)).await {
                Ok(applied) => {
                    reach(Point::Applied);
                    Some(applied)
                }
                Err(error) => {
                    self.store_failed(&error);
                    None
                }
            }
        };
        let refused: HashMap<usize, String> = applied
            .iter()
            .flat_map(|applied| &applied.refused)
            .map(|(index, reason)| (with_change[*index], reason.clone()))
            .collect();
        let unsure = match &applied {
            Some(applied) if applied.every_matched => Some(HashMap::new()),
            Some(_) => {
                let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
                self.read(&ids).await
            }
            None => None,
        };
        let every_matched = applied.as_ref().is_some_and(|applied| applied.every_matched);
        let mut again = Vec::new();
        for (at, plan) in planned.into_iter().enumerate() {
            let Some(change) = &plan.change else {
                self.end(plan, endings);
                continue;
            };
            if let Some(reason) = refused.get(&at) {
                let subject = &plan.subject;
                error!(%subject, reason, "the store refuses to write the document of `{subject}`");
                self.keep(&plan, Reason::RefusedByStore);
            } else if every_matched {
                self.end(plan, endings);
            } else if let Some(documents) = &unsure {
                match settle(change, documents.get(&change.id)) {
                    Found::Ours => self.end(plan, endings),
                    Found::Unchanged => again.push(plan),
                    Found::Theirs => {
                        again.extend(documents.get(&change.id).and_then(|theirs| self.give_back(theirs)));
                        self.lose(plan, Outcome::Superseded, ParkedWhy::Superseded, endings);
                    }
                    Found::Gone => self.lose(plan, Outcome::Gone, ParkedWhy::Gone, endings),
                }
            } else {
                self.keep(&plan, Reason::Store);
            }
        }
        again
    }

    /// The write is in the document.
    fn end(&self, plan: Planned, endings: &mut Vec<(EntryId, Ending)>) {
        let report = &self.line.report;
        endings.extend(plan.ending);
        let Some(outcome) = plan.outcome else { return };
        if plan.recovered {
            report.recovered(|recovery| recovery.written += 1);
        }
        if let Some(change) = &plan.change
            && matches!(outcome, Outcome::NeedsLogin | Outcome::LostInFlight | Outcome::Malformed)
        {
            let bookkeeping = &change.bookkeeping;
            let evidence = bookkeeping.last_error.as_ref();
            report.named(Named {
                provider: plan.provider.clone(),
                since: bookkeeping.since,
                new: plan.news,
                ..Named::new(&change.id, &plan.subject, bookkeeping.state, evidence)
            });
        }
        if let Some(change) = &plan.change
            && let Some(due_at) = change.bookkeeping.due_at
            && outcome == Outcome::StillDue
        {
            let put_off = PutOff {
                id: change.id.clone(),
                subject: plan.subject.clone(),
                provider: plan.provider.clone(),
                code: plan.reason.as_deref().unwrap_or_default().to_owned(),
                due_at,
                new: true,
            };
            report.put_off(put_off, self.line.clock.now());
        }
        report.ended(outcome, plan.reason.as_deref());
    }

    /// The document isn't ours to write any more: theirs is kept, and a good pair of ours is parked, never dropped.
    fn lose(&self, plan: Planned, outcome: Outcome, parked: ParkedWhy, endings: &mut Vec<(EntryId, Ending)>) {
        let (subject, why) = (&plan.subject, parked.word());
        let parks = matches!(plan.ending, Some((_, Ending::Redeemed { .. })));
        if parks && !plan.kept {
            error!(%subject, why, "LOST: the new pair of `{subject}` was received and could be kept nowhere: the journal failed, and its document is {why}");
            // There is no answer to park; that the old token is spent is all that can be remembered.
            endings.extend(plan.ending);
            self.line.report.lost(subject);
            return;
        }
        endings.extend(plan.ending.map(|(entry, ending)| match ending {
            Ending::Redeemed { .. } => {
                warn!(%subject, why, "the new pair of `{subject}` has no place ({why}); it is parked in the journal");
                self.line.report.orphaned();
                (entry, Ending::Orphaned(parked))
            }
            // The refresh token is the one that the document had: nothing is lost with the answer.
            Ending::Renewed => (entry, Ending::Settled),
            Ending::Settled
            | Ending::NotProcessed
            | Ending::TurnedAway(_)
            | Ending::Unsettled(_)
            | Ending::SentTo(_)
            | Ending::Unread(_)
            | Ending::Orphaned(_)
            | Ending::Discarded => (entry, ending),
        }));
        if plan.outcome.is_some() {
            self.line.report.ended(outcome, None);
        }
    }

    /// Gives back our claim on a document that holds somebody else's token now.
    fn give_back(&self, theirs: &TokenDocument) -> Option<Planned> {
        let change = overtaken(&self.line, theirs)?;
        Some(Planned { outcome: None, ..plan(&theirs.subject, Some(change), Outcome::Superseded) })
    }

    /// Nothing was written: a pair stays in the journal, anything else is found out again by the next pass.
    fn keep(&self, plan: &Planned, reason: Reason) {
        let held = plan.has_pair_of_ours();
        if plan.change.is_some() {
            self.line.left_claimed();
        }
        let Some(outcome) = plan.outcome else { return };
        match (held, outcome) {
            // The refresh token is the one that the document had: nothing is lost with the answer.
            (true, _) if !plan.kept && matches!(plan.ending, Some((_, Ending::Renewed))) => {
                self.line.report.ended(Outcome::StillDue, Some(reason.word()));
            }
            (true, _) if !plan.kept => {
                let subject = &plan.subject;
                error!(%subject, "LOST: the new pair of `{subject}` was received and could be kept nowhere: journal and store both failed\nhint: that person must log in again");
                self.line.report.lost(subject);
            }
            (true, _) => {
                plan.change.iter().for_each(|change| self.line.hold(&change.id));
                self.line.report.ended(Outcome::Held, None);
            }
            (false, Outcome::StillDue) => self.line.report.ended(outcome, plan.reason.as_deref()),
            (false, _) => self.line.report.ended(Outcome::StillDue, Some(reason.word())),
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        self.broken = true;
        error!(
            error = error_chain(error),
            "the store can't be written; new pairs stay in the journal, and nothing more is redeemed"
        );
        self.line.report.trouble(Trouble::store(error));
        self.line.cannot_keep();
    }
}
