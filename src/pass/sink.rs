//! The sink: the one owner of the write-back. It takes what has landed, writes it in bulk, and ends the journal's rows.
//!
//! A pair that can't be written stays in the journal, and nothing more is redeemed.

use super::{Line, error_chain};
use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::journal::{Ending, EntryId, Journaled};
use crate::provider::Provider;
use crate::report::{Outcome, Trouble};
use crate::store::{Change, StoreError};
use crate::token::{
    DueToken, Fingerprint, LastError, Malformed, RefreshToken, State, Subject, TokenDocument, TokenId,
};
use crate::write_back::{Found, settle};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Most outcomes in one bulk write: the store's own limits are far above, and a page is not larger.
pub(super) const MAX_BATCH: usize = 500;

/// Why a document waits whose token is on its way for another one.
pub(super) const SAME_TOKEN_IN_FLIGHT: &str = "same_token_in_flight";

/// How often a change that found its document as expected, and yet didn't match, is tried again.
const TRIES: usize = 3;

/// A document at the end of its way.
#[derive(Debug)]
pub(super) enum Landed {
    /// One that had a token to send.
    Token { token: DueToken, provider: Arc<Provider>, next: Next },
    /// One that had none.
    Malformed { document: TokenDocument, malformed: Malformed },
}

/// What to do for it.
#[derive(Debug)]
pub(super) enum Next {
    /// Put the new pair into the document.
    WriteBack { granted: Journaled<Granted>, received_at: Timestamp, recovered: bool },
    /// Mark it, if the token is still the one that was refused.
    Retire { entry: Option<EntryId>, state: State, evidence: LastError },
    /// Try again later, and later each time.
    Defer(LastError),
    /// Give the claim back: why it is still due.
    Release(&'static str),
    /// Give the claim back, behind those that nobody has asked for yet: why it is still due.
    Later(&'static str),
    /// Give the claim back, as if it had never been taken.
    NotTaken,
    /// Somebody else wrote another token: keep theirs.
    Overtaken,
    /// Its token was redeemed for this document: take the pair from there.
    Copy { first: TokenId },
}

/// One document with what is to be written, and what its end will be if the write matches.
struct Planned {
    subject: Subject,
    change: Option<Change>,
    outcome: Option<Outcome>,
    reason: Option<String>,
    ending: Option<(EntryId, Ending)>,
    recovered: bool,
    /// Is its new pair in the journal?
    kept: bool,
}

impl Planned {
    fn has_pair_of_ours(&self) -> bool {
        matches!(self.ending, Some((_, Ending::Redeemed { .. } | Ending::Renewed)))
    }
}

/// The owner of the write-back in one pass.
pub(super) struct Sink {
    line: Arc<Line>,
    /// The store refused, or stayed away for too long: what comes now stays in the journal.
    broken: bool,
}

impl Sink {
    pub(super) const fn new(line: Arc<Line>) -> Self {
        Self { line, broken: false }
    }

    /// Takes what lands until the last sender is gone, or until the lanes have ended, waiting for no answer any more:
    /// what lands later is in the journal.
    ///
    /// **Must run to completion**; `give_up` ends its waiting for the store.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Landed>, lanes_ended: CancellationToken) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            let taken = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, MAX_BATCH) => taken,
                () = lanes_ended.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
            };
            if taken == 0 {
                return;
            }
            self.settle(std::mem::take(&mut batch)).await;
        }
    }

    /// Writes one batch and brings every document in it to its end.
    pub(super) async fn settle(&mut self, batch: Vec<Landed>) {
        let read = self.read_again(&batch).await;
        // After the documents: whatever this sink has written into them by then, the journal knows.
        let successors = self.successors(&batch).await;
        let plan = |landed| self.plan(landed, read.as_ref(), &successors);
        let mut planned: Vec<_> = batch.into_iter().map(plan).collect();
        let mut endings = Vec::new();
        for _ in 0..TRIES {
            if planned.is_empty() {
                break;
            }
            planned = self.write(planned, &mut endings).await;
        }
        // Still as expected, and still not matching: somebody else holds the claim now, or the store says one thing and
        // does another. A pair stays in the journal; a mark is theirs to make.
        for left in planned {
            self.keep(&left, "claim_lost");
        }
        if !endings.is_empty()
            && let Err(error) = self.line.journal.end(endings, self.line.clock.now()).await
        {
            self.line.journal_failed(&error);
        }
    }

    /// Reads the documents whose mark depends on how they are now; `None` when the store can't be read.
    async fn read_again(&mut self, batch: &[Landed]) -> Option<HashMap<TokenId, TokenDocument>> {
        let ids: Vec<_> = batch
            .iter()
            .flat_map(|landed| match landed {
                Landed::Token { token, next: Next::Retire { .. } | Next::Overtaken, .. } => {
                    vec![token.id.clone()]
                }
                Landed::Token { next: Next::Copy { first }, .. } => vec![first.clone()],
                Landed::Token { .. } | Landed::Malformed { .. } => Vec::new(),
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

    fn plan(
        &self,
        landed: Landed,
        read: Option<&HashMap<TokenId, TokenDocument>>,
        successors: &HashMap<Fingerprint, Fingerprint>,
    ) -> Planned {
        let policy = &self.line.policy;
        let now = self.line.clock.now();
        let (token, provider, next) = match landed {
            Landed::Token { token, provider, next } => (token, provider, next),
            Landed::Malformed { document, malformed } => {
                let change = policy.malformed(&document, &malformed, now);
                return plan(&document.subject, Some(change), Outcome::Malformed);
            }
        };
        let subject = &token.subject;
        match next {
            Next::WriteBack { granted, received_at, recovered } => {
                let change =
                    policy.renewal(&granted, &token, &provider.profile, received_at, self.line.chance.unit());
                let new = granted.get().refresh_token.as_ref().filter(|new| **new != token.refresh_token);
                let ending =
                    new.map_or(Ending::Renewed, |new| Ending::Redeemed { successor: new.fingerprint() });
                Planned {
                    ending: Some((granted.entry(), ending)),
                    recovered,
                    kept: granted.is_kept(),
                    ..plan(subject, Some(change), Outcome::Refreshed)
                }
            }
            Next::Retire { entry, state, evidence } => {
                let ending = entry.map(|entry| (entry, Ending::Settled));
                let Some(read) = read else {
                    // Not settled after all: the provider is asked again in the next pass.
                    let ending = entry.map(|entry| (entry, Ending::NotProcessed));
                    return Planned {
                        ending,
                        reason: Some("store".into()),
                        ..plan(subject, None, Outcome::StillDue)
                    };
                };
                let outcome =
                    if state == State::LostInFlight { Outcome::LostInFlight } else { Outcome::NeedsLogin };
                match read.get(&token.id) {
                    None => Planned { ending, ..plan(subject, None, Outcome::Gone) },
                    // The loser of a race marks nobody: the refused token isn't theirs any more.
                    Some(document) if document.refresh_token.as_ref() != Ok(&token.refresh_token) => {
                        Planned { ending, ..plan(subject, self.overtaken(document), Outcome::Superseded) }
                    }
                    Some(_) => {
                        let change = policy.retirement(&token, state, evidence);
                        Planned { ending, ..plan(subject, Some(change), outcome) }
                    }
                }
            }
            Next::Defer(evidence) => {
                let reason = Some(evidence.code.clone());
                let change = policy.deferral(&token, evidence, self.line.chance.unit());
                Planned { reason, ..plan(subject, Some(change), Outcome::StillDue) }
            }
            Next::Release(reason) => Planned {
                reason: Some(reason.to_owned()),
                ..plan(subject, Some(policy.release(&token)), Outcome::StillDue)
            },
            Next::Later(reason) => Planned {
                reason: Some(reason.to_owned()),
                ..plan(subject, Some(policy.later(&token, now)), Outcome::StillDue)
            },
            Next::NotTaken => {
                Planned { outcome: None, ..plan(subject, Some(policy.not_taken(&token)), Outcome::StillDue) }
            }
            Next::Overtaken => match read.map(|read| read.get(&token.id)) {
                Some(None) => plan(subject, None, Outcome::Gone),
                Some(Some(document)) => plan(subject, self.overtaken(document), Outcome::Superseded),
                None => Planned { reason: Some("store".into()), ..plan(subject, None, Outcome::StillDue) },
            },
            Next::Copy { first } => self.plan_copy(&token, &first, read, successors),
        }
    }

    /// A token that was redeemed already: its pair is in the document for which it was, or nobody has it any more.
    fn plan_copy(
        &self,
        token: &DueToken,
        first: &TokenId,
        read: Option<&HashMap<TokenId, TokenDocument>>,
        successors: &HashMap<Fingerprint, Fingerprint>,
    ) -> Planned {
        let Some(read) = read else {
            return Planned { reason: Some("store".into()), ..plan(&token.subject, None, Outcome::StillDue) };
        };
        let now = self.line.clock.now();
        if *first != token.id && read.get(first).is_some_and(|first| is_claimed(first, now)) {
            let change = self.line.policy.release(token);
            let reason = Some(SAME_TOKEN_IN_FLIGHT.to_owned());
            return Planned { reason, ..plan(&token.subject, Some(change), Outcome::StillDue) };
        }
        // Only what came out of this very token: the first document may belong to another login by now.
        let is_successor = |first: &&TokenDocument| {
            let now_there = first.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
            now_there.is_some() && now_there.as_ref() == successors.get(&token.refresh_token.fingerprint())
        };
        let pair_of = |first: &TokenDocument| self.line.policy.copy(token, first);
        if let Some(change) = read.get(first).filter(is_successor).and_then(pair_of) {
            return plan(&token.subject, Some(change), Outcome::Duplicate);
        }
        let evidence = LastError {
            class: "refused".into(),
            code: "already_redeemed".into(),
            http_status: None,
            at: now,
        };
        let change = self.line.policy.retirement(token, State::NeedsLogin, evidence);
        plan(&token.subject, Some(change), Outcome::NeedsLogin)
    }

    /// Applies the changes; ends what is through, and returns what must be tried again.
    async fn write(&mut self, planned: Vec<Planned>, endings: &mut Vec<(EntryId, Ending)>) -> Vec<Planned> {
        let (changes, with_change): (Vec<_>, Vec<_>) =
            planned.iter().enumerate().filter_map(|(at, plan)| Some((plan.change.clone()?, at))).unzip();
        let applied = if self.broken || changes.is_empty() {
            None
        } else {
            match self.line.insist(|| self.line.store.apply(&changes)).await {
                Ok(applied) => Some(applied),
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
                self.keep(&plan, "refused_by_store");
            } else if every_matched {
                self.end(plan, endings);
            } else if let Some(documents) = &unsure {
                match settle(change, documents.get(&change.id)) {
                    Found::Ours => self.end(plan, endings),
                    Found::Unchanged => again.push(plan),
                    Found::Theirs => {
                        again.extend(documents.get(&change.id).and_then(|theirs| self.give_back(theirs)));
                        self.lose(plan, Outcome::Superseded, endings);
                    }
                    Found::Gone => self.lose(plan, Outcome::Gone, endings),
                }
            } else {
                self.keep(&plan, "store");
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
            let (evidence, since) = (bookkeeping.last_error.as_ref(), bookkeeping.since);
            report.named(&plan.subject, bookkeeping.state, evidence, since, true);
        }
        report.ended(outcome, plan.reason.as_deref());
    }

    /// The document isn't ours to write any more: theirs is kept, and a good pair of ours is parked, never dropped.
    fn lose(&self, plan: Planned, outcome: Outcome, endings: &mut Vec<(EntryId, Ending)>) {
        let subject = &plan.subject;
        endings.extend(plan.ending.map(|(entry, ending)| match ending {
            Ending::Redeemed { .. } => {
                let why = outcome.word();
                if plan.kept {
                    warn!(%subject, why, "the new pair of `{subject}` has no place ({why}); it is parked in the journal");
                    self.line.report.orphaned();
                } else {
                    error!(%subject, why, "the new pair of `{subject}` has no place ({why}), and the journal failed: it is given up");
                }
                (entry, Ending::Orphaned(why.to_owned()))
            }
            // The refresh token is the one that the document had: nothing is lost with the answer.
            Ending::Renewed => (entry, Ending::Settled),
            Ending::Settled
            | Ending::NotProcessed
            | Ending::Unsettled(_)
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
        let change = self.overtaken(theirs)?;
        Some(Planned { outcome: None, ..plan(&theirs.subject, Some(change), Outcome::Superseded) })
    }

    /// The change for a document that holds somebody else's token, if it still carries our claim: another process' claim
    /// isn't ours to give back.
    fn overtaken(&self, theirs: &TokenDocument) -> Option<Change> {
        let lease = theirs.bookkeeping.lease.as_ref()?;
        let ours = lease.id == self.line.terms.lease_id;
        ours.then(|| self.line.policy.overtaken(theirs, self.line.clock.now()))
    }

    /// Nothing was written: a pair stays in the journal, anything else is found out again by the next pass.
    fn keep(&self, plan: &Planned, reason: &str) {
        let held = plan.has_pair_of_ours();
        if plan.change.is_some() {
            self.line.left_claimed();
        }
        let Some(outcome) = plan.outcome else { return };
        match (held, outcome) {
            (true, _) if !plan.kept => {
                let subject = &plan.subject;
                error!(%subject, "LOST: the new pair of `{subject}` was received and could be kept nowhere: journal and store both failed");
                self.line.report.lost(subject);
            }
            (true, _) => {
                plan.change.iter().for_each(|change| self.line.hold(&change.id));
                self.line.report.ended(Outcome::Held, None);
            }
            (false, Outcome::StillDue) => self.line.report.ended(outcome, plan.reason.as_deref()),
            (false, _) => self.line.report.ended(Outcome::StillDue, Some(reason)),
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        self.broken = true;
        let message = error_chain(error);
        error!(
            error = message,
            "the store can't be written; new pairs stay in the journal, and nothing more is redeemed"
        );
        self.line.report.trouble(Trouble::Store { message });
        self.line.cannot_keep();
    }
}

/// May the token in this document be on its way, so that its pair isn't to be copied?
pub(super) fn is_claimed(document: &TokenDocument, now: Timestamp) -> bool {
    document.bookkeeping.lease.as_ref().is_some_and(|lease| lease.until > now)
}

fn plan(subject: &Subject, change: Option<Change>, outcome: Outcome) -> Planned {
    Planned {
        subject: subject.clone(),
        change,
        outcome: Some(outcome),
        reason: None,
        ending: None,
        recovered: false,
        kept: true,
    }
}
