//! The store goes away, before, in the middle and at the write-back.

use crate::support::meddler::{Call, Mishap};
use crate::support::rehearsal::{Plan, on_both};
use evergrant::report::{Outcome, summary::Exit};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lets the first so many of the calls that `which` picks meet `mishap`.
fn first(
    times: usize,
    mishap: Mishap,
    which: impl Fn(&Call) -> bool + Send + Sync + 'static,
) -> impl Fn(&Call) -> Mishap + Send + Sync + 'static {
    let met = AtomicUsize::new(0);
    move |call| {
        if which(call) && met.fetch_add(1, Ordering::SeqCst) < times { mishap } else { Mishap::None }
    }
}

#[tokio::test]
async fn a_claim_whose_acknowledgement_was_lost_is_repeated_and_nobody_is_left_out() {
    on_both("claim_unacknowledged", Plan::users(20), async |rehearsal| {
        rehearsal.meddler.decide(first(2, Mishap::LostAcknowledgement, |call| matches!(call, Call::Claim)));
        let summary = rehearsal.run().await;
        assert_eq!((summary.exit(), summary.count(Outcome::Refreshed)), (Exit::Well, 20));
        rehearsal.assert_kept(20).await;
        rehearsal.assert_nothing_claimed().await;
    })
    .await;
}
