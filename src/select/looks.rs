//! Second looks: a mark is a finding, not a sentence. A login may be suspended for a while, and a provider may err twice.
//!
//! | `rotation` | after the mark its token is sent again after |
//! |---|---|
//! | `none` | 1, 7 and 30 days |
//! | `grace`, `single_use` | 7 days |
//!
//! Never with `ask_again = "never"` or `second_looks = "none"`, and only where it was the provider's answer alone that made the
//! mark: not a token that may have been spent. When each look is due follows from the mark and the last refusal.

use crate::clock::Timestamp;
use crate::provider::{AskAgain, Profile, Rotation, SecondLooks};
use crate::token::{Bookkeeping, Code, Evidence, State};
use chrono::TimeDelta;

/// Most looks of one pass: of each the `_id` is remembered until all others were asked.
pub(super) const MOST_LOOKS: usize = 1000;

/// When the token of a marked document is sent again by itself, if ever: the first look after its last refusal.
#[must_use]
pub fn next_look(bookkeeping: &Bookkeeping, profile: &Profile) -> Option<Timestamp> {
    let after: &[i64] = match profile.rotation {
        _ if profile.ask_again == AskAgain::Never || profile.second_looks == SecondLooks::None => &[],
        Rotation::None => &[1, 7, 30],
        Rotation::SingleUse | Rotation::Grace => &[7],
    };
    let (since, refused) = (bookkeeping.since?, bookkeeping.last_error.as_ref()?);
    let is_refusal = refused.class.is(Evidence::Refused) || refused.class.is(Evidence::Suspected);
    let is_without_request = refused.code.is(Code::AlreadyRedeemed) || refused.code.is(Code::NotAskedAgain);
    if bookkeeping.state != State::NeedsLogin || !is_refusal || is_without_request || refused.lost.is_some() {
        return None;
    }
    let look = after.iter().map(|days| since + TimeDelta::days(*days)).find(|look| *look > refused.at)?;
    bookkeeping.refresh_expires_at.is_none_or(|end| look < end).then_some(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::token::{LastError, Lost};

    fn day(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(days)
    }

    /// Marked on day 0, and refused on this day for the last time.
    fn marked(refused_on: i64) -> Bookkeeping {
        let (class, code) = (Evidence::Refused.into(), "invalid_grant".into());
        let last_error =
            Some(LastError { class, code, http_status: Some(400), at: day(refused_on), lost: None });
        Bookkeeping { state: State::NeedsLogin, since: Some(day(0)), last_error, ..Bookkeeping::default() }
    }

    fn profile(rotation: Rotation, ask_again: AskAgain, second_looks: SecondLooks) -> Profile {
        Profile { rotation, ask_again, second_looks, ..profile::load("generic").unwrap() }
    }

    #[test]
    fn looks_follow_the_mark_as_the_provider_takes_them() {
        use AskAgain::{Never, Once};
        for (rotation, ask_again, second_looks, expected) in [
            (Rotation::None, Once, SecondLooks::Usual, &[1, 7, 30][..]),
            (Rotation::Grace, Once, SecondLooks::Usual, &[7]),
            (Rotation::SingleUse, Once, SecondLooks::Usual, &[7]),
            (Rotation::SingleUse, Never, SecondLooks::Usual, &[]),
            (Rotation::None, Never, SecondLooks::Usual, &[]),
            (Rotation::None, Once, SecondLooks::None, &[]),
        ] {
            let profile = profile(rotation, ask_again, second_looks);
            let (mut refused_on, mut looks) = (0, Vec::new());
            while let Some(look) = next_look(&marked(refused_on), &profile) {
                refused_on = (look - day(0)).num_days();
                looks.push(refused_on);
            }
            assert_eq!(looks, expected, "{rotation:?} {ask_again:?} {second_looks:?}");
        }
    }

    #[test]
    fn only_what_a_refusal_alone_has_marked_is_looked_at_again_and_not_beyond_its_end() {
        let profile = profile(Rotation::SingleUse, AskAgain::Once, SecondLooks::Usual);
        let look = |books: Bookkeeping| next_look(&books, &profile).map(|look| (look - day(0)).num_days());
        let with = |change: fn(&mut LastError)| {
            let mut books = marked(0);
            change(books.last_error.as_mut().unwrap());
            books
        };
        let lost = |error: &mut LastError| {
            let cause = "timeout".into();
            error.lost =
                Some(Lost { cause, sent_at: None, peer: None, received_bytes: 0, turned_away: false });
        };
        assert_eq!(look(marked(0)), Some(7));
        assert_eq!(look(marked(5)), Some(7), "asked by force meanwhile");
        assert_eq!(look(marked(8)), None);
        assert_eq!(look(Bookkeeping { refresh_expires_at: Some(day(8)), ..marked(0) }), Some(7));
        assert_eq!(look(Bookkeeping { refresh_expires_at: Some(day(7)), ..marked(0) }), None);
        assert_eq!(look(Bookkeeping { state: State::LostInFlight, ..marked(0) }), None);
        assert_eq!(look(Bookkeeping { state: State::Live, ..marked(0) }), None);
        assert_eq!(look(with(lost)), None);
        assert_eq!(look(with(|error| error.code = Code::AlreadyRedeemed.into())), None);
        assert_eq!(look(with(|error| error.class = Evidence::Unlisted.into())), None);
    }
}
