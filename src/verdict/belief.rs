//! Is a refusal believed? A pure question of what the provider has answered to others in this pass.

use super::{Mark, Refusal};
use crate::gate::Standing;

/// What becomes of a mark that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is made.
    Believed,
    /// Not yet: this was the first occasion.
    Once,
    /// It is not made, and counts as our fault.
    OurFault,
}

/// How a mark waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Stretches of the pass that had been judged when it came; it is cleared with the one that it came in.
    pub judged_when_it_came: u64,
    /// Is the document marked already, for this very token?
    pub known_dead: bool,
    /// Has it waited for long enough, so that it is judged by what is known?
    pub over: bool,
    /// Has a pass ended in which others were asked, so that no more answers come? One over a single document says nothing of
    /// its provider.
    pub end: bool,
}

/// What becomes of a mark; `None` as long as it waits.
#[must_use]
pub fn believe(mark: &Mark, standing: Standing, waiting: Waiting) -> Option<Belief> {
    if standing.accepted {
        return Some(Belief::Believed);
    }
    if standing.suspicious {
        return Some(Belief::OurFault);
    }
    match mark {
        Mark::Redeemed(_) | Mark::MayBeSpent(..) => waiting.over.then_some(Belief::Believed),
        Mark::Refused(refusal) => believe_refusal(refusal, standing, waiting),
    }
}

fn believe_refusal(refusal: &Refusal, standing: Standing, waiting: Waiting) -> Option<Belief> {
    // In the middle of a pass that has granted nothing yet, the refusals that would be too many may still come.
    let before = refusal.before && (standing.proven || waiting.end || waiting.known_dead);
    let is_believed = before || (refusal.certain && standing.proven);
    let is_judged = standing.proven && standing.judged > waiting.judged_when_it_came;
    (is_judged || waiting.over).then_some(if is_believed { Belief::Believed } else { Belief::Once })
}
