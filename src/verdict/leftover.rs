//! What follows from a row that an earlier process left.
//!
//! First the rows that wait for nothing any more: their token is asked for by no pass.
//!
//! | the document | a request without a usable answer |
//! |---|---|
//! | gone | settled; within a day only where nothing is in doubt |
//! | holds the token, and is marked for it | settled |
//! | holds the token | waits: its token is asked for first |
//! | holds the token that we wrote right then | redeemed |
//! | holds another token | settled |
//!
//! An answer that says nothing makes the row one in doubt first.
//!
//! Then a pair: [`place`] has its table. At last every other answer, by what it says.
//!
//! | answer | row was: answered | in doubt | unread |
//! |---|---|---|---|
//! | unreadable, provider rotates | kept unread | kept unread where an earlier version misread it | stays |
//! | unreadable, provider doesn't rotate | not processed | stays | asked for again |
//! | says nothing | lost | stays | stays |
//! | turned away, not the provider's own | turned away | stays | stays |
//! | anything else | not processed: the provider says it again | stays | stays |

mod there;

use super::change::finishing;
use super::document::write_pair;
use super::released::Known;
use super::spent::rotated;
use super::{Around, End, Rule, Step, Verdict};
use crate::clock::Timestamp;
use crate::grant::answer::{Class, Granted, Reading};
use crate::journal::{Entry, EntryState, Event, Journaled, Received};
use crate::provider::{Profile, Provider, Rotation};
use crate::select::{Selected, select};
use crate::token::{Code, DueToken, LEASE_MARGIN, ParkedWhy, RefreshToken, TokenDocument, Word};
use chrono::TimeDelta;
use there::{access_now, has_ended, has_gone_on, holds, is_unfinished};

/// Whose document is gone for so long is not in another place either.
const GONE_FOR_GOOD: TimeDelta = TimeDelta::days(1);

/// A row that an earlier process left.
#[derive(Debug)]
pub struct Left<'a> {
    /// The row.
    pub entry: &'a Entry,
    /// Its provider; `None` where it isn't configured any more.
    pub provider: Option<&'a Provider>,
    /// The answer in it.
    pub answer: Option<LeftAnswer>,
}

/// The answer in such a row.
#[derive(Debug)]
pub struct LeftAnswer {
    /// Its HTTP status.
    pub http_status: u16,
    /// When it came.
    pub received_at: Timestamp,
    /// What it means by the profile of today; `None` without a provider.
    pub reading: Option<Journaled<Reading>>,
    /// Does a refresh token stand in it, wherever it stands?
    pub holds_a_token: bool,
}

/// All that follows from such a row.
#[derive(Debug)]
pub struct LeftVerdict {
    /// For the row and the document.
    pub verdict: Verdict,
    /// What its document must say of the token, for as long as it holds that token.
    pub known: Option<Known>,
    /// Was the row sent or answered and is not over, so that its claim falls due before all others?
    pub is_open: bool,
}

/// What is known of the row beside its token.
enum Doubt {
    /// An earlier request for the token is in doubt.
    Was,
    /// This request is in doubt, for this reason.
    Is(Word<Code>),
    /// None.
    Not,
}

/// Judges a row, with its document as it is now.
#[must_use]
pub fn judge_left(left: &Left<'_>, document: Option<&TokenDocument>, around: &Around<'_>) -> LeftVerdict {
    if left.waits_for_a_request()
        && let Some((rule, event)) = over(left, document, around.now)
    {
        let verdict = Verdict::leave(rule, None).with_row(Some((left.entry.id, event)));
        return LeftVerdict { verdict, known: None, is_open: false };
    }
    let (verdict, known) = match &left.answer {
        None => stays(left, Rule::LeftInDoubt, Doubt::Was, around),
        Some(answer) => match (&answer.reading, left.provider) {
            (Some(reading), Some(provider)) => answered(left, answer, reading, provider, document, around),
            _ => without_provider(left, answer, around),
        },
    };
    let is_gone = document.is_none() && left.waits_for_a_request();
    LeftVerdict { verdict, known, is_open: left.entry.state.is_open() && !is_gone }
}

impl Left<'_> {
    /// Does its token wait to be asked for again, because nothing in the row is of use?
    ///
    /// A success that was cut holds nothing, unless a refresh token stands in what came of it.
    fn waits_for_a_request(&self) -> bool {
        match self.entry.state {
            EntryState::Unsettled => true,
            EntryState::AskAgain | EntryState::SetAside => !self.is_of_use(),
            // An answer without a pair says no more than none: its document may have been marked just before the crash.
            EntryState::Answer => !self.is_success(),
            EntryState::Intent | EntryState::Unread | EntryState::Orphan => false,
        }
    }

    fn is_success(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| (200..300).contains(&answer.http_status))
    }

    /// Is there a refresh token in a success, wherever it stands, or a pair where the profile says by now, or something
    /// that an earlier version took for a lost answer and that may hold a pair?
    fn is_of_use(&self) -> bool {
        let Some(answer) = self.answer.as_ref().filter(|_| self.is_success()) else { return false };
        let says = match answer.reading.as_ref().map(|reading| &reading.get().class) {
            Some(Class::Granted(_)) => true,
            Some(Class::Unreadable) => self.was_misread(),
            Some(_) | None => false,
        };
        answer.holds_a_token || says
    }

    /// Was a success that can't be read taken for a lost answer when it came? Not where a person has freed its token.
    fn was_misread(&self) -> bool {
        self.entry.state == EntryState::AskAgain
            && self.entry.why.as_deref() != Some(Code::Unreadable.word())
            && self.provider.is_some_and(|provider| provider.profile.rotation != Rotation::None)
    }

    fn was_in_doubt(&self) -> bool {
        matches!(self.entry.state, EntryState::Unsettled | EntryState::AskAgain)
            || self.entry.unsettled_since.is_some()
            || self.entry.turned_away_since.is_some()
    }

    /// Did an answer come that wasn't judged yet, and says nothing of the token, as far as there is a profile to read it by?
    fn settles_nothing(&self) -> bool {
        let reading = self.answer.as_ref().and_then(|answer| answer.reading.as_ref());
        self.entry.state == EntryState::Answer && reading.is_none_or(|reading| !reading.get().settles)
    }
}

/// How a row ends whose token is asked for by no pass; `None` while it waits.
fn over(left: &Left<'_>, document: Option<&TokenDocument>, now: Timestamp) -> Option<(Rule, Event)> {
    let (entry, profile) = (left.entry, left.provider.map(|provider| &provider.profile));
    // What is in doubt is noted first: another document may hold the token.
    let noted = |over| (!left.settles_nothing()).then_some(over);
    let Some(document) = document else {
        // It may have been moved, and hold the token under another `_id`: what is in doubt of that stays known for a while.
        // A clock that was years ahead must not keep it for years.
        let since = (now - entry.intent.sent_at).abs();
        let may_come_again = left.was_in_doubt() && since < GONE_FOR_GOOD;
        return if may_come_again { None } else { noted((Rule::LeftGone, Event::Settled)) };
    };
    let now_there = document.refresh_token.as_ref().ok().map(RefreshToken::fingerprint);
    if now_there == Some(entry.intent.fingerprint) {
        // What stands in a cut answer stays for a person for as long as it could be of use.
        let is_over =
            entry.state != EntryState::SetAside && select(document, false, profile, now) != Selected::Claim;
        return if is_over { noted((Rule::LeftMarked, Event::Settled)) } else { None };
    }
    // Written by us right then: the journal had failed, and the pair went straight into its document. The old token is
    // redeemed all the same, and a second document may hold it, whatever the application has made of the pair since.
    // What was written later may be another login's.
    let timeout = profile.map(|profile| profile.request_timeout).unwrap_or_default();
    let books = &document.bookkeeping;
    let after = books.refreshed_at.and_then(|at| (at - entry.intent.sent_at).to_std().ok());
    let written = books.fingerprint.filter(|written| *written != entry.intent.fingerprint);
    // A document that says what its pair came for is believed: another machine may have written it for another token.
    let spent_last = books.spent.last();
    let written = written.filter(|_| spent_last.is_none_or(|spent| spent == entry.intent.fingerprint));
    match written.filter(|_| after.is_some_and(|after| after < timeout + LEASE_MARGIN)) {
        Some(successor) => Some((Rule::LeftWrittenThen, rotated(successor, profile, &[books]))),
        None => noted((Rule::LeftOtherToken, Event::Settled)),
    }
}

/// The row stays as it is; its document says what is in doubt.
fn stays(left: &Left<'_>, rule: Rule, doubt: Doubt, around: &Around<'_>) -> (Verdict, Option<Known>) {
    let in_doubt = |cause| Some(Known::in_doubt(left.entry, cause, around.now));
    let known = match doubt {
        Doubt::Is(cause) => in_doubt(cause),
        Doubt::Was if left.was_in_doubt() => in_doubt(Code::Stopped.into()),
        Doubt::Was | Doubt::Not => None,
    };
    (Verdict::leave(rule, None), known)
}

/// The provider of the answer isn't configured any more: the answer is kept.
fn without_provider(left: &Left<'_>, answer: &LeftAnswer, around: &Around<'_>) -> (Verdict, Option<Known>) {
    // Another machine may know the provider, and must not ask it again for what this one holds.
    let holds = matches!(left.entry.state, EntryState::Answer | EntryState::Unread) && left.is_success();
    if holds {
        let code = Code::UnknownProvider.into();
        let known = Known::unread(left.entry, code, answer.http_status, around.now);
        return (Verdict::leave(Rule::LeftUnknownProvider, None), Some(known));
    }
    stays(left, Rule::LeftUnknownProvider, Doubt::Was, around)
}

fn answered(
    left: &Left<'_>,
    answer: &LeftAnswer,
    reading: &Journaled<Reading>,
    provider: &Provider,
    document: Option<&TokenDocument>,
    around: &Around<'_>,
) -> (Verdict, Option<Known>) {
    let (entry, read) = (left.entry, reading.get());
    let code: Word<Code> = Word::read(&read.code);
    let rotates = provider.profile.rotation != Rotation::None;
    let unread = |code| Some(Known::unread(entry, code, answer.http_status, around.now));
    let with = |rule, event| Verdict::leave(rule, None).with_row(Some((entry.id, event)));
    match (&read.class, entry.state) {
        (Class::Granted(granted), _) => {
            let rotated = granted.refresh_token.as_ref().map(RefreshToken::fingerprint);
            let rotated = rotated.is_some_and(|new| new != entry.intent.fingerprint);
            let pair = Received::Kept(reading.clone().map(|_| granted.clone()));
            let verdict = place(left, &pair, answer.received_at, &provider.profile, document, around);
            // For as long as the document doesn't take the pair.
            (verdict, rotated.then(|| unread(Code::Held.into())).flatten())
        }
        (_, EntryState::Orphan | EntryState::SetAside) => stays(left, Rule::LeftBeside, Doubt::Not, around),
        (Class::Unreadable, EntryState::AskAgain) if left.was_misread() => {
            (with(Rule::LeftMisread, Event::CannotRead(code.clone())), unread(code))
        }
        (_, EntryState::Unsettled | EntryState::AskAgain | EntryState::Intent) => {
            stays(left, Rule::LeftInDoubt, Doubt::Is(code), around)
        }
        // It was kept because it may hold the only copy of a pair. Who says by now that nothing is rotated may be wrong, or
        // another provider: the token is asked for again, and the answer stays until a pair came for it.
        (Class::Unreadable, EntryState::Unread) if !rotates => {
            (with(Rule::LeftUnreadAskAgain, Event::AskAgain(code)), None)
        }
        // The old token stays good whatever was said.
        (Class::Unreadable, EntryState::Answer) if !rotates => {
            (with(Rule::LeftUnreadableAndKept, Event::NotProcessed), None)
        }
        (_, EntryState::Unread) => (Verdict::leave(Rule::LeftUnread, None), unread(code)),
        (Class::Unreadable, EntryState::Answer) => {
            (with(Rule::LeftUnreadable, Event::CannotRead(code.clone())), unread(code))
        }
        (Class::Ambiguous, EntryState::Answer) => {
            let unsettled_since = entry.unsettled_since.or(Some(entry.intent.sent_at));
            let doubted = Entry { unsettled_since, answer: None, ..entry.clone() };
            let known = Known::in_doubt(&doubted, code.clone(), around.now);
            (with(Rule::LeftLost, Event::Lost { cause: code, peer: None }), Some(known))
        }
        (
            Class::ClientRejected | Class::Throttled(_) | Class::Transient | Class::Unlisted,
            EntryState::Answer,
        ) if !read.settles && rotates => {
            let turned_away_since = entry.turned_away_since.or(Some(entry.intent.sent_at));
            let doubted = Entry { turned_away_since, answer: None, ..entry.clone() };
            let known = Known::in_doubt(&doubted, code.clone(), around.now);
            (with(Rule::LeftTurnedAway, Event::TurnedAway { cause: code, peer: None }), Some(known))
        }
        // Whatever was said of the token then, the provider says again when it is asked again.
        (
            Class::Refused
            | Class::Suspected
            | Class::ClientRejected
            | Class::Throttled(_)
            | Class::Transient
            | Class::Unlisted,
            EntryState::Answer,
        ) => {
            let doubted = Entry { received_bytes: None, answer: None, ..entry.clone() };
            let known =
                left.was_in_doubt().then(|| Known::in_doubt(&doubted, Code::Stopped.into(), around.now));
            (with(Rule::LeftNotProcessed, Event::NotProcessed), known)
        }
    }
}

/// Where the pair of an earlier process goes.
///
/// | the document | the refresh token is new | it is the one that was sent |
/// |---|---|---|
/// | gone | parked | renewed |
/// | holds the pair, or held it | redeemed | – |
/// | holds its refresh token, which the server itself has written | written; redeemed where the access token has ended | – |
/// | belongs to another provider | parked | renewed |
/// | holds the token that was sent | written | written; renewed where the access token has ended, and where a later answer or another access token was written |
/// | holds another token | parked | renewed |
fn place(
    left: &Left<'_>,
    pair: &Received<Granted>,
    received_at: Timestamp,
    profile: &Profile,
    document: Option<&TokenDocument>,
    around: &Around<'_>,
) -> Verdict {
    let entry = left.entry;
    let old = entry.intent.fingerprint;
    let new = pair.get().refresh_token.as_ref().filter(|new| new.fingerprint() != old);
    let row = |event| Some((entry.id, event));
    let parked = |rule, why: ParkedWhy| match (entry.state, new) {
        // It stays where it is.
        (EntryState::Orphan, _) => Verdict::leave(rule, None),
        (_, Some(_)) => Verdict::leave(rule, None).with_row(row(Event::NoPlace(why))),
        // A pair that kept the refresh token holds nothing that the document's next grant doesn't give again.
        (_, None) => Verdict::leave(rule, None).with_row(row(Event::Renewed)),
    };
    let Some(document) = document else { return parked(Rule::LeftPairGone, ParkedWhy::Gone) };
    let now_there = document.refresh_token.as_ref();
    let goes_on = new.is_some_and(|new| has_gone_on(document, old, new, received_at));
    let holds_old = !goes_on && now_there.is_ok_and(|token| token.fingerprint() == old);
    let belongs = entry_provider_is(left, document, around);
    if let Some(new) = new.filter(|new| !holds_old && holds(document, new)) {
        let ended = || has_ended(pair.get(), profile, received_at, around.now);
        if belongs && is_unfinished(left.entry, new, document, around) && !ended() {
            let sent = left.entry.sent.clone();
            let token = sent.zip(document.clone().into_due_token().ok());
            if let Some((refresh_token, there)) = token {
                let token = DueToken { refresh_token, ..there };
                let change = around.policy.recovered(pair, &token, profile, received_at, around.jitter);
                return finish(document, write_pair(&token, profile, pair, change));
            }
        }
        let event = rotated(new.fingerprint(), Some(profile), &[&document.bookkeeping]);
        return Verdict::leave(Rule::LeftPairThere, None).with_row(row(event));
    }
    if !belongs {
        // Its next grant would send one provider's token to another one.
        return parked(Rule::LeftPairOtherProvider, ParkedWhy::ProviderChanged);
    }
    match now_there {
        // An access token that has ended is of no use, and the application may have a newer one.
        Ok(_) if holds_old && new.is_none() && has_ended(pair.get(), profile, received_at, around.now) => {
            Verdict::leave(Rule::LeftPairEnded, None).with_row(row(Event::Renewed))
        }
        // The refresh token stays: what was written since then came out of this answer, or of a later one.
        Ok(_) if holds_old && new.is_none() && document.bookkeeping.refreshed_at >= Some(received_at) => {
            Verdict::leave(Rule::LeftPairThere, None).with_row(row(Event::Renewed))
        }
        // It stays, and the access token beside it is another one than when it was sent: another program wrote a newer one.
        Ok(_) if holds_old && new.is_none() && entry.access.differs_from(access_now(document)) => {
            Verdict::leave(Rule::LeftPairSuperseded, None).with_row(row(Event::Renewed))
        }
        Ok(_) if holds_old => match document.clone().into_due_token() {
            Ok(token) => {
                let change = around.policy.recovered(pair, &token, profile, received_at, around.jitter);
                let verdict = write_pair(&token, profile, pair, change);
                let ends = verdict.ends.map(|end| End { recovered: true, ..end });
                Verdict { rule: Rule::LeftPairWritten, ends, ..verdict }
            }
            Err(_) => parked(Rule::LeftPairSuperseded, ParkedWhy::Superseded),
        },
        Ok(_) | Err(_) => parked(Rule::LeftPairSuperseded, ParkedWhy::Superseded),
    }
}

/// The pair is written into the document that holds its refresh token already.
fn finish(document: &TokenDocument, verdict: Verdict) -> Verdict {
    let step = match verdict.document {
        Step::Write(change, pair) => Step::Write(Box::new(finishing(&change, document)), pair),
        step => step,
    };
    let ends = verdict.ends.map(|end| End { recovered: true, ..end });
    Verdict { rule: Rule::LeftPairFinished, document: step, ends, ..verdict }
}

/// Does the document belong to the provider of the row?
fn entry_provider_is(left: &Left<'_>, document: &TokenDocument, around: &Around<'_>) -> bool {
    let provider = left.provider.map(|provider| &*provider.name);
    !around.documents_name_provider || document.provider.as_deref() == provider
}
