//! Kept pairs and the keys that seal them.

use super::super::super::keys::KEPT_AT_ONCE;
use super::*;

#[tokio::test]
async fn a_key_that_is_set_or_changed_encrypts_kept_pairs_too_and_the_old_one_can_go() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let entry = sent(&journal, "one").await;
    journal.answer(entry, answer()).await.unwrap();
    let event = Event::Redeemed { successor: fingerprint("next"), life: None };
    journal.end(vec![(entry, event)], now()).await.unwrap();
    journal.close().await;
    let kept = |in_the_clear| {
        let kept = Journal::look(directory.path()).unwrap().kept;
        assert_eq!((kept.pairs, kept.in_the_clear), (1, in_the_clear));
        assert_eq!(kept.since, Some(answer().received_at));
    };
    kept(1);
    assert_ne!(planted_in(directory.path()), [] as [&str; 0], "the search finds what is there");
    for settings in
        [keyed(Some(key('a')), vec![]), keyed(Some(key('b')), vec![key('a')]), keyed(Some(key('b')), vec![])]
    {
        let journal = open(directory.path(), settings).unwrap();
        let found = journal.pair_for(stale("one")).await.unwrap().unwrap();
        assert_eq!(found.entry.answer.unwrap().get(), &answer());
        journal.close().await;
        kept(0);
        assert_eq!(planted_in(directory.path()), [] as [&str; 0]);
    }
    // Without its key it is of no use, and stops nothing; with it, it is there again.
    for (settings, opens) in [
        (keyed(None, vec![]), false),
        (keyed(Some(key('a')), vec![]), false),
        (keyed(Some(key('a')), vec![key('b')]), true),
        (keyed(Some(key('a')), vec![]), true),
    ] {
        let journal = open(directory.path(), settings).unwrap();
        assert_eq!(journal.pair_for(stale("one")).await.unwrap().is_some(), opens);
        journal.close().await;
        kept(0);
    }
}

#[test]
fn a_new_key_seals_kept_pairs_some_at_a_time_and_a_start_that_is_cut_off_goes_on() {
    let mut kept = Kept::new();
    let pairs = KEPT_AT_ONCE + 10;
    for token in 0..pairs {
        kept.redeem(&token.to_string(), &format!("{token}-1"));
    }
    let Kept { directory, rows, .. } = kept;
    let file = directory.path().join("journal.db");
    // Its second commit fails: nothing of what isn't sealed yet is taken for another program's.
    let last = format!(
        "CREATE TRIGGER cut BEFORE UPDATE ON kept WHEN old.id = {pairs} BEGIN SELECT raise(ABORT, 'cut'); END"
    );
    rows.connection.execute_batch(&last).unwrap();
    drop(rows);
    let keyed = || Seal::new(Some(key('a')), vec![]);
    Rows::open(&file, keyed(), now()).unwrap_err();
    let connection = rusqlite::Connection::open(&file).unwrap();
    assert_eq!(kept::count(&connection).unwrap().in_the_clear, 10);
    connection.execute_batch("DROP TRIGGER cut").unwrap();
    let log = || std::fs::metadata(directory.path().join("journal.db-wal")).unwrap().len();
    let mut rows = Rows::open(&file, keyed(), now()).unwrap();
    assert_eq!((kept::count(&rows.connection).unwrap().in_the_clear, log()), (0, 0));
    for token in ["0", &(pairs - 1).to_string()] {
        let found = rows.pair_for(&stale(token)).unwrap().unwrap();
        assert_eq!(found.entry.sent, Some(RefreshToken::new(token.into())));
    }
}
