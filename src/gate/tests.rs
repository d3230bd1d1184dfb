//! The gate on a paused clock.

use super::state::{OUTAGE_FAILURES, OUTAGE_PATIENCE, REFUSED_SAMPLE, THROTTLED_PATIENCE};
use super::*;
use std::time::Duration;

fn gate(rate: Option<&str>, concurrency: usize) -> Arc<Gate> {
    Gate::new(rate.map(|rate| rate.parse().unwrap()), concurrency.try_into().unwrap())
}

async fn go(gate: &Arc<Gate>) -> Permit {
    match gate.enter().await {
        Entered::Go(permit) => permit,
        Entered::Stopped(why) => panic!("{why:?}"),
    }
}

async fn answered(gate: &Arc<Gate>, signal: Signal) {
    go(gate).await.signal(signal);
}

fn throttled(wait: Option<Duration>) -> Signal {
    Signal::Throttled { wait, may_be_alone: false }
}

const GRANTED: Signal = Signal::Works { granted: true };

async fn is_waiting(gate: &Arc<Gate>) -> bool {
    tokio::time::timeout(Duration::from_millis(1), gate.enter()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn the_pool_opens_after_the_first_grant() {
    let gate = gate(None, 3);
    let mut first = go(&gate).await;
    assert!(is_waiting(&gate).await, "one canary at a time");
    first.signal(Signal::Works { granted: false });
    drop(first);
    let mut second = go(&gate).await;
    assert!(is_waiting(&gate).await, "a refusal is no proof");
    second.signal(GRANTED);
    let pool = [go(&gate).await, go(&gate).await];
    assert!(is_waiting(&gate).await, "three are in flight");
    drop(second);
    let third = go(&gate).await;
    assert_eq!(gate.status().in_flight, pool.len() + 1);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_pauses_the_whole_provider() {
    let gate = gate(None, 8);
    answered(&gate, GRANTED).await;
    let start = Instant::now();
    answered(&gate, throttled(Some(Duration::from_secs(7)))).await;
    answered(&gate, GRANTED).await;
    assert!(start.elapsed() >= Duration::from_secs(7));
    assert!(gate.status().factor < 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_ends_the_pass_once_it_is_not_about_one_token_alone() {
    let long = || throttled(Some(Duration::from_hours(3)));
    let proven = gate(None, 8);
    answered(&proven, GRANTED).await;
    for _ in 0..3 {
        answered(&proven, long()).await;
        answered(&proven, GRANTED).await;
    }
    assert_eq!(proven.stopped(), None, "others are granted");
    answered(&proven, long()).await;
    answered(&proven, long()).await;
    assert_eq!(proven.stopped(), Some(Stopped::Paused));
    let unproven = gate(None, 8);
    answered(&unproven, long()).await;
    assert_eq!(unproven.stopped(), Some(Stopped::Paused));
    assert!(unproven.status().paused_for > Some(Duration::from_mins(179)));
}

fn rejected(tenant: Option<&str>, unread: bool) -> Signal {
    let (code, http_status) = ("invalid_client".into(), Some(401));
    Signal::ClientRejected { code, http_status, tenant: tenant.map(str::to_owned), unread }
}

#[tokio::test(start_paused = true)]
async fn three_client_rejections_in_a_row_and_three_drawn_from_elsewhere_stop_the_provider() {
    let gate = gate(None, 8);
    let (rejected, works) = (rejected(None, false), Signal::Works { granted: false });
    for signal in [&rejected, &rejected, &works, &rejected, &rejected, &rejected] {
        assert_eq!(gate.sample_wanted(), None);
        answered(&gate, signal.clone()).await;
    }
    assert_eq!((gate.sample_wanted(), gate.stopped()), (Some(3), None));
    gate.sample_drawn(3);
    for _ in 0..3 {
        assert_eq!(gate.stopped(), None);
        answered(&gate, rejected.clone()).await;
    }
    let Entered::Stopped(why) = gate.enter().await else { panic!("stopped") };
    assert_eq!(why, Stopped::ClientRejected { code: "invalid_client".into(), http_status: Some(401) });
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_rejected_by_all_that_is_due_is_our_fault_however_few_they_are() {
    let gate = gate(None, 8);
    for _ in 0..3 {
        answered(&gate, rejected(None, false)).await;
    }
    gate.nothing_left();
    assert!(matches!(gate.stopped(), Some(Stopped::ClientRejected { .. })));
    gate.begin_pass(History::default(), false);
    for _ in 0..3 {
        answered(&gate, rejected(None, false)).await;
    }
    answered(&gate, GRANTED).await;
    gate.nothing_left();
    assert_eq!(gate.stopped(), None, "the sample was granted");
}

#[tokio::test(start_paused = true)]
async fn three_successes_that_cannot_be_read_stop_the_provider_before_they_cost_more_tokens() {
    let gate = gate(None, 8);
    for _ in 0..3 {
        assert_eq!(gate.stopped(), None);
        answered(&gate, rejected(None, true)).await;
    }
    assert!(matches!(gate.stopped(), Some(Stopped::ClientRejected { .. })));
}

#[tokio::test(start_paused = true)]
async fn refusals_stop_the_provider_only_when_a_sample_from_all_over_is_refused_too() {
    let refused = || Signal::Refused { code: "invalid_grant".into(), http_status: Some(400), before: false };
    for granted in [false, true] {
        let gate = gate(None, 1);
        for _ in 0..5 {
            assert_eq!(gate.sample_wanted(), None);
            answered(&gate, refused()).await;
        }
        assert_eq!(gate.sample_wanted(), Some(REFUSED_SAMPLE));
        gate.sample_drawn(REFUSED_SAMPLE);
        for _ in 1..REFUSED_SAMPLE {
            answered(&gate, refused()).await;
        }
        assert_eq!(gate.stopped(), None);
        answered(&gate, if granted { GRANTED } else { refused() }).await;
        assert_eq!(matches!(gate.stopped(), Some(Stopped::Refusals(_))), !granted);
        assert_eq!(gate.standing().suspicious, !granted);
        assert_eq!(gate.history_after().is_some(), granted);
        if let Some(Stopped::Refusals(suspicion)) = gate.stopped() {
            assert_eq!((suspicion.refused, suspicion.asked, &*suspicion.code), (25, 25, "invalid_grant"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_probed_ever_more_rarely_and_then_given_up() {
    let gate = gate(None, 8);
    answered(&gate, GRANTED).await;
    let start = Instant::now();
    let mut probes = 0;
    while let Entered::Go(mut permit) = gate.enter().await {
        permit.signal(Signal::Failed);
        probes += 1;
    }
    assert_eq!(gate.stopped(), Some(Stopped::Outage));
    assert!(start.elapsed() >= OUTAGE_PATIENCE);
    assert!((OUTAGE_FAILURES..OUTAGE_FAILURES + 20).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_opens_the_pool_again() {
    let gate = gate(None, 8);
    answered(&gate, GRANTED).await;
    for _ in 0..OUTAGE_FAILURES + 2 {
        answered(&gate, Signal::Failed).await;
    }
    let probe = go(&gate).await;
    assert!(is_waiting(&gate).await);
    drop(probe);
    answered(&gate, GRANTED).await;
    let _pool = [go(&gate).await, go(&gate).await];
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_waits_for_the_sink() {
    let gate = gate(None, 8);
    gate.close();
    assert!(is_waiting(&gate).await);
    gate.open();
    drop(go(&gate).await);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_throttles_for_ever_is_given_up_like_one_that_is_out() {
    let gate = gate(None, 8);
    answered(&gate, GRANTED).await;
    let start = Instant::now();
    while let Entered::Go(mut permit) = gate.enter().await {
        permit.signal(throttled(Some(Duration::from_mins(10))));
    }
    assert_eq!(gate.stopped(), Some(Stopped::Outage));
    assert!((THROTTLED_PATIENCE..2 * THROTTLED_PATIENCE).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_throttles_now_and_then_is_asked_on() {
    let gate = gate(None, 8);
    for _ in 0..100 {
        answered(&gate, throttled(Some(Duration::from_mins(1)))).await;
        answered(&gate, GRANTED).await;
    }
    assert_eq!(gate.stopped(), None);
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_late_when_its_grant_could_make_a_window_too_full() {
    for (rate, late_after) in [(Some("50/s"), Some(50)), (Some("400/min"), Some(3000)), (None, None)] {
        let permit = go(&gate(rate, 2)).await;
        tokio::time::advance(Duration::from_millis(late_after.unwrap_or(60_000))).await;
        assert!(!permit.is_late(), "{rate:?}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(permit.is_late(), late_after.is_some(), "{rate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_one_documents_client_stops_no_other() {
    let gate = gate(None, 1);
    for _ in 0..5 {
        answered(&gate, rejected(Some("one"), false)).await;
    }
    gate.nothing_left();
    assert_eq!((gate.sample_wanted(), gate.stopped()), (None, None));
    answered(&gate, rejected(Some("two"), false)).await;
    assert_eq!(gate.sample_wanted(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_one_token_alone_is_asked_for_holds_up_no_other() {
    let alone = || Signal::Throttled { wait: Some(Duration::from_mins(1)), may_be_alone: true };
    let gate = gate(None, 8);
    answered(&gate, alone()).await;
    assert!(gate.status().paused_for.is_some(), "no other was granted");
    answered(&gate, GRANTED).await;
    let factor = gate.status().factor;
    for _ in 0..3 {
        answered(&gate, alone()).await;
        let status = gate.status();
        assert_eq!((status.paused_for, status.factor), (None, factor), "its neighbours are granted");
        answered(&gate, GRANTED).await;
    }
    answered(&gate, alone()).await;
    answered(&gate, alone()).await;
    assert!(gate.status().paused_for > Some(Duration::from_secs(59)), "two in a row are not about one");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_of_one_token_lets_others_be_asked_before_it_leaves_the_provider_alone() {
    let alone = || Signal::Throttled { wait: Some(Duration::from_hours(24)), may_be_alone: true };
    for granted in [true, false] {
        let gate = gate(None, 8);
        for _ in 0..2 {
            answered(&gate, alone()).await;
            assert_eq!(
                (gate.sample_wanted(), gate.stopped(), gate.status().paused_for),
                (Some(3), None, None)
            );
        }
        answered(&gate, if granted { GRANTED } else { alone() }).await;
        assert_eq!(gate.stopped(), (!granted).then_some(Stopped::Paused));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sample_ends_with_what_it_was_drawn_for() {
    let refused = || Signal::Refused { code: "invalid_grant".into(), http_status: Some(400), before: false };
    let gate = gate(None, 8);
    for _ in 0..3 {
        answered(&gate, rejected(None, false)).await;
    }
    gate.sample_drawn(3);
    for _ in 0..5 {
        answered(&gate, refused()).await;
        assert_eq!(gate.stopped(), None);
    }
    assert_eq!(gate.sample_wanted(), Some(REFUSED_SAMPLE), "a sample of its own");
}

#[tokio::test(start_paused = true)]
async fn a_stretch_without_grants_is_known_when_it_is_over() {
    async fn fail(gate: &Arc<Gate>) -> Instant {
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut permit = go(gate).await;
        let failed_at = Instant::now();
        permit.signal(Signal::Failed);
        failed_at
    }
    let gate = gate(None, 8);
    assert!(gate.is_without_grants(true), "the canary is still to come");
    answered(&gate, GRANTED).await;
    assert!(!gate.is_without_grants(true));
    let among = fail(&gate).await;
    assert_eq!(gate.stretch(among), Stretch::Open);
    tokio::time::advance(Duration::from_secs(1)).await;
    answered(&gate, GRANTED).await;
    assert_eq!(gate.stretch(among), Stretch::AmongGrants);
    let mut within = Vec::new();
    while !gate.is_without_grants(true) {
        assert!(within.iter().all(|failed_at| gate.stretch(*failed_at) == Stretch::Open));
        within.push(fail(&gate).await);
    }
    within.push(fail(&gate).await);
    assert_eq!(within.len(), OUTAGE_FAILURES as usize);
    let is_outage =
        |within: &[Instant]| within.iter().all(|failed_at| gate.stretch(*failed_at) == Stretch::Outage);
    assert!(is_outage(&within), "the first failures of an outage too");
    tokio::time::advance(Duration::from_secs(1)).await;
    answered(&gate, GRANTED).await;
    assert!(is_outage(&within) && !gate.is_without_grants(true), "also when it is over");
    assert_eq!(gate.stretch(among), Stretch::AmongGrants);
    let after = fail(&gate).await;
    assert_eq!(gate.stretch(after), Stretch::Open);
}
