//! Pairs that stay after their documents took them: the newest of each login, for a time, and within a size.

use super::super::{Rows, kept};
use super::*;
use crate::clock::Timestamp;
use crate::journal::seal::Seal;
use crate::journal::{IfRedeemed, KeptPairs, StaleDocument};
use std::time::Duration;

mod keys;
mod stores;

fn now() -> Timestamp {
    "2026-11-21T03:00:00Z".parse().unwrap()
}

/// Rows in a file of their own, driven without a thread.
struct Kept {
    directory: tempfile::TempDir,
    rows: Rows,
    now: Timestamp,
}

impl Kept {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rows = Rows::open(&directory.path().join("journal.db"), Seal::default(), now()).unwrap();
        Self { directory, rows, now: now() }
    }

    /// Redeems a token into its successor, at this moment, for a document of its own: `a` for `a0` and those after it.
    fn redeem(&mut self, token: &str, successor: &str) {
        self.redeem_for(&document(token), token, successor);
    }

    fn redeem_for(&mut self, document: &TokenId, token: &str, successor: &str) {
        self.rows.begin(false).unwrap();
        let intent = Intent { sent_at: self.now, document: document.clone(), ..intent(token) };
        let token = RefreshToken::new(token.into());
        let asked = self.rows.intent(&intent, &token, IfRedeemed::Send).unwrap();
        let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
        let answer = RawAnswer { body: format!("{{\"{successor}\"}}").into(), ..answer() };
        self.rows.answer(entry, &answer).unwrap();
        self.rows.forget_old(1, self.now).unwrap();
        let event = Event::Redeemed { successor: fingerprint(successor), life: None };
        self.rows.end(entry, &event, self.now).unwrap();
        self.rows.commit().unwrap();
    }

    /// What the answer of the newest pair says that came out of this token.
    fn pair_of(&mut self, token: &str) -> Option<String> {
        self.pair_for(&stale(token))
    }

    fn pair_for(&mut self, stale: &StaleDocument) -> Option<String> {
        let found = self.rows.pair_for(stale).unwrap()?;
        assert!(!found.is_parked);
        let body = found.entry.answer.unwrap().get().body.to_vec();
        Some(String::from_utf8(body).unwrap().trim_matches(['{', '"', '}']).to_owned())
    }

    /// How many are kept; their bytes are those of the rows.
    fn count(&self) -> KeptPairs {
        let counted = kept::count(&self.rows.connection).unwrap();
        let sum = "SELECT coalesce(sum(bytes), 0) FROM kept";
        let bytes: i64 = self.rows.connection.query_row(sum, [], |row| row.get(0)).unwrap();
        assert_eq!(counted.bytes, bytes.unsigned_abs(), "the running sum is that of the rows");
        counted
    }
}

fn document(token: &str) -> TokenId {
    let name = token.trim_end_matches(|of: char| of.is_ascii_digit());
    TokenId::from_extended_json(if name.is_empty() { token } else { name })
}

/// Its document holds it again, without bookkeeping.
fn stale(token: &str) -> StaleDocument {
    let Intent { subject, fingerprint: token_of, .. } = intent(token);
    let (document, token) = (document(token), token_of);
    StaleDocument { document, subject, token, refreshed_elsewhere: None, good: None, last_sent: None }
}

#[test]
fn a_later_login_of_a_document_goes_into_no_other_document_and_to_no_other_user() {
    let mut kept = Kept::new();
    let place = document("a");
    kept.redeem("a0", "a1");
    kept.redeem_for(&place, "b0", "b1");
    let same = stale("a0");
    assert_eq!(kept.pair_for(&same).as_deref(), Some("b1"));
    let copy = StaleDocument { document: document("copy"), ..same.clone() };
    let slot = StaleDocument { subject: Subject::new("another"), ..same.clone() };
    for other in [copy.clone(), slot] {
        assert_eq!(kept.pair_for(&other).as_deref(), Some("a1"), "its own login: {other:?}");
    }
    let moved = StaleDocument { token: fingerprint("b0"), ..copy };
    assert_eq!(kept.pair_for(&moved).as_deref(), Some("b1"));
    // Nor does one of another provider hide it.
    kept.rows
        .connection
        .execute("UPDATE kept SET provider = 'q' WHERE fingerprint = ?1", [fingerprint("b0").to_string()])
        .unwrap();
    assert_eq!(kept.pair_for(&same).as_deref(), Some("a1"));
    // The later login was sent for another document since.
    kept.redeem_for(&document("copy"), "b1", "b2");
    assert_eq!(kept.pair_of("b0").as_deref(), Some("b2"));
    assert_eq!(kept.pair_for(&same).as_deref(), Some("a1"));
}

#[test]
fn the_pair_of_an_earlier_login_does_not_go_over_a_later_one_whose_own_pair_is_gone() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    kept.now += chrono::TimeDelta::hours(1);
    // The later login's answer didn't get into the journal, and its pair went straight into the document.
    kept.rows.begin(false).unwrap();
    let intent = Intent { sent_at: kept.now, document: document("a"), ..intent("b0") };
    let asked = kept.rows.intent(&intent, &RefreshToken::new("b0".into()), IfRedeemed::Refuse).unwrap();
    let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
    let event = Event::Redeemed { successor: fingerprint("b1"), life: None };
    kept.rows.end(entry, &event, kept.now).unwrap();
    kept.rows.commit().unwrap();
    let stale = StaleDocument { document: document("a"), ..stale("b0") };
    assert_eq!(kept.pair_for(&stale), None);
}

#[test]
fn after_another_machine_wrote_a_pair_none_of_those_before_goes_back() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    let elsewhere = |minutes| {
        let at = kept.now + chrono::TimeDelta::minutes(minutes);
        StaleDocument { refreshed_elsewhere: Some(at), ..stale("a0") }
    };
    let (before, about_then, after) = (elsewhere(-2), elsewhere(-1), elsewhere(2));
    assert_eq!(kept.pair_for(&before).as_deref(), Some("a1"), "ours is the last");
    for newer in [about_then, after] {
        assert_eq!(kept.pair_for(&newer), None);
    }
    kept.redeem("b0", "b1");
    // It is known for certain once what the other machine wrote was granted; a refusal says nothing of the pairs before.
    // Nor does a grant of another provider.
    for (token, provider, successor, is_kept) in
        [("a7", "p", None, true), ("c0", "q", Some("c1"), true), ("a2", "p", Some("a3"), false)]
    {
        kept.rows.begin(false).unwrap();
        let (provider, place) = (provider.into(), document("a"));
        let elsewhere = Intent { is_refreshed_elsewhere: true, provider, document: place, ..intent(token) };
        let asked =
            kept.rows.intent(&elsewhere, &RefreshToken::new(token.into()), IfRedeemed::Refuse).unwrap();
        let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
        kept.rows.answer(entry, &answer()).unwrap();
        let event = successor.map_or(Event::Settled, |successor| Event::Redeemed {
            successor: fingerprint(successor),
            life: None,
        });
        kept.rows.end(entry, &event, now()).unwrap();
        kept.rows.commit().unwrap();
        let moved = StaleDocument { document: document("moved"), ..stale("a0") };
        assert_eq!(kept.pair_for(&moved).is_some(), is_kept, "{token}");
    }
    assert_eq!(kept.pair_of("b0").as_deref(), Some("b1"));
    assert_eq!(kept.count().pairs, 3);
}

#[test]
fn a_pair_whose_token_was_sent_goes_even_where_what_came_for_it_is_not_kept() {
    for event in [
        Event::Redeemed { successor: fingerprint("a2"), life: None },
        Event::NoPlace(ParkedWhy::Superseded),
        Event::GivenUp,
    ] {
        let mut kept = Kept::new();
        kept.redeem("a0", "a1");
        kept.rows.begin(false).unwrap();
        let asked =
            kept.rows.intent(&intent("a1"), &RefreshToken::new("a1".into()), IfRedeemed::Send).unwrap();
        let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
        // No answer of the first is kept: it was written back all the same, while the journal failed.
        if !matches!(event, Event::Redeemed { .. }) {
            kept.rows.answer(entry, &answer()).unwrap();
        }
        kept.rows.end(entry, &event, now()).unwrap();
        kept.rows.commit().unwrap();
        assert_eq!(kept.count().pairs, 0, "{event:?}");
    }
}

#[test]
fn an_access_token_is_another_one_where_no_token_of_the_chain_stood_beside_it() {
    let mut kept = Kept::new();
    for (token, successor, access) in
        [("a0", "a1", Some("x")), ("a1", "a2", Some("y")), ("b0", "b1", None), ("b1", "b2", Some("z"))]
    {
        let access = access.map(fingerprint);
        kept.rows.begin(false).unwrap();
        let intent = Intent { access, ..intent(token) };
        let token = RefreshToken::new(token.into());
        let asked = kept.rows.intent(&intent, &token, IfRedeemed::Send).unwrap();
        let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
        kept.rows.answer(entry, &answer()).unwrap();
        let event = Event::Redeemed { successor: fingerprint(successor), life: None };
        kept.rows.end(entry, &event, now()).unwrap();
        kept.rows.commit().unwrap();
    }
    kept.rows
        .connection
        .execute("UPDATE redeemed SET access = NULL WHERE fingerprint = ?1", [fingerprint("b1").to_string()])
        .unwrap();
    for (token, access, expected) in [
        ("a0", Some("x"), false),
        ("a0", Some("y"), false),
        ("a0", Some("z"), true),
        ("a0", None, false),
        ("a1", Some("x"), true),
        // None stood beside it; and of the last one an earlier version noted nothing.
        ("b0", Some("x"), true),
        ("b1", Some("x"), false),
    ] {
        let intent = Intent { access: access.map(fingerprint), ..intent(token) };
        let token = RefreshToken::new(token.into());
        let asked = kept.rows.intent(&intent, &token, IfRedeemed::Refuse).unwrap();
        let Permission::AlreadyRedeemed { has_other_access, .. } = asked else { panic!("{asked:?}") };
        assert_eq!(has_other_access, expected, "{intent:?}");
    }
}

#[test]
fn the_newest_pair_of_each_login_is_found_from_every_token_before_it() {
    let mut kept = Kept::new();
    for (token, successor) in [("a0", "a1"), ("a1", "a2"), ("b0", "b1"), ("a2", "a3")] {
        kept.redeem(token, successor);
    }
    for token in ["a0", "a1", "a2"] {
        assert_eq!(kept.pair_of(token).as_deref(), Some("a3"), "{token}");
    }
    assert_eq!(kept.pair_of("b0").as_deref(), Some("b1"));
    assert_eq!((kept.pair_of("a3"), kept.pair_of("else")), (None, None));
    assert_eq!(kept.count().pairs, 2);
    // Nothing of an open row is left, and the token that was sent is kept beside its pair.
    assert!(kept.rows.page(None).unwrap().entries.is_empty());
    let found = kept.rows.pair_for(&stale("a0")).unwrap().unwrap();
    assert_eq!(found.entry.sent, Some(RefreshToken::new("a2".into())));
}

#[test]
fn a_pair_goes_by_its_age_and_where_none_is_to_be_kept_all_go() {
    let mut kept = Kept::new();
    kept.redeem("old", "old-1");
    for day in 1..=8 {
        // The clock of the memory goes a day at most from one commit to the next.
        kept.now += TimeDelta::days(1);
        kept.redeem(&format!("day {day}"), &format!("day {day}-1"));
        assert_eq!(kept.pair_of("old").is_some(), day <= 7, "day {day}");
    }
    let Kept { directory, rows, now } = kept;
    drop(rows);
    let rows = Rows::open(&directory.path().join("journal.db"), Seal::default(), now).unwrap();
    let mut kept = Kept { directory, rows: rows.keeping_pairs(Duration::ZERO), now };
    kept.redeem("none", "none-1");
    assert_eq!((kept.pair_of("none"), kept.count().pairs), (None, 0), "{:?}", kept.directory);
}

#[test]
fn beyond_the_most_bytes_the_oldest_go() {
    let mut kept = Kept::new();
    kept.redeem("0", "0-1");
    let one = i64::try_from(kept.count().bytes).unwrap();
    kept.rows.kept.most_bytes = one * 5;
    for token in 1..20 {
        kept.now += TimeDelta::minutes(2);
        kept.redeem(&token.to_string(), &format!("{token}-1"));
        assert!(i64::try_from(kept.count().bytes).unwrap() <= one * 6, "{:?}", kept.count());
    }
    assert_eq!((kept.pair_of("0"), kept.pair_of("19").as_deref()), (None, Some("19-1")));
}

#[test]
fn where_room_is_short_pairs_give_way_and_none_is_kept() {
    let mut kept = Kept::new();
    for token in 0..120 {
        kept.redeem(&token.to_string(), &format!("{token}-1"));
    }
    for left in [20, 0] {
        kept.rows.begin(false).unwrap();
        kept.rows.give_way(true).unwrap();
        kept.rows.commit().unwrap();
        assert_eq!(kept.count().pairs, left);
    }
    kept.redeem("now", "now-1");
    assert_eq!(kept.count().pairs, 0);
    kept.rows.give_way(false).unwrap();
    kept.redeem("later", "later-1");
    assert_eq!(kept.count().pairs, 1);
}

#[test]
fn a_transaction_that_is_taken_back_changes_no_sum() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    let before = kept.count();
    kept.rows.begin(false).unwrap();
    kept.rows.give_way(true).unwrap();
    kept.rows.abandon();
    kept.rows.give_way(false).unwrap();
    assert_eq!(kept.count(), before);
    kept.redeem("a1", "a2");
    assert_eq!(kept.count(), before, "of the same size");
}

#[test]
fn a_row_that_was_damaged_is_no_pair_and_stops_nothing() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    kept.redeem("b0", "b1");
    kept.rows.connection.execute("UPDATE kept SET status = 99999 WHERE id = 1", []).unwrap();
    assert_eq!((kept.pair_of("a0"), kept.pair_of("b0").as_deref()), (None, Some("b1")));
    kept.redeem("a1", "a2");
    assert_eq!(kept.pair_of("a0").as_deref(), Some("a2"));
}

#[test]
fn a_parked_pair_never_hides_the_one_that_found_its_place() {
    let mut kept = Kept::new();
    kept.redeem("a0", "a1");
    kept.rows.begin(false).unwrap();
    let asked = kept.rows.intent(&intent("a0"), &RefreshToken::new("a0".into()), IfRedeemed::Send).unwrap();
    let Permission::Send { entry, .. } = asked else { panic!("{asked:?}") };
    kept.rows.answer(entry, &answer()).unwrap();
    kept.rows.end(entry, &Event::NoPlace(ParkedWhy::Superseded), now()).unwrap();
    kept.rows.commit().unwrap();
    assert_eq!(kept.pair_of("a0").as_deref(), Some("a1"));
}

#[test]
fn pairs_are_counted_without_a_look_at_each() {
    let kept = Kept::new();
    for sql in kept::COUNTS {
        let plan = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = kept.rows.connection.prepare(&plan).unwrap();
        let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert!(steps.iter().all(|step| step.contains("INDEX")), "{sql}: {steps:?}");
    }
}
