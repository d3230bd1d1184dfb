//! Tokens whose users would be marked without a request, judged. Pure: counts in, a judgement out.
//!
//! Redeemed before, and back without their new pair: one is a stale copy of a document, many are a restored backup or an old
//! state directory. Perhaps spent, at a provider that must not see them again: as many as can be in flight at once are those
//! that a process had sent when it was killed; many more have one cause.

use crate::clock::Timestamp;
use crate::provider::history::Answers;
use serde::Serialize;

/// Fewest such tokens in a stretch of a pass that are too many, beyond those that are no mistake.
///
/// An application that saves a stale document, or a document that was copied, brings back one login or a few; a restored
/// backup brings back all that were due. In a stretch of a hundred tokens ten are a tenth, so that a backup of a part of
/// the collection is noticed, too. Fewer are named at once, also where nothing else is due: a question that comes with
/// each pass of a small collection would hide who must log in again.
const TOO_MANY: u64 = 10;

/// Share of a stretch up to which they are not too many.
const ALWAYS_FINE: f64 = 0.1;

/// Why a token would be marked without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutRequest {
    /// It was redeemed before.
    Redeemed,
    /// It may be spent, and its provider forbids a second request.
    MayBeSpent,
}

/// Why such tokens mark no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TooMany {
    /// How many were found.
    pub tokens: u64,
    /// When the first of them was redeemed, or sent.
    pub first_at: Option<Timestamp>,
}

/// The judge of one provider's tokens of one kind in one pass.
#[derive(Debug, Default)]
pub(super) struct Unasked {
    /// As many as are no mistake.
    pub(super) fine: u64,
    tokens: u64,
    in_stretch: u64,
    first_at: Option<Timestamp>,
    too_many: bool,
}

impl Unasked {
    /// Counts one, among the answers of the stretch; says whether they are too many now.
    pub(super) fn found(&mut self, at: Option<Timestamp>, stretch: Answers) -> bool {
        self.tokens += 1;
        self.first_at = self.first_at.into_iter().chain(at).min();
        if self.tokens <= self.fine {
            return self.too_many;
        }
        self.in_stretch += 1;
        #[expect(clippy::cast_precision_loss, reason = "counts of a stretch")]
        let share = self.in_stretch as f64 / (stretch.granted + stretch.refused + self.in_stretch) as f64;
        self.too_many |= self.in_stretch >= TOO_MANY && share > ALWAYS_FINE;
        self.too_many
    }

    /// How many there are in this stretch, beyond those that are no mistake.
    pub(super) const fn in_stretch(&self) -> u64 {
        self.in_stretch
    }

    /// The next stretch begins.
    pub(super) const fn end_stretch(&mut self) {
        self.in_stretch = 0;
    }

    /// The evidence, when they are too many.
    pub(super) fn evidence(&self) -> Option<TooMany> {
        self.too_many.then_some(TooMany { tokens: self.tokens, first_at: self.first_at })
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
            let mut judge = Unasked::default();
            let found = (1..=10).find(|_| judge.found(None, Answers { granted, refused: 0 }));
            assert_eq!(found.map(|_| judge.tokens), expected, "{granted}");
        }
    }

    #[test]
    fn as_many_as_are_no_mistake_are_not_among_the_too_many() {
        let mut judge = Unasked { fine: 16, ..Unasked::default() };
        let found = (1..=100).find(|_| judge.found(Some(at(3)), Answers::default()));
        assert_eq!(found, Some(26));
        assert_eq!(judge.evidence(), Some(TooMany { tokens: 26, first_at: Some(at(3)) }));
    }

    #[test]
    fn a_few_in_each_stretch_are_stale_saves() {
        let mut judge = Unasked::default();
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
        let mut judge = Unasked::default();
        for hours in [7, 5, 9].into_iter().cycle().take(300) {
            judge.found(Some(at(hours)), Answers::default());
        }
        assert_eq!(judge.evidence(), Some(TooMany { tokens: 300, first_at: Some(at(5)) }));
    }
}
