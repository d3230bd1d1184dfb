//! A process of a simulation that runs a loop of passes for each provider, as the daemon does.

use super::life::Life;
use super::machine::{pass, stop_sometime};

use evergrant::testing::engine::Engine;
use evergrant::testing::pass::{PassRequest, Stop, Whose};
use evergrant::testing::report::Reports;
use rand::Rng as _;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest time until a stop is asked for: it hits one loop at the first of its passes, and another one between two.
const STOPPED_WITHIN: Duration = Duration::from_mins(5);

/// Runs the loops until something ends the process; in calm weather each runs one pass.
pub(super) async fn run(life: &Life, engine: &Engine) {
    let stop = Stop::default();
    let _stopper = stop_sometime(life, &stop, STOPPED_WITHIN);
    // What earlier processes left doesn't wait for the first wake.
    let opens = life.world.with(|world| world.random.random::<bool>());
    if opens && let Err(error) = engine.open(&stop, &Reports::new()).await {
        life.world.with(|world| world.note(|| format!("{life:?} can't settle what was left: {error}")));
    }
    let ends = CancellationToken::new();
    let loops = engine.all_work().into_iter().map(|whose| one(life, engine, whose, &stop, &ends));
    futures::future::join_all(loops).await;
}

/// The passes of one provider, one after the other.
async fn one(life: &Life, engine: &Engine, whose: Whose, stop: &Stop, ends: &CancellationToken) {
    let name = whose.name();
    loop {
        wait(life, stop, ends).await;
        if stop.take_no_more.is_cancelled() || ends.is_cancelled() {
            return;
        }
        let by_name = life.world.with(|world| !name.is_empty() && world.random.random_bool(0.3));
        if by_name {
            let request = PassRequest { provider: Some(name.to_string()), ..PassRequest::default() };
            pass(life, &name, stop, |reports| engine.run(&request, stop, reports)).await;
        } else {
            let (work, request) = (vec![whose.clone()], PassRequest::default());
            pass(life, &name, stop, |reports| engine.run_over(work, &request, stop, reports)).await;
        }
        let (calm, is_last) = life.world.with(|world| (world.calm, world.random.random_bool(0.1)));
        if is_last && !calm || engine.base.journal.is_broken() {
            // As between two passes of a daemon: the others end what they are at.
            ends.cancel();
        }
        if calm {
            return;
        }
    }
}

/// Waits for the next pass.
async fn wait(life: &Life, stop: &Stop, ends: &CancellationToken) {
    let wait = life.world.with(|world| Duration::from_secs(world.random.random_range(0..120)));
    tokio::select! {
        biased;
        () = stop.take_no_more.cancelled() => {}
        () = ends.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
    life.go_on().await;
}
