//! A pass in which nothing goes wrong.

use crate::support::rehearsal::{LIFETIME, Plan, Rehearsal, on_both};
use evergrant::sandbox::{RateLimit, Rotation, SandboxConfig};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::rate::Rate;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use serde_json::{Value, json};
use std::num::NonZeroU64;
use std::time::Duration;

#[tokio::test]
async fn a_pass_refreshes_everybody_and_the_next_one_finds_nothing_due() {
    on_both("everybody", Plan::users(120), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.touched, summary.grants), (Exit::Well, 120, 120));
        assert_eq!((summary.documents, summary.count(Outcome::Refreshed)), (Some(120), 120));
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.delivered, ledger.reuses), (120, 120, 0));
        assert!(ledger.in_flight_peak <= 8, "{ledger:?}");
        rehearsal.assert_kept(120).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());

        let second = rehearsal.run().await;
        assert_eq!((second.exit(), second.touched, second.grants), (Exit::Well, 0, 0));
        assert!(second.recovery.is_empty());
        assert_eq!(rehearsal.sandbox.ledger().requests, 120);
    })
    .await;
}

#[tokio::test]
async fn only_our_own_fields_change() {
    on_both("own_fields", Plan::users(3), async |rehearsal| {
        let more = json!({
            "profile": { "name": "Ada", "tags": ["a", { "b": null }], "since": { "$date": "2026-01-01T00:00:00Z" } },
            "count": 7, "ratio": 0.5, "empty": "", "nothing": null,
        });
        rehearsal.backend.set(&crate::support::rehearsal::document_id(1), more.clone()).await;
        let before = rehearsal.backend.all().await;
        rehearsal.run().await;
        for (mut before, mut after) in before.into_iter().zip(rehearsal.backend.all().await) {
            let bookkeeping = after.as_object_mut().unwrap().remove("evergrant").unwrap();
            assert_eq!(bookkeeping["state"], "live");
            let names: Vec<&String> = bookkeeping.as_object().unwrap().keys().collect();
            let expected = ["state", "since", "fingerprint", "due_at", "refreshed_at", "refreshed_by", "spent", "access_expires_at", "refresh_expires_at", "failures"];
            assert_eq!(names, expected);
            for token in ["access_token", "refresh_token"] {
                let old = before.as_object_mut().unwrap().remove(token);
                let new = after.as_object_mut().unwrap().remove(token);
                assert!(new.is_some() && new != old);
            }
            assert_eq!(before, after);
        }
        let due_at = rehearsal.bookkeeping(0).await.due_at.unwrap();
        let third = rehearsal.clock.now() + LIFETIME / 3;
        assert!(due_at <= third && due_at >= third - LIFETIME / 10, "{due_at}");
    })
    .await;
}

#[tokio::test]
async fn force_redeems_all_again_and_limit_only_so_many() {
    on_both("force_and_limit", Plan::users(40), async |rehearsal| {
        let limit = |limit: u64| PassRequest { limit: NonZeroU64::new(limit), ..PassRequest::default() };
        let first = rehearsal.run_with(&limit(7), &Stop::default()).await;
        assert_eq!((first.touched, first.grants, first.exit()), (7, 7, Exit::Well));
        assert_eq!((first.due, first.taken, first.remaining_due), (Some(40), 7, Some(33)));
        assert!(first.to_string().contains("7 of 40 due were finished (--limit)"), "{first}");
        assert!(first.to_string().contains("; 33 remain due"), "{first}");
        assert_eq!(rehearsal.sandbox.ledger().requests, 7);
        rehearsal.assert_nothing_claimed().await;
        let rest = rehearsal.run().await;
        assert_eq!((rest.touched, rest.grants), (33, 33));
        assert_eq!((rest.due, rest.taken, rest.remaining_due), (Some(33), 33, Some(0)));

        let due_before: Vec<Value> = due_times(&rehearsal).await;
        let forced = PassRequest { force: true, ..limit(5) };
        assert_eq!(rehearsal.run_with(&forced, &Stop::default()).await.grants, 5);
        let changed = due_times(&rehearsal).await.iter().zip(&due_before).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 5, "what was claimed and not taken is as due as it was before");
        assert_eq!(rehearsal.run().await.touched, 0);

        let forced = PassRequest { force: true, ..PassRequest::default() };
        assert_eq!(rehearsal.run_with(&forced, &Stop::default()).await.grants, 40);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.granted, ledger.reuses), (85, 0));
        rehearsal.assert_kept(40).await;
    })
    .await;
}

async fn due_times(rehearsal: &Rehearsal) -> Vec<Value> {
    rehearsal
        .backend
        .all()
        .await
        .into_iter()
        .map(|document| document["evergrant"]["due_at"].clone())
        .collect()
}

#[tokio::test]
async fn what_a_provider_of_unknown_life_granted_does_not_remain_due() {
    let mut plan = Plan::users(12);
    plan.profile.refresh_token_lifetime = None;
    on_both("unknown_life_left", plan, async |rehearsal| {
        let limit = PassRequest { limit: NonZeroU64::new(5), ..PassRequest::default() };
        let first = rehearsal.run_with(&limit, &Stop::default()).await;
        assert_eq!((first.due, first.taken, first.remaining_due), (Some(12), 5, Some(7)), "{first:?}");
        let all = rehearsal.run().await;
        assert_eq!((all.due, all.taken, all.remaining_due), (Some(12), 12, Some(0)), "{all:?}");
    })
    .await;
}

#[tokio::test]
async fn an_empty_collection_is_all_well() {
    on_both("empty", Plan::users(0), async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.touched, summary.documents), (Exit::Well, 0, Some(0)));
    })
    .await;
}

#[tokio::test]
async fn the_rate_is_kept_over_several_hundred_grants() {
    let mut plan = Plan::users(260);
    // A request may be late by a twentieth of the window, on its way or on a machine that has no time for it: in a
    // window of one second that would be 50 ms, too little beside the other tests.
    let window = Duration::from_secs(4);
    plan.sandbox.rate_limit = Some(RateLimit { grants: 200, window });
    plan.profile.rate = Some(Rate { grants: 200.try_into().unwrap(), window });
    on_both("rate_kept", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 260));
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.throttled, ledger.delivered), (0, 260));
        assert!(ledger.max_grants_in_window <= 200, "{ledger:?}");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_the_provider_keeps_is_redeemed_again_and_again() {
    for (rotation, test) in [(Rotation::Keep, "keep"), (Rotation::KeepAndOmit, "keep_and_omit")] {
        let mut plan = Plan::users(12);
        plan.sandbox.rotation = rotation;
        plan.profile.rotation = evergrant::testing::provider::Rotation::None;
        on_both(test, plan, async |rehearsal| {
            for pass in 1..=3 {
                let forced = PassRequest { force: true, ..PassRequest::default() };
                let summary = rehearsal.run_with(&forced, &Stop::default()).await;
                assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 12));
                assert_eq!(rehearsal.sandbox.ledger().granted, 12 * pass);
                rehearsal.assert_kept(12).await;
            }
            for (position, user) in rehearsal.users.iter().enumerate() {
                assert_eq!(rehearsal.token(position).await, user.refresh_token);
                assert_ne!(rehearsal.document(position).await["access_token"], user.access_token);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_life_is_due_at_every_wake() {
    let mut plan = Plan::users(10);
    plan.profile.refresh_token_lifetime = None;
    on_both("unknown_life", plan, async |rehearsal| {
        for pass in 1..=3 {
            assert_eq!(rehearsal.run().await.grants, 10);
            assert_eq!(rehearsal.sandbox.ledger().granted, 10 * pass);
        }
        rehearsal.assert_kept(10).await;
        let life = rehearsal.bookkeeping(0).await.refresh_expires_at;
        assert_eq!(life, None, "an unknown end is not made up");
    })
    .await;
}

#[tokio::test]
async fn the_life_that_the_answer_names_goes_before_that_of_the_profile() {
    let mut plan = Plan::users(4);
    plan.sandbox = SandboxConfig {
        announce_refresh_lifetime: true,
        refresh_token_lifetime: LIFETIME * 4,
        ..plan.sandbox
    };
    on_both("announced_life", plan, async |rehearsal| {
        rehearsal.run().await;
        let bookkeeping = rehearsal.bookkeeping(2).await;
        assert_eq!(bookkeeping.state, State::Live);
        assert_eq!(bookkeeping.refresh_expires_at, bookkeeping.refreshed_at.map(|at| at + LIFETIME * 4));
    })
    .await;
}
