//! Who is marked, as what, and how they live again.

use crate::store::backend::{COLLECTION, mongo};
use crate::support::mongod;
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both};
use bson::{Document, doc};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Named, Outcome};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::State;
use serde_json::{Value, json};
use std::time::Duration;

fn names(summary: &Summary) -> Vec<(&str, &str, bool)> {
    let name = |named: &'_ Named| (named.subject.as_str().to_owned(), named.code.clone(), named.new);
    let mut names: Vec<_> = summary.named.iter().collect();
    names.sort_by_key(|named| name(named));
    names.into_iter().map(|named| (named.subject.as_str(), named.code.as_str(), named.new)).collect()
}

#[tokio::test]
async fn dead_users_are_named_once_asked_and_live_again_after_a_login() {
    let mut plan = Plan::users(30);
    plan.sandbox.dead_users = 2;
    on_both("dead_users", plan, async |rehearsal| {
        rehearsal.sandbox.revoke("user-000003");
        let before = rehearsal.clock.now();
        let first = rehearsal.run().await;
        assert_eq!((first.exit(), first.newly_marked), (Exit::NeedsLogin, 3));
        let dead = ["user-000003@example.com", "user-000028@example.com", "user-000029@example.com"];
        assert_eq!(names(&first), dead.map(|who| (who, "invalid_grant", true)));
        assert_eq!(first.count(Outcome::Refreshed), 27);
        for position in [3, 28, 29] {
            let bookkeeping = rehearsal.bookkeeping(position).await;
            assert_eq!(bookkeeping.state, State::NeedsLogin);
            assert!(bookkeeping.since >= Some(before) && bookkeeping.since <= Some(rehearsal.clock.now()));
            let evidence = bookkeeping.last_error.unwrap();
            assert_eq!((evidence.class.as_str(), evidence.http_status), ("refused", Some(400)));
            let user = &rehearsal.users[position];
            assert_eq!(
                rehearsal.token(position).await,
                user.refresh_token,
                "a dead document keeps its token"
            );
        }
        let requests = rehearsal.sandbox.ledger().requests;

        let second = rehearsal.run().await;
        assert_eq!((second.exit(), second.touched, second.newly_marked), (Exit::Well, 3, 0));
        assert_eq!(names(&second), dead.map(|who| (who, "invalid_grant", false)));
        assert_eq!((second.due, second.known_needs_login, second.remaining_due), (Some(0), 3, Some(0)));
        assert!(second.to_string().contains("3 known to need a login, not asked"), "{second}");
        let ids: Vec<_> = second.named.iter().map(|named| named.id.clone()).collect();
        assert!(ids.contains(&document_id(3)) && ids.contains(&document_id(28)), "{ids:?}");
        assert!(second.named.iter().all(|named| named.provider.as_deref() == Some("sandbox")));
        assert_eq!(rehearsal.sandbox.ledger().requests, requests, "the dead are not asked for again");
        assert!(second.named.iter().all(|named| named.since.is_some()));

        let login = rehearsal.sandbox.login("user-000003").unwrap();
        rehearsal.write_login(3, &login).await;
        let third = rehearsal.run().await;
        assert_eq!((third.count(Outcome::Refreshed), third.count(Outcome::NeedsLogin)), (1, 2));
        let bookkeeping = rehearsal.bookkeeping(3).await;
        assert_eq!((bookkeeping.state, bookkeeping.failures, bookkeeping.last_error), (State::Live, 0, None));
        rehearsal.assert_kept(28).await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_dead_login_that_is_asked_again_by_force_is_named_and_is_no_news() {
    let mut plan = Plan::users(20);
    plan.sandbox.dead_users = 1;
    on_both("dead_again", plan, async |rehearsal| {
        assert_eq!(rehearsal.run().await.exit(), Exit::NeedsLogin);
        let forced = PassRequest { force: true, ..PassRequest::default() };
        let again = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!((again.grants, again.count(Outcome::NeedsLogin)), (20, 1), "it was asked: {again:?}");
        assert_eq!((again.exit(), again.newly_marked), (Exit::Well, 0), "{again:?}");
        assert_eq!(names(&again), [("user-000019@example.com", "invalid_grant", false)]);
    })
    .await;
}

#[tokio::test]
async fn whatever_stands_in_the_place_of_a_token_is_named_and_the_others_go_on() {
    on_both("malformed", Plan::users(14), async |rehearsal| {
        let long = "x".repeat(10 << 20);
        let kinds: [(Value, &str); 9] = [
            (json!(null), "null"),
            (json!(""), "empty"),
            (json!(7), "not_text"),
            (json!(["a"]), "not_text"),
            (json!({ "a": "b" }), "not_text"),
            (json!({ "$date": "2026-01-01T00:00:00Z" }), "not_text"),
            (json!(long), "too_long"),
            (json!("a\u{0}b"), "forbidden_character"),
            (json!("tokén\n"), "forbidden_character"),
        ];
        for (position, (kind, _)) in kinds.iter().enumerate() {
            rehearsal.backend.set(&document_id(position), json!({ "refresh_token": kind })).await;
        }
        rehearsal
            .backend
            .insert([json!({ "_id": "no token", "userId": "somebody" }), json!({ "_id": 7 })])
            .await;
        let first = rehearsal.run().await;
        assert_eq!((first.exit(), first.touched, first.grants), (Exit::StillDue, 16, 5));
        assert_eq!((first.count(Outcome::Malformed), first.count(Outcome::Refreshed)), (11, 5));
        for (position, (_, code)) in kinds.iter().enumerate() {
            let bookkeeping = rehearsal.bookkeeping(position).await;
            assert_eq!(bookkeeping.state, State::Malformed);
            assert_eq!(bookkeeping.last_error.unwrap().code, *code);
        }
        let missing: Vec<_> = first.named.iter().filter(|named| named.code == "missing").collect();
        assert_eq!(missing.len(), 2);
        assert!(missing.iter().any(|named| named.subject.as_str() == "somebody"));
        assert!(missing.iter().any(|named| named.subject.as_str().starts_with("_id ")));

        let second = rehearsal.run().await;
        assert_eq!(
            (second.exit(), second.count(Outcome::Malformed), second.newly_malformed),
            (Exit::Well, 11, 0)
        );
        for position in 0..9 {
            let pair = rehearsal.sandbox.login(&format!("user-{position:06}")).unwrap();
            rehearsal.write_login(position, &pair).await;
        }
        let third = rehearsal.run().await;
        assert_eq!((third.count(Outcome::Refreshed), third.count(Outcome::Malformed)), (9, 2));
        rehearsal.assert_kept(14).await;
    })
    .await;
}

/// Puts the token of user 0 into the documents of these users too.
async fn share_the_token(rehearsal: &Rehearsal, positions: &[usize]) {
    for position in positions {
        let user = &rehearsal.users[0];
        let pair = json!({ "refresh_token": user.refresh_token, "access_token": user.access_token });
        rehearsal.backend.set(&document_id(*position), pair).await;
    }
}

#[tokio::test]
async fn two_documents_with_one_refresh_token_cost_one_grant_and_hold_one_pair() {
    let mut plan = Plan::users(20);
    // The answer takes long enough for the second document to come while the first one is on its way.
    plan.sandbox.latency = Duration::from_millis(50);
    on_both("same_token", plan, async |rehearsal| {
        share_the_token(&rehearsal, &[1, 15]).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Duplicate)), (Exit::Well, 2), "{summary:?}");
        assert_eq!(summary.count(Outcome::Refreshed), 18);
        let history = rehearsal.sandbox.token_history(&rehearsal.users[0].refresh_token).unwrap();
        assert_eq!(history.presentations.len(), 1);
        for position in [1, 15] {
            assert_eq!(rehearsal.token(position).await, rehearsal.token(0).await);
        }
        rehearsal.assert_whole().await;
        rehearsal.assert_nothing_claimed().await;
        // And again, once they hold the same successor.
        let forced = PassRequest { force: true, ..PassRequest::default() };
        let again = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!((again.count(Outcome::Duplicate), again.count(Outcome::Refreshed)), (2, 18));
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
        assert_eq!(rehearsal.token(15).await, rehearsal.token(0).await);
    })
    .await;
}

#[tokio::test]
async fn a_second_document_with_the_token_that_comes_in_a_later_pass_gets_the_pair_of_today() {
    on_both("same_token_later", Plan::users(4), async |rehearsal| {
        rehearsal.run().await;
        let forced = PassRequest { force: true, ..PassRequest::default() };
        rehearsal.run_with(&forced, &Stop::default()).await;
        share_the_token(&rehearsal, &[2]).await;
        let summary = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!(
            (summary.count(Outcome::Duplicate), summary.count(Outcome::Refreshed)),
            (1, 3),
            "{summary:?}"
        );
        assert_eq!(rehearsal.token(2).await, rehearsal.token(0).await);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_token_out_of_a_backup_is_never_sent_again() {
    on_both("backup", Plan::users(4), async |mut rehearsal| {
        rehearsal.keep_pairs = Duration::ZERO;
        rehearsal.run().await;
        let requests = rehearsal.sandbox.ledger().requests;
        share_the_token(&rehearsal, &[0]).await;
        let forced = PassRequest { force: true, ..PassRequest::default() };
        let summary = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.count(Outcome::NeedsLogin)), (Exit::NeedsLogin, 1));
        assert_eq!(names(&summary), [("user-000000@example.com", "already_redeemed", true)]);
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.reuses), (requests + 3, 0));
        assert_eq!(rehearsal.bookkeeping(0).await.state, State::NeedsLogin);
        let login = rehearsal.sandbox.login("user-000000").unwrap();
        rehearsal.write_login(0, &login).await;
        assert_eq!(rehearsal.run().await.exit(), Exit::Well);
        rehearsal.assert_kept(4).await;
    })
    .await;
}

#[tokio::test]
async fn a_document_that_cannot_be_written_costs_no_token_and_holds_nobody_back() {
    let mapping = Mapping {
        access_token: Some("oauth.access".parse().unwrap()),
        bookkeeping: "meta.evergrant".parse().unwrap(),
        ..Mapping::default()
    };
    let plan = Plan { mapping, ..Plan::users(8) };
    on_both("no_room_pass", plan, async |rehearsal| {
        rehearsal.backend.set(&document_id(2), json!({ "oauth": "text" })).await;
        rehearsal.backend.set(&document_id(5), json!({ "oauth": { "access": "old" } })).await;
        rehearsal.backend.set(&document_id(6), json!({ "meta": "text" })).await;
        let without_room = 2;
        for _ in 0..2 {
            let forced = PassRequest { force: true, ..PassRequest::default() };
            let summary = rehearsal.run_with(&forced, &Stop::default()).await;
            assert_eq!((summary.exit(), summary.touched), (Exit::StillDue, 8));
            assert_eq!(summary.count(Outcome::Malformed), without_room);
            assert_eq!(summary.count(Outcome::Refreshed), 8 - without_room);
            let codes: Vec<_> = summary.named.iter().map(|named| named.code.as_str()).collect();
            assert_eq!(codes, vec!["no_room"; usize::try_from(without_room).unwrap()]);
        }
        assert_eq!(rehearsal.token(2).await, rehearsal.users[2].refresh_token);
        assert_eq!(rehearsal.sandbox.ledger().granted, 2 * (8 - without_room));
        let audit = rehearsal.audit().await;
        assert_eq!((audit.kept, audit.held_stale), (8, 0), "{audit:?}");
        rehearsal.backend.set(&document_id(2), json!({ "oauth": {}, "meta": {} })).await;
        rehearsal.backend.set(&document_id(6), json!({ "meta": {} })).await;
        let mended = rehearsal.run().await;
        assert_eq!((mended.touched, mended.count(Outcome::Refreshed)), (without_room, without_room));
    })
    .await;
}

#[tokio::test]
async fn a_document_that_a_validator_protects_costs_no_token_and_holds_nobody_back() {
    let plan = Plan::users(6);
    let Some(backend) = mongo("validator_pass", plan.mapping.clone()).await else { return };
    let rehearsal = Rehearsal::over(backend, &plan).await;
    let validator = |rule: Document| {
        let command = doc! { "collMod": COLLECTION, "validator": rule };
        let database = rehearsal.backend.collection().namespace().db;
        async move {
            let client = mongodb::Client::with_uri_str(mongod::uri().unwrap()).await.unwrap();
            client.database(&database).run_command(command).await.unwrap();
        }
    };
    validator(doc! { "userId": { "$ne": "user-000002" } }).await;
    let summary = rehearsal.run().await;
    assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::StillDue, 5), "{summary:?}");
    assert_eq!(names(&summary), [("user-000002@example.com", "no_room", true)]);
    assert_eq!(rehearsal.sandbox.ledger().requests, 5);

    // One that takes a claim, and no new pair: what was redeemed is held, once, and written when it can be.
    let old = rehearsal.token(3).await;
    validator(
        doc! { "$or": [{ "userId": { "$nin": ["user-000002", "user-000003"] } }, { "refresh_token": &old }] },
    )
    .await;
    let forced = PassRequest { force: true, ..PassRequest::default() };
    for _ in 0..2 {
        let began = std::time::Instant::now();
        let summary = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!((summary.exit(), summary.touched), (Exit::Unavailable, 6), "{summary:?}");
        assert_eq!(summary.count(Outcome::Held), 1, "{summary:?}");
        assert_eq!(summary.count(Outcome::Malformed), 1);
        assert!(began.elapsed() < Duration::from_secs(10), "nobody waits for what isn't coming");
    }
    validator(doc! {}).await;
    let summary = rehearsal.run().await;
    assert_eq!((summary.exit(), summary.recovery.written), (Exit::Well, 1), "{summary:?}");
    rehearsal.assert_kept(6).await;
    assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
}

#[tokio::test]
async fn a_revoked_login_stays_one_when_an_answer_for_it_is_lost_later() {
    let mut plan = Plan::users(20);
    plan.sandbox.dead_users = 1;
    on_both("stays_revoked", plan, async |rehearsal| {
        assert_eq!(rehearsal.run().await.count(Outcome::NeedsLogin), 1);
        let dead = rehearsal.states().await.iter().position(|state| *state == State::NeedsLogin).unwrap();
        let fault = format!("drop-before user=user-{dead:06} times=1");
        rehearsal.sandbox.set_faults(fault.parse().unwrap());
        let forced = PassRequest { force: true, ..PassRequest::default() };
        let summary = rehearsal.run_with(&forced, &Stop::default()).await;
        assert_eq!(
            (summary.count(Outcome::NeedsLogin), summary.count(Outcome::LostInFlight)),
            (1, 0),
            "{summary:?}"
        );
        assert_eq!(rehearsal.bookkeeping(dead).await.state, State::NeedsLogin);
    })
    .await;
}

#[tokio::test]
async fn a_pass_over_one_document_marks_no_living_user_however_often_it_is_refused() {
    on_both("one_document", Plan::users(2), async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        let only = PassRequest { only: Some(document_id(1)), ..PassRequest::default() };
        for _ in 0..3 {
            let summary = rehearsal.run_with(&only, &Stop::default()).await;
            assert_eq!(summary.still_due_reasons.get("refused_once"), Some(&1), "{summary:?}");
            assert!(rehearsal.states().await.iter().all(|state| *state == State::Live));
        }
        // Where another user is granted it is believed; and what is known dead stays so.
        let summary = rehearsal.run().await;
        assert_eq!((summary.count(Outcome::NeedsLogin), summary.newly_marked), (1, 1), "{summary:?}");
        let summary = rehearsal.run_with(&only, &Stop::default()).await;
        assert_eq!((summary.count(Outcome::NeedsLogin), summary.newly_marked), (1, 0), "{summary:?}");
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
