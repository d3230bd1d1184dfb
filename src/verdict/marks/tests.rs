//! Marks that are made, and taken back.

use crate::clock::Timestamp;
use crate::journal::MadeMark;
use crate::provider::{Provider, profile};
use crate::store::Fence;
use crate::token::{
    Bookkeeping, Code, DueToken, Evidence, Facts, LastError, Lease, Lost, RefreshToken, State, Subject,
    TokenDocument, TokenId,
};
use crate::verdict::change::DuePolicy;
use crate::verdict::tests::policy_of;
use crate::verdict::{
    Around, Belief, Case, Document, Fact, Mark, Refusal, TakingBack, judge, made_mark, take_back,
};
use chrono::TimeDelta;
use std::sync::Arc;

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::seconds(seconds)
}

fn policy() -> DuePolicy {
    policy_of(at(1000))
}

fn around(policy: &DuePolicy, now: Timestamp) -> Around<'_> {
    let (attempts, documents_name_provider) = (3, false);
    Around { policy, lease_id: "ours", earlier: &[], attempts, documents_name_provider, now, jitter: 0.0 }
}

fn error(class: Evidence, at: Timestamp, lost: Option<Lost>) -> LastError {
    LastError { class: class.into(), code: "invalid_grant".into(), http_status: Some(400), at, lost }
}

fn lost() -> Lost {
    Lost {
        cause: Code::Reset.into(),
        sent_at: Some(at(990)),
        peer: None,
        received_bytes: 0,
        turned_away: false,
    }
}

fn token(text: &str) -> RefreshToken {
    RefreshToken::new(text.into())
}

fn books(of: &str, state: State, last_error: Option<LastError>) -> Bookkeeping {
    let lease =
        Lease { id: "ours".into(), owner: "host:1".into(), until: at(2000), taken_over: false, by: None };
    Bookkeeping {
        state,
        since: Some(at(7)),
        fingerprint: Some(token(of).fingerprint()),
        failures: 2,
        last_error,
        lease: Some(lease),
        ..Bookkeeping::default()
    }
}

fn document(bookkeeping: Bookkeeping) -> TokenDocument {
    TokenDocument {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        provider: None,
        refresh_token: Ok(token("old")),
        access_token: None,
        facts: Facts::default(),
        bookkeeping,
    }
}

/// A document with this bookkeeping is marked at second 1001: the mark as it is listed, and the document as it is then.
fn marked(before: Bookkeeping, state: State, lost: Option<Lost>) -> (Option<MadeMark>, TokenDocument) {
    let (policy, there) = (policy(), document(before));
    let entry = "7".parse().unwrap();
    let evidence = error(Evidence::Refused, at(1001), lost);
    let refusal = Refusal { entry, state, evidence, certain: true, before: false, received: None };
    let provider = Arc::new(Provider {
        name: "acme".into(),
        profile_name: "generic".into(),
        profile: profile::load("generic").unwrap(),
        token_url: "https://acme.example/token".parse::<url::Url>().unwrap().into(),
        values: crate::provider::Values::default(),
        client_id: "id".into(),
        client_secret: None,
    });
    let case = Case {
        token: DueToken {
            id: there.id.clone(),
            subject: there.subject.clone(),
            refresh_token: token("old"),
            access_token: None,
            facts: Facts::default(),
            bookkeeping: there.bookkeeping.clone(),
        },
        provider,
        fact: Fact::Marked(Mark::Refused(refusal), Belief::Believed),
    };
    let around = around(&policy, at(1001));
    let verdict = judge(&case, Document::There(&there), &around);
    let super::Step::Write(change, _) = &verdict.document else { panic!("{verdict:?}") };
    let bookkeeping = change.bookkeeping.clone();
    (made_mark(&case, &verdict, &around), document(bookkeeping))
}

#[test]
fn a_mark_that_is_taken_back_leaves_the_login_as_it_was_and_due_behind_the_others() {
    let timeout = error(Evidence::Ambiguous, at(5), None);
    for (before, lost_then, expected_error, since) in [
        (books("old", State::Live, None), None, None, at(7)),
        (books("old", State::Live, Some(timeout.clone())), None, Some(timeout.clone()), at(7)),
        // What was said of another token is nothing of this one; that login was seen first when it was marked.
        (books("before", State::NeedsLogin, Some(timeout.clone())), None, None, at(1001)),
        // A token that may be spent stays one, so that it isn't sent again where that is forbidden.
        (
            books("old", State::Live, Some(timeout.clone())),
            Some(lost()),
            Some(LastError { lost: Some(lost()), ..timeout }),
            at(7),
        ),
        (books("old", State::Live, None), Some(lost()), Some(LastError::in_doubt(lost(), at(1010))), at(7)),
    ] {
        let (mark, there) = marked(before.clone(), State::NeedsLogin, lost_then);
        let mark = mark.unwrap();
        assert_eq!((there.bookkeeping.state, mark.marked_at), (State::NeedsLogin, at(1001)));
        let policy = policy();
        let taking_back = take_back(&mark, Some(&there), at(0), &around(&policy, at(1010)));
        let TakingBack::Write(change) = taking_back else { panic!("{taking_back:?}") };
        assert_eq!(change.expect_lease, Fence::Marked(at(1001)));
        assert_eq!(change.expect_refresh_token, Some(token("old")));
        assert!(change.pair.is_none());
        let Bookkeeping { state, since: live_since, last_error, failures, due_at, lease, .. } =
            change.bookkeeping;
        assert_eq!((state, live_since, last_error), (State::Live, Some(since), expected_error), "{before:?}");
        assert_eq!((failures, due_at, lease), (3, Some(at(1010)), None));
    }
}

#[test]
fn a_mark_that_is_made_anew_is_the_same_mark() {
    for (first, second) in [
        (State::NeedsLogin, State::NeedsLogin),
        (State::LostInFlight, State::LostInFlight),
        (State::LostInFlight, State::NeedsLogin),
    ] {
        let (_, there) = marked(books("old", State::Live, None), first, None);
        let moment = there.bookkeeping.marked_at();
        assert_eq!(moment, Some(at(1001)));
        let before = Bookkeeping { since: Some(at(500)), ..there.bookkeeping };
        let (anew, there) = marked(before, second, None);
        assert_eq!((anew, there.bookkeeping.marked_at()), (None, Some(at(500))), "{first:?} {second:?}");
    }
}

#[test]
fn a_claim_that_may_be_taken_over_keeps_no_mark_from_being_taken_back_and_its_process_may_have_sent_the_token()
 {
    let (mark, mut there) = marked(books("old", State::Live, None), State::NeedsLogin, None);
    let (mark, policy) = (mark.unwrap(), policy());
    there.bookkeeping.lease =
        books("old", State::Live, None).lease.map(|lease| Lease { id: "theirs".into(), ..lease });
    let around = around(&policy, at(3000));
    assert!(matches!(take_back(&mark, Some(&there), at(1999), &around), TakingBack::IsClaimed));
    let TakingBack::Write(change) = take_back(&mark, Some(&there), at(2000), &around) else {
        panic!("it has ended")
    };
    assert_eq!(change.expect_lease, Fence::Lease("theirs".into()));
    assert_eq!((change.bookkeeping.state, &change.bookkeeping.lease), (State::Live, &None));
    let lost = change.bookkeeping.last_error.unwrap().lost.unwrap();
    assert_eq!((&*lost.cause, lost.sent_at), ("claim_ended", None));
}

#[test]
fn a_mark_that_was_known_is_not_listed_and_what_another_program_has_changed_is_not_touched() {
    let refused = Some(error(Evidence::Refused, at(5), None));
    let (known, _) = marked(books("old", State::NeedsLogin, refused), State::LostInFlight, None);
    assert_eq!(known, None);
    let (mark, there) = marked(books("old", State::Live, None), State::LostInFlight, None);
    let (mark, policy) = (mark.unwrap(), policy());
    let word = |document: Option<&TokenDocument>| {
        let around = around(&policy, at(1010));
        match take_back(&mark, document, at(1999), &around) {
            TakingBack::Write(_) => "write",
            TakingBack::IsClaimed => "claimed",
            TakingBack::IsNotThere => "not there",
        }
    };
    let with = |change: fn(&mut TokenDocument)| {
        let mut there = there.clone();
        change(&mut there);
        word(Some(&there))
    };
    assert_eq!((word(Some(&there)), word(None)), ("write", "not there"));
    assert_eq!(with(|there| there.refresh_token = Ok(token("new"))), "not there");
    assert_eq!(with(|there| there.bookkeeping = Bookkeeping::default()), "not there");
    assert_eq!(with(|there| there.bookkeeping.state = State::Live), "not there");
    assert_eq!(with(|there| there.bookkeeping.since = Some(at(1002))), "not there", "another mark");
    assert_eq!(
        with(|there| there.bookkeeping.last_error = Some(error(Evidence::Refused, at(1002), None))),
        "write",
        "the same one: the token was asked for again"
    );
    assert_eq!(with(|there| there.bookkeeping.lease = books("old", State::Live, None).lease), "claimed");
}
