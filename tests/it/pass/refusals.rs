//! Refusals that are believed, and those that are more likely our fault, or that of somebody in between.

use super::recovery::Doomed;
use crate::support::rehearsal::{ACCEPTED, FORCED, Plan, Rehearsal, document_id, fixed_url, on_both};
use chrono::TimeDelta;
use evergrant::testing::clock::Clock;
use evergrant::testing::exit::Exit;
use evergrant::testing::pass::{PassRequest, Stop};
use evergrant::testing::provider::ClientSecret;
use evergrant::testing::report::summary::Summary;
use evergrant::testing::report::{Outcome, Trouble};
use evergrant::testing::token::State;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

async fn assert_nobody_marked(rehearsal: &Rehearsal) {
    for position in 0..rehearsal.users.len() {
        assert_eq!(rehearsal.bookkeeping(position).await.state, State::Live, "{position}");
    }
}

fn suspicion(summary: &Summary) -> &evergrant::testing::gate::Suspicion {
    let mut found = summary.troubles.iter().filter_map(|trouble| match trouble {
        Trouble::Refusals { suspicion, .. } => Some(suspicion),
        _ => None,
    });
    found.next().unwrap_or_else(|| panic!("{summary:?}"))
}

#[tokio::test]
async fn a_code_that_only_may_mean_it_marks_nobody_on_one_occasion() {
    let mut plan = Plan::users(5);
    plan.profile.answer.suspected = std::mem::take(&mut plan.profile.answer.refused);
    on_both("suspected", plan, async |rehearsal| {
        rehearsal.sandbox.revoke("user-000001");
        rehearsal.sandbox.revoke("user-000002");
        let first = rehearsal.run().await;
        assert_eq!((first.exit(), first.count(Outcome::StillDue)), (Exit::StillDue, 2), "{first:?}");
        assert_eq!(first.still_due_reasons.get("refused_once"), Some(&2));
        assert_nobody_marked(&rehearsal).await;
        let evidence = rehearsal.bookkeeping(1).await.last_error.unwrap();
        assert_eq!((&*evidence.class, &*evidence.code), ("suspected", "invalid_grant"));
        // A new login meanwhile is another token, and begins anew.
        let login = rehearsal.sandbox.login("user-000002").unwrap();
        rehearsal.write_login(2, &login).await;
        let second = rehearsal.run().await;
        assert_eq!((second.count(Outcome::NeedsLogin), second.count(Outcome::Refreshed)), (1, 1));
        assert_eq!(rehearsal.bookkeeping(1).await.state, State::NeedsLogin);
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn two_refusals_of_one_occasion_are_one() {
    let mut plan = Plan::users(3);
    plan.profile.answer.suspected = std::mem::take(&mut plan.profile.answer.refused);
    on_both("one_occasion", plan, async |mut rehearsal| {
        rehearsal.settings.first_backoff = Duration::from_mins(15);
        rehearsal.sandbox.revoke("user-000001");
        for _ in 0..2 {
            let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
            assert_eq!((summary.count(Outcome::NeedsLogin), summary.count(Outcome::StillDue)), (0, 1));
        }
        assert_nobody_marked(&rehearsal).await;
    })
    .await;
}

#[tokio::test]
async fn refusals_before_the_first_grant_wait_for_it_and_are_then_believed() {
    on_both("before_the_grant", Plan::users(8), async |rehearsal| {
        for user in 0..4 {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.count(Outcome::NeedsLogin), summary.count(Outcome::Refreshed)),
            (4, 4),
            "{summary:?}"
        );
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}

#[tokio::test]
async fn refusals_without_any_grant_are_a_first_occasion_and_a_second_one_marks() {
    on_both("no_grant", Plan::users(3), async |rehearsal| {
        for user in 0..3 {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let first = rehearsal.run().await;
        assert_eq!((first.exit(), first.still_due_reasons.get("refused_once")), (Exit::StillDue, Some(&3)));
        assert_nobody_marked(&rehearsal).await;
        rehearsal.assert_nothing_claimed().await;
        let second = rehearsal.run().await;
        assert_eq!((second.exit(), second.count(Outcome::NeedsLogin)), (Exit::NeedsLogin, 3));
    })
    .await;
}

#[tokio::test]
async fn who_was_refused_once_is_named_in_each_report_until_the_second_occasion() {
    on_both("put_off", Plan::users(3), async |mut rehearsal| {
        rehearsal.settings.first_backoff = Duration::from_mins(15);
        for user in 0..3 {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let began = rehearsal.clock.now();
        let first = rehearsal.run().await;
        assert_eq!((first.put_off_count, first.remaining_due), (3, Some(0)), "{first:?}");
        let later = rehearsal.run().await;
        assert_eq!((later.touched, later.exit(), later.put_off_count), (0, Exit::Well, 3), "{later:?}");
        assert!(later.put_off_until >= Some(began + TimeDelta::minutes(15)), "{later:?}");
        assert!(later.to_string().contains("put off: 3 (refused_once, next at "), "{later}");
        for (summary, new) in [(&first, true), (&later, false)] {
            let codes = summary.put_off.iter().map(|one| (&*one.code, one.new, one.provider.as_deref()));
            assert_eq!(codes.collect::<Vec<_>>(), [("refused_once", new, Some("sandbox")); 3]);
        }
        // A new login waits for nothing, and a document that is gone for no one.
        let login = rehearsal.sandbox.login("user-000001").unwrap();
        rehearsal.write_login(1, &login).await;
        rehearsal.backend.delete(&document_id(2)).await;
        let last = rehearsal.run().await;
        let left: Vec<_> = last.put_off.iter().map(|one| one.id.clone()).collect();
        assert_eq!(left, [document_id(0)], "{last:?}");
    })
    .await;
}

#[tokio::test]
async fn a_run_of_refusals_before_any_grant_stops_the_provider_and_marks_nobody() {
    on_both("refused_run", Plan::users(15).faults("refuse"), async |rehearsal| {
        // Five in order, and all others as a sample.
        for _ in 0..2 {
            let summary = rehearsal.run().await;
            assert_eq!(
                (summary.exit(), summary.count(Outcome::NeedsLogin)),
                (Exit::ClientRejected, 0),
                "{summary:?}"
            );
            assert_eq!((summary.due, summary.remaining_due), (Some(15), Some(15)), "{summary:?}");
            let evidence = suspicion(&summary);
            assert_eq!((evidence.refused, evidence.asked, evidence.usual_share), (15, 15, 0.02));
            assert_eq!((&*evidence.code, evidence.http_status), ("invalid_grant", Some(400)));
        }
        assert_eq!(rehearsal.sandbox.ledger().requests, 30);
        assert_nobody_marked(&rehearsal).await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 15));
        rehearsal.assert_kept(15).await;
    })
    .await;
}

#[tokio::test]
async fn a_small_collection_that_was_well_until_now_is_not_marked_on_a_second_occasion_either() {
    on_both("refused_few", Plan::users(120), async |rehearsal| {
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 120);
        // A client that the tokens weren't issued to, at a provider that says so with `invalid_grant`.
        rehearsal.sandbox.set_faults("refuse".parse().unwrap());
        let few = PassRequest { limit: 4.try_into().ok(), ..FORCED };
        for _ in 0..3 {
            let summary = rehearsal.run_with(&few, &Stop::default()).await;
            assert_eq!(summary.exit(), Exit::ClientRejected, "{summary:?}");
            let evidence = suspicion(&summary);
            assert_eq!((evidence.refused, evidence.asked), (4, 4));
            assert!(evidence.usual_share < 0.011);
            assert_eq!(summary.still_due_reasons.get("refused_share"), Some(&4));
            assert_nobody_marked(&rehearsal).await;
        }
        rehearsal.sandbox.set_faults("".parse().unwrap());
        assert_eq!(rehearsal.run_with(&FORCED, &Stop::default()).await.count(Outcome::Refreshed), 120);
        rehearsal.assert_kept(120).await;
    })
    .await;
}

#[tokio::test]
async fn a_person_who_knows_of_the_refusals_has_them_believed() {
    on_both("accepted", Plan::users(15).faults("refuse"), async |rehearsal| {
        assert_eq!(rehearsal.run().await.exit(), Exit::ClientRejected);
        let summary = rehearsal.run_with(&ACCEPTED, &Stop::default()).await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::NeedsLogin)),
            (Exit::NeedsLogin, 15),
            "{summary:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_whole_collection_in_doubt_is_not_marked_by_a_provider_that_grants_nobody_anything() {
    on_both("all_in_doubt", Plan::users(15), async |mut rehearsal| {
        rehearsal.clock = Clock::steppable();
        // A machine without a journal that outlives it claimed everybody, and was never heard of again.
        let lost = tempfile::tempdir().unwrap();
        let everybody: Vec<_> = (0..15).collect();
        Doomed::claims_from(&rehearsal, lost.path(), &everybody).await.dies().await;
        // Until then its tokens wait for it.
        rehearsal.clock.step(TimeDelta::hours(25));
        rehearsal.sandbox.set_faults("refuse".parse().unwrap());
        for _ in 0..3 {
            let summary = rehearsal.run().await;
            assert_eq!(summary.exit(), Exit::ClientRejected, "{summary:?}");
            assert_eq!(suspicion(&summary).refused, 15);
            assert_nobody_marked(&rehearsal).await;
            rehearsal.clock.step(TimeDelta::minutes(16));
        }
        rehearsal.sandbox.set_faults("".parse().unwrap());
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 15);
        rehearsal.assert_kept(15).await;
    })
    .await;
}

#[tokio::test]
async fn a_share_of_refusals_far_above_the_usual_one_stops_the_provider_and_marks_nobody() {
    on_both("refused_share", Plan::users(200), async |rehearsal| {
        assert_eq!(rehearsal.run().await.count(Outcome::Refreshed), 200);
        rehearsal.sandbox.set_faults("refuse@230..".parse().unwrap());
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::NeedsLogin)),
            (Exit::ClientRejected, 0),
            "{summary:?}"
        );
        assert!(suspicion(&summary).usual_share < 0.01);
        assert!(summary.still_due_reasons.contains_key("refused_share"));
        assert_nobody_marked(&rehearsal).await;
        rehearsal.assert_nothing_claimed().await;
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::StillDue)), (Exit::Well, 0), "{next:?}");
        rehearsal.assert_kept(200).await;
    })
    .await;
}

#[tokio::test]
async fn a_few_dead_logins_among_many_are_marked_in_one_pass() {
    on_both("usual_share", Plan::users(200), async |rehearsal| {
        rehearsal.run().await;
        for user in [3, 60, 61, 150] {
            rehearsal.sandbox.revoke(&format!("user-{user:06}"));
        }
        let summary = rehearsal.run_with(&FORCED, &Stop::default()).await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::NeedsLogin)),
            (Exit::NeedsLogin, 4),
            "{summary:?}"
        );
        assert_eq!(summary.count(Outcome::Refreshed), 196);
        rehearsal.assert_nothing_claimed().await;
        assert!(rehearsal.entries().await.is_empty());
    })
    .await;
}

/// Somebody in between, or the provider as a whole: nobody is marked, and when it is over everybody is refreshed.
async fn marks_nobody(test: &str, script: &str) {
    let mut plan = Plan::users(3).faults(script);
    plan.profile.settle_after = Duration::from_millis(1);
    on_both(test, plan, async |mut rehearsal| {
        rehearsal.settings.attempts = 1;
        for _ in 0..2 {
            let summary = rehearsal.run().await;
            assert_eq!(
                (summary.count(Outcome::StillDue), summary.count(Outcome::Refreshed)),
                (3, 0),
                "{summary:?}"
            );
            assert_nobody_marked(&rehearsal).await;
        }
        rehearsal.sandbox.set_faults("".parse().unwrap());
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 3), "{next:?}");
        rehearsal.assert_kept(3).await;
        rehearsal.assert_nothing_claimed().await;
        assert_eq!(rehearsal.sandbox.ledger().reuses, 0);
    })
    .await;
}

#[tokio::test]
async fn a_captive_portal_marks_nobody() {
    marks_nobody("portal_page", "html").await;
    marks_nobody("portal_redirect", "redirect").await;
}

#[tokio::test]
async fn a_firewall_that_blocks_us_marks_nobody() {
    marks_nobody("firewall", "403").await;
}

#[tokio::test]
async fn an_outage_of_the_provider_marks_nobody() {
    for status in [500, 502, 503, 504] {
        marks_nobody(&format!("outage_{status}"), &status.to_string()).await;
    }
    marks_nobody("outage_dropped", "drop-before").await;
}

#[tokio::test]
async fn a_wrong_secret_and_a_line_that_is_not_the_providers_mark_nobody() {
    on_both("wrong_secret", Plan::users(6), async |mut rehearsal| {
        let right = rehearsal.providers[0].clone();
        rehearsal
            .change_provider(|provider| provider.client_secret = Some(ClientSecret::new("wrong".into())));
        let rejected = rehearsal.run().await;
        assert_eq!((rejected.exit(), rejected.count(Outcome::Refreshed)), (Exit::ClientRejected, 0));
        assert_nobody_marked(&rehearsal).await;
        // Somebody who doesn't speak the provider's TLS: nothing was sent.
        rehearsal.change_provider(|provider| {
            provider.client_secret = right.client_secret.clone();
            fixed_url(provider).set_scheme("https").unwrap();
        });
        rehearsal.settings.attempts = 1;
        let requests = rehearsal.sandbox.ledger().requests;
        let intercepted = rehearsal.run().await;
        assert_eq!(
            (intercepted.exit(), intercepted.still_due_reasons.get("tls")),
            (Exit::StillDue, Some(&6))
        );
        assert_eq!(rehearsal.sandbox.ledger().requests, requests);
        assert_nobody_marked(&rehearsal).await;
        rehearsal.providers[0] = right;
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 6));
        rehearsal.assert_kept(6).await;
    })
    .await;
}

/// A box that speaks TLS with a certificate of an authority that nobody knows, and counts what it gets to read.
fn intercepting_box() -> (SocketAddr, Arc<AtomicUsize>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("middle_box/cert.pem")).unwrap();
    // A key that was made for this test and opens nothing.
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("middle_box/key.pem")).unwrap();
    let crypto = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let (address, read) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = read.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut plain = rustls::StreamOwned::new(connection, stream);
            let mut byte = [0];
            while plain.read(&mut byte).is_ok_and(|read| read > 0) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, read)
}

#[tokio::test]
async fn a_box_that_intercepts_tls_gets_no_token_and_marks_nobody() {
    on_both("tls_interception", Plan::users(6), async |mut rehearsal| {
        let (address, read) = intercepting_box();
        let right = rehearsal.providers[0].clone();
        rehearsal.change_provider(|provider| {
            provider.token_url = format!("https://127.0.0.1:{}/token", address.port()).parse().unwrap();
        });
        rehearsal.settings.attempts = 1;
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.exit(), summary.still_due_reasons.get("tls")),
            (Exit::StillDue, Some(&6)),
            "{summary:?}"
        );
        assert_eq!(read.load(Ordering::SeqCst), 0);
        assert_nobody_marked(&rehearsal).await;
        assert!(rehearsal.entries().await.is_empty(), "provably not sent");
        rehearsal.providers[0] = right;
        let next = rehearsal.run().await;
        assert_eq!((next.exit(), next.count(Outcome::Refreshed)), (Exit::Well, 6));
        rehearsal.assert_kept(6).await;
    })
    .await;
}
