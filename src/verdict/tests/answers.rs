//! Live answers.

use super::*;
use crate::grant::answer::{Class, Granted, Reading};
use crate::journal::{Doubts, Journaled, Received, Rescued};
use crate::token::{Code, Evidence, LastError, Lost};

/// What is special about a case.
struct Special {
    rotation: Rotation,
    /// Does the answer settle what became of the request?
    settles: bool,
    rests: Option<Duration>,
    tried: Tried,
    ask_again: AskAgain,
    books: Bookkeeping,
    earlier: Option<Lost>,
    doubts: Doubts,
    unproven: bool,
    /// May it be an outage, and is no user granted now?
    outage: (bool, bool),
}

impl Default for Special {
    fn default() -> Self {
        Self {
            rotation: Rotation::SingleUse,
            settles: true,
            rests: None,
            tried: Tried { put_off: 1, unanswered: 1, refused: 0 },
            ask_again: AskAgain::Once,
            books: books("old", State::Live),
            earlier: None,
            doubts: Doubts::default(),
            unproven: false,
            outage: (false, false),
        }
    }
}

fn lost(cause: Code, turned_away: bool) -> Lost {
    Lost { cause: cause.into(), sent_at: Some(now()), peer: None, received_bytes: 0, turned_away }
}

fn granted(refresh_token: Option<&str>) -> Class {
    Class::Granted(Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("access".into()),
        refresh_token: refresh_token.map(|token| RefreshToken::new(token.into())),
        expires_in: None,
        refresh_expires_in: None,
        login_expires_in: None,
        also: Vec::new(),
    })
}

fn judged(class: Class, code: &str, kept: bool, special: Special) -> Verdict {
    let may_be_outage = special.outage.0;
    let reading =
        Reading { rests: special.rests, may_be_outage, ..Reading::new(class, code, None, special.settles) };
    let heard = if matches!(reading.class, Class::Ambiguous) {
        Heard::Nothing(reading)
    } else {
        let reading = if kept {
            Received::Kept(Journaled::for_tests(entry(), reading))
        } else {
            Received::Rescued(Rescued::for_tests(entry(), reading))
        };
        Heard::Answer { reading, received_at: now(), bytes: 9 }
    };
    let asked = Asked {
        entry: entry(),
        sent_at: now(),
        peer: None,
        heard,
        earlier: special.earlier,
        doubts: special.doubts,
        tried: special.tried,
        unproven: special.unproven,
        without_grants: special.outage.1,
    };
    let provider = provider(special.rotation, special.ask_again);
    let case = Case { token: token(special.books), provider, fact: Fact::Asked(Box::new(asked)) };
    judge(&case, Document::NotRead, &around(&policy()))
}

#[test]
fn a_grant_is_written_whatever_was_known_before() {
    let case = |class, kept, special| judged(class, "granted", kept, special);
    let dead = || Special { books: books("old", State::NeedsLogin), ..Special::default() };
    let refused = || Special { tried: Tried { refused: 1, ..Tried::default() }, ..Special::default() };
    let unsendable = "line\nbreak";
    compare(
        [
            ("new".into(), case(granted(Some("new")), true, Special::default())),
            ("new, of a marked one".into(), case(granted(Some("new")), true, dead())),
            ("new, refused a moment before".into(), case(granted(Some("new")), true, refused())),
            ("new, the journal failed".into(), case(granted(Some("new")), false, Special::default())),
            ("the same".into(), case(granted(Some("old")), true, Special::default())),
            ("none".into(), case(granted(None), true, Special::default())),
            ("one that can't be sent".into(), case(granted(Some(unsendable)), true, Special::default())),
        ],
        &[
            ("new", "Granted | Redeemed | pair new Live | granted | Refreshed"),
            (
                "new, of a marked one",
                "Granted | Redeemed | pair new Live | granted | Refreshed, was NeedsLogin: granted",
            ),
            (
                "new, refused a moment before",
                "Granted | Redeemed | pair new Live | granted | Refreshed, was NeedsLogin: asked_twice",
            ),
            ("new, the journal failed", "Granted | Redeemed | pair new Live, rescued | granted | Refreshed"),
            ("the same", "Granted | Renewed | pair old Live | granted | Refreshed"),
            ("none", "Granted | Renewed | pair old Live | granted | Refreshed"),
            (
                "one that can't be sent",
                "GrantedUnsendable | Redeemed | pair line\nbreak Malformed | granted | Malformed",
            ),
        ],
    );
}

#[test]
fn what_says_later_is_asked_again_a_few_times_and_a_page_leaves_a_doubt() {
    let last = || Tried { put_off: 3, ..Tried::default() };
    let page = |tried| Special { settles: false, tried, ..Special::default() };
    let kept = || Special { settles: false, rotation: Rotation::None, tried: last(), ..Special::default() };
    let case = |class, code, special| judged(class, code, true, special);
    let rests = |seconds| Special { rests: Some(Duration::from_secs(seconds)), ..Special::default() };
    let first = Tried { put_off: 1, ..Tried::default() };
    let second = Tried { put_off: 2, ..Tried::default() };
    compare(
        [
            (
                "throttled".into(),
                case(Class::Throttled(None), "slow", Special { tried: first, ..Special::default() }),
            ),
            (
                "throttled twice".into(),
                case(Class::Throttled(None), "slow", Special { tried: second, ..Special::default() }),
            ),
            (
                "throttled too often".into(),
                case(Class::Throttled(None), "slow", Special { tried: last(), ..Special::default() }),
            ),
            (
                "transient".into(),
                case(Class::Transient, "dns", Special { tried: first, ..Special::default() }),
            ),
            (
                "transient too often".into(),
                case(Class::Transient, "dns", Special { tried: last(), ..Special::default() }),
            ),
            ("too early".into(), case(Class::Transient, "too_early", rests(600))),
            ("throttled alone".into(), case(Class::Throttled(None), "quota", rests(0))),
            ("a page".into(), case(Class::Transient, "http_503", page(first))),
            ("a page too often".into(), case(Class::Transient, "http_503", page(last()))),
            ("a page, no rotation".into(), case(Class::Transient, "http_503", kept())),
            ("unlisted".into(), case(Class::Unlisted, "odd", Special::default())),
            ("unlisted page".into(), case(Class::Unlisted, "http_418", page(first))),
        ],
        &[
            ("throttled", "AskAgainLater | NotProcessed | again 1s | throttled | -"),
            ("throttled twice", "AskAgainLater | NotProcessed | again 2s | throttled | -"),
            (
                "throttled too often",
                "PutOff | NotProcessed | Live 15 min, failures 1 | throttled | StillDue(slow)",
            ),
            ("transient", "AskAgainLater | NotProcessed | again 1s | failed | -"),
            (
                "transient too often",
                "PutOff | NotProcessed | Live 15 min, failures 1 | failed | StillDue(dns)",
            ),
            ("too early", "Rests | NotProcessed | Live 10 min, failures 0 | - | StillDue(too_early)"),
            ("throttled alone", "Rests | NotProcessed | Live next pass, failures 0 | - | StillDue(quota)"),
            ("a page", "AskAgainLater | TurnedAway(http_503) | again 1s | failed | -"),
            (
                "a page too often",
                "PutOff | TurnedAway(http_503) | Live 15 min, failures 1, turned away | failed | StillDue(http_503)",
            ),
            (
                "a page, no rotation",
                "PutOff | NotProcessed | Live 15 min, failures 1 | failed | StillDue(http_503)",
            ),
            ("unlisted", "Unlisted | NotProcessed | Live 15 min, failures 1 | - | StillDue(odd)"),
            (
                "unlisted page",
                "Unlisted | TurnedAway(http_418) | Live 15 min, failures 1, turned away | - | StillDue(http_418)",
            ),
        ],
    );
}

#[test]
fn a_lost_answer_is_asked_for_again_as_its_provider_forgives() {
    let tried = |unanswered| Tried { unanswered, ..Tried::default() };
    let with = |rotation, tried| Special { rotation, tried, settles: false, ..Special::default() };
    let none = |put_off| with(Rotation::None, Tried { put_off, unanswered: put_off, refused: 0 });
    let case = |code, special| judged(Class::Ambiguous, code, true, special);
    compare(
        [
            ("strict".into(), case("timeout", with(Rotation::SingleUse, tried(1)))),
            ("strict, twice".into(), case("timeout", with(Rotation::SingleUse, tried(2)))),
            ("grace".into(), case("timeout", with(Rotation::Grace, tried(1)))),
            ("grace, 15 times".into(), case("timeout", with(Rotation::Grace, tried(15)))),
            ("no rotation".into(), case("timeout", none(1))),
            ("no rotation, 3 times".into(), case("timeout", none(3))),
            ("its own empty success".into(), case("no_tokens", with(Rotation::SingleUse, tried(2)))),
        ],
        &[
            ("strict", "LostAskAgain | Lost(timeout) | again 2s | failed | -"),
            (
                "strict, twice",
                "LostPutOff | Lost(timeout) | Live 15 min, failures 1, lost | failed | StillDue(timeout)",
            ),
            ("grace", "LostAskAgain | Lost(timeout) | again 0ns | failed | -"),
            (
                "grace, 15 times",
                "LostPutOff | Lost(timeout) | Live 15 min, failures 1, lost | failed | StillDue(timeout)",
            ),
            ("no rotation", "LostAskAgain | Lost(timeout) | again 1s | failed | -"),
            (
                "no rotation, 3 times",
                "LostPutOff | Lost(timeout) | Live 15 min, failures 1, lost | failed | StillDue(timeout)",
            ),
            (
                "its own empty success",
                "LostPutOff | Lost(no_tokens) | Live 15 min, failures 1, lost | rejected | StillDue(no_tokens)",
            ),
        ],
    );
}

#[test]
fn an_outage_in_which_no_user_is_granted_is_not_the_tokens() {
    let (first, last) = (Tried { put_off: 1, ..Tried::default() }, Tried { put_off: 3, ..Tried::default() });
    let with = |settles, tried, outage| Special { settles, tried, outage, ..Special::default() };
    let none = Special {
        rotation: Rotation::None,
        ..with(false, Tried { put_off: 1, unanswered: 1, refused: 0 }, (true, true))
    };
    let case = |special| judged(Class::Ambiguous, "http_502", true, special);
    compare(
        [
            ("outage".into(), case(with(false, first, (true, true)))),
            ("outage, too often".into(), case(with(false, last, (true, true)))),
            ("outage, in the provider's own words".into(), case(with(true, first, (true, true)))),
            (
                "among grants".into(),
                case(with(false, Tried { unanswered: 1, ..Tried::default() }, (true, false))),
            ),
            (
                "a timeout".into(),
                case(with(false, Tried { unanswered: 1, ..Tried::default() }, (false, true))),
            ),
            ("no rotation".into(), case(none)),
        ],
        &[
            ("outage", "OutageAskAgain | TurnedAway(http_502) | again 1s | failed | -"),
            (
                "outage, too often",
                "OutagePutOff | TurnedAway(http_502) | Live 15 min, failures 1, turned away | failed | StillDue(http_502)",
            ),
            ("outage, in the provider's own words", "OutageAskAgain | NotProcessed | again 1s | failed | -"),
            ("among grants", "LostAskAgain | Lost(http_502) | again 2s | failed | -"),
            ("a timeout", "LostAskAgain | Lost(http_502) | again 2s | failed | -"),
            ("no rotation", "LostAskAgain | Lost(http_502) | again 1s | failed | -"),
        ],
    );
}

#[test]
fn a_refusal_waits_to_be_believed_and_says_lost_where_an_answer_is_missing() {
    let case = |class: Class, special: Special| {
        let tried = Tried { refused: special.tried.refused + 1, ..special.tried };
        let tried = if class == Class::Refused { tried } else { special.tried };
        judged(class, "invalid_grant", true, Special { tried, ..special })
    };
    let twice = || Special { tried: Tried { refused: 1, ..Tried::default() }, ..Special::default() };
    let refused_at = |minutes: i64| {
        let at = now() - chrono::TimeDelta::minutes(minutes);
        let (class, code) = (Evidence::Refused.into(), "invalid_grant".into());
        let last_error = Some(LastError { class, code, http_status: None, at, lost: None });
        Special { books: Bookkeeping { last_error, ..books("old", State::Live) }, ..Special::default() }
    };
    let marked = |state| Special { books: books("old", state), ..Special::default() };
    let after = |lost| Special { earlier: Some(lost), ..Special::default() };
    let unsettled = Doubts { unsettled_since: Some(now()), turned_away_since: None };
    let no_rotation = Special { rotation: Rotation::None, doubts: unsettled, ..Special::default() };
    compare(
        [
            ("refused".into(), case(Class::Refused, Special::default())),
            ("refused twice".into(), case(Class::Refused, twice())),
            (
                "refused, and may not be sent again".into(),
                case(Class::Refused, Special { ask_again: AskAgain::Never, ..Special::default() }),
            ),
            ("suspected".into(), case(Class::Suspected, Special::default())),
            ("refused a minute ago".into(), case(Class::Refused, refused_at(1))),
            ("refused an hour ago".into(), case(Class::Suspected, refused_at(60))),
            ("marked for this token".into(), case(Class::Refused, marked(State::NeedsLogin))),
            (
                "marked lost".into(),
                case(Class::Refused, Special { doubts: unsettled, ..marked(State::LostInFlight) }),
            ),
            ("after a lost answer".into(), case(Class::Refused, after(lost(Code::Timeout, false)))),
            ("after a page".into(), case(Class::Refused, after(lost(Code::Html, true)))),
            ("after an empty success".into(), case(Class::Refused, after(lost(Code::NoTokens, false)))),
            (
                "the journal knows a lost answer".into(),
                case(Class::Refused, Special { doubts: unsettled, ..Special::default() }),
            ),
            (
                "and marked before that".into(),
                case(Class::Refused, Special { doubts: unsettled, ..marked(State::NeedsLogin) }),
            ),
            ("no rotation: nothing is lost".into(), case(Class::Refused, no_rotation)),
        ],
        &[
            ("refused", "RefusedAskOnceMore | NotProcessed | once more after 2s | refused | -"),
            ("refused twice", "RefusedIsHeld | NotProcessed | hold NeedsLogin, certain | works | -"),
            (
                "refused, and may not be sent again",
                "RefusedIsHeld | NotProcessed | hold NeedsLogin, certain | refused | -",
            ),
            ("suspected", "RefusedIsHeld | NotProcessed | hold NeedsLogin | refused | -"),
            ("refused a minute ago", "RefusedAskOnceMore | NotProcessed | once more after 2s | refused | -"),
            ("refused an hour ago", "RefusedIsHeld | NotProcessed | hold NeedsLogin, before | refused | -"),
            ("marked for this token", "RefusedIsHeld | NotProcessed | hold NeedsLogin, before | works | -"),
            ("marked lost", "RefusedIsHeld | NotProcessed | hold LostInFlight, certain, before | works | -"),
            (
                "after a lost answer",
                "RefusedIsHeld | NotProcessed | hold LostInFlight, certain | in doubt | -",
            ),
            ("after a page", "RefusedAskOnceMore | NotProcessed | once more after 2s | refused | -"),
            ("after an empty success", "RefusedIsHeld | NotProcessed | hold LostInFlight, certain | - | -"),
            (
                "the journal knows a lost answer",
                "RefusedIsHeld | NotProcessed | hold LostInFlight, certain | in doubt | -",
            ),
            ("and marked before that", "RefusedIsHeld | NotProcessed | hold NeedsLogin, before | works | -"),
            (
                "no rotation: nothing is lost",
                "RefusedAskOnceMore | NotProcessed | once more after 2s | in doubt | -",
            ),
        ],
    );
}

#[test]
fn what_rejects_the_client_or_cannot_be_read_marks_no_user() {
    let failed =
        || Special { books: Bookkeeping { failures: 2, ..books("old", State::Live) }, ..Special::default() };
    let none = || Special { rotation: Rotation::None, ..Special::default() };
    let page = || Special { settles: false, ..Special::default() };
    let case = |class, code, special| judged(class, code, true, special);
    compare(
        [
            ("client".into(), case(Class::ClientRejected, "invalid_client", Special::default())),
            ("client, a page".into(), case(Class::ClientRejected, "http_403", page())),
            ("client, again".into(), case(Class::ClientRejected, "invalid_client", failed())),
            (
                "client, again, unproven".into(),
                case(Class::ClientRejected, "invalid_client", Special { unproven: true, ..failed() }),
            ),
            ("unreadable".into(), case(Class::Unreadable, "no_tokens", Special::default())),
            ("unreadable, no rotation".into(), case(Class::Unreadable, "no_tokens", none())),
        ],
        &[
            (
                "client",
                "ClientRejected | NotProcessed | Live next pass, after others, failures 1 | rejected | StillDue(client_rejected)",
            ),
            (
                "client, a page",
                "ClientRejected | TurnedAway(http_403) | Live next pass, after others, failures 1, turned away | rejected | StillDue(client_rejected)",
            ),
            (
                "client, again",
                "ClientRejected | NotProcessed | Live next pass, after others, failures 3 | - | StillDue(client_rejected)",
            ),
            (
                "client, again, unproven",
                "ClientRejected | NotProcessed | Live next pass, after others, failures 3 | rejected | StillDue(client_rejected)",
            ),
            (
                "unreadable",
                "Unreadable | CannotRead(no_tokens) | Live 15 min, failures 1 | rejected | StillDue(no_tokens)",
            ),
            (
                "unreadable, no rotation",
                "UnreadableAndKept | NotProcessed | Live 15 min, failures 1 | rejected | StillDue(no_tokens)",
            ),
        ],
    );
}
