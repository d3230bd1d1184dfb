//! A journal that fails in the middle of a pass: what the document alone can keep, and what nobody can.

use super::recovery::login;
use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, document_id, on_both, until, write_login};
use evergrant::sandbox::Rotation;
use evergrant::testing::exit::Exit;
use evergrant::testing::report::Outcome;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[tokio::test]
async fn answers_of_a_journal_that_fails_are_written_at_once_and_nothing_more_is_redeemed() {
    let mut plan = Plan::users(80);
    plan.sandbox.latency = Duration::from_millis(10);
    on_both("journal_fails", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let broken = AtomicU32::new(0);
        rehearsal.meddler.decide(move |call| {
            if matches!(call, Call::Apply(_)) && broken.fetch_add(1, Ordering::SeqCst) == 3 {
                let connection = rusqlite::Connection::open(&file).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                connection.execute_batch("DROP TABLE entries").unwrap();
            }
            Mishap::None
        });
        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::JournalFailed, "{summary:?}");
        let ledger = rehearsal.sandbox.ledger();
        assert!(ledger.granted < 80, "{ledger:?}");
        assert_eq!(summary.count(Outcome::Refreshed), ledger.granted);
        rehearsal.assert_kept(80).await;
        rehearsal.meddler.leave();
        let next = rehearsal.run().await;
        assert_eq!(next.exit(), Exit::Well, "{next:?}");
        assert_eq!(rehearsal.sandbox.ledger().granted, 80);
        rehearsal.assert_kept(80).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_neither_journal_nor_document_takes_is_called_lost() {
    // One answer is on its way while the journal fails.
    let plan = Plan::users(80).faults("delay(1) user=user-000004");
    on_both("nowhere", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let (backend, sandbox) = (rehearsal.backend.clone(), rehearsal.sandbox.clone());
        let applies = AtomicU32::new(0);
        rehearsal.meddler.meddle(move |call| {
            let Call::Apply(changes) = call else { return Box::pin(async { Mishap::None }) };
            let applied = applies.fetch_add(1, Ordering::SeqCst);
            if applied == 3 {
                let connection = rusqlite::Connection::open(&file).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                connection.execute_batch("DROP TABLE entries").unwrap();
            }
            let (backend, sandbox) = (backend.clone(), sandbox.clone());
            Box::pin(async move {
                // From then on everybody has just logged in again when their pair comes.
                for change in changes.iter().filter(|change| applied > 3 && change.pair.is_some()) {
                    let position = (0..80).find(|position| document_id(*position) == change.id).unwrap();
                    write_login(&backend, position, &login(&sandbox, position)).await;
                }
                Mishap::None
            })
        });
        let summary = rehearsal.run().await;
        let lost = summary.count(Outcome::Lost);
        assert_eq!(summary.exit(), Exit::JournalFailed, "{summary:?}");
        assert!(lost > 0 && summary.lost.len() as u64 == lost, "{summary:?}");
        let ended = lost + summary.count(Outcome::Refreshed) + summary.count(Outcome::Superseded);
        assert_eq!(ended, rehearsal.sandbox.ledger().granted, "{summary:?}");
        rehearsal.assert_whole().await;
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_success_that_the_journal_does_not_take_is_a_lost_answer() {
    let mut plan = Plan::users(1).faults("delay(1)");
    plan.profile.answer.access_token = "/data/access_token".parse().unwrap();
    on_both("unread_unkept", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        let breaks = async {
            until("it is sent", || rehearsal.sandbox.ledger().requests > 0).await;
            let connection = rusqlite::Connection::open(&file).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            connection.execute_batch("DROP TABLE entries").unwrap();
        };
        let (summary, ()) = tokio::join!(rehearsal.run(), breaks);
        assert_eq!(summary.exit(), Exit::JournalFailed, "{summary:?}");
        let error = rehearsal.bookkeeping(0).await.last_error.unwrap();
        assert_eq!((&*error.class, error.lost.is_some()), ("ambiguous", true), "nobody holds the answer");
        // It isn't waited for for ever: the next pass asks again, and finds out.
        assert_eq!(rehearsal.run().await.grants, 1);
        assert_eq!(rehearsal.run().await.count(Outcome::LostInFlight), 1);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn nobody_is_called_lost_whose_refresh_token_stays_the_same() {
    let mut plan = Plan::users(1).faults("delay(1)");
    plan.sandbox.rotation = Rotation::Keep;
    plan.profile.rotation = evergrant::testing::provider::Rotation::None;
    on_both("kept_all_the_same", plan, async |rehearsal| {
        let file = rehearsal.state().join("journal.db");
        rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
        let breaks = async {
            until("it is sent", || rehearsal.sandbox.ledger().requests > 0).await;
            let connection = rusqlite::Connection::open(&file).unwrap();
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            connection.execute_batch("DROP TABLE entries").unwrap();
        };
        let (summary, ()) = tokio::join!(rehearsal.run(), breaks);
        assert_eq!((summary.exit(), summary.count(Outcome::Lost)), (Exit::JournalFailed, 0), "{summary:?}");
        assert_eq!((summary.count(Outcome::StillDue), summary.adds_up()), (1, true), "{summary:?}");
        rehearsal.meddler.leave();
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1);
    })
    .await;
}
