//! What the journal promises, over its file and its thread.

mod memory;
mod state_dir;
mod stores;

use super::*;
use crate::failure::told;
use crate::store::Identity;
use crate::store::{Mark, Relation};
use crate::token::{ParkedWhy, RefreshToken, Subject};
use bytes::Bytes;
use std::os::unix::fs::PermissionsExt as _;

fn open(directory: &Path) -> Result<Journal, JournalError> {
    Journal::open(directory, &Clock::system())
}

fn intent(token: &str, document: &str) -> Intent {
    Intent {
        provider: "p".into(),
        document: TokenId::from_extended_json(document),
        subject: Subject::new("a@example.com"),
        fingerprint: RefreshToken::new(token.into()).fingerprint(),
        sent_at: "2026-11-21T03:00:00Z".parse().unwrap(),
        access: None,
        is_refreshed_elsewhere: false,
    }
}

async fn send(journal: &Journal, token: &str, document: &str) -> Result<Permission, JournalError> {
    journal.intent(intent(token, document), RefreshToken::new(token.into())).await
}

fn answer(body: &'static str) -> RawAnswer {
    RawAnswer {
        status: 200,
        headers: [("retry-after", "7"), ("content-encoding", "gzip")].into_iter().collect(),
        body: Bytes::from_static(body.as_bytes()),
        complete: true,
        received_at: "2026-11-21T03:00:01Z".parse().unwrap(),
    }
}

fn redeemed(successor: &str) -> Event {
    Event::Redeemed { successor: intent(successor, "1").fingerprint, life: None }
}

async fn begin_at(journal: &Journal, lease_id: &str, store: &Identity) -> Begun {
    journal.begin_pass(lease_id, store, "p".into(), Timestamp::default()).await.unwrap()
}

async fn begin(journal: &Journal, lease_id: &str) -> Vec<String> {
    match begin_at(journal, lease_id, &Identity::named("db.tokens")).await {
        Begun::Alone { unfinished } => unfinished,
        other @ Begun::OtherStore(_) => panic!("{other:?}"),
    }
}

async fn sent(journal: &Journal, token: &str) -> (EntryId, Option<Timestamp>) {
    match send(journal, token, "1").await.unwrap() {
        Permission::Send { entry, doubts } => (entry, doubts.unsettled_since),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_is_there_after_the_process_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    journal.answer(entry, answer("pair")).await.unwrap();
    journal.close().await;

    let journal = open(directory.path()).unwrap();
    let entries = journal.entries().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].state, EntryState::Answer);
    assert_eq!(entries[0].answer.as_ref().map(Journaled::get), Some(&answer("pair")));
    assert_eq!(entries[0].intent.fingerprint, intent("old", "1").fingerprint);
}

#[tokio::test]
async fn a_token_on_its_way_or_redeemed_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    let first = TokenId::from_extended_json("1");
    assert_eq!(send(&journal, "old", "2").await.unwrap(), Permission::InFlight(first.clone()));
    journal.answer(entry, answer("pair")).await.unwrap();
    assert_eq!(send(&journal, "old", "2").await.unwrap(), Permission::InFlight(first.clone()));
    journal.end(vec![(entry, redeemed("new"))], Timestamp::default()).await.unwrap();
    let known = |successor: &str| Permission::AlreadyRedeemed {
        first: first.clone(),
        at: Some(Timestamp::default()),
        has_other_access: false,
        successor: Some(intent(successor, "1").fingerprint),
    };
    assert_eq!(send(&journal, "old", "2").await.unwrap(), known("new"));
    let mut renamed = intent("old", "2");
    renamed.provider = "another name".into();
    assert_eq!(journal.intent(renamed, RefreshToken::new("old".into())).await.unwrap(), known("new"));
    // And so on: whoever holds the first token of a chain is led to the newest.
    let (entry, _) = sent(&journal, "new").await;
    journal.end(vec![(entry, redeemed("newer"))], Timestamp::default()).await.unwrap();
    assert_eq!(send(&journal, "old", "2").await.unwrap(), known("newer"));
    assert!(journal.entries().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_token_that_a_later_success_hands_out_is_good_again() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let began = intent("a", "1").sent_at;
    let at = |minutes: i64| began + chrono::TimeDelta::minutes(minutes);
    let send_at = async |token: &str, minutes: i64| {
        let intent = Intent { sent_at: at(minutes), ..intent(token, "1") };
        journal.intent(intent, RefreshToken::new(token.into())).await.unwrap()
    };
    // The provider answers a, a, b, a, b.
    for (minutes, sent, handed_out) in [(0, "a", "a"), (1, "a", "b"), (2, "b", "a"), (3, "a", "b")] {
        let Permission::Send { entry, .. } = send_at(sent, minutes).await else { panic!("{sent} is good") };
        let event = if sent == handed_out { Event::Renewed } else { redeemed(handed_out) };
        journal.end(vec![(entry, event)], at(minutes)).await.unwrap();
    }
    assert!(matches!(send_at("a", 4).await, Permission::AlreadyRedeemed { .. }));
    // A pair that finds its place late says nothing about what became of its token since.
    let Permission::Send { entry: late, .. } = send_at("x", 5).await else { panic!() };
    let Permission::Send { entry, .. } = send_at("y", 6).await else { panic!() };
    journal.end(vec![(entry, redeemed("z"))], at(6)).await.unwrap();
    journal.end(vec![(late, redeemed("y"))], at(9)).await.unwrap();
    assert!(matches!(send_at("y", 10).await, Permission::AlreadyRedeemed { .. }));
}

#[tokio::test]
async fn a_redeemed_token_is_sent_where_that_is_asked_for_and_its_first_use_stays_known() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let first = intent("old", "1").sent_at;
    let later = first + chrono::TimeDelta::minutes(20);
    let (entry, _) = sent(&journal, "old").await;
    // Its pair finds its place long after its first use.
    journal.end(vec![(entry, redeemed("new"))], later).await.unwrap();
    assert_eq!(journal.redeemed_at(intent("old", "1").fingerprint).await.unwrap(), Some(first));
    let again = Intent { sent_at: later, ..intent("old", "1") };
    let token = RefreshToken::new("old".into());
    let permission = journal.intent_although_redeemed(again.clone(), token.clone()).await.unwrap();
    let Permission::Send { entry, .. } = permission else { panic!("{permission:?}") };
    let twice = journal.intent_although_redeemed(again, token).await.unwrap();
    assert!(matches!(twice, Permission::InFlight(_)), "{twice:?}");
    journal.end(vec![(entry, redeemed("newer"))], later).await.unwrap();
    assert_eq!(journal.redeemed_at(intent("old", "1").fingerprint).await.unwrap(), Some(first));
    assert_eq!(
        journal.successor(intent("old", "1").fingerprint).await.unwrap(),
        Some(intent("newer", "1").fingerprint)
    );
    // Its provider answers that it stays: it is as good as one that was handed out.
    let again = Intent { sent_at: later, ..intent("old", "1") };
    let token = RefreshToken::new("old".into());
    let permission = journal.intent_although_redeemed(again, token).await.unwrap();
    let Permission::Send { entry, .. } = permission else { panic!("{permission:?}") };
    journal.end(vec![(entry, Event::Renewed)], later).await.unwrap();
    assert_eq!(journal.redeemed_at(intent("old", "1").fingerprint).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_whose_maker_was_killed_before_it_had_tables_is_an_empty_journal() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "").unwrap();
    let listed = Journal::look(directory.path()).unwrap();
    assert!(listed.entries.is_empty() && listed.damaged.is_empty());
    assert!(open(directory.path()).unwrap().entries().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_crash_leaves_a_token_in_doubt_until_a_success_settles_it() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    sent(&journal, "old").await;
    journal.close().await;

    let journal = open(directory.path()).unwrap();
    assert_eq!(journal.entries().await.unwrap()[0].state, EntryState::Unsettled);
    let (entry, since) = sent(&journal, "old").await;
    assert_eq!(since, Some(intent("old", "1").sent_at));
    journal.end(vec![(entry, Event::NotProcessed)], Timestamp::default()).await.unwrap();
    let (entry, since) = sent(&journal, "old").await;
    assert!(since.is_some(), "a try that wasn't processed settles nothing");
    journal.end(vec![(entry, Event::Settled)], Timestamp::default()).await.unwrap();
    assert!(journal.entries().await.unwrap().is_empty());
    let (entry, since) = sent(&journal, "old").await;
    assert!(since.is_some(), "another document may hold it");
    journal.end(vec![(entry, Event::Renewed)], Timestamp::default()).await.unwrap();
    assert_eq!(sent(&journal, "old").await.1, None);
}

#[tokio::test]
async fn an_orphan_keeps_its_answer_and_its_token_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    journal.answer(entry, answer("pair")).await.unwrap();
    journal.end(vec![(entry, Event::NoPlace(ParkedWhy::Gone))], Timestamp::default()).await.unwrap();
    assert!(matches!(
        send(&journal, "old", "1").await.unwrap(),
        Permission::AlreadyRedeemed { successor: None, .. }
    ));
    let entries = Journal::peek(directory.path()).unwrap();
    assert_eq!((entries[0].state, entries[0].why.as_deref()), (EntryState::Orphan, Some("gone")));
    assert_eq!(entries[0].received_bytes, Some(4));
}

#[tokio::test]
async fn an_unreadable_success_is_kept_beside_the_next_try() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    journal.answer(entry, answer("unreadable")).await.unwrap();
    journal
        .end(vec![(entry, Event::Lost { cause: "html".into(), peer: None })], Timestamp::default())
        .await
        .unwrap();

    let (again, since) = sent(&journal, "old").await;
    assert!(since.is_some());
    let entries = journal.entries().await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.state).collect::<Vec<_>>(),
        [EntryState::SetAside, EntryState::Intent]
    );
    assert_eq!(entries[0].answer.as_ref().map(|kept| &kept.get().body[..]), Some(&b"unreadable"[..]));

    journal.end(vec![(again, redeemed("new"))], Timestamp::default()).await.unwrap();
    assert!(journal.entries().await.unwrap().is_empty(), "a pair in hand makes the unread one worthless");
}

#[tokio::test]
async fn a_second_process_is_refused_by_the_name_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let refusal = open(directory.path()).unwrap_err();
    assert!(matches!(refusal, JournalError::Held { .. }));
    assert!(refusal.to_string().contains(&format!("process {}", std::process::id())), "{refusal}");
    journal.close().await;
    open(directory.path()).unwrap();
}

#[tokio::test]
async fn moments_are_remembered_and_forgotten_each_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let wake = Some("2026-11-22T03:00:00Z".parse().unwrap());
    for (moment, other) in [
        (Moment::LastWake("p".into()), Moment::FollowUp("p".into())),
        (Moment::FollowUp("p".into()), Moment::LastWake("q".into())),
    ] {
        assert_eq!(journal.remembered(moment.clone()).await.unwrap(), None);
        journal.remember(moment.clone(), wake).await.unwrap();
        assert_eq!(journal.remembered(moment.clone()).await.unwrap(), wake);
        assert_eq!(journal.remembered(other).await.unwrap(), None);
        journal.remember(moment.clone(), None).await.unwrap();
        assert_eq!(journal.remembered(moment.clone()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_unread_success_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    journal.answer(entry, answer("{}")).await.unwrap();
    journal.end(vec![(entry, Event::CannotRead("no_tokens".into()))], Timestamp::default()).await.unwrap();
    assert_eq!(send(&journal, "old", "1").await.unwrap(), Permission::Unread);
}

#[tokio::test]
async fn an_answer_without_a_row_is_told_and_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    let (gone, _) = sent(&journal, "gone").await;
    journal.end(vec![(gone, Event::Settled)], Timestamp::default()).await.unwrap();
    let (kept, lost) =
        tokio::join!(journal.answer(entry, answer("kept")), journal.answer(gone, answer("pair")));
    assert_eq!(*kept.unwrap().get(), answer("kept"));
    let lost = lost.unwrap_err();
    assert!(matches!(lost.error, JournalError::NoEntry(id) if id == gone), "{lost:?}");
    let rescued = Received::Rescued(lost.rescue());
    assert!(!rescued.is_kept() && *rescued.get() == answer("pair"), "the document is the last place for it");
    assert!(!journal.is_broken());
}

#[tokio::test]
async fn a_discarded_answer_is_gone_and_its_token_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    for ending in [Event::NoPlace(ParkedWhy::Gone), Event::CannotRead("no_tokens".into())] {
        let token = format!("{ending:?}");
        let (entry, _) = sent(&journal, &token).await;
        journal.answer(entry, answer("{}")).await.unwrap();
        journal.end(vec![(entry, ending)], Timestamp::default()).await.unwrap();
        journal.end(vec![(entry, Event::GivenUp)], Timestamp::default()).await.unwrap();
        assert!(journal.entry(entry).await.unwrap().is_none());
        let permission = send(&journal, &token, "1").await.unwrap();
        assert!(matches!(permission, Permission::AlreadyRedeemed { successor: None, .. }), "{permission:?}");
    }
}

#[tokio::test]
async fn what_had_no_end_in_one_pass_is_unsettled_in_the_next_one_of_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    begin(&journal, "first").await;
    // Its end found the disk full.
    sent(&journal, "old").await;
    begin(&journal, "second").await;
    let (_, unsettled_since) = sent(&journal, "old").await;
    assert_eq!(unsettled_since, Some(intent("old", "1").sent_at));
}

#[tokio::test]
async fn tokens_that_come_out_of_each_other_are_looked_up_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let at = Clock::system().now();
    let (one, _) = sent(&journal, "one").await;
    let (other, _) = sent(&journal, "other").await;
    journal.end(vec![(one, redeemed("other")), (other, redeemed("one"))], at).await.unwrap();
    let permission = send(&journal, "one", "1").await.unwrap();
    assert!(matches!(permission, Permission::AlreadyRedeemed { .. }), "{permission:?}");
}

#[tokio::test]
async fn a_token_that_was_turned_away_by_a_page_stays_in_doubt_until_a_success_settles_it() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::open(directory.path(), &Clock::system()).unwrap();
    let ask = async || match send(&journal, "t", "1").await.unwrap() {
        Permission::Send { entry, doubts } => {
            (entry, doubts.turned_away_since.is_some(), doubts.unsettled_since)
        }
        other => panic!("{other:?}"),
    };
    let end = async |entry, ending| journal.end(vec![(entry, ending)], Timestamp::default()).await.unwrap();
    let (entry, ..) = ask().await;
    end(entry, Event::TurnedAway { cause: "http_503".into(), peer: None }).await;
    let rows = journal.entries().await.unwrap();
    assert_eq!((rows[0].state, rows[0].why.as_deref()), (EntryState::Unsettled, Some("http_503")));
    // Not sent, or put off by the provider's own answer: what came before is as it was.
    let (entry, turned_away, unsettled) = ask().await;
    assert!(turned_away && unsettled.is_none(), "it may be sent again");
    end(entry, Event::NotProcessed).await;
    let (entry, turned_away, unsettled) = ask().await;
    assert!(turned_away && unsettled.is_none());
    // A lost answer is the stronger doubt, and stays so.
    end(entry, Event::Lost { cause: "timeout".into(), peer: None }).await;
    let (entry, turned_away, unsettled) = ask().await;
    assert!(turned_away && unsettled.is_some());
    end(entry, Event::TurnedAway { cause: "http_429".into(), peer: None }).await;
    let (entry, _, unsettled) = ask().await;
    assert!(unsettled.is_some());
    end(entry, Event::Settled).await;
    assert!(journal.entries().await.unwrap().is_empty());
    let (entry, turned_away, unsettled) = ask().await;
    assert!(turned_away && unsettled.is_some(), "its row went, and what became of it is as unknown");
    end(entry, Event::Renewed).await;
    let (_, turned_away, unsettled) = ask().await;
    assert!(!turned_away && unsettled.is_none());
}
