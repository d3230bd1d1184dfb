//! May this token be sent? What the journal and the document say before the request.

use super::case::{Fact, Redeemed};
use crate::clock::Timestamp;
use crate::journal::Permission;
use crate::provider::{AskAgain, Profile, Rotation};
use crate::token::{Code, DueToken, Evidence, LastError, Lost, Reason, TokenId};
use chrono::TimeDelta;
use std::collections::BTreeSet;

/// What the journal's permission means for a document's token.
#[derive(Debug)]
pub enum Turn {
    /// It may be sent: the intent is recorded.
    Recorded,
    /// It was redeemed, and its provider takes it all the same: it may be sent, once the intent is recorded.
    AskAllTheSame,
    /// Another document's request for the same token is on its way: this one waits for it.
    StepAside,
    /// It isn't sent.
    Ends(Fact),
}

/// What is known of the document for which a token was redeemed, where that is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct First {
    /// Is it claimed now?
    pub is_claimed: bool,
    /// Does it hold the pair that came for the token, so that it can be copied?
    pub has_pair: bool,
    /// Has the journal the pair, and does another access token stand beside the token than when that was sent?
    pub is_new_login: bool,
}

/// Whose turn is it?
#[must_use]
pub fn may_go(
    permission: &Permission,
    document: &TokenId,
    found: First,
    profile: &Profile,
    now: Timestamp,
) -> Turn {
    match permission {
        Permission::Send { .. } => Turn::Recorded,
        // Its own answer is in the journal, and recovery couldn't bring it into the document.
        Permission::InFlight(first) if first == document => Turn::Ends(Fact::Waits(Reason::Held)),
        Permission::InFlight(_) => Turn::StepAside,
        Permission::Unread => Turn::Ends(Fact::Waits(Reason::UnreadAnswer)),
        Permission::AlreadyRedeemed { first, .. } if first != document && found.is_claimed => Turn::StepAside,
        // One pair for both documents is better than two.
        Permission::AlreadyRedeemed { at, .. } if !found.has_pair && takes_redeemed(profile, *at, now) => {
            Turn::AskAllTheSame
        }
        Permission::AlreadyRedeemed { .. }
            if !found.has_pair && found.is_new_login && profile.ask_again != AskAgain::Never =>
        {
            Turn::AskAllTheSame
        }
        Permission::AlreadyRedeemed { first, at, .. } => Turn::Ends(already_redeemed(first.clone(), *at)),
    }
}

/// A token that was redeemed for the document `first`.
#[must_use]
pub const fn already_redeemed(first: TokenId, at: Option<Timestamp>) -> Fact {
    Fact::Redeemed(Redeemed { first, at, successor: None, received: None })
}

/// What follows where a redeemed token could be sent because of its grace, and that has ended before it was: the journal or
/// the store was slow.
#[must_use]
pub fn grace_has_ended(
    permission: &Permission,
    profile: &Profile,
    asked_at: Timestamp,
    now: Timestamp,
) -> Option<Fact> {
    let Permission::AlreadyRedeemed { first, at, .. } = permission else { return None };
    let has_ended = takes_redeemed(profile, *at, asked_at) && !takes_redeemed(profile, *at, now);
    has_ended.then(|| already_redeemed(first.clone(), *at))
}

/// Takes the provider a token that was redeemed at this time? One that doesn't rotate does, and one with a grace while that
/// lasts. It depends on the profile of today, and not on the one by which the token was redeemed.
#[must_use]
pub(super) fn takes_redeemed(profile: &Profile, redeemed_at: Option<Timestamp>, now: Timestamp) -> bool {
    match profile.rotation {
        Rotation::None => true,
        Rotation::Grace => {
            redeemed_at.is_some_and(|redeemed_at| super::settle::is_within_grace(profile, redeemed_at, now))
        }
        Rotation::SingleUse => false,
    }
}

/// Does the document say that its token was answered with a success in which no pair was found? Another machine's journal
/// holds that answer, and only that machine may find the pair. By `force` it is asked for all the same: that journal may
/// be gone.
#[must_use]
pub fn has_unread_answer(token: &DueToken, profile: &Profile, force: bool) -> bool {
    let books = &token.bookkeeping;
    profile.rotation != Rotation::None
        && !force
        && books.fingerprint == Some(token.refresh_token.fingerprint())
        && books.last_error.as_ref().is_some_and(|error| error.class.is(Evidence::Unreadable))
}

/// Whose pair goes back into a document that says of its token that it was redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpentBy {
    /// This machine wrote the last pair.
    ThisJournal,
    /// Another one did: only that one can put it back.
    AnotherJournal,
}

/// Does the document say that its token was redeemed, and who wrote the last pair? `None` where it may be sent as any other:
/// where the provider takes it all the same, and where a person has given up the journal that has the pair.
#[must_use]
pub fn spent_by(
    token: &DueToken,
    profile: &Profile,
    journal: &str,
    given_up: &BTreeSet<String>,
    now: Timestamp,
) -> Option<SpentBy> {
    let (books, fingerprint) = (&token.bookkeeping, token.refresh_token.fingerprint());
    let by = books.refreshed_by.as_ref()?;
    let redeemed_at = books.refreshed_at.filter(|_| books.spent.last() == Some(fingerprint));
    if !books.spent.contains(fingerprint) || takes_redeemed(profile, redeemed_at, now) {
        return None;
    }
    if by == journal {
        return Some(SpentBy::ThisJournal);
    }
    (!given_up.contains(by)).then_some(SpentBy::AnotherJournal)
}

/// Says the document of a redeemed token that it was handed out again since? Then another machine got it for a token that came
/// out of it here, and this machine's memory is older than the document.
///
/// Where that machine put an old pair back instead, it was received before.
#[must_use]
pub fn is_handed_out_again(permission: &Permission, token: &DueToken, journal: &str) -> bool {
    let Permission::AlreadyRedeemed { at, successor: Some(successor), .. } = permission else { return false };
    let (books, fingerprint) = (&token.bookkeeping, token.refresh_token.fingerprint());
    books.is_refreshed_elsewhere(journal)
        && books.fingerprint == Some(fingerprint)
        && books.spent.contains(*successor)
        && at.is_some_and(|at| books.refreshed_at > Some(at))
}

/// The same permission; of a token after which others were redeemed, without the time of its redemption. A grace is that of
/// the last one.
#[must_use]
pub fn of_last(permission: Permission, token: &DueToken) -> Permission {
    let (books, fingerprint) = (&token.bookkeeping, token.refresh_token.fingerprint());
    match permission {
        Permission::AlreadyRedeemed { first, has_other_access, successor, .. }
            if books.spent.after(fingerprint).is_some() =>
        {
            Permission::AlreadyRedeemed { first, at: None, has_other_access, successor }
        }
        permission => permission,
    }
}

/// Until when a token is too young to be asked for, by its profile's `min_age`; `None` where it isn't, or where its issue
/// isn't known. Force changes nothing: the provider would refuse it, and some count that as an error.
#[must_use]
pub fn too_young_until(token: &DueToken, profile: &Profile, now: Timestamp) -> Option<Timestamp> {
    if profile.min_age.is_zero() {
        return None;
    }
    let books = &token.bookkeeping;
    let issued_at =
        books.refreshed_at.filter(|_| books.fingerprint == Some(token.refresh_token.fingerprint()))?;
    let min_age = TimeDelta::from_std(profile.min_age).ok()?;
    let age = now - issued_at;
    // A token that was issued far in the future was issued under another clock: that says nothing.
    (age < min_age && age > -min_age).then(|| issued_at + min_age)
}

/// Forbids the provider a second request for a token whose answer was lost? Then: the evidence for its mark.
///
/// `lost` is the first request for it that no answer settled. One that was turned away doesn't count: such a token may be
/// sent.
#[must_use]
pub fn forbids_a_second_request(
    profile: &Profile,
    lost: Option<Lost>,
    sent_at: Timestamp,
) -> Option<LastError> {
    let lost = lost.filter(|lost| !lost.turned_away)?;
    let first_sent_at = lost.sent_at?;
    if super::settle::may_be_sent_again(profile, first_sent_at, sent_at) {
        return None;
    }
    let (class, code) = (Evidence::Ambiguous.into(), Code::NotAskedAgain.into());
    Some(LastError { class, code, http_status: None, at: sent_at, lost: Some(lost) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::profile;
    use crate::token::{Bookkeeping, RefreshToken, Subject};
    use std::time::Duration;

    #[test]
    fn a_token_is_too_young_until_its_least_age_is_reached_as_far_as_its_issue_is_known() {
        let now: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
        let old_enough = |age: Option<i64>, of: &str, min_age: u64| {
            let token = DueToken {
                id: TokenId::from_extended_json("1"),
                subject: Subject::new("a"),
                refresh_token: RefreshToken::new("mine".into()),
                bookkeeping: Bookkeeping {
                    refreshed_at: age.map(|age| now - TimeDelta::seconds(age)),
                    fingerprint: Some(RefreshToken::new(of.into()).fingerprint()),
                    ..Bookkeeping::default()
                },
                access_token: None,
                facts: crate::token::Facts::default(),
            };
            let min_age = Duration::from_secs(min_age);
            let profile = Profile { min_age, ..profile::load("generic").unwrap() };
            too_young_until(&token, &profile, now).map(|until| (until - now).num_seconds())
        };
        for (age, of, min_age, expected) in [
            (Some(10), "mine", 570, Some(560)),
            (Some(569), "mine", 570, Some(1)),
            (Some(570), "mine", 570, None),
            (Some(-5), "mine", 570, Some(575)),
            (Some(-9000), "mine", 570, None),
            (Some(10), "another", 570, None),
            (None, "mine", 570, None),
            (Some(0), "mine", 0, None),
        ] {
            assert_eq!(old_enough(age, of, min_age), expected, "{age:?} {of} {min_age}");
        }
    }
}
