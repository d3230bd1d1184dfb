//! The provider's memory: users, logins, every refresh token, and what came of each presentation.
//!
//! Everything here happens under one short lock; nothing here waits. Entries are small and point at each other by
//! [`Index`], so that a benchmark's millions of tokens fit.

use super::fault::{Fault, FaultDraw, FaultScript, mix};
use super::opaque::{self, TokenBytes};
use super::record::{LedgerSummary, Outcome};
use super::request::Rejection;
use super::window::SlidingWindow;
use super::{Reuse, Rotation, SandboxConfig, millis};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::collections::HashMap;
use std::time::Duration;

mod entry;
mod show;

pub(super) use entry::{Ended, Index};
use entry::{Family, Presented, Token};

/// What the sandbox decided to do with a request before it looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Throttled { retry_after: Duration },
    Admitted { number: u64, fault: Option<Fault> },
}

/// A committed redemption: what the answer hands out.
#[derive(Debug)]
pub(super) struct Redeemed {
    pub(super) presentation: Index,
    pub(super) access_token: String,
    /// None when the answer leaves it out.
    pub(super) refresh_token: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    seed: u64,
    rotation: Rotation,
    reuse: Reuse,
    grace_millis: i64,
    lifetime_millis: i64,
    random: StdRng,
    /// The latest login of each user.
    users: Vec<Index>,
    families: Vec<Family>,
    tokens: Vec<Token>,
    presentations: Vec<Presented>,
    /// The first eight bytes of a token, which are random enough to find it by.
    by_prefix: HashMap<u64, Index>,
    window: SlidingWindow,
    faults: FaultDraw,
    pub(super) totals: LedgerSummary,
}

impl Ledger {
    pub(super) fn new(config: &SandboxConfig, now: i64) -> Self {
        let mut ledger = Self {
            seed: config.seed,
            rotation: config.rotation,
            reuse: config.reuse,
            grace_millis: millis(config.grace),
            lifetime_millis: millis(config.refresh_token_lifetime),
            random: StdRng::seed_from_u64(config.seed),
            users: Vec::with_capacity(config.users),
            families: Vec::with_capacity(config.users),
            tokens: Vec::with_capacity(config.users),
            presentations: Vec::new(),
            by_prefix: HashMap::with_capacity(config.users),
            window: SlidingWindow::new(config.rate_limit),
            faults: FaultDraw::new(config.faults.clone(), config.seed),
            totals: LedgerSummary::default(),
        };
        ledger.add_users(config.users, now);
        for family in ledger.families.iter_mut().rev().take(config.dead_users) {
            family.ended = Some(Ended::DeadFromStart);
        }
        ledger
    }

    pub(super) fn add_users(&mut self, count: usize, now: i64) {
        for user in self.users.len()..self.users.len() + count {
            let family = self.start_family(user, None, now);
            self.users.push(family);
        }
    }

    pub(super) fn login(&mut self, user: usize, now: i64) {
        let family = self.start_family(user, Some(self.users[user]), now);
        self.users[user] = family;
    }

    pub(super) fn revoke(&mut self, user: usize) {
        let mut next = Some(self.users[user]);
        while let Some(family) = next {
            let family = &mut self.families[family.position()];
            family.ended.get_or_insert(Ended::Revoked);
            next = family.earlier;
        }
    }

    pub(super) fn set_faults(&mut self, faults: FaultScript) {
        self.faults = FaultDraw::new(faults, self.seed);
    }

    pub(super) const fn faults(&self) -> &FaultScript {
        self.faults.script()
    }

    /// Counts a request that was answered without looking for its token.
    pub(super) const fn rejected(&mut self, rejection: Rejection) {
        match rejection {
            Rejection::InvalidClient { .. } => {
                self.totals.client_rejected += 1;
            }
            Rejection::InvalidRequest(_) | Rejection::UnsupportedGrantType => {
                self.totals.invalid_requests += 1;
            }
        }
    }

    pub(super) fn find_token(&self, bytes: &TokenBytes) -> Option<Index> {
        let index = *self.by_prefix.get(&prefix(bytes))?;
        (self.tokens[index.position()].bytes == *bytes).then_some(index)
    }

    /// Numbers a request, and decides whether it is throttled or meets a fault.
    pub(super) fn admit(&mut self, token: Option<Index>, now: i64) -> Admission {
        self.totals.requests += 1;
        let number = self.totals.requests;
        if let Some(retry_after) = self.window.wait(now) {
            self.totals.throttled += 1;
            return Admission::Throttled { retry_after };
        }
        self.window.accept(now);
        let fault = if self.faults.script().is_empty() {
            None
        } else {
            let user = token.map(|token| self.user_name_of(token));
            self.faults.draw(number, user.as_deref())
        };
        if let Some(fault) = fault {
            *self.totals.faults.entry(fault.name()).or_default() += 1;
            if fault.is_before_commit() {
                self.totals.unprocessed += 1;
                if let Some(token) = token {
                    let outcome = match fault {
                        Fault::DropBefore => Outcome::CutBeforeCommit,
                        _ => Outcome::Unprocessed,
                    };
                    let reuse = self.is_reuse(token);
                    self.note(Presented::nothing(token, now, outcome, reuse));
                }
            }
        }
        Admission::Admitted { number, fault }
    }

    /// Redeems a refresh token, or refuses it; `outcome` is what will become of the answer.
    pub(super) fn redeem(&mut self, index: Index, outcome: Outcome, now: i64) -> Option<Redeemed> {
        let reuse = self.is_reuse(index);
        let in_grace = reuse && self.would_accept(index, now);
        self.totals.reuses += u64::from(reuse);
        self.totals.reuses_in_grace += u64::from(in_grace);
        if !self.would_accept(index, now) {
            self.totals.refused += 1;
            let family = &mut self.families[self.tokens[index.position()].family.position()];
            if reuse && self.reuse == Reuse::RevokeFamily && family.ended.is_none() {
                family.ended = Some(Ended::Reuse);
                self.totals.families_revoked += 1;
            }
            self.note(Presented::nothing(index, now, Outcome::Refused, reuse));
            return None;
        }
        let handed = self.hand_out(index, now);
        let token = &mut self.tokens[index.position()];
        token.first_redeemed_at.get_or_insert(now);
        token.successor = Some(handed).filter(|handed| *handed != index);
        let successor = token.successor;
        let family = &mut self.families[token.family.position()];
        family.newest = handed;
        family.rotations += 1;
        family.lost_answers += u32::from(outcome.is_answer_lost());
        self.totals.granted += 1;
        *if outcome.is_answer_lost() { &mut self.totals.answers_lost } else { &mut self.totals.delivered } +=
            1;
        let presentation = self.note(Presented {
            token: index,
            earlier: None,
            at: now,
            outcome,
            reuse,
            in_grace,
            successor,
        });
        let refresh_token = match self.rotation {
            Rotation::Rotate | Rotation::Keep => Some(opaque::encode(&self.tokens[handed.position()].bytes)),
            Rotation::KeepAndOmit => None,
        };
        Some(Redeemed { presentation, access_token: self.access_token(handed), refresh_token })
    }

    /// Notes that an answer which was thought to be delivered never left, or was never read.
    pub(super) fn untaken(&mut self, presentation: Index) {
        let outcome = &mut self.presentations[presentation.position()].outcome;
        if *outcome == Outcome::Delivered {
            *outcome = Outcome::Untaken;
            self.totals.delivered -= 1;
            self.totals.answers_untaken += 1;
        }
    }

    /// Would this refresh token be granted now?
    pub(super) fn would_accept(&self, index: Index, now: i64) -> bool {
        let token = &self.tokens[index.position()];
        let spent = self.rotation == Rotation::Rotate
            && token.first_redeemed_at.is_some_and(|at| now - at >= self.grace_millis);
        !spent && self.families[token.family.position()].ended.is_none() && !self.is_expired(token, now)
    }

    fn is_expired(&self, token: &Token, now: i64) -> bool {
        now.saturating_sub(token.handed_at) >= self.lifetime_millis
    }

    fn is_reuse(&self, index: Index) -> bool {
        self.rotation == Rotation::Rotate && self.tokens[index.position()].first_redeemed_at.is_some()
    }

    /// The token that answers the redemption of `index`: a new one, or itself.
    fn hand_out(&mut self, index: Index, now: i64) -> Index {
        match self.rotation {
            Rotation::Rotate => {
                let family = self.tokens[index.position()].family;
                self.issue(family, Some(index), now)
            }
            Rotation::Keep | Rotation::KeepAndOmit => {
                let token = &mut self.tokens[index.position()];
                token.answers += 1;
                if self.rotation == Rotation::Keep {
                    token.handed_at = now;
                }
                index
            }
        }
    }

    /// Was this access token in an answer with that refresh token?
    pub(super) fn handed_out_together(&self, index: Index, access_token: &str) -> bool {
        let answers = self.tokens[index.position()].answers;
        (1..=answers).rev().any(|answer| self.access_token_of(index, answer) == access_token)
    }

    fn start_family(&mut self, user: usize, earlier: Option<Index>, now: i64) -> Index {
        let family = Index::new(self.families.len());
        let newest = self.issue(family, None, now);
        self.families.push(Family { user, ended: None, newest, earlier, rotations: 0, lost_answers: 0 });
        family
    }

    fn issue(&mut self, family: Index, predecessor: Option<Index>, now: i64) -> Index {
        let index = Index::new(self.tokens.len());
        let mut bytes = [0; opaque::TOKEN_BYTES];
        loop {
            self.random.fill_bytes(&mut bytes);
            if !self.by_prefix.contains_key(&prefix(&bytes)) {
                break;
            }
        }
        self.by_prefix.insert(prefix(&bytes), index);
        self.tokens.push(Token {
            bytes,
            family,
            issued_at: now,
            handed_at: now,
            first_redeemed_at: None,
            predecessor,
            successor: None,
            last_presentation: None,
            answers: 1,
        });
        index
    }

    fn note(&mut self, mut presented: Presented) -> Index {
        let index = Index::new(self.presentations.len());
        let last = &mut self.tokens[presented.token.position()].last_presentation;
        presented.earlier = last.replace(index);
        self.presentations.push(presented);
        index
    }

    /// The access token that went with the last answer containing this refresh token.
    ///
    /// Nobody redeems it here, so it is drawn again from the seed whenever it is shown, and never stored.
    fn access_token(&self, index: Index) -> String {
        self.access_token_of(index, self.tokens[index.position()].answers)
    }

    fn access_token_of(&self, index: Index, answer: u32) -> String {
        let token = &self.tokens[index.position()];
        let answer = mix(prefix(&token.bytes)) ^ u64::from(answer);
        let mut bytes = [0; opaque::TOKEN_BYTES];
        StdRng::seed_from_u64(mix(answer) ^ self.seed).fill_bytes(&mut bytes);
        opaque::encode(&bytes)
    }
}

fn prefix(bytes: &TokenBytes) -> u64 {
    bytes.iter().take(8).fold(0, |prefix, byte| prefix << 8 | u64::from(*byte))
}
