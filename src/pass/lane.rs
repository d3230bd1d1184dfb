//! The lane of one provider: the one dispatcher that pulls tokens up to the gate and spawns a task for each grant.

use super::redeem::{Attempt, Redeemer, Returned};
use super::sink::{Landed, Next, SAME_TOKEN_IN_FLIGHT, is_claimed};
use super::{Line, STORE_PATIENCE, error_chain};
use crate::gate::{Entered, Gate, Permit, Signal, Stopped};
use crate::grant::http::TokenEndpoint;
use crate::journal::{Intent, Permission};
use crate::provider::Provider;
use crate::report::{Outcome, Trouble};
use crate::select::{Claims, Pulled};
use crate::store::StoreError;
use crate::token::{LastError, State, TokenDocument, TokenId};
use chrono::TimeDelta;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// What a lease must still last when a grant is sent, beyond the longest wait for its answer: time for the write-back.
///
/// Clocks of different machines may be apart by as much.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// How long a token that failed in an earlier pass lets others go first, until the provider has granted something.
const UNPROVEN_WAIT: Duration = Duration::from_millis(500);

/// Age of a claim from which on its token is read again before it is sent.
///
/// Longer than a page takes to pass the gate when nothing is in the way, at the rates of the built-in profiles.
const STALE_CLAIM: Duration = Duration::from_secs(45);

/// First wait for another document's grant of the same refresh token; it doubles, because each look costs a place in
/// the rate.
const IN_THE_WAY_WAIT: Duration = Duration::from_millis(200);

/// How often that wait doubles: up to 3.2 s.
const IN_THE_WAY_DOUBLINGS: u32 = 4;

/// How often a token waits for another document's grant of the same token, for well over a minute in all; then the next
/// pass takes it.
const MOST_IN_THE_WAY: u32 = 30;

/// Tokens that wait for another try, for each that may be in flight; beyond it no new ones are pulled.
const RETRIES_A_PLACE: usize = 2;

/// The dispatcher of one provider.
pub(super) struct Lane {
    line: Arc<Line>,
    gate: Arc<Gate>,
    claims: Claims,
    redeemer: Arc<Redeemer>,
    tasks: TaskTracker,
    out: u64,
    give_back: mpsc::UnboundedSender<Returned>,
    returned: mpsc::UnboundedReceiver<Returned>,
    again: VecDeque<(Attempt, Instant)>,
    exhausted: bool,
    store_away_since: Option<Instant>,
}

/// What the lane found to do.
enum Work {
    Token(Box<Attempt>),
    Nothing,
    Stop,
}

impl Lane {
    pub(super) fn new(
        line: Arc<Line>,
        provider: Arc<Provider>,
        gate: Arc<Gate>,
        endpoint: TokenEndpoint,
        claims: Claims,
        landed: mpsc::Sender<Landed>,
    ) -> Self {
        // Unbounded in type only: each task sends one message, and the gate bounds the tasks.
        let (give_back, returned) = mpsc::unbounded_channel();
        let redeemer =
            Arc::new(Redeemer { line: line.clone(), provider, gate: gate.clone(), endpoint, landed });
        Self {
            line,
            gate,
            claims,
            redeemer,
            tasks: TaskTracker::new(),
            out: 0,
            give_back,
            returned,
            again: VecDeque::new(),
            exhausted: false,
            store_away_since: None,
        }
    }

    /// Runs until everything due is through, or a stop; returns the grants whose answers were given up.
    pub(super) async fn run(mut self) -> u64 {
        let reason = loop {
            let attempt = match self.next_work().await {
                Work::Token(attempt) => *attempt,
                Work::Nothing => break "",
                Work::Stop => break "stopped",
            };
            let stop = self.line.stop.take_no_more.clone();
            match stop.run_until_cancelled(self.gate.enter()).await {
                Some(Entered::Go(permit)) => self.dispatch(attempt, permit).await,
                Some(Entered::Stopped(why)) => {
                    self.release(attempt, reason_of(&why)).await;
                    break reason_of(&why);
                }
                None => {
                    self.release(attempt, "stopped").await;
                    break "stopped";
                }
            }
        };
        self.wind_down(reason).await
    }

    /// Waits for a token to send: one whose retry is due, or a new one. Only waiting is raced with the stop signal.
    async fn next_work(&mut self) -> Work {
        loop {
            if let Some(attempt) = self.ready_again() {
                return Work::Token(Box::new(attempt));
            }
            let may_pull = !self.exhausted && self.has_room();
            if !may_pull && self.again.is_empty() && self.out == 0 {
                return Work::Nothing;
            }
            let next_again = self.again.iter().map(|(_, at)| *at).min();
            tokio::select! {
                biased;
                () = self.line.stop.take_no_more.cancelled() => return Work::Stop,
                Some(returned) = self.returned.recv() => self.take_back(returned),
                () = tokio::time::sleep_until(next_again.unwrap_or_else(Instant::now)), if next_again.is_some() => {}
                pulled = self.claims.next(), if may_pull => {
                    if let Some(attempt) = self.pulled(pulled).await {
                        return Work::Token(Box::new(attempt));
                    }
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.again.len() < RETRIES_A_PLACE * self.redeemer.provider.profile.concurrency.get()
    }

    fn ready_again(&mut self) -> Option<Attempt> {
        let now = Instant::now();
        let ready = self.again.iter().position(|(_, at)| *at <= now)?;
        self.again.remove(ready).map(|(attempt, _)| attempt)
    }

    fn take_back(&mut self, returned: Returned) {
        self.out -= 1;
        if let Returned::Again(attempt, at) = returned {
            self.line.report.retried();
            self.again.push_back((*attempt, at));
        }
    }

    async fn pulled(&mut self, pulled: Result<Option<Pulled>, StoreError>) -> Option<Attempt> {
        match pulled {
            Ok(pulled) => {
                self.store_away_since = None;
                match pulled {
                    Some(Pulled::Token(token)) => {
                        let attempt = Attempt::new(token);
                        if self.line.holds(&attempt.token.id) {
                            self.land(attempt, Next::NotTaken).await;
                        } else if self.line.take_one() {
                            self.line.report.touched();
                            let failed_before = attempt.token.bookkeeping.failures > 0;
                            if !(failed_before && self.gate.is_unproven() && self.has_room()) {
                                return Some(attempt);
                            }
                            // What failed before proves nothing about the provider: others come first.
                            self.again.push_back((attempt, Instant::now() + UNPROVEN_WAIT));
                        } else {
                            self.exhausted = true;
                            self.land(attempt, Next::NotTaken).await;
                        }
                    }
                    Some(Pulled::Malformed(document)) => {
                        self.line.report.touched();
                        self.land_malformed(document).await;
                    }
                    Some(Pulled::Known(document)) => known(&self.line, &document),
                    Some(Pulled::NoRoom(document, reason)) => no_room(&self.line, &document, &reason),
                    None => self.exhausted = true,
                }
            }
            Err(error) => self.store_is_away(&error).await,
        }
        None
    }

    async fn land_malformed(&self, document: TokenDocument) {
        let Err(malformed) = document.refresh_token.clone() else { return };
        let _ = self.redeemer.landed.send(Landed::Malformed { document, malformed }).await;
    }

    /// The page couldn't be read: wait and read it again, or end the lane when the store refuses or stays away.
    async fn store_is_away(&mut self, error: &StoreError) {
        const WAIT: Duration = Duration::from_secs(1);
        let since = *self.store_away_since.get_or_insert_with(Instant::now);
        if matches!(error, StoreError::Unavailable { .. }) && since.elapsed() < STORE_PATIENCE {
            warn!(error = %error_chain(error), "can't claim documents; trying again until the store is back");
            let _ = self.line.stop.take_no_more.run_until_cancelled(tokio::time::sleep(WAIT)).await;
        } else {
            self.line.report.trouble(Trouble::Store { message: error_chain(error) });
            self.exhausted = true;
        }
    }

    /// Takes the last look before the POST: still our claim, still this token, not sent by anybody before.
    async fn dispatch(&mut self, attempt: Attempt, mut permit: Permit) {
        let Some(attempt) = self.still_ours(attempt, &mut permit).await else { return };
        let token = &attempt.token;
        let intent = Intent {
            provider: self.redeemer.provider.name.clone(),
            document: token.id.clone(),
            subject: token.subject.clone(),
            fingerprint: token.refresh_token.fingerprint(),
            sent_at: self.line.clock.now(),
        };
        match self.line.journal.intent(intent).await {
            Ok(Permission::Send { entry, unsettled_since }) => {
                let (redeemer, give_back) = (self.redeemer.clone(), self.give_back.clone());
                self.out += 1;
                self.tasks.spawn(async move {
                    let returned = redeemer.redeem(attempt, entry, unsettled_since.is_some(), permit).await;
                    // The lane may have given up waiting; the outcome is in the journal all the same.
                    let _ = give_back.send(returned);
                });
            }
            Ok(Permission::InFlight(_)) => {
                permit.signal(Signal::NotAsked);
                self.step_aside(attempt).await;
            }
            Ok(Permission::Unread) => {
                permit.signal(Signal::NotAsked);
                self.land(attempt, Next::Later("unread_answer")).await;
            }
            Ok(Permission::AlreadyRedeemed { first, .. }) => {
                permit.signal(Signal::NotAsked);
                if first != attempt.token.id && self.is_claimed(&first).await {
                    self.step_aside(attempt).await;
                } else {
                    self.land(attempt, Next::Copy { first }).await;
                }
            }
            Err(error) => {
                permit.signal(Signal::NotAsked);
                self.line.journal_failed(&error);
                self.release(attempt, "journal").await;
            }
        }
    }

    /// Lets the other document's grant of this token pass.
    async fn step_aside(&mut self, mut attempt: Attempt) {
        attempt.in_the_way += 1;
        if attempt.in_the_way > MOST_IN_THE_WAY {
            self.release(attempt, SAME_TOKEN_IN_FLIGHT).await;
        } else {
            let doublings = (attempt.in_the_way - 1).min(IN_THE_WAY_DOUBLINGS);
            self.again.push_back((attempt, Instant::now() + IN_THE_WAY_WAIT * 2_u32.pow(doublings)));
        }
    }

    /// Is the pair in the first document with a token about to be replaced? What the store can't tell the sink finds out.
    async fn is_claimed(&self, first: &TokenId) -> bool {
        let read = self.line.insist(|| self.line.store.read(std::slice::from_ref(first))).await;
        let now = self.line.clock.now();
        read.is_ok_and(|documents| documents.iter().any(|first| is_claimed(first, now)))
    }

    /// Renews a lease that could end before the answer is written back, and re-reads a token that waited for long or
    /// whose answer was lost.
    async fn still_ours(&self, mut attempt: Attempt, permit: &mut Permit) -> Option<Attempt> {
        let now = self.line.clock.now();
        let needed = self.redeemer.provider.profile.request_timeout + LEASE_MARGIN;
        let until = attempt.token.bookkeeping.lease.as_ref().map(|lease| lease.until);
        let delta = |duration| TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
        let lasts = until.is_some_and(|until| until - now >= delta(needed));
        // What a pause kept waiting is read again: somebody else may have used the token meanwhile.
        let fresh = until
            .is_some_and(|until| until - now >= delta(self.line.terms.lease.saturating_sub(STALE_CLAIM)));
        if lasts && fresh && attempt.unanswered == 0 {
            return Some(attempt);
        }
        let id = std::slice::from_ref(&attempt.token.id);
        let lease = self.line.terms.lease_from(now);
        let reason = match self.line.insist(|| self.line.store.renew(id, &lease)).await {
            Ok(held) if held.is_empty() => "claim_lost",
            Ok(_) => match self.line.insist(|| self.line.store.read(id)).await {
                Ok(documents) => {
                    let now_there =
                        documents.first().and_then(|document| document.refresh_token.as_ref().ok());
                    if now_there == Some(&attempt.token.refresh_token) {
                        attempt.token.bookkeeping.lease = Some(lease);
                        return Some(attempt);
                    }
                    permit.signal(Signal::NotAsked);
                    self.land(attempt, Next::Overtaken).await;
                    return None;
                }
                Err(error) => self.store_failed(&error),
            },
            Err(error) => self.store_failed(&error),
        };
        permit.signal(Signal::NotAsked);
        self.release(attempt, reason).await;
        None
    }

    fn store_failed(&self, error: &StoreError) -> &'static str {
        self.line.report.trouble(Trouble::Store { message: error_chain(error) });
        self.line.cannot_keep();
        "store"
    }

    /// Gives back what was claimed and not sent, then waits for what was sent.
    async fn wind_down(mut self, reason: &'static str) -> u64 {
        while let Some((attempt, _)) = self.again.pop_front() {
            self.release(attempt, reason).await;
        }
        let rest = self.claims.rest().await;
        if !rest.complete {
            self.line.left_claimed();
        }
        for pulled in rest.pulled {
            match pulled {
                Pulled::Token(token) => self.land(Attempt::new(token), Next::NotTaken).await,
                Pulled::Malformed(document) => {
                    self.line.report.touched();
                    self.land_malformed(document).await;
                }
                Pulled::Known(document) => known(&self.line, &document),
                Pulled::NoRoom(document, reason) => no_room(&self.line, &document, &reason),
            }
        }
        if self.out > 0 {
            info!(in_flight = self.out, "finishing {} grants that were sent", self.out);
        }
        let give_up = self.line.stop.give_up.clone();
        while self.out > 0 {
            match give_up.run_until_cancelled(self.returned.recv()).await {
                Some(Some(returned)) => self.take_back(returned),
                Some(None) => break,
                None => {
                    warn!(
                        in_flight = self.out,
                        "giving up the answers of {} grants; the journal remembers them", self.out
                    );
                    break;
                }
            }
            while let Some((attempt, _)) = self.again.pop_front() {
                self.release(attempt, reason).await;
            }
        }
        self.out
    }

    async fn release(&self, attempt: Attempt, reason: &'static str) {
        self.land(attempt, Next::Release(reason)).await;
    }

    async fn land(&self, attempt: Attempt, next: Next) {
        // The sink outlives all lanes, unless it panicked; that comes up when the pass ends.
        let landed = Landed::Token { token: attempt.token, provider: self.redeemer.provider.clone(), next };
        if self.redeemer.landed.send(landed).await.is_err() {
            self.line.cannot_keep();
        }
    }
}

fn reason_of(why: &Stopped) -> &'static str {
    match why {
        Stopped::ClientRejected { .. } => "client_rejected",
        Stopped::Outage => "outage",
        Stopped::CannotKeep => "cannot_keep",
    }
}

/// Counts and names a document that was marked before and hasn't changed.
fn known(line: &Line, document: &TokenDocument) {
    let bookkeeping = &document.bookkeeping;
    let outcome = match bookkeeping.state {
        State::NeedsLogin => Outcome::NeedsLogin,
        State::LostInFlight => Outcome::LostInFlight,
        State::Malformed => Outcome::Malformed,
        State::Live => Outcome::StillDue,
    };
    line.report.touched();
    let (evidence, since) = (bookkeeping.last_error.as_ref(), bookkeeping.since);
    line.report.named(&document.subject, bookkeeping.state, evidence, since, false);
    line.report.ended(outcome, None);
}

/// Counts and names a document into which the store can't write: nothing is redeemed for it, and it can't be marked.
fn no_room(line: &Line, document: &TokenDocument, reason: &str) {
    let subject = &document.subject;
    warn!(%subject, reason, "nothing can be written into the document of `{subject}`: {reason}");
    let at = line.clock.now();
    let evidence = LastError { class: "malformed".into(), code: "no_room".into(), http_status: None, at };
    line.report.touched();
    line.report.named(subject, State::Malformed, Some(&evidence), None, true);
    line.report.ended(Outcome::Malformed, None);
}

/// Names the documents whose provider nobody configured; they are malformed until somebody does.
pub(super) async fn name_strangers(line: Arc<Line>, mut claims: Claims, landed: mpsc::Sender<Landed>) -> u64 {
    let name = async |pulled| match pulled {
        Pulled::Known(document) => known(&line, &document),
        Pulled::NoRoom(document, reason) => no_room(&line, &document, &reason),
        Pulled::Malformed(document) => {
            line.report.touched();
            if let Err(malformed) = document.refresh_token.clone() {
                let _ = landed.send(Landed::Malformed { document, malformed }).await;
            }
        }
        // A stranger's token is never handed out.
        Pulled::Token(_) => {}
    };
    loop {
        match line.stop.take_no_more.run_until_cancelled(claims.next()).await {
            Some(Ok(Some(pulled))) => name(pulled).await,
            Some(Ok(None)) | None => break,
            Some(Err(error)) => {
                line.report.trouble(Trouble::Store { message: error_chain(&error) });
                break;
            }
        }
    }
    let rest = claims.rest().await;
    if !rest.complete {
        line.left_claimed();
    }
    for pulled in rest.pulled {
        name(pulled).await;
    }
    0
}
