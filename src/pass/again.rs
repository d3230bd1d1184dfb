//! Tokens that go to the gate again in the same pass: put off, lost on the line, or refused for the first time.
//!
//! One that was refused is sent once more after a grant to another token, so that a fault of the provider that lasts for a
//! while marks no user. When nothing else is left to send, a grant before it has to do.

use super::redeem::Attempt;
use crate::verdict::Refusal;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Most refused tokens that wait at once; what is refused beyond them is asked for again by a later pass.
///
/// Each of them is a document that stays claimed.
const MOST_REFUSED: usize = 500;

/// A refusal of a token that is to be sent once more.
#[derive(Debug)]
pub(super) struct RefusedOnce {
    pub(super) refusal: Box<Refusal>,
    /// Grants of the pass before it.
    pub(super) granted: u64,
}

/// The tokens of one lane that wait to be sent again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiting: VecDeque<(Attempt, Instant)>,
    refused: usize,
}

impl Waiting {
    /// Lets a token wait. It comes back where too many of its kind wait already.
    pub(super) fn push(&mut self, attempt: Attempt, at: Instant) -> Option<Attempt> {
        if attempt.refused.is_some() {
            if self.refused >= MOST_REFUSED {
                return Some(attempt);
            }
            self.refused += 1;
        }
        self.waiting.push_back((attempt, at));
        None
    }

    /// Lets a token wait that was about to be sent: it goes first.
    pub(super) fn push_front(&mut self, attempt: Attempt, at: Instant) {
        self.refused += usize::from(attempt.refused.is_some());
        self.waiting.push_front((attempt, at));
    }

    /// Takes out a token that may be sent now, after this number of grants: a lost answer first, because a provider that
    /// forgives one doesn't do so for long.
    pub(super) fn ready(&mut self, now: Instant, granted: u64) -> Option<Attempt> {
        self.lost(now).or_else(|| self.take(|attempt, at| at <= now && may_be_sent(attempt, granted)))
    }

    /// Takes out a token whose answer was lost, and that may be sent now.
    pub(super) fn lost(&mut self, now: Instant) -> Option<Attempt> {
        self.take(|attempt, at| at <= now && attempt.tried.unanswered > 0)
    }

    /// Takes out a refused token that waits for nothing but a grant.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Attempt> {
        self.take(|attempt, at| at <= now && attempt.refused.is_some())
    }

    /// Takes out any.
    pub(super) fn pop(&mut self) -> Option<Attempt> {
        self.take(|_, _| true)
    }

    /// The next time at which one may be sent that may not be sent yet.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.waiting.iter().map(|(_, at)| *at).filter(|at| *at > now).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait for anything but a second answer after a refusal.
    pub(super) fn put_off(&self) -> usize {
        self.waiting.len() - self.refused
    }

    fn take(&mut self, wanted: impl Fn(&Attempt, Instant) -> bool) -> Option<Attempt> {
        let place = self.waiting.iter().position(|(attempt, at)| wanted(attempt, *at))?;
        let (attempt, _) = self.waiting.remove(place)?;
        self.refused -= usize::from(attempt.refused.is_some());
        Some(attempt)
    }
}

/// Has another token been granted since this one was refused?
fn may_be_sent(attempt: &Attempt, granted: u64) -> bool {
    attempt.refused.as_ref().is_none_or(|refused| granted > refused.granted)
}
