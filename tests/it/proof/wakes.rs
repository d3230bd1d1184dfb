//! A service with two providers: how soon the wakes of a quick one are answered while the pass of another one over 10,000
//! documents runs.

use super::{knob, tell};
use crate::loops::{Two, users};
use crate::support::process::Ended;
use evergrant::sandbox::SandboxConfig;
use evergrant::testing::clock::Clock;
use std::time::Duration;

const SLOW: usize = 10_000;

const QUICK: usize = 5;

const WAKES: u64 = 12;

/// Time from one wake to the next.
const BETWEEN_WAKES_MILLIS: u64 = 5_000;

/// Time in which the usual wake must be answered: all that was due is refreshed. The worst one is told, because what else the
/// machine does shows in it.
const IN_TIME: Duration = Duration::from_secs(1);

/// How long ago the last wake was.
fn since_wake() -> Duration {
    let now = Clock::system().now().timestamp_millis().unsigned_abs();
    Duration::from_millis(now % BETWEEN_WAKES_MILLIS)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "proof: a minute of wakes beside a pass over 10,000 documents"]
async fn the_wakes_of_a_quick_provider_are_answered_within_a_second_beside_ten_thousand_documents() {
    let slow = SandboxConfig { faults: "delay(1)".parse().unwrap(), ..users(SLOW) };
    let two = Two::new([users(QUICK), slow]).await;
    two.set("schedule = \"* * * * * *\"", "schedule = \"*/5 * * * * *\"");
    let wakes = knob("EVERGRANT_TEST_WAKES", WAKES);
    let mut child = two.start(&["run"]);
    let mut took = Vec::new();
    for wake in 1..=wakes {
        two.until(&mut child, |two| two.granted()[0] >= wake * QUICK as u64).await;
        took.push(since_wake());
    }
    let ledgers = [0, 1].map(|provider: usize| two.providers[provider].ledger());
    child.start_kill().unwrap();
    let ended = Ended::of(child).await;
    assert_eq!(took.len() as u64 * QUICK as u64, ledgers[0].granted, "{ended:?}");
    let slow = ledgers[1].granted;
    assert!((100..SLOW as u64).contains(&slow), "its pass runs all the time: {slow} granted, {ended:?}");
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    assert!(median <= IN_TIME, "{took:?}");
    tell(&format!(
        "wakes: {wakes} of a provider with {QUICK} users, beside {slow} grants of a pass over {SLOW}: \
         all refreshed after {median:?} (median), {worst:?} (worst)"
    ));
}
