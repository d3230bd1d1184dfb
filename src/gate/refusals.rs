//! Refusals, judged: as many as are usual are their users' fate; far more, or some before anybody was granted anything,
//! are more likely a mistake of ours or a fault of the provider. Pure: counts in, a judgement out.
//!
//! While more are refused than is usual, marks wait: dead logins stand together in many a collection, and what comes
//! behind them may be well. Once a mark can wait no longer, or at the end of the pass, there is doubt: no user is marked
//! any more in this pass. What was marked in it is taken back, and the others are refreshed all the same.
//!
//! | usual, by earlier passes | believed | in doubt |
//! |---|---|---|
//! | nothing is known: 2 % | up to 6 % | more; six of the first ten |
//! | 0.1 % | up to 1 % | more; four of the first ten |
//! | 3 % | up to 9 % | more |
//! | 30 % | up to 77 % | more |

use super::unasked::{TooMany, Unasked, WithoutRequest};
use crate::clock::Timestamp;
use crate::provider::history::{Answers, History};
use serde::Serialize;
use std::collections::VecDeque;

/// Refusals in a row, before the first grant of a pass, after which tokens from all over what is due are asked.
const FEW_UNPROVEN: u64 = 5;

/// Refusals in a row after a grant, for the same.
const MANY_IN_A_ROW: u64 = 100;

/// Refusals without a grant that are no user's fate at the end of a pass, or where marks can wait no longer.
///
/// Ten users whose logins all ended since the last pass, and not one alive beside them, are less likely than a client
/// registration that was swapped, or a provider that lost its memory.
const MOST_UNPROVEN: u64 = 10;

/// Fewest refusals in a pass without any grant that can be held against a history: two have one cause more often than
/// chance knows of.
const FEWEST_UNPROVEN: u64 = 3;

/// How unlikely such a pass must be, by the usual share of refusals, to be the users' fate: a small collection that was well
/// until now doesn't lose all that are due at once.
const UNLIKELY: f64 = 1e-6;

/// Answers in a whole stretch, at least: once it is as usual, the marks that came in it are made, and the next stretch begins.
const STRETCH: u64 = 100;

/// Stretches with which a mark that can wait no longer is judged, its own among them: dead logins may stand at the end of a
/// pass as well. A fault must not hide behind more than these.
const STRETCHES: usize = 10;

/// A share of refusals up to this is never taken for a mistake of ours.
const ALWAYS_FINE: f64 = 0.01;

/// How many times the usual share of refusals is far above it, and which part of the usual share of grants far below.
const FAR_ABOVE: f64 = 3.0;

/// How far beyond what is expected chance may lead, in standard deviations, and the refusals that are added because
/// small numbers have no such thing: together chance trips a judgement less than once in a million.
const CHANCE: (f64, f64) = (6.0, 3.0);

/// Why a provider's refusals aren't believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspicion {
    /// The code of the refusal that was one too many.
    pub code: String,
    /// Its status.
    pub http_status: Option<u16>,
    /// Refusals in the suspicious stretch.
    pub refused: u64,
    /// Answers in it.
    pub asked: u64,
    /// The usual share of refusals in this collection; of one that nothing is known of, what is usual elsewhere.
    pub usual_share: f64,
}

/// How the refusals of a pass stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Has the provider granted anything in this pass? Then it and our client work.
    pub proven: bool,
    /// Stretches that were judged, and found as usual.
    pub judged: u64,
    /// Are refusals not believed any more in this pass?
    pub suspicious: bool,
    /// Did a person say that refusals are to be believed?
    pub accepted: bool,
}

/// The judge of one provider's refusals in one pass.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    history: History,
    accepted: bool,
    all: Answers,
    /// Refusals of tokens that were granted a moment later.
    after_all: u64,
    /// Refusals of tokens that may have been spent before: as many as were in flight at once are no mistake.
    in_doubt: u64,
    stretch: Answers,
    /// The stretches before it, as many as one is judged with.
    before: VecDeque<Answers>,
    /// Refusals since the last grant.
    in_a_row: u64,
    /// Those of tokens that had never failed.
    new_in_a_row: u64,
    /// Tokens that were redeemed before; too many of them are a mistake of ours as well.
    redeemed: Unasked,
    /// The same of tokens that may be spent.
    may_be_spent: Unasked,
    judged: u64,
    suspicious: bool,
    /// The evidence, where it is the refusals that aren't believed.
    suspicion: Option<Suspicion>,
    /// Code and status of the last refusal.
    last: Option<(String, Option<u16>)>,
}

impl Refusals {
    /// Holds what comes against `history`; `accepted` says that a person knows of it.
    pub(super) const fn expect(&mut self, history: History, accepted: bool) {
        self.history = history;
        self.accepted = accepted;
    }

    /// As many tokens as were in flight at once may be spent: a process was killed.
    pub(super) const fn in_flight_at_once(&mut self, tokens: u64) {
        self.may_be_spent.fine = tokens;
    }

    pub(super) fn granted(&mut self) {
        self.all.granted += 1;
        self.stretch.granted += 1;
        self.in_a_row = 0;
        self.new_in_a_row = 0;
        self.end_stretch();
    }

    /// Counts a refusal, of a token that has failed `before` or never. Are these enough in a row that the provider may grant
    /// nothing any more?
    pub(super) fn refused(&mut self, code: &str, http_status: Option<u16>, before: bool) -> bool {
        self.all.refused += 1;
        self.stretch.refused += 1;
        self.in_a_row += 1;
        self.new_in_a_row += u64::from(!before);
        self.last = Some((code.to_owned(), http_status));
        self.end_stretch();
        let grants_nothing = if self.all.granted == 0 {
            self.in_a_row >= FEW_UNPROVEN
        } else {
            // Where most are refused as ever, long runs of them are usual as well.
            self.new_in_a_row >= MANY_IN_A_ROW && self.history.chance_of_a_run(self.new_in_a_row) < UNLIKELY
        };
        grants_nothing && !self.accepted
    }

    /// A token was granted that had been refused a moment before.
    pub(super) const fn granted_after_all(&mut self) {
        self.after_all += 1;
    }

    /// A sample from all over what is due has brought no grant either: the evidence, for a provider that is left alone now.
    pub(super) fn grants_nothing(&mut self) -> Option<Suspicion> {
        self.suspect(self.stretch);
        self.suspicion.clone()
    }

    /// Counts a refusal that was to be expected. Such tokens come first in a pass: it isn't judged before others came.
    pub(super) fn refused_in_doubt(&mut self, code: &str, http_status: Option<u16>) {
        self.in_doubt += 1;
        self.last = Some((code.to_owned(), http_status));
    }

    /// Judges what isn't judged yet, because a mark can wait no longer: `all` says that no more answers are waited for, or
    /// that too many marks wait already.
    pub(super) fn judge(&mut self, all: bool) {
        if self.suspicious || self.accepted {
            return;
        }
        if self.all.granted == 0 {
            self.judge_without_grants(all);
            return;
        }
        let recent = self.before.iter().fold(self.stretch, |sum, stretch| Answers {
            granted: sum.granted + stretch.granted,
            refused: sum.refused + stretch.refused,
        });
        // At the end a fault that has just begun must not hide behind what went well before it: it would have gone on.
        let last = all.then_some(self.stretch);
        let beyond = last.into_iter().chain([recent, self.all]).find(|answers| self.is_beyond(*answers));
        if let Some(answers) = beyond {
            self.suspect(answers);
        }
    }

    /// Judges a pass that has granted nothing.
    ///
    /// Not earlier: logins that ended together may stand at the beginning of a pass; and those in doubt do, so that they
    /// count only when that is `all`.
    fn judge_without_grants(&mut self, all: bool) {
        let is_unlikely =
            self.all.refused >= FEWEST_UNPROVEN && self.history.chance_of_a_run(self.all.refused) < UNLIKELY;
        let refused = self.all.refused + if all { self.in_doubt } else { 0 };
        if is_unlikely || refused >= MOST_UNPROVEN {
            self.suspect(Answers { granted: 0, refused });
        }
    }

    /// Counts a token that would be marked without a request. When these are too many, no user is marked any more in this
    /// pass.
    pub(super) fn found_unasked(&mut self, why: WithoutRequest, at: Option<Timestamp>) {
        let stretch = self.stretch;
        let too_many = self.unasked(why).found(at, stretch);
        self.suspicious |= too_many && !self.accepted;
        self.end_stretch();
    }

    /// Why such tokens mark no user, when they are too many.
    pub(super) fn too_many_unasked(&self, why: WithoutRequest) -> Option<TooMany> {
        let unasked = match why {
            WithoutRequest::Redeemed => &self.redeemed,
            WithoutRequest::MayBeSpent => &self.may_be_spent,
        };
        unasked.evidence().filter(|_| !self.accepted)
    }

    const fn unasked(&mut self, why: WithoutRequest) -> &mut Unasked {
        match why {
            WithoutRequest::Redeemed => &mut self.redeemed,
            WithoutRequest::MayBeSpent => &mut self.may_be_spent,
        }
    }

    /// Why refusals aren't believed in this pass, if so.
    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        self.suspicion.clone()
    }

    fn suspect(&mut self, Answers { granted, refused }: Answers) {
        let Some((code, http_status)) = self.last.clone() else { return };
        self.suspicious = true;
        let usual_share = self.history.usual_share();
        self.suspicion =
            Some(Suspicion { code, http_status, refused, asked: granted + refused, usual_share });
    }

    pub(super) const fn grants(&self) -> u64 {
        self.all.granted
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing {
            proven: self.all.granted > 0,
            judged: self.judged,
            suspicious: self.suspicious,
            accepted: self.accepted,
        }
    }

    /// The history with this pass in it; none when its refusals aren't believed.
    pub(super) fn history_after(&self) -> Option<History> {
        let refused = self.all.refused.saturating_sub(self.after_all);
        (!self.suspicious && self.all != Answers::default())
            .then(|| self.history.and(Answers { refused, ..self.all }))
    }

    /// The stretch ends when it is long enough, and as usual; so must be the pass up to here.
    fn end_stretch(&mut self) {
        let unasked = self.redeemed.in_stretch() + self.may_be_spent.in_stretch();
        let answers = self.stretch.granted + self.stretch.refused + unasked;
        let waits = !self.accepted && (self.is_beyond(self.stretch) || self.is_beyond(self.all));
        if answers >= STRETCH && self.all.granted > 0 && !waits {
            self.before.push_back(std::mem::take(&mut self.stretch));
            if self.before.len() == STRETCHES {
                self.before.pop_front();
            }
            self.redeemed.end_stretch();
            self.may_be_spent.end_stretch();
            self.judged += 1;
        }
    }

    /// Is the share of refusals far above the usual one, and more than chance makes of it?
    fn is_beyond(&self, answers: Answers) -> bool {
        let asked = answers.granted + answers.refused;
        #[expect(clippy::cast_precision_loss, reason = "counts of a pass")]
        let (asked, refused) = (asked as f64, answers.refused as f64);
        let expected = self.history.usual_share() * asked;
        let (deviations, more) = CHANCE;
        refused > ALWAYS_FINE * asked
            && (refused > FAR_ABOVE * expected || asked - refused < (asked - expected) / FAR_ABOVE)
            && refused > expected + deviations * expected.sqrt() + more
    }
}

#[cfg(test)]
mod tests;
