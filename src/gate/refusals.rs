//! Refusals, judged: a few among many grants are their users' fate; too many, or some before anybody was granted
//! anything, are more likely a mistake of ours or a fault of the provider. Pure: counts in, a judgement out.

use super::redeemed::{Redeemed, RedeemedBefore};
use crate::clock::Timestamp;
use crate::provider::history::{Answers, History};
use serde::Serialize;

/// Refusals in a row, before the first grant of a pass, that stop the provider.
///
/// Ten users whose logins all ended since the last pass, and not one alive before them, are less likely than a client
/// registration that was swapped, or a provider that lost its memory.
const MOST_UNPROVEN: u64 = 10;

/// Fewest refusals in a pass without any grant that can be held against a history: two have one cause more often than
/// chance knows of.
const FEWEST_UNPROVEN: u64 = 3;

/// How unlikely such a pass must be, by the usual share of refusals, to be the users' fate: a small collection that was well
/// until now doesn't lose all that are due at once.
const UNLIKELY: f64 = 1e-6;

/// Answers that a stretch of a pass must hold before its share of refusals is judged.
const ENOUGH_ANSWERS: u64 = 20;

/// Answers in a whole stretch: a judgement clears them, and the next stretch begins. A fault in the middle of a large
/// pass must not hide behind all that went well before it.
const STRETCH: u64 = 100;

/// A share of refusals up to this is never taken for a mistake of ours.
const ALWAYS_FINE: f64 = 0.1;

/// How many times the usual share of refusals is far above it, and which part of the usual share of grants far below.
const FAR_ABOVE: f64 = 5.0;

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
    /// The usual share of refusals in this collection; `None` when there is no history to tell.
    pub usual_share: Option<f64>,
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
    /// Refusals of tokens that may have been spent before: as many as were in flight at once are no mistake.
    in_doubt: u64,
    stretch: Answers,
    /// Tokens that were redeemed before; too many of them are a mistake of ours as well.
    redeemed: Redeemed,
    judged: u64,
    suspicious: bool,
    /// Code and status of the last refusal.
    last: Option<(String, Option<u16>)>,
}

impl Refusals {
    /// Holds what comes against `history`; `accepted` says that a person knows of it.
    pub(super) const fn expect(&mut self, history: History, accepted: bool) {
        self.history = history;
        self.accepted = accepted;
    }

    pub(super) fn granted(&mut self) {
        self.all.granted += 1;
        self.stretch.granted += 1;
        self.end_stretch();
    }

    /// Counts a refusal; says when it is one too many.
    pub(super) fn refused(&mut self, code: &str, http_status: Option<u16>) -> Option<Suspicion> {
        self.all.refused += 1;
        self.stretch.refused += 1;
        let Answers { granted, refused } = self.stretch;
        let usual_share = self.history.usual_share();
        self.last = Some((code.to_owned(), http_status));
        let too_many = if self.all.granted == 0 {
            refused >= MOST_UNPROVEN
        } else {
            usual_share.is_some_and(|usual| is_far_above(usual, self.stretch))
        };
        if too_many && !self.accepted {
            return self.suspect(granted + refused, usual_share);
        }
        self.end_stretch();
        None
    }

    /// Counts a refusal that was to be expected. Such tokens come first in a pass: it isn't judged before others came.
    pub(super) fn refused_in_doubt(&mut self, code: &str, http_status: Option<u16>) {
        self.in_doubt += 1;
        self.last = Some((code.to_owned(), http_status));
    }

    /// Judges the refusals of a pass that has granted nothing, when no more answers are waited for.
    ///
    /// Not earlier: logins that ended together may stand at the beginning of a pass; and those in doubt do, so that they
    /// count only when that is `all`.
    pub(super) fn judge_without_grants(&mut self, all: bool) -> Option<Suspicion> {
        let usual_share = self.history.usual_share();
        let is_unlikely = usual_share.is_some_and(|usual| is_unlikely(usual, self.all.refused));
        let refused = self.all.refused + if all { self.in_doubt } else { 0 };
        let is_everybody = refused >= MOST_UNPROVEN;
        if self.suspicious || self.accepted || self.all.granted > 0 || !(is_unlikely || is_everybody) {
            return None;
        }
        let found = self.suspect(refused, usual_share)?;
        Some(Suspicion { refused, ..found })
    }

    /// Counts a token that was redeemed before. When these are too many, no user is marked any more in this pass.
    pub(super) fn found_redeemed(&mut self, redeemed_at: Option<Timestamp>) {
        let too_many = self.redeemed.found(redeemed_at, self.stretch);
        self.suspicious |= too_many && !self.accepted;
        self.end_stretch();
    }

    pub(super) fn redeemed_before(&self) -> Option<RedeemedBefore> {
        self.redeemed.evidence().filter(|_| !self.accepted)
    }

    fn suspect(&mut self, asked: u64, usual_share: Option<f64>) -> Option<Suspicion> {
        let (code, http_status) = self.last.clone()?;
        self.suspicious = true;
        Some(Suspicion { code, http_status, refused: self.stretch.refused, asked, usual_share })
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
        (!self.suspicious && self.all != Answers::default()).then(|| self.history.and(self.all))
    }

    fn end_stretch(&mut self) {
        let answers = self.stretch.granted + self.stretch.refused + self.redeemed.in_stretch();
        if answers >= STRETCH && self.all.granted > 0 {
            self.stretch = Answers::default();
            self.redeemed.end_stretch();
            self.judged += 1;
        }
    }
}

/// Is it too unlikely that this many were refused by chance, and nothing else was asked?
fn is_unlikely(usual: f64, refused: u64) -> bool {
    let run = i32::try_from(refused).unwrap_or(i32::MAX);
    refused >= FEWEST_UNPROVEN && usual.powi(run) < UNLIKELY
}

/// Is the share of refusals far above the usual one, and more than chance makes of it?
fn is_far_above(usual: f64, stretch: Answers) -> bool {
    let asked = stretch.granted + stretch.refused;
    #[expect(clippy::cast_precision_loss, reason = "counts of a stretch")]
    let (asked_f, refused) = (asked as f64, stretch.refused as f64);
    let expected = usual * asked_f;
    let (deviations, more) = CHANCE;
    asked >= ENOUGH_ANSWERS
        && refused > ALWAYS_FINE * asked_f
        && (refused > FAR_ABOVE * expected || asked_f - refused < (asked_f - expected) / FAR_ABOVE)
        && refused > expected + deviations * expected.sqrt() + more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(granted: f64, refused: f64) -> Refusals {
        let mut judge = Refusals::default();
        judge.expect(History { granted, refused }, false);
        judge
    }

    /// The first refusal that is one too many, when every so manieth answer is one.
    fn trips_at(judge: &mut Refusals, every: u64, answers: u64) -> Option<u64> {
        (1..=answers).find(|number| {
            if number % every == 0 {
                judge.refused("invalid_grant", Some(400)).is_some()
            } else {
                judge.granted();
                false
            }
        })
    }

    #[test]
    fn refusals_before_the_first_grant_stop_a_provider_and_later_ones_do_not() {
        let mut unproven = judge(0.0, 0.0);
        assert_eq!(trips_at(&mut unproven, 1, 100), Some(MOST_UNPROVEN));
        assert!(unproven.standing().suspicious && unproven.history_after().is_none());
        let mut proven = judge(0.0, 0.0);
        proven.granted();
        assert_eq!(trips_at(&mut proven, 1, 1000), None, "without a history it isn't known what is usual");
        let mut accepted = judge(0.0, 0.0);
        accepted.expect(History::default(), true);
        assert_eq!(trips_at(&mut accepted, 1, 1000), None);
    }

    #[test]
    fn a_few_refusals_and_no_grant_in_a_whole_pass_are_held_against_the_history() {
        let fewest = |granted, refused| {
            (1..MOST_UNPROVEN).find(|run| {
                let mut judge = judge(granted, refused);
                assert_eq!(trips_at(&mut judge, 1, *run), None, "it is judged at the end");
                let suspicion = judge.judge_without_grants(true);
                assert_eq!(suspicion.is_some(), judge.standing().suspicious);
                assert!(suspicion.is_none_or(|found| (found.refused, found.asked) == (*run, *run)));
                judge.standing().suspicious
            })
        };
        assert_eq!(fewest(99.0, 0.0), None, "it isn't known what is usual");
        assert_eq!(fewest(100.0, 0.0), Some(FEWEST_UNPROVEN));
        assert_eq!(fewest(9_900.0, 0.0), Some(FEWEST_UNPROVEN));
        assert_eq!(fewest(990.0, 10.0), Some(4));
        assert_eq!(fewest(900.0, 100.0), Some(7));
        assert_eq!(fewest(500.0, 500.0), None);
        let mut proven = judge(9_900.0, 0.0);
        proven.granted();
        assert_eq!(trips_at(&mut proven, 1, 9), None);
        assert_eq!(proven.judge_without_grants(true), None);
        let mut accepted = judge(0.0, 0.0);
        accepted.expect(History { granted: 9_900.0, refused: 0.0 }, true);
        assert_eq!(trips_at(&mut accepted, 1, 9), None);
        assert_eq!(accepted.judge_without_grants(true), None);
    }

    #[test]
    fn refusals_that_were_to_be_expected_are_judged_at_the_end_of_a_pass_without_grants() {
        let after = |in_doubt, refused, granted| {
            let mut judge = judge(0.0, 0.0);
            for _ in 0..in_doubt {
                judge.refused_in_doubt("invalid_grant", None);
            }
            for _ in 0..refused {
                assert_eq!(judge.refused("invalid_grant", None), None);
            }
            if granted {
                judge.granted();
            }
            assert_eq!(judge.judge_without_grants(false), None, "others may come");
            judge.judge_without_grants(true).map(|suspicion| suspicion.refused)
        };
        assert_eq!(after(MOST_UNPROVEN - 1, 0, false), None);
        assert_eq!(after(MOST_UNPROVEN, 0, false), Some(MOST_UNPROVEN));
        assert_eq!(after(MOST_UNPROVEN - 2, 2, false), Some(MOST_UNPROVEN));
        assert_eq!(after(100, 0, true), None, "what a crash cut off comes first, and all of it may be lost");
    }

    #[test]
    fn a_share_far_above_the_usual_one_is_noticed_within_a_stretch() {
        for (usual, every, expected) in [
            (0.0, 1, true),
            (0.0, 4, true),
            (0.0, 20, false),
            (100.0, 2, true),
            (100.0, 4, true),
            (100.0, 12, false),
            (2500.0, 1, true),
            (2500.0, 2, false),
        ] {
            let mut judge = judge(10_000.0 - usual, usual);
            // A pass that went well for long before.
            assert_eq!(trips_at(&mut judge, 1000, 999), None);
            let found = trips_at(&mut judge, every, 10_000);
            assert_eq!(found.is_some(), expected, "{usual} {every}: {found:?}");
            assert!(found.is_none_or(|at| at < 2 * STRETCH), "{found:?}");
        }
    }

    #[test]
    fn chance_alone_trips_nothing() {
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for share in [0.001, 0.01, 0.02, 0.05, 0.2] {
            let mut judge = judge(10_000.0 * (1.0 - share), 10_000.0 * share);
            judge.granted();
            for number in 0..200_000 {
                if random.random_bool(share) {
                    assert_eq!(judge.refused("invalid_grant", None), None, "{share} {number}");
                } else {
                    judge.granted();
                }
            }
            assert!(judge.standing().judged >= 1990);
        }
    }
}
