//! What Evergrant keeps in a token document: how the login stands, and who holds the claim.

use super::{Fingerprint, LastError};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a lease must last beyond the longest wait for an answer: at least so much when a grant is sent, and more when it
/// is configured.
///
/// Time for what stands around the request (the wait at the journal, the answer's fsync and the write-back), and as much
/// as the clocks of different machines may be apart. The request timeout is the limit on the whole exchange, the
/// connection's set-up among it, and a wait to settle a lost answer ends with another look at the claim: from that look
/// to the write there is one request and this.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// What the document's bookkeeping says of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The login works, as far as we know; also a document that we never saw.
    #[default]
    Live,
    /// The provider refused the refresh token: the person must log in again.
    NeedsLogin,
    /// The provider may have rotated the token in an answer that never reached us, and refuses the old one.
    LostInFlight,
    /// The document holds no refresh token that can be sent, or names a provider that isn't configured.
    Malformed,
}

impl State {
    /// The word in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NeedsLogin => "needs_login",
            Self::LostInFlight => "lost_in_flight",
            Self::Malformed => "malformed",
        }
    }

    /// Reads the word in the document; `None` for a word that isn't ours.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Live, Self::NeedsLogin, Self::LostInFlight, Self::Malformed]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

/// A pass's time-limited right to redeem a document's refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique to one pass of one process: the fence.
    pub id: String,
    /// `host:pid`, for the person who looks into the document.
    pub owner: String,
    /// From then on the claim is void and the document is due again.
    pub until: Timestamp,
    /// Had another process held the claim until it ran out? That process may have sent the token, and may hold its
    /// answer: a refusal then means lost, not revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
}

/// Everything Evergrant keeps in a token document, in one sub-document (default name `evergrant`).
///
/// It is always written whole, so a field that is `None` here is absent there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bookkeeping {
    /// What we know of the login.
    #[serde(default)]
    pub state: State,
    /// When the state last changed: "must log in again since …".
    pub since: Option<Timestamp>,
    /// The refresh token of which `state` and `failures` speak; another one in the document means a new login.
    pub fingerprint: Option<Fingerprint>,
    /// Schedule, retry and visibility in one; absent means due now.
    pub due_at: Option<Timestamp>,
    /// When we last wrote a pair.
    pub refreshed_at: Option<Timestamp>,
    /// When the access token in the document ends, if the provider said.
    pub access_expires_at: Option<Timestamp>,
    /// When the refresh token in the document ends, if the provider or its profile says.
    pub refresh_expires_at: Option<Timestamp>,
    /// Grants in a row that gave no pair.
    #[serde(default)]
    pub failures: u32,
    /// Why the last one gave none; absent after a success.
    pub last_error: Option<LastError>,
    /// Only while claimed.
    pub lease: Option<Lease>,
}

impl Bookkeeping {
    /// The same, speaking of the token with this fingerprint: what was said of another one is over, a mark above all.
    #[must_use]
    pub fn speaking_of(self, fingerprint: Fingerprint, now: Timestamp) -> Self {
        let fingerprint = Some(fingerprint);
        if self.fingerprint == fingerprint {
            return self;
        }
        let since = if self.state == State::Live { self.since } else { Some(now) };
        Self { state: State::Live, since, fingerprint, last_error: None, ..self }
    }
}
