//! What stays in doubt after a request: no answer came, or one that isn't the provider's own said that nothing was done.

use super::Asked;
use crate::clock::Timestamp;
use crate::grant::answer::Class;
use crate::journal::Doubts;
use crate::token::{Bookkeeping, Code, DueToken, LastError, Lost, Word};
use std::borrow::Cow;

impl Asked {
    /// The first request of this pass that no answer has settled, this one included; one without an answer goes before
    /// all that were turned away.
    #[must_use]
    pub fn in_this_pass(&self, rotates: bool) -> Option<Lost> {
        let is_first = |lost: &Lost, earlier: &Lost| earlier.turned_away && !lost.turned_away;
        match (self.earlier.clone(), doubt(self, rotates)) {
            (Some(earlier), Some(lost)) => Some(if is_first(&lost, &earlier) { lost } else { earlier }),
            (earlier, lost) => earlier.or(lost),
        }
    }
}

/// What there is to say of a request that its answer doesn't settle. Where the provider doesn't rotate, only of one that
/// no answer came for.
pub(super) fn doubt(asked: &Asked, rotates: bool) -> Option<Lost> {
    let reading = asked.reading();
    let may_be_sent = || {
        let leaves_a_doubt = !reading.settles && rotates;
        leaves_a_doubt.then_some(true)
    };
    let turned_away = match reading.class {
        Class::Ambiguous if asked.is_of_an_outage() => may_be_sent()?,
        Class::Ambiguous => false,
        Class::Throttled(_) | Class::Transient | Class::Unlisted | Class::ClientRejected => may_be_sent()?,
        Class::Granted(_) | Class::Refused | Class::Suspected | Class::Unreadable => return None,
    };
    Some(Lost {
        cause: Word::read(&reading.code),
        sent_at: Some(asked.sent_at),
        peer: asked.peer.clone(),
        received_bytes: asked.received_bytes(),
        turned_away,
    })
}

/// Of the requests for one token that are known, by this pass, the journal or the document, the first: a grace runs from
/// there, and a refusal later on speaks of it.
///
/// One that no answer came for goes before all that were turned away: it decides whether the token is sent again.
pub(super) fn first_sending(known: impl IntoIterator<Item = Lost>) -> Option<Lost> {
    // In milliseconds, as the journal and the documents keep them: of one sending, the first source knows most.
    let sent_at = |lost: &Lost| lost.sent_at.map_or(i64::MAX, |at| at.timestamp_millis());
    known.into_iter().min_by_key(|lost| (lost.turned_away, sent_at(lost)))
}

/// What is known of the first request for a token that no answer has settled: by the document, by this pass, or by the
/// journal alone.
#[must_use]
pub fn first_known(token: &DueToken, in_this_pass: Option<&Lost>, doubts: Doubts) -> Option<Lost> {
    let books = &token.bookkeeping;
    let of_this_token = books.fingerprint == Some(token.refresh_token.fingerprint());
    let earlier = books.last_error.as_ref().filter(|_| of_this_token);
    let since = |since, cause: Code, turned_away| Lost {
        cause: cause.into(),
        sent_at: Some(since),
        peer: None,
        received_bytes: 0,
        turned_away,
    };
    let known = [
        earlier.and_then(|error| error.lost.clone()),
        in_this_pass.cloned(),
        doubts.unsettled_since.map(|at| since(at, Code::Stopped, false)),
        doubts.turned_away_since.map(|at| since(at, Code::TurnedAway, true)),
    ];
    first_sending(known.into_iter().flatten())
}

/// The token, with what this pass knows of a lost answer in its bookkeeping: who asks for it next must know, on another
/// machine too.
#[must_use]
pub fn noted<'a>(token: &'a DueToken, in_this_pass: Option<&Lost>, now: Timestamp) -> Cow<'a, DueToken> {
    let lost = in_this_pass.and_then(|_| first_known(token, in_this_pass, Doubts::default()));
    let Some(lost) = lost else { return Cow::Borrowed(token) };
    let books = token.bookkeeping.clone().speaking_of(token.refresh_token.fingerprint(), now);
    let says = match books.last_error.clone().filter(|_| lost.turned_away) {
        // What was known before isn't hidden behind a page.
        Some(error) => LastError { lost: Some(lost), ..error },
        None => LastError::in_doubt(lost, now),
    };
    Cow::Owned(DueToken { bookkeeping: Bookkeeping { last_error: Some(says), ..books }, ..token.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_first_sending_without_an_answer_goes_before_all_that_were_turned_away() {
        let lost = |cause: &str, seconds: Option<i64>, turned_away| Lost {
            cause: cause.into(),
            sent_at: seconds.map(|seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)),
            peer: None,
            received_bytes: 0,
            turned_away,
        };
        for (known, expected) in [
            (vec![lost("a", Some(2), false), lost("b", Some(1), false)], "b"),
            (vec![lost("a", Some(1), true), lost("b", Some(2), false)], "b"),
            (vec![lost("a", Some(1), true), lost("b", None, false)], "b"),
            (vec![lost("a", Some(2), true), lost("b", Some(1), true)], "b"),
            (vec![lost("a", Some(1), true), lost("b", Some(1), true)], "a"),
        ] {
            assert_eq!(first_sending(known.clone()).unwrap().cause, expected, "{known:?}");
        }
        assert_eq!(first_sending([]), None);
    }
}
