//! Refused write-backs: what can't be kept isn't redeemed, also when the store refuses pair after pair.
//!
//! Three in a row may be these documents alone, so others are drawn from all over what is due, one at a time. Only when two of
//! those are refused as well does the pass send nothing more.

use super::sample::Sample;
use tokio::time::Instant;

/// Refused write-backs without an accepted one between them, after which others are tried.
const REFUSED_IN_A_ROW: u32 = 3;

/// Tokens of the sample that ends the pass when the write-backs of all of them are refused: each costs its document a pair.
const SAMPLE: usize = 2;

/// How the write-backs of a pass stand.
#[derive(Debug, Default)]
pub(super) struct WriteBacks {
    /// Has the store accepted a pair, and refused none since?
    proven: bool,
    refused: u32,
    sample: Sample,
}

impl WriteBacks {
    /// A pair is in its document.
    pub(super) fn accepted(&mut self) {
        *self = Self { proven: true, ..Self::default() };
    }

    /// The store refused a pair that came for a request of this time. Is it time to send nothing more?
    pub(super) fn refused(&mut self, sent: Option<Instant>) -> bool {
        self.refused += 1;
        self.proven = false;
        if self.refused < REFUSED_IN_A_ROW {
            return false;
        }
        let Some(sent) = sent else {
            self.sample.want(SAMPLE);
            return false;
        };
        self.sample.failed(SAMPLE, sent)
    }

    /// How many tokens are to be drawn.
    pub(super) const fn wanted(&self) -> Option<usize> {
        self.sample.wanted()
    }

    /// This number of tokens was drawn.
    pub(super) fn drawn(&mut self, tokens: usize, now: Instant) {
        self.sample.begin(tokens.min(SAMPLE), now);
    }

    /// Is one token asked at a time?
    pub(super) const fn one_at_a_time(&self) -> bool {
        self.sample.is_wanted()
    }

    /// Does a grant count as out until its pair is written? So it is until the store has accepted one: a mistake costs no more
    /// tokens than are in flight at once.
    pub(super) const fn waits(&self) -> bool {
        !self.proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn three_in_a_row_ask_for_two_others_and_these_decide() {
        let mut write_backs = WriteBacks::default();
        let before = Some(Instant::now());
        for accepted in [false, true] {
            for refused in 1..=5 {
                assert!(!write_backs.refused(before), "not before others are tried");
                assert_eq!(write_backs.wanted(), (refused >= 3).then_some(2));
                assert!(write_backs.waits());
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            write_backs.drawn(2, Instant::now());
            assert!(write_backs.one_at_a_time() && write_backs.wanted().is_none());
            assert!(!write_backs.refused(before), "it was on its way already");
            assert!(!write_backs.refused(Some(Instant::now())));
            if accepted {
                assert!(write_backs.refused(Some(Instant::now())));
            } else {
                write_backs.accepted();
                assert!(!write_backs.one_at_a_time() && !write_backs.waits());
            }
        }
    }
}
