use super::*;
use crate::journal::Journaled;
use crate::provider::profile;
use crate::schedule::{ASSUMED_LIFE, Schedule};
use crate::token::{AccessToken, Lease, Subject, TokenId};
use crate::verdict::Around;
use crate::verdict::tests::policy_of;

fn policy() -> DuePolicy {
    policy_of("2026-11-21T03:00:00Z".parse().unwrap())
}

/// A pass with this claim, after one of this machine that never finished.
fn around(policy: &DuePolicy) -> Around<'_> {
    static EARLIER: std::sync::LazyLock<[String; 1]> = std::sync::LazyLock::new(|| ["gone".to_owned()]);
    let now = policy.due_by;
    let earlier = &*EARLIER;
    Around {
        policy,
        lease_id: "ours",
        earlier,
        attempts: 1,
        documents_name_provider: false,
        now,
        jitter: 0.0,
    }
}

fn token() -> DueToken {
    DueToken {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        refresh_token: RefreshToken::new("old".into()),
        access_token: None,
        facts: crate::token::Facts::default(),
        bookkeeping: Bookkeeping::default(),
    }
}

fn document(refresh_token: &str, bookkeeping: Bookkeeping) -> TokenDocument {
    TokenDocument {
        id: TokenId::from_extended_json("1"),
        subject: Subject::new("a@example.com"),
        provider: None,
        refresh_token: Ok(RefreshToken::new(refresh_token.into())),
        access_token: Some(AccessToken::new("a".into())),
        facts: crate::token::Facts::default(),
        bookkeeping,
    }
}

fn pair_change(new: &str) -> Change {
    let mut change = policy().release(&token());
    change.pair = Some(PairChange {
        refresh_token: RefreshToken::new(new.into()),
        access_token: Some(AccessToken::new("a2".into())),
        also: Vec::new(),
        replaces: Replaces::Any,
    });
    change
}

#[test]
fn a_change_that_did_not_match_is_ours_theirs_unchanged_or_gone() {
    let rotated = pair_change("new");
    let kept = pair_change("old");
    let written = kept.bookkeeping.clone();
    let ours = rotated.bookkeeping.clone();
    for (change, found, expected) in [
        (&rotated, None, Found::Gone),
        (&rotated, Some(document("new", ours)), Found::Ours),
        (&rotated, Some(document("theirs", Bookkeeping::default())), Found::Theirs),
        (&rotated, Some(document("old", Bookkeeping::default())), Found::Unchanged),
        (&kept, Some(document("old", written)), Found::Ours),
        (&kept, Some(document("old", Bookkeeping::default())), Found::Unchanged),
        (&kept, Some(document("theirs", Bookkeeping::default())), Found::Theirs),
    ] {
        assert_eq!(settle(change, found.as_ref(), &around(&policy())), expected);
    }
    let mark = policy().release(&token());
    assert_eq!(
        settle(&mark, Some(&document("old", mark.bookkeeping.clone())), &around(&policy())),
        Found::Ours
    );
    assert_eq!(
        settle(&mark, Some(&document("new", Bookkeeping::default())), &around(&policy())),
        Found::Theirs
    );
}

fn lease(id: &str) -> Lease {
    Lease { id: id.into(), owner: "o".into(), until: policy().due_by, taken_over: false, by: None }
}

/// The server has written the refresh token of its answer into the document, and nothing else.
fn written_by_the_server(token: &str, lease: Option<Lease>) -> TokenDocument {
    let fingerprint = Some(RefreshToken::new("old".into()).fingerprint());
    document(token, Bookkeeping { fingerprint, lease, ..Bookkeeping::default() })
}

#[test]
fn a_token_that_the_server_wrote_itself_is_finished_under_our_claim_or_under_none() {
    let mut change = pair_change("new");
    let fingerprint = Some(RefreshToken::new("new".into()).fingerprint());
    change.bookkeeping.fingerprint = fingerprint;
    for (leased, fence) in [
        (Some(lease("ours")), Fence::Lease("ours".into())),
        (Some(lease("gone")), Fence::Lease("gone".into())),
        (None, Fence::Unclaimed),
    ] {
        let found = written_by_the_server("new", leased.clone());
        assert_eq!(settle(&change, Some(&found), &around(&policy())), Found::Unfinished);
        let rest = finishing(&change, &found);
        assert_eq!(rest.expect_refresh_token, Some(RefreshToken::new("new".into())));
        assert_eq!(rest.expect_lease, fence);
        assert_eq!(rest.bookkeeping, change.bookkeeping);
        assert_eq!(rest.pair.as_ref().unwrap().access_token, change.pair.as_ref().unwrap().access_token);
        // What is found after the second write.
        let seen = |document: &TokenDocument| settle(&rest, Some(document), &around(&policy()));
        assert_eq!(seen(&document("new", change.bookkeeping.clone())), Found::Ours, "it arrived");
        assert_eq!(seen(&found), Found::Unchanged, "it didn't arrive: it is written again");
        let claimed = Bookkeeping { lease: Some(lease("another")), ..change.bookkeeping.clone() };
        assert_eq!(
            seen(&document("new", claimed)),
            Found::Ours,
            "it arrived, and another pass goes on with it"
        );
        assert_eq!(
            seen(&written_by_the_server("new", Some(lease("another")))),
            Found::Ours,
            "another pass took it"
        );
        assert_eq!(seen(&document("newer", unclaimed(fingerprint))), Found::Theirs);
        assert_eq!(settle(&rest, None, &around(&policy())), Found::Gone);
    }
}

fn unclaimed(fingerprint: Option<crate::token::Fingerprint>) -> Bookkeeping {
    Bookkeeping { fingerprint, ..Bookkeeping::default() }
}

#[test]
fn a_claim_of_another_process_is_never_written_over() {
    let change = pair_change("new");
    let fingerprint = Some(RefreshToken::new("new".into()).fingerprint());
    for fingerprint in [None, fingerprint] {
        let books = Bookkeeping { fingerprint, lease: Some(lease("another")), ..Bookkeeping::default() };
        assert_eq!(settle(&change, Some(&document("new", books)), &around(&policy())), Found::Ours);
    }
    // Our write arrived, its acknowledgement didn't, and something else was noted of the token since.
    let noted = Bookkeeping { failures: 1, ..unclaimed(fingerprint) };
    assert_eq!(settle(&change, Some(&document("new", noted)), &around(&policy())), Found::Ours);
}

#[test]
fn a_renewal_of_the_same_token_is_not_taken_for_a_finished_one() {
    let mut kept = pair_change("old");
    kept.expect_lease = Fence::None;
    for leased in [None, Some(lease("ours")), Some(lease("another"))] {
        let found = written_by_the_server("old", leased);
        assert_eq!(settle(&kept, Some(&found), &around(&policy())), Found::Unchanged);
    }
}

#[test]
fn a_newer_access_token_beside_a_kept_refresh_token_is_left_and_the_bookkeeping_is_written_under_our_claim() {
    let policy = policy();
    let renewed = |access: Option<&str>, new: Option<&str>| {
        let access_token = access.map(|access| AccessToken::new(access.into()));
        let granted = Granted {
            clock_ahead: chrono::TimeDelta::zero(),
            access_token: AccessToken::new("a2".into()),
            refresh_token: new.map(|new| RefreshToken::new(new.into())),
            expires_in: None,
            refresh_expires_in: None,
            login_expires_in: None,
            also: Vec::new(),
        };
        let granted = Received::Kept(Journaled::for_tests("1".parse().unwrap(), granted));
        let profile = profile::load("generic").unwrap();
        policy.renewal(&granted, &DueToken { access_token, ..token() }, &profile, policy.due_by, 0.0)
    };
    let change = renewed(Some("a1"), None);
    assert_eq!(change.pair.as_ref().unwrap().replaces, Replaces::Token(AccessToken::new("a1".into())));
    assert_eq!(renewed(None, Some("old")).pair.unwrap().replaces, Replaces::Nothing);
    assert_eq!(
        renewed(Some("a1"), Some("new")).pair.unwrap().replaces,
        Replaces::Any,
        "that one says enough"
    );
    let leased = |id: &str| Bookkeeping { lease: Some(lease(id)), ..Bookkeeping::default() };
    for (access, bookkeeping, expected) in [
        ("a1", leased("ours"), Found::Unchanged),
        ("a3", leased("ours"), Found::NewerAccess),
        ("a2", leased("ours"), Found::NewerAccess),
        ("a3", leased("theirs"), Found::Theirs),
        ("a3", Bookkeeping::default(), Found::Theirs),
        ("a2", change.bookkeeping.clone(), Found::Ours),
    ] {
        let access_token = Some(AccessToken::new(access.into()));
        let document = TokenDocument { access_token, ..document("old", bookkeeping) };
        let found = settle(&change, Some(&document), &around(&policy));
        assert_eq!(found, expected, "{access}: {:?}", document.bookkeeping.lease);
        if found == Found::NewerAccess {
            let rest = without_pair(&change, &document);
            assert!(rest.pair.is_none());
            assert_eq!(rest.expect_lease, Fence::Lease("ours".into()));
            assert_eq!(rest.bookkeeping, change.bookkeeping);
        }
    }
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

/// Minutes from the answer on until the document is due, and until its access token ends.
fn renewed(
    policy: &DuePolicy,
    profile: &Profile,
    says: Option<u64>,
    received_at: Timestamp,
) -> (i64, Option<i64>) {
    let granted = Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("a".into()),
        refresh_token: Some(RefreshToken::new("new".into())),
        expires_in: says.map(Duration::from_mins),
        refresh_expires_in: None,
        login_expires_in: None,
        also: Vec::new(),
    };
    let granted = Received::Kept(Journaled::for_tests("1".parse().unwrap(), granted));
    let books = policy.renewal(&granted, &token(), profile, received_at, 0.0).bookkeeping;
    let after = |at: Timestamp| (at - received_at).num_minutes();
    (after(books.due_at.unwrap()), books.access_expires_at.map(after))
}

#[test]
fn where_access_tokens_are_kept_good_the_earlier_of_both_ends_says_when_a_document_is_due() {
    let wake: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let wakes = |text: &str| Some(Arc::new(Wakes::new(Schedule::parse(text, "UTC", wake).unwrap(), wake)));
    let keeps = |life: Option<u64>, refresh_days: Option<u64>| Profile {
        keep: Keep::Access,
        access_token_lifetime: life.map(Duration::from_mins),
        refresh_token_lifetime: refresh_days.map(|days| Duration::from_hours(24 * days)),
        request_timeout: Duration::from_mins(1),
        rate: Some("60/min".parse().unwrap()),
        ..profile::load("generic").unwrap()
    };
    let hourly = |documents| DuePolicy { wakes: wakes("every 1h"), documents, ..policy() };
    let third = 10 * 24 * 60;
    for (name, policy, profile, says, due) in [
        ("a gap, a request and a pass before the end", hourly(120), keeps(None, Some(30)), Some(180), 117),
        ("of no known number", hourly(0), keeps(None, Some(30)), Some(180), 119),
        ("the life of the settings", hourly(120), keeps(Some(240), Some(30)), None, 177),
        ("the answer goes before them", hourly(120), keeps(Some(240), Some(30)), Some(180), 117),
        ("a pass that takes hours", hourly(60 * 600), keeps(None, Some(30)), Some(180), 60),
        ("the refresh token's end is earlier", hourly(0), keeps(None, Some(30)), Some(60 * 24 * 60), third),
        ("a refresh token of unknown life", hourly(0), keeps(None, None), Some(180), 0),
        (
            "a refresh token of unknown life, where passes go by what is due",
            DuePolicy { assumed_life: Some(ASSUMED_LIFE), ..policy() },
            Profile { keep: Keep::Refresh, ..keeps(None, None) },
            Some(180),
            24 * 60,
        ),
        (
            "the same with a good access token",
            DuePolicy { assumed_life: Some(ASSUMED_LIFE), ..hourly(0) },
            keeps(None, None),
            Some(180),
            119,
        ),
        ("no life at all", hourly(0), keeps(None, Some(30)), None, third),
        (
            "not too young",
            hourly(0),
            Profile { min_age: Duration::from_mins(130), ..keeps(None, Some(30)) },
            Some(180),
            130,
        ),
        ("nothing is known of the wakes", policy(), keeps(None, Some(30)), Some(180), third),
        (
            "the login only",
            hourly(0),
            Profile { keep: Keep::Refresh, ..keeps(None, Some(30)) },
            Some(180),
            third,
        ),
    ] {
        assert_eq!(renewed(&policy, &profile, says, wake).0, due, "{name}");
    }
    // A bearer session: 30 minutes, a wake every 29, and a follow-up in between.
    let session = DuePolicy { wakes: wakes("every 29min"), ..policy() };
    let profile = keeps(Some(30), Some(60));
    let wake = Schedule::parse("every 29min", "UTC", wake).unwrap().next_after(wake).unwrap();
    let (due, ends) = renewed(&session, &profile, None, wake + TimeDelta::minutes(20));
    assert_eq!((due, ends), (9, Some(30)), "at the next wake: the one after it is too late");
    assert_eq!(renewed(&session, &profile, None, wake + TimeDelta::minutes(1)).0, 15, "half its life");
}

#[test]
fn a_pair_that_lay_in_the_journal_until_it_fell_due_again_is_due_in_the_pass_that_recovers_it() {
    let wake: Timestamp = "2026-11-21T03:00:00Z".parse().unwrap();
    let wakes = Some(Arc::new(Wakes::new(Schedule::parse("every 29min", "UTC", wake).unwrap(), wake)));
    let policy = DuePolicy { wakes, due_by: wake, ..policy() };
    let profile = |keep, refresh_days: Option<u64>| Profile {
        keep,
        access_token_lifetime: Some(Duration::from_mins(30)),
        refresh_token_lifetime: refresh_days.map(|days| Duration::from_hours(24 * days)),
        request_timeout: Duration::from_mins(1),
        ..profile::load("generic").unwrap()
    };
    let granted = |token: &str| Granted {
        clock_ahead: chrono::TimeDelta::zero(),
        access_token: AccessToken::new("a".into()),
        refresh_token: Some(RefreshToken::new(token.into())),
        expires_in: None,
        refresh_expires_in: None,
        login_expires_in: None,
        also: Vec::new(),
    };
    for (name, profile, new, minutes_ago, is_due) in [
        ("its access token has ended", profile(Keep::Access, Some(30)), "new", 31, true),
        ("of a refresh token of unknown life", profile(Keep::Access, None), "new", 31, true),
        ("it is due again", profile(Keep::Access, Some(30)), "new", 20, true),
        ("it is fresh", profile(Keep::Access, Some(30)), "new", 1, false),
        ("the login only", profile(Keep::Refresh, Some(30)), "new", 31, false),
        ("the login only, for days", profile(Keep::Refresh, Some(30)), "new", 60 * 24 * 11, true),
        ("nothing is known", profile(Keep::Refresh, None), "new", 60 * 24 * 11, false),
        ("it can't be sent", profile(Keep::Access, Some(30)), "", 31, false),
    ] {
        let granted = Received::Kept(Journaled::for_tests("1".parse().unwrap(), granted(new)));
        let received_at = wake - TimeDelta::minutes(minutes_ago);
        let due_at = |change: Change| change.bookkeeping.due_at.unwrap();
        let recovered = due_at(policy.recovered(&granted, &token(), &profile, received_at, 0.0));
        assert_eq!(recovered <= wake, is_due, "{name}: {recovered}");
        let live = due_at(policy.renewal(&granted, &token(), &profile, received_at, 0.0));
        assert!(live > wake, "{name}: a live one is met no second time");
    }
}

#[test]
fn a_token_rests_for_half_of_its_known_life_at_most() {
    let at = policy().due_by;
    let error = || LastError { class: "c".into(), code: "c".into(), http_status: None, at, lost: None };
    let fingerprint = Some(token().refresh_token.fingerprint());
    let another = Some(RefreshToken::new("another".into()).fingerprint());
    for (of, left, expected) in [
        (fingerprint, Some(60), 30),
        (fingerprint, Some(60 * 24 * 30), 600),
        (fingerprint, None, 600),
        // What has ended has nothing left to lose.
        (fingerprint, Some(-5), 600),
        (another, Some(60), 600),
    ] {
        let bookkeeping = Bookkeeping {
            fingerprint: of,
            refresh_expires_at: left.map(|left| at + TimeDelta::minutes(left)),
            ..Bookkeeping::default()
        };
        let token = DueToken { bookkeeping, ..token() };
        let change = policy().rest(&token, error(), Duration::from_hours(10));
        assert_eq!((change.bookkeeping.due_at.unwrap() - at).num_minutes(), expected, "{left:?}");
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

#[test]
fn a_token_that_was_sent_is_not_malformed_any_more() {
    let fingerprint = Some(token().refresh_token.fingerprint());
    let bookkeeping = Bookkeeping { state: State::Malformed, fingerprint, ..Bookkeeping::default() };
    let token = DueToken { bookkeeping, ..token() };
    let at = Timestamp::default();
    let error = LastError { class: "c".into(), code: "c".into(), http_status: None, at, lost: None };
    assert_eq!(policy().deferral(&token, error.clone(), 0.0).bookkeeping.state, State::Live);
    assert_eq!(policy().rest(&token, error, Duration::ZERO).bookkeeping.state, State::Live);
}
