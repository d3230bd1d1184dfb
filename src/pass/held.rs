//! Refusals that wait for a judgement: nobody is marked by a stretch of answers that turns out to be our fault.

use super::plan::{Landed, Next};
use super::redeem::is_known_dead;
use crate::gate::{Gate, Standing};
use crate::journal::{Ending, EntryId};
use crate::provider::Provider;
use crate::token::{DueToken, LastError, Reason, State};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most refusals that wait at once; with more the oldest are judged by what is known so far.
///
/// Memory must not grow with the collection, and each of them is a document that stays claimed.
const MOST_HELD: usize = 500;

/// Share of the lease for which a refusal may wait: its mark is void once somebody else has taken the claim over.
const LEASE_SHARE: u32 = 4;

/// A refusal as a task found it.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its row.
    pub(super) entry: EntryId,
    /// What the document becomes, if the refusal is believed.
    pub(super) state: State,
    /// What the provider said.
    pub(super) evidence: LastError,
    /// Does its code say for certain that the token is dead?
    pub(super) certain: bool,
    /// Was this token refused before, on another occasion, or is the document marked already?
    pub(super) before: bool,
}

/// One that waits.
struct Held {
    token: DueToken,
    provider: Arc<Provider>,
    refusal: Refusal,
    /// Stretches that had been judged when it came; it is cleared with the one that it came in.
    judged: u64,
    since: Instant,
}

/// The refusals of one pass that wait.
#[derive(Default)]
pub(super) struct HeldRefusals {
    held: Vec<Held>,
}

impl HeldRefusals {
    /// Takes one in; its row ends, or is unsettled as before: after a crash the token is asked for again.
    pub(super) fn take(
        &mut self,
        token: DueToken,
        provider: Arc<Provider>,
        refusal: Refusal,
        gate: &Gate,
    ) -> (EntryId, Ending) {
        let row = (refusal.entry, Ending::NotProcessed);
        let judged = gate.standing().judged;
        self.held.push(Held { token, provider, refusal, judged, since: Instant::now() });
        row
    }

    /// When the first of them has waited for long enough.
    pub(super) fn deadline(&self, lease: Duration) -> Option<Instant> {
        self.held.iter().map(|held| held.since + lease / LEASE_SHARE).min()
    }

    /// Takes out what need not wait any longer; at the `end` of a pass that is everything.
    pub(super) fn ripe<'gate>(
        &mut self,
        gate_of: impl Fn(&Provider) -> &'gate Gate,
        lease: Duration,
        end: bool,
    ) -> Vec<Landed> {
        let now = Instant::now();
        let too_many = self.held.len().saturating_sub(MOST_HELD);
        let (mut ripe, mut waiting) = (Vec::new(), Vec::new());
        for (position, held) in self.held.drain(..).enumerate() {
            let gate = gate_of(&held.provider);
            let over = end || position < too_many || now >= held.since + lease / LEASE_SHARE;
            let standing =
                if over { gate.judge_without_grants(end || too_many > 0) } else { gate.standing() };
            match verdict(&held, standing, over, end) {
                Some(next) => {
                    ripe.push(Landed::Token {
                        token: held.token,
                        provider: held.provider,
                        next: next(held.refusal),
                    });
                }
                None => waiting.push(held),
            }
        }
        self.held = waiting;
        ripe
    }
}

/// What becomes of a refusal; `None` as long as it waits.
fn verdict(held: &Held, standing: Standing, over: bool, end: bool) -> Option<fn(Refusal) -> Next> {
    let mark: fn(Refusal) -> Next = |refusal| Next::Retire {
        entry: Some(refusal.entry),
        state: refusal.state,
        evidence: refusal.evidence,
    };
    let once: fn(Refusal) -> Next = |refusal| Next::RefusedOnce(refusal.evidence);
    if standing.accepted {
        return Some(mark);
    }
    if standing.suspicious {
        return Some(|_| Next::Behind(Reason::RefusedShare));
    }
    // In the middle of a pass that has granted nobody anything yet, the refusals that would be too many may still come.
    let before = held.refusal.before && (standing.proven || end || is_known_dead(&held.token));
    let is_believed = before || (held.refusal.certain && standing.proven);
    let is_judged = standing.proven && standing.judged > held.judged;
    (is_judged || over).then_some(if is_believed { mark } else { once })
}
