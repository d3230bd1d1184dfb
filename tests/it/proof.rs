//! What the promise is proved by: long runs against the provider's ledger, and a short form of each in every test run.
//!
//! `cargo test --test it -- --ignored proof --nocapture` runs the long forms; each prints one line of figures.

mod lost_answers;
mod sigkill;
mod two_daemons;

use std::io::Write as _;

/// A number that the proof has by default, and that somebody may want otherwise.
#[expect(clippy::disallowed_methods, reason = "a knob of the tests, not a setting")]
fn knob(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Prints a proof's line of figures, also where the output of tests is captured.
fn tell(figures: &str) {
    let _ = writeln!(std::io::stdout(), "\n{figures}");
}
