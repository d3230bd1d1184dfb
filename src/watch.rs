//! What a process shows of itself: one status for all readers, and no pass that waits for one.
//!
//! ```text
//! passes ─▶ tally, gate, journal ─┐
//! supervisor ─▶ phase, wakes ─────┼─▶ Status ─▶ metrics · JSON · systemd · `evergrant status`
//! watcher ─▶ census, survey, room ┘
//! ```
//!
//! Passes and the supervisor only leave counts and moments behind. A watcher asks journal and store for
//! what costs a call, now and then; a [`Status`] is put together from memory when it is asked for.

pub mod admin;
mod life;
pub mod metrics;
mod outbound;
pub mod outlets;
pub mod ping;
mod probe;
mod settings;
pub mod standing;
mod status;
pub mod systemd;

use crate::clock::Timestamp;
use crate::report::PassRecord;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use life::{Hangs, Life, Standstill};
pub use outbound::{Said, ask};
pub use settings::{Listen, SecretUrl, WatchSettings};
pub use status::{JournalStatus, Phase, ProviderStatus, Running, Space, Status, StoreStatus};

/// Under which name the documents of no configured provider stand.
pub const OTHER: &str = "other";

/// What can be shown: from memory, so that no pass waits for a reader.
#[async_trait]
pub trait Shows: Send + Sync {
    /// How the process stands.
    fn status(&self) -> Status;

    /// Asks the journal and the disk now: what a status says of them is as old as that.
    async fn look_around(&self);
}

/// What happens to a pass. It is told to those who listen, and waits for none of them.
#[derive(Debug, Clone)]
pub enum Event {
    /// It begins.
    Begun {
        /// Of which provider.
        provider: Arc<str>,
        /// When.
        started_at: Timestamp,
    },
    /// It is over.
    Ended {
        /// Of which provider.
        provider: Arc<str>,
        /// When it began.
        started_at: Timestamp,
        /// How it ended; none where it could not begin.
        record: Option<Arc<PassRecord>>,
    },
    /// The tokens were counted anew between two passes.
    Surveyed,
}

/// Events that may wait for a slow listener. It loses the oldest ones, and no pass waits for it.
pub const EVENTS: usize = 256;

/// The next event; none once it is over. What happened before `ended` is still told.
async fn next_event(events: &mut broadcast::Receiver<Event>, ended: &CancellationToken) -> Option<Event> {
    loop {
        match ended.run_until_cancelled(events.recv()).await {
            Some(Ok(event)) => return Some(event),
            Some(Err(broadcast::error::RecvError::Lagged(_))) => {}
            Some(Err(broadcast::error::RecvError::Closed)) => return None,
            None => return events.try_recv().ok(),
        }
    }
}
