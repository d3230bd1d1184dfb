//! The line is cut after each byte, in either direction.

use super::Peer;
use crate::support::proxy::{Cut, Fault, Stage, Strike};
use evergrant::testing::grant::answer::{Class, Granted};

const CUTS: [Fault; 2] = [Fault::Reset, Fault::Close];

fn cut(stage: Stage, fault: Fault) -> Strike {
    Strike { stage, fault, needle: None, times: 1 }
}

#[tokio::test]
async fn an_answer_that_is_cut_after_any_byte_is_ambiguous_or_the_very_pair_that_was_handed_out() {
    for fault in CUTS {
        let peer = Peer::start(2000).await;
        let whole = peer.answer_length().await;
        assert!(whole > 0, "the answer comes through the proxy");
        let mut granted = Vec::new();
        for bytes in 0..=whole {
            peer.proxy.strike(cut(Stage::Answer(Cut::Bytes(bytes)), fault));
            let (user, reading) = peer.redeem_next().await;
            match reading.class {
                Class::Granted(Granted { access_token, refresh_token, .. }) => {
                    let current = peer.sandbox.user(&user).unwrap().current_refresh_token;
                    assert_eq!(refresh_token.unwrap().expose(), current, "{fault:?} after {bytes} bytes");
                    let handed_out = peer.sandbox.token_history(&current).unwrap().access_token;
                    assert_eq!(access_token.expose(), handed_out, "{fault:?} after {bytes} bytes");
                    granted.push(bytes);
                }
                Class::Ambiguous => assert!(granted.is_empty(), "{fault:?}: more bytes told less at {bytes}"),
                other => panic!("{fault:?} after {bytes} bytes: {other:?}"),
            }
        }
        assert_eq!(granted.last(), Some(&whole), "{fault:?}: nobody needs a close to know the end");
        let ledger = peer.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.granted), (peer.proxy.passed(), peer.proxy.passed()));
        assert_eq!(ledger.reuses, 0, "{fault:?}: nothing is sent twice by itself");
    }
}

#[tokio::test]
async fn a_request_that_is_cut_after_any_byte_is_ambiguous_and_was_never_processed() {
    for fault in CUTS {
        let peer = Peer::start(2000).await;
        let whole = peer.request_length().await;
        assert!(whole > 0, "the request goes through the proxy");
        let before = peer.sandbox.ledger();
        for bytes in 0..whole {
            peer.proxy.strike(cut(Stage::Request(Cut::Bytes(bytes)), fault));
            let (_, reading) = peer.redeem_next().await;
            assert_eq!(reading.class, Class::Ambiguous, "{fault:?} after {bytes} bytes");
        }
        assert_eq!(peer.proxy.struck(), whole as u64, "{fault:?}");
        let ledger = peer.sandbox.ledger();
        assert_eq!((ledger.requests, ledger.granted), (before.requests, before.granted), "{fault:?}");
    }
}
