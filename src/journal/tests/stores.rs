//! Whose rows they are, and passes that did not finish.

use super::*;

#[tokio::test]
async fn rows_of_another_store_keep_a_pass_from_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    begin(&journal, "first").await;
    let (entry, _) = sent(&journal, "old").await;
    let other = Identity::named("db.other");
    let refused =
        OtherStore { relation: Relation::Other, store: "db.tokens".into(), open: 1, answers: 0, kept: 0 };
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
    assert_eq!(journal.adopt_store(&old).await.unwrap(), Adoption::default());
    let from = vec![(Relation::Replaced, "db.tokens".into())];
    let adoption = Adoption { from, open: 1, answers: 1, ..Adoption::default() };
    assert_eq!(journal.adoptable(&new).await.unwrap(), adoption);
    assert!(journal.other_store(&new).await.unwrap().is_some(), "to ask changes nothing");
    assert_eq!(journal.adopt_store(&new).await.unwrap(), adoption);
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
    let from = vec![(Relation::Replaced, "db.tokens".into())];
    let adoption = Adoption { from, parked: 1, ..Adoption::default() };
    assert_eq!(journal.adopt_store(&new).await.unwrap(), adoption);
    assert_eq!(journal.entries().await.unwrap().len(), 1);
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
