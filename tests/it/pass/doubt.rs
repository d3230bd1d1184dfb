//! Doubt in a pass: no user is marked any more, what it has marked is taken back, and all others are refreshed.

use super::taken_back::{assert_all_live, leave_unjudged, taken_back};
use crate::support::rehearsal::{ACCEPTED, FORCED, Plan, document_id, on_both};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::Stop;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Trouble};
use evergrant::testing::token::State;
use serde_json::json;
use std::time::Duration;

/// Refused, and asked, of the trouble that says so.
fn doubt(summary: &Summary) -> Option<(u64, u64)> {
    let mut found = summary.troubles.iter().filter_map(|trouble| match trouble {
        Trouble::Refusals { suspicion, .. } => Some((suspicion.refused, suspicion.asked)),
        _ => None,
    });
    let first = found.next();
    assert_eq!(found.next(), None, "it is said once: {summary:?}");
    first
}

/// The same, where a refused token is asked for once more at once, so that marks are made early in the pass.
pub(super) fn soon(mut plan: Plan) -> Plan {
    plan.profile.settle_after = Duration::from_millis(1);
    plan
}

#[tokio::test]
async fn a_first_pass_in_which_many_living_are_refused_marks_no_user_and_refreshes_all_others() {
    for (share, users) in [(60, 100), (30, 100), (12, 300)] {
        let plan = Plan::users(users).faults(&format!("refuse:{share}%"));
        on_both(&format!("first_pass_{share}"), plan, async |rehearsal| {
            let first = rehearsal.run().await;
            assert_eq!((first.exit(), first.newly_marked), (Exit::ClientRejected, 0), "{first:?}");
            let put_off = first.still_due_reasons["refused_share"];
            assert_eq!(
                first.count(Outcome::Refreshed) + put_off,
                users as u64,
                "everybody was asked: {first:?}"
            );
            let (refused, asked) = doubt(&first).unwrap();
            assert!(refused >= put_off && refused * 100 > asked * 6, "{refused} of {asked}");
            assert_eq!(first.remaining_due, Some(put_off), "{first:?}");
            assert!(first.adds_up() && first.named.is_empty());
            assert_all_live(&rehearsal).await;
            rehearsal.sandbox.set_faults("".parse().unwrap());
            let next = rehearsal.run().await;
            assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, put_off), "{next:?}");
            rehearsal.assert_kept(users).await;
        })
        .await;
    }
}

#[tokio::test]
async fn dead_logins_that_stand_together_are_marked_where_they_are_few_in_the_whole_pass() {
    for (test, dead) in [("front", 1..9), ("end", 292..300)] {
        on_both(&format!("together_{test}"), Plan::users(300), async |rehearsal| {
            for user in dead.clone() {
                assert!(rehearsal.sandbox.revoke(&format!("user-{user:06}")));
            }
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.newly_marked), (Exit::NeedsLogin, 8), "{summary:?}");
            assert_eq!(summary.count(Outcome::Refreshed), 292);
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_pass_has_marked_is_taken_back_once_its_refusals_are_too_many() {
    on_both("taken_back", soon(Plan::users(400).faults("refuse:50%@200..")), async |rehearsal| {
        for user in [5, 30] {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::ClientRejected, 0), "{summary:?}");
        assert_eq!(summary.count(Outcome::NeedsLogin), 0, "{summary:?}");
        assert_eq!(taken_back(&summary), [5, 30].map(document_id));
        assert!(summary.live_again.iter().all(|one| one.was == State::NeedsLogin));
        let granted = summary.live_again_count - 2;
        assert!(granted > 10, "half of those who were refused were granted a moment later: {granted}");
        assert!(summary.adds_up() && summary.named.is_empty(), "{summary:?}");
        let put_off = summary.still_due_reasons["refused_share"];
        assert_eq!(summary.count(Outcome::Refreshed) + put_off, 400, "{summary:?}");
        assert_eq!(summary.remaining_due, Some(put_off), "{summary:?}");
        assert!(summary.to_string().contains("(was needs_login; taken_back)"), "{summary}");
        assert_all_live(&rehearsal).await;
        let books = rehearsal.bookkeeping(5).await;
        assert_eq!((books.last_error, books.failures, books.refreshed_at), (None, 1, None));
        // And when the provider is well again, those who are dead are named.
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.newly_marked), (Exit::NeedsLogin, 2), "{next:?}");
        assert_eq!((next.live_again_count, next.count(Outcome::Refreshed)), (0, put_off - 2));
    })
    .await;
}

#[tokio::test]
async fn too_many_redeemed_tokens_take_back_what_their_pass_has_marked_too() {
    on_both("taken_back_redeemed", soon(Plan::users(300)), async |mut rehearsal| {
        rehearsal.keep_pairs = Duration::ZERO;
        rehearsal.run().await;
        rehearsal.sandbox.revoke("user-000005");
        for position in 250..265 {
            let user = &rehearsal.users[position];
            let pair = json!({ "refresh_token": user.refresh_token, "access_token": user.access_token });
            rehearsal.backend.set(&document_id(position), pair).await;
        }
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.newly_marked), (Exit::ClientRejected, 0), "{summary:?}");
        assert_eq!((taken_back(&summary).len(), doubt(&summary)), (1, None), "{summary:?}");
        assert_all_live(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_pass_has_marked_is_judged_with_the_next_one() {
    on_both("killed_unjudged", Plan::users(120), async |rehearsal| {
        rehearsal.sandbox.revoke("user-000005");
        assert_eq!(rehearsal.run().await.newly_marked, 1);
        // A good pass follows: the mark stays, and a doubt that comes later has nothing to do with it.
        leave_unjudged(&rehearsal, "sandbox", 5).await;
        assert_eq!(rehearsal.run_with(&FORCED, &Stop::default()).await.count(Outcome::Refreshed), 119);
        rehearsal.sandbox.set_faults("refuse:50%".parse().unwrap());
        let doubtful = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((doubtful.exit(), taken_back(&doubtful).len()), (Exit::ClientRejected, 0), "{doubtful:?}");
        assert_eq!(rehearsal.bookkeeping(5).await.state, State::NeedsLogin);
        // A doubtful one follows: it is taken back, although that pass hasn't touched it.
        leave_unjudged(&rehearsal, "sandbox", 5).await;
        let doubtful = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((doubtful.exit(), taken_back(&doubtful).len()), (Exit::ClientRejected, 1), "{doubtful:?}");
        assert!(doubtful.adds_up(), "{doubtful:?}");
        assert_all_live(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn a_person_who_has_looked_has_the_marks_of_killed_passes_believed_as_well() {
    on_both("killed_accepted", Plan::users(40), async |rehearsal| {
        rehearsal.sandbox.revoke("user-000005");
        assert_eq!(rehearsal.run().await.newly_marked, 1);
        leave_unjudged(&rehearsal, "sandbox", 5).await;
        rehearsal.run_with(&ACCEPTED, &Stop::default()).await;
        rehearsal.sandbox.set_faults("refuse:60%".parse().unwrap());
        let doubtful = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((doubtful.exit(), taken_back(&doubtful).len()), (Exit::ClientRejected, 0), "{doubtful:?}");
    })
    .await;
}
