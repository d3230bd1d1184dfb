//! A token that was rotated: what came for it, and how long it is worth remembering.

use crate::journal::Event;
use crate::provider::{AskAgain, Profile};
use crate::token::{Bookkeeping, Fingerprint};
use std::time::Duration;

/// The event of a row whose token was rotated into `successor`. The bookkeeping of its document, before and after, may say
/// how long such tokens live.
pub(super) fn rotated(successor: Fingerprint, profile: Option<&Profile>, books: &[&Bookkeeping]) -> Event {
    Event::Redeemed { successor, life: profile.and_then(|profile| life(profile, books)) }
}

/// The longest life of such a token that is known, by the settings or by what the provider said; `None` where its provider
/// must never see it again, not even out of a backup of last year.
fn life(profile: &Profile, books: &[&Bookkeeping]) -> Option<Duration> {
    if profile.ask_again == AskAgain::Never {
        return None;
    }
    let said = books.iter().filter_map(|books| {
        let life = books.refresh_expires_at? - books.refreshed_at?;
        life.to_std().ok()
    });
    said.chain(profile.refresh_token_lifetime).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::provider::profile;
    use chrono::TimeDelta;

    #[test]
    fn the_longest_life_that_is_known_counts_and_none_where_reuse_is_punished() {
        let books = |days: Option<i64>| Bookkeeping {
            refreshed_at: Some(Timestamp::default()),
            refresh_expires_at: days.map(|days| Timestamp::default() + TimeDelta::days(days)),
            ..Bookkeeping::default()
        };
        let days = |days: u64| Duration::from_hours(24 * days);
        for (configured, never, before, after, expected) in [
            (Some(14), false, None, None, Some(14)),
            (Some(14), false, Some(60), Some(3), Some(60)),
            (None, false, None, Some(30), Some(30)),
            (None, false, Some(-1), None, None),
            (None, false, None, None, None),
            (Some(14), true, Some(60), Some(3), None),
        ] {
            let profile = Profile {
                refresh_token_lifetime: configured.map(days),
                ask_again: if never { AskAgain::Never } else { AskAgain::Once },
                ..profile::load("generic").unwrap()
            };
            let told = life(&profile, &[&books(before), &books(after)]);
            assert_eq!(told, expected.map(days), "{configured:?} {never} {before:?} {after:?}");
        }
    }
}
