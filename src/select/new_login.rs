//! A new login beside an unchanged refresh token: the access token of a marked document has changed.
//!
//! A provider may hand out the same refresh token again when the user logs in anew. Then only the access token in the document
//! tells of it.
//!
//! | the mark | its token is sent again |
//! |---|---|
//! | nothing was sent since | at once |
//! | its token was refused since | one day after that |
//! | says that the token was redeemed before | never |
//! | any, with `ask_again = "never"` | never |
//!
//! Each refusal takes note of the access token that stands there then: only another one is another login.

use crate::clock::Timestamp;
use crate::provider::{AskAgain, Profile};
use crate::token::{Code, RefreshToken, TokenDocument};
use chrono::TimeDelta;

/// Shortest time between two requests for one marked token: an application may write a new access token every hour.
const SHORTEST_WAIT: TimeDelta = TimeDelta::days(1);

/// From when on the token of a marked document is sent again because of a new login; `None` where there is none.
#[must_use]
pub fn new_login_at(document: &TokenDocument, profile: &Profile) -> Option<Timestamp> {
    let books = &document.bookkeeping;
    let there = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    if profile.ask_again == AskAgain::Never
        || books.fingerprint != there
        || !books.has_another_access_token(document.access_token.as_ref())
    {
        return None;
    }
    let (since, last) = (books.marked_at()?, books.last_error.as_ref()?);
    if last.code.is(Code::AlreadyRedeemed) {
        return None;
    }
    Some(if last.at <= since { since } else { last.at + SHORTEST_WAIT })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::token::{AccessToken, Bookkeeping, Facts, LastError, State, Subject, TokenId};

    fn hour(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    type Change = fn(&mut TokenDocument);

    /// Marked in hour 0 beside the access token `a0`, and refused in this hour for the last time.
    fn marked(access_token: Option<&str>, refused_in: i64) -> TokenDocument {
        let refresh_token = RefreshToken::new("r".into());
        let last_error = LastError {
            class: "refused".into(),
            code: "invalid_grant".into(),
            http_status: Some(400),
            at: hour(refused_in),
            lost: None,
        };
        let bookkeeping = Bookkeeping {
            state: State::NeedsLogin,
            since: Some(hour(0)),
            fingerprint: Some(refresh_token.fingerprint()),
            access_fingerprint: Some(AccessToken::new("a0".into()).fingerprint()),
            last_error: Some(last_error),
            ..Bookkeeping::default()
        };
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            refresh_token: Ok(refresh_token),
            access_token: access_token.map(|token| AccessToken::new(token.into())),
            facts: Facts::default(),
            bookkeeping,
        }
    }

    #[test]
    fn a_changed_access_token_is_a_new_login_once_a_day() {
        let profile = profile::load("generic").unwrap();
        let never = Profile { ask_again: AskAgain::Never, ..profile.clone() };
        let as_it_is: Change = |_| {};
        for (name, access_token, refused_in, profile, change, expected) in [
            ("at once", Some("a1"), 0, &profile, as_it_is, Some(0)),
            ("a day after the last refusal", Some("a1"), 5, &profile, as_it_is, Some(29)),
            ("the same access token", Some("a0"), 0, &profile, as_it_is, None),
            ("no access token now", None, 0, &profile, as_it_is, None),
            ("reuse is punished", Some("a1"), 0, &never, as_it_is, None),
            (
                "none when it was marked",
                Some("a1"),
                0,
                &profile,
                |document| document.bookkeeping.access_fingerprint = None,
                None,
            ),
            (
                "redeemed before",
                Some("a1"),
                0,
                &profile,
                |document| {
                    document.bookkeeping.last_error.as_mut().unwrap().code = Code::AlreadyRedeemed.into();
                },
                None,
            ),
            (
                "lost in flight",
                Some("a1"),
                0,
                &profile,
                |document| document.bookkeeping.state = State::LostInFlight,
                Some(0),
            ),
            ("live", Some("a1"), 0, &profile, |document| document.bookkeeping.state = State::Live, None),
            (
                "another refresh token",
                Some("a1"),
                0,
                &profile,
                |document| document.refresh_token = Ok(RefreshToken::new("r1".into())),
                None,
            ),
        ] {
            let mut document = marked(access_token, refused_in);
            change(&mut document);
            assert_eq!(new_login_at(&document, profile), expected.map(hour), "{name}");
        }
    }
}
