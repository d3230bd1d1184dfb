//! The last look before the POST: still our claim, still this token, not sent by another process before; then the intent.

use super::redeem::{Attempt, Redeemer, Returned};
use crate::clock::Timestamp;
use crate::gate::{Permit, Signal};
use crate::journal::{Doubts, EntryId, Event, Intent, Permission};
use crate::report::Trouble;
use crate::select::FRESH_FOR;
use crate::store::StoreError;
use crate::token::{AccessToken, DueToken, LEASE_MARGIN, Lease, Reason, TokenDocument, TokenId};
use crate::verdict::{
    Fact, First, SpentBy, Turn, already_redeemed, copy, first_known, forbids_a_second_request,
    grace_has_ended, has_unread_answer, is_at_work_with, is_handed_out_again, may_go, of_last, spent_by,
    too_young_until,
};
use chrono::TimeDelta;
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

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
    /// The token was redeemed, and its provider takes it all the same.
    redeemed: Option<Permission>,
}

impl Redeemer {
    /// Takes the last look before the POST: still our claim, still this token, not sent by another process before.
    ///
    /// Records the intent. Without a permission the token goes where it belongs now, and nothing is sent.
    pub(super) async fn permission(
        &self,
        attempt: Attempt,
        permit: &mut Permit,
    ) -> Result<Sending, Returned> {
        if let Some(until) =
            too_young_until(&attempt.token, &self.provider.profile, self.line.base.clock.now())
        {
            let subject = &attempt.token.subject;
            debug!(
                code = Reason::TooYoung.word(),
                "the token of `{subject}` is younger than `min_age`: it is not sent before {until}"
            );
            return Err(self.not_sent(attempt, Fact::TooYoung(until), permit).await);
        }
        let attempt = match self.answered(attempt).await {
            Ok(attempt) => attempt,
            Err(attempt) => {
                permit.signal(Signal::NotAsked);
                return Err(self.wait_for_an_answer(attempt));
            }
        };
        let read_before = attempt.read_at;
        let attempt = match self.still_ours(attempt).await {
            Ok(attempt) => attempt,
            Err((attempt, fact)) => return Err(self.not_sent(attempt, fact, permit).await),
        };
        // Reading it again took so long that its place in the rate has passed. Once only: a store that stays slow must not
        // keep the token from the provider for ever.
        if attempt.read_at != read_before && permit.is_late() && !attempt.went_back {
            permit.signal(Signal::NotAsked);
            return Err(Returned::Again(Box::new(Attempt { went_back: true, ..attempt }), Instant::now()));
        }
        // Before the intent, because a row of a token that is never sent would never end.
        if has_unread_answer(&attempt.token, &self.provider.profile, self.line.terms.force) {
            let fact = self.unread(&attempt.token).await;
            return Err(self.not_sent(attempt, fact, permit).await);
        }
        let sent_at = self.line.base.clock.now();
        if let Some(fact) = self.spent(&attempt.token, sent_at).await {
            return Err(self.not_sent(attempt, fact, permit).await);
        }
        let token = &attempt.token;
        let intent = Intent {
            provider: self.provider.name.clone(),
            document: token.id.clone(),
            subject: token.subject.clone(),
            fingerprint: token.refresh_token.fingerprint(),
            sent_at,
            access: token.access_token.as_ref().map(AccessToken::fingerprint),
            is_refreshed_elsewhere: token.bookkeeping.is_refreshed_elsewhere(self.line.base.journal.id()),
        };
        let (journal, profile) = (&self.line.base.journal, &self.provider.profile);
        let mut asked = journal.intent(intent.clone(), token.refresh_token.clone()).await;
        let mut redeemed = None;
        loop {
            let permission = match asked {
                Ok(Permission::Send { entry, doubts }) => {
                    let recorded = Recorded { entry, sent_at, doubts, redeemed };
                    return self.recorded(attempt, permit, recorded).await;
                }
                Ok(permission) => permission,
                Err(error) => {
                    self.line.journal_failed(&error);
                    return Err(self.not_sent(attempt, Fact::NotSent(Reason::Journal), permit).await);
                }
            };
            let token = &attempt.token;
            let permission = of_last(permission, token);
            if is_handed_out_again(&permission, token, journal.id()) && self.forgets(token).await {
                asked = journal.intent(intent.clone(), token.refresh_token.clone()).await;
                continue;
            }
            let first = self.first(&permission, token).await;
            match may_go(&permission, &token.id, first, profile, sent_at) {
                Turn::AskAllTheSame => {
                    redeemed = Some(permission);
                    let token = token.refresh_token.clone();
                    asked = journal.intent_although_redeemed(intent.clone(), token).await;
                }
                Turn::Ends(fact) => return Err(self.not_sent(attempt, fact, permit).await),
                Turn::Recorded | Turn::StepAside => {
                    permit.signal(Signal::NotAsked);
                    return Err(self.step_aside(attempt).await);
                }
            }
        }
    }

    /// Nothing was sent: the token goes where it belongs now.
    async fn not_sent(&self, attempt: Attempt, fact: Fact, permit: &mut Permit) -> Returned {
        permit.signal(Signal::NotAsked);
        self.land_as(attempt, fact).await;
        Returned::Done
    }

    /// Decides with the intent recorded: nothing waits any more between this and the POST.
    async fn recorded(
        &self,
        attempt: Attempt,
        permit: &mut Permit,
        recorded: Recorded,
    ) -> Result<Sending, Returned> {
        let Recorded { entry, sent_at, doubts, redeemed } = recorded;
        // By this process, or by another one that wrote it into the document.
        let lost = first_known(&attempt.token, attempt.lost.as_ref(), doubts);
        if let Some(evidence) = forbids_a_second_request(&self.provider.profile, lost, sent_at) {
            return Err(self.not_sent(attempt, Fact::MayBeSpent(entry, evidence), permit).await);
        }
        // The journal was slow, or the process was stopped: the application may have used the token meanwhile, and another
        // process may have taken the claim over.
        let read = if self.is_fresh(&attempt) { Ok(attempt) } else { self.read_again(attempt).await };
        let now = self.line.base.clock.now();
        let ended = |redeemed| grace_has_ended(&redeemed, &self.provider.profile, sent_at, now);
        let read = match (read, redeemed.and_then(ended)) {
            (Ok(attempt), Some(fact)) => Err((attempt, fact)),
            (read, _) => read,
        };
        match read {
            Ok(attempt) if self.lasts(&attempt, Duration::ZERO) => {
                Ok(Sending { attempt, entry, sent_at, doubts })
            }
            // Nothing was sent this time, whatever becomes of the document.
            Ok(attempt) => {
                self.end_row((entry, Event::NotProcessed)).await;
                permit.signal(Signal::NotAsked);
                Err(Returned::Again(Box::new(attempt), Instant::now()))
            }
            Err((attempt, fact)) => {
                self.end_row((entry, Event::NotProcessed)).await;
                Err(self.not_sent(attempt, fact, permit).await)
            }
        }
    }

    /// Lets the other document's grant of this token pass.
    async fn step_aside(&self, mut attempt: Attempt) -> Returned {
        attempt.in_the_way += 1;
        if attempt.in_the_way > MOST_IN_THE_WAY {
            self.land_as(attempt, Fact::NotSent(Reason::SameTokenInFlight)).await;
            return Returned::Done;
        }
        let doublings = (attempt.in_the_way - 1).min(IN_THE_WAY_DOUBLINGS);
        Returned::Again(Box::new(attempt), Instant::now() + IN_THE_WAY_WAIT * 2_u32.pow(doublings))
    }

    /// What has become of the pair in the first document with a token? A store that can't tell ends the pass.
    async fn first(&self, permission: &Permission, token: &DueToken) -> First {
        let Permission::AlreadyRedeemed { first, has_other_access, successor, .. } = permission else {
            return First::default();
        };
        let is_new_login = *has_other_access && self.is_new_login(token).await;
        if *first == token.id {
            return First { is_new_login, ..First::default() };
        }
        let read = self.line.insist(|| self.line.base.store.read(std::slice::from_ref(first))).await;
        let around = self.line.around();
        match read {
            Ok(documents) => {
                documents.first().map_or(First { is_new_login, ..First::default() }, |first| First {
                    is_claimed: is_at_work_with(first, token, *successor, around.now),
                    has_pair: copy(token, *successor, first, &around).is_some(),
                    is_new_login,
                })
            }
            Err(error) => {
                self.store_failed(&error);
                First { has_pair: true, ..First::default() }
            }
        }
    }

    /// Is a redeemed token beside an access token that isn't of its chain a new login, although the journal could put its pair
    /// back? Not where no document has had that pair yet: the token is more likely refused than the pair.
    async fn is_new_login(&self, token: &DueToken) -> bool {
        let received = self.line.received_for(token, &self.provider).await;
        // The pair's own one was left there by a save of the refresh token alone.
        received.is_some_and(|received| {
            !received.is_parked && Some(&received.pair.get().access_token) != token.access_token.as_ref()
        })
    }

    /// Renews a lease that could end before the answer is written back, and reads a token again that was read too long
    /// ago, or whose answer was lost.
    async fn still_ours(&self, mut attempt: Attempt) -> Result<Attempt, (Attempt, Fact)> {
        if self.lasts(&attempt, LEASE_MARGIN) && attempt.tried.unanswered == 0 {
            return if self.is_fresh(&attempt) { Ok(attempt) } else { self.read_again(attempt).await };
        }
        let id = std::slice::from_ref(&attempt.token.id);
        let lease = self.line.terms.lease_from(self.line.base.clock.now());
        // Whose it was before, and since when it is ours, stays as it is.
        let lease = match attempt.token.bookkeeping.lease.take() {
            Some(Lease { taken_over, by, .. }) => Lease { taken_over, by, ..lease },
            None => lease,
        };
        let reason = match self.line.insist(|| self.line.base.store.renew(id, &lease)).await {
            Ok(held) if held.is_empty() => Reason::ClaimLost,
            Ok(_) => {
                attempt.token.bookkeeping.lease = Some(lease);
                return self.read_again(attempt).await;
            }
            Err(error) => self.store_failed(&error),
        };
        Err((attempt, Fact::NotSent(reason)))
    }

    /// Reads the document again: is the token still in it, and the claim still ours?
    async fn read_again(&self, mut attempt: Attempt) -> Result<Attempt, (Attempt, Fact)> {
        let id = std::slice::from_ref(&attempt.token.id);
        let read = async || {
            let read_at = self.line.base.clock.read_at();
            Ok((read_at, self.line.base.store.read(id).await?))
        };
        let reason = match self.line.insist(read).await {
            Ok((read_at, documents)) => {
                let token = &attempt.token;
                let is_there =
                    |document: &&TokenDocument| document.refresh_token.as_ref() == Ok(&token.refresh_token);
                let Some(document) = documents.first().filter(is_there) else {
                    let refused = attempt.refused.is_some();
                    return Err((attempt, Fact::Overtaken { refused }));
                };
                let lease = document.bookkeeping.lease.as_ref();
                let is_ours = lease.is_some_and(|lease| lease.id == self.line.terms.lease_id);
                // What is sent beside the token is as it is now; the claim's next owner names what is wrong with it.
                let (access_token, facts) = (document.access_token.as_ref(), &document.facts);
                if is_ours && self.provider.takes(&token.refresh_token, access_token, facts).is_ok() {
                    let (access_token, facts) = (access_token.cloned(), facts.clone());
                    attempt.token = DueToken { access_token, facts, ..attempt.token };
                    attempt.read_at = read_at;
                    return Ok(attempt);
                }
                if is_ours { Reason::DocumentChanged } else { Reason::ClaimLost }
            }
            Err(error) => self.store_failed(&error),
        };
        Err((attempt, Fact::NotSent(reason)))
    }

    /// Is what was read of the document young enough to send the token?
    fn is_fresh(&self, attempt: &Attempt) -> bool {
        attempt.read_at.is_within(&self.line.base.clock, FRESH_FOR)
    }

    /// What is found out of a token whose answer could not be read: it waits, unless a person has given it up.
    async fn unread(&self, token: &DueToken) -> Fact {
        match self.redeemed_for(token).await {
            Ok(Some(first)) => already_redeemed(first, None),
            Ok(None) => Fact::Waits(Reason::UnreadAnswer),
            Err(reason) => Fact::NotSent(reason),
        }
    }

    /// What is found out of a token of which its document says that it was redeemed; `None` where the journal knows more, and
    /// where it may be sent.
    async fn spent(&self, token: &DueToken, now: Timestamp) -> Option<Fact> {
        let (ours, given_up) = (self.line.base.journal.id(), &self.line.terms.others.given_up);
        match spent_by(token, &self.provider.profile, ours, given_up, now)? {
            // Due as before: that machine must find it due, too, when it looks.
            SpentBy::AnotherJournal => Some(match self.has_redeemed_since(token).await {
                Ok(true) => already_redeemed(token.id.clone(), None),
                Ok(false) => Fact::NotSent(Reason::SpentElsewhere),
                Err(reason) => Fact::NotSent(reason),
            }),
            SpentBy::ThisJournal => match self.redeemed_for(token).await {
                Ok(Some(_)) => None,
                Ok(None) => Some(already_redeemed(token.id.clone(), None)),
                Err(reason) => Some(Fact::NotSent(reason)),
            },
        }
    }

    /// For which document this machine redeemed the token, if it did.
    async fn redeemed_for(&self, token: &DueToken) -> Result<Option<TokenId>, Reason> {
        self.line.base.journal.redeemed_for(token.refresh_token.fingerprint()).await.map_err(|error| {
            self.line.journal_failed(&error);
            Reason::Journal
        })
    }

    /// Forgets that the token was redeemed; `false` where a row of it is still open, or the journal fails.
    async fn forgets(&self, token: &DueToken) -> bool {
        match self.line.base.journal.forget(vec![token.refresh_token.fingerprint()]).await {
            Ok(forgotten) => forgotten > 0,
            Err(error) => {
                self.line.journal_failed(&error);
                false
            }
        }
    }

    /// Has this machine redeemed the good token of the document since that was written? A stale save came before its pair.
    async fn has_redeemed_since(&self, token: &DueToken) -> Result<bool, Reason> {
        let books = &token.bookkeeping;
        let good = books.good_token().into_iter().collect();
        match self.line.base.journal.spent(good).await {
            Ok(spent) => Ok(spent.iter().any(|spent| spent.at > books.refreshed_at)),
            Err(error) => {
                self.line.journal_failed(&error);
                Err(Reason::Journal)
            }
        }
    }

    /// How long our claim still lasts.
    fn time_left(&self, attempt: &Attempt) -> Option<TimeDelta> {
        let lease = attempt.token.bookkeeping.lease.as_ref()?;
        Some(lease.until - self.line.base.clock.now())
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
