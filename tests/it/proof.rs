//! What the promise is proved by: long runs against the provider's ledger, and a short form of each in every test run;
//! tables of whatever others may send us or leave in a document.
//!
//! `cargo test --test it -- --ignored proof --nocapture` runs the long forms; each prints one line of figures.

mod answers;
mod canaries;
mod corpus;
mod disk;
mod documents;
mod failover;
mod lost_answers;
mod mongo_documents;
mod network;
mod orphans;
mod power;
mod requests;
mod shapes;
mod sigkill;
mod two_daemons;
mod two_hosts;
mod unsendable;
mod wakes;

use crate::support::rehearsal::Rehearsal;
use evergrant::testing::pass::{PassError, PassRequest, Stop};
use evergrant::testing::report::{Outcome, Reports, summary::Summary};
use evergrant::testing::store::StoreError;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// No pass takes so long; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a pass of a process that ends with it; `None` when it couldn't begin, because the store wasn't there.
async fn run_pass(rehearsal: &Rehearsal, request: &PassRequest, stop: &Stop) -> Option<Summary> {
    let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
    let running = pass.run(request, stop, Arc::new(Reports::new()));
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("the pass hangs");
    pass.close().await;
    match ended {
        Ok(summary) => {
            let dead = summary.count(Outcome::NeedsLogin) + summary.count(Outcome::LostInFlight);
            assert_eq!(dead, 0, "the line to the store costs nobody a login: {summary:#?}");
            Some(summary)
        }
        Err(PassError::Store(StoreError::Unavailable { .. })) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// A number that the proof has by default, and that somebody may want otherwise.
#[expect(clippy::disallowed_methods, reason = "a knob of the tests, not a setting")]
fn knob(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Prints a proof's line of figures, also where the output of tests is captured.
fn tell(figures: &str) {
    let _ = writeln!(std::io::stdout(), "\n{figures}");
}
