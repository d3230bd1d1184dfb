//! What becomes of a claim that ended: rotation × `ask_again` × grace × life × whose × time.

use super::*;
use crate::provider::profile;
use crate::token::{Bookkeeping, Facts, Subject};
use AskAgain::{Never, Once};
use Holder::{AnotherJournal, GivenUp, ThisJournal};
use Rotation::{Grace, None as NoRotation, SingleUse};

const SINCE: Timestamp = Timestamp::UNIX_EPOCH;

fn at(minutes: i64) -> Timestamp {
    SINCE + TimeDelta::minutes(minutes)
}

fn wait(minutes: i64) -> Takeover {
    Takeover::Wait { sent_at: Some(at(minutes)) }
}

#[test]
fn a_token_of_another_journal_is_sent_where_that_does_no_harm_and_else_it_waits() {
    const NEVER: Takeover = Takeover::Wait { sent_at: None };
    const DAY: i64 = 24 * 60;
    let (unknown, until, expected) =
        (Life::Unknown, |end| Life::Until(at(end)), |end| Life::Expected(at(end)));
    // Claimed at 0, ended after 10 minutes; a grace is 30 minutes.
    for (by, rotation, ask_again, life, now, becomes) in [
        (ThisJournal, SingleUse, Once, unknown, 20, Takeover::Send),
        (ThisJournal, SingleUse, Never, unknown, 20, Takeover::Send),
        (GivenUp, SingleUse, Once, unknown, 20, Takeover::Send),
        (GivenUp, SingleUse, Never, until(1000), 20, Takeover::Send),
        (AnotherJournal, NoRotation, Once, unknown, 20, Takeover::Send),
        (AnotherJournal, NoRotation, Never, until(1000), 20, Takeover::Send),
        (AnotherJournal, Grace, Once, unknown, 29, Takeover::Send),
        (AnotherJournal, Grace, Never, unknown, 29, Takeover::Send),
        (AnotherJournal, Grace, Once, unknown, 30, wait(10 + DAY)),
        (AnotherJournal, Grace, Once, unknown, -1, wait(10 + DAY)),
        (AnotherJournal, Grace, Never, until(1000), 30, NEVER),
        (AnotherJournal, SingleUse, Once, unknown, 20, wait(10 + DAY)),
        (AnotherJournal, SingleUse, Once, unknown, 9 + DAY, wait(10 + DAY)),
        (AnotherJournal, SingleUse, Once, unknown, 10 + DAY, Takeover::Send),
        (AnotherJournal, SingleUse, Once, until(1010), 509, wait(510)),
        (AnotherJournal, SingleUse, Once, until(1010), 510, Takeover::Send),
        (AnotherJournal, SingleUse, Once, expected(1010), 509, wait(510)),
        (AnotherJournal, SingleUse, Once, expected(1010), 510, Takeover::Send),
        // It had ended before the claim did: there is nothing to wait for.
        (AnotherJournal, SingleUse, Once, until(5), 20, Takeover::Send),
        (AnotherJournal, SingleUse, Never, until(1010), 1009, NEVER),
        (AnotherJournal, SingleUse, Never, until(1010), 1010, Takeover::TooLate { sent_at: SINCE }),
        (AnotherJournal, SingleUse, Never, expected(1010), 2000, NEVER),
        (AnotherJournal, SingleUse, Never, unknown, 100 * DAY, NEVER),
    ] {
        let grace = Duration::from_mins(30);
        let profile = Profile { rotation, grace, ask_again, ..profile::load("generic").unwrap() };
        let found = takeover(by, Some(&profile), (SINCE, at(10)), life, at(now));
        assert_eq!(found, becomes, "{by:?} {rotation:?} {ask_again:?} {life:?} at {now}");
    }
    let stranger = takeover(AnotherJournal, None, (SINCE, at(10)), unknown, at(20));
    assert_eq!(stranger, wait(10 + DAY), "nobody knows how its provider rotates");
}

#[test]
fn a_life_is_known_where_the_bookkeeping_speaks_of_the_token() {
    let hours = |hours| Some(Duration::from_hours(hours));
    for (token, expires, refreshed, of_profile, learned, becomes) in [
        ("this", Some(9), Some(0), hours(1), hours(2), Life::Until(at(9))),
        ("this", None, Some(0), hours(1), hours(2), Life::Until(at(60))),
        ("this", None, Some(0), None, hours(2), Life::Expected(at(120))),
        ("this", None, None, hours(1), hours(2), Life::Unknown),
        ("this", None, Some(0), None, None, Life::Unknown),
        ("another", Some(9), Some(0), hours(1), hours(2), Life::Unknown),
    ] {
        let document = TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            refresh_token: Ok(RefreshToken::new(token.into())),
            access_token: None,
            facts: Facts::default(),
            bookkeeping: Bookkeeping {
                fingerprint: Some(RefreshToken::new("this".into()).fingerprint()),
                refresh_expires_at: expires.map(at),
                refreshed_at: refreshed.map(at),
                ..Bookkeeping::default()
            },
        };
        let profile = Profile { refresh_token_lifetime: of_profile, ..profile::load("generic").unwrap() };
        assert_eq!(life(&document, Some(&profile), learned), becomes, "{token} {expires:?} {refreshed:?}");
    }
}
