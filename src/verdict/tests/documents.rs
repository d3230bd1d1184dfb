//! The document as it is now: marks, copies, claims that are given back, and writes that did not match.

use super::leftovers::granted;
use super::*;
use crate::journal::{Journaled, Received};
use crate::token::{Evidence, LastError, Malformed, Reason};

pub(super) fn evidence() -> LastError {
    let (class, code) = (Evidence::Refused.into(), "invalid_grant".into());
    LastError { class, code, http_status: None, at: now(), lost: None }
}

pub(super) fn case(fact: Fact, books: Bookkeeping) -> Case {
    Case { token: token(books), provider: provider(Rotation::SingleUse, AskAgain::Once), fact }
}

fn live(fact: Fact) -> Case {
    case(fact, books("old", State::Live))
}

pub(super) fn verdict(case: &Case, document: Document<'_>) -> Verdict {
    judge(case, document, &around(&policy()))
}

fn refusal(state: State) -> Mark {
    Mark::Refused(Refusal {
        entry: entry(),
        state,
        evidence: evidence(),
        certain: true,
        before: false,
        received: None,
    })
}

#[test]
fn only_a_refused_token_makes_its_document_gone_while_refused() {
    let refused = |fact| verdict(&live(fact), Document::Gone).ends.unwrap().refused;
    for state in [State::NeedsLogin, State::LostInFlight] {
        assert!(refused(Fact::Marked(refusal(state), Belief::Believed)));
    }
    let spent = Mark::MayBeSpent(entry(), evidence());
    assert!(!refused(Fact::Marked(spent, Belief::Believed)), "nothing was sent");
    assert!(!refused(Fact::Overtaken { refused: false }) && refused(Fact::Overtaken { refused: true }));
}

#[test]
fn a_mark_is_made_only_where_the_document_still_holds_the_refused_token() {
    let theirs = document("new", books("old", State::Live));
    let other_claim = Bookkeeping { lease: None, ..books("old", State::Live) };
    let (taken, same) = (document("new", other_claim), document("old", books("old", State::Live)));
    let believed = |state| Fact::Marked(refusal(state), Belief::Believed);
    let with = |fact, document| verdict(&live(fact), document);
    let known = case(believed(State::NeedsLogin), books("old", State::NeedsLogin));
    let spent = || Fact::Marked(Mark::MayBeSpent(entry(), evidence()), Belief::Believed);
    compare(
        [
            ("not looked at".into(), with(believed(State::NeedsLogin), Document::NotRead)),
            ("unknown".into(), with(believed(State::NeedsLogin), Document::Unknown)),
            ("gone".into(), with(believed(State::NeedsLogin), Document::Gone)),
            ("another token, our claim".into(), with(believed(State::NeedsLogin), Document::There(&theirs))),
            ("another token, no claim".into(), with(believed(State::NeedsLogin), Document::There(&taken))),
            ("the token".into(), with(believed(State::NeedsLogin), Document::There(&same))),
            ("the token, lost".into(), with(believed(State::LostInFlight), Document::There(&same))),
            ("the token, known".into(), verdict(&known, Document::There(&same))),
            ("may be spent".into(), with(Fact::MayBeSpent(entry(), evidence()), Document::NotRead)),
            ("may be spent, believed".into(), with(spent(), Document::NotRead)),
            ("may be spent, there".into(), with(spent(), Document::There(&same))),
            ("may be spent, unknown".into(), with(spent(), Document::Unknown)),
            ("may be spent, gone".into(), with(spent(), Document::Gone)),
            (
                "may be spent, gone at once".into(),
                with(Fact::MayBeSpent(entry(), evidence()), Document::Gone),
            ),
        ],
        &[
            ("not looked at", "MarkLooks | - | look | - | -"),
            ("unknown", "MarkUnknown | NotProcessed | leave | - | StillDue(store)"),
            // It may have been moved: an earlier doubt stays with the token.
            ("gone", "MarkGone | NotProcessed | leave | - | Gone"),
            (
                "another token, our claim",
                "MarkSuperseded | Settled | Live next pass, failures 0 | - | Superseded",
            ),
            ("another token, no claim", "MarkSuperseded | Settled | leave | - | Superseded"),
            ("the token", "Marked | Settled | NeedsLogin next pass, failures 1 | - | NeedsLogin"),
            (
                "the token, lost",
                "MarkedLost | Settled | LostInFlight next pass, failures 1 | - | LostInFlight",
            ),
            (
                "the token, known",
                "Marked | Settled | NeedsLogin next pass, failures 1 | - | NeedsLogin, known",
            ),
            ("may be spent", "MayBeSpent | NotProcessed | hold may be spent | - | -"),
            ("may be spent, believed", "MarkLooks | - | look | - | -"),
            (
                "may be spent, there",
                "MarkedLost | Settled | LostInFlight next pass, failures 1 | - | LostInFlight",
            ),
            ("may be spent, unknown", "MarkUnknown | NotProcessed | leave | - | StillDue(store)"),
            ("may be spent, gone", "MarkGone | NotProcessed | leave | - | Gone"),
            ("may be spent, gone at once", "MarkGone | NotProcessed | leave | - | Gone"),
        ],
    );
}

#[test]
fn a_mark_that_is_not_believed_gives_the_claim_back() {
    let redeemed = || Mark::Redeemed(Redeemed { first: id(), at: None, successor: None, received: None });
    let spent = || Mark::MayBeSpent(entry(), evidence());
    let with = |mark, belief| verdict(&live(Fact::Marked(mark, belief)), Document::NotRead);
    compare(
        [
            (
                "refused, and not asked again".into(),
                verdict(
                    &live(match refusal(State::NeedsLogin) {
                        Mark::Refused(refusal) => Fact::RefusedOnce(refusal),
                        other => unreachable!("{other:?}"),
                    }),
                    Document::NotRead,
                ),
            ),
            ("refused, once".into(), with(refusal(State::NeedsLogin), Belief::Once)),
            ("refused, our fault".into(), with(refusal(State::NeedsLogin), Belief::OurFault)),
            ("redeemed, our fault".into(), with(redeemed(), Belief::OurFault)),
            ("may be spent, our fault".into(), with(spent(), Belief::OurFault)),
        ],
        &[
            ("refused, and not asked again", "NotAskedOnceMore | - | hold NeedsLogin, certain | - | -"),
            ("refused, once", "RefusedOnce | - | Live 15 min, failures 1 | - | StillDue(refused_once)"),
            (
                "refused, our fault",
                "RefusalsNotBelieved | - | Live next pass, after others, failures 1 | - | StillDue(refused_share)",
            ),
            (
                "redeemed, our fault",
                "MarksWithoutRequestNotBelieved | - | Live next pass, after others, failures 1 | - | StillDue(already_redeemed)",
            ),
            (
                "may be spent, our fault",
                "MarksWithoutRequestNotBelieved | - | Live next pass, after others, failures 1 | - | StillDue(not_asked_again)",
            ),
        ],
    );
}

#[test]
fn the_pair_of_a_token_that_was_redeemed_is_copied_or_its_user_is_marked() {
    let first = || TokenId::from_extended_json("2");
    let until = now() + chrono::TimeDelta::minutes(1);
    let lease = Lease { id: "theirs".into(), owner: "host:2".into(), until, taken_over: false, by: None };
    let claimed = Bookkeeping { lease: Some(lease), ..books("new", State::Live) };
    let new = RefreshToken::new("new".into()).fingerprint();
    let of = |first, successor| Fact::Redeemed(Redeemed { first, at: None, successor, received: None });
    let (pair, other) =
        (document("new", books("new", State::Live)), document("other", books("other", State::Live)));
    let busy = document("new", claimed.clone());
    let busy_itself = document("old", claimed.clone());
    let busy_with_another = document("other", claimed);
    let with = |fact, document| verdict(&live(fact), document);
    let known = case(of(first(), Some(new)), books("old", State::NeedsLogin));
    let believed = Fact::Marked(
        Mark::Redeemed(Redeemed { first: first(), at: None, successor: Some(new), received: None }),
        Belief::Believed,
    );
    let received = |is_parked| ReceivedPair {
        sent: RefreshToken::new("old".into()).fingerprint(),
        pair: Received::Kept(Journaled::for_tests(entry(), granted(Some("new")))),
        received_at: now(),
        is_parked,
    };
    let kept = |is_parked| {
        let received = Some(Box::new(received(is_parked)));
        Fact::Redeemed(Redeemed { first: first(), at: None, successor: Some(new), received })
    };
    compare(
        [
            ("kept, not looked at".into(), with(kept(false), Document::NotRead)),
            ("kept, claimed".into(), with(kept(false), Document::There(&busy))),
            ("kept, the pair is there".into(), with(kept(false), Document::There(&pair))),
            ("kept, another token is there".into(), with(kept(false), Document::There(&other))),
            ("kept, gone".into(), with(kept(false), Document::Gone)),
            ("parked, gone".into(), with(kept(true), Document::Gone)),
            ("not looked at".into(), with(of(first(), Some(new)), Document::NotRead)),
            ("unknown".into(), with(of(first(), Some(new)), Document::Unknown)),
            ("claimed".into(), with(of(first(), Some(new)), Document::There(&busy))),
            ("claimed for this one".into(), with(of(first(), None), Document::There(&busy_itself))),
            (
                "claimed for another login".into(),
                with(of(first(), None), Document::There(&busy_with_another)),
            ),
            ("the pair is there".into(), with(of(first(), Some(new)), Document::There(&pair))),
            ("another token is there".into(), with(of(first(), Some(new)), Document::There(&other))),
            ("no pair is known".into(), with(of(first(), None), Document::There(&pair))),
            ("gone".into(), with(of(first(), Some(new)), Document::Gone)),
            ("gone, known".into(), verdict(&known, Document::Gone)),
            ("gone, believed".into(), with(believed, Document::Gone)),
        ],
        &[
            ("kept, not looked at", "RedeemedLooks | - | look | - | -"),
            (
                "kept, claimed",
                "RedeemedOnItsWay | - | Live next pass, failures 0 | - | StillDue(same_token_in_flight)",
            ),
            ("kept, the pair is there", "Copied | - | pair new Live | - | Duplicate"),
            ("kept, another token is there", "PutBack | - | pair new Live | - | Restored"),
            ("kept, gone", "PutBack | - | pair new Live | - | Restored"),
            ("parked, gone", "PutBack | Redeemed | pair new Live | - | Restored"),
            ("not looked at", "RedeemedLooks | - | look | - | -"),
            ("unknown", "RedeemedUnknown | - | leave | - | StillDue(store)"),
            (
                "claimed",
                "RedeemedOnItsWay | - | Live next pass, failures 0 | - | StillDue(same_token_in_flight)",
            ),
            (
                "claimed for this one",
                "RedeemedOnItsWay | - | Live next pass, failures 0 | - | StillDue(same_token_in_flight)",
            ),
            ("claimed for another login", "RedeemedIsHeld | - | hold redeemed | - | -"),
            ("the pair is there", "Copied | - | pair new Live | - | Duplicate"),
            ("another token is there", "RedeemedIsHeld | - | hold redeemed | - | -"),
            ("no pair is known", "RedeemedIsHeld | - | hold redeemed | - | -"),
            ("gone", "RedeemedIsHeld | - | hold redeemed | - | -"),
            ("gone, known", "RedeemedMarked | - | NeedsLogin next pass, failures 1 | - | NeedsLogin, known"),
            ("gone, believed", "RedeemedMarked | - | NeedsLogin next pass, failures 1 | - | NeedsLogin"),
        ],
    );
}

#[test]
fn a_claim_is_given_back_with_its_reason() {
    let theirs = document("new", books("old", State::NeedsLogin));
    let with = |fact, document| verdict(&live(fact), document);
    let overtaken = || Fact::Overtaken { refused: false };
    let no_token = |malformed: Option<&Malformed>| {
        without_token(&document("old", books("old", State::Live)), malformed, &around(&policy()))
    };
    compare(
        [
            ("not sent".into(), with(Fact::NotSent(Reason::Stopped), Document::NotRead)),
            ("waits".into(), with(Fact::Waits(Reason::Held), Document::NotRead)),
            (
                "too young".into(),
                with(Fact::TooYoung(now() + chrono::TimeDelta::minutes(9)), Document::NotRead),
            ),
            ("not taken".into(), with(Fact::NotTaken, Document::NotRead)),
            ("overtaken".into(), with(overtaken(), Document::NotRead)),
            ("overtaken, unknown".into(), with(overtaken(), Document::Unknown)),
            ("overtaken, gone".into(), with(overtaken(), Document::Gone)),
            ("overtaken, there".into(), with(overtaken(), Document::There(&theirs))),
            ("malformed".into(), no_token(Some(&Malformed::Null))),
            ("another provider's".into(), no_token(None)),
        ],
        &[
            ("not sent", "NotSent | - | Live next pass, failures 0 | - | StillDue(stopped)"),
            ("waits", "Waits | - | Live 15 min, failures 1 | - | StillDue(held)"),
            ("too young", "TooYoung | - | Live 9 min, failures 0 | - | StillDue(too_young)"),
            ("not taken", "NotTaken | - | Live as before, failures 0 | - | -"),
            ("overtaken", "OvertakenLooks | - | look | - | -"),
            ("overtaken, unknown", "OvertakenUnknown | - | leave | - | StillDue(store)"),
            ("overtaken, gone", "OvertakenGone | - | leave | - | Gone"),
            ("overtaken, there", "Overtaken | - | Live next pass, failures 0 | - | Superseded"),
            ("malformed", "Malformed | - | Malformed next pass, failures 0 | - | Malformed"),
            ("another provider's", "Stray | - | Live as before, failures 0 | - | -"),
        ],
    );
}

#[test]
fn a_pair_that_is_not_in_its_document_is_parked_held_or_lost_and_never_dropped() {
    let change = || policy().release(&token(books("old", State::Live)));
    let new = RefreshToken::new("new".into()).fingerprint();
    let wrote = |event: Option<Event>, ends| {
        Verdict::write(Rule::Granted, change(), ends).with_row(event.map(|event| (entry(), event)))
    };
    let redeemed = || Event::Redeemed { successor: new, life: None };
    let rotated = || wrote(Some(redeemed()), Some(End::new(Outcome::Refreshed)));
    let renewed = || wrote(Some(Event::Renewed), Some(End::new(Outcome::Refreshed)));
    let marked = || wrote(Some(Event::Settled), Some(End::new(Outcome::NeedsLogin)));
    let put_off = || wrote(Some(Event::NotProcessed), Some(End::still_due(Reason::Held)));
    let given_back = || wrote(None, None);
    let failed = Unwritten::Failed(Reason::Store);
    let (theirs, gone) = (Unwritten::Theirs, Unwritten::Gone);
    let with = |verdict: Verdict, pair, why| judge_unwritten(&verdict, pair, why);
    compare(
        [
            ("rotated, theirs".into(), with(rotated(), Pair::Journaled, theirs)),
            ("rotated, gone".into(), with(rotated(), Pair::Journaled, gone)),
            ("rotated, not written".into(), with(rotated(), Pair::Journaled, failed)),
            ("rescued, theirs".into(), with(rotated(), Pair::Rescued, theirs)),
            ("rescued, gone".into(), with(rotated(), Pair::Rescued, gone)),
            ("rescued, not written".into(), with(rotated(), Pair::Rescued, failed)),
            ("renewed, theirs".into(), with(renewed(), Pair::Journaled, theirs)),
            ("renewed, not written".into(), with(renewed(), Pair::Journaled, failed)),
            ("renewed and rescued, not written".into(), with(renewed(), Pair::Rescued, failed)),
            ("renewed and rescued, gone".into(), with(renewed(), Pair::Rescued, gone)),
            ("a mark, theirs".into(), with(marked(), Pair::None, theirs)),
            ("a mark, not written".into(), with(marked(), Pair::None, failed)),
            ("put off, gone".into(), with(put_off(), Pair::None, gone)),
            ("put off, not written".into(), with(put_off(), Pair::None, failed)),
            ("given back, not written".into(), with(given_back(), Pair::None, failed)),
        ],
        &[
            ("rotated, theirs", "TheirsStays | NoPlace(Superseded) | leave | - | Superseded"),
            ("rotated, gone", "DocumentGone | NoPlace(Gone) | leave | - | Gone"),
            ("rotated, not written", "PairIsHeld | - | leave | - | Held"),
            ("rescued, theirs", "PairIsLost | Redeemed | leave | - | Lost"),
            ("rescued, gone", "PairIsLost | Redeemed | leave | - | Lost"),
            ("rescued, not written", "PairIsLost | - | leave | - | Lost"),
            ("renewed, theirs", "TheirsStays | Renewed | leave | - | Superseded"),
            ("renewed, not written", "PairIsHeld | - | leave | - | Held"),
            ("renewed and rescued, not written", "RenewalNotWritten | - | leave | - | StillDue(store)"),
            ("renewed and rescued, gone", "DocumentGone | Renewed | leave | - | Gone"),
            ("a mark, theirs", "TheirsStays | Settled | leave | - | Superseded"),
            ("a mark, not written", "NotWritten | NotProcessed | leave | - | StillDue(store)"),
            ("put off, gone", "DocumentGone | NotProcessed | leave | - | Gone"),
            ("put off, not written", "NotWritten | NotProcessed | leave | - | StillDue(held)"),
            ("given back, not written", "NotWritten | - | leave | - | -"),
        ],
    );
}

#[test]
fn a_redeemed_token_that_was_asked_and_refused_is_replaced_by_its_pair_and_not_marked() {
    let received = || ReceivedPair {
        sent: RefreshToken::new("old".into()).fingerprint(),
        pair: Received::Kept(Journaled::for_tests("8".parse().unwrap(), granted(Some("new")))),
        received_at: now(),
        is_parked: false,
    };
    let marked = |belief| {
        let Mark::Refused(refusal) = refusal(State::NeedsLogin) else { panic!("it is one") };
        let refusal = Refusal { received: Some(Box::new(received())), ..refusal };
        Fact::Marked(Mark::Refused(refusal), belief)
    };
    let there = document("old", books("old", State::Live));
    let other = document("other", books("other", State::Live));
    let with = |belief, document| verdict(&live(marked(belief)), document);
    compare(
        [
            ("not looked at".into(), with(Belief::Believed, Document::NotRead)),
            ("there".into(), with(Belief::Believed, Document::There(&there))),
            ("another token".into(), with(Belief::Believed, Document::There(&other))),
        ],
        &[
            ("not looked at", "MarkLooks | - | look | - | -"),
            ("there", "PutBack | Settled | pair new Live | - | Restored"),
            ("another token", "MarkSuperseded | Settled | Live next pass, failures 0 | - | Superseded"),
        ],
    );
}

#[test]
fn a_pair_that_goes_back_says_that_another_machine_may_have_sent_its_token() {
    let put_back = |sent_at: Option<Timestamp>, received_at, is_parked| {
        let lease =
            Lease { id: "ours".into(), owner: "host:1".into(), until: now(), taken_over: true, by: None };
        let old = RefreshToken::new("old".into()).fingerprint();
        let books = Bookkeeping { lease: Some(lease), ..books("old", State::Live) };
        let books = books.noting_a_doubt(old, sent_at, now());
        let received = ReceivedPair {
            sent: old,
            pair: Received::Kept(Journaled::for_tests(entry(), granted(Some("new")))),
            received_at,
            is_parked,
        };
        let first = TokenId::from_extended_json("2");
        let redeemed = Redeemed { first, at: None, successor: None, received: Some(Box::new(received)) };
        let put_back = verdict(&case(Fact::Redeemed(redeemed), books), Document::Gone);
        let Step::Write(change, _) = put_back.document else { panic!("{:?}", put_back.rule) };
        let new = RefreshToken::new("new".into()).fingerprint();
        assert_eq!((change.bookkeeping.fingerprint, change.bookkeeping.state), (Some(new), State::Live));
        change.bookkeeping.last_error
    };
    let hour = chrono::TimeDelta::hours(1);
    let (sent_at, before) = (now() - hour, now() - hour * 2);
    let lost = put_back(Some(sent_at), before, false).unwrap().lost.unwrap();
    assert_eq!((lost.sent_at, lost.turned_away), (Some(sent_at), false));
    assert_eq!(put_back(Some(sent_at), before, true), None, "no document had it");
    assert_eq!(put_back(Some(sent_at), now(), false), None, "it came later");
    assert_eq!(put_back(None, before, false), None, "this machine's own claim: its journal knows");
}

#[test]
fn a_refusal_is_believed_once_its_provider_is_known_to_be_well() {
    use crate::gate::Standing;
    let standing = |proven, judged, suspicious, accepted| Standing { proven, judged, suspicious, accepted };
    let waiting = |known_dead, over, end| Waiting { judged_when_it_came: 1, known_dead, over, end };
    let mark = |certain, before| {
        let Mark::Refused(refusal) = refusal(State::NeedsLogin) else { unreachable!() };
        Mark::Refused(Refusal { certain, before, ..refusal })
    };
    let (well, unproven) = (standing(true, 2, false, false), standing(false, 1, false, false));
    let (believed, once, ours) = (Some(Belief::Believed), Some(Belief::Once), Some(Belief::OurFault));
    for (mark, standing, waiting, expected) in [
        (mark(true, false), well, waiting(false, false, false), believed),
        (mark(false, false), well, waiting(false, false, false), once),
        (mark(false, true), well, waiting(false, false, false), believed),
        (mark(true, false), Standing { judged: 1, ..well }, waiting(false, false, false), None),
        (mark(true, false), Standing { judged: 1, ..well }, waiting(false, true, true), believed),
        (mark(true, false), unproven, waiting(false, false, false), None),
        (mark(true, false), unproven, waiting(false, true, true), once),
        (mark(true, true), unproven, waiting(false, true, false), once),
        (mark(true, true), unproven, waiting(false, true, true), believed),
        (mark(true, true), unproven, waiting(true, true, false), believed),
        // As at the end of a pass over one document.
        (mark(true, true), unproven, waiting(true, true, false), believed),
        (mark(true, true), Standing { accepted: true, ..unproven }, waiting(false, true, false), believed),
        (mark(true, true), Standing { suspicious: true, ..well }, waiting(true, true, true), ours),
        (mark(false, false), standing(false, 0, true, true), waiting(false, false, false), believed),
        (
            Mark::Redeemed(Redeemed { first: id(), at: None, successor: None, received: None }),
            well,
            waiting(false, false, false),
            None,
        ),
        (
            Mark::Redeemed(Redeemed { first: id(), at: None, successor: None, received: None }),
            well,
            waiting(false, true, false),
            believed,
        ),
        (Mark::MayBeSpent(entry(), evidence()), well, waiting(false, false, false), None),
        (Mark::MayBeSpent(entry(), evidence()), unproven, waiting(false, true, false), believed),
        (
            Mark::MayBeSpent(entry(), evidence()),
            Standing { suspicious: true, ..well },
            waiting(false, false, false),
            ours,
        ),
    ] {
        assert_eq!(believe(&mark, standing, waiting), expected, "{mark:?} {standing:?} {waiting:?}");
    }
}
