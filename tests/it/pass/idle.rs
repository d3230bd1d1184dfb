//! One run over several providers: a pass of each that has something due, and one line for the others.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document_id, on_both, run};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::Provider;
use evergrant::testing::report::Outcome;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::schedule::{Schedule, TooShort};
use evergrant::testing::store::mapping::Mapping;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn plan(users: usize) -> Plan {
    Plan {
        mapping: Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() },
        ..Plan::users(users)
    }
}

/// Configures these beside the one that has all users.
async fn with_idle(rehearsal: &mut Rehearsal, idle: usize) {
    for position in 0..rehearsal.users.len() {
        rehearsal.backend.set(&document_id(position), json!({ "provider": "sandbox" })).await;
    }
    rehearsal.settings.documents_name_provider = true;
    for number in 0..idle {
        let provider: Provider = (*rehearsal.providers[0]).clone();
        rehearsal.providers.push(Arc::new(Provider { name: format!("idle-{number}").into(), ..provider }));
    }
}

fn parts(summary: &Summary) -> (Vec<&str>, u64) {
    (summary.providers.keys().map(String::as_str).collect(), summary.idle_providers)
}

#[tokio::test]
async fn providers_with_nothing_due_are_counted_and_get_no_pass() {
    on_both("idle_providers", plan(3), async |mut rehearsal| {
        with_idle(&mut rehearsal, 40).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = calls.clone();
        rehearsal.meddler.decide(move |call| {
            counts.fetch_add(usize::from(matches!(call, Call::DuePage | Call::Waiting)), Ordering::Relaxed);
            Mishap::None
        });
        let first = rehearsal.run().await;
        assert_eq!((first.exit(), first.count(Outcome::Refreshed)), (Exit::Well, 3), "{first}");
        assert_eq!(parts(&first), (vec!["sandbox"], 40));
        assert!(first.to_string().contains("40 providers had nothing due"), "{first}");
        let asked = calls.load(Ordering::Relaxed);
        assert!(asked <= 4, "the store was asked {asked} times for 41 providers");
        let second = rehearsal.run().await;
        assert_eq!((second.exit(), second.due, second.touched), (Exit::Well, Some(0), 0), "{second}");
        assert_eq!(parts(&second), (vec![], 41));
        // Who is asked for has a part.
        let only = PassRequest { provider: Some("idle-7".into()), ..PassRequest::default() };
        let only = rehearsal.run_with(&only, &Stop::default()).await;
        assert_eq!(parts(&only), (vec!["idle-7"], 0));
        let force = PassRequest { force: true, ..PassRequest::default() };
        let force = rehearsal.run_with(&force, &Stop::default()).await;
        assert_eq!((force.providers.len(), force.count(Outcome::Refreshed)), (41, 3));
    })
    .await;
}

#[tokio::test]
async fn a_document_that_holds_an_array_of_names_belongs_to_no_provider_and_is_named() {
    on_both("idle_array", plan(3), async |mut rehearsal| {
        with_idle(&mut rehearsal, 2).await;
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 3);
        let before = rehearsal.sandbox.ledger().requests;
        // Nothing else is due.
        let array = json!({
            "_id": { "$oid": format!("{:024x}", 99) },
            "email": "two@example.com",
            "refresh_token": "is not sent",
            "provider": ["sandbox"],
        });
        rehearsal.backend.insert([array]).await;
        let found = rehearsal.run().await;
        assert_eq!((found.touched, found.count(Outcome::Malformed)), (1, 1), "{found}");
        assert_eq!(parts(&found), (vec![], 3));
        let [named] = &found.named[..] else { panic!("{found}") };
        assert_eq!((named.code.as_str(), named.id.clone()), ("no_provider", document_id(99)));
        assert_eq!(rehearsal.sandbox.ledger().requests, before, "its token is not sent");
        let again = rehearsal.run().await;
        assert_eq!((again.newly_malformed, again.count(Outcome::Malformed)), (0, 1), "known: {again}");
    })
    .await;
}

#[tokio::test]
async fn users_who_were_put_off_are_named_by_each_run_until_their_time_has_come() {
    on_both("idle_put_off", plan(2), async |mut rehearsal| {
        with_idle(&mut rehearsal, 3).await;
        rehearsal.settings.first_backoff = Duration::from_hours(1);
        rehearsal.sandbox.set_faults("503".parse().unwrap());
        let first = rehearsal.run().await;
        assert_eq!(first.exit(), Exit::StillDue, "{first}");
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let put_off = first.put_off_count;
        assert!(put_off > 0, "{first}");
        let second = rehearsal.run().await;
        assert_eq!((second.put_off_count, parts(&second)), (put_off, (vec!["sandbox"], 3)), "{second}");
    })
    .await;
}

#[tokio::test]
async fn a_life_that_the_answers_tell_is_held_against_the_schedule_also_by_the_next_process() {
    on_both("learned_life", plan(2), async |mut rehearsal| {
        with_idle(&mut rehearsal, 1).await;
        rehearsal.change_provider(|provider| {
            provider.profile.refresh_token_lifetime = Some(Duration::from_hours(48));
        });
        let schedule = |text| Schedule::parse(text, "UTC", rehearsal.clock.now()).unwrap();
        let summary = rehearsal.run().await;
        let part = &summary.providers["sandbox"];
        assert_eq!(part.refresh_token_lives_seconds, Some(48 * 3600), "{part:?}");
        assert!(part.access_token_lives_seconds.is_some(), "{part:?}");
        let process = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
        let found = process.too_short(&schedule("0 3 * * SUN")).await.unwrap();
        let [(name, TooShort::Refresh { life, .. })] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&**name, *life), ("sandbox", Duration::from_hours(48)));
        assert_eq!(process.too_short(&schedule("0 3 * * *")).await.unwrap(), []);
        // A pass with nothing to refresh forgets nothing.
        assert_eq!(run(&process, &PassRequest::default(), &Stop::default()).await.touched, 0);
        assert_eq!(process.too_short(&schedule("0 3 * * SUN")).await.unwrap().len(), 1);
        process.close().await;
    })
    .await;
}
