use super::*;
use crate::provider::profile;
use crate::token::jwt::tests::jwt;
use crate::token::{AccessToken, Bookkeeping, RefreshToken, Subject, TokenId};
use proptest::prelude::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    now() + TimeDelta::seconds(seconds)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

fn a_third() -> RenewAfter {
    "1/3".parse().unwrap()
}

/// A success for the token `old`, whose bookkeeping is its own.
struct Case {
    sent: String,
    came: Option<String>,
    rotation: Rotation,
    slides: Option<i64>,
    login_lifetime: Option<i64>,
    says: [Option<i64>; 3],
    books: Option<Bookkeeping>,
    login_ends_at: Option<i64>,
    logged_in_at: Option<i64>,
    /// Seconds by which our clock was ahead of the provider's.
    clock_ahead: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            sent: "old".into(),
            came: Some("new".into()),
            rotation: Rotation::SingleUse,
            slides: None,
            login_lifetime: None,
            says: [Some(HOUR), None, None],
            books: None,
            login_ends_at: None,
            logged_in_at: None,
            clock_ahead: 0,
        }
    }
}

impl Case {
    fn lives(self) -> Lives {
        let refresh_token = RefreshToken::new(self.sent);
        let books = self.books.unwrap_or_default();
        let bookkeeping = Bookkeeping { fingerprint: Some(refresh_token.fingerprint()), ..books };
        let token = DueToken {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            refresh_token,
            bookkeeping,
            access_token: None,
            facts: crate::token::Facts {
                login_ends_at: self.login_ends_at.map(at),
                logged_in_at: self.logged_in_at.map(at),
                ..crate::token::Facts::default()
            },
        };
        let [expires_in, refresh_expires_in, login_expires_in] = self.says.map(|life| life.map(seconds));
        let granted = Granted {
            clock_ahead: TimeDelta::seconds(self.clock_ahead),
            access_token: AccessToken::new("a".into()),
            refresh_token: self.came.map(RefreshToken::new),
            expires_in,
            refresh_expires_in,
            login_expires_in,
            also: Vec::new(),
        };
        let profile = Profile {
            rotation: self.rotation,
            refresh_token_lifetime: self.slides.map(seconds),
            login_lifetime: self.login_lifetime.map(seconds),
            ..profile::load("generic").unwrap()
        };
        Success {
            granted: &granted,
            token: &token,
            profile: &profile,
            received_at: now(),
            assumed_life: None,
        }
        .lives(a_third(), 0.0)
    }

    /// Seconds from now until the document's end, the login's begin and end, and the next due time.
    fn told(self) -> (Option<i64>, Option<i64>, Option<i64>, i64) {
        let Lives { ends_at, login_at, login_ends_at, due_at } = self.lives();
        let after = |at: Timestamp| (at - now()).num_seconds();
        (ends_at.map(after), login_at.map(after), login_ends_at.map(after), after(due_at))
    }
}

fn noted(ends: Option<i64>, login_at: Option<i64>, login_ends: Option<i64>) -> Bookkeeping {
    Bookkeeping {
        refresh_expires_at: ends.map(at),
        login_at: login_at.map(at),
        login_ends_at: login_ends.map(at),
        refreshed_at: Some(at(-DAY)),
        ..Bookkeeping::default()
    }
}

#[test]
fn the_end_of_a_token_is_extended_only_where_that_is_known() {
    let none = Rotation::None;
    let ends = |seconds: i64| jwt(&format!(r#"{{"exp":{}}}"#, at(seconds).timestamp()));
    let case = |came: Option<&str>, slides| Case { came: came.map(str::to_owned), slides, ..Case::default() };
    for (name, case, end, due) in [
        ("unknown is due at once", case(Some("new"), None), None, 0),
        ("slides", case(Some("new"), Some(30 * DAY)), Some(30 * DAY), 10 * DAY),
        (
            "the answer says",
            Case { says: [None, Some(9 * DAY), None], ..case(None, Some(DAY)) },
            Some(9 * DAY),
            3 * DAY,
        ),
        (
            "slides, kept by design",
            Case { rotation: none, ..case(None, Some(30 * DAY)) },
            Some(30 * DAY),
            10 * DAY,
        ),
        ("the same came", case(Some("old"), Some(30 * DAY)), Some(30 * DAY), 10 * DAY),
        // A rotating provider sent none: not the end of a token that was replaced.
        ("kept", case(None, Some(30 * DAY)), None, 10 * DAY),
        (
            "kept, end known",
            Case { books: Some(noted(Some(9 * DAY), None, None)), ..case(None, Some(30 * DAY)) },
            Some(9 * DAY),
            3 * DAY,
        ),
        (
            "kept, end past",
            Case { books: Some(noted(Some(-5), None, None)), ..case(None, Some(30 * DAY)) },
            None,
            10 * DAY,
        ),
        ("the claim", Case { came: Some(ends(9 * DAY)), ..case(None, None) }, Some(9 * DAY), 3 * DAY),
        (
            "a claim of the past",
            Case { came: Some(ends(-9)), ..case(None, Some(3 * DAY)) },
            Some(3 * DAY),
            DAY,
        ),
        ("a claim of decades", Case { came: Some(ends(9999 * DAY)), ..case(None, None) }, None, 0),
    ] {
        let (found, _, login, found_due) = case.told();
        assert_eq!((found, found_due, login), (end, due, None), "{name}");
    }
}

#[test]
fn the_end_in_a_token_means_the_providers_clock_and_is_noted_by_ours() {
    let ends = |seconds: i64| jwt(&format!(r#"{{"exp":{}}}"#, at(seconds).timestamp()));
    for clock_ahead in [0, 5 * DAY, -5 * DAY] {
        // The token lives two days after the success, by the provider's clock.
        let came = Some(ends(2 * DAY - clock_ahead));
        let (ends_at, _, _, due_at) = Case { came, clock_ahead, ..Case::default() }.told();
        assert_eq!((ends_at, due_at), (Some(2 * DAY), 2 * DAY / 3), "{clock_ahead}");
        let sent = ends(2 * DAY - clock_ahead);
        let kept = Case { sent, came: None, rotation: Rotation::None, clock_ahead, ..Case::default() };
        let (ends_at, _, login_ends_at, _) = kept.told();
        assert_eq!((ends_at, login_ends_at), (Some(2 * DAY), Some(2 * DAY)), "{clock_ahead}");
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn the_end_of_a_login_is_the_first_that_is_there_and_the_earlier_end_is_the_documents() {
    let none = Rotation::None;
    let ends = |seconds: i64| jwt(&format!(r#"{{"exp":{}}}"#, at(seconds).timestamp()));
    let slides = || Case { slides: Some(30 * DAY), ..Case::default() };
    let fixed = |life| Case { login_lifetime: Some(life), ..slides() };
    for (name, case, end, login_at, login_ends, due) in [
        (
            "the document",
            Case { login_ends_at: Some(9 * DAY), says: [None, None, Some(DAY)], ..fixed(DAY) },
            9 * DAY,
            Some(-DAY),
            9 * DAY,
            3 * DAY,
        ),
        (
            "the answer",
            Case { says: [None, None, Some(6 * DAY)], ..slides() },
            6 * DAY,
            None,
            6 * DAY,
            2 * DAY,
        ),
        (
            "never a later one",
            Case {
                says: [None, None, Some(6 * DAY)],
                books: Some(noted(None, None, Some(3 * DAY))),
                ..slides()
            },
            3 * DAY,
            None,
            3 * DAY,
            DAY,
        ),
        (
            "a claim that stays",
            Case { rotation: none, came: None, sent: ends(6 * DAY), ..slides() },
            6 * DAY,
            None,
            6 * DAY,
            2 * DAY,
        ),
        (
            "logged in",
            Case { logged_in_at: Some(-DAY), ..fixed(10 * DAY) },
            9 * DAY,
            Some(-DAY),
            9 * DAY,
            3 * DAY,
        ),
        (
            "first seen then",
            Case { books: Some(noted(None, Some(-4 * DAY), None)), ..fixed(10 * DAY) },
            6 * DAY,
            Some(-4 * DAY),
            6 * DAY,
            2 * DAY,
        ),
        (
            "first known then",
            Case { books: Some(noted(None, None, None)), ..fixed(10 * DAY) },
            9 * DAY,
            Some(-DAY),
            9 * DAY,
            3 * DAY,
        ),
        (
            "noted once",
            Case { books: Some(noted(None, None, Some(3 * DAY))), ..slides() },
            3 * DAY,
            None,
            3 * DAY,
            DAY,
        ),
        (
            "the token's end is earlier",
            Case { login_ends_at: Some(90 * DAY), ..slides() },
            30 * DAY,
            None,
            90 * DAY,
            10 * DAY,
        ),
        (
            "nearly over",
            Case { login_ends_at: Some(HOUR + 60), ..slides() },
            HOUR + 60,
            None,
            HOUR + 60,
            HOUR,
        ),
        (
            "over within the access token's life",
            Case { login_ends_at: Some(60), ..slides() },
            60,
            None,
            60,
            60,
        ),
    ] {
        let case = Case { books: case.books.or_else(|| Some(noted(None, None, None))), ..case };
        assert_eq!(case.told(), (Some(end), login_at, Some(login_ends), due), "{name}");
    }
    let far = Case { login_ends_at: Some(9999 * DAY), ..slides() };
    assert_eq!(far.told(), (Some(30 * DAY), None, None, 10 * DAY), "an end beyond ten years is none");
    let replaced = Case { rotation: none, books: Some(noted(None, None, Some(3 * DAY))), ..slides() };
    assert_eq!(
        replaced.told(),
        (Some(30 * DAY), None, None, 10 * DAY),
        "that was the end of the token before"
    );
}

#[test]
fn a_login_that_was_not_ours_begins_when_it_is_first_seen() {
    let case = Case { login_lifetime: Some(10 * DAY), ..Case::default() };
    let token = DueToken {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a"),
        refresh_token: RefreshToken::new("a new login".into()),
        bookkeeping: Bookkeeping {
            fingerprint: Some(RefreshToken::new("old".into()).fingerprint()),
            ..noted(Some(DAY), Some(-9 * DAY), Some(DAY))
        },
        access_token: None,
        facts: crate::token::Facts::default(),
    };
    let profile =
        Profile { login_lifetime: case.login_lifetime.map(seconds), ..profile::load("generic").unwrap() };
    let granted = Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("a".into()),
        refresh_token: None,
        expires_in: None,
        refresh_expires_in: None,
        login_expires_in: None,
        also: Vec::new(),
    };
    let success = Success {
        granted: &granted,
        token: &token,
        profile: &profile,
        received_at: now(),
        assumed_life: None,
    };
    let lives = success.lives(a_third(), 0.0);
    assert_eq!((lives.login_at, lives.login_ends_at), (Some(now()), Some(at(10 * DAY))));
}

proptest! {
    /// However often it is refreshed, with a new token or without one, whatever the answers say.
    #[test]
    fn a_fixed_login_never_gets_a_later_end(
        lifetime in 2 * HOUR..400 * DAY,
        by in 0..3_u8,
        slides in proptest::option::of(HOUR..90 * DAY),
        rotation in prop_oneof![Just(Rotation::SingleUse), Just(Rotation::Grace), Just(Rotation::None)],
        steps in proptest::collection::vec((1..40_i64, any::<bool>(), proptest::option::of(HOUR..90 * DAY), 0..120_i64), 1..12),
        jitter in 0.0..1.0_f64,
    ) {
        let profile = Profile {
            rotation,
            refresh_token_lifetime: slides.map(seconds),
            login_lifetime: (by == 0).then(|| seconds(lifetime)),
            ..profile::load("generic").unwrap()
        };
        let mut token = DueToken {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            refresh_token: RefreshToken::new("0".into()),
            bookkeeping: Bookkeeping::default(),
            access_token: None,
facts: crate::token::Facts { login_ends_at: (by == 1).then(|| at(lifetime)), logged_in_at: None, ..crate::token::Facts::default() },
        };
        let mut received_at = now();
        let mut end: Option<Timestamp> = None;
        for (number, (part, came, says, late)) in steps.into_iter().enumerate() {
            // Some clocks and answers are late; the login ends when it does.
            let left = (at(lifetime) - received_at).num_seconds() + late;
            let granted = Granted {
                clock_ahead: chrono::TimeDelta::zero(), access_token: AccessToken::new("a".into()),
                refresh_token: came.then(|| RefreshToken::new(number.to_string())),
                expires_in: None,
                refresh_expires_in: says.map(seconds),
                login_expires_in: (by == 2 && left > 0).then(|| seconds(left)),
also: Vec::new(),
            };
            let success = Success {
                granted: &granted,
                token: &token,
                profile: &profile,
                received_at,
                assumed_life: None,
            };
            let lives = success.lives(a_third(), jitter);
            let login_ends_at = lives.login_ends_at.expect("each of these says when");
            // With no rotation and a new token, only what this answer says counts.
            let bound = if rotation == Rotation::None && came { Some(at(lifetime + 120)) } else { end };
            prop_assert!(bound.is_none_or(|bound| login_ends_at <= bound), "{login_ends_at} after {bound:?}");
            prop_assert!(lives.ends_at <= Some(login_ends_at), "the document's end is no later");
            prop_assert!(lives.due_at > received_at && lives.due_at <= login_ends_at.max(received_at + TimeDelta::hours(1)));
            end = Some(end.map_or(login_ends_at, |end| end.min(login_ends_at)));
            let new = granted.refresh_token.unwrap_or_else(|| token.refresh_token.clone());
            token.bookkeeping = Bookkeeping {
                fingerprint: Some(new.fingerprint()),
                refreshed_at: Some(received_at),
                refresh_expires_at: lives.ends_at,
                login_at: lives.login_at,
                login_ends_at: lives.login_ends_at,
                ..Bookkeeping::default()
            };
            token.refresh_token = new;
            received_at += TimeDelta::seconds(lifetime * part / 500);
        }
    }
}
