//! The whole way of a token, over both stores, with the sandbox as provider and its ledger as oracle.

mod marks;
mod plain;
mod races;
mod recovery;
mod store_away;
