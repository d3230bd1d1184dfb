//! The whole way of a token, over both stores, with the sandbox as provider and its ledger as oracle.

mod beside_app;
mod clock;
mod codings;
mod faults;
mod hostile;
mod idle;
mod journal_fails;
mod keep;
mod marks;
mod other_machines;
mod other_stores;
mod overrun;
mod plain;
mod providers;
mod races;
mod recovery;
mod redeemed;
mod refusals;
mod rests;
mod server_writes;
mod settle;
mod silence;
mod stops;
mod store_away;
mod takeover;
mod turned_away;
