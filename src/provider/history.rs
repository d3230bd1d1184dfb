//! What a provider has answered in earlier passes: the share of refusals that is usual for it.

use serde::{Deserialize, Serialize};

/// Grants that a history must hold before a share is held against it; fewer say little of what is usual.
const ENOUGH_HISTORY: f64 = 100.0;

/// Answers that a history remembers, about: it follows a collection that changes, and one odd pass doesn't turn it.
const MEMORY: f64 = 10_000.0;

/// The answers of earlier passes; older ones weigh less.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// Grants.
    pub granted: f64,
    /// Refusals.
    pub refused: f64,
}

impl History {
    /// With the answers of one more pass.
    #[must_use]
    pub fn and(self, answers: Answers) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of one pass")]
        let (granted, refused) =
            (self.granted + answers.granted as f64, self.refused + answers.refused as f64);
        let shrink = (MEMORY / (granted + refused)).min(1.0);
        Self { granted: granted * shrink, refused: refused * shrink }
    }

    /// The usual share of refusals, if there is enough to tell. Never quite none: nothing lasts for ever.
    #[must_use]
    pub fn usual_share(self) -> Option<f64> {
        (self.granted >= ENOUGH_HISTORY).then(|| (self.refused + 1.0) / (self.granted + self.refused + 2.0))
    }
}

/// What a provider said in a pass, or in a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answers {
    /// Grants.
    pub granted: u64,
    /// Refusals that count.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_follows_what_becomes_usual_and_one_pass_does_not_turn_it() {
        let history = History::default();
        assert_eq!(history.usual_share(), None);
        let mut history = history.and(Answers { granted: 990, refused: 10 });
        assert!((history.usual_share().unwrap() - 0.011).abs() < 0.001);
        history = history.and(Answers { granted: 100_000, refused: 0 });
        assert!(history.granted + history.refused <= MEMORY + 1.0);
        for _ in 0..20 {
            history = history.and(Answers { granted: 900, refused: 100 });
        }
        assert!(history.usual_share().unwrap() > 0.07, "{history:?}");
    }
}
