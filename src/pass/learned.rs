//! What the successes of a pass tell of the lives of a provider's tokens.

use super::Line;
use crate::clock::Timestamp;
use crate::provider::learned::Learned;
use crate::provider::{Profile, Rotation};
use crate::store::Change;

impl Line {
    /// Takes note of the lives in a change that a success has made.
    pub(super) fn learn(&self, change: &Change) {
        if let Some(counter) = self.whose.counter() {
            self.report.learned(lives_in(change, &counter.provider.profile));
        }
    }
}

/// The lives from the success on. An end that the success has not moved is no life.
fn lives_in(change: &Change, profile: &Profile) -> Learned {
    let books = &change.bookkeeping;
    let (Some(pair), Some(from)) = (&change.pair, books.refreshed_at) else { return Learned::default() };
    let life = |end: Option<Timestamp>| (end? - from).to_std().ok().filter(|life| !life.is_zero());
    let stays = change.expect_refresh_token.as_ref() == Some(&pair.refresh_token);
    let is_fixed = stays && (profile.rotation != Rotation::None || pair.refresh_token.ends_at().is_some())
        || books.login_ends_at.is_some() && books.login_ends_at == books.refresh_expires_at;
    Learned {
        refresh: life(books.refresh_expires_at.filter(|_| !is_fixed)),
        access: life(books.access_expires_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::store::{Fence, PairChange, Replaces};
    use crate::token::{Bookkeeping, RefreshToken, TokenId};
    use chrono::TimeDelta;
    use std::time::Duration;

    #[test]
    fn a_life_is_learned_from_an_end_that_a_success_has_moved() {
        let at = |hour: i64| Timestamp::default() + TimeDelta::hours(hour);
        let hours = |hours: u64| Some(Duration::from_hours(hours));
        let token = |text: &str| RefreshToken::new(text.to_owned());
        let books = Bookkeeping {
            refreshed_at: Some(at(0)),
            refresh_expires_at: Some(at(48)),
            access_expires_at: Some(at(1)),
            ..Bookkeeping::default()
        };
        let change = |new: &str, bookkeeping: &Bookkeeping| Change {
            id: TokenId::from_extended_json("1"),
            expect_refresh_token: Some(token("old")),
            expect_lease: Fence::None,
            pair: Some(PairChange {
                refresh_token: token(new),
                access_token: None,
                also: Vec::new(),
                replaces: Replaces::Any,
            }),
            bookkeeping: bookkeeping.clone(),
        };
        let profile = |rotation| Profile { rotation, ..profile::load("generic").unwrap() };
        let by_login = Bookkeeping { login_ends_at: Some(at(48)), ..books.clone() };
        let single = profile(Rotation::SingleUse);
        for (name, change, profile, refresh) in [
            ("a new token", change("new", &books), &single, hours(48)),
            ("the old one, whose end stays", change("old", &books), &single, None),
            (
                "the old one, which each success extends",
                change("old", &books),
                &profile(Rotation::None),
                hours(48),
            ),
            ("the end of the login", change("new", &by_login), &single, None),
        ] {
            assert_eq!(lives_in(&change, profile), Learned { refresh, access: hours(1) }, "{name}");
        }
        let mark = Change { pair: None, ..change("new", &books) };
        assert_eq!(lives_in(&mark, &single), Learned::default());
    }
}
