//! Logins that end soon: each report names them, among the documents that the pass has written.

use super::Line;
use super::landed::Landed;
use crate::clock::Timestamp;
use crate::report::Ending;
use crate::store::Change;
use crate::token::State;
use chrono::TimeDelta;

impl Line {
    /// Names a document that was written, if its login ends soon.
    pub(super) fn tell_ending(&self, landed: &Landed) {
        let now = self.base.clock.now();
        let soon = TimeDelta::from_std(self.base.settings.ending_within).unwrap_or(TimeDelta::MAX);
        let until = now.checked_add_signed(soon).unwrap_or(Timestamp::MAX_UTC);
        if let Some(ends_at) = landed.change().and_then(|change| end_until(change, until)) {
            self.report.ending(Ending {
                id: landed.id.clone(),
                subject: landed.subject.clone(),
                provider: landed.provider.clone(),
                ends_at,
            });
        }
    }
}

/// When the login of this document ends, if that is known, and is at `until` or before.
fn end_until(change: &Change, until: Timestamp) -> Option<Timestamp> {
    let books = &change.bookkeeping;
    let end = books.login_ends_at.filter(|end| *end <= until && books.state == State::Live)?;
    // A refresh after that moment has shown that the login lives on.
    let is_past = books.refreshed_at.is_some_and(|at| at >= end);
    let pair = change.pair.as_ref().map(|pair| &pair.refresh_token);
    let token = pair.or(change.expect_refresh_token.as_ref())?;
    // A claim that is given back leaves the bookkeeping as it was, which may be of an earlier login.
    (!is_past && books.fingerprint == Some(token.fingerprint())).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{PairChange, Replaces};
    use crate::token::{Bookkeeping, RefreshToken, TokenId};

    fn token(text: &str) -> RefreshToken {
        RefreshToken::new(text.to_owned())
    }

    #[test]
    fn an_end_is_told_that_is_soon_and_of_the_token_that_stands_there_now() {
        let at = |day: i64| Timestamp::default() + TimeDelta::days(day);
        let books = Bookkeeping {
            fingerprint: Some(token("new").fingerprint()),
            refreshed_at: Some(at(1)),
            login_ends_at: Some(at(5)),
            ..Bookkeeping::default()
        };
        let change = Change {
            id: TokenId::from_extended_json("1"),
            expect_refresh_token: Some(token("old")),
            expect_lease: crate::store::Fence::None,
            pair: Some(PairChange {
                refresh_token: token("new"),
                access_token: None,
                also: Vec::new(),
                replaces: Replaces::Any,
            }),
            bookkeeping: books.clone(),
        };
        assert_eq!((end_until(&change, at(5)), end_until(&change, at(4))), (Some(at(5)), None));
        let given_back =
            |expected| Change { pair: None, expect_refresh_token: Some(expected), ..change.clone() };
        assert_eq!(end_until(&given_back(token("new")), at(5)), Some(at(5)));
        assert_eq!(end_until(&given_back(token("old")), at(5)), None, "the end is of an earlier login");
        for bookkeeping in [
            Bookkeeping { login_ends_at: None, ..books.clone() },
            Bookkeeping { state: State::NeedsLogin, ..books.clone() },
            Bookkeeping { refreshed_at: Some(at(5)), ..books },
        ] {
            assert_eq!(end_until(&Change { bookkeeping, ..change.clone() }, at(5)), None);
        }
    }
}
