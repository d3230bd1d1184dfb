//! What follows from a write that did not match, or failed.
//!
//! | | a new pair, in the journal | a new pair, nowhere else | the same refresh token, renewed | anything else |
//! |---|---|---|---|---|
//! | another token stands there | parked | lost | superseded | superseded |
//! | the document is gone | parked | lost | gone | gone |
//! | not written | held | lost | still due where the journal failed, else held | still due |

use super::{End, Pair, Rule, Verdict};
use crate::journal::{EntryId, Event};
use crate::report::Outcome;
use crate::token::{ParkedWhy, Reason};

/// Why a change isn't in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritten {
    /// Another program's token stands there.
    Theirs,
    /// The document isn't there any more.
    Gone,
    /// It couldn't be written: why.
    Failed(Reason),
}

/// Judges what becomes of a verdict whose change, which brought `pair`, isn't in the document.
///
/// The verdict that comes out writes nothing.
#[must_use]
pub fn judge_unwritten(verdict: &Verdict, pair: Pair, why: Unwritten) -> Verdict {
    let rotated = matches!(verdict.row, Some((_, Event::Redeemed { .. })));
    let renewed = matches!(verdict.row, Some((_, Event::Renewed)));
    let ends = |end| verdict.ends.is_some().then_some(end);
    let row = verdict.row.clone();
    match (why, pair) {
        (Unwritten::Theirs | Unwritten::Gone, Pair::Rescued) if rotated => lost(row),
        (Unwritten::Failed(_), Pair::Rescued) if rotated => lost(None),
        (Unwritten::Theirs | Unwritten::Gone, _) => {
            let (rule, outcome, parked) = if why == Unwritten::Theirs {
                (Rule::TheirsStays, Outcome::Superseded, ParkedWhy::Superseded)
            } else {
                (Rule::DocumentGone, Outcome::Gone, ParkedWhy::Gone)
            };
            let row = row.map(|(entry, event)| (entry, without_place(event, parked)));
            Verdict::leave(rule, ends(End::new(outcome))).with_row(row)
        }
        // The refresh token is the one that the document had: nothing is lost with the answer.
        (Unwritten::Failed(reason), Pair::Rescued) if renewed => {
            Verdict::leave(Rule::RenewalNotWritten, ends(End::still_due(reason)))
        }
        (Unwritten::Failed(_), Pair::Journaled | Pair::Rescued) => {
            Verdict::leave(Rule::PairIsHeld, ends(End::new(Outcome::Held)))
        }
        (Unwritten::Failed(reason), Pair::None) => {
            let end = match &verdict.ends {
                Some(end) if end.outcome == Outcome::StillDue => end.clone(),
                Some(_) | None => End::still_due(reason),
            };
            Verdict::leave(Rule::NotWritten, ends(end)).with_row(row.map(not_settled))
        }
    }
}

/// The pair was received and could be kept nowhere. That its old token is spent is all that can be remembered.
fn lost(row: Option<(EntryId, Event)>) -> Verdict {
    Verdict { row, ..Verdict::leave(Rule::PairIsLost, Some(End::new(Outcome::Lost))) }
}

/// The event of a row whose document isn't ours to write any more.
fn without_place(event: Event, parked: ParkedWhy) -> Event {
    match event {
        Event::Redeemed { .. } => Event::NoPlace(parked),
        event => event,
    }
}

/// The event of a row whose document doesn't say yet what the row says.
fn not_settled((entry, event): (EntryId, Event)) -> (EntryId, Event) {
    let event = match event {
        // The mark isn't made: what the row said before stays.
        Event::Settled => Event::NotProcessed,
        event => event,
    };
    (entry, event)
}
