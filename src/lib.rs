//! Evergrant keeps OAuth refresh tokens alive: certbot for a collection of token documents.
//!
//! This page is the map of the house. The modules stand in the order in which a token walks through them:
//!
//! ```text
//! schedule ─▶ claim ─▶ gate ─▶ journal(intent) ─▶ grant ─▶ journal(answer) ─▶ read answer ─▶ write-back ─▶ report
//! ```
//!
//! | step | module | the file that does I/O |
//! |---|---|---|
//! | when | [`schedule`], decided by [`daemon`] | `daemon.rs` (alarm clock, signals) |
//! | what is due, and ours | [`select`], through [`store`] | `store/mongo.rs`, `store/sqlite.rs` |
//! | how fast | [`gate`] | none: time only |
//! | what was sent, what came back | [`journal`] | `journal/sqlite.rs`, `journal/lock.rs` |
//! | the one POST, and what its answer means | [`grant`], by a [`provider`]'s profile | `grant/http.rs` |
//! | what goes into the document | [`write_back`] | none: the store's compare-and-swap |
//! | who ended where | [`report`] | none |
//!
//! [`pass`] is the only module that knows the whole way. [`commands`] are what a person calls, and [`sandbox`] is the
//! provider that tests, rehearsals and the demo are judged by.

// The words that all others use.
pub mod chance;
pub mod clock;
pub mod exit;
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

pub mod write_back;

pub mod report;

// One pass, and passes on the schedule.
pub mod pass;

pub mod daemon;

// What a person meets.
pub mod commands;
pub mod silence;
pub mod telemetry;

// The provider that judges us, and the places where a test kills us.
#[cfg(feature = "rehearsal")]
pub mod sandbox;

pub mod kill_point;
