//! How long a document's token and its login live after a success, and when the document is due again. Pure.
//!
//! A token's life may be extended by each success, as `refresh_token_lifetime` says; a login's never is. The earlier of the
//! two ends is the document's.

use crate::clock::Timestamp;
use crate::grant::answer::Granted;
use crate::provider::lifetime::{LONGEST_LOGIN, LONGEST_TOKEN_LIFE, life_until};
use crate::provider::{Profile, Rotation};
use crate::schedule::{RenewAfter, due_at_after_success};
use crate::token::{DueToken, RefreshToken};
use chrono::{SubsecRound as _, TimeDelta};
use std::time::Duration;

/// Shortest wait after a success that didn't move the end, where the life of the access token isn't known: to ask more
/// often extends nothing.
const SHORTEST_WAIT: Duration = Duration::from_hours(1);

/// What is known of the ends after a success.
#[expect(clippy::struct_field_names, reason = "they are moments, named as the bookkeeping names them")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lives {
    /// The end of the token in the document, by its own life or by its login's.
    pub(super) ends_at: Option<Timestamp>,
    /// When the login began, at the latest.
    pub(super) login_at: Option<Timestamp>,
    /// When the login ends, at the latest.
    pub(super) login_ends_at: Option<Timestamp>,
    /// When the document is due again.
    pub(super) due_at: Timestamp,
}

/// A success: what came, for which token, and when.
#[derive(Clone, Copy)]
pub(super) struct Success<'a> {
    pub(super) granted: &'a Granted,
    pub(super) token: &'a DueToken,
    pub(super) profile: &'a Profile,
    pub(super) received_at: Timestamp,
    /// The life by which it is due where nothing else says one.
    pub(super) assumed_life: Option<Duration>,
}

/// The life of the token that is in the document afterwards.
struct TokenLife {
    /// From the success on; `None` where its end isn't known.
    life: Option<Duration>,
    /// The life by which it is due, where its end isn't known.
    due_by_life: Option<Duration>,
    /// Did the success leave the end where it was?
    is_fixed: bool,
}

impl Success<'_> {
    /// The ends, and the next due time; `jitter_unit` in `[0, 1)` brings that forward.
    pub(super) fn lives(self, renew_after: RenewAfter, jitter_unit: f64) -> Lives {
        let token = self.token_life();
        let (login_at, login_ends_at) = self.login();
        let token_ends_at = self.end(token.life);
        let ends_at = token_ends_at.into_iter().chain(login_ends_at).min();
        let is_fixed = token.is_fixed || login_ends_at.is_some_and(|end| Some(end) == ends_at);
        let share_of = |life| due_at_after_success(self.received_at, life, renew_after, jitter_unit);
        let due_at = match ends_at.filter(|_| is_fixed) {
            None => share_of(token.life.or(token.due_by_life).or(self.assumed_life)),
            Some(end) => {
                let wait = self.granted.expires_in.or(self.profile.access_token_lifetime);
                let soonest = self.end(Some(wait.unwrap_or(SHORTEST_WAIT))).unwrap_or(end);
                match life_until(end, self.received_at, Duration::MAX) {
                    // Not beyond the end: then it is asked for once more, and the answer decides.
                    Some(left) => share_of(Some(left)).max(soonest).min(end),
                    None => soonest,
                }
            }
        };
        Lives { ends_at, login_at, login_ends_at, due_at }
    }

    fn end(&self, life: Option<Duration>) -> Option<Timestamp> {
        let end = self.received_at.checked_add_signed(TimeDelta::from_std(life?).ok()?)?;
        Some(end.trunc_subsecs(3))
    }

    /// How long a token lives from the success on, as the end in it says, which means the provider's clock.
    fn life_in(&self, token: &RefreshToken, longest: Duration) -> Option<Duration> {
        let at = self.received_at.checked_sub_signed(self.granted.clock_ahead)?;
        life_until(token.ends_at()?, at, longest)
    }

    fn token_life(&self) -> TokenLife {
        let Self { granted, token, profile, received_at, .. } = self;
        let extended = |life| TokenLife { life: Some(life), due_by_life: None, is_fixed: false };
        if let Some(life) = granted.refresh_expires_in {
            return extended(life);
        }
        let came = granted.refresh_token.as_ref();
        let stays = came.unwrap_or(&token.refresh_token);
        if let Some(life) = self.life_in(stays, LONGEST_TOKEN_LIFE) {
            let is_fixed = *stays == token.refresh_token;
            return TokenLife { life: Some(life), due_by_life: None, is_fixed };
        }
        match profile.refresh_token_lifetime {
            // By its definition each success extends it.
            Some(life) if came.is_some() || profile.rotation == Rotation::None => extended(life),
            // A provider that sends a new token each time has sent none: whether the old one lives longer isn't known.
            due_by_life => {
                let end = token.bookkeeping.refresh_expires_at.filter(|_| self.is_known());
                let life = end.and_then(|end| life_until(end, *received_at, LONGEST_TOKEN_LIFE));
                TokenLife { life, due_by_life, is_fixed: life.is_some() }
            }
        }
    }

    /// When the login began and when it ends, each at the latest.
    fn login(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let Self { granted, token, profile, received_at, .. } = self;
        let books = &token.bookkeeping;
        let is_noted = books.login_at.is_some() || books.login_ends_at.is_some();
        let is_known = (is_noted || profile.login_lifetime.is_some()) && self.is_known();
        // At the latest at the first moment that is known of it.
        let first_seen =
            || books.login_at.or(books.refreshed_at).filter(|_| is_known).unwrap_or(*received_at);
        let login_at = match (token.facts.logged_in_at, profile.login_lifetime) {
            (Some(at), _) => Some(at),
            (None, Some(_)) => Some(first_seen()),
            (None, None) => books.login_at.filter(|_| is_known),
        };
        let lives = || {
            let life = TimeDelta::from_std(profile.login_lifetime?).ok()?;
            let end = login_at?.checked_add_signed(life)?;
            (end > *received_at).then(|| end.trunc_subsecs(3))
        };
        // One that is past was wrong: the login lives.
        let noted = books.login_ends_at.filter(|end| is_known && *end > *received_at);
        let told = || {
            let told = self.end(granted.login_expires_in)?;
            Some(noted.map_or(told, |noted| told.min(noted)))
        };
        let is_new = granted.refresh_token.as_ref().is_some_and(|new| *new != token.refresh_token);
        let never_replaced = profile.rotation == Rotation::None && !is_new;
        let of_the_token = || {
            let stays = Some(&token.refresh_token).filter(|_| never_replaced)?;
            self.end(self.life_in(stays, LONGEST_LOGIN))
        };
        // The end of a token that was never replaced, and is now, is the end of no login.
        let carried = || noted.filter(|_| profile.rotation != Rotation::None || !is_new);
        let longest = self.end(Some(LONGEST_LOGIN));
        let of_the_document =
            token.facts.login_ends_at.filter(|end| *end > *received_at && Some(*end) <= longest);
        let ends_at = of_the_document.or_else(told).or_else(of_the_token).or_else(lives).or_else(carried);
        (login_at.map(|at| at.trunc_subsecs(3)), ends_at.map(|end| end.trunc_subsecs(3)))
    }

    /// Does the bookkeeping speak of the token that was sent?
    fn is_known(&self) -> bool {
        let books = &self.token.bookkeeping;
        books.fingerprint.is_some_and(|known| known == self.token.refresh_token.fingerprint())
    }
}

#[cfg(test)]
mod tests;
