//! More than one provider, and a provider that is configured wrong.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, Rehearsal, document, document_id, fixed_url, on_both, provider_of};
use axum::http::StatusCode;
use axum::response::Html;
use evergrant::sandbox::{Sandbox, SandboxConfig};
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{ApplyError, PassRequest, Stop};
use evergrant::testing::provider::{ClientSecret, Provider};
use evergrant::testing::report::{Outcome, Trouble};
use evergrant::testing::store::mapping::Mapping;
use evergrant::testing::token::State;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the application has in its documents.
async fn theirs(rehearsal: &Rehearsal) -> Vec<Value> {
    let mut all = rehearsal.backend.all().await;
    for document in &mut all {
        document.as_object_mut().unwrap().remove("evergrant");
    }
    all
}

async fn is_our_fault(rehearsal: &Rehearsal, expected_code: &str, expected_status: u16) {
    let (before, is_page) = (theirs(rehearsal).await, expected_code.starts_with("http_4"));
    let summary = rehearsal.run().await;
    assert_eq!(summary.exit(), Exit::ClientRejected, "{summary:?}");
    // Three in order, perhaps one that was at the gate already, and three from all over what is due.
    assert!(summary.grants <= 7, "{} grants", summary.grants);
    assert_eq!((summary.newly_marked, summary.named.len()), (0, 0));
    assert_eq!(summary.count(Outcome::StillDue), summary.touched);
    match &summary.troubles[..] {
        [Trouble::ClientRejected { code, http_status, .. }] => {
            assert_eq!((code.as_str(), *http_status), (expected_code, Some(expected_status)));
        }
        other => panic!("{other:?}"),
    }
    assert!(summary.to_string().contains("\nhint: "), "{summary}");
    assert_eq!(theirs(rehearsal).await, before, "not a byte of theirs has changed");
    for position in 0..rehearsal.users.len() {
        let bookkeeping = rehearsal.bookkeeping(position).await;
        assert_eq!((bookkeeping.state, bookkeeping.lease), (State::Live, None));
        // A page may come after the provider has done its work: that is noted, and marks no user.
        let noted = bookkeeping.last_error.map(|error| error.lost.is_some_and(|lost| lost.turned_away));
        assert!(noted.is_none_or(|turned_away| is_page && turned_away));
    }
    assert_eq!(rehearsal.sandbox.ledger().granted, 0);
    let entries = rehearsal.entries().await;
    assert_eq!(entries.len() as u64, if is_page { summary.grants } else { 0 });
    assert!(entries.iter().all(|entry| entry.unsettled_since.is_none()), "{entries:?}");
}

/// Everybody is refreshed once the mistake is mended.
async fn goes_on(rehearsal: &Rehearsal) {
    let summary = rehearsal.run().await;
    assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 12));
    rehearsal.assert_kept(12).await;
    assert!(rehearsal.entries().await.is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_our_fault() {
    on_both("wrong_secret", Plan::users(12), async |mut rehearsal| {
        rehearsal
            .change_provider(|provider| provider.client_secret = Some(ClientSecret::new("wrong".into())));
        is_our_fault(&rehearsal, "invalid_client", 401).await;
        assert!(rehearsal.sandbox.ledger().requests <= 7);
        let right = rehearsal.sandbox.config().client_secret.clone();
        rehearsal.change_provider(|provider| provider.client_secret = Some(ClientSecret::new(right)));
        goes_on(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_address_is_our_fault() {
    on_both("wrong_address", Plan::users(12), async |mut rehearsal| {
        rehearsal.change_provider(|provider| fixed_url(provider).set_path("/oauth/nothing/here"));
        is_our_fault(&rehearsal, "http_404", 404).await;
        let right = rehearsal.sandbox.token_url().parse().unwrap();
        rehearsal.change_provider(|provider| provider.token_url = right);
        goes_on(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn an_address_that_redirects_is_our_fault_and_is_not_followed() {
    on_both("redirects", Plan::users(12).faults("redirect"), async |rehearsal| {
        is_our_fault(&rehearsal, "http_302", 302).await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        goes_on(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn the_page_of_a_firewall_is_our_fault() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page = || async { (StatusCode::FORBIDDEN, Html("<html>Access denied. invalid_grant</html>")) };
    let firewall = axum::Router::new().fallback(page);
    tokio::spawn(async move { axum::serve(listener, firewall).await });
    on_both("firewall", Plan::users(12), async |mut rehearsal| {
        let right = rehearsal.providers[0].token_url.clone();
        rehearsal.change_provider(|provider| fixed_url(provider).set_port(Some(address.port())).unwrap());
        is_our_fault(&rehearsal, "http_403", 403).await;
        rehearsal.change_provider(|provider| provider.token_url = right);
        goes_on(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_rejected_in_the_middle_stops_what_was_not_sent() {
    // Three, three from elsewhere, and what was on its way before these were drawn. Side by side, each of three grants that were
    // on their way may begin the count anew: still not the other sixty.
    for (concurrency, most) in [(1, 7), (4, 20)] {
        let mut plan = Plan::users(80).faults("401@20..");
        plan.profile.concurrency = concurrency.try_into().unwrap();
        on_both(&format!("rejected_in_the_middle_{concurrency}"), plan, async |rehearsal| {
            let summary = rehearsal.run().await;
            assert_eq!(summary.exit(), Exit::ClientRejected);
            let ledger = rehearsal.sandbox.ledger();
            assert_eq!(ledger.granted, 19);
            let rejected = ledger.requests - 19;
            assert!((6..=most).contains(&rejected), "{concurrency}: {rejected} rejections");
            assert_eq!(summary.newly_marked, 0);
            rehearsal.assert_nothing_claimed().await;
            rehearsal.sandbox.set_faults("".parse().unwrap());
            assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 61);
            rehearsal.assert_kept(80).await;
        })
        .await;
    }
}

#[tokio::test]
async fn each_document_goes_to_its_own_provider_and_strangers_are_named() {
    let mapping = Mapping { provider: Some("account.provider".parse().unwrap()), ..Mapping::default() };
    let plan = Plan { mapping, ..Plan::users(20) };
    on_both("mapped_providers", plan, async |mut rehearsal| {
        let config = SandboxConfig {
            seed: 7,
            users: 10,
            client_id: "other".into(),
            client_secret: "another".into(),
            ..SandboxConfig::default()
        };
        let other = Sandbox::start(config, ([127, 0, 0, 1], 0).into()).await.unwrap();
        for position in 0..18 {
            let account = json!({ "account": { "provider": "sandbox", "plan": "free" } });
            rehearsal.backend.set(&document_id(position), account).await;
        }
        rehearsal.backend.set(&document_id(18), json!({ "account": { "provider": "elsewhere" } })).await;
        let others = other.users();
        rehearsal
            .backend
            .insert(others.iter().enumerate().map(|(position, user)| {
                let mut document = document(100 + position, user);
                document["email"] = json!(format!("other-{}", user.email));
                document["account"] = json!({ "provider": "other" });
                document
            }))
            .await;
        let profile = rehearsal.providers[0].profile.clone();
        rehearsal.providers.push(Arc::new(provider_of(&other, "other", profile)));
        rehearsal.settings.documents_name_provider = true;

        // One of them rejects our client: the other goes on.
        let wrong = ClientSecret::new("wrong".into());
        let right = rehearsal.providers[1].clone();
        rehearsal.providers[1] = Arc::new(Provider { client_secret: Some(wrong), ..(*right).clone() });
        let first = rehearsal.run().await;
        assert_eq!(first.exit(), Exit::ClientRejected);
        assert_eq!((first.count(Outcome::Refreshed), first.count(Outcome::Malformed)), (18, 2), "{first:?}");
        let mut strangers: Vec<_> = first.named.iter().map(|named| named.code.as_str()).collect();
        strangers.sort_unstable();
        assert_eq!(strangers, ["no_provider", "unknown_provider"]);
        let mut named: Vec<_> = first.named.iter().map(|named| named.provider.as_deref()).collect();
        named.sort_unstable();
        assert_eq!(named, [None, Some("elsewhere")], "what a stranger's document says is shown");
        assert_eq!((other.ledger().granted, rehearsal.sandbox.ledger().requests), (0, 18));
        assert!(other.ledger().requests <= 7);

        rehearsal.providers[1] = right;
        let only = PassRequest { provider: Some("other".into()), ..PassRequest::default() };
        let second = rehearsal.run_with(&only, &Stop::default()).await;
        assert_eq!((second.exit(), second.touched, second.count(Outcome::Refreshed)), (Exit::Well, 10, 10));
        assert_eq!((second.due, second.remaining_due), (Some(10), Some(0)), "this provider's alone");
        assert_eq!(rehearsal.sandbox.ledger().requests, 18, "tokens go to their own provider only");

        // The strangers' provider is configured, and one gets a name: they live.
        rehearsal.backend.set(&document_id(18), json!({ "account": { "provider": "sandbox" } })).await;
        rehearsal.backend.set(&document_id(19), json!({ "account": { "provider": "sandbox" } })).await;
        let third = rehearsal.run().await;
        assert_eq!((third.exit(), third.count(Outcome::Refreshed)), (Exit::Well, 2), "{third:?}");
        assert_eq!(rehearsal.bookkeeping(19).await.state, State::Live);
        assert_eq!(rehearsal.run().await.touched, 0);
        let held: Vec<_> = rehearsal.backend.all().await;
        let text = |document: &Value, name: &str| document[name].as_str().unwrap().to_owned();
        let of = |name: &str| {
            let mine = held.iter().filter(|document| document["account"]["provider"] == name);
            let pair = |document: &Value| (text(document, "userId"), text(document, "refresh_token"));
            mine.map(pair).collect::<Vec<_>>()
        };
        assert_eq!(rehearsal.sandbox.audit(of("sandbox")).kept, 20);
        assert_eq!(other.audit(of("other")).kept, 10);
    })
    .await;
}

#[tokio::test]
async fn a_document_that_changes_its_provider_while_it_is_claimed_is_given_back() {
    let mapping = Mapping { provider: Some("provider".parse().unwrap()), ..Mapping::default() };
    on_both("stray", Plan { mapping, ..Plan::users(6) }, async |mut rehearsal| {
        for position in 0..6 {
            rehearsal.backend.set(&document_id(position), json!({ "provider": "sandbox" })).await;
        }
        rehearsal.settings.documents_name_provider = true;
        let (backend, moved) = (rehearsal.backend.clone(), AtomicUsize::new(0));
        rehearsal.meddler.meddle(move |call| {
            let moves = matches!(call, Call::Claim) && moved.fetch_add(1, Ordering::SeqCst) == 0;
            let backend = backend.clone();
            Box::pin(async move {
                if moves {
                    backend.set(&document_id(2), json!({ "provider": "elsewhere" })).await;
                }
                Mishap::None
            })
        });
        // By itself: the lane that looks for strangers would claim it at the same time, under the same lease.
        let alone = PassRequest { provider: Some("sandbox".into()), ..PassRequest::default() };
        let summary = rehearsal.run_with(&alone, &Stop::default()).await;
        assert_eq!((summary.count(Outcome::Refreshed), summary.touched), (5, 5), "{summary:?}");
        assert!(summary.adds_up(), "{summary:?}");
        rehearsal.assert_nothing_claimed().await;
        rehearsal.meddler.leave();
        rehearsal.backend.set(&document_id(2), json!({ "provider": "sandbox" })).await;
        let next = rehearsal.run().await;
        assert_eq!((next.touched, next.count(Outcome::Refreshed)), (1, 1), "{next:?}");
        assert_eq!(
            rehearsal.bookkeeping(2).await.last_error,
            None,
            "nothing was ever sent, so nothing is in doubt"
        );
        rehearsal.assert_kept(6).await;
    })
    .await;
}

#[tokio::test]
async fn a_pair_of_a_provider_that_was_left_out_waits_and_can_be_given_up() {
    on_both("left_out", Plan::users(2), async |mut rehearsal| {
        rehearsal.meddler.decide(|call| if call.writes_a_pair() { Mishap::Denied } else { Mishap::None });
        assert!(rehearsal.run().await.count(Outcome::Held) > 0);
        rehearsal.meddler.leave();
        let left_out = rehearsal.providers[0].clone();
        for name in ["aps", "other"] {
            let renamed = Provider { name: name.into(), ..(*left_out).clone() };
            rehearsal.providers.push(Arc::new(renamed));
        }
        rehearsal.providers.remove(0);
        let held = rehearsal.entries().await;
        let requests = rehearsal.sandbox.ledger().requests;
        let aps = PassRequest { provider: Some("aps".into()), ..PassRequest::default() };
        let summary = rehearsal.run_with(&aps, &Stop::default()).await;
        let waiting = held.len() as u64;
        assert_eq!(summary.still_due_reasons.get("unread_answer"), Some(&waiting), "{summary:?}");
        let sent = rehearsal.sandbox.ledger().requests - requests;
        assert_eq!(sent, 2 - waiting, "what is in the journal isn't asked for");
        let process = rehearsal.another_process(rehearsal.state()).await;
        let refusal = process.base.apply(held[0].id, None).await.unwrap_err();
        process.close().await;
        assert!(matches!(refusal, ApplyError::NoProvider { .. }), "{refusal}");
        rehearsal.providers = vec![left_out];
        assert_eq!(rehearsal.run().await.recovery.written, waiting);
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}
