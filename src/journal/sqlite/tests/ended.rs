//! How passes ended, and what is in the journal, counted.

use super::{answered, keyed, open};
use crate::journal::{EndedPass, EntryState, Journal, LastPasses};

#[tokio::test]
async fn how_passes_ended_is_known_after_a_restart_and_beside_the_process() {
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
    let beside = |path| Journal::look_at_passes(path).unwrap();
    assert_eq!(beside(directory.path()), [("p".to_owned(), expected.clone())].into());
    let census = journal.census().await.unwrap();
    assert_eq!((&census.states, census.unknown), (&[(EntryState::Answer, 1)].into(), 0));
    assert!(census.oldest_sent_at.is_some());
    assert_eq!(Journal::look_at_census(directory.path()).unwrap(), census);
    journal.close().await;
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    assert_eq!(journal.last_passes("p").await.unwrap(), expected);
    assert_eq!(journal.last_passes("q").await.unwrap(), LastPasses::default());
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(
        (beside(nothing.path()), Journal::look_at_census(nothing.path()).unwrap()),
        Default::default()
    );
}
