//! The sink: the one owner of the write-back, and the executor of every verdict: first the document, then the journal's row,
//! then the report.
//!
//! A pair that can't be written stays in the journal, and nothing more is redeemed.

mod adopt;
mod take_back;
mod unwritten;

use super::Line;
use super::held::HeldMarks;
use super::landed::Landed;
use crate::failure::error_chain;
use crate::gate::WithoutRequest;
use crate::journal::{EntryId, Event, JournalError};
use crate::kill_point::{Point, reach};
use crate::report::{LiveAgain, Named, Outcome, PutOff, Trouble};
use crate::store::{Change, StoreError, Unwritable};
use crate::token::{Reason, TokenDocument, TokenId};
use crate::verdict::change::{Found, finishing, settle, without_pair};
use crate::verdict::{Case, Document, End, Fact, Mark, Step, Unwritten, Verdict, judge};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use unwritten::has_further_values;
pub(super) use unwritten::tell_without_further_values;

/// Most outcomes in one bulk write: the store's own limits are far above, and a page is not larger.
pub(super) const MAX_BATCH: usize = 500;

/// How often a change that found its document as expected, and yet didn't match, is tried again.
const TRIES: usize = 3;

/// Wait before it is tried again: what is read may be a moment older than what is written.
const WAIT_BEFORE_TRY: Duration = Duration::from_millis(20);

/// Events of rows, in the order in which they are written.
type Rows = Vec<(EntryId, Event)>;

/// The owner of the write-back in one pass.
pub(super) struct Sink {
    line: Arc<Line>,
    /// The store refused, or stayed away for too long: what comes now stays in the journal.
    broken: bool,
    /// Marks that aren't believed yet, where a provider is asked.
    held: Option<HeldMarks>,
    /// Was it said that further values of answers are left out?
    told_further: bool,
    /// Has doubt arisen in this pass, so that its marks are taken back?
    doubted: bool,
}

impl Sink {
    pub(super) fn new(line: Arc<Line>) -> Self {
        let held = line.gate().map(|gate| HeldMarks::new(gate.clone(), line.base.settings.lease));
        Self { line, broken: false, held, told_further: false, doubted: false }
    }

    /// Takes what lands until the last sender is gone, or until the lanes have ended, waiting for no answer any more:
    /// what lands later is in the journal.
    ///
    /// **Must run to completion**; `give_up` ends its waiting for the store.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Landed>, lanes_ended: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let overdue = self.held.as_ref().and_then(HeldMarks::deadline);
            let taken = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, MAX_BATCH) => taken,
                () = lanes_ended.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                () = tokio::time::sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() => {
                    self.settle_held(false).await;
                    continue;
                }
            };
            if taken == 0 {
                self.settle_held(true).await;
                self.end_judging().await;
                return;
            }
            self.settle(std::mem::take(&mut batch)).await;
            self.settle_held(false).await;
        }
    }

    /// Settles the marks that wait no longer, at the `end` of the pass all that are left.
    async fn settle_held(&mut self, end: bool) {
        let Some(held) = &mut self.held else { return };
        let now = Instant::now();
        let standing = held.judge(end, now);
        // Before anything that follows from it: a process that is killed from now on leaves no mark that isn't taken back.
        let doubt = standing.suspicious && !self.doubted;
        if doubt {
            self.doubted = true;
            self.note_doubt().await;
        }
        let (Some(held), line) = (&mut self.held, &self.line) else { return };
        let ripe = held.ripe(end, line.terms.only.is_some(), (now, standing)).into_iter();
        let mut ripe: Vec<_> =
            ripe.map(|(token, provider, fact)| line.judge(token, &provider, fact)).collect();
        while !ripe.is_empty() {
            let rest = ripe.split_off(ripe.len().min(MAX_BATCH));
            self.settle(ripe).await;
            ripe = rest;
        }
        // At once, and not at the end of the pass: an application may tell its users that they must log in again.
        if doubt {
            self.take_back().await;
        }
    }

    /// Brings every document of a batch to its end, or holds its mark.
    async fn settle(&mut self, batch: Vec<Landed>) {
        let batch = self.look(batch).await;
        let batch = self.hold(batch).await;
        if let Err(error) = self.execute(batch).await {
            self.line.journal_failed(&error);
        }
    }

    /// Judges again, with their documents, the cases whose verdict depends on these.
    async fn look(&mut self, batch: Vec<Landed>) -> Vec<Landed> {
        let looks = |landed: &Landed| matches!(landed.verdict.document, Step::Look);
        let ids: Vec<_> = batch
            .iter()
            .filter(|landed| looks(landed))
            .filter_map(|landed| landed.case.as_ref().map(|case| case.looks_at().clone()))
            .collect();
        if ids.is_empty() {
            return batch;
        }
        let rows =
            batch.iter().filter(|landed| looks(landed)).filter_map(|landed| landed.verdict.row.clone());
        self.end_rows(rows.collect()).await;
        let read = self.read(&ids).await;
        let mut judged = Vec::with_capacity(batch.len());
        for landed in batch {
            let Landed { case: Some(mut case), verdict: Verdict { document: Step::Look, .. }, .. } = landed
            else {
                judged.push(landed);
                continue;
            };
            self.find_successor(&mut case).await;
            let document = match &read {
                None => Document::Unknown,
                Some(documents) => documents.get(case.looks_at()).map_or(Document::Gone, Document::There),
            };
            if matches!(document, Document::Unknown) {
                self.line.left_claimed();
            }
            let around = self.line.around();
            let verdict = judge(&case, document, &around);
            judged.push(Landed::of(*case, verdict, &around));
        }
        judged
    }

    /// What has become of a token that was redeemed before. Asked after the documents were read: whatever this sink has
    /// written into them by then, the journal knows.
    async fn find_successor(&self, case: &mut Case) {
        let token = case.token.refresh_token.fingerprint();
        let redeemed = match &mut case.fact {
            Fact::Redeemed(redeemed) | Fact::Marked(Mark::Redeemed(redeemed), _) => redeemed,
            Fact::Marked(Mark::Refused(refusal), _) => {
                refusal.received = self.line.received_for(&case.token, &case.provider).await.map(Box::new);
                // The row of a parked one ends in the place of that of the refusal, which has settled its own.
                if refusal.received.as_ref().is_some_and(|received| received.is_parked) {
                    let row = (refusal.entry, Event::Settled);
                    self.end_rows(vec![row]).await;
                }
                return;
            }
            _ => return,
        };
        match self.line.base.journal.successor(token).await {
            Ok(successor) => redeemed.successor = successor,
            Err(error) => self.line.journal_failed(&error),
        }
        redeemed.received = self.line.received_for(&case.token, &case.provider).await.map(Box::new);
    }

    /// Takes the marks out of a batch that wait to be believed.
    async fn hold(&mut self, batch: Vec<Landed>) -> Vec<Landed> {
        let (mut others, mut rows) = (Vec::with_capacity(batch.len()), Vec::new());
        for landed in batch {
            let Landed { case: Some(case), verdict: Verdict { document: Step::Hold(mark), row, .. }, .. } =
                landed
            else {
                others.push(landed);
                continue;
            };
            let Some(held) = &mut self.held else { continue };
            let (line, gate) = (&self.line, &held.gate);
            match &mark {
                Mark::Redeemed(_) => {
                    let fingerprint = case.token.refresh_token.fingerprint();
                    let redeemed = line.base.journal.redeemed_at(fingerprint).await;
                    if let Err(error) = &redeemed {
                        line.journal_failed(error);
                    }
                    gate.found_unasked(WithoutRequest::Redeemed, redeemed.ok().flatten());
                }
                Mark::MayBeSpent(_, evidence) => {
                    let sent_at = evidence.lost.as_ref().and_then(|lost| lost.sent_at);
                    gate.found_unasked(WithoutRequest::MayBeSpent, sent_at);
                }
                Mark::Refused(_) => {}
            }
            rows.extend(row);
            held.hold(*case, mark);
        }
        self.end_rows(rows).await;
        others
    }

    /// Executes verdicts: the documents in bulk, then the rows in one commit; the report as each document reaches its end.
    ///
    /// # Errors
    /// [`JournalError`] when the rows can't be ended. What is written is written.
    pub(super) async fn execute(&mut self, batch: Vec<Landed>) -> Result<(), JournalError> {
        let mut rows = Vec::new();
        let mut left = self.list(batch, &mut rows).await;
        for tried in 0..TRIES {
            if left.is_empty() {
                break;
            }
            if tried > 0 {
                tokio::time::sleep(WAIT_BEFORE_TRY).await;
            }
            left = self.write(left, &mut rows).await;
        }
        // Still as expected, and still not matching: another process holds the claim now, or the store says one thing and
        // does another. A pair stays in the journal; a mark is theirs to make.
        for landed in left {
            self.unwritten(&landed, Unwritten::Failed(Reason::ClaimLost), &mut rows);
        }
        self.line.end_rows(rows).await
    }

    /// Lists the marks of a batch before they are made. One that can't be listed isn't made.
    async fn list(&self, batch: Vec<Landed>, rows: &mut Rows) -> Vec<Landed> {
        let accepted = self.held.as_ref().is_none_or(|held| held.gate.standing().accepted);
        let marks: Vec<_> = batch.iter().filter_map(|landed| landed.mark.clone()).collect();
        if accepted || marks.is_empty() {
            return batch;
        }
        if let Err(error) = self.line.base.journal.list_marks(&self.line.whose.name(), marks).await {
            self.line.journal_failed(&error);
            let (marks, others): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|landed| landed.mark.is_some());
            for landed in marks {
                self.unwritten(&landed, Unwritten::Failed(Reason::Journal), rows);
            }
            return others;
        }
        reach(Point::MarksListed);
        batch
    }

    async fn end_rows(&self, rows: Rows) {
        if let Err(error) = self.line.end_rows(rows).await {
            self.line.journal_failed(&error);
        }
    }

    async fn read(&mut self, ids: &[TokenId]) -> Option<HashMap<TokenId, TokenDocument>> {
        if ids.is_empty() {
            return Some(HashMap::new());
        }
        if self.broken {
            return None;
        }
        match self.line.insist(|| self.line.base.store.read(ids)).await {
            Ok(documents) => {
                Some(documents.into_iter().map(|document| (document.id.clone(), document)).collect())
            }
            Err(error) => {
                self.store_failed(&error);
                None
            }
        }
    }

    /// Applies the changes; ends what is through, and returns what must be tried again.
    async fn write(&mut self, batch: Vec<Landed>, rows: &mut Rows) -> Vec<Landed> {
        let (changes, with_change): (Vec<_>, Vec<_>) =
            batch.iter().enumerate().filter_map(|(at, landed)| Some((landed.change()?.clone(), at))).unzip();
        let applied = self.apply(&changes).await;
        let refused: HashMap<usize, Unwritable> = applied
            .iter()
            .flat_map(|applied| &applied.refused)
            .map(|(index, reason)| (with_change[*index], reason.clone()))
            .collect();
        let every_matched = applied.as_ref().is_some_and(|applied| applied.every_matched);
        let unsure = if applied.is_some() && !every_matched {
            let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
            self.read(&ids).await
        } else {
            None
        };
        let mut again = Vec::new();
        for (at, mut landed) in batch.into_iter().enumerate() {
            let Some(change) = landed.change() else {
                self.end(landed, rows);
                continue;
            };
            if every_matched {
                self.end(landed, rows);
                continue;
            }
            // Whose the document is says more than why it can't be written.
            let now_there = unsure.as_ref().map(|documents| documents.get(&change.id));
            let found = now_there.map(|document| settle(change, document, &self.line.around()));
            match (found, refused.get(&at)) {
                (Some(Found::Ours), _) => self.end(landed, rows),
                (Some(Found::Unfinished), _) => {
                    let rest = now_there.flatten().map(|document| finishing(change, document));
                    landed.rewrite(rest);
                    again.push(landed);
                }
                (Some(Found::NewerAccess), _) => {
                    let rest = now_there.flatten().map(|document| without_pair(change, document));
                    landed.rewrite(rest);
                    landed.verdict.ends =
                        landed.verdict.ends.map(|end| End { outcome: Outcome::Superseded, ..end });
                    again.push(landed);
                }
                (Some(Found::Theirs), _) => {
                    again.extend(now_there.flatten().and_then(|theirs| self.give_back(theirs, change)));
                    self.unwritten(&landed, Unwritten::Theirs, rows);
                }
                (Some(Found::Gone), _) => self.unwritten(&landed, Unwritten::Gone, rows),
                (Some(Found::Unchanged), Some(reason)) if has_further_values(change) => {
                    self.leave_out_further_values(&mut landed, reason);
                    again.push(landed);
                }
                (Some(Found::Unchanged) | None, Some(reason)) => {
                    self.refused(&landed, reason, rows);
                }
                (Some(Found::Unchanged), None) => again.push(landed),
                (None, None) => self.unwritten(&landed, Unwritten::Failed(Reason::Store), rows),
            }
        }
        again
    }

    /// Writes the changes; `None` when the store couldn't.
    async fn apply(&mut self, changes: &[Change]) -> Option<crate::store::Applied> {
        if self.broken || changes.is_empty() {
            return None;
        }
        reach(Point::BeforeApply);
        match self.line.insist(|| self.line.base.store.apply(changes)).await {
            Ok(applied) => {
                reach(Point::Applied);
                Some(applied)
            }
            Err(error) => {
                self.store_failed(&error);
                None
            }
        }
    }

    /// The document is as the verdict wants it.
    fn end(&self, landed: Landed, rows: &mut Rows) {
        let _about = landed.span().entered();
        self.line.tell_ending(&landed);
        if landed.brings_a_pair()
            && let Some(gate) = self.line.gate()
        {
            gate.write_back_accepted();
        }
        let change = landed.change().cloned();
        let Landed { id, subject, provider, verdict, .. } = landed;
        self.end_row(verdict.row, rows);
        let Some(End { outcome, reason, news, recovered, refused, heals }) = verdict.ends else { return };
        let report = &self.line.report;
        if refused && outcome == Outcome::Gone {
            warn!(
                code = outcome.word(),
                "gone while refused: the document of `{subject}` was deleted, and the provider refuses its token"
            );
            report.gone_while_refused();
        }
        if recovered {
            report.recovered(|recovery| recovery.written += 1);
        }
        if outcome == Outcome::Restored {
            info!(
                code = outcome.word(),
                "restored: the document of `{subject}` held a token again that was redeemed before; the newest pair was put back"
            );
        }
        if let (Some(change), Outcome::Refreshed) = (&change, outcome) {
            self.line.learn(change);
        }
        if let Some((was, why)) = heals {
            info!(code = why.word(), "live again: the token of `{subject}` was refused, and is granted now");
            let (id, subject, provider) = (id.clone(), subject.clone(), provider.clone());
            report.live_again(LiveAgain { id, subject, provider, was, why });
        }
        let bookkeeping = change.map(|change| change.bookkeeping);
        let is_silent = bookkeeping.as_ref().is_some_and(|books| books.last_error.is_none());
        if let Some(books) = &bookkeeping
            && matches!(outcome, Outcome::NeedsLogin | Outcome::LostInFlight | Outcome::Malformed)
        {
            report.named(Named {
                provider: provider.clone(),
                since: books.since,
                new: news,
                asked_again_at: self.line.next_look(books),
                ..Named::new(&id, &subject, books.state, books.last_error.as_ref())
            });
        }
        if let Some(books) = &bookkeeping
            && outcome == Outcome::StillDue
            && reason.as_deref() == Some(Reason::SpentElsewhere.word())
        {
            self.line.waits_for_its_pair(&id, &subject, provider.clone(), books);
        }
        let evidence = bookkeeping.as_ref().and_then(|books| books.last_error.as_ref());
        let code = evidence.map(|evidence| evidence.code.to_string());
        // First: from the moment on at which it is put off it may be asked again.
        self.line.ended(&subject, outcome, reason.as_deref(), code.as_deref());
        if let Some(due_at) = bookkeeping.and_then(|books| books.due_at)
            && outcome == Outcome::StillDue
        {
            let code = reason.as_deref().unwrap_or_default().to_owned();
            let (put_off, now) =
                (PutOff { id, subject, provider, code, due_at, new: true }, self.line.base.clock.now());
            if is_silent { report.put_off_silently(put_off, now) } else { report.put_off(put_off, now) }
        }
    }

    fn end_row(&self, row: Option<(EntryId, Event)>, rows: &mut Rows) {
        if let Some((_, Event::NoPlace(_))) = row {
            self.line.report.orphaned();
        }
        rows.extend(row);
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
