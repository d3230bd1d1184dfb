//! Users who were marked, and are live again with the same refresh token.

use super::{MOST_NAMED, Named, Outcome, PutOff, Report};
use crate::token::{State, Subject, TokenId, vocabulary};
use serde::{Serialize, Serializer};

vocabulary! {
    /// Why a marked login is live again.
    WhyLiveAgain {
        TakenBack = "taken_back":
            "The pass that marked the user found later that far more tokens were refused than usual, or that too many users would be marked without a request. The mark was taken back, and the token is due again.",
            "Nothing to do for the user. See exit code 5: check the client registration and `token_url` first.";
        Granted = "granted":
            "The login was marked. Its token was sent again, and the provider granted it.",
            "Nothing to do. The provider refused a token that was good: if it happens often, ask the provider.";
        NewLogin = "new_login":
            "The login was marked. The access token in the document has changed, which is taken for a new login, so the unchanged refresh token was sent again, and the provider granted it.",
            "Nothing to do.";
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

    /// A document isn't marked any more, and is due for the next pass: as far as this pass has counted it as `was`, it counts
    /// as still due. One that this pass has marked, it has counted.
    pub fn unmarked(&self, put_off: PutOff, was: Outcome, of_this_pass: bool) {
        let mut inner = self.lock();
        let is_named = |named: &Named| named.id == put_off.id && named.state.is_mark();
        let named = inner.named.iter().position(is_named).map(|position| inner.named.remove(position));
        if named.is_none() && !of_this_pass {
            inner.put_offs.leave_to_the_next_pass(put_off);
            return;
        }
        if inner.known.remove(&put_off.id) {
            inner.known_needs_login = inner.known_needs_login.saturating_sub(1);
        }
        if named.is_none_or(|named| named.new) {
            let lost = u64::from(was == Outcome::LostInFlight);
            inner.newly_marked = inner.newly_marked.saturating_sub(1);
            inner.newly_lost_in_flight = inner.newly_lost_in_flight.saturating_sub(lost);
        }
        if let Some(count) = inner.outcomes.get_mut(&was) {
            *count = count.saturating_sub(1);
        }
        drop(inner);
        self.ended(Outcome::StillDue, Some(&put_off.code));
        self.leave_at_once(put_off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::report::summary::Summary;
    use crate::token::{Bookkeeping, Facts, LastError, RefreshToken, TokenDocument};
    use chrono::TimeDelta;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn put_off() -> PutOff {
        PutOff {
            id: TokenId::from_extended_json("1"),
            subject: Subject::new("a"),
            provider: None,
            code: "refused_share".into(),
            due_at: NOW + TimeDelta::milliseconds(2),
            new: true,
        }
    }

    fn named(new: bool) -> Named {
        Named { new, ..Named::new(&put_off().id, &put_off().subject, State::NeedsLogin, None) }
    }

    fn summary(report: &Report) -> Summary {
        report.untaken(0);
        report.summary("c", Some(1), NOW, Duration::ZERO)
    }

    fn still_due_once(report: &Report) {
        let summary = summary(report);
        assert!(summary.adds_up() && summary.named.is_empty(), "{summary:?}");
        assert_eq!((summary.touched, summary.count(Outcome::StillDue)), (1, 1), "{summary:?}");
        assert_eq!((summary.newly_marked, summary.known_needs_login), (0, 0), "{summary:?}");
        assert_eq!((summary.due, summary.taken, summary.remaining_due), (Some(1), 0, Some(1)));
    }

    #[test]
    fn a_document_whose_mark_is_taken_back_counts_once_as_still_due_however_it_was_counted_before() {
        // Marked by this pass.
        let report = Report::new();
        report.touched();
        report.ended(Outcome::NeedsLogin, None);
        report.named(named(true));
        report.unmarked(put_off(), Outcome::NeedsLogin, true);
        still_due_once(&report);
        // Marked before, and not asked.
        let report = Report::new();
        report.known(Outcome::NeedsLogin, named(false));
        report.unmarked(put_off(), Outcome::NeedsLogin, false);
        still_due_once(&report);
        // Marked before, and asked by force.
        let report = Report::new();
        report.touched();
        report.ended(Outcome::NeedsLogin, None);
        report.named(named(false));
        report.unmarked(put_off(), Outcome::NeedsLogin, false);
        still_due_once(&report);
    }

    #[test]
    fn a_document_whose_mark_is_taken_back_is_for_the_next_pass() {
        let error = LastError {
            class: "c".into(),
            code: "c".into(),
            http_status: None,
            at: NOW - TimeDelta::minutes(1),
            lost: None,
        };
        let document = TokenDocument {
            id: put_off().id,
            subject: put_off().subject,
            provider: None,
            refresh_token: Ok(RefreshToken::new("t".into())),
            access_token: None,
            facts: Facts::default(),
            bookkeeping: Bookkeeping { last_error: Some(error), ..Bookkeeping::default() },
        };
        for counted in [false, true] {
            let report = Report::new();
            assert!(report.may_ask_again(&document, NOW));
            if counted {
                report.known(Outcome::NeedsLogin, named(false));
            }
            report.unmarked(put_off(), Outcome::NeedsLogin, false);
            assert!(!report.may_ask_again(&document, NOW), "{counted}");
            assert_eq!(summary(&report).touched, u64::from(counted));
            assert!(!report.asks_again(&put_off().id));
        }
    }
}
