//! Marks that wait to be believed: refusals, and tokens that were redeemed before. No user is marked by a stretch of them
//! that turns out to be our fault.

use crate::gate::{Gate, Standing};
use crate::provider::Provider;
use crate::token::DueToken;
use crate::verdict::{Case, Fact, Mark, Waiting, believe, is_known_dead};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most marks that wait at once; with more the oldest are judged by what is known so far.
///
/// Memory must not grow with the collection, and each of them is a document that stays claimed.
const MOST_HELD: usize = 500;

/// Share of the lease for which a mark may wait: it is void once another process has taken the claim over.
const LEASE_SHARE: u32 = 4;

/// One that waits.
struct Held {
    token: DueToken,
    provider: Arc<Provider>,
    mark: Mark,
    /// Stretches that had been judged when it came.
    judged: u64,
    since: Instant,
}

/// The marks of one pass that wait.
pub(super) struct HeldMarks {
    pub(super) gate: Arc<Gate>,
    /// How long a mark may wait.
    patience: Duration,
    held: Vec<Held>,
}

impl HeldMarks {
    /// None yet, of a provider behind this gate.
    pub(super) fn new(gate: Arc<Gate>, lease: Duration) -> Self {
        Self { gate, patience: lease / LEASE_SHARE, held: Vec::new() }
    }

    pub(super) fn hold(&mut self, case: Case, mark: Mark) {
        let judged = self.gate.standing().judged;
        let Case { token, provider, .. } = case;
        self.held.push(Held { token, provider, mark, judged, since: Instant::now() });
    }

    /// When the first of them has waited for long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.since + self.patience).min()
    }

    /// Judges what isn't judged yet, if the `end` of a pass or a mark that can wait no longer asks for that. All marks that
    /// are [ripe](Self::ripe) by then are settled by this one judgement: what is found to be our fault only with the last of
    /// them holds the first one back, too.
    pub(super) fn judge(&self, end: bool, now: Instant) -> Standing {
        // At the end without any, too: those that were made in this pass are taken back.
        if end || (0..self.held.len()).any(|position| self.is_over(position, now)) {
            self.gate.judge(end || self.too_many() > 0)
        } else {
            self.gate.standing()
        }
    }

    /// Takes out what need not wait any longer, with what is believed of it; at the `end` of a pass that is everything. The
    /// pass is over one document `alone`, or over all.
    pub(super) fn ripe(
        &mut self,
        end: bool,
        alone: bool,
        (now, standing): (Instant, Standing),
    ) -> Vec<(DueToken, Arc<Provider>, Fact)> {
        let over: Vec<_> = (0..self.held.len()).map(|position| end || self.is_over(position, now)).collect();
        let (mut ripe, mut waiting) = (Vec::new(), Vec::new());
        for (held, over) in self.held.drain(..).zip(over) {
            let known_dead = is_known_dead(&held.token);
            let how = Waiting { judged_when_it_came: held.judged, known_dead, over, end: end && !alone };
            match believe(&held.mark, standing, how) {
                Some(belief) => ripe.push((held.token, held.provider, Fact::Marked(held.mark, belief))),
                None => waiting.push(held),
            }
        }
        self.held = waiting;
        ripe
    }

    fn too_many(&self) -> usize {
        self.held.len().saturating_sub(MOST_HELD)
    }

    /// Can the mark at this position wait no longer?
    fn is_over(&self, position: usize, now: Instant) -> bool {
        position < self.too_many() || now >= self.held[position].since + self.patience
    }
}
