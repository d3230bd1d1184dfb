//! Evergrant keeps OAuth refresh tokens alive: certbot for a collection of token documents.
//!
//! Another program begins with [`Engine`]. What is public here is for it; the rooms of the house are private.
//!
//! The map of the code is below, and on the terminal: `evergrant help architecture`.
//!
#![doc = include_str!("help/architecture.md")]
#![allow(rustdoc::private_intra_doc_links, reason = "most docs are read with `--document-private-items`")]

// What another program uses. All else is the house's own.
mod library;

pub use clock::Timestamp;
pub use exit::Exit;
pub use journal::Parked;
pub use library::{Engine, Error, Pair, Settings};
pub use pass::{PassRequest, Stop};
pub use report::summary::{Summary, Warned};
pub use report::{Ending, MOST_NAMED, Named, Outcome, ProviderPart, PutOff, Recovery, Trouble};
pub use token::{AccessToken, RefreshToken, State, Subject, TokenId};

// What the binary calls.
#[doc(hidden)]
pub use commands::main;

// What our own tests reach of the inside.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

// The words that all others use.
mod chance;
mod clock;
mod duration;
mod exit;
mod failure;
mod nearest;
mod room;
mod survey;
mod token;

// What the user says.
mod cli;
mod config;

// The way of a token.
mod gate;
mod grant;
mod journal;
mod provider;
mod report;
mod schedule;
mod select;
mod store;
mod verdict;

// One pass, passes on the schedule, and what they go through.
mod daemon;
mod engine;
mod pass;

// What a process shows of itself.
mod watch;

// From settings to an engine.
mod assembly;

// What a person meets.
mod commands;
mod help;
mod silence;
mod telemetry;

// The provider that judges us, and the places where a test kills us.
#[cfg(feature = "rehearsal")]
pub mod sandbox;

mod kill_point;
