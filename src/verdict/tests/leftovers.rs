//! Rows that an earlier process left.

use super::*;
use crate::grant::answer::{Class, Granted, Reading};
use crate::journal::{AccessThen, Entry, EntryState, Intent, Journaled};
use crate::token::{Code, ParkedWhy};

pub(super) fn row(state: EntryState) -> Entry {
    Entry {
        id: entry(),
        state,
        intent: Intent {
            provider: "acme".into(),
            document: id(),
            subject: Subject::new("a@example.com"),
            fingerprint: RefreshToken::new("old".into()).fingerprint(),
            sent_at: now(),
            access: None,
            is_refreshed_elsewhere: false,
        },
        unsettled_since: matches!(state, EntryState::Unsettled | EntryState::AskAgain).then(now),
        turned_away_since: None,
        why: (state == EntryState::SetAside).then(|| ParkedWhy::Unreadable.word().to_owned()),
        peer: None,
        received_bytes: None,
        complete: None,
        elsewhere: None,
        access: AccessThen::Unknown,
        sent: None,
        answer: None,
    }
}

fn answer(class: Class, http_status: u16, settles: bool) -> LeftAnswer {
    let reading = Reading::new(class, "a_code", Some(http_status), settles);
    let reading = Some(Journaled::for_tests(entry(), reading));
    LeftAnswer { http_status, received_at: now(), reading, holds_a_token: false }
}

pub(super) fn granted(refresh_token: Option<&str>) -> Granted {
    Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("access".into()),
        refresh_token: refresh_token.map(|token| RefreshToken::new(token.into())),
        expires_in: Some(Duration::from_mins(1)),
        refresh_expires_in: None,
        login_expires_in: None,
        also: Vec::new(),
    }
}

struct Found {
    case: String,
    judged: LeftVerdict,
}

fn judged(
    case: &str,
    entry: &Entry,
    answer: Option<LeftAnswer>,
    rotation: Rotation,
    document: Option<&TokenDocument>,
) -> Found {
    let provider = provider(rotation, AskAgain::Once);
    let left = Left { entry, provider: Some(&provider), answer };
    Found { case: case.into(), judged: judge_left(&left, document, &around(&policy())) }
}

/// Compares the verdicts, and what the documents must say.
fn compare_left(found: Vec<Found>, expected: &[(&str, &str, &str)]) {
    let known: Vec<_> = found
        .iter()
        .map(|Found { judged, .. }| match &judged.known {
            None => "-".to_owned(),
            Some(known) => match known.evidence.lost.as_ref() {
                Some(lost) if lost.turned_away => format!("turned away: {}", lost.cause),
                Some(lost) => format!("lost: {}", lost.cause),
                None => format!("{}: {}", known.evidence.class, known.evidence.code),
            },
        })
        .collect();
    let lines: Vec<_> = expected.iter().map(|(case, line, _)| (*case, *line)).collect();
    let cases: Vec<_> = found.iter().map(|found| found.case.clone()).collect();
    compare(found.into_iter().map(|found| (found.case, found.judged.verdict)), &lines);
    for ((case, known), (_, _, wanted)) in cases.iter().zip(known).zip(expected) {
        assert_eq!(known, *wanted, "{case}");
    }
}

#[test]
fn a_row_without_a_usable_answer_ends_once_its_token_is_asked_for_by_no_pass() {
    use EntryState::{Answer, AskAgain, Intent, SetAside, Unsettled};
    let single = Rotation::SingleUse;
    let marked = document("old", books("old", State::NeedsLogin));
    let live = document("old", books("old", State::Live));
    let other = document("other", books("x", State::Live));
    let written = Bookkeeping { refreshed_at: Some(now()), ..books("ours", State::Live) };
    let for_token = |token: &str| {
        let spent = [RefreshToken::new(token.into()).fingerprint()].into_iter().collect();
        document("theirs", Bookkeeping { spent, ..written.clone() })
    };
    let (for_it, for_another) = (for_token("old"), for_token("another"));
    let then = document("theirs", written);
    let refused = || Some(answer(Class::Refused, 400, true));
    let cut = || Some(answer(Class::Ambiguous, 200, false));
    let sent = |entry: Entry, days_ago| {
        let sent_at = now() - chrono::TimeDelta::days(days_ago);
        Entry { intent: crate::journal::Intent { sent_at, ..entry.intent }, ..entry }
    };
    let (old, ahead) = (|entry| sent(entry, 1), |entry| sent(entry, -1000));
    let page = || Some(answer(Class::Ambiguous, 502, false));
    let with_token = || Some(LeftAnswer { holds_a_token: true, ..answer(Class::Ambiguous, 200, false) });
    compare_left(
        vec![
            judged("gone, or moved", &row(Unsettled), None, single, None),
            judged("gone for a day", &old(row(Unsettled)), None, single, None),
            judged("gone, by a clock of years ahead", &ahead(row(Unsettled)), None, single, None),
            judged("marked", &row(Unsettled), None, single, Some(&marked)),
            judged("waits", &row(Unsettled), None, single, Some(&live)),
            judged("another token", &row(Unsettled), None, single, Some(&other)),
            judged("we wrote a pair right then", &row(Unsettled), None, single, Some(&then)),
            judged("right then, for this token", &row(Unsettled), None, single, Some(&for_it)),
            judged("right then, for another token", &row(Unsettled), None, single, Some(&for_another)),
            judged("refused, and marked", &row(Answer), refused(), single, Some(&marked)),
            judged("says nothing, gone", &row(Answer), page(), single, None),
            judged("says nothing, gone for a day", &old(row(Answer)), page(), single, None),
            judged("says nothing, marked", &row(Answer), page(), single, Some(&marked)),
            judged("says nothing, another token", &row(Answer), page(), single, Some(&other)),
            judged("a cut success", &old(row(AskAgain)), cut(), single, None),
            judged("a cut success with a token in it", &row(AskAgain), with_token(), single, None),
            judged("set aside, gone", &row(SetAside), cut(), single, None),
            judged("set aside, marked", &row(SetAside), cut(), single, Some(&marked)),
            judged("never sent", &row(Intent), None, single, Some(&live)),
        ],
        &[
            ("gone, or moved", "LeftInDoubt | - | leave | - | -", "lost: stopped"),
            ("gone for a day", "LeftGone | Settled | leave | - | -", "-"),
            ("gone, by a clock of years ahead", "LeftGone | Settled | leave | - | -", "-"),
            ("marked", "LeftMarked | Settled | leave | - | -", "-"),
            ("waits", "LeftInDoubt | - | leave | - | -", "lost: stopped"),
            ("another token", "LeftOtherToken | Settled | leave | - | -", "-"),
            ("we wrote a pair right then", "LeftWrittenThen | Redeemed | leave | - | -", "-"),
            ("right then, for this token", "LeftWrittenThen | Redeemed | leave | - | -", "-"),
            ("right then, for another token", "LeftOtherToken | Settled | leave | - | -", "-"),
            ("refused, and marked", "LeftMarked | Settled | leave | - | -", "-"),
            ("says nothing, gone", "LeftLost | Lost(a_code) | leave | - | -", "lost: a_code"),
            ("says nothing, gone for a day", "LeftLost | Lost(a_code) | leave | - | -", "lost: a_code"),
            ("says nothing, marked", "LeftLost | Lost(a_code) | leave | - | -", "lost: a_code"),
            ("says nothing, another token", "LeftLost | Lost(a_code) | leave | - | -", "lost: a_code"),
            ("a cut success", "LeftGone | Settled | leave | - | -", "-"),
            ("a cut success with a token in it", "LeftInDoubt | - | leave | - | -", "lost: a_code"),
            ("set aside, gone", "LeftGone | Settled | leave | - | -", "-"),
            ("set aside, marked", "LeftBeside | - | leave | - | -", "-"),
            ("never sent", "LeftInDoubt | - | leave | - | -", "-"),
        ],
    );
}

#[test]
fn an_answer_of_an_earlier_process_means_what_a_live_one_means() {
    use EntryState::{Answer, AskAgain, SetAside, Unread};
    let live = document("old", books("old", State::Live));
    let there = Some(&live);
    let single = Rotation::SingleUse;
    let says = |class, status, settles| Some(answer(class, status, settles));
    let unreadable = || says(Class::Unreadable, 200, true);
    let freed = Entry { why: Some(Code::Unreadable.word().to_owned()), ..row(AskAgain) };
    let doubted = Entry { unsettled_since: Some(now()), ..row(Answer) };
    compare_left(
        vec![
            judged("refused", &row(Answer), says(Class::Refused, 400, true), single, there),
            judged("refused, in doubt before", &doubted, says(Class::Refused, 400, true), single, there),
            judged("a page", &row(Answer), says(Class::Transient, 503, false), single, there),
            judged(
                "a page, no rotation",
                &row(Answer),
                says(Class::Transient, 503, false),
                Rotation::None,
                there,
            ),
            judged("says nothing", &row(Answer), says(Class::Ambiguous, 200, false), single, there),
            judged("unreadable", &row(Answer), unreadable(), single, there),
            judged("unreadable, no rotation", &row(Answer), unreadable(), Rotation::None, there),
            judged("unread", &row(Unread), unreadable(), single, there),
            judged("unread, no rotation", &row(Unread), unreadable(), Rotation::None, there),
            judged("unread, a refusal by now", &row(Unread), says(Class::Refused, 200, true), single, there),
            judged("misread", &row(AskAgain), unreadable(), single, there),
            judged("freed by a person", &freed, unreadable(), single, there),
            judged("set aside", &row(SetAside), unreadable(), single, there),
        ],
        &[
            ("refused", "LeftNotProcessed | NotProcessed | leave | - | -", "-"),
            ("refused, in doubt before", "LeftNotProcessed | NotProcessed | leave | - | -", "lost: stopped"),
            ("a page", "LeftTurnedAway | TurnedAway(a_code) | leave | - | -", "turned away: a_code"),
            ("a page, no rotation", "LeftNotProcessed | NotProcessed | leave | - | -", "-"),
            ("says nothing", "LeftLost | Lost(a_code) | leave | - | -", "lost: a_code"),
            ("unreadable", "LeftUnreadable | CannotRead(a_code) | leave | - | -", "unreadable: a_code"),
            ("unreadable, no rotation", "LeftUnreadableAndKept | NotProcessed | leave | - | -", "-"),
            ("unread", "LeftUnread | - | leave | - | -", "unreadable: a_code"),
            ("unread, no rotation", "LeftUnreadAskAgain | AskAgain(a_code) | leave | - | -", "-"),
            ("unread, a refusal by now", "LeftUnread | - | leave | - | -", "unreadable: a_code"),
            ("misread", "LeftMisread | CannotRead(a_code) | leave | - | -", "unreadable: a_code"),
            ("freed by a person", "LeftInDoubt | - | leave | - | -", "lost: unreadable"),
            ("set aside", "LeftBeside | - | leave | - | -", "-"),
        ],
    );
    let row = row(Answer);
    let left = Left {
        entry: &row,
        provider: None,
        answer: Some(LeftAnswer { reading: None, ..answer(Class::Granted(granted(None)), 200, true) }),
    };
    let judged = judge_left(&left, there, &around(&policy()));
    assert_eq!(line(&judged.verdict), "LeftUnknownProvider | - | leave | - | -");
    assert!(judged.known.is_some_and(|known| known.evidence.code.is(Code::UnknownProvider)));
    // Nor can it be told what a page of that provider said of a token that another document may hold.
    let page = || LeftAnswer { reading: None, ..answer(Class::Ambiguous, 502, false) };
    for document in [None, Some(&document("other", books("x", State::Live)))] {
        let left = Left { entry: &row, provider: None, answer: Some(page()) };
        let judged = judge_left(&left, document, &around(&policy()));
        assert_eq!(line(&judged.verdict), "LeftUnknownProvider | - | leave | - | -");
    }
}

#[test]
fn the_pair_of_an_earlier_process_goes_into_its_document_or_is_parked() {
    use EntryState::{Answer, Orphan, Unread};
    let single = Rotation::SingleUse;
    let old = document("old", books("old", State::Live));
    let new = document("new", books("new", State::Live));
    let used_since = document("newer", books("new", State::Live));
    let spent = [RefreshToken::new("new".into()).fingerprint()].into_iter().collect();
    let spent = document("newer", Bookkeeping { spent, ..books("newer", State::Live) });
    let all = ["new", "old"].map(|token| RefreshToken::new(token.into()).fingerprint());
    let gone_on = Bookkeeping { spent: all.into_iter().collect(), ..books("newer", State::Live) };
    let stale = document("old", gone_on);
    let other = document("other", books("other", State::Live));
    let strange =
        TokenDocument { provider: Some("else".into()), ..document("old", books("old", State::Live)) };
    let refreshed = Bookkeeping { refreshed_at: Some(now()), ..books("old", State::Live) };
    let since = document("old", refreshed);
    let pair = |token| Some(answer(Class::Granted(granted(token)), 200, true));
    let ended = || {
        let received_at = now() - chrono::TimeDelta::hours(1);
        Some(LeftAnswer { received_at, ..answer(Class::Granted(granted(None)), 200, true) })
    };
    compare_left(
        vec![
            judged("gone", &row(Answer), pair(Some("new")), single, None),
            judged("gone, the same token", &row(Answer), pair(None), single, None),
            judged("the old token", &row(Answer), pair(Some("new")), single, Some(&old)),
            judged("the old token, unread before", &row(Unread), pair(Some("new")), single, Some(&old)),
            judged("the pair", &row(Answer), pair(Some("new")), single, Some(&new)),
            judged(
                "used by the application since",
                &row(Answer),
                pair(Some("new")),
                single,
                Some(&used_since),
            ),
            judged("spent by another machine since", &row(Answer), pair(Some("new")), single, Some(&spent)),
            judged("spent since, and the old token", &row(Answer), pair(Some("new")), single, Some(&stale)),
            judged("another token", &row(Answer), pair(Some("new")), single, Some(&other)),
            judged("another token, parked before", &row(Orphan), pair(Some("new")), single, Some(&other)),
            judged("parked before, its place is free", &row(Orphan), pair(Some("new")), single, Some(&old)),
            judged("another provider", &row(Answer), pair(Some("new")), single, Some(&strange)),
            judged("renewed", &row(Answer), pair(None), single, Some(&old)),
            judged("renewed since", &row(Answer), pair(None), single, Some(&since)),
            judged("ended", &row(Answer), ended(), single, Some(&old)),
        ],
        &[
            ("gone", "LeftPairGone | NoPlace(Gone) | leave | - | -", "unreadable: held"),
            ("gone, the same token", "LeftPairGone | Renewed | leave | - | -", "-"),
            (
                "the old token",
                "LeftPairWritten | Redeemed | pair new Live | granted | Refreshed",
                "unreadable: held",
            ),
            (
                "the old token, unread before",
                "LeftPairWritten | Redeemed | pair new Live | granted | Refreshed",
                "unreadable: held",
            ),
            ("the pair", "LeftPairThere | Redeemed | leave | - | -", "unreadable: held"),
            ("used by the application since", "LeftPairThere | Redeemed | leave | - | -", "unreadable: held"),
            (
                "spent by another machine since",
                "LeftPairThere | Redeemed | leave | - | -",
                "unreadable: held",
            ),
            (
                "spent since, and the old token",
                "LeftPairThere | Redeemed | leave | - | -",
                "unreadable: held",
            ),
            ("another token", "LeftPairSuperseded | NoPlace(Superseded) | leave | - | -", "unreadable: held"),
            ("another token, parked before", "LeftPairSuperseded | - | leave | - | -", "unreadable: held"),
            (
                "parked before, its place is free",
                "LeftPairWritten | Redeemed | pair new Live | granted | Refreshed",
                "unreadable: held",
            ),
            (
                "another provider",
                "LeftPairOtherProvider | NoPlace(ProviderChanged) | leave | - | -",
                "unreadable: held",
            ),
            ("renewed", "LeftPairWritten | Renewed | pair old Live | granted | Refreshed", "-"),
            ("renewed since", "LeftPairThere | Renewed | leave | - | -", "-"),
            ("ended", "LeftPairEnded | Renewed | leave | - | -", "-"),
        ],
    );
}

#[test]
fn a_pair_whose_refresh_token_the_server_has_written_itself_is_finished_unless_another_process_has_it() {
    use EntryState::Answer;
    let single = Rotation::SingleUse;
    // Under the claim of a process that is gone, of another one, and under none.
    let by_the_server = document("new", books("old", State::Live));
    let lease = Lease { id: "another".into(), ..books("old", State::Live).lease.unwrap() };
    let claimed = document("new", Bookkeeping { lease: Some(lease), ..books("old", State::Live) });
    let unclaimed = document("new", Bookkeeping::default());
    let sent = || Entry { sent: Some(RefreshToken::new("old".into())), ..row(Answer) };
    let pair = |token| Some(answer(Class::Granted(granted(token)), 200, true));
    let new_but_ended = || {
        let received_at = now() - chrono::TimeDelta::hours(1);
        Some(LeftAnswer { received_at, ..answer(Class::Granted(granted(Some("new"))), 200, true) })
    };
    compare_left(
        vec![
            judged("the server's own write", &sent(), pair(Some("new")), single, Some(&by_the_server)),
            judged("the server's, unclaimed", &sent(), pair(Some("new")), single, Some(&unclaimed)),
            judged("the server's, claimed by another", &sent(), pair(Some("new")), single, Some(&claimed)),
            judged("the server's, ended", &sent(), new_but_ended(), single, Some(&by_the_server)),
            judged(
                "the server's, not known what was sent",
                &row(Answer),
                pair(Some("new")),
                single,
                Some(&by_the_server),
            ),
        ],
        &[
            (
                "the server's own write",
                "LeftPairFinished | Redeemed | pair new Live | granted | Refreshed",
                "unreadable: held",
            ),
            (
                "the server's, unclaimed",
                "LeftPairFinished | Redeemed | pair new Live | granted | Refreshed",
                "unreadable: held",
            ),
            (
                "the server's, claimed by another",
                "LeftPairThere | Redeemed | leave | - | -",
                "unreadable: held",
            ),
            ("the server's, ended", "LeftPairThere | Redeemed | leave | - | -", "unreadable: held"),
            (
                "the server's, not known what was sent",
                "LeftPairThere | Redeemed | leave | - | -",
                "unreadable: held",
            ),
        ],
    );
}
