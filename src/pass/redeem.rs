//! One grant, from the intent to the next step. Runs in a task of its own that nobody cancels.

use super::Line;
use super::doubt::lost;
use super::held::Refusal;
use super::look::Sending;
use super::plan::{Landed, Next};
use super::settle::{Settlement, settle};
use crate::clock::{ReadAt, Timestamp};
use crate::gate::{Gate, Permit, Signal};
use crate::grant::Wire;
use crate::grant::answer::{Class, NO_TOKENS, Reading};
use crate::grant::{self, Sent};
use crate::journal::{Ending, EntryId, Journaled};
use crate::kill_point::{Point, reach};
use crate::provider::{Provider, Rotation};
use crate::report::Outcome;
use crate::token::{Code, DueToken, Evidence, Lost, Reason, State, Subject, Word};
use crate::write_back::evidence;
use chrono::TimeDelta;
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// First wait before a token is asked for again after a transient answer; it doubles.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(1);

/// A token on its way through a lane, with what this pass has already tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) token: DueToken,
    /// Answers that said: not processed, later.
    pub(super) put_off: u32,
    /// Answers that were lost.
    pub(super) unanswered: u32,
    /// The first sending that no answer has settled.
    pub(super) lost: Option<Lost>,
    /// Times that another document's grant of the same token was in the way.
    pub(super) in_the_way: u32,
    /// When its document was last read.
    pub(super) read_at: ReadAt,
    /// Did it go back to the gate, because reading it again took too long for its place in the rate?
    pub(super) went_back: bool,
}

impl Attempt {
    pub(super) const fn new(token: DueToken, read_at: ReadAt) -> Self {
        Self { token, put_off: 0, unanswered: 0, lost: None, in_the_way: 0, read_at, went_back: false }
    }
}

/// What a task gives back to its lane; exactly one each.
#[derive(Debug)]
pub(super) enum Returned {
    /// Its outcome is with the sink.
    Done,
    /// The same token again, not before this.
    Again(Box<Attempt>, Instant),
}

/// What a task works with.
pub(super) struct Redeemer {
    pub(super) line: Arc<Line>,
    pub(super) provider: Arc<Provider>,
    pub(super) gate: Arc<Gate>,
    pub(super) endpoint: Arc<dyn Wire>,
    pub(super) landed: mpsc::Sender<Landed>,
}

impl Redeemer {
    /// Sends one grant, if it still may be sent, and brings its outcome to the sink or the token back to the lane.
    ///
    /// **Must run to completion.** A panic is an outcome too: the intent stays unsettled in the journal.
    pub(super) async fn redeem(&self, attempt: Attempt, permit: Permit) -> Returned {
        let subject = attempt.token.subject.clone();
        let (recorded, kept) = (OnceLock::new(), OnceLock::new());
        let redeem = AssertUnwindSafe(self.redeem_once(attempt, permit, &recorded, &kept));
        if let Ok(returned) = redeem.catch_unwind().await {
            return returned;
        }
        // The claim stays, so that nobody takes the token in this pass; the next start gives it back.
        self.line.left_claimed();
        if kept.get().is_some() {
            // Its answer is in the journal, and may hold a pair: as it is, the row lets nobody send the token again, and
            // the next start reads it.
            error!(%subject, "reading the answer for `{subject}` panicked; it is kept in the journal");
        } else if let Some(entry) = recorded.get() {
            error!(%subject, "a grant of `{subject}` panicked; its journal entry {entry} stays unsettled");
            self.end(*entry, Ending::Unsettled(Code::Panic.into())).await;
        } else {
            error!(%subject, "a grant of `{subject}` panicked before it was sent");
        }
        self.line.report.ended(Outcome::StillDue, Some(Reason::Panic.word()));
        Returned::Done
    }

    async fn redeem_once(
        &self,
        attempt: Attempt,
        mut permit: Permit,
        recorded: &OnceLock<EntryId>,
        is_kept: &OnceLock<()>,
    ) -> Returned {
        let Sending { mut attempt, entry, sent_at, doubts } =
            match self.permission(attempt, &mut permit).await {
                Ok(sending) => sending,
                Err(returned) => return returned,
            };
        let _ = recorded.set(entry);
        reach(Point::IntentKnown);
        let line = &self.line;
        let unanswered = line.sent();
        let request = grant::request(&self.provider, &attempt.token.refresh_token);
        reach(Point::BeforePost);
        let sent = self.endpoint.post(&request).await;
        permit.answered();
        let (reading, kept) = self.keep_and_read(entry, &attempt.token.subject, &sent, is_kept).await;
        drop(unanswered);
        reach(Point::AnswerRead);
        let known_dead = is_known_dead(&attempt.token);
        let in_doubt = lost(&attempt, doubts).is_some_and(|lost| !lost.turned_away);
        permit.signal(self.signal(&reading, &attempt, known_dead, in_doubt));
        let doubt = self.doubt(&reading, &sent, sent_at);
        if let Some(doubt) = &doubt {
            attempt.note(doubt);
        }
        let (subject, class, code) = (&attempt.token.subject, reading.class.word(), &reading.code);
        debug!(%subject, provider = &*self.provider.name, class, code, "the grant of `{subject}` was {class} ({code})");

        let now = line.clock.now();
        let mut proof = evidence(&reading, now);
        if self.provider.profile.rotation != Rotation::None {
            proof.lost = lost(&attempt, doubts);
        }
        let next = match reading.class {
            Class::Granted(granted) => {
                let kept = kept.expect("only an answer can be a grant");
                let received_at = *kept.get();
                Next::WriteBack { granted: kept.map(|_| granted), received_at, recovered: false }
            }
            Class::Throttled(_) | Class::Transient => {
                self.end_unprocessed(entry, doubt).await;
                attempt.put_off += 1;
                if matches!(reading.class, Class::Throttled(_)) {
                    line.report.throttled();
                }
                if attempt.put_off < line.settings.attempts {
                    line.report.retried();
                    let wait = retry_wait(attempt.put_off);
                    return Returned::Again(Box::new(attempt), Instant::now() + wait);
                }
                Next::Defer(proof)
            }
            Class::Unlisted => {
                self.end_unprocessed(entry, doubt).await;
                Next::Defer(proof)
            }
            Class::Unreadable if self.provider.profile.rotation == Rotation::None => {
                warn!(%subject, "the answer for `{subject}` is a success without tokens that can be read ({code}); the refresh token stays good");
                self.end(entry, Ending::NotProcessed).await;
                Next::Defer(proof)
            }
            Class::Unreadable => {
                // The provider's own success: to send the token again would most likely be to send a spent one.
                error!(%subject, "the answer for `{subject}` is a success without a pair that can be read ({code}); it is kept in the journal, and the token is not sent again");
                self.end(entry, Ending::Unread(Word::read(&reading.code))).await;
                Next::Defer(proof)
            }
            Class::Ambiguous => {
                let (peer, received_bytes) =
                    doubt.map(|doubt| (doubt.peer, doubt.received_bytes)).unwrap_or_default();
                let to = peer.as_deref().unwrap_or("an unknown address");
                warn!(%subject, to, received_bytes, "no usable answer for `{subject}` ({code}) from {to}");
                let endings = peer.iter().map(|peer| (entry, Ending::SentTo(peer.clone())));
                let unsettled = (entry, Ending::Unsettled(Word::read(&reading.code)));
                self.end_all(endings.chain([unsettled]).collect()).await;
                attempt.unanswered += 1;
                let first = lost(&attempt, doubts);
                let first_sent_at = first.as_ref().and_then(|first| first.sent_at).unwrap_or(sent_at);
                if let Some(wait) = self.asked_again_after(&mut attempt, first_sent_at) {
                    line.report.retried();
                    return Returned::Again(Box::new(attempt), Instant::now() + wait);
                }
                proof.lost = first;
                Next::Defer(proof)
            }
            Class::Refused | Class::Suspected => {
                // A token that was sent before without an answer may have been rotated then: lost, not revoked.
                // The same when another process held it until its claim ran out, or wrote into the document that no
                // answer came.
                // One that was refused before it was sent so was dead already.
                let was_revoked = known_dead && attempt.token.bookkeeping.state == State::NeedsLogin;
                let is_lost = proof.lost.is_some() && !was_revoked;
                let state = if is_lost { State::LostInFlight } else { State::NeedsLogin };
                let certain = reading.class == Class::Refused;
                let before = known_dead || self.refused_before(&attempt, now);
                Next::Refused(Refusal { entry, state, evidence: proof, certain, before })
            }
            Class::ClientRejected => {
                self.end_unprocessed(entry, doubt).await;
                Next::Behind(Reason::ClientRejected)
            }
        };
        self.land(attempt.into_token(now), next).await;
        drop(permit);
        Returned::Done
    }

    /// What a reading says about the provider. One that works for others and rejects what it has rejected before says
    /// nothing new: a few such documents must not stop everybody.
    fn signal(&self, reading: &Reading, attempt: &Attempt, known_dead: bool, in_doubt: bool) -> Signal {
        // Nor does a refusal of a token that was lost, or dead, before: only those that nobody expected are judged. Least
        // of all one behind a success that held nothing: if these are how the provider grants, they must stop us.
        if matches!(reading.class, Class::Refused | Class::Suspected) {
            let behind_a_success = attempt.lost.as_ref().is_some_and(|lost| lost.cause.is(Code::NoTokens));
            let (code, http_status) = (reading.code.clone(), reading.http_status);
            match (known_dead, in_doubt) {
                (true, _) | (_, true) if behind_a_success => return Signal::NotAsked,
                (true, _) => return Signal::Works { granted: false },
                (false, true) => return Signal::RefusedInDoubt { code, http_status },
                (false, false) => {}
            }
        }
        let failed_before = attempt.token.bookkeeping.failures > 0;
        if reading.class == Class::ClientRejected && failed_before && !self.gate.is_unproven() {
            return Signal::NotAsked;
        }
        signal(reading)
    }

    /// Makes the answer durable, then reads it; with an answer comes the proof that it is kept, and when it came.
    async fn keep_and_read(
        &self,
        entry: EntryId,
        subject: &Subject,
        sent: &Sent,
        is_kept: &OnceLock<()>,
    ) -> (Reading, Option<Journaled<Timestamp>>) {
        let shape = &self.provider.profile.answer;
        let Sent::Answered(raw) = sent else {
            return (grant::answer::read(sent, shape, self.line.clock.now()), None);
        };
        reach(Point::AnswerReceived);
        let journaled = match self.line.journal.answer(entry, raw.clone()).await {
            Ok(journaled) => journaled,
            Err(unjournaled) => {
                self.line.journal_failed(&unjournaled.error);
                unjournaled.rescue()
            }
        };
        if journaled.is_kept() {
            let _ = is_kept.set(());
        }
        let mut reading = grant::answer::read_answer(journaled.get(), shape, self.line.clock.now());
        if matches!(reading.class, Class::Unreadable) && !journaled.is_kept() {
            // Nobody has the answer any more: to call it unread would be to wait for it for ever.
            error!(%subject, "the answer for `{subject}` is a success without a pair that can be read, and the journal failed: it is kept nowhere");
            reading.class = Class::Ambiguous;
        }
        (reading, Some(journaled.map(|raw| raw.received_at)))
    }

    /// How long a token rests whose answer was lost, before it goes to the gate again; `None` leaves it to the next pass.
    fn asked_again_after(&self, attempt: &mut Attempt, first_sent_at: Timestamp) -> Option<Duration> {
        let profile = &self.provider.profile;
        if profile.rotation == Rotation::None {
            // The old token stays good whatever became of the request: like one that wasn't processed.
            attempt.put_off += 1;
            return (attempt.put_off < self.line.settings.attempts).then(|| retry_wait(attempt.put_off));
        }
        match settle(profile, attempt.unanswered, first_sent_at, self.line.clock.now()) {
            Settlement::Again(wait) => Some(wait),
            Settlement::NextPass => None,
        }
    }

    /// Was this very token refused on an earlier occasion: in another pass, at least the first wait ago?
    fn refused_before(&self, attempt: &Attempt, now: Timestamp) -> bool {
        let bookkeeping = &attempt.token.bookkeeping;
        let is_refusal =
            |class: &Word<Evidence>| class.is(Evidence::Refused) || class.is(Evidence::Suspected);
        let apart = TimeDelta::from_std(self.line.settings.first_backoff).unwrap_or(TimeDelta::MAX);
        bookkeeping.fingerprint == Some(attempt.token.refresh_token.fingerprint())
            && bookkeeping
                .last_error
                .as_ref()
                .is_some_and(|error| is_refusal(&error.class) && now - error.at >= apart)
    }

    pub(super) async fn end(&self, entry: EntryId, ending: Ending) {
        self.end_all(vec![(entry, ending)]).await;
    }

    pub(super) async fn end_all(&self, endings: Vec<(EntryId, Ending)>) {
        if let Err(error) = self.line.journal.end(endings, self.line.clock.now()).await {
            self.line.journal_failed(&error);
        }
    }

    pub(super) async fn land(&self, token: DueToken, next: Next) {
        let landed = Landed::Token { token, provider: self.provider.clone(), next };
        // The sink outlives all tasks that somebody waits for. Without it the answers are in the journal, and the next
        // pass writes them: there is no reason to ask for more.
        if self.landed.send(landed).await.is_err() {
            self.line.cannot_keep();
        }
    }
}

/// Is the document marked already, for this very token?
pub(super) fn is_known_dead(token: &DueToken) -> bool {
    matches!(token.bookkeeping.state, State::NeedsLogin | State::LostInFlight)
        && token.bookkeeping.fingerprint == Some(token.refresh_token.fingerprint())
}

/// How long a token rests that was put off so often.
fn retry_wait(put_off: u32) -> Duration {
    FIRST_RETRY_WAIT * 2_u32.saturating_pow(put_off.saturating_sub(1))
}

/// What a reading says about the provider.
fn signal(reading: &Reading) -> Signal {
    match &reading.class {
        Class::Granted(_) => Signal::Works { granted: true },
        Class::Refused | Class::Suspected => {
            Signal::Refused { code: reading.code.clone(), http_status: reading.http_status }
        }
        Class::Throttled(wait) => Signal::Throttled(*wait),
        // The provider's own success: like one that can't be read.
        Class::Ambiguous if reading.code == NO_TOKENS => {
            Signal::ClientRejected { code: reading.code.clone(), http_status: reading.http_status }
        }
        Class::Transient | Class::Ambiguous => Signal::Failed,
        // It answered, and said nothing about itself.
        Class::Unlisted => Signal::NotAsked,
        // An unreadable success is the profile's fault, like a rejected client: it must not be repeated with everybody.
        Class::ClientRejected | Class::Unreadable => {
            Signal::ClientRejected { code: reading.code.clone(), http_status: reading.http_status }
        }
    }
}
