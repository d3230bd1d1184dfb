//! The integration tests: one binary, a file per subject.
#![expect(clippy::unwrap_used, reason = "a test that panics has said what is wrong")]

mod architecture;
mod deploy;
mod foreign;
mod forget;
mod imports;
mod log;
mod loops;
mod pass;
mod profiles;
mod proof;
mod providers;
mod readme;
mod right_store;
mod run;
mod simulation;
mod state_directory;
mod store;
mod support;
mod tokens;
mod watch;
