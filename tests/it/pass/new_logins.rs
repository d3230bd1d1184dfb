//! A new login for which the provider handed out the same refresh token: only the access token in the document has changed.

use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::provider::{AskAgain, Rotation, SecondLooks};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, WhyLiveAgain};
use evergrant::testing::token::State;
use serde_json::json;

const USERS: u64 = 6;

/// Suspended, and logged in anew.
const SUSPENDED: usize = 1;

/// Ended for good.
const DEAD: usize = 4;

/// A provider that doesn't rotate; two users are marked.
async fn marked(rehearsal: &mut Rehearsal) {
    rehearsal.clock = Clock::steppable();
    rehearsal.sandbox.revoke(&format!("user-{DEAD:06}"));
    rehearsal.sandbox.set_faults(format!("refuse user=user-{SUSPENDED:06}").parse().unwrap());
    let first = rehearsal.run().await;
    assert_eq!((first.exit(), first.newly_marked), (Exit::NeedsLogin, 2), "{first}");
    rehearsal.sandbox.set_faults("".parse().unwrap());
}

fn plan() -> Plan {
    let mut plan = Plan::users(usize::try_from(USERS).unwrap());
    plan.sandbox.rotation = evergrant::sandbox::Rotation::Keep;
    (plan.profile.rotation, plan.profile.refresh_token_lifetime) = (Rotation::None, None);
    plan
}

/// The application writes the access token of a login.
async fn logs_in(rehearsal: &Rehearsal, position: usize, access_token: &str) {
    rehearsal.backend.set(&document_id(position), json!({ "access_token": access_token })).await;
}

/// A pass this number of hours later; with the requests that it made.
async fn after(rehearsal: &Rehearsal, hours: i64) -> (Summary, u64) {
    rehearsal.clock.step(TimeDelta::hours(hours));
    let before = rehearsal.sandbox.ledger().requests;
    let summary = rehearsal.run().await;
    assert!(summary.adds_up(), "{summary}");
    (summary, rehearsal.sandbox.ledger().requests - before)
}

#[tokio::test]
async fn a_login_with_a_new_access_token_and_the_same_refresh_token_is_live_again() {
    on_both("new_login", plan(), async |mut rehearsal| {
        marked(&mut rehearsal).await;
        let (nothing, requests) = after(&rehearsal, 1).await;
        assert_eq!((nothing.exit(), requests), (Exit::Well, USERS - 2), "{nothing}");
        logs_in(&rehearsal, SUSPENDED, "of a new login").await;
        let (pass, requests) = after(&rehearsal, 1).await;
        assert_eq!((pass.exit(), requests), (Exit::Well, USERS - 1), "{pass}");
        let again: Vec<_> = pass.live_again.iter().map(|one| (one.id.clone(), one.was, one.why)).collect();
        assert_eq!(again, [(document_id(SUSPENDED), State::NeedsLogin, WhyLiveAgain::NewLogin)]);
        assert!(pass.to_string().contains("(was needs_login; new_login)"), "{pass}");
        let books = rehearsal.bookkeeping(SUSPENDED).await;
        assert_eq!((books.state, books.access_fingerprint), (State::Live, None));
        rehearsal.assert_kept(usize::try_from(USERS).unwrap() - 1).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_still_refused_is_no_news_and_is_asked_once_a_day() {
    let mut plan = plan();
    plan.profile.second_looks = SecondLooks::None;
    on_both("new_login_refused", plan, async |mut rehearsal| {
        marked(&mut rehearsal).await;
        let since = rehearsal.bookkeeping(DEAD).await.since;
        logs_in(&rehearsal, DEAD, "a1").await;
        // The other one is marked still: nothing has changed there.
        let alive = USERS - 2;
        for (hours, access_token, requests) in [
            (1, "a1", alive + 1),
            (1, "a1", alive),
            // Every hour another one: once a day is enough.
            (1, "a2", alive),
            (21, "a3", alive),
            (2, "a4", alive + 1),
            (100, "a4", alive),
        ] {
            logs_in(&rehearsal, DEAD, access_token).await;
            let (pass, made) = after(&rehearsal, hours).await;
            assert_eq!((pass.exit(), pass.newly_marked), (Exit::Well, 0), "{access_token}: {pass}");
            assert_eq!(made, requests, "{access_token}: {pass}");
            let books = rehearsal.bookkeeping(DEAD).await;
            assert_eq!((books.state, books.since), (State::NeedsLogin, since));
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_redeemed_or_must_not_be_sent_twice_is_not_sent_for_a_new_access_token() {
    let mut never = Plan::users(3);
    never.profile.ask_again = AskAgain::Never;
    on_both("new_login_never", never, async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        assert_eq!(rehearsal.run().await.newly_marked, 1);
        logs_in(&rehearsal, 1, "of a new login").await;
        let requests = rehearsal.sandbox.ledger().requests;
        let pass = rehearsal.run().await;
        assert_eq!((pass.known_needs_login, rehearsal.sandbox.ledger().requests), (1, requests), "{pass}");
    })
    .await;
    let mut single = Plan::users(20);
    single.profile.refresh_token_lifetime = None;
    on_both("new_login_redeemed", single, async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        // Else its pair goes back.
        rehearsal.keep_pairs = std::time::Duration::ZERO;
        rehearsal.run().await;
        // A stale copy of a token that was redeemed: it is marked without a request.
        let stale = json!({ "refresh_token": rehearsal.users[1].refresh_token, "access_token": "stale", "evergrant": {} });
        rehearsal.backend.set(&document_id(1), stale).await;
        let pass = rehearsal.run().await;
        assert_eq!(pass.count(Outcome::NeedsLogin), 1, "{pass}");
        for access_token in ["a1", "a2"] {
            logs_in(&rehearsal, 1, access_token).await;
            rehearsal.clock.step(TimeDelta::days(2));
            let pass = rehearsal.run().await;
            assert_eq!((pass.known_needs_login, pass.exit()), (1, Exit::Well), "{pass}");
        }
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}
