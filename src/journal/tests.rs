use super::*;
use crate::failure::told;
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
    Event::Redeemed { successor: intent(successor, "1").fingerprint }
}

async fn begin_at(journal: &Journal, lease_id: &str, store: &Identity) -> Begun {
    journal.begin_pass(lease_id, store, vec!["p".into()], Timestamp::default()).await.unwrap()
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
async fn a_file_whose_maker_was_killed_before_it_had_tables_is_an_empty_journal() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE_NAME), "").unwrap();
    let listed = Journal::look(directory.path()).unwrap();
    assert!(listed.entries.is_empty() && listed.damaged.is_empty());
    assert!(open(directory.path()).unwrap().entries().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_crash_leaves_an_intent_unsettled_until_it_is_settled() {
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
async fn what_it_makes_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/state");
    let journal = open(&directory).unwrap();
    sent(&journal, "old").await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        files += 1;
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    assert!(files >= 3, "journal, write-ahead log and lock");
}

#[tokio::test]
async fn moments_are_remembered_and_forgotten_each_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let wake = Some("2026-11-22T03:00:00Z".parse().unwrap());
    for (moment, other) in [(Moment::LastWake, Moment::FollowUp), (Moment::FollowUp, Moment::LastWake)] {
        assert_eq!(journal.remembered(moment).await.unwrap(), None);
        journal.remember(moment, wake).await.unwrap();
        assert_eq!(journal.remembered(moment).await.unwrap(), wake);
        assert_eq!(journal.remembered(other).await.unwrap(), None);
        journal.remember(moment, None).await.unwrap();
        assert_eq!(journal.remembered(moment).await.unwrap(), None);
    }
}

#[tokio::test]
async fn rows_of_another_store_keep_a_pass_from_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    begin(&journal, "first").await;
    let (entry, _) = sent(&journal, "old").await;
    let other = Identity::named("db.other");
    let refused = OtherStore { relation: Relation::Other, store: "db.tokens".into(), open: 1, answers: 0 };
    assert_eq!(begin_at(&journal, "second", &other).await, Begun::OtherStore(refused.clone()));
    assert_eq!(journal.other_store(&other).await.unwrap(), Some(refused.clone()));
    assert_eq!(Journal::look_for_other_store(directory.path(), &other).unwrap(), Some(refused));
    journal.end(vec![(entry, Event::Settled)], Timestamp::default()).await.unwrap();
    assert!(matches!(begin_at(&journal, "second", &other).await, Begun::Alone { .. }));
}

fn collection(name: &str, uuid: &str) -> Identity {
    Identity { mark: Mark::Told(uuid.into()), ..Identity::named(name) }
}

#[tokio::test]
async fn an_identity_of_an_earlier_version_is_upgraded_and_then_known_by_its_uuid() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    begin(&journal, "first").await;
    sent(&journal, "old").await;
    let here = collection("db.tokens", "u");
    assert!(matches!(begin_at(&journal, "second", &here).await, Begun::Alone { .. }));
    let renamed = collection("db.logins", "u");
    assert!(matches!(begin_at(&journal, "third", &renamed).await, Begun::Alone { .. }));
    let Begun::OtherStore(other) = begin_at(&journal, "fourth", &collection("db.logins", "v")).await else {
        panic!("another collection under its name")
    };
    assert_eq!((other.relation, other.open), (Relation::Replaced, 1));
}

#[tokio::test]
async fn an_adopted_store_is_the_one_that_all_rows_belong_to() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (old, new) = (collection("db.tokens", "u"), collection("db.tokens", "v"));
    begin_at(&journal, "first", &old).await;
    let (entry, _) = sent(&journal, "a").await;
    journal.answer(entry, answer("{}")).await.unwrap();
    assert_eq!(journal.adopt_store(&old).await.unwrap(), None);
    let adopted = Adopted { store: Some("db.tokens".into()), open: 1, parked: 0 };
    assert_eq!(journal.adopt_store(&new).await.unwrap(), Some(adopted));
    assert_eq!(journal.other_store(&new).await.unwrap(), None);
    assert_eq!(journal.other_store(&old).await.unwrap().unwrap().answers, 1);
}

#[tokio::test]
async fn parked_pairs_stay_those_of_their_store_and_keep_nobody_from_another_one() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (old, new) = (collection("db.tokens", "u"), collection("db.tokens", "v"));
    begin_at(&journal, "first", &old).await;
    let (entry, _) = sent(&journal, "a").await;
    journal.answer(entry, answer("{}")).await.unwrap();
    journal.end(vec![(entry, Event::NoPlace(ParkedWhy::Gone))], Timestamp::default()).await.unwrap();
    assert!(matches!(begin_at(&journal, "second", &new).await, Begun::Alone { .. }));
    assert!(journal.entries().await.unwrap().is_empty(), "recovery doesn't see them");
    let listed = journal.entry(entry).await.unwrap().unwrap().unwrap();
    assert_eq!(listed.elsewhere.as_deref(), Some("db.tokens"));
    assert_eq!(journal.standing().await.unwrap().parked.orphans, 1, "they are still told");
    begin_at(&journal, "third", &old).await;
    assert_eq!(journal.entries().await.unwrap().len(), 1, "back with their store");
    begin_at(&journal, "fourth", &new).await;
    let adopted = Adopted { store: None, open: 0, parked: 1 };
    assert_eq!(journal.adopt_store(&new).await.unwrap(), Some(adopted));
    assert_eq!(journal.entries().await.unwrap().len(), 1);
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
async fn a_pass_that_never_finished_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    assert!(begin(&journal, "first").await.is_empty());
    journal.close().await;
    let journal = open(directory.path()).unwrap();
    assert_eq!(begin(&journal, "second").await, ["first"]);
    assert_eq!(begin(&journal, "third").await, ["first", "second"], "until it is given back");
    journal.finish_pass("first", Timestamp::default()).await.unwrap();
    journal.finish_pass("third", Timestamp::default()).await.unwrap();
    assert_eq!(begin(&journal, "fourth").await, ["second"]);
}

#[test]
fn a_directory_that_is_a_file_is_named_with_what_to_set() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = told(&open(&file).unwrap_err());
    assert!(error.contains("EVERGRANT_STATE_DIR") && error.contains("file"), "{error}");
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
async fn below_the_floor_no_intent_is_permitted_and_answers_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    journal.close().await;
    let settings = JournalSettings { free_space_floor_bytes: u64::MAX, ..JournalSettings::default() };
    let journal = Journal::open_with(directory.path(), &Clock::system(), settings).unwrap();
    let refused = send(&journal, "new", "2").await.unwrap_err();
    let JournalError::Full(shortage) = &refused else { panic!("{refused:?}") };
    assert!(refused.to_string().contains(&shortage.free_bytes.to_string()), "{refused}");
    assert!(refused.to_string().contains(directory.path().to_str().unwrap()), "{refused}");
    journal.answer(entry, answer("pair")).await.unwrap();
    journal.end(vec![(entry, redeemed("new"))], Timestamp::default()).await.unwrap();
    assert!(journal.standing().await.unwrap().shortage.is_some() && !journal.is_broken());
}

#[tokio::test]
async fn a_full_disk_gets_the_ballast_and_the_same_batch_is_written_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut room = room::Room::in_directory(directory.path(), 1);
    let ballast = directory.path().join(room::BALLAST_NAME);
    assert!(ballast.exists());
    let file = directory.path().join(FILE_NAME);
    let mut rows = sqlite::Rows::open(&file, seal::Seal::default(), Timestamp::default()).unwrap();
    let full = |directory: &Path| {
        let shortage = crate::room::Shortage { directory: directory.into(), free_bytes: 0, floor_bytes: 1 };
        JournalError::Full(shortage)
    };
    let ask = |token: &str| {
        let (reply, answer) = oneshot::channel();
        (
            owner::Request::Intent(
                intent(token, "1"),
                RefreshToken::new(token.into()),
                owner::Reply::new(reply),
            ),
            answer,
        )
    };
    let (request, mut permitted) = ask("old");
    let done = owner::commit(&mut rows, &mut room, vec![request].into_iter(), |rows, _| rows.commit());
    let Permission::Send { entry, .. } = permitted.try_recv().unwrap().unwrap() else {
        panic!("it may be sent")
    };
    assert!(done);

    // Twice: with a ballast to give up, and without.
    for kept in [true, false] {
        let (intent, mut refused) = ask("another");
        let (reply, mut answered) = oneshot::channel();
        let request = owner::Request::Answer(entry, answer("pair"), owner::Reply::new(reply));
        let mut commits = 0;
        let intact = owner::commit(&mut rows, &mut room, vec![intent, request].into_iter(), |rows, _| {
            commits += 1;
            if commits == 1 { Err(full(directory.path())) } else { rows.commit() }
        });
        assert!(intact, "nothing is broken: nothing was written");
        assert_eq!(commits, if kept { 2 } else { 1 });
        assert_eq!(answered.try_recv().unwrap().is_ok(), kept);
        assert!(matches!(refused.try_recv().unwrap(), Err(JournalError::Full(_))), "it takes no new ones");
        assert!(!ballast.exists());
    }
    drop(rows);
    let journal = open(directory.path()).unwrap();
    assert_eq!(journal.entries().await.unwrap()[0].state, EntryState::Answer);
    assert!(ballast.exists(), "the next start makes it again");
}

#[tokio::test]
async fn our_files_are_ours_alone_even_if_they_were_not() {
    let directory = tempfile::tempdir().unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o666);
    for name in [FILE_NAME, "journal.lock", room::BALLAST_NAME] {
        std::fs::write(directory.path().join(name), "").unwrap();
        std::fs::set_permissions(directory.path().join(name), open_to_all.clone()).unwrap();
    }
    let journal = open(directory.path()).unwrap();
    sent(&journal, "old").await;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let (path, metadata) = {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap())
        };
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    journal.close().await;
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
async fn a_token_that_was_turned_away_by_a_page_stays_in_doubt_until_an_answer_settles_it() {
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
    let (_, turned_away, unsettled) = ask().await;
    assert!(!turned_away && unsettled.is_none());
}
