//! The lane of one provider: the one dispatcher that pulls tokens up to the gate and spawns a task for each grant.

use super::again::Waiting;
use super::insist::STORE_PATIENCE;
use super::landed::Landed;
use super::redeem::{Attempt, Redeemer, Returned};
use super::span::token_span;
use super::without_token::{known, land_without_token, no_room};
use super::{Counter, Line};
use crate::failure::error_chain;
use crate::gate::{Entered, Gate, Permit, Stopped};
use crate::provider::Rotation;
use crate::report::Trouble;
use crate::select::{Claims, Found, Pulled};
use crate::store::StoreError;
use crate::token::{Reason, TokenDocument};
use crate::verdict::Fact;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, info, warn};

/// How long a token that failed in an earlier pass lets others go first, until the provider has granted something.
const UNPROVEN_WAIT: Duration = Duration::from_millis(500);

/// Tokens that wait for another try, for each that may be in flight; beyond it no new ones are pulled.
const RETRIES_A_PLACE: usize = 2;

/// More tokens than a pass takes beyond the documents that were there when it began: logins come while it runs, and the count
/// of a database may be a little old.
const MOST_NEW: u64 = 1000;

/// Share of the documents, as a divisor, that is added to that.
const NEW_SHARE: u64 = 10;

/// The dispatcher of one provider.
pub(super) struct Lane {
    line: Arc<Line>,
    gate: Arc<Gate>,
    claims: Claims,
    redeemer: Arc<Redeemer>,
    tasks: TaskTracker,
    out: u64,
    /// Tokens that it has taken: each once, however often it was tried.
    taken: u64,
    give_back: mpsc::UnboundedSender<Returned>,
    returned: mpsc::UnboundedReceiver<Returned>,
    again: Waiting,
    exhausted: bool,
    /// Does a sample go before all else?
    samples: bool,
    /// Has it been through all that is due?
    is_through: bool,
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
        counter: &Counter,
        claims: Claims,
        landed: mpsc::Sender<Landed>,
    ) -> Self {
        let (provider, gate, wire) = (counter.provider.clone(), counter.gate.clone(), counter.wire.clone());
        // Unbounded in type only: each task sends one message, and the gate bounds the tasks.
        let (give_back, returned) = mpsc::unbounded_channel();
        let redeemer = Arc::new(Redeemer { line: line.clone(), provider, gate: gate.clone(), wire, landed });
        Self {
            line,
            gate,
            claims,
            redeemer,
            tasks: TaskTracker::new(),
            out: 0,
            taken: 0,
            give_back,
            returned,
            again: Waiting::default(),
            exhausted: false,
            samples: false,
            is_through: false,
            store_away_since: None,
        }
    }

    /// Runs until everything due is through, or a stop; returns the grants whose answers were given up.
    pub(super) async fn run(mut self) -> u64 {
        let reason = loop {
            let attempt = match self.next_work().await {
                Work::Token(attempt) => *attempt,
                Work::Nothing => {
                    if self.is_through {
                        self.gate.nothing_left();
                    }
                    break None;
                }
                Work::Stop => break Some(Reason::Stopped),
            };
            let stop = self.line.stop.take_no_more.clone();
            match stop.run_until_cancelled(self.gate.enter()).await {
                Some(Entered::Go(permit)) => {
                    let attempt = self.most_urgent(attempt).await;
                    self.dispatch(attempt, permit);
                }
                Some(Entered::Stopped(why)) => {
                    self.note_pause(&why).await;
                    self.release(attempt, reason_of(&why)).await;
                    break Some(reason_of(&why));
                }
                None => {
                    self.release(attempt, Reason::Stopped).await;
                    break Some(Reason::Stopped);
                }
            }
        };
        self.wind_down(reason).await
    }

    /// A long pause is noted at once: a process that is killed now must not ask again when it starts.
    async fn note_pause(&self, why: &Stopped) {
        if *why == Stopped::Paused
            && let Some(counter) = self.line.whose.counter()
            && let Err(error) = counter.note(&self.line.base).await
        {
            self.line.journal_failed(&error);
        }
    }

    /// Waits for a token to send: one whose retry is due, or a new one. Only waiting is raced with the stop signal.
    async fn next_work(&mut self) -> Work {
        loop {
            if let Some(tokens) = self.gate.sample_wanted() {
                self.claims.draw(tokens);
            }
            let (now, granted) = (Instant::now(), self.gate.granted());
            let may_pull = !self.exhausted && self.has_room();
            // A sample goes before what has failed already, or it would be none. A grace waits for nothing.
            let has_grace = self.redeemer.provider.profile.rotation == Rotation::Grace;
            self.samples = may_pull && self.claims.is_sample() && !has_grace;
            if !self.samples
                && let Some(attempt) = self.again.ready(now, granted)
            {
                return Work::Token(Box::new(attempt));
            }
            if !may_pull && self.out == 0 {
                match self.again.refused(now) {
                    Some(attempt) if granted > 0 => return Work::Token(Box::new(attempt)),
                    Some(attempt) => {
                        self.release(attempt, Reason::RefusedOnce).await;
                        continue;
                    }
                    None if self.again.is_empty() => return Work::Nothing,
                    None => {}
                }
            }
            let next_again = self.again.next_at(now);
            tokio::select! {
                biased;
                () = self.line.stop.take_no_more.cancelled() => return Work::Stop,
                Some(returned) = self.returned.recv() => self.take_back(returned).await,
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
        self.again.put_off() < RETRIES_A_PLACE * self.redeemer.provider.profile.concurrency.get()
    }

    /// The token that goes through the gate: this one, or one whose answer was lost while this one waited.
    async fn most_urgent(&mut self, attempt: Attempt) -> Attempt {
        while let Ok(returned) = self.returned.try_recv() {
            self.take_back(returned).await;
        }
        let now = Instant::now();
        let is_lost = attempt.tried.unanswered > 0;
        match if is_lost || self.samples { None } else { self.again.lost(now) } {
            Some(urgent) => {
                self.again.push_front(attempt, now);
                urgent
            }
            None => attempt,
        }
    }

    async fn take_back(&mut self, returned: Returned) {
        self.out -= 1;
        if let Returned::Again(attempt, at) = returned
            && let Some(attempt) = self.again.push(*attempt, at)
        {
            self.release(attempt, Reason::RefusedOnce).await;
        }
    }

    async fn pulled(&mut self, pulled: Result<Option<Pulled>, StoreError>) -> Option<Attempt> {
        match pulled {
            Ok(pulled) => {
                self.store_away_since = None;
                match pulled {
                    Some(Pulled::Token { token, read_at, found }) => {
                        let attempt = Attempt::new(token, read_at);
                        if self.line.holds(&attempt.token.id) {
                            // A look finds again what was set aside before.
                            if found != Found::Again {
                                self.line.report.set_aside();
                            }
                            self.redeemer.land_as(attempt, Fact::NotTaken).await;
                        } else if found == Found::Again && self.line.report.asks_again(&attempt.token.id) {
                            self.line.report.retried();
                            return self.admit(attempt);
                        } else if found == Found::SecondLook && !self.may_look_twice() {
                            self.redeemer.land_as(attempt, Fact::NotTaken).await;
                        } else if self.is_overrun() {
                            self.exhausted = true;
                            self.redeemer.land_as(attempt, Fact::NotTaken).await;
                        } else if self.line.take_one() {
                            self.taken += 1;
                            self.line.report.touched();
                            return self.admit(attempt);
                        } else {
                            self.line.report.limited();
                            self.exhausted = true;
                            self.redeemer.land_as(attempt, Fact::NotTaken).await;
                        }
                    }
                    Some(Pulled::Drawn(tokens)) => {
                        debug!(
                            tokens,
                            "few in a row were granted: {tokens} tokens are drawn from all over what is due"
                        );
                        self.gate.sample_drawn(tokens);
                    }
                    Some(Pulled::Malformed(document)) => self.land_malformed(document).await,
                    Some(Pulled::Stray(document)) => {
                        land_without_token(&self.line, &document, None, &self.redeemer.landed).await;
                    }
                    Some(Pulled::Known(document)) => known(&self.line, &document),
                    Some(Pulled::NoRoom(document, reason)) => no_room(&self.line, &document, &reason),
                    Some(Pulled::Waits { document, sent_at }) => self.line.waits(&document, sent_at),
                    None => (self.exhausted, self.is_through) = (true, true),
                }
            }
            Err(error) => self.store_is_away(&error).await,
        }
        None
    }

    /// The token goes to the gate, or waits until the provider has granted something.
    fn admit(&mut self, attempt: Attempt) -> Option<Attempt> {
        let failed_before = attempt.token.bookkeeping.failures > 0;
        if !(failed_before && self.gate.is_unproven() && self.has_room()) {
            return Some(attempt);
        }
        // What failed before proves nothing about the provider: others come first.
        self.again.push(attempt, Instant::now() + UNPROVEN_WAIT)
    }

    /// A refusal of a marked token says something only of a provider that grants others.
    fn may_look_twice(&self) -> bool {
        self.gate.granted() > 0 && !self.gate.standing().suspicious
    }

    /// Has the pass taken more tokens than there were documents when it began? A server that writes a new document for each
    /// refresh would keep it busy for ever.
    fn is_overrun(&self) -> bool {
        let (documents, taken) = (self.line.policy.documents, self.taken);
        let overrun = documents > 0 && taken >= documents + documents / NEW_SHARE + MOST_NEW;
        if overrun {
            let provider = self.redeemer.provider.name.to_string();
            self.line.report.trouble(Trouble::Overrun { provider, documents, taken });
        }
        overrun
    }

    async fn land_malformed(&self, document: TokenDocument) {
        if !self.line.report.asks_again(&document.id) {
            self.line.report.touched();
        }
        land_without_token(
            &self.line,
            &document,
            document.refresh_token.as_ref().err(),
            &self.redeemer.landed,
        )
        .await;
    }

    /// The page couldn't be read: wait and read it again, or end the lane when the store refuses or stays away.
    async fn store_is_away(&mut self, error: &StoreError) {
        const WAIT: Duration = Duration::from_secs(1);
        let since = *self.store_away_since.get_or_insert_with(Instant::now);
        if matches!(error, StoreError::Unavailable { .. }) && since.elapsed() < STORE_PATIENCE {
            warn!(error = %error_chain(error), "can't claim documents; trying again until the store is back");
            let _ = self.line.stop.take_no_more.run_until_cancelled(tokio::time::sleep(WAIT)).await;
        } else {
            self.line.report.trouble(Trouble::store(error));
            if matches!(error, StoreError::Full { .. } | StoreError::Failed { .. }) {
                // What is claimed and not sent yet couldn't be written back either.
                self.line.cannot_keep();
            }
            self.exhausted = true;
        }
    }

    /// Sends a task on its way with the token and the permit. Everything from here on happens in the task, the wait for
    /// the journal too: many intents and answers share a commit, and the next token need not wait for it.
    fn dispatch(&mut self, attempt: Attempt, permit: Permit) {
        let (redeemer, give_back) = (self.redeemer.clone(), self.give_back.clone());
        self.out += 1;
        let span = token_span(&attempt.token);
        let redeem = async move {
            let returned = redeemer.redeem(attempt, permit).await;
            // The lane may have given up waiting; the outcome is in the journal all the same.
            let _ = give_back.send(returned);
        };
        self.tasks.spawn(redeem.instrument(span));
    }

    /// Gives back what was claimed and not sent, then waits for what was sent.
    ///
    /// `None` where nothing is left: then no token is given back for a reason.
    async fn wind_down(mut self, reason: Option<Reason>) -> u64 {
        let reason = reason.unwrap_or(Reason::Stopped);
        while let Some(attempt) = self.again.pop() {
            self.release(attempt, reason).await;
        }
        let rest = self.claims.rest().await;
        if !rest.complete {
            self.line.left_claimed();
        }
        for pulled in rest.pulled {
            match pulled {
                Pulled::Token { token, read_at, .. } => {
                    self.redeemer.land_as(Attempt::new(token, read_at), Fact::NotTaken).await;
                }
                Pulled::Drawn(_) => {}
                Pulled::Malformed(document) => self.land_malformed(document).await,
                Pulled::Stray(document) => {
                    land_without_token(&self.line, &document, None, &self.redeemer.landed).await;
                }
                Pulled::Known(document) => known(&self.line, &document),
                Pulled::NoRoom(document, reason) => no_room(&self.line, &document, &reason),
                Pulled::Waits { document, sent_at } => self.line.waits(&document, sent_at),
            }
        }
        // A stop has said it.
        if self.out > 0 && !self.line.stop.take_no_more.is_cancelled() {
            let grants = if self.out == 1 { "grant that was sent" } else { "grants that were sent" };
            info!(in_flight = self.out, "finishing {} {grants}", self.out);
        }
        let give_up = self.line.stop.give_up.clone();
        while self.out > 0 {
            match give_up.run_until_cancelled(self.returned.recv()).await {
                Some(Some(returned)) => self.take_back(returned).await,
                Some(None) => break,
                None => {
                    debug!(in_flight = self.out, "giving up {} grants", self.out);
                    break;
                }
            }
            while let Some(attempt) = self.again.pop() {
                self.release(attempt, reason).await;
            }
        }
        self.out
    }

    /// The token isn't sent any more in this pass. What it was refused with is not forgotten.
    async fn release(&self, mut attempt: Attempt, reason: Reason) {
        let refused = attempt.refused.take().map(|refused| *refused.refusal);
        let fact = refused.map_or(Fact::NotSent(reason), Fact::RefusedOnce);
        self.redeemer.land_as(attempt, fact).await;
    }
}

fn reason_of(why: &Stopped) -> Reason {
    match why {
        Stopped::ClientRejected { .. } => Reason::ClientRejected,
        Stopped::Refusals(_) => Reason::RefusedShare,
        Stopped::Outage => Reason::Outage,
        Stopped::Paused => Reason::Paused,
        Stopped::CannotKeep => Reason::CannotKeep,
    }
}
