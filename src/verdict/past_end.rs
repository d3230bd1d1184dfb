//! What an answer that nothing in the profile knows means for a token whose own end is past.

use crate::clock::Timestamp;
use crate::grant::answer::{Class, Reading};
use crate::provider::{AskAgain, Profile, Rotation};
use crate::token::{Code, DueToken};
use chrono::TimeDelta;

/// How long the end must be past: clocks of two machines differ.
const CERTAINLY_PAST: TimeDelta = TimeDelta::minutes(1);

/// The reading of an answer for this token: suspected, where nothing in the profile knows the answer, the profile asks for
/// the token's own end, and that is past.
#[must_use]
pub fn past_end(reading: Reading, token: &DueToken, profile: &Profile) -> Reading {
    let Some(answered_at) = reading.unknown_at else { return reading };
    // A 5xx may be a lost answer, and this provider is never shown such a token again.
    let is_left_alone = reading.http_status.is_some_and(|status| status >= 500)
        && profile.rotation != Rotation::None
        && profile.ask_again == AskAgain::Never;
    let is_past = own_end(token).is_some_and(|end| answered_at - end > CERTAINLY_PAST);
    if is_past && !is_left_alone {
        Reading { class: Class::Suspected, code: Code::PastEnd.word().to_owned(), ..reading }
    } else {
        reading
    }
}

/// When the token in the document ends, as far as anything says: what was written when it came, else the token itself; and
/// no later than its login, where the document says when that ends. An end that a later success has proved wrong is none:
/// an application may write the end of a login once, and never again.
fn own_end(token: &DueToken) -> Option<Timestamp> {
    let books = &token.bookkeeping;
    let is_of_this_token = books.fingerprint == Some(token.refresh_token.fingerprint());
    let was_outlived = |end: &Timestamp| books.refreshed_at.is_some_and(|refreshed_at| *end <= refreshed_at);
    let noted = books.refresh_expires_at.filter(|end| is_of_this_token && !was_outlived(end));
    let own = || token.refresh_token.ends_at().filter(|end| !(is_of_this_token && was_outlived(end)));
    let login_ends_at = token.facts.login_ends_at.filter(|end| !was_outlived(end));
    noted.or_else(own).into_iter().chain(login_ends_at).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::token::jwt::tests::jwt;
    use crate::token::{Bookkeeping, RefreshToken, Subject, TokenId};

    #[test]
    fn only_a_token_whose_own_end_is_past_is_suspected() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let at = |seconds: i64| now + TimeDelta::seconds(seconds);
        let opaque = || "opaque".to_owned();
        let ends = |seconds| jwt(&format!(r#"{{"exp":{}}}"#, at(seconds).timestamp()));
        let code = |token: String, books: Option<(&str, i64)>, status, rotation, ask_again| {
            let token = RefreshToken::new(token);
            let bookkeeping = Bookkeeping {
                fingerprint: books.map(|(of, _)| match of {
                    "this" => token.fingerprint(),
                    other => RefreshToken::new(other.into()).fingerprint(),
                }),
                refresh_expires_at: books.map(|(_, end)| at(end)),
                ..Bookkeeping::default()
            };
            let id = TokenId::from_extended_json("1");
            let token = DueToken {
                id,
                subject: Subject::new("a"),
                refresh_token: token,
                bookkeeping,
                access_token: None,
                facts: crate::token::Facts::default(),
            };
            let reading = Reading {
                unknown_at: Some(now),
                ..Reading::new(Class::Ambiguous, "http_500", Some(status), false)
            };
            let profile = Profile { rotation, ask_again, ..profile::load("generic").unwrap() };
            past_end(reading, &token, &profile).code
        };
        let usual = |token, books| code(token, books, 500, Rotation::SingleUse, AskAgain::Once);
        for (found, expected) in [
            (usual(opaque(), Some(("this", -61))), "past_end"),
            (usual(opaque(), Some(("this", -60))), "http_500"),
            (usual(opaque(), Some(("this", 5))), "http_500"),
            (usual(opaque(), Some(("another", -9000))), "http_500"),
            (usual(opaque(), None), "http_500"),
            (usual(ends(-61), None), "past_end"),
            (usual(ends(-59), None), "http_500"),
            (usual(ends(-61), Some(("another", 5))), "past_end"),
            (usual(ends(-61), Some(("this", 5))), "http_500"),
            (code(ends(-61), None, 500, Rotation::SingleUse, AskAgain::Never), "http_500"),
            (code(ends(-61), None, 401, Rotation::SingleUse, AskAgain::Never), "past_end"),
            (code(ends(-61), None, 500, Rotation::None, AskAgain::Never), "past_end"),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_end_that_a_success_has_outlived_is_none() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let days_ago = |days: i64| now - TimeDelta::days(days);
        let ends = |days| jwt(&format!(r#"{{"exp":{}}}"#, days_ago(days).timestamp()));
        let code = |token: &str, of: &str, refreshed: Option<i64>, noted: Option<i64>, login: Option<i64>| {
            let refresh_token = RefreshToken::new(token.to_owned());
            let token = DueToken {
                id: TokenId::from_extended_json("1"),
                subject: Subject::new("a"),
                bookkeeping: Bookkeeping {
                    fingerprint: Some(RefreshToken::new(of.to_owned()).fingerprint()),
                    refreshed_at: refreshed.map(days_ago),
                    refresh_expires_at: noted.map(days_ago),
                    ..Bookkeeping::default()
                },
                refresh_token,
                access_token: None,
                facts: crate::token::Facts {
                    login_ends_at: login.map(days_ago),
                    ..crate::token::Facts::default()
                },
            };
            let unknown = Reading {
                unknown_at: Some(now),
                ..Reading::new(Class::Unlisted, "http_401", Some(401), true)
            };
            past_end(unknown, &token, &profile::load("generic").unwrap()).code
        };
        let jwt = ends(5);
        for (token, of, refreshed, noted, login, expected) in [
            // The login's end was written once; the last success is later.
            ("a", "a", Some(3), None, Some(4), "http_401"),
            ("a", "a", Some(3), None, Some(3), "http_401"),
            ("a", "a", Some(3), None, Some(2), "past_end"),
            ("a", "a", None, None, Some(4), "past_end"),
            // That success is said of the document's login, whatever token it has now.
            ("a", "another", Some(3), None, Some(4), "http_401"),
            ("a", "a", Some(3), Some(4), None, "http_401"),
            ("a", "a", Some(3), Some(2), Some(4), "past_end"),
            (&jwt, &jwt, Some(3), None, None, "http_401"),
            // An old token that came back has the end that it always had.
            (&jwt, "another", Some(3), None, None, "past_end"),
        ] {
            assert_eq!(
                code(token, of, refreshed, noted, login),
                expected,
                "{of} {refreshed:?} {noted:?} {login:?}"
            );
        }
    }

    #[test]
    fn an_answer_that_is_known_stays_what_it_is() {
        let token = DueToken {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            refresh_token: RefreshToken::new(jwt(r#"{"exp":1}"#)),
            bookkeeping: Bookkeeping::default(),
            access_token: None,
            facts: crate::token::Facts::default(),
        };
        let known = Reading::new(Class::Transient, "http_503", Some(503), true);
        let profile = profile::load("generic").unwrap();
        assert_eq!(past_end(known.clone(), &token, &profile), known);
    }
}
