//! The promise under everything that a year of production throws at it, judged by the provider's own ledger.

mod network;
