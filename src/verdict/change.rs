//! The write-back: a pair that the journal holds goes into its document, by compare-and-swap on the old refresh token.
//!
//! Pure: what to write, and what it means when the document wasn't as expected.

mod found;
mod lives;
mod recovered;

use super::is_known_dead;
use crate::clock::Timestamp;
use crate::grant::answer::{Granted, Reading};
use crate::journal::Received;
use crate::provider::{Profile, keep::Keep};
use crate::schedule::{LateAccess, RenewAfter, Wakes, backoff};
use crate::store::{Change, Fence, PairChange, Replaces};
use crate::token::{
    AccessToken, Bookkeeping, DueToken, Evidence, LastError, Malformed, RefreshToken, State, TokenDocument,
    Word,
};
use chrono::{SubsecRound as _, TimeDelta};
pub use found::{Found, finishing, settle, without_pair};
use lives::{Lives, Success};
use std::sync::Arc;
use std::time::Duration;

/// When things fall due again.
#[derive(Debug, Clone)]
pub struct DuePolicy {
    /// Share of the refresh token's life after which it is due.
    pub renew_after: RenewAfter,
    /// First wait after a failure; it doubles.
    pub first_backoff: Duration,
    /// Longest wait after a failure.
    pub longest_backoff: Duration,
    /// The wakes, where access tokens are kept good ([`Keep::Access`]).
    pub wakes: Option<Arc<Wakes>>,
    /// The life of a refresh token by which it is due where its life isn't known; without one it is due at the next wake.
    pub assumed_life: Option<Duration>,
    /// Id of the journal, as the documents name it.
    pub journal: Arc<str>,
    /// How many documents a pass meets at most, as far as that is known: 0 where it isn't.
    pub documents: u64,
    /// What this pass calls due; whatever it writes is due later. So it meets a document twice only if it has put it off, and
    /// goes on until that wait is over.
    pub due_by: Timestamp,
}

impl DuePolicy {
    fn after_this_pass(&self, due_at: Timestamp) -> Timestamp {
        due_at.max(self.due_by + TimeDelta::milliseconds(1))
    }

    /// The change that puts a new pair into its document, with everything that follows from it.
    ///
    /// `jitter_unit` in `[0, 1)` spreads the due times.
    #[must_use]
    pub fn renewal(
        &self,
        granted: &Received<Granted>,
        token: &DueToken,
        profile: &Profile,
        received_at: Timestamp,
        jitter_unit: f64,
    ) -> Change {
        let granted = granted.get();
        let refresh_token = granted.refresh_token.clone().unwrap_or_else(|| token.refresh_token.clone());
        let Lives { ends_at, login_at, login_ends_at, due_at } =
            Success { granted, token, profile, received_at, assumed_life: self.assumed_life }
                .lives(self.renew_after, jitter_unit);
        let access_life = granted.expires_in.or(profile.access_token_lifetime);
        let access_due = self.access_due(profile, received_at, access_life);
        let due_at = access_due.map_or(due_at, |access_due| due_at.min(access_due));
        let due_at = due_at.max(after(received_at, profile.min_age));
        let end = |lifetime: Option<Duration>| {
            Some(received_at.checked_add_signed(TimeDelta::from_std(lifetime?).ok()?)?.trunc_subsecs(3))
        };
        // The provider's own token, and of no use: it is kept, and reported at once.
        let unsendable = refresh_token.unsendable();
        let fingerprint = refresh_token.fingerprint();
        let state = if unsendable.is_some() { State::Malformed } else { State::Live };
        let sent = token.refresh_token.fingerprint();
        let is_kept = refresh_token == token.refresh_token;
        // Where it was kept, the journal that received it has the pair that goes back for an older one.
        let of_before = token.bookkeeping.fingerprint == Some(sent);
        let kept_by = token.bookkeeping.refreshed_by.clone().filter(|_| is_kept && of_before);
        let replaces = if is_kept { Replaces::of(token.access_token.as_ref()) } else { Replaces::Any };
        let since = token.bookkeeping.since.filter(|_| token.bookkeeping.state == state);
        Change {
            id: token.id.clone(),
            expect_refresh_token: Some(token.refresh_token.clone()),
            // A write-back after losing the claim still follows the compare-and-swap: the pair is good.
            expect_lease: Fence::None,
            bookkeeping: Bookkeeping {
                state,
                since: since.or(Some(received_at)),
                fingerprint: Some(fingerprint),
                access_fingerprint: None,
                due_at: Some(self.after_this_pass(if unsendable.is_some() { received_at } else { due_at })),
                refreshed_at: Some(received_at),
                refreshed_by: kept_by.or_else(|| Some(self.journal.to_string())),
                spent: token.bookkeeping.spent_after(sent, sent, fingerprint),
                access_expires_at: end(access_life),
                refresh_expires_at: ends_at,
                login_at,
                login_ends_at,
                failures: 0,
                last_error: unsendable.map(|malformed| evidence_of(&malformed, received_at)),
                lease: None,
            },
            pair: Some(PairChange {
                refresh_token,
                access_token: Some(granted.access_token.clone()),
                also: granted.also.clone(),
                replaces,
            }),
        }
    }

    /// When the document is due for its access token's sake; `None` where that isn't kept good, or its life isn't known.
    fn access_due(
        &self,
        profile: &Profile,
        received_at: Timestamp,
        life: Option<Duration>,
    ) -> Option<Timestamp> {
        let LateAccess { wakes, margin, .. } = self.late_access(profile)?;
        Some(wakes.access_due(received_at, life?, margin))
    }

    /// What tells a document that falls due too late for its access token; `None` where that isn't kept good.
    #[must_use]
    pub fn late_access(&self, profile: &Profile) -> Option<LateAccess> {
        let wakes = self.wakes.clone().filter(|_| profile.keep == Keep::Access)?;
        let pass = profile.rate.map_or(Duration::ZERO, |rate| rate.time_for(self.documents));
        let margin = profile.request_timeout.saturating_add(pass);
        Some(LateAccess { wakes, margin, life: profile.access_token_lifetime })
    }

    /// The change that marks a document whose token the provider refused; void when the token or the claim changed.
    #[must_use]
    pub fn retirement(&self, token: &DueToken, state: State, evidence: LastError) -> Change {
        let fingerprint = Some(token.refresh_token.fingerprint());
        let before = token.bookkeeping.clone().of_login(fingerprint, evidence.at);
        // The same mark as before: should that be taken back, it is found by its moment.
        let since = before.since.filter(|_| is_known_dead(token));
        Self::mark(
            token,
            Bookkeeping {
                state,
                since: since.or(Some(evidence.at)),
                fingerprint,
                // As it was when the token was sent: another one that came since is a new login.
                access_fingerprint: token.access_token.as_ref().map(AccessToken::fingerprint),
                due_at: Some(self.after_this_pass(evidence.at)),
                failures: before.failures.saturating_add(1),
                last_error: Some(evidence),
                ..before
            },
        )
    }

    /// The change that tries a document again later, and later each time.
    #[must_use]
    pub fn deferral(&self, token: &DueToken, evidence: LastError, jitter_unit: f64) -> Change {
        let failures = token.bookkeeping.failures.saturating_add(1);
        let bookkeeping = of_sent(token, evidence.at);
        let wait = backoff(failures, self.first_backoff, self.longest_backoff, jitter_unit);
        // In whole milliseconds, as the store keeps it: what is read back must be what was written.
        let due_at = (evidence.at + TimeDelta::from_std(wait).unwrap_or_default()).trunc_subsecs(3);
        Self::mark(
            token,
            Bookkeeping {
                due_at: Some(self.after_this_pass(due_at)),
                failures,
                last_error: Some(evidence),
                ..bookkeeping
            },
        )
    }

    /// The change that lets a token rest for at least so long, which is no failure: it was asked for too early, or its
    /// provider throttles this token alone. It rests for half of its known life at most, so that it is asked again before it
    /// ends.
    #[must_use]
    pub fn rest(&self, token: &DueToken, evidence: LastError, rest: Duration) -> Change {
        let bookkeeping = of_sent(token, evidence.at);
        let at = evidence.at;
        let end = bookkeeping.refresh_expires_at.or_else(|| token.refresh_token.ends_at());
        let left = end.and_then(|end| (end - at).to_std().ok());
        let rest = left.map_or(rest, |left| rest.min(left / 2));
        let due_at = Some(self.after_this_pass(after(at, rest)));
        Self::mark(token, Bookkeeping { due_at, last_error: Some(evidence), ..bookkeeping })
    }

    /// The change that gives a claim back until the token is old enough to be asked for.
    #[must_use]
    pub fn until_old_enough(&self, token: &DueToken, at: Timestamp) -> Change {
        let due_at = Some(self.after_this_pass(at.trunc_subsecs(3)));
        Self::mark(token, Bookkeeping { due_at, ..token.bookkeeping.clone() })
    }

    /// The change that gives a claim back: due again for the next pass.
    #[must_use]
    pub fn release(&self, token: &DueToken) -> Change {
        let due_at = Some(self.after_this_pass(self.due_by));
        Self::mark(token, Bookkeeping { due_at, ..token.bookkeeping.clone() })
    }

    /// The change that gives a claim back as if it had never been taken: as due as it was before.
    #[must_use]
    #[expect(clippy::unused_self, reason = "called as the other changes of the policy are")]
    pub fn not_taken(&self, token: &DueToken) -> Change {
        Self::mark(token, token.bookkeeping.clone())
    }

    /// The change that gives a claim back after a wait, counted as a failure, so that others come first in the next
    /// pass: what was asked for in vain proves nothing about the provider.
    #[must_use]
    pub fn later(&self, token: &DueToken, now: Timestamp, wait: Duration) -> Change {
        let due_at = self.behind_others(now) + TimeDelta::from_std(wait).unwrap_or_default();
        Self::mark(
            token,
            Bookkeeping {
                due_at: Some(due_at),
                failures: token.bookkeeping.failures.saturating_add(1),
                ..token.bookkeeping.clone()
            },
        )
    }

    /// When a document is due that comes behind all that is given back with [`release`](Self::release), also where the clock
    /// stands still.
    #[must_use]
    pub fn behind_others(&self, now: Timestamp) -> Timestamp {
        now.max(self.due_by + TimeDelta::milliseconds(2))
    }

    /// The change for a document that got a newer token from another program while we held the claim: live, and due for the
    /// next pass, because the age of that token isn't known.
    #[must_use]
    pub fn overtaken(&self, document: &TokenDocument, now: Timestamp) -> Change {
        let token = document.refresh_token.as_ref().ok();
        let fingerprint = token.map(RefreshToken::fingerprint);
        let before = document.bookkeeping.clone().of_login(fingerprint, now);
        Change {
            id: document.id.clone(),
            expect_refresh_token: token.cloned(),
            expect_lease: Fence::of(before.lease.as_ref()),
            pair: None,
            bookkeeping: Bookkeeping {
                state: State::Live,
                since: if before.state == State::Live { before.since } else { None }.or(Some(now)),
                fingerprint,
                access_fingerprint: None,
                due_at: Some(self.after_this_pass(self.due_by)),
                failures: 0,
                last_error: None,
                lease: None,
                ..before
            },
        }
    }

    /// The change that names a document without a usable token as malformed.
    #[must_use]
    pub fn malformed(&self, document: &TokenDocument, malformed: &Malformed, now: Timestamp) -> Change {
        let before = &document.bookkeeping;
        let evidence = evidence_of(malformed, now);
        Change {
            id: document.id.clone(),
            expect_refresh_token: None,
            expect_lease: Fence::of(before.lease.as_ref()),
            pair: None,
            bookkeeping: Bookkeeping {
                state: State::Malformed,
                since: if before.state == State::Malformed { before.since } else { None }.or(Some(now)),
                // What is known of a token that is good stays known.
                fingerprint: before.fingerprint.filter(|_| malformed.leaves_the_token_good()),
                due_at: Some(self.after_this_pass(now)),
                last_error: Some(evidence),
                lease: None,
                ..before.clone()
            },
        }
    }

    /// The change that gives back the claim of a document that was read as another provider's: as due as it was before.
    #[must_use]
    #[expect(clippy::unused_self, reason = "called as the other changes of the policy are")]
    pub fn stray(&self, document: &TokenDocument) -> Change {
        let before = &document.bookkeeping;
        Change {
            id: document.id.clone(),
            expect_refresh_token: document.refresh_token.as_ref().ok().cloned(),
            expect_lease: Fence::of(before.lease.as_ref()),
            pair: None,
            bookkeeping: Bookkeeping { lease: None, ..before.clone() },
        }
    }

    /// The change that gives a second document with the same refresh token the pair that the first one holds now.
    #[must_use]
    pub fn copy(&self, token: &DueToken, first: &TokenDocument) -> Option<Change> {
        let refresh_token = first.refresh_token.clone().ok()?;
        let access_token = first.access_token.clone();
        // Half a pair is worse than an old one.
        if access_token.is_none() && token.access_token.is_some() {
            return None;
        }
        let theirs = &first.bookkeeping;
        (refresh_token != token.refresh_token && theirs.state == State::Live).then(|| Change {
            id: token.id.clone(),
            expect_refresh_token: Some(token.refresh_token.clone()),
            expect_lease: Fence::of(token.bookkeeping.lease.as_ref()),
            pair: Some(PairChange { refresh_token, access_token, also: Vec::new(), replaces: Replaces::Any }),
            bookkeeping: Bookkeeping {
                due_at: theirs.due_at.map(|due_at| self.after_this_pass(due_at)),
                lease: None,
                ..theirs.clone()
            },
        })
    }

    fn mark(token: &DueToken, bookkeeping: Bookkeeping) -> Change {
        Change {
            id: token.id.clone(),
            expect_refresh_token: Some(token.refresh_token.clone()),
            expect_lease: Fence::of(token.bookkeeping.lease.as_ref()),
            pair: None,
            bookkeeping: Bookkeeping { lease: None, ..bookkeeping },
        }
    }
}

/// So long after `at`, in whole milliseconds, as the store keeps it: what is read back must be what was written.
fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let end = TimeDelta::from_std(wait).ok().and_then(|wait| at.checked_add_signed(wait));
    end.unwrap_or(Timestamp::MAX_UTC).trunc_subsecs(3)
}

fn evidence_of(malformed: &Malformed, at: Timestamp) -> LastError {
    LastError {
        class: Evidence::Malformed.into(),
        code: Word::read(malformed.code()),
        http_status: None,
        at,
        lost: None,
    }
}

/// The evidence of a reading, for the document.
#[must_use]
pub fn evidence(reading: &Reading, at: Timestamp) -> LastError {
    LastError {
        class: Word::read(reading.class.word()),
        code: Word::read(&reading.code),
        http_status: reading.http_status,
        at,
        lost: None,
    }
}

/// The bookkeeping of a token that was sent: what was wrong with it, or beside it, is mended.
fn of_sent(token: &DueToken, now: Timestamp) -> Bookkeeping {
    let books = token.bookkeeping.clone().speaking_of(token.refresh_token.fingerprint(), now);
    if books.state == State::Malformed {
        return Bookkeeping { state: State::Live, since: Some(now), ..books };
    }
    books
}

#[cfg(test)]
mod tests;
