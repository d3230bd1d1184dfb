//! `journal retry`: unread answers that held no pair; their tokens are asked for again.

use crate::assembly;
use crate::commands::{CommandError, Surroundings};
use crate::config::Need;
use crate::exit::Exit;
use crate::journal::EntryId;
use crate::pass::Retried;
use serde::Serialize;

/// What `journal retry --format json` prints.
#[derive(Debug, Clone, Serialize)]
struct RetriedList {
    /// The entries that were given free, as they were named.
    retried: Vec<Retried>,
}

/// Lets the next pass ask for these tokens again; the first that can't be given free ends it, and those before it are.
pub(super) async fn retry(ids: &[EntryId], surroundings: &Surroundings) -> Result<Exit, CommandError> {
    let config = surroundings.config(Need::Provider)?;
    let base = assembly::base_over_what_is_there(&config, &surroundings.clock).await?;
    let (mut retried, mut failed) = (Vec::new(), None);
    for id in ids {
        match base.retry(*id).await {
            Ok(one) => retried.push(one),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    base.journal.close().await;
    if !retried.is_empty() || failed.is_none() {
        let text: Vec<_> = retried.iter().map(retried_text).collect();
        surroundings.print(&text.join("\n"), &RetriedList { retried })?;
    }
    failed.map_or(Ok(Exit::Well), |error| Err(error.into()))
}

fn retried_text(retried: &Retried) -> String {
    let Retried { id, subject, provider, waits, .. } = retried;
    let next = if *waits {
        "the next pass asks again; if it is refused then, the user is reported as `lost_in_flight`"
    } else {
        "its document is gone, or holds another token: there is nothing to ask for now; `evergrant journal list` shows whether its answer is kept"
    };
    format!("the token of `{subject}` at `{provider}` (entry {id}) may be sent again\n  next: {next}")
}
