//! What the promise is proved by: long runs against the provider's ledger, and a short form of each in every test run;
//! tables of whatever others may send us or leave in a document.
//!
//! `cargo test --test it -- --ignored proof --nocapture` runs the long forms; each prints one line of figures.

mod answers;
mod disk;
mod documents;
mod failover;
mod mongo_documents;
mod network;
mod orphans;
mod shapes;

use crate::support::rehearsal::Rehearsal;
use evergrant::pass::{PassError, PassRequest, Stop};
use evergrant::report::{Outcome, Report, summary::Summary};
use evergrant::store::StoreError;
use std::sync::Arc;
use std::time::Duration;

/// No pass takes so long; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a pass of a process that ends with it; `None` when it couldn't begin, because the store wasn't there.
async fn run_pass(rehearsal: &Rehearsal, request: &PassRequest, stop: &Stop) -> Option<Summary> {
    let pass = rehearsal.process(rehearsal.meddler.clone(), rehearsal.state()).await;
    let running = pass.run(request, stop, Arc::new(Report::new()));
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("the pass hangs");
    pass.journal.close().await;
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
