//! What the ledger shows of itself.

use super::super::record::{LedgerSummary, Outcome, Presentation, Replay, TokenRecord, UserRecord};
use super::super::{SeededUser, opaque};
use super::{Ended, Index, Ledger, Presented};
use crate::clock::Timestamp;
use chrono::DateTime;

/// Prefix of every user's name; a six-digit number follows.
const USER_PREFIX: &str = "user-";

/// What turns a user's name into an email address.
const EMAIL_SUFFIX: &str = "@example.com";

impl Ledger {
    pub(in super::super) fn user_count(&self) -> usize {
        self.users.len()
    }

    pub(in super::super) fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// Finds a user by name or email.
    pub(in super::super) fn find_user(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix(EMAIL_SUFFIX).unwrap_or(name);
        let user = name.strip_prefix(USER_PREFIX)?.parse().ok()?;
        (user < self.users.len() && user_name(user) == name).then_some(user)
    }

    pub(in super::super) fn seeded_user(&self, user: usize) -> Option<SeededUser> {
        let token = self.current_token(user)?;
        let name = user_name(user);
        Some(SeededUser {
            email: format!("{name}{EMAIL_SUFFIX}"),
            user: name,
            access_token: self.access_token(token),
            refresh_token: self.refresh_token(token),
        })
    }

    /// The token that the user's latest login handed out last.
    pub(in super::super) fn current_token(&self, user: usize) -> Option<Index> {
        Some(self.families[self.users.get(user)?.position()].newest)
    }

    /// Why the user's latest login is over, if it is.
    pub(in super::super) fn ended(&self, user: usize, now: i64) -> Option<Ended> {
        let family = &self.families[self.users.get(user)?.position()];
        let expired = self.is_expired(&self.tokens[family.newest.position()], now);
        family.ended.or(expired.then_some(Ended::Expired))
    }

    pub(in super::super) fn user_of(&self, token: Index) -> usize {
        self.families[self.tokens[token.position()].family.position()].user
    }

    pub(in super::super) fn user_name_of(&self, token: Index) -> String {
        user_name(self.user_of(token))
    }

    pub(in super::super) fn predecessor(&self, token: Index) -> Option<Index> {
        self.tokens[token.position()].predecessor
    }

    /// When the token was redeemed last, and what became of that answer.
    pub(in super::super) fn redemptions(&self, token: Index) -> impl Iterator<Item = (Outcome, Timestamp)> {
        self.presented(token).filter(|it| it.outcome.is_granted()).map(|it| (it.outcome, timestamp(it.at)))
    }

    /// Is this the answer by which somebody got `token`? None if it came from a login.
    pub(in super::super) fn answer_with(&self, token: Index) -> Option<Outcome> {
        let mut answers = self.presented(self.predecessor(token)?);
        answers.find(|it| it.successor == Some(token)).map(|it| it.outcome)
    }

    pub(in super::super) fn summary(&self, now: i64) -> LedgerSummary {
        let mut summary = self.totals.clone();
        let alive = (0..self.users.len()).filter(|user| self.ended(*user, now).is_none()).count();
        summary.alive_users = alive as u64;
        summary.dead_users = (self.users.len() - alive) as u64;
        summary.tokens = self.tokens.len() as u64;
        summary.max_grants_in_window = self.window.peak();
        summary
    }

    pub(in super::super) fn user_record(&self, user: usize, now: i64) -> Option<UserRecord> {
        let family = &self.families[self.users.get(user)?.position()];
        let ended = self.ended(user, now);
        let mut logins = 1;
        let mut earlier = family.earlier;
        while let Some(family) = earlier {
            logins += 1;
            earlier = self.families[family.position()].earlier;
        }
        Some(UserRecord {
            user: user_name(user),
            email: format!("{}{EMAIL_SUFFIX}", user_name(user)),
            alive: ended.is_none(),
            dead_because: ended.map(|ended| {
                match ended {
                    Ended::DeadFromStart => "dead_from_start",
                    Ended::Revoked => "revoked",
                    Ended::Reuse => "reuse",
                    Ended::Expired => "expired",
                }
                .into()
            }),
            current_refresh_token: self.refresh_token(family.newest),
            logins,
            rotations: u64::from(family.rotations),
            lost_answers: u64::from(family.lost_answers),
        })
    }

    pub(in super::super) fn token_record_at(&self, position: usize) -> Option<TokenRecord> {
        let token = self.tokens.get(position)?;
        let index = Index::new(position);
        let mut presentations: Vec<_> = self.presented(index).map(|it| self.presentation(it)).collect();
        presentations.reverse();
        let redeemed = presentations.iter().filter(|presentation| presentation.outcome.is_granted());
        Some(TokenRecord {
            refresh_token: self.refresh_token(index),
            access_token: self.access_token(index),
            user: self.user_name_of(index),
            family: token.family.position() as u64,
            issued_at: timestamp(token.issued_at),
            predecessor: token.predecessor.map(|token| self.refresh_token(token)),
            successor: token.successor.map(|token| self.refresh_token(token)),
            redeemed_at: redeemed.map(|presentation| presentation.at).collect(),
            presentations,
        })
    }

    /// The presentations that came after an answer for the same token had gone out in full, oldest first.
    pub(in super::super) fn replays(&self) -> Vec<Replay> {
        let mut redeemed_at = vec![None; self.tokens.len()];
        let mut replays = Vec::new();
        for presented in &self.presentations {
            let delivered = &mut redeemed_at[presented.token.position()];
            if let Some(at) = delivered.filter(|_| presented.reuse) {
                replays.push(Replay {
                    user: self.user_name_of(presented.token),
                    refresh_token: self.refresh_token(presented.token),
                    redeemed_at: timestamp(at),
                    presented_at: timestamp(presented.at),
                    outcome: presented.outcome,
                });
            }
            if presented.outcome == Outcome::Delivered {
                *delivered = Some(presented.at);
            }
        }
        replays
    }

    fn presentation(&self, presented: &Presented) -> Presentation {
        Presentation {
            at: timestamp(presented.at),
            outcome: presented.outcome,
            reuse: presented.reuse,
            in_grace: presented.in_grace,
            successor: presented.successor.map(|token| self.refresh_token(token)),
        }
    }

    /// The presentations of a token, newest first.
    fn presented(&self, token: Index) -> impl Iterator<Item = &Presented> {
        let at = |index: Index| &self.presentations[index.position()];
        std::iter::successors(self.tokens[token.position()].last_presentation.map(at), move |presented| {
            presented.earlier.map(at)
        })
    }

    pub(in super::super) fn refresh_token(&self, token: Index) -> String {
        opaque::encode(&self.tokens[token.position()].bytes)
    }
}

/// `user-000000`
pub(in super::super) fn user_name(user: usize) -> String {
    format!("{USER_PREFIX}{user:06}")
}

fn timestamp(millis: i64) -> Timestamp {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
