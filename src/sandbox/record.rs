//! The shapes in which the ledger is shown, in process and over HTTP.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened so far, in numbers; `GET /ledger`.
///
/// `requests` is the sum of `granted`, `refused`, `throttled`, `client_rejected`, `invalid_requests`, `unprocessed`
/// and the requests that are in flight; `granted` is the sum of `delivered`, `answers_lost` and `answers_untaken`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSummary {
    /// Requests to the token endpoint.
    pub requests: u64,
    /// Redemptions that were committed.
    pub granted: u64,
    /// Committed, and the answer handed to the transport in full (or on its way there).
    pub delivered: u64,
    /// Committed, and a fault kept the answer from the client.
    pub answers_lost: u64,
    /// Committed, and the client closed or reset the connection without taking the answer.
    pub answers_untaken: u64,
    /// Refused with `invalid_grant` because of the token itself.
    pub refused: u64,
    /// Answered 429 by the rate limit (an injected 429 is `unprocessed`).
    pub throttled: u64,
    /// Answered `invalid_client`.
    pub client_rejected: u64,
    /// Answered `invalid_request` or `unsupported_grant_type`.
    pub invalid_requests: u64,
    /// Met a fault before anything was looked at.
    pub unprocessed: u64,
    /// Injected faults by their name in the script.
    pub faults: BTreeMap<String, u64>,
    /// Presentations of a rotated token that had been redeemed before.
    pub reuses: u64,
    /// Those of them that were granted because they came within the grace.
    pub reuses_in_grace: u64,
    /// Logins that ended because a token was reused.
    pub families_revoked: u64,
    /// Users whose current token would be granted.
    pub alive_users: u64,
    /// All other users.
    pub dead_users: u64,
    /// Refresh tokens ever handed out.
    pub tokens: u64,
    /// Largest number of requests that were not throttled, the injected 429 included, in any sliding window.
    ///
    /// The window is the rate limit's, or a minute when there is none.
    pub max_grants_in_window: u64,
    /// Largest number of token requests that were open at once.
    pub in_flight_peak: u64,
}

/// What came of presenting a refresh token once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Committed; the full body went to the transport without an injected cut.
    Delivered,
    /// Committed; the client closed or reset the connection before it took the answer.
    Untaken,
    /// Committed; the connection was closed without a byte.
    CutAfterCommit,
    /// Committed; the body was cut half way.
    Truncated,
    /// Committed; something without tokens was sent in its place.
    Replaced,
    /// Nothing committed; the connection was closed without a byte.
    CutBeforeCommit,
    /// Nothing committed; a fault answered in the provider's place.
    Unprocessed,
    /// Nothing committed; `invalid_grant`.
    Refused,
}

impl Outcome {
    /// Was the token redeemed?
    #[must_use]
    pub const fn is_granted(self) -> bool {
        match self {
            Self::Delivered | Self::Untaken | Self::CutAfterCommit | Self::Truncated | Self::Replaced => true,
            Self::CutBeforeCommit | Self::Unprocessed | Self::Refused => false,
        }
    }

    /// Was the token redeemed, and the answer kept from the client by a fault?
    #[must_use]
    pub const fn is_answer_lost(self) -> bool {
        matches!(self, Self::CutAfterCommit | Self::Truncated | Self::Replaced)
    }
}

/// One presentation of a refresh token that got past the rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// When its outcome was decided.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// Had it been redeemed before? Never for a token that doesn't rotate.
    pub reuse: bool,
    /// Was it granted again because of the grace?
    pub in_grace: bool,
    /// The refresh token that it was exchanged for.
    pub successor: Option<String>,
}

/// A presentation of a refresh token for which an answer had gone out in full before: to whoever had taken that answer,
/// a mistake; to whoever was killed before it could keep it, the only way to find out.
#[derive(Clone, PartialEq, Eq)]
pub struct Replay {
    /// Whose it is.
    pub user: String,
    /// The refresh token.
    pub refresh_token: String,
    /// When the redemption was committed whose answer went out.
    pub redeemed_at: Timestamp,
    /// When the outcome of the presentation that came after it was decided.
    pub presented_at: Timestamp,
    /// That outcome.
    pub outcome: Outcome,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut replay = formatter.debug_struct("Replay");
        replay.field("user", &self.user).field("redeemed_at", &self.redeemed_at);
        replay.field("presented_at", &self.presented_at).field("outcome", &self.outcome);
        replay.finish_non_exhaustive()
    }
}

/// What became of one refresh token; a line of `GET /ledger/tokens`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The refresh token itself: it opens nothing but this sandbox.
    pub refresh_token: String,
    /// The access token of the last answer that contained it.
    pub access_token: String,
    /// Whose it is.
    pub user: String,
    /// Number of the login that it belongs to.
    pub family: u64,
    /// When it was first handed out.
    pub issued_at: Timestamp,
    /// The refresh token that it was exchanged from; none for that of a login.
    pub predecessor: Option<String>,
    /// The newest refresh token that it was exchanged for.
    pub successor: Option<String>,
    /// When it was redeemed, oldest first.
    pub redeemed_at: Vec<Timestamp>,
    /// Everything that came of it, oldest first.
    pub presentations: Vec<Presentation>,
}

impl std::fmt::Debug for TokenRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut record = formatter.debug_struct("TokenRecord");
        record.field("user", &self.user).field("family", &self.family).field("issued_at", &self.issued_at);
        record.field("redeemed_at", &self.redeemed_at).finish_non_exhaustive()
    }
}

impl TokenRecord {
    /// How the last answer that redeemed it was delivered; none if it never was redeemed.
    #[must_use]
    pub fn delivery(&self) -> Option<Outcome> {
        self.presentations.iter().rev().map(|presentation| presentation.outcome).find(|it| it.is_granted())
    }
}

/// How one user stands; a line of `GET /ledger/users`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// `user-000000`
    pub user: String,
    /// `user-000000@example.com`
    pub email: String,
    /// Would the current refresh token be granted?
    pub alive: bool,
    /// Why not: `dead_from_start`, `revoked`, `reuse` or `expired`.
    pub dead_because: Option<String>,
    /// The newest refresh token, received or not: it opens nothing but this sandbox.
    pub current_refresh_token: String,
    /// Logins so far.
    pub logins: u64,
    /// Redemptions in the current login.
    pub rotations: u64,
    /// Those of them whose answer a fault kept from the client.
    pub lost_answers: u64,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut record = formatter.debug_struct("UserRecord");
        record
            .field("user", &self.user)
            .field("alive", &self.alive)
            .field("dead_because", &self.dead_because);
        record.field("rotations", &self.rotations).finish_non_exhaustive()
    }
}
