//! What goes wrong at the provider, and what becomes of the users it hits.

use crate::support::rehearsal::{Plan, on_both};
use evergrant::sandbox::Rotation;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use std::time::{Duration, Instant};

/// A rule for each of these users.
fn rules(fault: &str, users: &[usize], rest: &str) -> String {
    let rule = |user: &usize| format!("{fault} user=user-{user:06}{rest}");
    users.iter().map(rule).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn an_answer_lost_before_the_commit_costs_one_more_grant_and_nothing_else() {
    let script = [
        "500 user=user-000002 times=1",
        "drop-before user=user-000003 times=1",
        "html user=user-000004 times=1",
        "502 user=user-000005 times=1",
    ];
    on_both("before_commit", Plan::users(10).faults(&script.join(", ")), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 10), "{summary:?}");
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.unprocessed, ledger.reuses), (14, 4, 0));
        assert_eq!((summary.grants, summary.retries), (14, 4));
        rehearsal.assert_kept(10).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

const AFTER_COMMIT: [(&str, usize); 4] =
    [("drop-after", 1), ("truncate", 4), ("html-after", 5), ("500-after", 8)];

fn after_commit() -> String {
    AFTER_COMMIT.map(|(fault, user)| rules(fault, &[user], " times=1")).join(", ")
}

#[tokio::test]
async fn a_strict_provider_that_loses_answers_loses_exactly_those_and_marks_nobody_else() {
    on_both("strict_lost", Plan::users(10).faults(&after_commit()), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::LostInFlight)), (Exit::NeedsLogin, 4));
        assert_eq!((summary.count(Outcome::NeedsLogin), summary.count(Outcome::Refreshed)), (0, 6));
        for position in 0..10 {
            let lost = AFTER_COMMIT.iter().any(|(_, user)| *user == position);
            let expected = if lost { State::LostInFlight } else { State::Live };
            assert_eq!(rehearsal.bookkeeping(position).await.state, expected, "{position}");
        }
        let audit = rehearsal.audit().await;
        assert_eq!((audit.lost_in_flight, audit.lost_received, audit.kept), (4, 0, 6), "{audit:?}");
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.answers_lost, ledger.reuses), (4, 4), "each shown once more, to find out");
        let next = rehearsal.run().await;
        assert_eq!((next.touched, next.grants), (4, 0), "known, and not asked for again");
        // What couldn't be read may hold the pair: it stays for a person. A server's error page doesn't.
        let bodies: Vec<_> =
            rehearsal.entries().await.into_iter().map(|entry| entry.intent.subject).collect();
        assert_eq!(bodies.len(), 2, "{bodies:?}");
    })
    .await;
}

#[tokio::test]
async fn a_provider_with_a_grace_forgives_every_lost_answer() {
    let mut plan = Plan::users(10).faults(&after_commit());
    plan.sandbox.grace = Duration::from_secs(30);
    plan.profile.rotation = evergrant::testing::provider::Rotation::Grace;
    plan.profile.grace = Duration::from_secs(30);
    on_both("grace_lost", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 10));
        rehearsal.assert_kept(10).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses_in_grace, 4);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_does_not_rotate_loses_nobody() {
    for (rotation, test) in [(Rotation::Keep, "keep_lost"), (Rotation::KeepAndOmit, "omit_lost")] {
        let mut plan = Plan::users(10).faults(&after_commit());
        plan.sandbox.rotation = rotation;
        plan.profile.rotation = evergrant::testing::provider::Rotation::None;
        on_both(test, plan, async |rehearsal| {
            for _ in 0..2 {
                let forced = PassRequest { force: true, ..PassRequest::default() };
                let summary = rehearsal.run_with(&forced, &Stop::default()).await;
                assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 10));
            }
            rehearsal.assert_kept(10).await;
            assert!(rehearsal.entries().await.is_empty(), "nothing in them that isn't in the documents");
        })
        .await;
    }
}

#[tokio::test]
async fn a_throttled_provider_is_left_alone_for_as_long_as_it_asks() {
    on_both(
        "retry_after",
        Plan::users(40).faults("429(2)@15 times=1, 503(1)@30 times=1"),
        async |rehearsal| {
            let began = Instant::now();
            let summary = rehearsal.run().await;
            assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
            assert_eq!((summary.exit(), summary.throttled), (Exit::Well, 2));
            let ledger = rehearsal.sandbox.ledger();
            assert_eq!((ledger.requests, ledger.delivered), (42, 40));
            rehearsal.assert_kept(40).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_limit_that_nobody_told_us_of_is_found_out_without_a_hail_of_requests() {
    let mut plan = Plan::users(60);
    plan.sandbox.rate_limit = Some("30/1500ms".parse().unwrap());
    on_both("unknown_limit", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 60), "{summary:?}");
        let ledger = rehearsal.sandbox.ledger();
        assert!(ledger.throttled > 0 && ledger.throttled <= 16, "{ledger:?}");
        rehearsal.assert_kept(60).await;
    })
    .await;
}

#[tokio::test]
async fn what_fails_for_the_whole_pass_is_still_due_with_its_reason_and_comes_again() {
    let script = [rules("503", &[2], ""), rules("500", &[4], "")].join(", ");
    on_both("still_due", Plan::users(8).faults(&script), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::StillDue)), (Exit::StillDue, 2), "{summary:?}");
        let reasons: Vec<_> = summary.still_due_reasons.iter().map(|(why, n)| (why.as_str(), *n)).collect();
        assert_eq!(reasons, [("http_500", 1), ("http_503", 1)]);
        for (position, class) in [(2, "ambiguous"), (4, "ambiguous")] {
            let bookkeeping = rehearsal.bookkeeping(position).await;
            assert_eq!((bookkeeping.state, bookkeeping.failures), (State::Live, 1));
            let evidence = bookkeeping.last_error.unwrap();
            assert_eq!(evidence.class, class);
            assert!(bookkeeping.due_at >= Some(evidence.at));
        }
        rehearsal.assert_nothing_claimed().await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 2));
        rehearsal.assert_kept(8).await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_redirect_is_no_reason_to_stop_and_marks_nobody() {
    on_both("one_redirect", Plan::users(8).faults("redirect user=user-000003 times=1"), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::StillDue)), (Exit::StillDue, 1), "{summary:?}");
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 1);
        rehearsal.assert_kept(8).await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    on_both("slow", Plan::users(6).faults("slow(1.5) user=user-000002"), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.grants), (Exit::Well, 6));
        rehearsal.assert_kept(6).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_comes_after_the_timeout_is_lost_and_told_apart_from_a_revoked_login() {
    let mut plan = Plan::users(6).faults("slow(3) user=user-000002 times=1");
    plan.profile.request_timeout = Duration::from_millis(700);
    on_both("timeout", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::LostInFlight)), (Exit::NeedsLogin, 1));
        assert_eq!(rehearsal.bookkeeping(2).await.state, State::LostInFlight);
        let audit = rehearsal.audit().await;
        assert_eq!((audit.kept, audit.lost_in_flight, audit.lost_received), (5, 1, 0), "{audit:?}");
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_nobody_reaches_marks_nobody_and_is_refreshed_when_it_is_back() {
    let mut plan = Plan::users(3);
    plan.profile.concurrency = 2.try_into().unwrap();
    on_both("unreachable", plan, async |mut rehearsal| {
        rehearsal.settings.attempts = 2;
        rehearsal.sandbox.clone().stop().await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::StillDue)), (Exit::StillDue, 3));
        assert_eq!(summary.still_due_reasons.get("connect"), Some(&3));
        let again = rehearsal.sandbox.start_again().await.unwrap();
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 3));
        drop(again);
        rehearsal.assert_kept(3).await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// A server that says in plain text that a token is dead says nothing about the tokens of others.
#[tokio::test]
async fn pages_for_some_users_are_no_outage_for_the_others() {
    let script = rules("422", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "");
    on_both("pages_for_some", Plan::users(30).faults(&script), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::StillDue, 18), "{summary:?}");
        assert!(summary.troubles.is_empty(), "{summary:?}");
        assert_eq!(summary.still_due_reasons, [("http_422".to_owned(), 12)].into());
        assert_eq!(rehearsal.sandbox.ledger().requests, 18 + 24, "each of them twice, as `ask_again` says");
    })
    .await;
}
