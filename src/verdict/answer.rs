//! What follows from a live answer, or from none.
//!
//! | answer | provider rotates | row | document | provider |
//! |---|---|---|---|---|
//! | granted | | redeemed, or renewed where the refresh token stays | the pair is written | works |
//! | throttled, transient, and the token alone rests | | not processed | due again after the rest; no failure | nothing is said |
//! | throttled, transient | | not processed; turned away where the answer isn't the provider's own | asked again in this pass, `attempts` times in all, then put off | paused, or failing |
//! | unlisted | | as above | put off | nothing is said |
//! | client rejected | | as above | given back, after those that were not asked for | rejects our client |
//! | unreadable | yes | the answer is kept, and the token is not sent again | put off | rejects our client |
//! | unreadable | no | not processed | put off | rejects our client |
//! | 502, 503, 504 or a page, and no user is granted now | yes | turned away, or not processed | asked again in this pass, `attempts` times in all, then put off | failing |
//! | none, or one that says nothing | | lost | asked again as [`settle`] says, or put off | failing |
//! | refused, for the first time | | not processed | asked once more in this pass | works |
//! | refused again or after a lost answer, suspected | | not processed | the mark waits to be believed | works |

use super::change::evidence;
use super::document::{is_known_dead, write_pair};
use super::doubt::{doubt, first_known, noted};
use super::settle::{Settlement, settle};
use super::{Around, Asked, Case, End, Heard, Mark, Pair, Refusal, Rule, Step, Verdict};
use crate::gate::{LONGEST_WAIT_IN_A_PASS, Signal};
use crate::grant::answer::{Class, Granted, NO_TOKENS, Reading};
use crate::journal::Event;
use crate::provider::{AskAgain, Profile, Rotation};
use crate::report::WhyLiveAgain;
use crate::token::{Code, DueToken, Evidence, LastError, Lost, Reason, State, Word};
use chrono::TimeDelta;
use std::time::Duration;

/// A token that is asked to wait by itself for longer rests: where it stays claimed and in hand, others can't be taken.
const LONGEST_WAIT_ALONE: Duration = Duration::from_secs(30);

/// First wait before a token is asked for again after a transient answer; it doubles.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(1);

pub(super) fn judge(case: &Case, asked: &Asked, around: &Around<'_>) -> Verdict {
    let reading = asked.reading();
    let rotates = case.profile().rotation != Rotation::None;
    let doubt = doubt(asked, rotates);
    let in_this_pass = asked.in_this_pass(rotates);
    let known = first_known(&case.token, in_this_pass.as_ref(), asked.doubts);
    // What is known of a lost answer goes into the document with whatever is written there.
    let token = &noted(&case.token, in_this_pass.as_ref(), around.now);
    let said = evidence(reading, around.now);
    let said = LastError { lost: known.clone().filter(|_| rotates), ..said };
    let unprocessed = |doubt: Option<Lost>| {
        let turned_away = |Lost { cause, peer, .. }: Lost| Event::TurnedAway { cause, peer };
        (asked.entry, doubt.map_or(Event::NotProcessed, turned_away))
    };
    let (rule, row, document, ends) = match &reading.class {
        Class::Granted(granted) => return granted_pair(case, asked, granted, around),
        // This token alone is asked for too early, or too often: no failure of anybody.
        Class::Throttled(_) | Class::Transient if rest_of(asked).is_some() => {
            let ends = Some(End::still_due(Word::read(&said.code)));
            let change = around.policy.rest(token, said, rest_of(asked).unwrap_or_default());
            (Rule::Rests, unprocessed(doubt), Step::Write(Box::new(change), Pair::None), ends)
        }
        Class::Throttled(_) | Class::Transient if asked.tried.put_off < around.attempts => {
            let wait = retry_wait(asked.tried.put_off).max(wait_alone(asked));
            (Rule::AskAgainLater, unprocessed(doubt), Step::Again(wait), None)
        }
        Class::Ambiguous if asked.is_of_an_outage() && rotates => {
            if asked.tried.put_off < around.attempts {
                let wait = retry_wait(asked.tried.put_off);
                (Rule::OutageAskAgain, unprocessed(doubt), Step::Again(wait), None)
            } else {
                let (document, ends) = put_off(token, said, around);
                (Rule::OutagePutOff, unprocessed(doubt), document, ends)
            }
        }
        Class::Throttled(_) | Class::Transient => {
            let (document, ends) = put_off(token, said, around);
            (Rule::PutOff, unprocessed(doubt), document, ends)
        }
        Class::Unlisted => {
            let (document, ends) = put_off(token, said, around);
            (Rule::Unlisted, unprocessed(doubt), document, ends)
        }
        Class::Unreadable if !rotates => {
            let (document, ends) = put_off(token, said, around);
            (Rule::UnreadableAndKept, (asked.entry, Event::NotProcessed), document, ends)
        }
        // The provider's own success: to send the token again would most likely be to send a spent one.
        Class::Unreadable => {
            let (document, ends) = put_off(token, said, around);
            let row = (asked.entry, Event::CannotRead(Word::read(&reading.code)));
            (Rule::Unreadable, row, document, ends)
        }
        Class::Ambiguous => {
            let peer = doubt.and_then(|doubt| doubt.peer);
            let row = (asked.entry, Event::Lost { cause: Word::read(&reading.code), peer });
            if let Some(wait) = asked_again_after(case, asked, known.as_ref(), around) {
                (Rule::LostAskAgain, row, Step::Again(wait), None)
            } else {
                let (document, ends) = put_off(token, LastError { lost: known, ..said }, around);
                (Rule::LostPutOff, row, document, ends)
            }
        }
        Class::Refused | Class::Suspected => {
            let refusal = refusal(case, asked, said, around);
            // Until the refusal is believed, the row says what it said before: after a crash the token is asked for again.
            let row = (asked.entry, Event::NotProcessed);
            if reading.class == Class::Refused && !refusal.certain && !refusal.before {
                let again = Step::OnceMore(case.profile().settle_after, Box::new(refusal));
                (Rule::RefusedAskOnceMore, row, again, None)
            } else {
                (Rule::RefusedIsHeld, row, Step::Hold(Mark::Refused(refusal)), None)
            }
        }
        Class::ClientRejected => {
            let later = around.policy.later(token, around.now, Duration::ZERO);
            let document = Step::Write(Box::new(later), Pair::None);
            let ends = Some(End::still_due(Reason::ClientRejected));
            (Rule::ClientRejected, unprocessed(doubt), document, ends)
        }
    };
    Verdict { rule, row: Some(row), document, gate: signal(case, asked), ends }
}

/// A new pair goes into the document, by compare-and-swap on the token that was sent.
fn granted_pair(case: &Case, asked: &Asked, granted: &Granted, around: &Around<'_>) -> Verdict {
    let Heard::Answer { reading, received_at, .. } = &asked.heard else {
        unreachable!("only an answer grants")
    };
    let granted = reading.clone().map(|_| granted.clone());
    let change = around.policy.renewal(&granted, &case.token, case.profile(), *received_at, around.jitter);
    let heals = if is_known_dead(&case.token) {
        let DueToken { bookkeeping, access_token, .. } = &case.token;
        let is_new_login = bookkeeping.has_another_access_token(access_token.as_ref());
        let why = if is_new_login { WhyLiveAgain::NewLogin } else { WhyLiveAgain::Granted };
        Some((bookkeeping.state, why))
    } else {
        (asked.tried.refused > 0).then_some((State::NeedsLogin, WhyLiveAgain::AskedTwice))
    };
    let verdict = write_pair(&case.token, case.profile(), &granted, change);
    Verdict { ends: verdict.ends.map(|end| End { heals, ..end }), ..verdict }
}

/// How long the token alone rests: as its profile's rule says, or as the provider asks for a token while others are granted, if
/// that is longer than a pass waits.
fn rest_of(asked: &Asked) -> Option<Duration> {
    let reading = asked.reading();
    let long = match reading.class {
        Class::Throttled(wait) if reading.may_be_alone => {
            let is_long = |wait: &Duration| {
                *wait > LONGEST_WAIT_IN_A_PASS || *wait > LONGEST_WAIT_ALONE && !asked.unproven
            };
            wait.filter(is_long)
        }
        Class::Throttled(wait) => wait.filter(|wait| *wait > LONGEST_WAIT_IN_A_PASS && !asked.unproven),
        _ => None,
    };
    reading.rests.or(long)
}

/// How long the token waits by itself, where the pause that was asked for may be about this token alone: the gate pauses the
/// provider only when others are asked to wait as well.
fn wait_alone(asked: &Asked) -> Duration {
    match asked.reading() {
        Reading { class: Class::Throttled(Some(wait)), may_be_alone: true, .. }
            if *wait <= LONGEST_WAIT_IN_A_PASS =>
        {
            *wait
        }
        _ => Duration::ZERO,
    }
}

/// The document is tried again in a later pass, and later each time.
fn put_off(token: &DueToken, said: LastError, around: &Around<'_>) -> (Step, Option<End>) {
    let ends = Some(End::still_due(Word::read(&said.code)));
    let change = around.policy.deferral(token, said, around.jitter);
    (Step::Write(Box::new(change), Pair::None), ends)
}

/// How long a token rests whose answer was lost, before it goes to the gate again; `None` leaves it to the next pass.
fn asked_again_after(
    case: &Case,
    asked: &Asked,
    first: Option<&Lost>,
    around: &Around<'_>,
) -> Option<Duration> {
    let profile = case.profile();
    if profile.rotation == Rotation::None {
        // The old token stays good whatever became of the request: like one that wasn't processed.
        let put_off = asked.tried.put_off;
        return (put_off < around.attempts).then(|| retry_wait(put_off));
    }
    let first_sent_at = first.and_then(|first| first.sent_at).unwrap_or(asked.sent_at);
    match settle(profile, asked.tried.unanswered, first_sent_at, around.now) {
        Settlement::Again(wait) => Some(wait),
        Settlement::NextPass => None,
    }
}

/// What a refusal would make of the document.
fn refusal(case: &Case, asked: &Asked, said: LastError, around: &Around<'_>) -> Refusal {
    // A token that was sent before without an answer may have been rotated then: lost, not revoked. The same when
    // another process held it until its claim ran out, or wrote into the document that no answer came. One that was
    // refused before it was sent so was dead already.
    let known_dead = is_known_dead(&case.token);
    let was_revoked = known_dead && case.token.bookkeeping.state == State::NeedsLogin;
    let is_lost = said.lost.is_some() && !was_revoked;
    let profile = case.profile();
    // A refusal is what a lost answer lets expect; and whatever is sent after one may be punished as reuse.
    let is_expected = is_lost && said.lost.as_ref().is_some_and(|lost| !lost.turned_away);
    let is_last = is_expected || profile.rotation != Rotation::None && profile.ask_again == AskAgain::Never;
    Refusal {
        entry: asked.entry,
        state: if is_lost { State::LostInFlight } else { State::NeedsLogin },
        certain: asked.reading().class == Class::Refused && (asked.tried.refused > 1 || is_last),
        before: known_dead || refused_before(&case.token, around),
        evidence: said,
        received: None,
    }
}

/// Was this very token refused on an earlier occasion, at least the first wait ago?
fn refused_before(token: &DueToken, around: &Around<'_>) -> bool {
    let books = &token.bookkeeping;
    let apart = TimeDelta::from_std(around.policy.first_backoff).unwrap_or(TimeDelta::MAX);
    books.fingerprint == Some(token.refresh_token.fingerprint())
        && books.last_error.as_ref().is_some_and(|error| {
            let is_refusal = error.class.is(Evidence::Refused) || error.class.is(Evidence::Suspected);
            is_refusal && around.now - error.at >= apart
        })
}

/// What an answer says about the provider.
///
/// One that works for others and rejects what it has rejected before says nothing new: a few such documents must not
/// stop all others.
fn signal(case: &Case, asked: &Asked) -> Signal {
    let reading = asked.reading();
    let (code, http_status) = (reading.code.clone(), reading.http_status);
    match &reading.class {
        Class::Granted(_) => Signal::Works { granted: true },
        // Nor does a refusal of a token that was lost, or dead, before: only unexpected ones are judged. Least of all one
        // after a success that held nothing: if these are how the provider grants, they must stop us.
        Class::Refused | Class::Suspected => {
            let known_dead = is_known_dead(&case.token);
            let before = first_known(&case.token, asked.earlier.as_ref(), asked.doubts);
            let in_doubt = before.is_some_and(|lost| !lost.turned_away);
            let after_a_success = asked.earlier.as_ref().is_some_and(|lost| lost.cause.is(Code::NoTokens));
            match (known_dead || asked.tried.refused > 1, in_doubt) {
                (true, _) | (_, true) if after_a_success => Signal::NotAsked,
                (true, _) => Signal::Works { granted: false },
                (false, true) => Signal::RefusedInDoubt { code, http_status },
                (false, false) => {
                    Signal::Refused { code, http_status, before: case.token.bookkeeping.failures > 0 }
                }
            }
        }
        Class::Throttled(_) | Class::Transient if reading.rests.is_some() => Signal::NotAsked,
        Class::Throttled(wait) => Signal::Throttled { wait: *wait, may_be_alone: reading.may_be_alone },
        // It answered, and said nothing about itself.
        Class::Unlisted => Signal::NotAsked,
        Class::ClientRejected if case.token.bookkeeping.failures > 0 && !asked.unproven => Signal::NotAsked,
        // An unreadable success is the profile's fault, like a rejected client: it must not be repeated with all tokens.
        Class::ClientRejected | Class::Unreadable => {
            let unread = reading.class == Class::Unreadable;
            Signal::ClientRejected { code, http_status, tenant: None, unread }
        }
        // The provider's own success: like one that can't be read.
        Class::Ambiguous if reading.code == NO_TOKENS => {
            Signal::ClientRejected { code, http_status, tenant: None, unread: true }
        }
        // A page in the place of the provider's JSON, for one request: it says nothing of the others. Only where it costs a
        // login a run of them is an outage.
        Class::Ambiguous
            if is_a_page(reading) && !asked.unproven && !forbids_asking_again(case.profile()) =>
        {
            Signal::NotAsked
        }
        Class::Transient | Class::Ambiguous => Signal::Failed,
    }
}

/// Is it a page where the provider itself would have sent JSON, and not the answer of a server in trouble?
fn is_a_page(reading: &Reading) -> bool {
    reading.may_be_outage && matches!(reading.http_status, Some(400 | 409 | 422))
}

/// Is a token never sent again of which no answer settled what became of it?
fn forbids_asking_again(profile: &Profile) -> bool {
    profile.rotation != Rotation::None && profile.ask_again == AskAgain::Never
}

/// How long a token rests that was put off so often.
fn retry_wait(put_off: u32) -> Duration {
    FIRST_RETRY_WAIT * 2_u32.saturating_pow(put_off.saturating_sub(1))
}
