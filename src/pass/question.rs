//! Was it an outage? A request that failed with 502, 503 or 504 while others were granted a moment before is in doubt, and a
//! provider that punishes reuse isn't asked again. But these may be the first failures of an outage, and an outage marks no
//! user: so the token waits until the next answers have told.

use super::redeem::{Attempt, Redeemer, Returned};
use crate::gate::Stretch;
use crate::journal::{EntryId, Event};
use crate::provider::{AskAgain, Profile, Rotation};
use crate::token::{Code, Word};
use crate::verdict::Asked;
use tokio::time::Instant;
use tracing::debug;

/// How often a token waits for that, longer each time: with the usual `settle_after` for half a minute in all. Then nothing is
/// asked any more that could tell, and the profile's `ask_again` decides.
const MOST_WAITS: u32 = 4;

/// A failure of which it isn't known yet whether it was an outage. Its row says: lost, so that a crash forgets nothing.
#[derive(Debug)]
pub(super) struct Question {
    entry: EntryId,
    failed_at: Instant,
    /// What came, in a word.
    cause: Word<Code>,
    /// How often the token has waited for the answer.
    waits: u32,
}

impl Question {
    /// The question that a failure leaves; `None` where its answer would change nothing.
    pub(super) fn of(asked: &Asked, profile: &Profile, failed_at: Instant) -> Option<Self> {
        // A grace doesn't wait.
        let is_forbidden = profile.rotation == Rotation::SingleUse && profile.ask_again == AskAgain::Never;
        let reading = asked.reading();
        let is_open = is_forbidden && reading.may_be_outage && !asked.is_of_an_outage();
        is_open.then(|| Self { entry: asked.entry, failed_at, cause: Word::read(&reading.code), waits: 0 })
    }
}

impl Redeemer {
    /// Answers the question of a token, as far as its answer is known. `Err`: it isn't known yet.
    pub(super) async fn answered(&self, mut attempt: Attempt) -> Result<Attempt, Attempt> {
        let Some(question) = &attempt.question else { return Ok(attempt) };
        match self.gate.stretch(question.failed_at) {
            Stretch::Outage => {
                debug!("no user was granted when the request for `{}` failed", attempt.token.subject);
                let (cause, entry) = (question.cause.clone(), question.entry);
                self.end_row((entry, Event::TurnedAway { cause, peer: None })).await;
                // A provider that punishes reuse is asked once without an answer: this is that one.
                if let Some(lost) = &mut attempt.lost {
                    lost.turned_away = true;
                }
                attempt.tried.unanswered = 0;
            }
            Stretch::Open if question.waits < MOST_WAITS => return Err(attempt),
            Stretch::Open | Stretch::AmongGrants => {}
        }
        Ok(Attempt { question: None, ..attempt })
    }

    /// The token waits for the answer of its question.
    pub(super) fn wait_for_an_answer(&self, mut attempt: Attempt) -> Returned {
        let waits = attempt.question.as_mut().map_or(0, |question| {
            question.waits += 1;
            question.waits
        });
        let wait = self.provider.profile.settle_after * 2_u32.pow(waits.saturating_sub(1));
        Returned::Again(Box::new(attempt), Instant::now() + wait)
    }
}
