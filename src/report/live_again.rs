//! Users who were marked, and are live again without a new login.

use super::{MOST_NAMED, Outcome, Report};
use crate::token::{Reason, State, Subject, TokenId, vocabulary};
use serde::{Serialize, Serializer};

vocabulary! {
    /// Why a marked login is live again.
    WhyLiveAgain {
        TakenBack = "taken_back":
            "The pass that marked the user found later that far more tokens were refused than usual, or that too many had been redeemed before. The mark was taken back, and the token is due again.",
            "Nothing to do for the user. See exit code 5: check the client registration and `token_url` first.";
        Granted = "granted":
            "The login was marked. Its token was sent again, and the provider granted it.",
            "Nothing to do. The provider refused a token that was good: if it happens often, ask the provider.";
        AskedTwice = "asked_twice":
            "The provider refused the token, and granted it a moment later in the same pass. The user was not marked.",
            "Nothing to do. The provider refused a token that was good: if it happens often, ask the provider.";
    }
}

impl Serialize for WhyLiveAgain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// A user who was marked, or nearly was, and is live again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveAgain {
    /// The `_id` of the document, as extended JSON.
    pub id: TokenId,
    /// Who.
    pub subject: Subject,
    /// At which provider.
    pub provider: Option<String>,
    /// What the mark said, or would have said: `needs_login` or `lost_in_flight`.
    pub was: State,
    /// Why it is gone, or was not made.
    pub why: WhyLiveAgain,
}

impl Report {
    /// A marked login is live again.
    pub fn live_again(&self, live_again: LiveAgain) {
        let mut inner = self.lock();
        inner.live_again_count += 1;
        if inner.live_again.len() < MOST_NAMED {
            inner.live_again.push(live_again);
        }
    }

    /// A document that this pass has counted as newly marked isn't marked any more: it is still due.
    pub fn unmarked(&self, id: &TokenId, was: Outcome, reason: Reason) {
        self.ended(Outcome::StillDue, Some(reason.word()));
        let mut inner = self.lock();
        if let Some(count) = inner.outcomes.get_mut(&was) {
            *count = count.saturating_sub(1);
        }
        inner.newly_marked = inner.newly_marked.saturating_sub(1);
        inner.named.retain(|named| !(named.new && named.id == *id));
    }
}
