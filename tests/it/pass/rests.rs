//! What a profile says of the time between two requests for a token: `wait`, `pause`, `min_age`, and the token's own end.
//! The oracle is the ledger of a server whose answers a test writes.

use crate::support::own_server::{OwnServer, Presented, Scripted, Shape};
use crate::support::rehearsal::{FORCED, LIFETIME, Plan, Rehearsal, document_id, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::Stop;
use evergrant::testing::provider::rules::{Rule, check};
use evergrant::testing::provider::{PastEnd, Profile, profile};
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::token::State;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The profile of an own server with these rules before its own.
fn with_rules(rules: &str) -> Profile {
    #[derive(Deserialize)]
    struct Rules {
        rules: Vec<Rule>,
    }
    let Rules { rules } = toml::from_str(&format!("rules = [{rules}]")).unwrap();
    let mut profile = profile::load("cookie-session").unwrap();
    check(&rules, profile.rotation).unwrap();
    profile.answer.rules.splice(0..0, rules);
    profile.refresh_token_lifetime = Some(LIFETIME);
    profile.concurrency = 1.try_into().unwrap();
    profile
}

/// So many users of a server with this profile, under a clock that the test moves.
async fn on_own_server(
    test: &str,
    users: usize,
    profile: Profile,
    fact: impl AsyncFn(&Rehearsal, &OwnServer),
) {
    let (profile, fact) = (&profile, &fact);
    on_both(test, Plan::users(users), async |mut rehearsal| {
        // Of its own: each store's test moves it.
        rehearsal.clock = Clock::steppable();
        let server = OwnServer::start(Shape::Envelope).await;
        let url: url::Url = server.url().parse().unwrap();
        rehearsal.change_provider(|provider| {
            provider.profile = profile.clone();
            provider.token_url = url.into();
        });
        for position in 0..users {
            let pair = server.login(&user(position));
            let pair = json!({ "refresh_token": pair.refresh_token, "access_token": pair.access_token });
            rehearsal.backend.set(&document_id(position), pair).await;
        }
        fact(&rehearsal, &server).await;
    })
    .await;
}

fn user(position: usize) -> String {
    format!("user-{position}")
}

fn asked(server: &OwnServer, position: usize) -> usize {
    server.presented().iter().filter(|one| one.user == user(position)).count()
}

/// Each user's document holds the newest pair, and no token was presented after it had been replaced.
async fn assert_kept(rehearsal: &Rehearsal, server: &OwnServer) {
    for position in 0..rehearsal.users.len() {
        let (document, newest) = (rehearsal.document(position).await, server.newest(&user(position)));
        assert_eq!(document["refresh_token"], newest.refresh_token);
        assert_eq!(document["access_token"], newest.access_token);
    }
    assert!(server.presented().iter().all(|one| !one.reused));
    rehearsal.assert_nothing_claimed().await;
    assert!(rehearsal.entries().await.is_empty());
}

fn because(summary: &Summary, reason: &str) -> Option<u64> {
    summary.still_due_reasons.get(reason).copied()
}

#[tokio::test]
async fn a_token_that_was_asked_for_too_early_is_asked_again_after_the_rules_wait_and_not_before() {
    let rule = r#"{ status = 400, where = { "/message" = "access token not expired" }, means = "transient", code = "too_early", wait = "10min" }"#;
    on_own_server("rests_transient", 2, with_rules(rule), async |rehearsal, server| {
        let early = Scripted { status: 400, body: r#"{"message":"access token not expired"}"# };
        server.script(&user(0), [early]);
        let asked_at = rehearsal.clock.now();
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.count(Outcome::Refreshed), because(&summary, "too_early")),
            (1, Some(1)),
            "{summary:?}"
        );
        assert_eq!(asked(server, 0), 1, "it is for a later pass");
        let books = rehearsal.bookkeeping(0).await;
        assert_eq!((books.state, books.failures), (State::Live, 0), "too early is no failure");
        let wait = books.due_at.unwrap() - asked_at;
        assert!(wait >= TimeDelta::minutes(10) && wait < TimeDelta::minutes(11), "{wait}");
        // At once, and just before its time: it isn't asked for.
        for step in [TimeDelta::zero(), TimeDelta::seconds(9 * 60)] {
            rehearsal.clock.step(step);
            let summary = rehearsal.run().await;
            assert_eq!((summary.grants, asked(server, 0)), (0, 1), "{summary:?}");
        }
        rehearsal.clock.step(TimeDelta::minutes(2));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 1), "{summary:?}");
        assert_eq!(asked(server, 0), 2);
        assert_kept(rehearsal, server).await;
    })
    .await;
}

/// The answer to the first user, and the requests after it.
fn after_the_first(server: &OwnServer) -> (Presented, Vec<Presented>) {
    let mut presented = server.presented();
    let first = presented.remove(0);
    assert_eq!((first.user.as_str(), first.granted), ("user-0", false), "{presented:?}");
    (first, presented)
}

#[tokio::test]
async fn a_token_that_is_throttled_alone_rests_and_its_neighbours_go_on() {
    let rule = r#"{ status = 429, means = "throttled", wait = "5min", pause = "token" }"#;
    on_own_server("rests_alone", 6, with_rules(rule), async |rehearsal, server| {
        server.script(&user(0), [Scripted { status: 429, body: r#"{"message":"quota of this user"}"# }]);
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.count(Outcome::Refreshed), summary.count(Outcome::StillDue)),
            (5, 1),
            "{summary:?}"
        );
        let (first, others) = after_the_first(server);
        assert!(others.iter().all(|one| one.granted && one.user != "user-0"), "{others:?}");
        // Nothing else waits for it.
        assert_eq!(others.len(), 5);
        assert!(others.iter().all(|one| one.at - first.at < Duration::from_mins(1)));
        let books = rehearsal.bookkeeping(0).await;
        assert_eq!((books.state, books.failures), (State::Live, 0));
        rehearsal.clock.step(TimeDelta::minutes(4));
        assert_eq!(rehearsal.run().await.grants, 0);
        rehearsal.clock.step(TimeDelta::minutes(2));
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1);
        assert_kept(rehearsal, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_throttles_is_left_alone_for_the_rules_wait_by_everybody() {
    for pause in ["", r#", pause = "provider""#, r#", pause = "host""#] {
        let rule = format!(r#"{{ status = 429, means = "throttled", wait = "2s"{pause} }}"#);
        on_own_server("rests_provider", 4, with_rules(&rule), async |rehearsal, server| {
            server.script(&user(0), [Scripted { status: 429, body: r#"{"message":"slow down"}"# }]);
            let summary = rehearsal.run().await;
            assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 4), "{summary:?}");
            let (first, others) = after_the_first(server);
            // By the server's own ledger: whoever comes next comes after the wait.
            assert_eq!(others.len(), 4);
            assert!(others.iter().all(|one| one.at - first.at >= Duration::from_secs(2)), "{others:?}");
            assert_kept(rehearsal, server).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_that_is_younger_than_its_least_age_is_not_asked_for_and_named() {
    let profile = Profile { min_age: Duration::from_mins(30), ..with_rules("") };
    on_own_server("rests_young", 2, profile, async |rehearsal, server| {
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 2);
        let refreshed_at = rehearsal.bookkeeping(0).await.refreshed_at.unwrap();
        rehearsal.clock.step(TimeDelta::minutes(10));
        // By force either.
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.grants, because(&summary, "too_young")), (0, Some(2)), "{summary:?}");
        assert_eq!(summary.put_off.len(), 2, "{summary:?}");
        assert_eq!(server.presented().len(), 2);
        let books = rehearsal.bookkeeping(0).await;
        assert_eq!(books.due_at, Some(refreshed_at + TimeDelta::minutes(30)));
        assert_eq!((books.state, books.failures), (State::Live, 0));
        rehearsal.clock.step(TimeDelta::minutes(19));
        assert_eq!(rehearsal.run().await.grants, 0);
        rehearsal.clock.step(TimeDelta::minutes(2));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 2), "{summary:?}");
        assert_kept(rehearsal, server).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_past_its_own_end_that_gets_an_unknown_answer_is_marked_on_the_second_occasion_only() {
    let mut profile = with_rules("");
    profile.answer.past_end = PastEnd::Suspected;
    on_own_server("rests_past_end", 2, profile, async |rehearsal, server| {
        let unknown = Scripted { status: 401, body: r#"{"message":"who are you"}"# };
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 2);
        // Far from its end: the answer says nothing of the token, however often it comes.
        for _ in 0..3 {
            server.script(&user(0), [unknown.clone()]);
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!(
                (summary.count(Outcome::Refreshed), summary.count(Outcome::StillDue)),
                (1, 1),
                "{summary:?}"
            );
            let books = rehearsal.bookkeeping(0).await;
            assert_eq!((books.state, &*books.last_error.unwrap().code), (State::Live, "http_401"));
        }
        rehearsal.clock.step(TimeDelta::days(15));
        for expected in [State::Live, State::NeedsLogin] {
            // In one pass it is asked for twice.
            server.script(&user(0), [unknown.clone(), unknown.clone()]);
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!(summary.count(Outcome::Refreshed), 1, "{summary:?}");
            let books = rehearsal.bookkeeping(0).await;
            assert_eq!(
                (books.state, &*books.last_error.unwrap().code),
                (expected, "past_end"),
                "{summary:?}"
            );
            rehearsal.clock.step(TimeDelta::days(1));
        }
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}
