use super::*;
use crate::token::{AccessToken, Subject, TokenId};

fn policy() -> DuePolicy {
    DuePolicy {
        renew_after: "1/3".parse().unwrap(),
        first_backoff: Duration::from_mins(15),
        longest_backoff: Duration::from_hours(24),
        due_by: "2026-11-21T03:00:00Z".parse().unwrap(),
    }
}

fn token() -> DueToken {
    DueToken {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        refresh_token: RefreshToken::new("old".into()),
        bookkeeping: Bookkeeping::default(),
        login_ends_at: None,
        logged_in_at: None,
    }
}

fn document(refresh_token: &str, bookkeeping: Bookkeeping) -> TokenDocument {
    TokenDocument {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        provider: None,
        refresh_token: Ok(RefreshToken::new(refresh_token.into())),
        access_token: Some(AccessToken::new("a".into())),
        bookkeeping,
    }
}

fn pair_change(new: &str) -> Change {
    let mut change = policy().release(&token());
    change.pair = Some(PairChange {
        refresh_token: RefreshToken::new(new.into()),
        access_token: AccessToken::new("a2".into()),
    });
    change
}

#[test]
fn a_change_that_did_not_match_is_ours_theirs_unchanged_or_gone() {
    let rotated = pair_change("new");
    let kept = pair_change("old");
    let written = kept.bookkeeping.clone();
    for (change, found, expected) in [
        (&rotated, None, Found::Gone),
        (&rotated, Some(document("new", Bookkeeping::default())), Found::Ours),
        (&rotated, Some(document("theirs", Bookkeeping::default())), Found::Theirs),
        (&rotated, Some(document("old", Bookkeeping::default())), Found::Unchanged),
        (&kept, Some(document("old", written)), Found::Ours),
        (&kept, Some(document("old", Bookkeeping::default())), Found::Unchanged),
        (&kept, Some(document("theirs", Bookkeeping::default())), Found::Theirs),
    ] {
        assert_eq!(settle(change, found.as_ref()), expected);
    }
    let mark = policy().release(&token());
    assert_eq!(settle(&mark, Some(&document("old", mark.bookkeeping.clone()))), Found::Ours);
    assert_eq!(settle(&mark, Some(&document("new", Bookkeeping::default()))), Found::Theirs);
}

#[test]
fn nothing_that_a_pass_writes_is_due_in_the_same_pass() {
    let (policy, token) = (policy(), token());
    let long_ago: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let error =
        LastError { class: "c".into(), code: "c".into(), http_status: None, at: long_ago, lost: None };
    for change in [
        policy.retirement(&token, State::NeedsLogin, error.clone()),
        policy.deferral(&token, error, 0.5),
        policy.release(&token),
        policy.malformed(&document("old", Bookkeeping::default()), &Malformed::Null, long_ago),
    ] {
        assert!(change.bookkeeping.due_at > Some(policy.due_by));
        assert_eq!(change.bookkeeping.lease, None);
    }
}

#[test]
fn what_is_written_is_in_whole_milliseconds_and_so_reads_back_the_same() {
    let error =
        LastError { class: "c".into(), code: "c".into(), http_status: None, at: policy().due_by, lost: None };
    for thousandth in 0..1000 {
        let change = policy().deferral(&token(), error.clone(), f64::from(thousandth) / 1000.0);
        let due_at = change.bookkeeping.due_at.unwrap();
        assert_eq!(due_at, due_at.trunc_subsecs(3));
    }
}

#[test]
fn a_second_document_gets_a_live_pair_or_none() {
    let (policy, token) = (policy(), token());
    let live = document("new", Bookkeeping::default());
    let copied = policy.copy(&token, &live).unwrap();
    assert_eq!(copied.pair.unwrap().refresh_token.expose(), "new");
    assert!(policy.copy(&token, &document("old", Bookkeeping::default())).is_none());
    let dead = Bookkeeping { state: State::NeedsLogin, ..Bookkeeping::default() };
    assert!(policy.copy(&token, &document("new", dead)).is_none());
}
