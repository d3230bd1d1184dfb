//! How passes ended, and what is in the journal, counted.

use super::super::ended::{AHEAD, OF_A_PROVIDER, OLD_ONES};
use super::{answered, keyed, open};
use crate::journal::{EndedPass, EntryState, Journal, LastPasses, Looked};
use rusqlite::Connection;

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
    let census = journal.census().await.unwrap();
    assert_eq!((&census.states, census.unknown), (&[(EntryState::Answer, 1)].into(), 0));
    assert!(census.oldest_sent_at.is_some());
    let looked = Journal::look_at_passes(directory.path()).unwrap();
    let passes = [("p".to_owned(), expected.clone())].into();
    assert_eq!(looked, Looked { id: journal.id().to_owned(), passes, census });
    journal.close().await;
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    assert_eq!(journal.last_passes("p").await.unwrap(), expected);
    assert_eq!(journal.last_passes("q").await.unwrap(), LastPasses::default());
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(Journal::look_at_passes(nothing.path()).unwrap(), Looked::default());
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_left_does_not_count_as_the_last_pass() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let here = crate::store::Identity::named("db.tokens");
    let at = |day: i64| chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap();
    let pass = async |number: i64, day: i64, complete: bool| {
        let lease_id = number.to_string();
        journal.begin_pass(&lease_id, &here, "p".into(), at(day)).await.unwrap();
        let complete_at = complete.then(|| at(day));
        let record = number.to_string();
        journal
            .note_ended_pass(EndedPass { lease_id, provider: "p".into(), record, complete_at })
            .await
            .unwrap();
        let last = journal.last_passes("p").await.unwrap();
        (last.record.unwrap(), last.complete_at)
    };
    assert_eq!(pass(1, 1, true).await, ("1".to_owned(), Some(at(1))));
    // Years ahead, for more passes than records stay.
    for number in 2..30 {
        pass(number, 2000 + number, true).await;
    }
    let ahead = journal.last_passes("p").await.unwrap();
    assert_eq!(ahead.clone().known_at(at(3)).complete_at, None, "and not before the next pass either");
    assert_eq!(ahead.clone().known_at(at(2029)), ahead);
    assert_eq!(pass(30, 3, false).await, ("30".to_owned(), None));
    assert_eq!(pass(31, 4, true).await, ("31".to_owned(), Some(at(4))));
    assert_eq!(pass(32, 5, false).await, ("32".to_owned(), Some(at(4))));
}

#[tokio::test]
async fn a_few_records_of_each_provider_stay_and_none_is_searched_for_by_a_scan() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path(), keyed(None, vec![])).unwrap();
    let here = crate::store::Identity::named("db.tokens");
    let at = |second| chrono::DateTime::from_timestamp(second, 0).unwrap();
    for number in 0..30 {
        for provider in ["p", "q"] {
            let lease_id = format!("{provider}-{number}");
            journal.begin_pass(&lease_id, &here, provider.into(), at(number)).await.unwrap();
            let record = number.to_string();
            let ended = EndedPass { lease_id, provider: provider.into(), record, complete_at: None };
            journal.note_ended_pass(ended).await.unwrap();
        }
    }
    assert_eq!(journal.last_passes("p").await.unwrap().record.as_deref(), Some("29"));
    journal.close().await;
    let raw = Connection::open(directory.path().join("journal.db")).unwrap();
    let counted =
        "SELECT count(summary), min(CAST(summary AS INTEGER)), count(*) FROM passes WHERE provider = 'p'";
    let counts = raw.query_row(counted, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!(counts, (20, 10, 30), "the records that stay, the oldest of them, and the passes");
    for sql in [OF_A_PROVIDER, OLD_ONES, AHEAD] {
        let mut plan = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let bound = vec!["p"; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(bound), |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).filter(|step| step.contains("passes")).collect();
        assert!(
            !steps.is_empty() && steps.iter().all(|step| step.contains("SEARCH passes USING")),
            "{steps:?}"
        );
    }
}
