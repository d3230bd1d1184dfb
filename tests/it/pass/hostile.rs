//! Sequences that once lost a login, redeemed a token twice, marked the living, or could not be stopped.

use super::recovery::{Doomed, login};
use crate::store::backend;
use crate::support::meddler::{Call, Mishap};
use crate::support::process::{Kind, Scene};
use crate::support::rehearsal::{FORCED, Plan, Rehearsal, document, document_id, on_both};
use evergrant::sandbox::{Rotation, SandboxConfig};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassError, PassRequest, Stop};
use evergrant::testing::provider::Provider;
use evergrant::testing::provider::place::AnswerPlace;
use evergrant::testing::report::Outcome;
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::State;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Deletes document 1 just before its pair is written.
fn vanish(rehearsal: &Rehearsal) {
    let (backend, done) = (rehearsal.backend.clone(), Arc::new(AtomicBool::new(false)));
    rehearsal.meddler.meddle(move |call: Call| {
        let now = call.writes_pair_of(&document_id(1)) && !done.swap(true, Ordering::SeqCst);
        let backend = backend.clone();
        Box::pin(async move {
            if now {
                backend.delete(&document_id(1)).await;
            }
            Mishap::None
        })
    });
}

async fn gone_and_back(rotation: Rotation) {
    let mut plan = Plan::users(3);
    plan.sandbox.rotation = rotation;
    on_both("gone_and_back", plan, async |rehearsal| {
        vanish(&rehearsal);
        rehearsal.run().await;
        rehearsal.meddler.leave();
        // A restore (`mongorestore --drop`, delete and insert) brings it back as it was.
        rehearsal.backend.insert([document(1, &rehearsal.users[1])]).await;
        let again = rehearsal.run().await;
        assert_eq!(rehearsal.bookkeeping(1).await.state, State::Live, "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn document_that_comes_back_gets_its_parked_pair() {
    gone_and_back(Rotation::Rotate).await;
}

#[tokio::test]
async fn document_that_comes_back_with_a_kept_token_is_alive() {
    gone_and_back(Rotation::Keep).await;
}

#[tokio::test]
async fn answers_we_cannot_read_mark_nobody_and_are_not_asked_again() {
    let mut plan = Plan::users(40);
    plan.profile.answer.access_token = "/data/access_token".parse().unwrap();
    on_both("misread", plan, async |rehearsal| {
        let summary = rehearsal.run().await;
        let ledger = rehearsal.sandbox.ledger();
        assert_eq!((summary.count(Outcome::LostInFlight), ledger.reuses), (0, 0), "{summary}");
    })
    .await;
}

#[tokio::test]
async fn ten_documents_with_an_unlisted_4xx_do_not_stop_the_others() {
    let script: Vec<_> = (0..10).map(|user| format!("422 user=user-{user:06}")).collect();
    let plan = Plan::users(40).faults(&script.join(", "));
    let rehearsal = Rehearsal::over(backend::sqlite(Mapping::default()).await, &plan).await;
    let process = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
    let report = Arc::new(evergrant::testing::report::Reports::new());
    let summary = process.run(&PassRequest::default(), &Stop::default(), report).await.unwrap();
    let ledger = rehearsal.sandbox.ledger();
    assert_eq!(ledger.granted, 30, "{} requests\n{summary}", ledger.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_with_a_reader_of_stderr_that_died_first_stops() {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    let config = SandboxConfig { users: 400, latency: Duration::from_millis(30), ..SandboxConfig::default() };
    let mut scene = Scene::new("tee", Kind::Sqlite, config).await.unwrap();
    scene.set("concurrency", "2");
    let mut child = scene.start(&["run", "--once"]);
    scene.until(&mut child, |sandbox| sandbox.ledger().granted >= 20).await;
    // `evergrant run 2>&1 | tee log`, Ctrl-C: the terminal signals both, and tee is quicker.
    drop(child.stderr.take());
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    let status = tokio::time::timeout(Duration::from_mins(1), child.wait()).await.expect("it stops").unwrap();
    let ledger = scene.sandbox.ledger();
    assert!(
        status.code() == Some(4) && ledger.granted < 400,
        "{status:?}, granted {} of 400, answers untaken {}",
        ledger.granted,
        ledger.answers_untaken
    );
}

#[tokio::test]
async fn three_bad_documents_do_not_stop_the_others() {
    let script = "401 user=user-000000, 401 user=user-000001, 401 user=user-000002";
    let mut plan = Plan::users(40).faults(script);
    plan.clock = evergrant::testing::clock::Clock::steppable();
    on_both("three_bad", plan, async |rehearsal| {
        rehearsal.run().await; // the first three are refused: it stops
        let mut granted = Vec::new();
        for _ in 0..6 {
            rehearsal.run().await; // one wake a week
            granted.push(rehearsal.sandbox.ledger().granted);
            rehearsal.clock.step(chrono::TimeDelta::days(7));
        }
        assert!(granted.windows(2).all(|week| week[1] >= week[0] + 37), "granted by week: {granted:?}");
    })
    .await;
}

/// A pass whose write-back is refused: its answers stay in the journal.
async fn held(rehearsal: &Rehearsal) {
    rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
    let summary = rehearsal.run().await;
    rehearsal.meddler.leave();
    assert!(summary.count(Outcome::Held) > 0, "{summary:?}");
}

#[tokio::test]
async fn a_run_over_another_collection_leaves_held_pairs_alone() {
    on_both("other_collection", Plan::users(3), async |rehearsal| {
        held(&rehearsal).await;
        let other = backend::sqlite(Mapping::default()).await;
        let process = rehearsal.process(other.store.clone(), rehearsal.state()).await;
        let report = Arc::new(evergrant::testing::report::Reports::new());
        let refusal = process.run(&PassRequest::default(), &Stop::default(), report).await.unwrap_err();
        assert!(matches!(&refusal, PassError::OtherStore { other, .. } if other.open > 0), "{refusal}");
        process.close().await;
        let back = rehearsal.run().await;
        assert_eq!(back.count(Outcome::NeedsLogin), 0, "{back}");
        rehearsal.assert_kept(3).await;
    })
    .await;
}

#[tokio::test]
async fn a_renamed_provider_redeems_nothing_twice() {
    on_both("renamed", Plan::users(3), async |mut rehearsal| {
        held(&rehearsal).await;
        rehearsal.change_provider(|provider| provider.name = "aps".into());
        let next = rehearsal.run().await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0, "{next}");
    })
    .await;
}

#[tokio::test]
async fn nobody_gets_the_tokens_of_another_account() {
    on_both("other_account", Plan::users(4), async |rehearsal| {
        rehearsal.run().await;
        // The person of document 0 logs in with another account; an old copy of their former document comes back.
        let other = rehearsal.sandbox.login("user-000003").unwrap();
        rehearsal.write_login(0, &other).await;
        let old = serde_json::json!({ "refresh_token": rehearsal.users[0].refresh_token });
        rehearsal.backend.set(&document_id(2), old).await;
        let forced = PassRequest { force: true, ..PassRequest::default() };
        rehearsal.run_with(&forced, &Stop::default()).await;
        let user = rehearsal.sandbox.token_history(&rehearsal.token(2).await).unwrap().user;
        assert_ne!(user, "user-000003", "document 2 holds the tokens of somebody else's account");
    })
    .await;
}

#[tokio::test]
async fn a_collection_that_refuses_every_claim_is_not_all_well() {
    let Some(backend) = backend::mongo("validator", Mapping::default()).await else { return };
    let rehearsal = Rehearsal::over(backend, &Plan::users(5)).await;
    let collection = rehearsal.backend.collection();
    let database = collection.client().database(&collection.namespace().db);
    let validator = bson::doc! { "$jsonSchema": { "additionalProperties": false, "properties": {
    "_id": {}, "userId": {}, "email": {}, "access_token": {}, "refresh_token": {} } } };
    database.run_command(bson::doc! { "collMod": collection.name(), "validator": validator }).await.unwrap();
    let summary = rehearsal.run().await;
    assert_ne!(summary.exit(), evergrant::testing::exit::Exit::Well, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_disk_does_not_kill_the_pass() {
    let scene = Scene::new("logs", Kind::Sqlite, SandboxConfig { users: 30, ..SandboxConfig::default() })
        .await
        .unwrap();
    let mut command = scene.command(&["run", "--once"]);
    command.stderr(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let status = command.status().await.unwrap();
    assert_eq!(
        status.code(),
        Some(0),
        "requests {}, granted {}",
        scene.sandbox.ledger().requests,
        scene.sandbox.ledger().granted
    ); // {}", scene.sandbox.ledger().granted);
}

/// A further value of an answer is worth less than the pair that came with it.
#[tokio::test]
async fn a_further_field_that_cannot_be_written_holds_back_no_pair() {
    let place = || "/token_type".parse().unwrap();
    let field = |name: &str| name.parse().unwrap();
    let also = [(field("more.kind"), place()), (field("kind"), place())];
    let mut plan = Plan::users(3);
    plan.mapping = Mapping { also: also.into(), ..Mapping::default() };
    plan.profile.answer.also = [("more.kind".to_owned(), place()), ("kind".to_owned(), place())].into();
    on_both("further_field", plan, async |rehearsal| {
        // In the way of a sub-document: the value can't be written, whatever it is.
        rehearsal.backend.set(&document_id(1), json!({ "more": 5 })).await;
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 3), "{summary:?}");
        rehearsal.assert_kept(3).await;
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
        for position in 0..3 {
            let document = rehearsal.document(position).await;
            let more = if position == 1 { json!(5) } else { json!({ "kind": "Bearer" }) };
            assert_eq!(document["more"], more, "{document}");
            assert_eq!(document["evergrant"]["state"], "live");
        }
        assert_eq!(rehearsal.sandbox.ledger().requests, 3);
    })
    .await;
}

/// By hand, too.
#[tokio::test]
async fn a_pair_that_is_applied_by_hand_goes_without_a_further_field_that_cannot_be_written() {
    let mut plan = Plan::users(1);
    let place: AnswerPlace = "/token_type".parse().unwrap();
    plan.mapping =
        Mapping { also: [("more.kind".parse().unwrap(), place.clone())].into(), ..Mapping::default() };
    plan.profile.answer.also = [("more.kind".to_owned(), place)].into();
    on_both("further_by_hand", plan, async |rehearsal| {
        let doomed = Doomed::claims(&rehearsal, &[0]).await;
        doomed.is_answered(0).await;
        doomed.dies().await;
        let login = login(&rehearsal.sandbox, 0);
        rehearsal.write_login(0, &login).await;
        rehearsal.backend.set(&document_id(0), json!({ "more": 5 })).await;
        assert_eq!(rehearsal.run().await.orphans, 1);
        let newest = rehearsal.token(0).await;
        let parked = rehearsal.entries().await;
        let process = rehearsal.another_process(rehearsal.state()).await;
        let applied = process.base.apply(parked[0].id, None).await.unwrap();
        process.close().await;
        assert!(applied.replaced.is_some(), "{applied:?}");
        let document = rehearsal.document(0).await;
        assert_eq!(
            (&document["more"], &document["evergrant"]["state"]),
            (&json!(5), &json!("live")),
            "{document}"
        );
        assert_ne!(rehearsal.token(0).await, newest);
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_kept_pair_goes_back_when_its_provider_has_another_name_beside_a_second_one() {
    let mut plan = Plan::users(20);
    plan.mapping.provider = Some("provider".parse().unwrap());
    on_both("kept_renamed", plan, async |mut rehearsal| {
        rehearsal.settings.documents_name_provider = true;
        let named = async |rehearsal: &Rehearsal, name: &str| {
            for position in 0..20 {
                rehearsal.backend.set(&document_id(position), json!({ "provider": name })).await;
            }
        };
        named(&rehearsal, "sandbox").await;
        rehearsal.run().await;
        rehearsal.change_provider(|provider| provider.name = "new".into());
        let second = Provider { name: "second".into(), ..(*rehearsal.providers[0]).clone() };
        rehearsal.providers.push(Arc::new(second));
        named(&rehearsal, "new").await;
        let user = &rehearsal.users[0];
        let stale = json!({ "refresh_token": user.refresh_token, "access_token": user.access_token });
        rehearsal.backend.set(&document_id(0), stale).await;
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!((summary.newly_marked, summary.count(Outcome::Restored)), (0, 1), "{summary:?}");
        rehearsal.assert_kept(20).await;
    })
    .await;
}
