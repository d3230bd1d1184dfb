//! The last look before the POST: still our claim, still this token, not sent by anybody before; then the intent.

use super::doubt::lost;
use super::plan::{Next, is_claimed};
use super::redeem::{Attempt, Redeemer, Returned};
use super::settle::may_be_sent_again;
use crate::clock::Timestamp;
use crate::gate::{Permit, Signal};
use crate::journal::{Doubts, Ending, EntryId, Intent, Permission};
use crate::provider::Rotation;
use crate::report::Trouble;
use crate::select::FRESH_FOR;
use crate::store::StoreError;
use crate::token::{
    Code, DueToken, Evidence, LEASE_MARGIN, LastError, Lease, Reason, State, TokenDocument, TokenId,
};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::Instant;

/// First wait for another document's grant of the same refresh token; it doubles, because each look costs a place in
/// the rate.
const IN_THE_WAY_WAIT: Duration = Duration::from_millis(200);

/// How often that wait doubles: up to 3.2 s.
const IN_THE_WAY_DOUBLINGS: u32 = 4;

/// How often a token waits for another document's grant of the same token, for well over a minute in all; then the next
/// pass takes it.
const MOST_IN_THE_WAY: u32 = 30;

/// A grant that may be sent.
pub(super) struct Sending {
    pub(super) attempt: Attempt,
    pub(super) entry: EntryId,
    pub(super) sent_at: Timestamp,
    /// What the journal knows of earlier sendings.
    pub(super) doubts: Doubts,
}

/// An intent that the journal has recorded.
struct Recorded {
    entry: EntryId,
    sent_at: Timestamp,
    doubts: Doubts,
}

impl Redeemer {
    /// Takes the last look before the POST: still our claim, still this token, not sent by anybody before.
    ///
    /// Records the intent. Without a permission the token goes where it belongs now, and nothing is sent.
    pub(super) async fn permission(
        &self,
        attempt: Attempt,
        permit: &mut Permit,
    ) -> Result<Sending, Returned> {
        let read_before = attempt.read_at;
        let attempt = match self.still_ours(attempt).await {
            Ok(attempt) => attempt,
            Err((token, next)) => {
                permit.signal(Signal::NotAsked);
                self.land(token, next).await;
                return Err(Returned::Done);
            }
        };
        // Reading it again took so long that its place in the rate has passed. Once only: a store that stays slow must not
        // keep the token from the provider for ever.
        if attempt.read_at != read_before && permit.is_late() && !attempt.went_back {
            permit.signal(Signal::NotAsked);
            return Err(Returned::Again(Box::new(Attempt { went_back: true, ..attempt }), Instant::now()));
        }
        // Another machine's journal holds a success that can't be read: only that one may find the pair in it. Before the
        // intent, because a row of a token that nobody sends would never end.
        if self.has_unread_answer(&attempt.token) {
            permit.signal(Signal::NotAsked);
            let next = self.unread(&attempt.token).await;
            self.land(attempt.into_token(self.line.clock.now()), next).await;
            return Err(Returned::Done);
        }
        let token = &attempt.token;
        let sent_at = self.line.clock.now();
        let intent = Intent {
            provider: self.provider.name.clone(),
            document: token.id.clone(),
            subject: token.subject.clone(),
            fingerprint: token.refresh_token.fingerprint(),
            sent_at,
        };
        let next = match self.line.journal.intent(intent).await {
            Ok(Permission::Send { entry, doubts }) => {
                return self.recorded(attempt, permit, Recorded { entry, sent_at, doubts }).await;
            }
            // Its own answer is in the journal, and recovery couldn't bring it into the document.
            Ok(Permission::InFlight(document)) if document == attempt.token.id => Next::Later(Reason::Held),
            Ok(Permission::InFlight(_)) => {
                permit.signal(Signal::NotAsked);
                return Err(self.step_aside(attempt).await);
            }
            Ok(Permission::Unread) => Next::Later(Reason::UnreadAnswer),
            Ok(Permission::AlreadyRedeemed { first, .. }) => {
                if first != attempt.token.id && self.is_claimed(&first).await {
                    permit.signal(Signal::NotAsked);
                    return Err(self.step_aside(attempt).await);
                }
                Next::Copy { first, judged: false }
            }
            Err(error) => {
                self.line.journal_failed(&error);
                Next::Release(Reason::Journal)
            }
        };
        permit.signal(Signal::NotAsked);
        self.land(attempt.into_token(self.line.clock.now()), next).await;
        Err(Returned::Done)
    }

    /// Decides with the intent recorded: nothing waits any more between this and the POST.
    async fn recorded(
        &self,
        attempt: Attempt,
        permit: &mut Permit,
        recorded: Recorded,
    ) -> Result<Sending, Returned> {
        let Recorded { entry, sent_at, doubts } = recorded;
        // By this process, or by another one that wrote it into the document. What was only turned away may be sent.
        let lost = lost(&attempt, doubts).filter(|lost| !lost.turned_away);
        let first_sent_at = lost.as_ref().and_then(|first| first.sent_at);
        let may_be_sent = |first| may_be_sent_again(&self.provider.profile, first, sent_at);
        let (token, next) = if first_sent_at.is_none_or(may_be_sent) {
            // The journal was slow, or the process was stopped: the application may have used the token meanwhile, and
            // another process may have taken the claim over.
            let read = if self.is_fresh(&attempt) { Ok(attempt) } else { self.read_again(attempt).await };
            match read {
                Ok(attempt) if self.lasts(&attempt, Duration::ZERO) => {
                    return Ok(Sending { attempt, entry, sent_at, doubts });
                }
                Ok(attempt) => {
                    permit.signal(Signal::NotAsked);
                    self.end(entry, Ending::NotProcessed).await;
                    return Err(Returned::Again(Box::new(attempt), Instant::now()));
                }
                Err(left) => left,
            }
        } else {
            let (class, code) = (Evidence::Ambiguous.into(), Code::NotAskedAgain.into());
            let evidence = LastError { class, code, http_status: None, at: sent_at, lost };
            let token = attempt.into_token(self.line.clock.now());
            (token, Next::Retire { entry: Some(entry), state: State::LostInFlight, evidence })
        };
        // Nothing was sent this time, whatever becomes of the document.
        self.end(entry, Ending::NotProcessed).await;
        permit.signal(Signal::NotAsked);
        self.land(token, next).await;
        Err(Returned::Done)
    }

    /// Lets the other document's grant of this token pass.
    async fn step_aside(&self, mut attempt: Attempt) -> Returned {
        attempt.in_the_way += 1;
        if attempt.in_the_way > MOST_IN_THE_WAY {
            self.land(attempt.into_token(self.line.clock.now()), Next::Release(Reason::SameTokenInFlight))
                .await;
            return Returned::Done;
        }
        let doublings = (attempt.in_the_way - 1).min(IN_THE_WAY_DOUBLINGS);
        Returned::Again(Box::new(attempt), Instant::now() + IN_THE_WAY_WAIT * 2_u32.pow(doublings))
    }

    /// Is the pair in the first document with a token about to be replaced? A store that can't tell ends the pass.
    async fn is_claimed(&self, first: &TokenId) -> bool {
        let read = self.line.insist(|| self.line.store.read(std::slice::from_ref(first))).await;
        let now = self.line.clock.now();
        match read {
            Ok(documents) => documents.iter().any(|first| is_claimed(first, now)),
            Err(error) => {
                self.store_failed(&error);
                false
            }
        }
    }

    /// Renews a lease that could end before the answer is written back, and reads a token again that was read too long
    /// ago, or whose answer was lost.
    async fn still_ours(&self, mut attempt: Attempt) -> Result<Attempt, (DueToken, Next)> {
        if self.lasts(&attempt, LEASE_MARGIN) && attempt.unanswered == 0 {
            return if self.is_fresh(&attempt) { Ok(attempt) } else { self.read_again(attempt).await };
        }
        let id = std::slice::from_ref(&attempt.token.id);
        let taken_over = attempt.token.bookkeeping.lease.as_ref().is_some_and(|lease| lease.taken_over);
        let lease = Lease { taken_over, ..self.line.terms.lease_from(self.line.clock.now()) };
        let reason = match self.line.insist(|| self.line.store.renew(id, &lease)).await {
            Ok(held) if held.is_empty() => Reason::ClaimLost,
            Ok(_) => {
                attempt.token.bookkeeping.lease = Some(lease);
                return self.read_again(attempt).await;
            }
            Err(error) => self.store_failed(&error),
        };
        Err((attempt.into_token(self.line.clock.now()), Next::Release(reason)))
    }

    /// Reads the document again: is the token still in it, and the claim still ours?
    async fn read_again(&self, mut attempt: Attempt) -> Result<Attempt, (DueToken, Next)> {
        let id = std::slice::from_ref(&attempt.token.id);
        let read = async || {
            let read_at = self.line.clock.read_at();
            Ok((read_at, self.line.store.read(id).await?))
        };
        let reason = match self.line.insist(read).await {
            Ok((read_at, documents)) => {
                let token = &attempt.token;
                let is_there =
                    |document: &&TokenDocument| document.refresh_token.as_ref() == Ok(&token.refresh_token);
                let Some(document) = documents.first().filter(is_there) else {
                    return Err((attempt.token, Next::Overtaken));
                };
                let lease = document.bookkeeping.lease.as_ref();
                if lease.is_some_and(|lease| lease.id == self.line.terms.lease_id) {
                    attempt.read_at = read_at;
                    return Ok(attempt);
                }
                Reason::ClaimLost
            }
            Err(error) => self.store_failed(&error),
        };
        Err((attempt.into_token(self.line.clock.now()), Next::Release(reason)))
    }

    /// Is what was read of the document young enough to send the token?
    fn is_fresh(&self, attempt: &Attempt) -> bool {
        attempt.read_at.is_within(&self.line.clock, FRESH_FOR)
    }

    /// What to do with a token whose answer nobody could read: wait for it, unless a person has given it up.
    async fn unread(&self, token: &DueToken) -> Next {
        match self.line.journal.redeemed_for(token.refresh_token.fingerprint()).await {
            Ok(Some(first)) => Next::Copy { first, judged: false },
            Ok(None) => Next::Later(Reason::UnreadAnswer),
            Err(error) => {
                self.line.journal_failed(&error);
                Next::Release(Reason::Journal)
            }
        }
    }

    /// Does the document say that its token was answered with a success that nobody could read? By force it is asked for
    /// all the same: the journal that holds the answer may be gone.
    fn has_unread_answer(&self, token: &DueToken) -> bool {
        let books = &token.bookkeeping;
        self.provider.profile.rotation != Rotation::None
            && !self.line.terms.force
            && books.fingerprint == Some(token.refresh_token.fingerprint())
            && books.last_error.as_ref().is_some_and(|error| error.class.is(Evidence::Unreadable))
    }

    /// How long our claim still lasts.
    fn time_left(&self, attempt: &Attempt) -> Option<TimeDelta> {
        let lease = attempt.token.bookkeeping.lease.as_ref()?;
        Some(lease.until - self.line.clock.now())
    }

    /// Does our claim last for the longest wait for an answer, and for `margin` beyond it?
    fn lasts(&self, attempt: &Attempt, margin: Duration) -> bool {
        self.time_left(attempt) >= Some(delta(self.provider.profile.request_timeout + margin))
    }

    fn store_failed(&self, error: &StoreError) -> Reason {
        self.line.report.trouble(Trouble::store(error));
        self.line.cannot_keep();
        Reason::Store
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
