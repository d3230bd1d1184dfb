//! What a provider has answered in earlier passes: the share of refusals that is usual for it.

use serde::{Deserialize, Serialize};

/// The share of refusals that is usual where nothing is known, and how many answers this weighs as much as.
///
/// Without it the first pass over a collection, of a state directory, or of a provider with a new name, would believe
/// whatever its provider says. A real history soon outweighs it.
const PRIOR: (f64, f64) = (0.02, 100.0);

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

    /// The usual share of refusals. Never quite none: nothing lasts for ever.
    #[must_use]
    pub fn usual_share(self) -> f64 {
        let Self { granted, refused } = self.with_prior();
        refused / (granted + refused)
    }

    /// How likely it is, by what is usual, that the next tokens are all refused, as many as `run`.
    ///
    /// As the share itself is an estimate, each refusal makes the next one a little more likely.
    #[must_use]
    pub fn chance_of_a_run(self, run: u64) -> f64 {
        let Self { granted, refused } = self.with_prior();
        // More of them change nothing: it is next to impossible long before, or usual.
        let run = u32::try_from(run.min(1000)).unwrap_or(1000);
        (0..run).map(f64::from).map(|before| (refused + before) / (granted + refused + before)).product()
    }

    fn with_prior(self) -> Self {
        let (share, weight) = PRIOR;
        Self { granted: self.granted + (1.0 - share) * weight, refused: self.refused + share * weight }
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
        assert!((history.usual_share() - 0.02).abs() < 1e-9);
        let mut history = history.and(Answers { granted: 990, refused: 10 });
        assert!((history.usual_share() - 0.011).abs() < 0.001);
        history = history.and(Answers { granted: 100_000, refused: 0 });
        assert!(history.granted + history.refused <= MEMORY + 1.0);
        for _ in 0..20 {
            history = history.and(Answers { granted: 900, refused: 100 });
        }
        assert!(history.usual_share() > 0.07, "{history:?}");
    }

    #[test]
    fn a_run_of_refusals_is_the_less_likely_the_more_grants_are_known() {
        let after = |granted, refused, run| History { granted, refused }.chance_of_a_run(run);
        assert!((after(0.0, 0.0, 1) - 0.02).abs() < 1e-9);
        assert!((after(0.0, 0.0, 2) - 0.02 * 3.0 / 101.0).abs() < 1e-9);
        assert!(after(0.0, 0.0, 4) > 1e-6 && after(0.0, 0.0, 5) < 1e-6);
        assert!(after(900.0, 0.0, 3) < 1e-6 && after(500.0, 500.0, 9) > 1e-6);
        assert!(after(10.0, 9_990.0, u64::MAX) < 1.0);
    }
}
