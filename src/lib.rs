//! Evergrant keeps OAuth refresh tokens alive: certbot for a collection of token documents.
//!
//! The modules stand in the order in which a token walks through them:
//!
//! ```text
//! schedule ─▶ claim ─▶ gate ─▶ journal(intent) ─▶ grant ─▶ journal(answer) ─▶ read answer ─▶ write-back ─▶ report
//! ```

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod gate;
pub mod grant;
pub mod journal;
pub mod pass;
pub mod provider;
pub mod report;
pub mod sandbox;
pub mod schedule;
pub mod select;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod write_back;
