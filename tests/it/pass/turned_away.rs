//! Answers that aren't the provider's own: a page may come after the provider has rotated. Some say that nothing was
//! processed, and the token is asked for again; the others leave that to the profile's `ask_again`. In an outage, in which
//! no user is granted, no token is in doubt. What a later refusal means is the same in all of them.

use super::recovery::{Doomed, answer};
use crate::support::rehearsal::{Plan, Rehearsal, on_both, run};
use evergrant::sandbox::Reuse;
use evergrant::testing::exit::Exit;
use evergrant::testing::grant::RawAnswer;
use evergrant::testing::journal::{EntryState, Event};
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Rotation};
use evergrant::testing::report::Outcome;
use evergrant::testing::token::{LastError, State};
use std::time::Duration;

/// The bookkeeping of a user who was lost after a page, with its evidence as it must be.
async fn assert_lost(rehearsal: &Rehearsal, position: usize, cause: &str, turned_away: bool) {
    let books = rehearsal.bookkeeping(position).await;
    assert_eq!(books.state, State::LostInFlight, "{cause}: {books:?}");
    let LastError { class, code, lost, .. } = books.last_error.unwrap();
    assert_eq!((&*class, &*code), ("refused", "invalid_grant"), "{cause}");
    let lost = lost.unwrap();
    assert_eq!((&*lost.cause, lost.turned_away), (cause, turned_away));
    assert_eq!(lost.peer, Some(rehearsal.sandbox.address().to_string()), "{cause}");
    assert!(lost.received_bytes > 0 && lost.sent_at.is_some(), "{lost:?}");
}

#[tokio::test]
async fn a_refusal_after_a_page_in_the_same_pass_is_a_lost_login() {
    let script = "503-after user=user-000000 times=1, 408-after user=user-000001 times=1, \
                  421-after user=user-000002 times=1, 425-after user=user-000003 times=1";
    on_both("page_then_refused", Plan::users(8).faults(script), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::NeedsLogin, 4), "{summary:?}");
        assert_eq!((summary.count(Outcome::LostInFlight), summary.count(Outcome::NeedsLogin)), (4, 0));
        for (position, cause) in ["http_503", "http_408", "http_421", "http_425"].into_iter().enumerate() {
            // No user was granted yet when the first one was asked for.
            assert_lost(&rehearsal, position, cause, position == 0).await;
        }
        assert_eq!(
            rehearsal.sandbox.ledger().requests,
            13,
            "each is asked once more, and what a page may have turned away twice"
        );
        assert!(rehearsal.entries().await.is_empty(), "the refusal ends the row");
        // Marked, and known from now on.
        let next = rehearsal.run().await;
        assert_eq!((next.grants, next.count(Outcome::LostInFlight)), (0, 4), "{next:?}");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_after_a_page_in_an_earlier_pass_is_a_lost_login_on_each_machine() {
    // An unlisted page, and one that counts as a rejected client.
    for (script, cause, test) in [
        ("418-after user=user-000001 times=1", "http_418", "page_418"),
        ("404-after user=user-000001 times=1", "http_404", "page_404"),
    ] {
        for another in [false, true] {
            let test = format!("{test}{}", if another { "_another" } else { "" });
            on_both(&test, Plan::users(4).faults(script), async |rehearsal| {
                let summary = rehearsal.run().await;
                assert_eq!(summary.count(Outcome::Refreshed), 3, "{summary:?}");
                let entries = rehearsal.entries().await;
                assert_eq!((entries.len(), entries[0].state), (1, EntryState::Unsettled), "{entries:?}");
                assert_eq!((entries[0].why.as_deref(), entries[0].unsettled_since), (Some(cause), None));
                assert!(entries[0].turned_away_since.is_some() && entries[0].peer.is_some());
                let noted = rehearsal.bookkeeping(1).await.last_error.unwrap().lost.unwrap();
                assert_eq!((&*noted.cause, noted.turned_away), (cause, true));

                let state = tempfile::tempdir().unwrap();
                let state = if another { state.path() } else { rehearsal.state() };
                for lost in [0, 1] {
                    let process = rehearsal.another_process(state).await;
                    let summary = run(&process, &PassRequest::default(), &Stop::default()).await;
                    process.close().await;
                    // Believed at the second occasion, because nobody is granted beside it.
                    let found = (summary.grants, summary.count(Outcome::LostInFlight));
                    assert_eq!(found, (1, lost), "{summary:?}");
                }
                assert_lost(&rehearsal, 1, cause, true).await;
                rehearsal.run().await;
                assert!(rehearsal.entries().await.is_empty(), "no row is left for ever");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn the_providers_own_answer_settles_a_request() {
    // The sandbox's 429 is JSON, as its 401 and 400 are.
    let script = "429-after user=user-000001 times=1, 400-after user=user-000002 times=1";
    on_both("own_then_refused", Plan::users(5).faults(script), async |rehearsal| {
        rehearsal.run().await;
        assert!(rehearsal.entries().await.is_empty());
        // Believed at the second occasion, because nobody is granted beside it.
        rehearsal.run().await;
        rehearsal.run().await;
        for position in [1, 2] {
            let books = rehearsal.bookkeeping(position).await;
            assert_eq!(
                (books.state, books.last_error.unwrap().lost),
                (State::NeedsLogin, None),
                "{position}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_grant_after_a_page_ends_the_doubt() {
    let script = "503 user=user-000001 times=2, 404 user=user-000002 times=1, 422 user=user-000003 times=1";
    on_both("page_then_granted", Plan::users(6).faults(script), async |rehearsal| {
        rehearsal.run().await;
        let summary = rehearsal.run().await;
        assert_eq!(summary.exit(), Exit::Well, "{summary:?}");
        rehearsal.assert_kept(6).await;
        assert!(rehearsal.entries().await.is_empty());
        for position in 0..6 {
            assert_eq!(rehearsal.bookkeeping(position).await.last_error, None, "{position}");
        }
        // What became of the token before says nothing of the one that came for it.
        rehearsal.sandbox.revoke("user-000001");
        let all = PassRequest { force: true, ..PassRequest::default() };
        rehearsal.run_with(&all, &Stop::default()).await;
        let books = rehearsal.bookkeeping(1).await;
        assert_eq!((books.state, books.last_error.unwrap().lost), (State::NeedsLogin, None));
    })
    .await;
}

fn never(users: usize, script: &str) -> Plan {
    let mut plan = Plan::users(users).faults(script);
    plan.sandbox.reuse = Reuse::RevokeFamily;
    plan.profile.ask_again = AskAgain::Never;
    plan.profile.settle_after = Duration::from_millis(50);
    plan
}

#[tokio::test]
async fn a_provider_that_punishes_reuse_is_not_asked_again_for_a_page_among_grants() {
    // Far apart: three in a row would be an outage.
    let script = "503-after user=user-000005 times=1, 422-after user=user-000015 times=1, \
                  408-after user=user-000025 times=1, 502-after user=user-000035 times=1";
    on_both("page_never", never(40, script), async |rehearsal| {
        rehearsal.run().await;
        rehearsal.run().await;
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.reuses), (40, 0), "each once");
        for (position, cause) in [(5, "http_503"), (15, "http_422"), (25, "http_408"), (35, "http_502")] {
            let books = rehearsal.bookkeeping(position).await;
            assert_eq!(books.state, State::LostInFlight, "{cause}: {books:?}");
            let LastError { class, code, lost, .. } = books.last_error.unwrap();
            assert_eq!((&*class, &*code), ("ambiguous", "not_asked_again"), "{cause}");
            assert_eq!(&*lost.unwrap().cause, cause);
        }
        assert_eq!(rehearsal.states().await.iter().filter(|state| **state == State::Live).count(), 36);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// The first tokens fail while others have just been granted: only the next answers tell that it was an outage.
#[tokio::test]
async fn an_outage_marks_no_user_of_a_provider_that_punishes_reuse() {
    for (test, script) in
        [("outage_first", "503@1..6"), ("outage_amid", "502@12..22"), ("outage_amid_page", "422@12..22")]
    {
        on_both(test, never(40, script), async |rehearsal| {
            let mut summary = rehearsal.run().await;
            for _ in 0..5 {
                assert_eq!(summary.count(Outcome::LostInFlight), 0, "{test}: {summary:?}");
                if summary.count(Outcome::StillDue) == 0 {
                    break;
                }
                summary = rehearsal.run().await;
            }
            let ledger = rehearsal.sandbox.ledger();
            assert_eq!((ledger.granted, ledger.reuses), (40, 0), "{test}: {summary:?}");
            rehearsal.assert_kept(40).await;
            assert!(rehearsal.entries().await.is_empty(), "{test}");
        })
        .await;
    }
}

#[tokio::test]
async fn where_the_provider_does_not_rotate_a_page_leaves_no_doubt() {
    let mut plan = Plan::users(4).faults("503 user=user-000001 times=1, 422 user=user-000002 times=1");
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    on_both("page_none", plan, async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        rehearsal.sandbox.revoke("user-000002");
        rehearsal.run().await;
        assert!(rehearsal.entries().await.is_empty());
        // Believed at the second occasion, because nobody is granted beside it.
        rehearsal.run().await;
        rehearsal.run().await;
        for position in [1, 2] {
            let books = rehearsal.bookkeeping(position).await;
            assert_eq!(
                (books.state, books.last_error.unwrap().lost),
                (State::NeedsLogin, None),
                "{position}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_the_page_and_the_next_sending_forgets_no_doubt_and_makes_none() {
    let mut plan = Plan::users(6);
    plan.sandbox.reuse = Reuse::RevokeFamily;
    plan.profile.ask_again = AskAgain::Never;
    plan.profile.settle_after = Duration::from_millis(50);
    on_both("page_crash", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0, 1, 2, 3]).await;
        let page = || RawAnswer { status: 503, ..answer(503, "<html>") };
        // 0: before the answer is read. 1: after its row has ended. 2: before the row ended, and nothing was processed.
        // 3: the provider's own.
        let entry = doomed.intends(0).await;
        doomed.sends(0).await;
        doomed.keeps(entry, page()).await;
        let entry = doomed.intends(1).await;
        doomed.sends(1).await;
        doomed.keeps(entry, page()).await;
        doomed.ends(entry, Event::TurnedAway { cause: "http_503".into(), peer: None }).await;
        let entry = doomed.intends(2).await;
        doomed.keeps(entry, page()).await;
        let entry = doomed.intends(3).await;
        doomed.keeps(entry, answer(429, "{}")).await;
        doomed.dies().await;
        rehearsal.sandbox.revoke("user-000003");

        let requests = rehearsal.sandbox.ledger().requests;
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.count(Outcome::Refreshed), summary.count(Outcome::NeedsLogin)),
            (2, 1),
            "{summary:?}"
        );
        assert_eq!(summary.count(Outcome::LostInFlight), 3, "{summary:?}");
        let asked = rehearsal.sandbox.ledger().requests - requests;
        assert_eq!(
            asked, 4,
            "what was turned away, with `never` too; whether others were granted, no journal knows"
        );
        for (position, turned_away) in [(0, false), (1, true), (2, false)] {
            let lost = rehearsal.bookkeeping(position).await.last_error.unwrap().lost.unwrap();
            assert_eq!(
                (&*lost.cause, lost.turned_away, lost.received_bytes),
                ("http_503", turned_away, 6),
                "{position}"
            );
        }
        assert!(rehearsal.entries().await.is_empty());
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
