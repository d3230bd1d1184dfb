//! What isn't written as the verdict wanted it: a document that another program has changed, or that the store refuses.

use super::{Rows, Sink};
use crate::failure::told;
use crate::journal::Event;
use crate::pass::landed::{Landed, met};
use crate::report::{Outcome, Trouble};
use crate::store::{Change, Unwritable};
use crate::token::{Reason, Subject, TokenDocument};
use crate::verdict::{End, Pair, Rule, Step, Unwritten, Verdict, given_back_without, judge_unwritten};
use tracing::{error, warn};

/// The outcome of a pair that could be kept nowhere.
const LOST: &str = Outcome::Lost.word();

/// Does it bring further values of the answer (`documents.also`)?
pub(super) fn has_further_values(change: &Change) -> bool {
    change.pair.as_ref().is_some_and(|pair| !pair.also.is_empty())
}

/// Says that a pair is written without the further values of its answer; within the span of its document.
pub(in crate::pass) fn tell_without_further_values(
    subject: &Subject,
    reason: &Unwritable,
    fields: &[String],
) {
    let fields = fields.join("`, `");
    warn!(
        code = Reason::RefusedByStore.word(),
        %reason,
        "the store refuses to write the document of `{subject}`: {reason}. It is tried without the fields of `documents.also` (`{fields}`), \
         as wherever the store refuses them; `evergrant check` tries what the collection allows"
    );
}

impl Sink {
    /// Leaves them out, because the store may refuse the write for their sake, and the pair must not wait for them.
    ///
    /// All of them: a server doesn't say which one it is. The next answer brings them again.
    pub(super) fn leave_out_further_values(&mut self, landed: &mut Landed, reason: &Unwritable) {
        let further = landed.leave_out_further_values();
        if further.is_empty() || std::mem::replace(&mut self.told_further, true) {
            return;
        }
        let _about = landed.span().entered();
        tell_without_further_values(&landed.subject, reason, &further);
    }

    /// The store refuses the document; where it refuses the pairs of others as well, nothing more is redeemed.
    pub(super) fn refused(&self, landed: &Landed, reason: &Unwritable, rows: &mut Rows) {
        let (subject, told) = (&landed.subject, told(reason));
        let code = Reason::RefusedByStore.word();
        let _about = landed.span().entered();
        error!(code, %reason, "the store refuses to write the document of `{subject}`: {told}");
        if landed.brings_a_pair()
            && let Some(gate) = self.line.gate()
            && gate.write_back_refused(landed.sent)
        {
            error!(
                code,
                %reason,
                "the store refuses the new pairs of all documents that were tried, so nothing more is redeemed: {reason}"
            );
            self.line.report.trouble(Trouble::refused_pairs(reason));
        }
        self.unwritten(landed, Unwritten::Failed(Reason::RefusedByStore), rows);
    }

    /// The document is not as the verdict wanted it.
    pub(super) fn unwritten(&self, landed: &Landed, why: Unwritten, rows: &mut Rows) {
        let pair = match &landed.verdict.document {
            Step::Write(_, pair) => *pair,
            Step::Leave | Step::Look | Step::Hold(_) | Step::Again(_) | Step::OnceMore(..) => Pair::None,
        };
        if matches!(why, Unwritten::Failed(_)) {
            self.line.left_claimed();
        }
        let verdict = judge_unwritten(&landed.verdict, pair, why);
        let subject = &landed.subject;
        let _about = landed.span().entered();
        met(verdict.rule);
        match (verdict.rule, why) {
            (Rule::PairIsLost, Unwritten::Failed(_)) => {
                error!(
                    outcome = LOST,
                    code = LOST,
                    "LOST: the new pair of `{subject}` was received and could be kept nowhere: journal and store both failed; that person must log in again"
                );
            }
            (Rule::PairIsLost, Unwritten::Theirs | Unwritten::Gone) => {
                error!(
                    outcome = LOST,
                    code = LOST,
                    ?why,
                    "LOST: the new pair of `{subject}` was received and could be kept nowhere: the journal failed, and the document was deleted or holds another token"
                );
            }
            (Rule::PairIsHeld, _) => self.line.hold(&landed.id),
            _ => {}
        }
        if let Some((_, Event::NoPlace(why))) = &verdict.row {
            let why = why.word();
            warn!(
                code = why,
                "the new pair of `{subject}` has no place ({why}); it is parked in the journal"
            );
        }
        self.end_row(verdict.row, rows);
        match verdict.ends {
            Some(End { outcome: Outcome::Lost, .. }) => self.line.report.lost(subject),
            Some(End { outcome, reason, .. }) => self.line.ended(subject, outcome, reason.as_deref(), None),
            None => {}
        }
    }

    /// Gives back our claim on a document that holds another program's token now.
    pub(super) fn give_back(&self, theirs: &TokenDocument, unwritten: &Change) -> Option<Landed> {
        let change = given_back_without(unwritten, theirs, &self.line.around())?;
        Some(Landed {
            id: theirs.id.clone(),
            subject: theirs.subject.clone(),
            provider: None,
            case: None,
            mark: None,
            verdict: Verdict::write(Rule::Overtaken, change, None),
            sent: None,
            permit: None,
        })
    }
}
