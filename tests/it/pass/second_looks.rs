//! Second looks: a login that was marked is asked for once more, long after its mark.

use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::{AskAgain, Rotation, SecondLooks};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, WhyLiveAgain};
use evergrant::testing::token::State;

const USERS: u64 = 20;

/// Two users who are refused: one whose login is suspended, and one whose login is dead.
const SUSPENDED: usize = 3;
const DEAD: usize = 7;

fn plan() -> Plan {
    let mut plan = Plan::users(usize::try_from(USERS).unwrap());
    // So that a pass after any number of days finds all of them due.
    plan.profile.refresh_token_lifetime = None;
    plan
}

/// A first pass, in which both are marked.
async fn marked(rehearsal: &mut Rehearsal) {
    rehearsal.clock = Clock::steppable();
    rehearsal.sandbox.revoke(&format!("user-{DEAD:06}"));
    let suspended = format!("refuse user=user-{SUSPENDED:06}");
    rehearsal.sandbox.set_faults(suspended.parse().unwrap());
    let first = rehearsal.run().await;
    assert_eq!((first.exit(), first.newly_marked), (Exit::NeedsLogin, 2), "{first}");
}

/// A pass this number of days later; with the requests that it made.
async fn after(rehearsal: &Rehearsal, days: i64) -> (Summary, u64) {
    rehearsal.clock.step(TimeDelta::days(days));
    let before = rehearsal.sandbox.ledger().requests;
    let summary = rehearsal.run().await;
    assert!(summary.adds_up(), "{summary}");
    (summary, rehearsal.sandbox.ledger().requests - before)
}

#[tokio::test]
async fn a_suspended_login_that_comes_back_is_live_again_and_a_dead_one_stays_marked_in_silence() {
    on_both("second_look", plan(), async |mut rehearsal| {
        marked(&mut rehearsal).await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let (early, requests) = after(&rehearsal, 6).await;
        assert_eq!((early.exit(), requests, early.known_needs_login), (Exit::Well, USERS - 2, 2), "{early}");
        let named: Vec<_> =
            early.named.iter().map(|one| one.asked_again_at.map(|at| at - one.since.unwrap())).collect();
        assert_eq!(named, [Some(TimeDelta::days(7)); 2]);
        assert!(early.to_string().contains("; asked again "), "{early}");
        let (look, requests) = after(&rehearsal, 2).await;
        assert_eq!((look.exit(), requests, look.newly_marked), (Exit::Well, USERS, 0), "{look}");
        let again: Vec<_> = look.live_again.iter().map(|one| (one.id.clone(), one.was, one.why)).collect();
        assert_eq!(again, [(document_id(SUSPENDED), State::NeedsLogin, WhyLiveAgain::Granted)]);
        assert_eq!((look.count(Outcome::Refreshed), look.count(Outcome::NeedsLogin)), (USERS - 1, 1));
        rehearsal.assert_kept(usize::try_from(USERS).unwrap() - 1).await;
        rehearsal.assert_nothing_claimed().await;
        // And not once more, however much later.
        let (last, requests) = after(&rehearsal, 60).await;
        assert_eq!((last.exit(), requests, last.known_needs_login), (Exit::Well, USERS - 1, 1), "{last}");
        assert_eq!(last.named[0].asked_again_at, None);
    })
    .await;
}

#[tokio::test]
async fn no_second_look_where_reuse_is_punished_or_a_person_wants_none() {
    for (test, ask_again, second_looks) in [
        ("look_never", AskAgain::Never, SecondLooks::Usual),
        ("look_none", AskAgain::Once, SecondLooks::None),
    ] {
        let mut plan = plan();
        (plan.profile.ask_again, plan.profile.second_looks) = (ask_again, second_looks);
        on_both(test, plan, async |mut rehearsal| {
            marked(&mut rehearsal).await;
            let (later, requests) = after(&rehearsal, 8).await;
            assert_eq!((later.exit(), requests), (Exit::Well, USERS - 2), "{later}");
            assert!(later.named.iter().all(|one| one.asked_again_at.is_none()));
        })
        .await;
    }
}

#[tokio::test]
async fn a_provider_that_does_not_rotate_is_asked_three_times_and_only_when_it_grants_others() {
    let mut plan = plan();
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    plan.profile.rotation = Rotation::None;
    on_both("look_three", plan, async |mut rehearsal| {
        marked(&mut rehearsal).await;
        // One day later the provider refuses all: a refusal says nothing of these two, and no look is spent on it.
        rehearsal.sandbox.set_faults("refuse".parse().unwrap());
        let (bad, _) = after(&rehearsal, 2).await;
        assert_eq!(bad.exit(), Exit::ClientRejected, "{bad}");
        let look = rehearsal.bookkeeping(DEAD).await.last_error.unwrap().at;
        assert!(look < rehearsal.clock.now() - TimeDelta::days(1));
        let suspended = format!("refuse user=user-{SUSPENDED:06}");
        rehearsal.sandbox.set_faults(suspended.parse().unwrap());
        for (days, looks) in [(1, 2), (1, 0), (4, 2), (20, 0), (10, 2), (100, 0)] {
            let (pass, requests) = after(&rehearsal, days).await;
            assert_eq!((pass.exit(), pass.newly_marked), (Exit::Well, 0), "{pass}");
            assert_eq!(requests, USERS - 2 + looks, "after {days} more days");
        }
        // By hand at any time.
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let only = PassRequest { force: true, only: Some(document_id(SUSPENDED)), ..PassRequest::default() };
        let by_hand = rehearsal.run_with(&only, &Stop::default()).await;
        assert_eq!((by_hand.count(Outcome::Refreshed), by_hand.live_again_count), (1, 1), "{by_hand}");
    })
    .await;
}
