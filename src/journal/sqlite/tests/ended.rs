//! How passes ended, and what is in the journal, counted.

use super::{answered, keyed, open};
use crate::journal::{EndedPass, EntryState, LastPasses};

#[tokio::test]
async fn how_passes_ended_is_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let here = crate::store::Identity::named("db.tokens");
    let at = |second| chrono::DateTime::from_timestamp(second, 0).unwrap();
    for (number, lease, complete) in [(1, "one", true), (2, "two", false)] {
        journal.begin_pass(lease, &here, "p".into(), at(number)).await.unwrap();
        let ended = EndedPass {
            lease_id: lease.into(),
            provider: "p".into(),
            record: format!(r#"{{"pass":"{lease}"}}"#),
            complete_at: complete.then(|| at(number + 1)),
        };
        journal.note_ended_pass(ended).await.unwrap();
    }
    // One that runs has no record yet.
    journal.begin_pass("three", &here, "p".into(), at(3)).await.unwrap();
    answered(&journal, "one").await;
    let expected = LastPasses { record: Some(r#"{"pass":"two"}"#.into()), complete_at: Some(at(2)) };
    let census = journal.census().await.unwrap();
    assert_eq!((&census.states, census.unknown), (&[(EntryState::Answer, 1)].into(), 0));
    assert!(census.oldest_sent_at.is_some());
    journal.close().await;
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    assert_eq!(journal.last_passes("p").await.unwrap(), expected);
    assert_eq!(journal.last_passes("q").await.unwrap(), LastPasses::default());
}
