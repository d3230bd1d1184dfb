//! What a process shows of itself: one status, read by whoever watches, and no pass that waits for a reader.
//!
//! ```text
//! passes ─▶ tally, gate, journal ─┐
//! supervisor ─▶ phase, wakes ─────┼─▶ Status ─▶ metrics · JSON · systemd · `evergrant status`
//! watcher ─▶ census, survey, room ┘
//! ```
//!
//! Passes and the supervisor only leave counts and moments behind. The [watcher](Watch::keep) asks journal and store for
//! what costs a call, now and then; a [`Status`] is put together from memory when somebody asks.

mod life;
pub mod metrics;
mod status;

pub use life::{Hangs, Life, Standstill};
pub use status::{JournalStatus, Phase, ProviderStatus, Running, Space, Status, StoreStatus};
