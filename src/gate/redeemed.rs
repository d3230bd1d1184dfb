//! Tokens that were redeemed before and came back without their new pair, judged: one is a stale copy of a document,
//! many are a restored backup or an old state directory. Pure: counts in, a judgement out.

use crate::clock::Timestamp;
use crate::provider::history::Answers;
use serde::Serialize;

/// Fewest such tokens in a stretch of a pass that are too many.
///
/// An application that saves a stale document, or a document that was copied, brings back one login or a few; a restored
/// backup brings back all that were due. In a stretch of a hundred tokens ten are a tenth, so that a backup of a part of
/// the collection is noticed, too. Fewer are named at once, also where nothing else is due: a question that comes with
/// each pass of a small collection would hide who must log in again.
const TOO_MANY: u64 = 10;

/// Share of a stretch up to which they are not too many.
const ALWAYS_FINE: f64 = 0.1;

/// Why such tokens mark no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RedeemedBefore {
    /// How many were found.
    pub tokens: u64,
    /// When the first of them was redeemed.
    pub first_at: Option<Timestamp>,
}

/// The judge of one provider's redeemed tokens in one pass.
#[derive(Debug, Default)]
pub(super) struct Redeemed {
    tokens: u64,
    in_stretch: u64,
    first_at: Option<Timestamp>,
    too_many: bool,
}

impl Redeemed {
    /// Counts one, among the answers of the stretch; says whether they are too many now.
    pub(super) fn found(&mut self, redeemed_at: Option<Timestamp>, stretch: Answers) -> bool {
        self.tokens += 1;
        self.in_stretch += 1;
        self.first_at = self.first_at.into_iter().chain(redeemed_at).min();
        #[expect(clippy::cast_precision_loss, reason = "counts of a stretch")]
        let share = self.in_stretch as f64 / (stretch.granted + stretch.refused + self.in_stretch) as f64;
        self.too_many |= self.in_stretch >= TOO_MANY && share > ALWAYS_FINE;
        self.too_many
    }

    /// How many there are in this stretch.
    pub(super) const fn in_stretch(&self) -> u64 {
        self.in_stretch
    }

    /// The next stretch begins.
    pub(super) const fn end_stretch(&mut self) {
        self.in_stretch = 0;
    }

    /// The evidence, when they are too many.
    pub(super) fn evidence(&self) -> Option<RedeemedBefore> {
        self.too_many.then_some(RedeemedBefore { tokens: self.tokens, first_at: self.first_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn at(hours: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::hours(hours)
    }

    #[test]
    fn many_in_a_stretch_are_too_many_and_a_few_among_grants_are_not() {
        for (granted, expected) in [(0, Some(10)), (20, Some(10)), (89, Some(10)), (90, None)] {
            let mut judge = Redeemed::default();
            let found = (1..=10).find(|_| judge.found(None, Answers { granted, refused: 0 }));
            assert_eq!(found.map(|_| judge.tokens), expected, "{granted}");
        }
    }

    #[test]
    fn a_few_in_each_stretch_are_stale_saves() {
        let mut judge = Redeemed::default();
        for _ in 0..100 {
            for _ in 0..5 {
                assert!(!judge.found(None, Answers { granted: 10, refused: 0 }));
            }
            judge.end_stretch();
        }
        assert_eq!(judge.evidence(), None);
    }

    #[test]
    fn the_evidence_counts_on_and_names_the_earliest() {
        let mut judge = Redeemed::default();
        for hours in [7, 5, 9].into_iter().cycle().take(300) {
            judge.found(Some(at(hours)), Answers::default());
        }
        assert_eq!(judge.evidence(), Some(RedeemedBefore { tokens: 300, first_at: Some(at(5)) }));
    }
}
