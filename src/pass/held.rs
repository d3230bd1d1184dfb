//! Marks that wait for a judgement: refusals, and tokens that were redeemed before. No user is marked by a stretch of
//! them that turns out to be our fault.

use super::plan::{Landed, Next};
use super::redeem::is_known_dead;
use crate::gate::{Gate, Standing};
use crate::journal::{Ending, EntryId};
use crate::provider::Provider;
use crate::token::{DueToken, LastError, Reason, State, TokenId};
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

/// What a mark would be made for.
enum Mark {
    /// The provider refused the token.
    Refused(Refusal),
    /// The token was redeemed before, for this document, and its pair is in no document.
    Redeemed(TokenId),
}

/// One that waits.
struct Held {
    token: DueToken,
    provider: Arc<Provider>,
    mark: Mark,
    /// Stretches that had been judged when it came; it is cleared with the one that it came in.
    judged: u64,
    since: Instant,
}

/// The marks of one pass that wait.
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
        self.hold(token, provider, Mark::Refused(refusal), gate);
        row
    }

    /// Takes one in whose token was redeemed before, for the document `first`.
    pub(super) fn take_redeemed(
        &mut self,
        token: DueToken,
        provider: Arc<Provider>,
        first: TokenId,
        gate: &Gate,
    ) {
        self.hold(token, provider, Mark::Redeemed(first), gate);
    }

    fn hold(&mut self, token: DueToken, provider: Arc<Provider>, mark: Mark, gate: &Gate) {
        let judged = gate.standing().judged;
        self.held.push(Held { token, provider, mark, judged, since: Instant::now() });
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
        if end {
            // Before the first mark: what is found to be our fault only now holds all of them back.
            for held in self.held.iter().filter(|held| matches!(held.mark, Mark::Refused(_))) {
                let _ = gate_of(&held.provider).judge_without_grants(true);
            }
        }
        let (mut ripe, mut waiting) = (Vec::new(), Vec::new());
        for (position, held) in self.held.drain(..).enumerate() {
            let gate = gate_of(&held.provider);
            let over = end || position < too_many || now >= held.since + lease / LEASE_SHARE;
            let standing = match &held.mark {
                Mark::Refused(_) if over => gate.judge_without_grants(end || too_many > 0),
                Mark::Refused(_) | Mark::Redeemed(_) => gate.standing(),
            };
            let next = match &held.mark {
                Mark::Refused(refusal) => verdict(&held, refusal, standing, over, end),
                Mark::Redeemed(_) if standing.suspicious && !standing.accepted => Some(Verdict::Doubt),
                Mark::Redeemed(_) => (over || standing.accepted).then_some(Verdict::Mark),
            };
            let Some(verdict) = next else {
                waiting.push(held);
                continue;
            };
            let next = match (held.mark, verdict) {
                (Mark::Refused(refusal), Verdict::Mark) => Next::Retire {
                    entry: Some(refusal.entry),
                    state: refusal.state,
                    evidence: refusal.evidence,
                },
                (Mark::Refused(refusal), Verdict::Once) => Next::RefusedOnce(refusal.evidence),
                (Mark::Refused(_), Verdict::Doubt) => Next::Behind(Reason::RefusedShare),
                (Mark::Redeemed(_), Verdict::Doubt) => Next::Behind(Reason::AlreadyRedeemed),
                (Mark::Redeemed(first), Verdict::Mark | Verdict::Once) => Next::Copy { first, judged: true },
            };
            ripe.push(Landed::Token { token: held.token, provider: held.provider, next });
        }
        self.held = waiting;
        ripe
    }
}

/// What becomes of a mark that waits.
enum Verdict {
    /// It is made.
    Mark,
    /// Not yet: this was the first occasion.
    Once,
    /// It is not made, and counts as our fault.
    Doubt,
}

/// What becomes of a refusal; `None` as long as it waits.
fn verdict(held: &Held, refusal: &Refusal, standing: Standing, over: bool, end: bool) -> Option<Verdict> {
    if standing.accepted {
        return Some(Verdict::Mark);
    }
    if standing.suspicious {
        return Some(Verdict::Doubt);
    }
    // In the middle of a pass that has granted nobody anything yet, the refusals that would be too many may still come.
    let before = refusal.before && (standing.proven || end || is_known_dead(&held.token));
    let is_believed = before || (refusal.certain && standing.proven);
    let is_judged = standing.proven && standing.judged > held.judged;
    (is_judged || over).then_some(if is_believed { Verdict::Mark } else { Verdict::Once })
}
