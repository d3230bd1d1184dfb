//! The judge: what follows from what is known of one token. Pure: no I/O, no clock, no chance.
//!
//! A live answer, a row that an earlier process left, and what a person does by hand each make a [`Case`]. A [`Verdict`]
//! comes out, and the sink executes it: first the document, then the row, then the report. Where the verdict depends on
//! the document as it is now, the first verdict is [`Step::Look`], and the case is judged again with what was found.
//!
//! | file | what it decides |
//! |---|---|
//! | `answer` | what follows from a live answer, or from none |
//! | `leftover` | what follows from a row that an earlier process left |
//! | `document` | what follows from the document as it is now: marks, copies, claims that are given back |
//! | `by_hand` | what follows from `journal apply`, `journal retry` and `journal discard` |
//! | `unwritten` | what follows from a write that did not match, or failed |
//! | `permission` | may this token be sent? |
//! | `belief` | is a refusal believed? |
//! | `marks` | which mark does a verdict make, and what becomes of one that is taken back? |
//! | `spent` | how long is a token remembered that was rotated? |
//! | `past_end` | what does an unknown answer mean for a token whose own end is past? |
//! | `settle`, `doubt` | what is known of a request whose answer was lost, and when the token is sent again |
//! | `change` | the exact update of the document |

mod answer;
mod belief;
mod by_hand;
mod case;
pub mod change;
mod document;
mod doubt;
mod leftover;
mod marks;
mod past_end;
mod permission;
mod released;
mod rule;
mod settle;
mod spent;
#[cfg(test)]
mod tests;
mod unwritten;

pub use belief::{Belief, Waiting, believe};
pub use by_hand::{
    ByHandPair, Obstacle, apply as by_hand_apply, discard as by_hand_discard, retry as by_hand_retry,
};
pub use case::{Around, Asked, Case, Document, Fact, Heard, Mark, ReceivedPair, Redeemed, Refusal, Tried};
pub use document::{copy, given_back_without, is_at_work_with, is_known_dead, without_token};
pub use doubt::{first_known, noted};
pub use leftover::{Left, LeftAnswer, LeftVerdict, judge_left};
pub use marks::{TakingBack, made_mark, take_back};
pub use past_end::past_end;
pub use permission::{
    First, SpentBy, Turn, already_redeemed, forbids_a_second_request, grace_has_ended, has_unread_answer,
    is_handed_out_again, may_go, of_last, spent_by, too_young_until,
};
pub use released::{Known, released};
pub use rule::Rule;
pub use unwritten::{Unwritten, judge_unwritten};

use crate::gate::Signal;
use crate::journal::{EntryId, Event};
use crate::report::{Outcome, WhyLiveAgain};
use crate::store::Change;
use crate::token::{Reason, State, Word};
use std::time::Duration;

/// All that follows from a case.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The rule that decided.
    pub rule: Rule,
    /// What happens to the row, after the document.
    pub row: Option<(EntryId, Event)>,
    /// What happens to the document.
    pub document: Step,
    /// What the answer says about the provider.
    pub gate: Signal,
    /// Where the document ends in this pass, once all of it is done; `None` where it is counted elsewhere.
    pub ends: Option<End>,
}

/// What happens to the document, or to the token before anything happens to it.
#[derive(Debug, Clone)]
pub enum Step {
    /// This change is written.
    Write(Box<Change>, Pair),
    /// Nothing is written.
    Leave,
    /// The case is judged again, with the document that [`Case::looks_at`] names.
    Look,
    /// The mark waits until the provider's refusals are judged, and then the case is judged again.
    Hold(Mark),
    /// The token goes back to the gate, and is sent again after this.
    Again(Duration),
    /// The same, after a grant to another one: so it was refused, and one wrong answer must not mark a user.
    OnceMore(Duration, Box<Refusal>),
}

/// Does a change bring a new pair, and is that in the journal?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// It brings none.
    None,
    /// The journal holds it.
    Journaled,
    /// The journal failed: the document is the only place left for it.
    Rescued,
}

/// Where a document ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The outcome.
    pub outcome: Outcome,
    /// Why it is still due.
    pub reason: Option<Word<Reason>>,
    /// Is its mark one that no earlier pass has told?
    pub news: bool,
    /// Did the pair come to an earlier process?
    pub recovered: bool,
    /// Was the token refused whose document is gone?
    pub refused: bool,
    /// What its mark said, or nearly said, and why it is wrong: the token was granted.
    pub heals: Option<(State, WhyLiveAgain)>,
}

impl End {
    /// An end without a reason, in this pass.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self { outcome, reason: None, news: true, recovered: false, refused: false, heals: None }
    }

    /// Still due, for this reason.
    #[must_use]
    pub fn still_due(reason: impl Into<Word<Reason>>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(Outcome::StillDue) }
    }
}

impl Verdict {
    /// Nothing is written, and the document ends so.
    #[must_use]
    pub const fn leave(rule: Rule, ends: Option<End>) -> Self {
        Self { rule, row: None, document: Step::Leave, gate: Signal::NotAsked, ends }
    }

    /// The change is written, and then the document ends so.
    #[must_use]
    pub fn write(rule: Rule, change: Change, ends: Option<End>) -> Self {
        Self { document: Step::Write(Box::new(change), Pair::None), ..Self::leave(rule, ends) }
    }

    /// The same, with an event for the row.
    #[must_use]
    pub fn with_row(self, row: Option<(EntryId, Event)>) -> Self {
        Self { row, ..self }
    }
}

/// Judges a case, with what was found of the document that it looks at.
#[must_use]
pub fn judge(case: &Case, document: Document<'_>, around: &Around<'_>) -> Verdict {
    match &case.fact {
        Fact::Asked(asked) => answer::judge(case, asked, around),
        Fact::RefusedOnce(refusal) => {
            let document = Step::Hold(Mark::Refused(refusal.clone()));
            Verdict { document, ..Verdict::leave(Rule::NotAskedOnceMore, None) }
        }
        Fact::Marked(mark, belief) => document::marked(case, mark, *belief, document, around),
        Fact::Redeemed(redeemed) => document::redeemed(case, redeemed, false, document, around),
        Fact::MayBeSpent(entry, evidence) => {
            document::may_be_spent(case, *entry, evidence, false, document, around)
        }
        Fact::Overtaken { refused } => document::overtaken(*refused, document, around),
        Fact::NotSent(reason) => document::not_sent(case, *reason, around),
        Fact::Waits(reason) => document::waits(case, *reason, around),
        Fact::TooYoung(until) => document::too_young(case, *until, around),
        Fact::NotTaken => document::not_taken(case, around),
    }
}
