//! What is in doubt of tokens whose rows have gone: in the files of earlier versions, and for as long as a redeemed token.

use super::*;
use crate::journal::Doubts;

async fn doubts_of(journal: &Journal, token: &str) -> (EntryId, Doubts) {
    match journal.intent(intent(token), RefreshToken::new(token.into())).await.unwrap() {
        Permission::Send { entry, doubts } => (entry, doubts),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_an_earlier_version_noted_beside_a_kept_pair_stays_in_doubt() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let entry = sent(&journal, "old").await;
    journal.answer(entry, answer()).await.unwrap();
    let now = Clock::system().now();
    let redeemed = Event::Redeemed { successor: fingerprint("new"), life: None };
    journal.end(vec![(entry, redeemed)], now).await.unwrap();
    journal.close().await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    raw.execute_batch(
        "ALTER TABLE kept ADD COLUMN unsettled_since INTEGER; ALTER TABLE kept ADD COLUMN turned_away_since INTEGER;
         UPDATE kept SET unsettled_since = 7000; DROP TABLE doubted",
    )
    .unwrap();
    drop(raw);
    for _ in 0..2 {
        let journal = open(directory.path(), keyed(None, vec![])).unwrap();
        let (entry, doubts) = doubts_of(&journal, "new").await;
        assert_eq!(doubts.unsettled_since.map(|since| since.timestamp()), Some(7));
        assert_eq!(doubts.turned_away_since, None);
        journal.end(vec![(entry, Event::Settled)], now).await.unwrap();
        journal.close().await;
    }
    // A grant tells what became of it.
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let (entry, _) = doubts_of(&journal, "new").await;
    journal.end(vec![(entry, Event::Renewed)], now).await.unwrap();
    assert_eq!(doubts_of(&journal, "new").await.1, Doubts::default());
}
