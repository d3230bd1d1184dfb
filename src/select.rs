//! What is due, in which order: the pull side. Documents are read and claimed only as
//! fast as the gate takes tokens.

mod again;
mod claims;
mod flow;
mod foresee;
mod looks;
mod new_login;
mod page;
mod takeover;
mod terms;
mod void;

use crate::clock::{ReadAt, Timestamp};
use crate::provider::{AskAgain, Profile, Rotation};
use crate::schedule::LateAccess;
use crate::store::Unwritable;
use crate::token::{Bookkeeping, Code, DueToken, Evidence, State, TokenDocument};

pub use again::Again;
pub use claims::Claims;
pub use flow::{FRESH_FOR, Flow};
pub use foresee::{Foresight, Intended};
pub use looks::next_look;
pub use new_login::new_login_at;
pub use page::sendable;
pub use takeover::{Others, claimed_at};
pub use terms::{ClaimTerms, LEASES_AFTER_A_LEAP, page_limit};
pub use void::Latest;

/// What a document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    /// Claim it, and redeem its token (or name it as malformed).
    Claim,
    /// Nothing has changed since it was marked; it is only counted, and named again.
    Known,
}

/// Decides what a document asks for, by its provider's profile of today.
///
/// With `force` every token is asked for again, dead or not; but not one that [`Code::NotAskedAgain`] speaks of, as long as
/// the profile forbids it. Without, one that [`Code::AlreadyRedeemed`] speaks of is asked for again where the profile says by
/// now that the provider takes it, and any other where a [new login](new_login_at) is to be asked for by `now`.
#[must_use]
pub fn select(document: &TokenDocument, force: bool, profile: Option<&Profile>, now: Timestamp) -> Selected {
    let bookkeeping = &document.bookkeeping;
    let speaks_of = |code| bookkeeping.last_error.as_ref().is_some_and(|error| error.code.is(code));
    let known = match (&document.refresh_token, bookkeeping.state) {
        (Ok(token), State::NeedsLogin | State::LostInFlight) => {
            let is_spared = profile.is_some_and(|profile| profile.ask_again == AskAgain::Never)
                && speaks_of(Code::NotAskedAgain);
            let is_taken = profile.is_some_and(|profile| profile.rotation == Rotation::None)
                && speaks_of(Code::AlreadyRedeemed);
            let logs_in = profile.and_then(|profile| new_login_at(document, profile));
            let is_asked = force && !is_spared || is_taken || logs_in.is_some_and(|at| at <= now);
            !is_asked && bookkeeping.fingerprint == Some(token.fingerprint())
        }
        // It wouldn't be sent anyway, and what is known of it must not be lost.
        (Err(malformed), State::NeedsLogin | State::LostInFlight) if malformed.leaves_the_token_good() => {
            true
        }
        (Err(malformed), State::Live | State::Malformed)
            if malformed.leaves_the_token_good() && is_in_doubt(bookkeeping) =>
        {
            true
        }
        (Err(malformed), State::Malformed) => {
            bookkeeping.last_error.as_ref().is_some_and(|error| error.code == *malformed.code())
        }
        (Ok(_), State::Live | State::Malformed)
        | (Err(_), State::Live | State::NeedsLogin | State::LostInFlight) => false,
    };
    if known { Selected::Known } else { Selected::Claim }
}

/// May the token have been sent, or its answer not have been read?
fn is_in_doubt(bookkeeping: &Bookkeeping) -> bool {
    bookkeeping
        .last_error
        .as_ref()
        .is_some_and(|error| error.lost.is_some() || error.class.is(Evidence::Unreadable))
}

/// Does a document fall due later than its access token asks for, because that wasn't kept good when its bookkeeping was
/// written? Only what a success has written says so: a wait after anything else has another reason.
#[must_use]
pub fn falls_due_after_its_access_token(bookkeeping: &Bookkeeping, late: &LateAccess) -> bool {
    let Bookkeeping { state, refreshed_at, due_at, access_expires_at, failures, last_error, .. } =
        bookkeeping;
    let was_success = *state == State::Live && *failures == 0 && last_error.is_none();
    let known = refreshed_at.zip(*due_at).filter(|_| was_success);
    known.is_some_and(|(issued_at, due_at)| late.is_late(issued_at, *access_expires_at, due_at))
}

/// Where a document was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Among what was due when the pass began.
    Due,
    /// By a look for what falls due while the pass runs.
    Again,
    /// Among what was marked long enough ago to be asked for once more, as [`next_look`] says.
    SecondLook,
}

/// What comes out of the store for the pipeline.
#[derive(Debug)]
pub enum Pulled {
    /// Claimed; its token goes to the gate.
    Token {
        /// The token.
        token: DueToken,
        /// When it was read.
        read_at: ReadAt,
        /// Where it was found.
        found: Found,
    },
    /// This number of the next tokens is drawn from all over what is due.
    Drawn(usize),
    /// Claimed; it holds no token that can be sent.
    Malformed(TokenDocument),
    /// Claimed; it went to another provider between the page and the claim.
    Stray(TokenDocument),
    /// Not claimed: marked before, and nothing changed.
    Known(TokenDocument),
    /// Not claimed: the process that held its claim is gone, and its journal may hold the answer.
    Waits {
        /// The document as it was read.
        document: TokenDocument,
        /// When its token is sent by itself, if ever.
        sent_at: Option<Timestamp>,
    },
    /// Not claimed: the store can't write into it; why.
    NoRoom(TokenDocument, Unwritable),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::schedule::{Schedule, Wakes};
    use crate::token::{Fingerprint, LastError, Malformed, RefreshToken, Subject, TokenId};
    use chrono::TimeDelta;
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn document(
        token: Result<&str, Malformed>,
        state: State,
        fingerprint: Option<Fingerprint>,
        code: &str,
    ) -> TokenDocument {
        let last_error = Some(LastError {
            class: "c".into(),
            code: code.into(),
            http_status: None,
            at: Timestamp::default(),
            lost: None,
        });
        TokenDocument {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            refresh_token: token.map(|token| RefreshToken::new(token.into())),
            access_token: None,
            facts: crate::token::Facts::default(),
            bookkeeping: Bookkeeping { state, fingerprint, last_error, ..Bookkeeping::default() },
        }
    }

    #[test]
    fn what_is_wrong_beside_a_good_token_hides_nothing_that_is_known_of_it() {
        let unknown = Malformed::UnknownProvider(Subject::new("elsewhere"));
        for beside in [Malformed::NoValue("shop".into()), Malformed::NoProvider, unknown] {
            for (state, known) in [
                (State::LostInFlight, Selected::Known),
                (State::NeedsLogin, Selected::Known),
                (State::Live, Selected::Claim),
            ] {
                let document = document(Err(beside.clone()), state, None, "c");
                assert_eq!(select(&document, false, None, NOW), known, "{beside:?}, {state:?}");
            }
            for state in [State::Live, State::Malformed] {
                let mut doubted = document(Err(beside.clone()), state, None, "c");
                doubted.bookkeeping.last_error.as_mut().unwrap().class = Evidence::Unreadable.into();
                assert_eq!(select(&doubted, false, None, NOW), Selected::Known, "{beside:?}, {state:?}");
            }
        }
        let missing = document(Err(Malformed::Missing), State::LostInFlight, None, "c");
        assert_eq!(select(&missing, false, None, NOW), Selected::Claim, "the token itself is gone");
    }

    #[test]
    fn a_dead_token_is_asked_for_again_only_when_it_changed_or_by_force() {
        let dead = Some(RefreshToken::new("dead".into()).fingerprint());
        for (token, state, fingerprint, force, expected) in [
            (Ok("dead"), State::NeedsLogin, dead, false, Selected::Known),
            (Ok("dead"), State::LostInFlight, dead, false, Selected::Known),
            (Ok("dead"), State::NeedsLogin, dead, true, Selected::Claim),
            (Ok("new login"), State::NeedsLogin, dead, false, Selected::Claim),
            (Ok("dead"), State::NeedsLogin, None, false, Selected::Claim),
            (Ok("dead"), State::Live, dead, false, Selected::Claim),
            (Ok("mended"), State::Malformed, None, false, Selected::Claim),
            (Err(Malformed::Null), State::Malformed, None, false, Selected::Known),
            (Err(Malformed::Empty), State::Malformed, None, false, Selected::Claim),
            (Err(Malformed::Null), State::Live, None, false, Selected::Claim),
        ] {
            let document = document(token.clone(), state, fingerprint, "null");
            assert_eq!(select(&document, force, None, NOW), expected, "{token:?} {state:?} {force}");
        }
    }

    #[test]
    fn a_mark_that_the_settings_of_today_contradict_is_asked_and_one_that_they_forbid_is_not() {
        let dead = Some(RefreshToken::new("dead".into()).fingerprint());
        for (rotation, ask_again, code, force, expected) in [
            (Rotation::SingleUse, AskAgain::Once, "already_redeemed", false, Selected::Known),
            (Rotation::Grace, AskAgain::Once, "already_redeemed", false, Selected::Known),
            (Rotation::None, AskAgain::Once, "already_redeemed", false, Selected::Claim),
            (Rotation::None, AskAgain::Once, "invalid_grant", false, Selected::Known),
            (Rotation::SingleUse, AskAgain::Once, "not_asked_again", true, Selected::Claim),
            (Rotation::SingleUse, AskAgain::Never, "not_asked_again", true, Selected::Known),
            (Rotation::SingleUse, AskAgain::Never, "invalid_grant", true, Selected::Claim),
        ] {
            let profile = Profile { rotation, ask_again, ..profile::load("generic").unwrap() };
            let document = document(Ok("dead"), State::NeedsLogin, dead, code);
            let asked = select(&document, force, Some(&profile), NOW);
            assert_eq!(asked, expected, "{rotation:?} {ask_again:?} {code} {force}");
        }
    }

    #[test]
    fn what_a_success_has_put_off_beyond_the_last_wake_in_time_is_late_for_its_access_token() {
        let wake: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let at = |minutes: Option<i64>| minutes.map(|minutes| wake + TimeDelta::minutes(minutes));
        let schedule = Schedule::parse("every 10min", "UTC", wake).unwrap();
        let late = LateAccess {
            wakes: Arc::new(Wakes::new(schedule, wake)),
            margin: Duration::from_mins(1),
            life: Some(Duration::from_mins(40)),
        };
        let live = || (State::Live, 0, None);
        let refused = LastError {
            class: "c".into(),
            code: "c".into(),
            http_status: None,
            at: Timestamp::default(),
            lost: None,
        };
        for (refreshed, due, ends, (state, failures, last_error), expected) in [
            (Some(0), Some(60 * 24), Some(30), live(), true),
            (Some(0), Some(21), Some(30), live(), true),
            (Some(0), Some(20), Some(30), live(), false),
            // What the settings say, where no answer did.
            (Some(0), Some(60 * 24), None, live(), true),
            (Some(0), Some(30), None, live(), false),
            (Some(0), None, Some(30), live(), false),
            (None, Some(60 * 24), Some(30), live(), false),
            // It waits for another reason.
            (Some(0), Some(60 * 24), Some(30), (State::Live, 1, None), false),
            (Some(0), Some(60 * 24), Some(30), (State::Live, 0, Some(refused)), false),
            (Some(0), Some(60 * 24), Some(30), (State::NeedsLogin, 0, None), false),
        ] {
            let bookkeeping = Bookkeeping {
                state,
                failures,
                last_error,
                refreshed_at: at(refreshed),
                due_at: at(due),
                access_expires_at: at(ends),
                ..Bookkeeping::default()
            };
            assert_eq!(
                falls_due_after_its_access_token(&bookkeeping, &late),
                expected,
                "{refreshed:?} {due:?} {ends:?} {failures}"
            );
        }
    }
}
