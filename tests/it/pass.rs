//! The whole way of a token, over both stores, with the sandbox as provider and its ledger as oracle.

mod plain;
mod recovery;
mod store_away;
