//! One grant, from the POST to the next step. Runs in a task of its own that nobody cancels.

use super::Line;
use super::sink::{Landed, Next};
use crate::clock::Timestamp;
use crate::gate::{Gate, Permit, Signal};
use crate::grant::answer::{Class, Reading};
use crate::grant::http::TokenEndpoint;
use crate::grant::{self, Sent};
use crate::journal::{Ending, EntryId, Journaled};
use crate::provider::{Provider, Rotation};
use crate::report::Outcome;
use crate::token::{DueToken, State};
use crate::write_back::evidence;
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// First wait before a token is asked for again after a transient answer; it doubles.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Wait before a token whose answer was lost is asked for again: time for the provider to finish what it may be doing.
const UNANSWERED_WAIT: Duration = Duration::from_secs(2);

/// How often a token whose answer was lost is asked for again in one pass.
///
/// Once: granted means that it had not been processed, refused means that it had been.
const ASK_AGAIN: u32 = 1;

/// A token on its way through a lane, with what this pass has already tried.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) token: DueToken,
    /// Answers that said: not processed, later.
    pub(super) put_off: u32,
    /// Answers that were lost.
    pub(super) unanswered: u32,
    /// Times that another document's grant of the same token was in the way.
    pub(super) in_the_way: u32,
}

impl Attempt {
    pub(super) const fn new(token: DueToken) -> Self {
        Self { token, put_off: 0, unanswered: 0, in_the_way: 0 }
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
    pub(super) endpoint: TokenEndpoint,
    pub(super) landed: mpsc::Sender<Landed>,
}

impl Redeemer {
    /// Sends one grant and brings its outcome to the sink or the token back to the lane.
    ///
    /// **Must run to completion.** A panic is an outcome too: the intent stays unsettled in the journal.
    pub(super) async fn redeem(
        &self,
        attempt: Attempt,
        entry: EntryId,
        unsettled: bool,
        permit: Permit,
    ) -> Returned {
        let subject = attempt.token.subject.clone();
        let redeem = AssertUnwindSafe(self.redeem_once(attempt, entry, unsettled, permit));
        if let Ok(returned) = redeem.catch_unwind().await {
            return returned;
        }
        error!(%subject, "a grant of `{subject}` panicked; its journal entry {entry} stays unsettled");
        self.end(entry, Ending::Unsettled("panic".into())).await;
        self.line.report.ended(Outcome::StillDue, Some("panic"));
        Returned::Done
    }

    async fn redeem_once(
        &self,
        mut attempt: Attempt,
        entry: EntryId,
        unsettled: bool,
        mut permit: Permit,
    ) -> Returned {
        let line = &self.line;
        line.report.sent();
        let request = grant::request(&self.provider, &attempt.token.refresh_token);
        let sent = self.endpoint.post(&request).await;
        permit.answered();
        let (reading, kept) = self.keep_and_read(entry, &sent).await;
        permit.signal(self.signal(&reading, &attempt));
        let (subject, class, code) = (&attempt.token.subject, reading.class.word(), &reading.code);
        debug!(%subject, provider = &*self.provider.name, class, code, "the grant of `{subject}` was {class} ({code})");

        let now = line.clock.now();
        let proof = evidence(&reading, now);
        let next = match reading.class {
            Class::Granted(granted) => {
                let kept = kept.expect("only an answer can be a grant");
                let received_at = *kept.get();
                Next::WriteBack { granted: kept.map(|_| granted), received_at, recovered: false }
            }
            Class::Throttled(_) | Class::Transient => {
                self.end(entry, Ending::NotProcessed).await;
                attempt.put_off += 1;
                if matches!(reading.class, Class::Throttled(_)) {
                    line.report.throttled();
                }
                if attempt.put_off < line.settings.attempts {
                    let wait = FIRST_RETRY_WAIT * 2_u32.saturating_pow(attempt.put_off - 1);
                    return Returned::Again(Box::new(attempt), Instant::now() + wait);
                }
                Next::Defer(proof)
            }
            Class::Unlisted => {
                self.end(entry, Ending::NotProcessed).await;
                Next::Defer(proof)
            }
            Class::Unreadable => {
                // The provider's own success: to send the token again would most likely be to send a spent one.
                error!(%subject, "the answer for `{subject}` is a success without a pair that can be read ({code}); it is kept in the journal, and the token is not sent again");
                self.end(entry, Ending::Unread(reading.code.clone())).await;
                Next::Defer(proof)
            }
            Class::Ambiguous => {
                warn!(%subject, "no usable answer for `{subject}` ({code}): it is asked for once more");
                self.end(entry, Ending::Unsettled(reading.code.clone())).await;
                attempt.unanswered += 1;
                if attempt.unanswered <= ASK_AGAIN {
                    return Returned::Again(Box::new(attempt), Instant::now() + UNANSWERED_WAIT);
                }
                Next::Defer(proof)
            }
            Class::Refused => {
                // A token that was sent before without an answer may have been rotated then: lost, not revoked.
                let lost = unsettled && self.provider.profile.rotation != Rotation::None;
                let state = if lost { State::LostInFlight } else { State::NeedsLogin };
                Next::Retire { entry: Some(entry), state, evidence: proof }
            }
            Class::ClientRejected => {
                self.end(entry, Ending::NotProcessed).await;
                Next::Later("client_rejected")
            }
        };
        self.land(attempt.token, next).await;
        drop(permit);
        Returned::Done
    }

    /// What a reading says about the provider. One that works for others and rejects what it has rejected before says
    /// nothing new: a few such documents must not stop everybody.
    fn signal(&self, reading: &Reading, attempt: &Attempt) -> Signal {
        let failed_before = attempt.token.bookkeeping.failures > 0;
        if reading.class == Class::ClientRejected && failed_before && !self.gate.is_unproven() {
            return Signal::NotAsked;
        }
        signal(reading)
    }

    /// Makes the answer durable, then reads it; with an answer comes the proof that it is kept, and when it came.
    async fn keep_and_read(&self, entry: EntryId, sent: &Sent) -> (Reading, Option<Journaled<Timestamp>>) {
        let shape = &self.provider.profile.answer;
        let Sent::Answered(raw) = sent else {
            return (grant::answer::read(sent, shape, self.line.clock.now()), None);
        };
        let journaled = match self.line.journal.answer(entry, raw.clone()).await {
            Ok(journaled) => journaled,
            Err(unjournaled) => {
                self.line.journal_failed(&unjournaled.error);
                unjournaled.rescue()
            }
        };
        let reading = grant::answer::read_answer(journaled.get(), shape, self.line.clock.now());
        (reading, Some(journaled.map(|raw| raw.received_at)))
    }

    async fn end(&self, entry: EntryId, ending: Ending) {
        if let Err(error) = self.line.journal.end(vec![(entry, ending)], self.line.clock.now()).await {
            self.line.journal_failed(&error);
        }
    }

    async fn land(&self, token: DueToken, next: Next) {
        let landed = Landed::Token { token, provider: self.provider.clone(), next };
        // The sink outlives all tasks that somebody waits for. Without it the answers are in the journal, and the next
        // pass writes them: there is no reason to ask for more.
        if self.landed.send(landed).await.is_err() {
            self.line.cannot_keep();
        }
    }
}

/// What a reading says about the provider.
fn signal(reading: &Reading) -> Signal {
    match &reading.class {
        Class::Granted(_) => Signal::Works { granted: true },
        Class::Refused => Signal::Works { granted: false },
        Class::Throttled(wait) => Signal::Throttled(*wait),
        Class::Transient | Class::Ambiguous => Signal::Failed,
        // It answered, and said nothing about itself.
        Class::Unlisted => Signal::NotAsked,
        // An unreadable success is the profile's fault, like a rejected client: it must not be repeated with everybody.
        Class::ClientRejected | Class::Unreadable => {
            Signal::ClientRejected { code: reading.code.clone(), http_status: reading.http_status }
        }
    }
}
