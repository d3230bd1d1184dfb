//! Evergrant keeps OAuth refresh tokens alive: certbot for a collection of token documents.
//!
//! The map of the code is below, and on the terminal: `evergrant help architecture`.
//!
#![doc = include_str!("help/architecture.md")]

// The words that all others use.
pub mod chance;
pub mod clock;
mod duration;
pub mod exit;
pub mod failure;
mod nearest;
pub mod room;
pub mod token;

// What the user says.
pub mod cli;
pub mod config;

// The way of a token.
pub mod schedule;

pub mod provider;

pub mod store;

pub mod select;

pub mod gate;

pub mod journal;

pub mod grant;

pub mod verdict;

pub mod report;

// One pass, and passes on the schedule.
pub mod pass;

pub mod engine;

pub mod daemon;

// From settings to an engine; and what another program holds of it.
mod assembly;
mod library;

pub use exit::Exit;
pub use library::{Engine, Error, Pair, Settings};
pub use pass::{PassRequest, Stop};
pub use report::Outcome;
pub use report::summary::Summary;
pub use token::{AccessToken, RefreshToken, State, TokenId};

// What a person meets.
pub mod commands;
pub mod help;
pub mod silence;
pub mod telemetry;

// The provider that judges us, and the places where a test kills us.
#[cfg(feature = "rehearsal")]
pub mod sandbox;

pub mod kill_point;
