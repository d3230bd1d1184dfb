//! The judgement: of the logins that are alive, of which is the key still held?

use super::ledger::{Ended, Index, Ledger};
use super::opaque;
use super::record::Outcome;
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest list of users in an [`Audit`]; the counts are always complete.
const MAX_LISTED: usize = 100;

/// What the refresh tokens that a client holds are worth.
///
/// Every user is either dead (`dead_users`) or one of `kept`, `lost_in_flight` and `lost_received`. A user whose
/// login ended because a token was reused counts as lost, not as dead: the holder did that. So does one whose newest
/// refresh token expired while it wasn't held: it was lost before it expired.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Pairs of user and refresh token that were presented.
    pub held: u64,
    /// Those that are the user's newest refresh token.
    pub held_current: u64,
    /// Those that are an older refresh token of the user.
    pub held_stale: u64,
    /// Those whose refresh token belongs to another user.
    pub held_crossed: u64,
    /// Those with a user or a refresh token that this sandbox never made.
    pub unknown: u64,
    /// Users who were dead from the start or revoked, or whose newest refresh token expired while it was held.
    pub dead_users: u64,
    /// Users with a live login whose newest refresh token was never presented.
    pub missing_users: u64,
    /// Users whose held refresh token would be granted now.
    pub kept: u64,
    /// Users whose held refresh token would not be granted now, and whose newer one was never delivered in full.
    pub lost_in_flight: u64,
    /// Users whose held refresh token would not be granted now, although a newer one was delivered in full.
    pub lost_received: u64,
    /// Lost users whose last answer was kept from the client by a fault.
    pub answers_lost_users: u64,
    /// Users whose login ended because a token was reused.
    pub reuse_ended_users: u64,
    /// The first of the lost users.
    pub lost: Vec<LostUser>,
    /// The first of the users of `held_stale`.
    pub stale_users: Vec<String>,
    /// The first of the users of `missing_users`.
    pub missing: Vec<String>,
}

/// A user whose login can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostUser {
    /// `user-000000`
    pub user: String,
    /// Was the newer refresh token delivered in full?
    pub received: bool,
    /// Did anybody present a refresh token of this user?
    pub held: bool,
    /// Did the login end because a token was reused?
    pub reuse: bool,
    /// What became of the last answer that redeemed the held refresh token.
    pub last_answer: Option<Outcome>,
    /// When that was.
    pub redeemed_at: Option<Timestamp>,
}

impl Audit {
    /// Is there no token that was received and lost, and none in the wrong document?
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost_received == 0 && self.held_crossed == 0
    }
}

pub(super) fn audit<U: AsRef<str>, T: AsRef<str>>(
    ledger: &Ledger,
    held: impl IntoIterator<Item = (U, T)>,
    now: i64,
) -> Audit {
    let mut audit = Audit::default();
    let mut best: Vec<Option<Index>> = vec![None; ledger.user_count()];
    for (user, refresh_token) in held {
        audit.held += 1;
        let user = ledger.find_user(user.as_ref());
        let token = opaque::decode(refresh_token.as_ref()).and_then(|bytes| ledger.find_token(&bytes));
        let (Some(user), Some(token)) = (user, token) else {
            audit.unknown += 1;
            continue;
        };
        if ledger.user_of(token) != user {
            audit.held_crossed += 1;
            continue;
        }
        if ledger.current_token(user) == Some(token) {
            audit.held_current += 1;
        } else {
            audit.held_stale += 1;
            list(&mut audit.stale_users, || ledger.user_name_of(token));
        }
        let worth = |token: Index| {
            let current = ledger.current_token(user) == Some(token);
            (ledger.would_accept(token, now), current, token.position())
        };
        let held = &mut best[user];
        *held = [*held, Some(token)].into_iter().flatten().max_by_key(|token| worth(*token));
    }
    for (user, held) in best.into_iter().enumerate() {
        judge(&mut audit, ledger, user, held, now);
    }
    audit
}

fn judge(audit: &mut Audit, ledger: &Ledger, user: usize, held: Option<Index>, now: i64) {
    let Some(current) = ledger.current_token(user) else { return };
    let ended = ledger.ended(user, now);
    let dead = match ended {
        Some(Ended::DeadFromStart | Ended::Revoked) => true,
        // A newer token that wasn't held was lost long before it expired.
        Some(Ended::Expired) => held == Some(current),
        Some(Ended::Reuse) | None => false,
    };
    if dead {
        audit.dead_users += 1;
        return;
    }
    let reuse = ended == Some(Ended::Reuse);
    audit.reuse_ended_users += u64::from(reuse);
    if ended.is_none() && held != Some(current) {
        audit.missing_users += 1;
        list(&mut audit.missing, || ledger.user_name_of(current));
    }
    if held.is_some_and(|held| ledger.would_accept(held, now)) {
        audit.kept += 1;
        return;
    }
    // A held token that was never redeemed went down with its login; then the newest answer is what counts.
    let answers: Vec<_> = held.into_iter().flat_map(|held| ledger.redemptions(held)).collect();
    let received = if answers.is_empty() {
        ledger.answer_with(current).is_none_or(|outcome| outcome == Outcome::Delivered)
    } else {
        answers.iter().any(|(outcome, _)| *outcome == Outcome::Delivered)
    };
    *if received { &mut audit.lost_received } else { &mut audit.lost_in_flight } += 1;
    audit.answers_lost_users += u64::from(ledger.answer_with(current).is_some_and(Outcome::is_answer_lost));
    let last = answers.first().copied();
    list(&mut audit.lost, || LostUser {
        user: ledger.user_name_of(current),
        received,
        held: held.is_some(),
        reuse,
        last_answer: last.map(|(outcome, _)| outcome),
        redeemed_at: last.map(|(_, at)| at),
    });
}

fn list<T>(list: &mut Vec<T>, entry: impl FnOnce() -> T) {
    if list.len() < MAX_LISTED {
        list.push(entry());
    }
}
