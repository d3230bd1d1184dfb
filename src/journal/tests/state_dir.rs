//! The state directory: whose it is, and what there is room for.

use super::*;
use crate::exit::Exit;

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

#[test]
fn a_directory_that_is_a_file_is_named_with_what_to_set() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = told(&open(&file).unwrap_err());
    assert!(error.contains("EVERGRANT_STATE_DIR") && error.contains("file"), "{error}");
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
                IfRedeemed::Refuse,
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

/// A service would redeem nothing any more otherwise, until it is started anew.
#[tokio::test]
async fn the_next_pass_of_the_same_process_looks_anew_at_a_disk_that_was_full() {
    let directory = tempfile::tempdir().unwrap();
    let mut room = room::Room::in_directory(directory.path(), 1);
    let file = directory.path().join(FILE_NAME);
    let mut rows = sqlite::Rows::open(&file, seal::Seal::default(), Timestamp::default()).unwrap();
    assert!(room.ran_out() && room.shortage().is_some());
    let (reply, mut begun) = oneshot::channel();
    let request = owner::Request::BeginPass {
        lease_id: "next".into(),
        store: Identity::named("db.tokens"),
        provider: "p".into(),
        at: Timestamp::default(),
        reply: owner::Reply::new(reply),
    };
    assert!(owner::commit(&mut rows, &mut room, vec![request].into_iter(), |rows, _| rows.commit()));
    begun.try_recv().unwrap().unwrap();
    assert!(room.shortage().is_none());
    assert!(directory.path().join(room::BALLAST_NAME).exists());
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
async fn no_removed_lock_file_lets_a_second_process_in() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    for _ in 0..2 {
        std::fs::remove_file(directory.path().join("journal.lock")).unwrap();
        assert!(matches!(open(directory.path()), Err(JournalError::Held { .. })));
        assert!(Journal::holder(directory.path()).unwrap().is_some());
        std::fs::write(directory.path().join("journal.lock"), "").unwrap();
        assert!(matches!(open(directory.path()), Err(JournalError::Held { .. })));
    }
    begin(&journal, "it goes on").await;
    journal.close().await;
    assert_eq!(Journal::holder(directory.path()).unwrap(), None);
    open(directory.path()).unwrap().close().await;
}

#[tokio::test]
async fn no_pass_begins_after_the_directory_was_moved_deleted_or_replaced_until_it_is_back() {
    let parent = tempfile::tempdir().unwrap();
    let [state, away] = ["state", "away"].map(|name| parent.path().join(name));
    let journal = open(&state).unwrap();
    let (entry, _) = sent(&journal, "old").await;
    let here = Identity::named("db.tokens");
    let begun = async |lease: &str| {
        journal.begin_pass(lease, &here, "p".into(), Timestamp::default()).await.map(drop)
    };
    let replaced = |begun: Result<(), JournalError>| match begun {
        Err(JournalError::Moved { replaced, .. }) => Some(replaced),
        _ => None,
    };
    begun("first").await.unwrap();
    std::fs::rename(&state, &away).unwrap();
    let refused = journal.begin_process(&here).await.unwrap_err();
    assert_eq!(refused.exit(), Exit::JournalFailed);
    let told = told(&refused);
    assert!(told.contains("was moved or deleted") && told.contains("hint: stop Evergrant, put"), "{told}");
    assert_eq!(replaced(begun("moved").await), Some(false));
    journal.answer(entry, answer("pair")).await.unwrap();
    std::fs::create_dir(&state).unwrap();
    assert_eq!(replaced(begun("replaced").await), Some(true));
    std::fs::remove_dir(&state).unwrap();
    std::os::unix::fs::symlink(&away, &state).unwrap();
    begun("it is there").await.unwrap();
    std::fs::rename(away.join(FILE_NAME), away.join("aside")).unwrap();
    std::fs::copy(away.join("aside"), away.join(FILE_NAME)).unwrap();
    assert_eq!(replaced(begun("another file").await), Some(true));
    std::fs::rename(away.join("aside"), away.join(FILE_NAME)).unwrap();
    begun("back").await.unwrap();
    assert_eq!(journal.entries().await.unwrap().len(), 1, "what came meanwhile is kept");
}

/// Only `root` can give a directory away.
#[tokio::test]
async fn a_directory_or_a_link_of_another_user_is_refused_and_a_link_of_ours_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let [state, link] = ["state", "link"].map(|name| parent.path().join(name));
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink(&state, &link).unwrap();
    open(&link).unwrap().close().await;
    if std::os::unix::fs::lchown(&link, Some(4711), None).is_err() {
        return;
    }
    let refused = told(&open(&link).unwrap_err());
    assert!(
        refused.contains("is a link of the user 4711") && refused.contains("hint: set `state_dir`"),
        "{refused}"
    );
    std::os::unix::fs::chown(&state, Some(4711), None).unwrap();
    let error = open(&state).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    let refused = told(&error);
    assert!(refused.contains("belongs to the user 4711") && refused.contains("`chown -R`"), "{refused}");
}
