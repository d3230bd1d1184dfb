//! When a token whose answer was lost is sent again, by what its provider does with a redeemed one.

use crate::clock::Timestamp;
use crate::provider::{AskAgain, Profile, Rotation};
use chrono::TimeDelta;
use std::time::Duration;

/// How often a token whose answer was lost is asked for again in one pass, at a strict provider.
///
/// Once: granted means that it had not been processed, refused means that it had been.
const STRICT_ASKS: u32 = 1;

/// First wait between two askings within a grace; the first asking waits for nothing, because a grace runs out.
const FIRST_GRACE_WAIT: Duration = Duration::from_millis(250);

/// Longest wait between two askings within a grace.
const LONGEST_GRACE_WAIT: Duration = Duration::from_secs(5);

/// Most askings within a grace in one pass: nearly a minute of them, the length of a long grace. What is still not
/// answered then is in an outage, and a longer grace (Xero: 30 minutes) lasts into the next pass.
const GRACE_ASKS: u32 = 14;

/// Where a token goes whose answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    /// Back to the gate, after this: there it is sent again, or not, as [`may_be_sent_again`] says then.
    Again(Duration),
    /// Into the next pass.
    NextPass,
}

/// What to do after `unanswered` sendings in this pass, the first of all at `first_sent_at`.
pub(super) fn settle(
    profile: &Profile,
    unanswered: u32,
    first_sent_at: Timestamp,
    now: Timestamp,
) -> Settlement {
    if profile.rotation == Rotation::Grace && is_within_grace(profile, first_sent_at, now) {
        return match unanswered {
            0 | 1 => Settlement::Again(Duration::ZERO),
            2..=GRACE_ASKS => {
                let doubled = FIRST_GRACE_WAIT.saturating_mul(2_u32.saturating_pow(unanswered - 2));
                Settlement::Again(doubled.min(LONGEST_GRACE_WAIT))
            }
            _ => Settlement::NextPass,
        };
    }
    if unanswered <= STRICT_ASKS { Settlement::Again(profile.settle_after) } else { Settlement::NextPass }
}

/// May a token be sent whose answer was lost when it was first sent at `first_sent_at`?
pub(super) fn may_be_sent_again(profile: &Profile, first_sent_at: Timestamp, now: Timestamp) -> bool {
    match (profile.rotation, profile.ask_again) {
        (Rotation::None, _) | (Rotation::SingleUse | Rotation::Grace, AskAgain::Once) => true,
        (Rotation::Grace, AskAgain::Never) => is_within_grace(profile, first_sent_at, now),
        (Rotation::SingleUse, AskAgain::Never) => false,
    }
}

pub(super) fn is_within_grace(profile: &Profile, first_sent_at: Timestamp, now: Timestamp) -> bool {
    // A clock that was set back since then proves nothing.
    let age = now.signed_duration_since(first_sent_at);
    age >= TimeDelta::zero() && TimeDelta::from_std(profile.grace).is_ok_and(|grace| age < grace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;

    fn profile(rotation: Rotation, ask_again: AskAgain) -> Profile {
        let grace = if rotation == Rotation::Grace { Duration::from_secs(30) } else { Duration::ZERO };
        Profile { rotation, grace, ask_again, ..profile::load("generic").unwrap() }
    }

    #[test]
    fn each_kind_of_provider_is_asked_again_in_its_own_way() {
        let sent: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let again = |millis| Settlement::Again(Duration::from_millis(millis));
        for (rotation, unanswered, after, expected) in [
            (Rotation::SingleUse, 1, 0, again(2000)),
            (Rotation::SingleUse, 2, 0, Settlement::NextPass),
            (Rotation::Grace, 1, 0, again(0)),
            (Rotation::Grace, 2, 1, again(250)),
            (Rotation::Grace, 4, 1, again(1000)),
            (Rotation::Grace, 14, 29, again(5000)),
            (Rotation::Grace, 15, 29, Settlement::NextPass),
            (Rotation::Grace, 1, 30, again(2000)),
            (Rotation::Grace, 2, 31, Settlement::NextPass),
            (Rotation::Grace, 1, -1, again(2000)),
        ] {
            let found = settle(
                &profile(rotation, AskAgain::Once),
                unanswered,
                sent,
                sent + TimeDelta::seconds(after),
            );
            assert_eq!(found, expected, "{rotation:?} {unanswered} {after}");
        }
    }

    #[test]
    fn a_provider_that_punishes_reuse_is_shown_an_old_token_within_its_grace_only() {
        let sent: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        for (rotation, ask_again, after, expected) in [
            (Rotation::SingleUse, AskAgain::Once, 1000, true),
            (Rotation::SingleUse, AskAgain::Never, 0, false),
            (Rotation::Grace, AskAgain::Never, 29, true),
            (Rotation::Grace, AskAgain::Never, 30, false),
            (Rotation::Grace, AskAgain::Once, 30, true),
            (Rotation::None, AskAgain::Never, 1000, true),
        ] {
            let now = sent + TimeDelta::seconds(after);
            assert_eq!(
                may_be_sent_again(&profile(rotation, ask_again), sent, now),
                expected,
                "{rotation:?} {after}"
            );
        }
    }
}
