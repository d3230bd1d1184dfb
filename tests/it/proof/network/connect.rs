//! No connection comes about: provably not sent, whatever the reason.

use super::{Peer, endpoint, through_proxy};
use crate::store::backend::sqlite;
use crate::support::proxy::{Cut, Fault, Proxy, Stage, Strike, Wire};
use crate::support::rehearsal::{Plan, Rehearsal};
use evergrant::testing::exit::Exit;
use evergrant::testing::report::Outcome;
use evergrant::testing::token::State;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// A certificate for 127.0.0.1 that its own key signed.
const UNKNOWN_AUTHORITY: &[u8] = include_bytes!("unknown_authority.der");

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 §7).
const ED25519_KEY: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A peer with that certificate, which answers nobody.
fn tls_peer() -> SocketAddr {
    let key = PrivatePkcs8KeyDer::from([&ED25519_KEY[..], &[7; 32]].concat());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let certificates = vec![CertificateDer::from(UNKNOWN_AUTHORITY)];
    let config = config.unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(certificates, PrivateKeyDer::from(key)).unwrap());
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // They end with the process, and hold nothing but sockets.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            std::thread::spawn(move || drop(connection.complete_io(&mut stream)));
        }
    });
    address
}

/// What a grant at this URL gives.
async fn class_at(url: &str) -> (&'static str, String) {
    let peer = Peer::start(1).await;
    let endpoint = endpoint(&peer.sandbox, url);
    let reading = peer.redeem_at(&endpoint, &peer.sandbox.users()[0].refresh_token).await;
    assert_eq!(peer.sandbox.ledger().requests, 0);
    (reading.class.word(), reading.code)
}

#[tokio::test]
async fn a_provider_where_nobody_listens_was_sent_nothing() {
    let proxy = Proxy::start(Wire::Http, (Ipv4Addr::LOCALHOST, 9).into());
    proxy.gone();
    let url = format!("http://{}/token", proxy.address());
    assert_eq!(class_at(&url).await, ("transient", "connect".into()));
}

#[tokio::test]
async fn a_provider_whose_name_has_no_address_was_sent_nothing() {
    // No label is so long: the resolver refuses it without a question to any server.
    let url = format!("http://{}.invalid/token", "a".repeat(64));
    assert_eq!(class_at(&url).await, ("transient", "dns".into()));
}

#[tokio::test]
async fn a_provider_whose_host_is_silent_before_the_connection_stands_was_sent_nothing() {
    let full = TcpSocket::new_v4().unwrap();
    full.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let full = full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    // Until the queue of those who wait to be accepted is full; from then on the kernel drops what comes.
    let mut waiting = Vec::new();
    while let Ok(Ok(one)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        waiting.push(one);
    }
    let url = format!("http://{address}/token");
    let handshakes = [
        (Stage::Request(Cut::Nothing), Fault::BlackHole),
        (Stage::Answer(Cut::Nothing), Fault::BlackHole),
        (Stage::Answer(Cut::HalfBody), Fault::BlackHole),
    ];
    let (swallowed, silent) = tokio::join!(class_at(&url), handshakes_that_meet(handshakes));
    assert_eq!(swallowed, ("transient", "connect_timeout".into()));
    for (stage, _, seen) in silent {
        assert_eq!(seen, ("transient", "connect_timeout".into()), "TLS: {stage:?}");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_end_well_was_sent_nothing() {
    let url = format!("https://{}/token", tls_peer());
    assert_eq!(class_at(&url).await, ("transient", "tls".into()), "an unknown authority");
    let cuts = [
        (Stage::Request(Cut::Nothing), Fault::Reset),
        (Stage::Request(Cut::Nothing), Fault::Close),
        (Stage::Answer(Cut::Nothing), Fault::Reset),
        (Stage::Answer(Cut::Nothing), Fault::Close),
        (Stage::Answer(Cut::HalfBody), Fault::Reset),
        (Stage::Answer(Cut::HalfBody), Fault::Close),
    ];
    for (stage, fault, (class, code)) in handshakes_that_meet(cuts).await {
        assert_eq!(class, "transient", "{stage:?} {fault:?}: {code}");
        assert!(code == "connect" || code == "tls", "{stage:?} {fault:?}: {code}");
    }
}

/// What grants give whose TLS handshake meets one of these, all at once.
async fn handshakes_that_meet<const N: usize>(
    faults: [(Stage, Fault); N],
) -> Vec<(Stage, Fault, (&'static str, String))> {
    let peer = tls_peer();
    let meet = |(stage, fault)| async move {
        let proxy = Proxy::start(Wire::Raw, peer);
        proxy.strike(Strike { stage, fault, needle: None, times: 1 });
        let seen = class_at(&format!("https://{}/token", proxy.address())).await;
        assert_eq!(proxy.struck(), 1);
        (stage, fault, seen)
    };
    futures::future::join_all(faults.map(meet)).await
}

#[tokio::test]
async fn a_provider_that_goes_down_in_the_middle_of_a_grant_is_asked_again_when_it_is_back() {
    let stages = [
        (Stage::Accept, false),
        (Stage::Request(Cut::HalfBody), false),
        (Stage::Answer(Cut::Nothing), true),
        (Stage::Answer(Cut::HalfHead), true),
        (Stage::Answer(Cut::HalfBody), true),
    ];
    let goes_down = |(stage, committed)| async move {
        let mut plan = Plan::users(4);
        plan.profile.concurrency = 2.try_into().unwrap();
        let mut rehearsal = Rehearsal::over(sqlite(plan.mapping.clone()).await, &plan).await;
        rehearsal.settings.attempts = 1;
        let proxy = through_proxy(&mut rehearsal);
        proxy.strike(Strike { stage, fault: Fault::Gone, needle: None, times: 1 });
        let summary = rehearsal.run().await;
        assert_eq!(
            (summary.exit(), summary.count(Outcome::StillDue)),
            (Exit::StillDue, 4),
            "{stage:?}: {summary:?}"
        );
        assert_eq!(rehearsal.sandbox.ledger().granted, u64::from(committed), "{stage:?}");

        proxy.heal();
        let next = rehearsal.run().await;
        let lost = u64::from(committed);
        assert_eq!(
            (
                next.count(Outcome::Refreshed),
                next.count(Outcome::LostInFlight),
                next.count(Outcome::NeedsLogin)
            ),
            (4 - lost, lost, 0),
            "{stage:?}: the attempt that was refused a connection says nothing about the one before: {next:?}"
        );
        assert!(!rehearsal.states().await.contains(&State::NeedsLogin), "{stage:?}");
        let audit = rehearsal.audit().await;
        assert_eq!(
            (audit.lost_received, audit.lost_in_flight, audit.kept),
            (0, lost, 4 - lost),
            "{stage:?}: {audit:?}"
        );
        assert_eq!(rehearsal.sandbox.ledger().requests, proxy.passed(), "{stage:?}");
    };
    futures::future::join_all(stages.map(goes_down)).await;
}
